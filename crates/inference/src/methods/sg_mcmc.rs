//! Cyclical SG-MCMC (Zhang et al., arXiv 1902.03932): one run of SGHMC over every trained parameter whose rate starts again in each cycle;
//! members are its states at the ends of the cycles, probabilities averaged over them.
//!
//! The law is that of the posterior with prior `N(0, sigma_p^2)` on every entry (`A`, `B` and the head), at a temperature. Like the authors'
//! code: the noise comes in the last tenth of a cycle, three states of it are kept, and the velocity goes on across cycles. Unlike it: the
//! temperature is that of the posterior, 1 by default, where theirs is `1 / N`; friction is 0.1, where theirs is 0.9. Gradients are not clipped,
//! the schedule and the decay of the shared loop are not used, and training is not stopped early. `friction = 1` is SGLD.

use bayeslora_adapters::{Noise, PosteriorSettings, Stream, derive_seed};
use serde::{Deserialize, Serialize};

use super::checkpoint_ensemble::spaced;
use super::method::Method;
use super::parameters::{check_not_negative, check_positive, read, recorded, refused};
use crate::context::FitContext;
use crate::error::Result;
use crate::fitted::Fitted;
use crate::optimise::{Rule, Sghmc};
use crate::recipe::{Objective, Recipe};
use crate::settings::TrainingSettings;
use crate::train::train;
use bayeslora_records::Reading;

/// Parameters: name, default, purpose, range.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct SgMcmc {
    /// Cycles, at least 1. Default: 4.
    cycles: u32,
    /// States kept of each cycle, equally spaced over its part with noise, at least 1. Default: 3.
    samples_per_cycle: u32,
    /// Rate at the start of a cycle, of the gradient of the mean loss; positive. Default: 0.1.
    learning_rate: f64,
    /// Share of the velocity that each step loses, above 0 and at most 1 (SGLD). Default: 0.1.
    friction: f64,
    /// Temperature of the posterior, at least 0; 0 has no noise. Default: 1.
    temperature: f64,
    /// Standard deviation `sigma_p` of the prior of every parameter, positive. Default: 1.
    prior_sd: f64,
    /// Share of a cycle without noise, in [0, 1). Default: 0.9.
    exploration: f64,
}

impl Default for SgMcmc {
    fn default() -> Self {
        Self {
            cycles: 4,
            samples_per_cycle: 3,
            learning_rate: 0.1,
            friction: 0.1,
            temperature: 1.0,
            prior_sd: 1.0,
            exploration: 0.9,
        }
    }
}

pub(super) fn from_settings(parameters: toml::Table) -> Result<Box<dyn Method>, String> {
    let method: SgMcmc = read(parameters)?;
    for (name, value) in [("cycles", method.cycles), ("samples-per-cycle", method.samples_per_cycle)] {
        if !(1..=MOST).contains(&value) {
            return Err(format!("{name} is {value}; expected 1 to {MOST}"));
        }
    }
    check_positive("learning-rate", method.learning_rate)?;
    check_positive("prior-sd", method.prior_sd)?;
    check_not_negative("temperature", method.temperature)?;
    if !(method.friction > 0.0 && method.friction <= 1.0) {
        return Err(format!("friction is {}; expected a number above 0 and at most 1", method.friction));
    }
    if !(0.0..1.0).contains(&method.exploration) {
        return Err(format!("exploration is {}; expected at least 0 and below 1", method.exploration));
    }
    Ok(Box::new(method))
}

/// Cycles at most, and states of one; their product is a number of members.
const MOST: u32 = 10_000;
/// Part of the unit's seed that the noise comes from.
const NOISE: u64 = u64::MAX - 3;

/// Lengths in steps.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    cycle: u32,
    exploring: u32,
    /// Steps after which states are kept.
    kept: Vec<u32>,
}

impl SgMcmc {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a step count")]
    fn plan(&self, steps: u32) -> Plan {
        let cycle = steps.div_ceil(self.cycles).max(1);
        let exploring = (self.exploration * f64::from(cycle)).floor() as u32;
        let of_cycle = |number: u32| {
            let start = cycle.saturating_mul(number).min(steps);
            let end = start.saturating_add(cycle).min(steps);
            spaced(start.saturating_add(exploring).min(end), end, self.samples_per_cycle)
        };
        Plan { cycle, exploring, kept: (0..self.cycles).flat_map(of_cycle).collect() }
    }
}

impl Method for SgMcmc {
    fn readings(&self) -> Vec<Reading> {
        vec![Reading::Members]
    }

    fn settings(&self) -> serde_json::Value {
        recorded("sg-mcmc", self)
    }

    fn check_steps(&self, examples: usize, training: &TrainingSettings) -> Result<()> {
        let steps = training.steps(examples);
        let Plan { cycle, exploring, kept } = self.plan(steps);
        if kept.len() >= self.members() as usize {
            return Ok(());
        }
        let expected = format!(
            "{steps} steps in {} cycles have {} with noise in each: train longer, or lower exploration",
            self.cycles,
            cycle - exploring
        );
        Err(refused(format!("samples-per-cycle is {}", self.samples_per_cycle), expected))
    }

    fn members(&self) -> u32 {
        self.cycles * self.samples_per_cycle
    }

    fn trainings(&self) -> u32 {
        1
    }

    fn fit(&self, context: &FitContext<'_>) -> Result<Fitted> {
        self.check_steps(context.train.len(), context.training)?;
        let examples = context.train.len() as f64;
        let Plan { cycle, exploring, kept } = self.plan(context.steps());
        let sghmc = Sghmc {
            rate: self.learning_rate,
            friction: self.friction,
            heat: self.temperature / examples,
            cycle,
            exploring,
            noise: Noise::new(derive_seed(context.seed, NOISE), Stream::Training),
        };
        let prior = 1.0 / (self.prior_sd.powi(2) * examples);
        let recipe = Recipe {
            objective: &|_| Objective { prior, ..Objective::default() },
            rule: &|_| Some(Rule::Sghmc(sghmc)),
            snapshots: &kept,
            ..Recipe::plain(PosteriorSettings::Deterministic)
        };
        train(context, &recipe, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_kept_at_the_ends_of_cycles() {
        let method = SgMcmc { cycles: 3, samples_per_cycle: 2, exploration: 0.75, ..SgMcmc::default() };
        assert_eq!(method.plan(60), Plan { cycle: 20, exploring: 15, kept: vec![17, 20, 37, 40, 57, 60] });
        // The last cycle is cut where the training ends.
        assert_eq!(method.plan(58).kept, [17, 20, 37, 40, 56, 58]);
        let all = SgMcmc { cycles: 1, samples_per_cycle: 4, exploration: 0.0, ..SgMcmc::default() };
        assert_eq!(all.plan(8), Plan { cycle: 8, exploring: 0, kept: vec![2, 4, 6, 8] });
        let problem = method.check_steps(8, &TrainingSettings { epochs: 12, batch_size: 8, ..Default::default() });
        assert_eq!(
            problem.unwrap_err().to_string(),
            "samples-per-cycle is 2; 12 steps in 3 cycles have 1 with noise in each: train longer, or lower exploration"
        );
    }
}
