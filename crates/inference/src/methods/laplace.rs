//! Laplace-LoRA (arXiv 2308.13111; methods.md, section 8): a Gaussian posterior around a trained fit by the curvature of its loss,
//! Kronecker-factored, read through the linearised network. See the crate's `laplace` module for the formulae.
//!
//! The prior precision is the one of largest marginal likelihood. The published codes start from the MLE fit, which is the mode of no
//! prior; `prior-sd` trains under a prior instead. Unlike theirs the head is trained here and has a posterior too; `head` gives it to the
//! head alone (LLLA).

use std::time::Instant;

use bayeslora_adapters::{PosteriorSettings, Reach};
use serde::{Deserialize, Serialize};

use super::method::Method;
use super::parameters::{check_positive, read, recorded, refused};
use crate::context::FitContext;
use crate::error::Result;
use crate::fitted::Fitted;
use crate::laplace::{Laplace, Network};
use crate::member::Member;
use crate::readout::check_classes;
use crate::recipe::{Objective, Recipe};
use crate::train::train;
use bayeslora_records::Reading;

/// Parameters: name, default, purpose, range.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct LaplaceLora {
    /// Weights with a posterior: `all` (every adapter, and the head if trained) or `head` (the last layer alone). Default: `all`.
    reach: Reach,
    /// Precision `lambda` of the prior in the posterior, positive. Default: that of largest marginal likelihood.
    #[serde(skip_serializing_if = "Option::is_none")]
    prior_precision: Option<f64>,
    /// Standard deviation of a prior in the loss of training (`map`), positive. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    prior_sd: Option<f64>,
    /// Draws of the Gaussian logits, at least 1; they cost next to nothing. Default: 100.
    draws: u32,
}

impl Default for LaplaceLora {
    fn default() -> Self {
        Self { reach: Reach::All, prior_precision: None, prior_sd: None, draws: 100 }
    }
}

pub(super) fn from_settings(parameters: toml::Table) -> Result<Box<dyn Method>, String> {
    let method: LaplaceLora = read(parameters)?;
    for (name, value) in [("prior-precision", method.prior_precision), ("prior-sd", method.prior_sd)] {
        value.map_or(Ok(()), |value| check_positive(name, value))?;
    }
    if method.draws == 0 {
        return Err("draws is 0; expected at least 1".to_owned());
    }
    Ok(Box::new(method))
}

impl Method for LaplaceLora {
    fn readings(&self) -> Vec<Reading> {
        vec![Reading::Linearised]
    }

    fn settings(&self) -> serde_json::Value {
        recorded("laplace", self)
    }

    fn post_hoc_work(&self, train: u64, _: u64) -> u64 {
        Laplace::work(train)
    }

    fn fit(&self, context: &FitContext<'_>) -> Result<Fitted> {
        if self.reach == Reach::Head && !context.train_head {
            return Err(refused("reach is head".to_owned(), "all, or adapter.train-head = true".to_owned()));
        }
        check_classes(context.train)?;
        let prior = self.prior_sd.map_or(0.0, |sd| 1.0 / (sd.powi(2) * context.train.len() as f64));
        let recipe = Recipe {
            objective: &|_| Objective { prior, ..Objective::default() },
            ..Recipe::plain(PosteriorSettings::Deterministic)
        };
        let mut fit = train(context, &recipe, 0)?;
        context.progress.stage("curvature of the loss");
        let started = Instant::now();
        let member = &mut fit.members[0];
        let Member { adapters, head, .. } = member;
        let network = Network { backbone: context.backbone, from: context.from, adapters, head };
        let laplace = Laplace::fit(network, context.train, (self.reach, self.draws), context.progress)?;
        let precision = self.prior_precision.unwrap_or_else(|| laplace.best_precision());
        fit.record.chosen.insert("prior-precision".to_owned(), precision);
        fit.record.chosen.insert("log-evidence-less-likelihood".to_owned(), laplace.log_evidence(precision));
        let laplace = laplace.with_precision(precision);
        member.posterior = PosteriorSettings::Laplace(laplace.settings());
        fit.laplace = Some(laplace);
        fit.record.post_hoc_seconds = started.elapsed().as_secs_f64();
        Ok(fit)
    }
}
