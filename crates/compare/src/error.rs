//! The crate's error: one enum, variants grouped by module, each naming what, where, got and expected.

use std::io;
use std::path::PathBuf;

use crate::assets::{Attempts, GivenBy, Missing};

/// `Result` with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that is no asset's.
    #[error("{name:?} is not an asset; the assets are {valid}")]
    AssetName {
        /// What was asked for.
        name: String,
        /// The valid names, comma-separated.
        valid: String,
    },
    /// The platform does not say where caches go.
    #[error("no cache folder: {reason}; set BAYESLORA_CACHE to a folder that can be written")]
    AssetNoCache {
        /// What the platform said.
        reason: String,
    },
    /// A folder of the user's does not exist.
    #[error("{path}: no such folder (given by {} or {})", .given_by.option(), .given_by.variable())]
    AssetFolder {
        /// The folder.
        path: PathBuf,
        /// Which folder it is.
        given_by: GivenBy,
    },
    /// The cache cannot be written: no permission, no space, not a folder.
    #[error("{path}: cannot write to the asset cache: {source}; BAYESLORA_CACHE names another folder")]
    AssetCache {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An asset's file exists and cannot be read.
    #[error("{path}: cannot read: {source}")]
    AssetRead {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file in the user's own folder is not the declared one. It is never touched.
    #[error(
        "{path}: sha256 is {got}, {asset} needs {expected}; replace the file, or leave its folder out of {} and {}",
        .given_by.option(),
        .given_by.variable()
    )]
    AssetLocal {
        /// The asset.
        asset: &'static str,
        /// The file.
        path: PathBuf,
        /// Which folder of the user's it is in.
        given_by: GivenBy,
        /// The declared SHA-256.
        expected: String,
        /// The SHA-256 found.
        got: String,
    },
    /// The folder of a model of the user's own does not exist.
    #[error(
        "{path}: no such folder; model.path of an experiment is relative to the experiment file, and `~` is not expanded"
    )]
    ModelFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The folder of a model of the user's own lacks a file.
    #[error(
        "{path}: not found; a model's folder has config.json, tokenizer.json and model.safetensors, as transformers' \
         save_pretrained writes them for the model and its fast tokenizer"
    )]
    ModelFile {
        /// The file.
        path: PathBuf,
    },
    /// Files are missing and downloads are switched off.
    #[error(transparent)]
    AssetOffline(Box<Missing>),
    /// No source could provide the asset.
    #[error(transparent)]
    AssetUnavailable(Box<Attempts>),
    /// A task's setting is out of range.
    #[error("{setting} is {got}, expected {expected}")]
    TaskSetting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        got: String,
        /// The range.
        expected: &'static str,
    },
    /// A task's file cannot be read.
    #[error("{path}: cannot read: {source}")]
    TaskFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of a task's file is malformed.
    #[error("{path}, line {line}: expected {expected}, found {found}")]
    TaskLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A split has no examples.
    #[error("{task}: the {split} split is empty: {examples} examples are too few for its share")]
    TaskEmptySplit {
        /// The task.
        task: &'static str,
        /// The split.
        split: String,
        /// How many examples there are to split.
        examples: usize,
    },
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
    /// A report cannot be made.
    #[error("{0}")]
    Report(String),
    /// Something is wrong with an adapter.
    #[error(transparent)]
    Adapter(#[from] bayeslora_adapters::Error),
    /// Something is wrong with a model.
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
    /// A figure.
    #[error(transparent)]
    Figure(#[from] bayeslora_figures::Error),
}

impl Error {
    /// Whether a fit ended in numbers that nothing can be made of: its loss or what it predicts is not finite. Such a fit is a failed row of a
    /// table, not the end of a run.
    pub(crate) fn is_of_the_fit(&self) -> bool {
        matches!(self, Self::Diverged { .. } | Self::Metric(bayeslora_metrics::Error::NotFinite { .. }))
    }

    /// Says which unit it was where nothing else does.
    pub(crate) fn in_unit(self, unit: String) -> Self {
        match self {
            Self::Parameter { .. } | Self::Metric(_) | Self::Tensor(_) | Self::Decomposition(_) => {
                Self::Unit { unit, source: Box::new(self) }
            }
            other => other,
        }
    }
}
