//! What a folder has under the name of one file.

/// What a folder has under the name of one declared file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileState {
    /// The declared bytes.
    Good,
    /// Nothing.
    Missing,
    /// Other bytes.
    Broken {
        /// Their SHA-256.
        got: String,
    },
}
