//! Low-rank variational dropout (BayesLoRA, code v2 and v3; methods.md, section 11): Gaussian entries of `A` and `B` under a log-uniform
//! prior, with ranks dropped on the way if asked for.
//!
//! The published benchmark trains at the mean, so that its variances follow the prior alone (`sample-train = false`); here samples are
//! trained on. Where ranks are dropped the optimiser starts its moments again, as there; but not where none was.

use bayeslora_adapters::{Lrvd, LrvdSampling, LrvdSettings, LrvdVariant, PosteriorSettings};
use serde::{Deserialize, Serialize};

use super::method::Method;
use super::parameters::{check_not_negative, read, recorded};
use crate::context::FitContext;
use crate::error::Result;
use crate::fitted::Fitted;
use crate::member::Member;
use crate::recipe::{Objective, Recipe};
use crate::train::train;
use bayeslora_records::Reading;

/// Parameters: name, default, purpose, range.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct LowRankVariationalDropout {
    /// Random factors: `symmetric` (`A` and `B`) or `asymmetric` (`A` alone). Default: `symmetric`.
    variant: LrvdVariant,
    /// Whether each rank component has one variance; else each entry has one. Default: true.
    tied: bool,
    /// What is drawn: `weights`, once a sample, or outputs one by one (`local-reparametrisation`). Default: `weights`.
    sampling: LrvdSampling,
    /// Whether training draws samples; else it is at the mean, as published. Default: true.
    sample_train: bool,
    /// Weight of the divergence beside the mean NLL, at least 0. Default: 1e-6.
    divergence_weight: f64,
    /// When ranks are dropped, and which. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pruning: Option<Pruning>,
}

/// Which ranks are dropped: those in which noise outweighs the mean.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Pruning {
    /// Median `log (sigma^2 / mu^2)` from which a rank is dropped. It starts near 3.6 at width 768, and falls as `B` grows. Default: 3.
    #[serde(default = "Pruning::threshold")]
    threshold: f64,
    /// Steps from one pruning to the next, at least 1.
    every: u32,
    /// Steps before the first. Default: 0.
    #[serde(default)]
    after: u32,
    /// Ranks of a map that are never dropped. Default: 0.
    #[serde(default)]
    minimum_rank: usize,
}

impl Pruning {
    fn threshold() -> f64 {
        3.0
    }

    fn is_due(self, step: u32) -> bool {
        step > self.after && (step - self.after).is_multiple_of(self.every)
    }
}

impl Default for LowRankVariationalDropout {
    fn default() -> Self {
        let LrvdSettings { variant, tied, sampling } = LrvdSettings::default();
        Self { variant, tied, sampling, sample_train: true, divergence_weight: 1e-6, pruning: None }
    }
}

pub(super) fn from_settings(parameters: toml::Table) -> Result<Box<dyn Method>, String> {
    let method: LowRankVariationalDropout = read(parameters)?;
    check_not_negative("divergence-weight", method.divergence_weight)?;
    if let Some(Pruning { threshold, every, .. }) = method.pruning {
        if threshold.is_nan() {
            return Err("threshold of the pruning is NaN; expected a number".to_owned());
        }
        if every == 0 {
            return Err("every of the pruning is 0; expected at least 1".to_owned());
        }
    }
    Ok(Box::new(method))
}

/// The adapters of a member with their slots.
fn adapters(member: &Member, settings: LrvdSettings) -> impl Iterator<Item = (bayeslora_adapters::Slot, Lrvd)> {
    member.adapters.iter().filter_map(move |(slot, adapter)| Some((slot, Lrvd::sharing(adapter, settings)?)))
}

impl Method for LowRankVariationalDropout {
    fn readings(&self) -> Vec<Reading> {
        vec![Reading::Mean, Reading::Sampled]
    }

    fn settings(&self) -> serde_json::Value {
        recorded("lrvd", self)
    }

    fn fit(&self, context: &FitContext<'_>) -> Result<Fitted> {
        let Self { variant, tied, sampling, .. } = *self;
        let settings = LrvdSettings { variant, tied, sampling };
        let prune = |member: &Member, step: u32| -> Result<bool> {
            let Some(pruning) = self.pruning.filter(|pruning| pruning.is_due(step)) else { return Ok(false) };
            let mut dropped = 0;
            for (_, adapter) in adapters(member, settings) {
                dropped += adapter.prune(pruning.threshold, pruning.minimum_rank)?;
            }
            Ok(dropped > 0)
        };
        let recipe = Recipe {
            objective: &|_| Objective { divergence: self.divergence_weight, ..Objective::default() },
            sampled: self.sample_train,
            after_step: &prune,
            ..Recipe::plain(PosteriorSettings::Lrvd(settings))
        };
        let mut fit = train(context, &recipe, 0)?;
        let mut total = 0;
        for (slot, adapter) in adapters(&fit.members[0], settings) {
            let rank = adapter.surviving()?;
            total += rank;
            fit.record.chosen.insert(format!("rank of {slot}"), rank as f64);
        }
        fit.record.chosen.insert("rank of all maps".to_owned(), total as f64);
        Ok(fit)
    }
}
