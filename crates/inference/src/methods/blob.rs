//! BLoB (arXiv 2406.11675; methods.md, section 7): a Gaussian posterior on the entries of `A`, trained through samples, with the
//! divergence from its prior in bursts at the end of each cycle.
//!
//! Two published codes train it differently, and both are settings. In both, AdamW takes the NLL gradient of `mu` and `B`, and then plain
//! gradient descent steps `mu` and `rho` on the weighted divergence; they differ in who takes the NLL gradient of `rho`. Unlike them:
//! noise is fresh at every token (or shared as `scope` says) instead of flipped in sign, which has the same law at each token.

use bayeslora_adapters::{GaussianSettings, MaskScope, PosteriorSettings};
use serde::{Deserialize, Serialize};

use super::method::Method;
use super::parameters::{check_not_negative, check_positive, read, recorded};
use super::reweighting::{DivergenceCycle, divergence_share};
use crate::context::FitContext;
use crate::error::Result;
use crate::fitted::Fitted;
use crate::optimise::Rule;
use crate::recipe::{DivergenceUpdate, Objective, Recipe};
use crate::train::train;
use bayeslora_records::Reading;

/// Who takes the NLL gradient of `rho`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RhoOptimiser {
    /// Plain gradient descent at the rate of the divergence (the authors' code, where the gradient of the NLL was left in `rho` for
    /// the second optimiser).
    SgdJoint,
    /// AdamW, as for everything else (`BayesAdapt`).
    AdamwThenSgd,
}

/// Parameters: name, default, purpose, range.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Blob {
    /// Reach of one draw: `token`, `sequence` or `sample`. Default: `token`.
    scope: MaskScope,
    /// Standard deviation of the prior of every entry of `A`, positive. Default: 0.2.
    prior_sd: f64,
    /// `eps`; deviations start between `eps^2 / 2` and `eps^2`; positive. Default: 0.05.
    initial_scale: f64,
    /// How `rho` takes the NLL gradient: `sgd-joint` or `adamw-then-sgd`. Default: `sgd-joint`.
    rho_optimiser: RhoOptimiser,
    /// Peak rate of the gradient descent on the divergence, and with `sgd-joint` of `rho` on the NLL; positive. Default: 0.01.
    divergence_rate: f64,
    /// Factor of the weights `pi_i` of the divergence, at least 0. Default: 1.
    divergence_weight: f64,
    /// Steps over which the weights add up to 1: those of an `epoch`, or `rescaled`. Default: `epoch`.
    divergence_cycle: DivergenceCycle,
}

impl Default for Blob {
    fn default() -> Self {
        let GaussianSettings { scope, prior_sd, initial_scale } = GaussianSettings::default();
        Self {
            scope,
            prior_sd,
            initial_scale,
            rho_optimiser: RhoOptimiser::SgdJoint,
            divergence_rate: 0.01,
            divergence_weight: 1.0,
            divergence_cycle: DivergenceCycle::Epoch,
        }
    }
}

pub(super) fn from_settings(parameters: toml::Table) -> Result<Box<dyn Method>, String> {
    let method: Blob = read(parameters)?;
    check_positive("prior-sd", method.prior_sd)?;
    check_positive("initial-scale", method.initial_scale)?;
    check_positive("divergence-rate", method.divergence_rate)?;
    check_not_negative("divergence-weight", method.divergence_weight)?;
    Ok(Box::new(method))
}

impl Method for Blob {
    fn readings(&self) -> Vec<Reading> {
        vec![Reading::Mean, Reading::Sampled]
    }

    fn settings(&self) -> serde_json::Value {
        recorded("blob", self)
    }

    fn fit(&self, context: &FitContext<'_>) -> Result<Fitted> {
        let Self { scope, prior_sd, initial_scale, divergence_rate: rate, .. } = *self;
        let cycle = self.divergence_cycle.steps(context);
        let joint = self.rho_optimiser == RhoOptimiser::SgdJoint;
        let recipe = Recipe {
            objective: &|position| Objective {
                divergence: self.divergence_weight * divergence_share(position.step, cycle),
                ..Objective::default()
            },
            rule: &|name| (joint && name == "gaussian.rho").then_some(Rule::Sgd { rate }),
            divergence: DivergenceUpdate::Descent { rate },
            ..Recipe::plain(PosteriorSettings::Gaussian(GaussianSettings { scope, prior_sd, initial_scale }))
        };
        train(context, &recipe, 0)
    }
}

#[cfg(test)]
mod tests {
    use bayeslora_adapters::{Gaussian, LowRank, Slot, StochasticAdapter, TargetMap};
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::optimise::{Optimiser, linear_schedule};

    /// The divergence alone, on the published schedule: sigma and the factor of mu after one cycle and at the end, computed independently
    /// (methods.md, section 7.3).
    #[test]
    fn the_divergence_alone_moves_sigma_and_mu_as_computed() {
        let slot = Slot::new(0, TargetMap::Query);
        let entry = |value: f32| Tensor::new(&[[value]], &Device::Cpu).unwrap();
        let lora = LowRank::from_tensors(slot, (1, 1), &entry(1.0), &entry(0.0), 1.0).unwrap();
        let rho = entry(0.002_f32.sqrt());
        let adapter = Gaussian::from_tensor(slot, lora, GaussianSettings::default(), &rho).unwrap();
        let rules = adapter.parameters().into_iter().map(|p| (p.var.clone(), Rule::Sgd { rate: 1.0 }));
        let optimiser = Optimiser::new(rules).unwrap();
        let mut seen = Vec::new();
        for step in 0..5000 {
            let weighted = (adapter.divergence().unwrap().unwrap() * divergence_share(step, 316)).unwrap();
            let gradients = optimiser.gradients(&weighted.backward().unwrap());
            optimiser.descend(&gradients, 0.01 * linear_schedule(step, 5000, 0.06)).unwrap();
            if step == 315 || step == 4999 {
                let value = |name: &str| {
                    let all = adapter.parameters();
                    let var = all.iter().find(|p| p.name == name).unwrap().var;
                    f64::from(var.sum_all().unwrap().to_scalar::<f32>().unwrap())
                };
                seen.extend([value("gaussian.rho").powi(2), value("lora_A.weight")]);
            }
        }
        for (got, expected) in seen.into_iter().zip([0.048_536, 0.770_731, 0.186_730, 0.130_844]) {
            assert!((got / expected - 1.0).abs() < 2e-4, "{got} for {expected}");
        }
    }
}
