//! The methods compared: one file each, the same shape. Parameters are read and checked, [`Method::fit`] trains, and
//! [`Method::readings`] says how the fit may be read as a predictive.
//!
//! Adding a method means adding its file, its line in `REGISTRY`, and its tests.

mod best_of;
mod blob;
mod c_lora;
mod checkpoint_ensemble;
mod dalorra;
mod ensemble;
mod inducing;
mod ivon;
mod laplace;
mod lrvd;
mod map;
mod mc_dropout;
mod method;
mod mle;
mod parameters;
mod reweighting;
mod scalabl;
mod sg_mcmc;
mod swag;
mod tfb;

use bayeslora_data::unknown;

pub use method::{Dropout, Method};

type Constructor = fn(toml::Table) -> Result<Box<dyn Method>, String>;

/// Every method by its `kind` in experiment files.
const REGISTRY: &[(&str, Constructor)] = &[
    ("mle", mle::from_settings),
    ("map", map::from_settings),
    ("mc-dropout", mc_dropout::from_settings),
    ("ensemble", ensemble::from_settings),
    ("best-of", best_of::from_settings),
    ("checkpoint-ensemble", checkpoint_ensemble::from_settings),
    ("c-lora", c_lora::from_settings),
    ("blob", blob::from_settings),
    ("tfb", tfb::from_settings),
    ("scalabl", scalabl::from_settings),
    ("dalorra", dalorra::from_settings),
    ("lrvd", lrvd::from_settings),
    ("ivon", ivon::from_settings),
    ("inducing", inducing::from_settings),
    ("swag", swag::from_settings),
    ("sg-mcmc", sg_mcmc::from_settings),
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
