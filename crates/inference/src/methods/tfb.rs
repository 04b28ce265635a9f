//! TFB, training-free Bayesianisation (arXiv 2412.05723; methods.md, section 9): the MLE fit with isotropic noise on its weight update, as
//! strong as the loss on an anchor set tolerates.
//!
//! One `beta` for all maps, found by bisection with the same random numbers at every `beta`, so that the loss is a smooth function of it.
//! Both published codes return the smallest `beta` that they tested and refused, which violates their own constraint; the default here
//! is the largest that was admitted. Neither code has the anchor that is the default here, the labelled validation set: where those labels
//! must not be seen, say `anchor = "train"`. With `criterion = "change"`, theirs, noise that lowers the loss of an overconfident fit is
//! refused as soon as it lowers it by more than the tolerance; `rise` admits it.

use std::time::Instant;

use bayeslora_adapters::{AdapterSet, Gaussian, GaussianSettings, MaskScope, PosteriorSettings, derive_seed};
use bayeslora_metrics::{Averaging, Predictive, negative_log_likelihood};
use serde::{Deserialize, Serialize};

use super::method::Method;
use super::parameters::{check_positive, read, recorded};
use crate::context::FitContext;
use crate::error::Result;
use crate::fitted::Fitted;
use crate::member::Member;
use crate::predictor::Predictor;
use crate::recipe::Recipe;
use crate::train::train;
use bayeslora_records::Reading;

/// Examples on which the loss may change only so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Anchor {
    /// The validation set.
    Validation,
    /// The training set.
    Train,
}

/// What the anchor's loss is taken against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Labels {
    /// The anchor's labels.
    Given,
    /// What the fit without noise predicts.
    Pseudo,
}

/// Which change of the loss counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Criterion {
    /// Its size, up or down, as in both codes.
    Change,
    /// Only a rise: noise that lowers the loss is welcome.
    Rise,
}

/// Which end of the last bracket is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Returned {
    /// The largest `beta` that was tested and admitted.
    LargestAdmitted,
    /// The smallest that was tested and refused, as in both codes.
    SmallestRefused,
}

/// Parameters: name, default, purpose, range.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Tfb {
    /// Reach of one draw: `token`, `sequence` or `sample`. Default: `token`.
    scope: MaskScope,
    /// Anchor set: `validation` or `train`. Default: `validation`.
    anchor: Anchor,
    /// Labels of the anchor: `given` or `pseudo`. Default: `given`.
    labels: Labels,
    /// What of the NLL counts: its `change` or its `rise`. Default: `change`.
    criterion: Criterion,
    /// Largest change of the NLL, as a share of the NLL without noise; positive. Default: 0.003.
    tolerance: f64,
    /// Lower end of the bracket, positive. Default: 0.001.
    lowest: f64,
    /// Upper end of the bracket, above the lower. Default: 0.2.
    highest: f64,
    /// Halvings of the bracket (of its logarithm), at least 1. Default: 6.
    steps: u32,
    /// Samples per example in the search, at least 2. Default: 10.
    samples: u32,
    /// End of the last bracket that is taken: `largest-admitted` or `smallest-refused`. Default: `largest-admitted`.
    returned: Returned,
}

impl Default for Tfb {
    fn default() -> Self {
        Self {
            scope: MaskScope::Token,
            anchor: Anchor::Validation,
            labels: Labels::Given,
            criterion: Criterion::Change,
            tolerance: 0.003,
            lowest: 0.001,
            highest: 0.2,
            steps: 6,
            samples: 10,
            returned: Returned::LargestAdmitted,
        }
    }
}

pub(super) fn from_settings(parameters: toml::Table) -> Result<Box<dyn Method>, String> {
    let method: Tfb = read(parameters)?;
    check_positive("tolerance", method.tolerance)?;
    check_positive("lowest", method.lowest)?;
    if !(method.highest.is_finite() && method.highest > method.lowest) {
        return Err(format!("highest is {}; expected a number above lowest ({})", method.highest, method.lowest));
    }
    for (name, value, least) in [("steps", method.steps, 1), ("samples", method.samples, 2)] {
        if value < least {
            return Err(format!("{name} is {value}; expected at least {least}"));
        }
    }
    Ok(Box::new(method))
}

/// Bounds of the largest admissible number: `admitted` is 0 where nothing tested was admitted, `refused` is missing where all was.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bracket {
    admitted: f64,
    refused: Option<f64>,
}

/// Halves the logarithm of a bracket `steps` times. The ends are tested first.
fn bisect((lowest, highest): (f64, f64), steps: u32, mut admits: impl FnMut(f64) -> Result<bool>) -> Result<Bracket> {
    if admits(highest)? {
        return Ok(Bracket { admitted: highest, refused: None });
    }
    if !admits(lowest)? {
        return Ok(Bracket { admitted: 0.0, refused: Some(lowest) });
    }
    let (mut admitted, mut refused) = (lowest, highest);
    for _ in 0..steps {
        let middle = (admitted * refused).sqrt();
        if admits(middle)? {
            admitted = middle;
        } else {
            refused = middle;
        }
    }
    Ok(Bracket { admitted, refused: Some(refused) })
}

/// `fitted` with isotropic noise of strength `beta` on its weight updates.
fn noisy(fitted: &Member, beta: f64, scope: MaskScope) -> Result<Member> {
    let mut adapters = AdapterSet::new();
    for (slot, adapter) in fitted.adapters.iter() {
        adapters.insert(slot, Box::new(Gaussian::isotropic(slot, adapter.low_rank(), beta, scope)?));
    }
    let posterior = PosteriorSettings::Gaussian(GaussianSettings { scope, ..GaussianSettings::default() });
    Ok(Member { adapters, head: fitted.head.clone(), posterior })
}

impl Tfb {
    /// The noise that the anchor's loss tolerates.
    fn search(&self, context: &FitContext<'_>, fitted: &Member) -> Result<Bracket> {
        let anchor = if self.anchor == Anchor::Train { context.train } else { context.validation };
        let predictor = Predictor {
            backbone: context.backbone,
            from: context.from,
            samples: self.samples,
            // Not the seed of the predictive samples that are reported.
            seed: derive_seed(context.seed, SEARCH),
            progress: context.progress,
        };
        let predictive = |member: &Member, samples| -> Result<Predictive> {
            let logits = predictor.member_logits(member, samples, anchor)?;
            Ok(Predictive::from_logits(logits.view(), Averaging::Probabilities)?)
        };
        let still = predictive(fitted, 0)?;
        let labels: Vec<usize> = match self.labels {
            Labels::Given => anchor.labels().iter().map(|&label| label as usize).collect(),
            Labels::Pseudo => still.predicted(),
        };
        let nll = |predictive: &Predictive| negative_log_likelihood(predictive.log_probabilities(), &labels);
        let reference = nll(&still)?;
        bisect((self.lowest, self.highest), self.steps, |beta| {
            let change = (nll(&predictive(&noisy(fitted, beta, self.scope)?, self.samples)?)? - reference) / reference;
            Ok(match self.criterion {
                Criterion::Change => change.abs() <= self.tolerance,
                Criterion::Rise => change <= self.tolerance,
            })
        })
    }
}

/// Part of the unit's seed that the search draws from.
const SEARCH: u64 = u64::MAX - 1;

impl Method for Tfb {
    fn readings(&self) -> Vec<Reading> {
        vec![Reading::Mean, Reading::Sampled]
    }

    fn settings(&self) -> serde_json::Value {
        recorded("tfb", self)
    }

    fn post_hoc_work(&self, train: u64, validation: u64) -> u64 {
        let anchor = if self.anchor == Anchor::Train { train } else { validation };
        // Without noise, at both ends of the bracket, and at its middles.
        anchor * (1 + u64::from(self.samples) * (2 + u64::from(self.steps)))
    }

    fn fit(&self, context: &FitContext<'_>) -> Result<Fitted> {
        let mut fit = train(context, &Recipe::plain(PosteriorSettings::Deterministic), 0)?;
        context.progress.stage("search of the noise that the loss tolerates");
        let started = Instant::now();
        let Bracket { admitted, refused } = self.search(context, &fit.members[0])?;
        let beta = match self.returned {
            Returned::LargestAdmitted => admitted,
            Returned::SmallestRefused => refused.unwrap_or(admitted),
        };
        fit.members = vec![noisy(&fit.members[0], beta, self.scope)?];
        fit.record.chosen.insert("beta".to_owned(), beta);
        fit.record.post_hoc_seconds = started.elapsed().as_secs_f64();
        Ok(fit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bisection_brackets_the_largest_admissible_number() {
        let below = |limit: f64| move |beta: f64| Ok(beta <= limit);
        for limit in [0.001, 0.0123, 0.1999] {
            let Bracket { admitted, refused } = bisect((0.001, 0.2), 20, below(limit)).unwrap();
            let refused = refused.unwrap();
            // 20 halvings of log 200.
            assert!(admitted <= limit && limit < refused && refused / admitted < 1.0 + 6e-6, "{admitted} {refused}");
        }
        assert_eq!(bisect((0.001, 0.2), 5, below(0.3)).unwrap(), Bracket { admitted: 0.2, refused: None });
        assert_eq!(bisect((0.001, 0.2), 5, below(1e-4)).unwrap(), Bracket { admitted: 0.0, refused: Some(0.001) });
    }
}
