//! Everything that can be wrong with an adapter, its files or its input.

use std::path::PathBuf;

use crate::slot::Slot;

/// `Result` of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where, what was found, and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A dropout probability outside `[0, 1)`.
    #[error("dropout probability is {got}; expected 0 <= p < 1")]
    DropoutProbability {
        /// Value given.
        got: f64,
    },
    /// A word that names no choice.
    #[error("unknown {what} `{got}`; expected one of: {expected}")]
    Word {
        /// Kind of choice.
        what: &'static str,
        /// Word given.
        got: String,
        /// Valid words.
        expected: String,
    },
    /// A rank that does not fit the map.
    #[error("rank is {got} for {slot} [{d_out}, {d_in}]; expected 1 to {}", d_in.min(d_out))]
    Rank {
        /// Where.
        slot: Slot,
        /// Rank given.
        got: usize,
        /// Output width of the map.
        d_out: usize,
        /// Input width of the map.
        d_in: usize,
    },
    /// A setting outside its range.
    #[error("{name} is {got}; expected {expected}")]
    Setting {
        /// Setting.
        name: &'static str,
        /// Value given.
        got: f64,
        /// Range.
        expected: &'static str,
    },
    /// Noise that the linearised predictive does not cover.
    #[error(
        "{noise} reaches outputs beside the adapter's core, which the linearised predictive does not cover; draw samples instead"
    )]
    Linearised {
        /// Noise.
        noise: &'static str,
    },
    /// Tensors whose shapes do not go together.
    #[error("{what} has shape {got:?}; expected {expected}")]
    Shape {
        /// Tensor.
        what: String,
        /// Shape found.
        got: Vec<usize>,
        /// Shape expected.
        expected: String,
    },
    /// A file that could not be read or written.
    #[error(transparent)]
    Host(#[from] bayeslora_host::Error),
    /// A file whose contents are not what they should be.
    #[error("{}: {problem}", path.display())]
    File {
        /// File.
        path: PathBuf,
        /// Problem, with what to do about it.
        problem: String,
    },
    /// An adapter feature that is not implemented.
    #[error("{}: {feature} is not supported; {advice}", path.display())]
    Unsupported {
        /// File.
        path: PathBuf,
        /// Feature and value found.
        feature: String,
        /// What to do.
        advice: &'static str,
    },
    /// A regular expression that could not be matched.
    #[error("the pattern `{pattern}` cannot be matched ({problem}); name the modules literally")]
    Pattern {
        /// Pattern.
        pattern: String,
        /// Cause.
        problem: String,
    },
    /// A tensor operation failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}
