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
    /// Predictions that do not fit together, before they are written.
    #[error("the set of predictions {problem}")]
    Predictions {
        /// What is wrong and what was expected.
        problem: String,
    },
    /// Two sets of predictions that are not of the same examples.
    #[error("id `{id}` {problem}")]
    Pairing {
        /// The example.
        id: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file that could not be read or written.
    #[error(transparent)]
    Host(#[from] bayeslora_host::Error),
}
