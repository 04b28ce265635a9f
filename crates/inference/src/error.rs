//! What can be wrong with a fit or a prediction.

use std::path::PathBuf;

/// `Result` with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A method's parameter does not fit the data, the adapters or the training at hand.
    #[error("{what}; {expected}")]
    Parameter {
        /// The parameter and its value.
        what: String,
        /// What would fit.
        expected: String,
    },
    /// Training or validation gave a loss that is not finite.
    #[error("the loss is {loss} at step {step}; lower the learning rate")]
    Diverged {
        /// The loss.
        loss: f64,
        /// The step, from 0.
        step: u32,
    },
    /// A file of a fit is not what this program wrote, or cannot be encoded.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Numbers that do not have the shape of what they are read as.
    #[error("{what} has {got} numbers; expected {expected}")]
    Shape {
        /// What is read.
        what: &'static str,
        /// How many numbers there are.
        got: usize,
        /// The shape.
        expected: String,
    },
    /// A file that could not be read or written.
    #[error(transparent)]
    Host(#[from] bayeslora_host::Error),
    /// An adapter.
    #[error(transparent)]
    Adapter(#[from] bayeslora_adapters::Error),
    /// A model.
    #[error(transparent)]
    Model(#[from] bayeslora_models::Error),
    /// A score could not be computed.
    #[error(transparent)]
    Metric(#[from] bayeslora_metrics::Error),
    /// A tensor operation failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A matrix that has no decomposition.
    #[error("a matrix could not be decomposed: {0}")]
    Decomposition(#[from] ndarray_linalg::error::LinalgError),
}

impl Error {
    /// Whether a fit ended in numbers that nothing can be made of: its loss or what it predicts is not finite. Such a fit is a failed row of a
    /// table, not the end of a run.
    pub fn is_of_the_fit(&self) -> bool {
        matches!(self, Self::Diverged { .. } | Self::Metric(bayeslora_metrics::Error::NotFinite { .. }))
    }
}
