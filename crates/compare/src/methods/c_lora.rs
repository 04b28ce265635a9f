//! C-LoRA (methods.md, section 6): contextual Gaussian noise on an `r x r` core.
//!
//! Like the reference code: AdamW updates A, B and the head, plain SGD the contextual networks, both from the gradient of
//! one loss, `c NLL + w pi_i KL / maps`, with the weights `pi_i` of BLoB growing over the steps of an epoch. Unlike it:
//! the checkpoint is chosen on validation NLL over the whole run, and the schedules use the real number of steps.

use bayeslora_adapters::{ContextualSettings, PosteriorSettings};
use serde::{Deserialize, Serialize};

use super::{Method, Reading, read, recorded};
use crate::Result;
use crate::optimise::Rule;
use crate::train::{Bench, Fitted, Objective, Position, Recipe, train};

/// Parameters: name, default, purpose, range.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct CLora {
    /// The contextual network and its prior.
    posterior: ContextualSettings,
    /// 0.01: peak learning rate of the networks' SGD, positive.
    network_learning_rate: f64,
    /// 1: weight `c` of the mean NLL, positive.
    nll_weight: f64,
    /// 1e-6: weight `w` of the divergence, at least 0.
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
    let positive = |value: f64| value.is_finite() && value > 0.0;
    for (name, value) in [
        ("network-learning-rate", method.network_learning_rate),
        ("nll-weight", method.nll_weight),
        ("prior-sd", method.posterior.prior_sd),
    ] {
        if !positive(value) {
            return Err(format!("{name} is {value}; expected a positive number"));
        }
    }
    let weight = method.divergence_weight;
    if !(weight.is_finite() && weight >= 0.0) {
        return Err(format!("divergence-weight is {weight}; expected at least 0"));
    }
    if method.posterior.hidden == 0 {
        return Err("hidden is 0; expected at least 1".to_owned());
    }
    Ok(Box::new(method))
}

/// `pi_i = 2^i / (2^(M+1) - 1)` for step `i = 1..M` of an epoch of `M` steps (methods.md, section 7.3), written so that
/// it does not overflow at large `M`.
fn divergence_share(position: Position) -> f64 {
    let steps = f64::from(position.steps_per_epoch);
    let i = f64::from(position.step % position.steps_per_epoch.max(1)) + 1.0;
    (i - steps - 1.0).exp2() / (1.0 - (-steps - 1.0).exp2())
}

impl Method for CLora {
    fn readings(&self) -> Vec<Reading> {
        vec![Reading::Mean, Reading::Sampled]
    }

    fn settings(&self) -> serde_json::Value {
        recorded("c-lora", self)
    }

    fn fit(&self, bench: &Bench<'_>) -> Result<Fitted> {
        let weight = self.divergence_weight / bench.slots.len() as f64;
        let recipe = Recipe {
            posterior: PosteriorSettings::Contextual(self.posterior),
            objective: &|position| Objective { nll: self.nll_weight, divergence: weight * divergence_share(position) },
            rule: &|name| name.starts_with("contextual.").then_some(Rule::Sgd { rate: self.network_learning_rate }),
        };
        train(bench, &recipe, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_shares_add_up_at_any_epoch_length() {
        for steps in [1, 2, 17, 909, 100_000] {
            let total: f64 = (0..steps).map(|step| divergence_share(Position { step, steps_per_epoch: steps })).sum();
            let expected = 1.0 - 1.0 / ((f64::from(steps) + 1.0).exp2() - 1.0);
            assert!((total - expected).abs() < 1e-12, "{steps}: {total}");
        }
    }
}
