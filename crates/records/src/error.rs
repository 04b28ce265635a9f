//! What can be wrong with a stored record.

use std::path::PathBuf;

/// `Result` with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A result that cannot be written, or is not what this program wrote.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder of results.
    #[error("{path}: {problem}")]
    Store {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file that could not be read or written.
    #[error(transparent)]
    Host(#[from] bayeslora_host::Error),
}
