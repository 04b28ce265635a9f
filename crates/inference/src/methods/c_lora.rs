//! C-LoRA (methods.md, section 6): contextual Gaussian noise on an `r x r` core.
//!
//! Like the reference code: AdamW updates A, B and the head, plain SGD the contextual networks, both from the gradient of
//! one loss, `c NLL + w pi_i KL / maps`, with the weights `pi_i` of BLoB growing over the steps of an epoch. Unlike it:
//! gradients are clipped, those of the networks with the others; the checkpoint is chosen on validation NLL over the whole run; and the
//! schedules use the real number of steps.

use bayeslora_adapters::{ContextualSettings, PosteriorSettings};
use serde::{Deserialize, Serialize};

use super::method::Method;
use super::parameters::{check_not_negative, check_positive, read, recorded};
use super::reweighting::divergence_share;
use crate::context::FitContext;
use crate::error::Result;
use crate::fitted::Fitted;
use crate::optimise::Rule;
use crate::recipe::{Objective, Recipe};
use crate::train::train;
use bayeslora_records::Reading;

/// Parameters: name, default, purpose, range.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct CLora {
    /// The contextual network and its prior. Ablations: `core = "free"` makes mean and scale of the core parameters of the map instead of
    /// outputs of the network (the paper's FE); `fixed-sd` sets every deviation instead of learning it.
    posterior: ContextualSettings,
    /// Peak learning rate of the networks' SGD, positive. Default: 0.01.
    network_learning_rate: f64,
    /// Weight `c` of the mean NLL, positive. Default: 1.
    nll_weight: f64,
    /// Weight `w` of the divergence, at least 0. Default: 1e-6.
    divergence_weight: f64,
}

impl Default for CLora {
    fn default() -> Self {
        Self {
            posterior: ContextualSettings::default(),
            network_learning_rate: 0.01,
            nll_weight: 1.0,
            divergence_weight: 1e-6,
        }
    }
}

pub(super) fn from_settings(parameters: toml::Table) -> Result<Box<dyn Method>, String> {
    let method: CLora = read(parameters)?;
    for (name, value) in [
        ("network-learning-rate", method.network_learning_rate),
        ("nll-weight", method.nll_weight),
        ("prior-sd", method.posterior.prior_sd),
    ] {
        check_positive(name, value)?;
    }
    check_not_negative("divergence-weight", method.divergence_weight)?;
    method.posterior.fixed_sd.map_or(Ok(()), |sd| check_positive("fixed-sd", sd))?;
    if method.posterior.hidden == 0 {
        return Err("hidden is 0; expected at least 1".to_owned());
    }
    Ok(Box::new(method))
}

impl Method for CLora {
    fn readings(&self) -> Vec<Reading> {
        vec![Reading::Mean, Reading::Sampled]
    }

    fn settings(&self) -> serde_json::Value {
        recorded("c-lora", self)
    }

    fn fit(&self, context: &FitContext<'_>) -> Result<Fitted> {
        let weight = self.divergence_weight / context.slots.len() as f64;
        let posterior = PosteriorSettings::Contextual(self.posterior);
        let recipe = Recipe {
            objective: &|position| Objective {
                nll: self.nll_weight,
                divergence: weight * divergence_share(position.step, position.steps_per_epoch),
                ..Objective::default()
            },
            rule: &|name| name.starts_with("contextual.").then_some(Rule::Sgd { rate: self.network_learning_rate }),
            ..Recipe::plain(posterior)
        };
        train(context, &recipe, 0)
    }
}
