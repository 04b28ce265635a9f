//! The methods compared: one file each, the same shape. Parameters are read and checked, [`Method::fit`] trains, and
//! [`Method::readings`] says how the fit may be read as a predictive.
//!
//! Adding a method means adding its file, its line in `REGISTRY`, and its tests.

mod blob;
mod c_lora;
mod checkpoint_ensemble;
mod ensemble;
mod laplace;
mod lrvd;
mod map;
mod mc_dropout;
mod mle;
mod reweighting;
mod scalabl;
mod swag;
mod tfb;

use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::train::{Bench, Fitted};
use bayeslora_data::unknown;

/// How a fit is read as a predictive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// One deterministic pass at the mean of the posterior.
    Mean,
    /// Monte-Carlo samples of the posterior.
    Sampled,
    /// One deterministic pass per member.
    Members,
    /// Samples of Gaussian logits: the network linearised at the mean of the posterior.
    Linearised,
}

impl Reading {
    /// The word in row identifiers.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Sampled => "sampled",
            Self::Members => "members",
            Self::Linearised => "linearised",
        }
    }
}

/// A method with checked parameters.
pub trait Method: std::fmt::Debug + Send + Sync {
    /// The predictives it offers, each a row of the tables; tuning judges by the last one.
    fn readings(&self) -> Vec<Reading>;

    /// The checked parameters: what determines the fit beside data, backbone, adapter, training and seed.
    fn settings(&self) -> serde_json::Value;

    /// Members of the fit.
    fn members(&self) -> u32 {
        1
    }

    /// Trainings it takes, for the estimate of the work ahead.
    fn trainings(&self) -> u32 {
        self.members()
    }

    /// Token passes after the trainings (see [`Progress`](crate::Progress)), at most, given the tokens of the training and the validation
    /// set.
    fn post_hoc_work(&self, _train: u64, _validation: u64) -> u64 {
        0
    }

    /// Trains.
    ///
    /// # Errors
    /// When training diverges or cannot write its checkpoints.
    fn fit(&self, bench: &Bench<'_>) -> Result<Fitted>;
}

type Constructor = fn(toml::Table) -> Result<Box<dyn Method>, String>;

/// Every method by its `kind` in experiment files.
const REGISTRY: &[(&str, Constructor)] = &[
    ("mle", mle::from_settings),
    ("map", map::from_settings),
    ("mc-dropout", mc_dropout::from_settings),
    ("ensemble", ensemble::from_settings),
    ("checkpoint-ensemble", checkpoint_ensemble::from_settings),
    ("c-lora", c_lora::from_settings),
    ("blob", blob::from_settings),
    ("tfb", tfb::from_settings),
    ("scalabl", scalabl::from_settings),
    ("lrvd", lrvd::from_settings),
    ("swag", swag::from_settings),
    ("laplace", laplace::from_settings),
];

/// Kinds of methods, in the order they are documented.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    REGISTRY.iter().map(|(kind, _)| *kind)
}

/// The method `kind` with these parameters.
///
/// # Errors
/// One line: an unknown kind with the nearest known one, an unknown parameter, or one out of range.
pub fn from_settings(kind: &str, parameters: toml::Table) -> Result<Box<dyn Method>, String> {
    match REGISTRY.iter().find(|(known, _)| *known == kind) {
        Some((_, constructor)) => constructor(parameters),
        None => Err(unknown("kind", kind, kinds())),
    }
}

/// Reads parameters, refusing unknown ones.
fn read<T: DeserializeOwned>(parameters: toml::Table) -> Result<T, String> {
    parameters.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
}

/// Refuses a probability outside `[0, 1)`.
fn check_dropout(p: f64) -> Result<(), String> {
    bayeslora_adapters::KeepProbability::from_dropout(p).map(|_| ()).map_err(|error| error.to_string())
}

/// Refuses a number that is not positive.
fn check_positive(name: &str, value: f64) -> Result<(), String> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(format!("{name} is {value}; expected a positive number"))
    }
}

/// Refuses a number below 0.
fn check_not_negative(name: &str, value: f64) -> Result<(), String> {
    if value.is_finite() && value >= 0.0 { Ok(()) } else { Err(format!("{name} is {value}; expected at least 0")) }
}

/// A parameter that does not fit the bench, which only the fit can see.
fn refused(what: String, expected: String) -> crate::error::Error {
    crate::error::Error::Parameter { what, expected }
}

/// The parameters as recorded.
fn recorded(kind: &str, parameters: &impl serde::Serialize) -> serde_json::Value {
    serde_json::json!({ "kind": kind, "parameters": parameters })
}
