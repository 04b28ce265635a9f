//! Bayesian-LoRA (arXiv 2601.21003; methods.md, section 14): `A` and `B` conditioned by small inducing matrices, one pair of each for a map.
//!
//! The loss is the evidence lower bound of an example with its sign changed, `mean NLL + KL(q || p) / N`. Sizes, first deviations and their
//! limits are those of the authors' configuration. Unlike it: the prior's deviation is 0.2 for every entry, as BLoB's, where theirs is 0.1 over
//! the root of the width, at which a factor hardly learns in some hundred steps; the mean of `B` starts at 0; deviations and scales are
//! learnt at a rate of their own. No flow changes the law of the inducing matrices, and the bases have no noise (the authors' code adds some).

use bayeslora_adapters::{Inducing as Adapter, InducingSettings, PosteriorSettings};
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
struct Inducing {
    /// Rows of an inducing matrix, at least 1; never more than those of its factor. Default: 9.
    rows: usize,
    /// Columns of an inducing matrix, at least 1; never more than those of its factor. Default: 9.
    columns: usize,
    /// Standard deviation of every entry of `A` and `B` under the prior, positive. Default: 0.2.
    prior_sd: f64,
    /// Deviation of the whitened inducing matrix at the start, positive. Default: 0.001.
    initial_sd: f64,
    /// Its largest deviation, at least the first. Default: 0.1.
    largest_sd: f64,
    /// `lambda`, the share of the conditional deviation, at the start; positive. Default: 0.001.
    initial_scale: f64,
    /// Largest `lambda`, at least the first. Default: 0.03.
    largest_scale: f64,
    /// Peak rate of AdamW for the logarithms of deviations and of `lambda`, positive. Default: 0.01.
    deviation_learning_rate: f64,
    /// Factor of the divergence over the number of training examples, at least 0; 1 is the bound. Default: 1.
    divergence_weight: f64,
}

impl Default for Inducing {
    fn default() -> Self {
        let InducingSettings { rows, columns, prior_sd, initial_sd, largest_sd, initial_scale, largest_scale } =
            InducingSettings::default();
        Self {
            rows,
            columns,
            prior_sd,
            initial_sd,
            largest_sd,
            initial_scale,
            largest_scale,
            deviation_learning_rate: 0.01,
            divergence_weight: 1.0,
        }
    }
}

pub(super) fn from_settings(parameters: toml::Table) -> Result<Box<dyn Method>, String> {
    let method: Inducing = read(parameters)?;
    for (name, value) in [("rows", method.rows), ("columns", method.columns)] {
        if value == 0 {
            return Err(format!("{name} is 0; expected at least 1"));
        }
    }
    for (name, value) in [
        ("prior-sd", method.prior_sd),
        ("initial-sd", method.initial_sd),
        ("initial-scale", method.initial_scale),
        ("deviation-learning-rate", method.deviation_learning_rate),
    ] {
        check_positive(name, value)?;
    }
    for (name, value, least) in [
        ("largest-sd", method.largest_sd, method.initial_sd),
        ("largest-scale", method.largest_scale, method.initial_scale),
    ] {
        if !(value.is_finite() && value >= least) {
            return Err(format!("{name} is {value}; expected at least the first value ({least})"));
        }
    }
    check_not_negative("divergence-weight", method.divergence_weight)?;
    Ok(Box::new(method))
}

impl Inducing {
    fn posterior(&self) -> InducingSettings {
        InducingSettings {
            rows: self.rows,
            columns: self.columns,
            prior_sd: self.prior_sd,
            initial_sd: self.initial_sd,
            largest_sd: self.largest_sd,
            initial_scale: self.initial_scale,
            largest_scale: self.largest_scale,
        }
    }
}

impl Method for Inducing {
    fn readings(&self) -> Vec<Reading> {
        vec![Reading::Mean, Reading::Sampled]
    }

    fn settings(&self) -> serde_json::Value {
        recorded("inducing", self)
    }

    fn fit(&self, context: &FitContext<'_>) -> Result<Fitted> {
        let settings = self.posterior();
        let weight = self.divergence_weight / context.train.len() as f64;
        let rate = self.deviation_learning_rate;
        let is_deviation = |name: &str| name.ends_with(".log_sd") || name.ends_with(".log_scale");
        let recipe = Recipe {
            objective: &|_| Objective { divergence: weight, ..Objective::default() },
            rule: &|name| is_deviation(name).then_some(Rule::AdamW { rate, decay: 0.0 }),
            ..Recipe::plain(PosteriorSettings::Inducing(settings))
        };
        let mut fit = train(context, &recipe, 0)?;
        let (mut total, mut count) = (0.0, 0.0);
        for (_, adapter) in fit.members[0].adapters.iter() {
            let Some(adapter) = Adapter::sharing(adapter, settings) else { continue };
            adapter.settle()?;
            total += adapter.scales()?.iter().sum::<f64>();
            count += 2.0;
        }
        fit.record.chosen.insert("mean lambda".to_owned(), total / f64::max(count, 1.0));
        Ok(fit)
    }
}
