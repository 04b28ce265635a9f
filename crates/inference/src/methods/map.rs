//! Maximum a posteriori: LoRA trained with a Gaussian prior in the loss, read at its parameters (methods.md, section 3).
//!
//! `mean NLL + |theta|^2 / (2 sigma_p^2 N)`: the negative log posterior over `N`, with `theta` every trained parameter (`A`, `B` and
//! the head). Published "MAP" rows use AdamW's decoupled decay instead, which at their rates changes weights by less than
//! one per cent; here the prior is in the gradient, so it acts at the strength it states.

use bayeslora_adapters::PosteriorSettings;
use serde::{Deserialize, Serialize};

use super::method::Method;
use super::parameters::{check_positive, read, recorded};
use crate::context::FitContext;
use crate::error::Result;
use crate::fitted::Fitted;
use crate::recipe::{Objective, Recipe};
use crate::train::train;
use bayeslora_records::Reading;

/// Parameters: name, default, purpose, range.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Map {
    /// Standard deviation `sigma_p` of the prior of every parameter, positive. Default: 1.
    prior_sd: f64,
}

impl Default for Map {
    fn default() -> Self {
        Self { prior_sd: 1.0 }
    }
}

pub(super) fn from_settings(parameters: toml::Table) -> Result<Box<dyn Method>, String> {
    let method: Map = read(parameters)?;
    check_positive("prior-sd", method.prior_sd)?;
    Ok(Box::new(method))
}

impl Method for Map {
    fn readings(&self) -> Vec<Reading> {
        vec![Reading::Mean]
    }

    fn settings(&self) -> serde_json::Value {
        recorded("map", self)
    }

    fn fit(&self, context: &FitContext<'_>) -> Result<Fitted> {
        let prior = 1.0 / (self.prior_sd.powi(2) * context.train.len() as f64);
        let recipe = Recipe {
            objective: &|_| Objective { prior, ..Objective::default() },
            ..Recipe::plain(PosteriorSettings::Deterministic)
        };
        train(context, &recipe, 0)
    }
}
