//! Maximum likelihood: LoRA trained on the mean cross-entropy, read at its parameters (methods.md, section 3).

use bayeslora_adapters::PosteriorSettings;
use serde::{Deserialize, Serialize};

use super::method::Method;
use super::parameters::{read, recorded};
use crate::context::FitContext;
use crate::error::Result;
use crate::fitted::Fitted;
use crate::recipe::Recipe;
use crate::train::train;
use bayeslora_records::Reading;

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

    fn fit(&self, context: &FitContext<'_>) -> Result<Fitted> {
        train(context, &Recipe::plain(PosteriorSettings::Deterministic), 0)
    }
}
