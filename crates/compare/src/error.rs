//! The crate's error: one enum, variants grouped by module, each naming what, where, got and expected.

use std::path::PathBuf;

/// `Result` with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An experiment file is missing, malformed, or asks for what there is not.
    #[error("{path}: {problem}")]
    Experiment {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the nearest known word.
        problem: String,
    },
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
    /// A unit of an experiment could not be computed.
    #[error("{unit}: {source}")]
    Unit {
        /// Method and seed.
        unit: String,
        /// Why.
        source: Box<Error>,
    },
    /// A result cannot be written, or is not what this program wrote.
    #[error("{path}: {problem}")]
    Store {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The system gives no more threads.
    #[error("threads cannot be started: {0}; ask for fewer (--jobs, --threads)")]
    Threads(String),
    /// What a study needs is not there.
    #[error("{0}")]
    Report(String),
    /// A fit or a prediction.
    #[error(transparent)]
    Inference(#[from] bayeslora_inference::Error),
    /// An asset or a task's file.
    #[error(transparent)]
    Data(#[from] bayeslora_data::Error),
    /// A record.
    #[error(transparent)]
    Record(#[from] bayeslora_records::Error),
    /// A file or a folder.
    #[error(transparent)]
    Host(#[from] bayeslora_host::Error),
    /// Something is wrong with an adapter.
    #[error(transparent)]
    Adapter(#[from] bayeslora_adapters::Error),
    /// Something is wrong with a model.
    #[error(transparent)]
    Model(#[from] bayeslora_models::Error),
    /// A posterior could not be sampled.
    #[error(transparent)]
    Posterior(#[from] bayeslora_posterior::Error),
    /// A score could not be computed.
    #[error(transparent)]
    Metric(#[from] bayeslora_metrics::Error),
    /// A tensor operation failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A matrix that has no decomposition.
    #[error("a matrix could not be decomposed: {0}")]
    Decomposition(#[from] ndarray_linalg::error::LinalgError),
    /// A page cannot be made of the records.
    #[error(transparent)]
    Page(#[from] bayeslora_report::Error),
    /// A figure.
    #[error(transparent)]
    Figure(#[from] bayeslora_render::Error),
}

impl Error {
    /// Whether a fit ended in numbers that nothing can be made of: its loss or what it predicts is not finite. Such a fit is a failed row of a
    /// table, not the end of a run.
    pub(crate) fn is_of_the_fit(&self) -> bool {
        match self {
            Self::Inference(error) => error.is_of_the_fit(),
            Self::Metric(error) => matches!(error, bayeslora_metrics::Error::NotFinite { .. }),
            _ => false,
        }
    }

    /// Says which unit it was where nothing else does.
    pub(crate) fn in_unit(self, unit: String) -> Self {
        use bayeslora_inference::Error as Fit;
        let is_named = match &self {
            Self::Metric(_) | Self::Tensor(_) | Self::Decomposition(_) => false,
            Self::Inference(error) => !matches!(
                error,
                Fit::Parameter { .. } | Fit::Shape { .. } | Fit::Metric(_) | Fit::Tensor(_) | Fit::Decomposition(_)
            ),
            _ => true,
        };
        if is_named { self } else { Self::Unit { unit, source: Box::new(self) } }
    }
}
