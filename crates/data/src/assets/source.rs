//! The interface of a source of assets, and the simplest one: an archive lying in the user's folder.

use std::fmt;
use std::path::{Path, PathBuf};

use super::asset::Asset;
use super::event::Notify;
use super::given_by::GivenBy;
use crate::error::Error;
use bayeslora_host::sha256_of;

/// Somewhere an asset may come from.
pub(crate) trait Source: fmt::Debug + Send + Sync {
    /// How messages name the source for this asset; `None` when it has nothing of it.
    fn offer(&self, asset: &Asset) -> Option<String>;

    /// Whether the source is a download, to be left alone in offline mode.
    fn is_download(&self) -> bool;

    /// Puts the files into the folder `request.into`, or says which archive contains them.
    fn fetch(&self, request: &Request<'_>, notify: Notify<'_>) -> Result<Fetched, Failure>;
}

/// What is asked of a source.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// The asset.
    pub(crate) asset: &'static Asset,
    /// An empty folder, deleted afterwards.
    pub(crate) into: &'a Path,
    /// 1, or 2 when the first download had the wrong checksum.
    pub(crate) attempt: u32,
}

/// What a source gave. Nothing of it is trusted: the installer verifies every checksum.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// The declared files are in the request's folder.
    Files,
    /// They are inside this archive.
    Archive(PathBuf),
}

/// Why a source gave nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It cannot, and asking again would not help: the next source's turn.
    Unavailable(String),
    /// A download with another checksum than declared: worth one more attempt.
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The declared SHA-256.
        expected: &'static str,
        /// The SHA-256 found.
        got: String,
    },
    /// No other source should be asked: the cache cannot be written, or a file of the user's is broken.
    Fatal(Error),
}

impl Failure {
    /// A failure to write below the cache.
    pub(crate) fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Fatal(Error::AssetCache { path: path.to_owned(), source })
    }
}

/// The package's archive as a file in the user's folder.
#[derive(Debug)]
pub(crate) struct LocalArchive {
    /// The user's folder.
    pub(crate) folder: PathBuf,
}

impl Source for LocalArchive {
    fn offer(&self, asset: &Asset) -> Option<String> {
        let path = self.folder.join(asset.package()?.archive);
        path.is_file().then(|| path.display().to_string())
    }

    fn is_download(&self) -> bool {
        false
    }

    fn fetch(&self, request: &Request<'_>, _: Notify<'_>) -> Result<Fetched, Failure> {
        let Some(package) = request.asset.package() else {
            return Err(Failure::Unavailable(format!("no archive has {}", request.asset.name)));
        };
        let path = self.folder.join(package.archive);
        match sha256_of(&path) {
            Ok(got) if got == package.sha256 => Ok(Fetched::Archive(path)),
            Ok(got) => Err(Failure::Fatal(Error::AssetLocal {
                asset: request.asset.name,
                path,
                given_by: GivenBy::Assets,
                expected: package.sha256.to_owned(),
                got,
            })),
            Err(source) => Err(Failure::Fatal(Error::AssetRead { path, source })),
        }
    }
}
