//! What the machine refused, and where.

use std::io;
use std::path::PathBuf;

/// `Result` with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the system did not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A file that could not be written.
    #[error("{}: cannot be written: {source}; what was there is unchanged", path.display())]
    Write {
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A folder that results cannot go to.
    #[error("{}: cannot be written ({source}); choose a folder you may write to", path.display())]
    Folder {
        /// Folder.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The thread pool could not be started.
    #[error("threads cannot be started: {0}; ask for fewer")]
    Threads(String),
}
