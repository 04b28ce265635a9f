//! DALorRA (arXiv 2607.02182; methods.md, section 14): rank components that are switched on and off, with a probability that is learnt for
//! each.
//!
//! The loss is the evidence lower bound of an example with its sign changed, `mean NLL + KL(q || p) / N` [derived: the abstract alone was
//! read; the divergence itself is exact and has no weight of its own]. Training draws relaxed switches, prediction hard ones. AdamW holds the
//! logits at a rate of their own, without decay. The prior's probability and the temperature are ours.

use bayeslora_adapters::{MaskScope, PosteriorSettings, RankSwitch, RankSwitchSettings};
use serde::{Deserialize, Serialize};

use super::method::Method;
use super::parameters::{check_not_negative, check_positive, read, recorded};
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
struct DaLorra {
    /// Reach of one draw: `token`, `sequence` or `sample`. Default: `sequence`.
    scope: MaskScope,
    /// Probability that the prior keeps a component, where the learnt ones start too; above 0 and below 1. Default: 0.9.
    prior: f64,
    /// Temperature of the relaxed switches of training, positive. Default: 0.5.
    temperature: f64,
    /// Peak rate of AdamW for the logits of the switches, positive. Default: 0.01.
    logit_learning_rate: f64,
    /// Factor of the divergence over the number of training examples, at least 0; 1 is the bound. Default: 1.
    divergence_weight: f64,
}

impl Default for DaLorra {
    fn default() -> Self {
        let RankSwitchSettings { scope, prior, temperature } = RankSwitchSettings::default();
        Self { scope, prior, temperature, logit_learning_rate: 0.01, divergence_weight: 1.0 }
    }
}

pub(super) fn from_settings(parameters: toml::Table) -> Result<Box<dyn Method>, String> {
    let method: DaLorra = read(parameters)?;
    if !(method.prior > 0.0 && method.prior < 1.0) {
        return Err(format!("prior is {}; expected a probability above 0 and below 1", method.prior));
    }
    check_positive("temperature", method.temperature)?;
    check_positive("logit-learning-rate", method.logit_learning_rate)?;
    check_not_negative("divergence-weight", method.divergence_weight)?;
    Ok(Box::new(method))
}

impl Method for DaLorra {
    fn readings(&self) -> Vec<Reading> {
        vec![Reading::Mean, Reading::Sampled]
    }

    fn settings(&self) -> serde_json::Value {
        recorded("dalorra", self)
    }

    fn fit(&self, context: &FitContext<'_>) -> Result<Fitted> {
        let Self { scope, prior, temperature, logit_learning_rate: rate, .. } = *self;
        let settings = RankSwitchSettings { scope, prior, temperature };
        let weight = self.divergence_weight / context.train.len() as f64;
        let recipe = Recipe {
            objective: &|_| Objective { divergence: weight, ..Objective::default() },
            rule: &|name| (name == RankSwitch::tensor_name()).then_some(Rule::AdamW { rate, decay: 0.0 }),
            ..Recipe::plain(PosteriorSettings::RankSwitch(settings))
        };
        let mut fit = train(context, &recipe, 0)?;
        let mut total = 0.0;
        for (slot, adapter) in fit.members[0].adapters.iter() {
            let Some(switches) = RankSwitch::sharing(adapter, settings) else { continue };
            let rank: f64 = switches.probabilities()?.iter().sum();
            total += rank;
            fit.record.chosen.insert(format!("expected rank of {slot}"), rank);
        }
        fit.record.chosen.insert("expected rank of all maps".to_owned(), total);
        Ok(fit)
    }
}
