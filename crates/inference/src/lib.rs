//! Methods, the training loop they share, Laplace posteriors, predictors, and the classifier of single texts.
//!
//! [`methods`] fits adapters on a frozen backbone ([`FitContext`] to [`Fitted`]); [`Predictor`] turns a fit into predictive samples
//! `[samples, examples, classes]`; [`Classifier`] does so for the texts of `bayeslora predict`.

mod adaptive;
mod budget;
mod checkpoint;
mod classifier;
mod context;
mod error;
mod fitted;
mod laplace;
mod member;
mod optimise;
mod predictor;
mod prefix;
mod questions;
mod reader;
mod readout;
mod recipe;
mod resources;
mod settings;
mod shapes;
mod summary;
mod train;
mod validation;

pub mod methods;

pub use adaptive::Decision;
pub use bayeslora_models::{DeviceName, Normalisation, Place, Precision};
pub use bayeslora_records::Reading;
pub use budget::Budget;
pub use classifier::{
    Classifier, CompletionScores, InferenceOptions, MOST_SAMPLES, SAMPLES, ScoredToken, Scores, TextPrediction,
};
pub use context::FitContext;
pub use error::{Error, Result};
pub use fitted::Fitted;
pub use laplace::Laplace;
pub use member::Member;
pub use optimise::{Ivon, Optimiser, Rule, Sghmc, linear_schedule};
pub use predictor::Predictor;
pub use prefix::{Batch, Sentences};
pub use questions::{QuestionReader, Readout};
pub use reader::{Text, tokenizer_of};
pub use recipe::{DivergenceUpdate, Objective, Position, Recipe, TrainingSet};
pub use resources::{Resources, check_samples};
pub use settings::{AdapterSettings, PredictionSettings, Schedule, Selection, TrainingSettings};
pub use train::train;
