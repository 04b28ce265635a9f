//! Everything that can be wrong with a model, its files or its input.

use std::path::PathBuf;

use bayeslora_adapters::peft::PeftAdapter;

/// `Result` of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where, what was found, and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something is wrong with an adapter.
    #[error(transparent)]
    Adapter(#[from] bayeslora_adapters::Error),
    /// A file that could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// File.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// A file whose contents are not what they should be.
    #[error("{}: {problem}", path.display())]
    File {
        /// File.
        path: PathBuf,
        /// Problem, with what to do about it.
        problem: String,
    },
    /// An adapter slot the model does not have.
    #[error("the model has no {what}; {expected}")]
    Slot {
        /// What was asked for.
        what: String,
        /// What there is.
        expected: String,
    },
    /// A device that there is not, or that this build cannot use.
    #[error("--device {device}: {problem}")]
    Device {
        /// The device as it was named.
        device: String,
        /// Why not, and what to do.
        problem: String,
    },
    /// Text the tokenizer refuses.
    #[error("cannot tokenise {text:?}: {problem}")]
    Tokenise {
        /// Beginning of the text.
        text: String,
        /// Why.
        problem: String,
    },
    /// A tensor operation failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A file that could not be read or written.
    #[error(transparent)]
    Host(#[from] bayeslora_host::Error),
}

/// An error about the adapter's tensors.
pub(crate) fn wrong(adapter: &PeftAdapter, problem: String) -> Error {
    adapter.problem(problem).into()
}
