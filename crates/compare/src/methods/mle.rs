//! Maximum likelihood: LoRA trained on the mean cross-entropy, read at its parameters (methods.md, section 3).

use bayeslora_adapters::PosteriorSettings;
use serde::{Deserialize, Serialize};

use super::{Method, Reading, read, recorded};
use crate::error::Result;
use crate::train::{Bench, Fitted, Recipe, train};

/// No parameters of its own.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mle {}

pub(super) fn from_settings(parameters: toml::Table) -> Result<Box<dyn Method>, String> {
    Ok(Box::new(read::<Mle>(parameters)?))
}

impl Method for Mle {
    fn readings(&self) -> Vec<Reading> {
        vec![Reading::Mean]
    }

    fn settings(&self) -> serde_json::Value {
        recorded("mle", self)
    }

    fn fit(&self, bench: &Bench<'_>) -> Result<Fitted> {
        train(bench, &Recipe::plain(PosteriorSettings::Deterministic), 0)
    }
}
