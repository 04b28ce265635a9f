//! A folder with a whole asset in it.

use std::path::{Path, PathBuf};

/// A folder that has all files of an asset, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetDir {
    path: PathBuf,
    digest: String,
}

impl AssetDir {
    /// A verified folder.
    pub(super) fn new(path: PathBuf, digest: String) -> Self {
        Self { path, digest }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of one of the asset's files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// SHA-256 over the checksums of all files; see [`Asset::digest`](super::Asset::digest).
    pub fn digest(&self) -> &str {
        &self.digest
    }
}
