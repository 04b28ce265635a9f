//! The rule "sets" for examples: one threshold, or one for each class or kind of input.

use bayeslora_metrics::guarantee::{Cutoff, LabelSet, SetScore, Strata, StratifiedCutoff, fewest_examples, uniform};
use ndarray::ArrayView1;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::example::{Example, hashed};
use crate::settings::{Per, SetsPromise};

const RULE: &str = "sets";

/// Thresholds of sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetsRule {
    /// What is promised.
    pub promise: SetsPromise,
    /// Kinds of input in the order of their thresholds; empty where sets are not per kind.
    pub kinds: Vec<String>,
    /// The thresholds.
    pub thresholds: StratifiedCutoff,
}

impl SetsRule {
    /// Strata that are too small share a threshold, decided by the counts of the grid.
    pub(crate) fn fit(promise: SetsPromise, classes: usize, calibration: &[Example], grid: &[Example]) -> Result<Self> {
        let mut kinds: Vec<String> = Vec::new();
        if promise.per == Per::Stratum {
            kinds.extend(calibration.iter().chain(grid).filter_map(|example| example.stratum.clone()));
            kinds.sort();
            kinds.dedup();
        }
        let fewest = fewest_examples(promise.alpha, promise.promise).map_err(ruled)?;
        let strata = if promise.per == Per::All {
            Strata::merged(&[calibration.len()], fewest)
        } else {
            let mut counts = vec![0_usize; strata_among(promise.per, &kinds, classes)];
            for example in grid {
                if let Some(count) = counts.get_mut(stratum_of(promise.per, &kinds, example)?) {
                    *count += 1;
                }
            }
            let scale = calibration.len() as f64 / grid.len() as f64;
            Strata::merged(&counts.iter().map(|&count| surely(count as f64 * scale)).collect::<Vec<_>>(), fewest)
        };
        let (mut scores, mut own) = (Vec::new(), Vec::new());
        for example in calibration {
            let label = example.label.ok_or_else(|| missing(example, "label"))?;
            let of_classes = class_scores(promise.score, example)?;
            scores.push(of_classes.get(label).copied().ok_or_else(|| missing(example, "probability"))?);
            own.push(stratum_of(promise.per, &kinds, example)?);
        }
        let thresholds = StratifiedCutoff::fit(&scores, &own, strata.map_err(ruled)?, promise.alpha, promise.promise)
            .map_err(ruled)?;
        Ok(Self { promise, kinds, thresholds })
    }

    /// Number of strata among so many classes.
    pub(crate) fn strata(&self, classes: usize) -> usize {
        strata_among(self.promise.per, &self.kinds, classes)
    }

    /// The threshold that the label of an example is held to.
    pub(crate) fn cutoff(&self, example: &Example) -> Result<&Cutoff> {
        let stratum = stratum_of(self.promise.per, &self.kinds, example)?;
        self.thresholds.of(stratum).map_err(ruled)
    }

    /// The set of an example; its label is not looked at.
    pub(crate) fn set(&self, example: &Example) -> Result<LabelSet> {
        let scores = class_scores(self.promise.score, example)?;
        match self.promise.per {
            Per::Class => self.thresholds.set_by_class(&scores).map_err(ruled),
            Per::All | Per::Stratum => self.cutoff(example)?.set(&scores).map_err(ruled),
        }
    }

    /// Whether the label of an example is within its threshold. A set that is forced covers no less.
    pub(crate) fn covers(&self, example: &Example) -> Result<bool> {
        let label = example.label.ok_or_else(|| missing(example, "label"))?;
        let (cutoff, scores) = (self.cutoff(example)?, class_scores(self.promise.score, example)?);
        Ok(scores.get(label).is_some_and(|&score| cutoff.contains(score)))
    }
}

fn strata_among(per: Per, kinds: &[String], classes: usize) -> usize {
    match per {
        Per::All => 1,
        Per::Class => classes,
        Per::Stratum => kinds.len(),
    }
}

fn stratum_of(per: Per, kinds: &[String], example: &Example) -> Result<usize> {
    match per {
        Per::All => Ok(0),
        Per::Class => example.label.ok_or_else(|| missing(example, "label")),
        Per::Stratum => {
            let kind = example.stratum.as_ref().ok_or_else(|| missing(example, "kind"))?;
            kinds.binary_search(kind).map_err(|_| Error::Examples {
                set: RULE,
                problem: format!("id `{}` is of the kind `{kind}`, of which there was none in calibration", example.id),
            })
        }
    }
}

/// How strange each class is. The number that breaks ties is the id's.
fn class_scores(score: SetScore, example: &Example) -> Result<Vec<f64>> {
    let probabilities = example.probabilities.as_ref().ok_or_else(|| missing(example, "probability"))?;
    score.of_classes(ArrayView1::from(probabilities), uniform(0, hashed("set", &example.id))).map_err(ruled)
}

fn ruled(source: bayeslora_metrics::Error) -> Error {
    Error::Rule { rule: RULE, source }
}

fn missing(example: &Example, what: &str) -> Error {
    Error::Examples { set: RULE, problem: format!("id `{}` has no {what}; sets need it", example.id) }
}

/// Two standard deviations of a count below its expectation: what there surely is of a stratum in calibration.
fn surely(expected: f64) -> usize {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 0, and a cast saturates")]
    let count = (expected - 2.0 * expected.sqrt()).max(0.0) as usize;
    count
}
