//! Unit records: everything a report needs, one JSON file per finished unit.
//!
//! A record is written once, by atomic rename, and never changed. Reports are pure functions of records.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::per_text::PerText;

/// Version of the record layout; a record of another version is refused by name.
pub const SCHEMA: u32 = 1;

/// End of the identifier of a row whose logits are divided by its own temperature.
pub const TEMPERED: &str = "+temperature";

/// Identifier of what compares the plain distances of the adapters' input: no row, and the same for all of them.
pub const DISTANCES: &str = "+distances";

/// One (method, task, seed) unit: what was fitted, what it predicted, how good that was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitRecord {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// SHA-256 of everything that determines the unit, in hex.
    pub key: String,
    /// What `key` is the hash of ([`key_of`](crate::key_of)), written with every digit. Records of before it was written have their key
    /// alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Value>,
    /// Name of the experiment.
    pub experiment: String,
    /// Profile of the experiment (`quick`, `full`).
    pub profile: String,
    /// Identifier of the method in the experiment file.
    pub method: String,
    /// Seed of the unit.
    pub seed: u64,
    /// What came of it.
    pub outcome: Outcome,
    /// Where, when and with what it was computed.
    pub provenance: Provenance,
}

impl UnitRecord {
    /// Members of the fit; 0 where it failed.
    pub fn members(&self) -> usize {
        let Outcome::Finished { fit, .. } = &self.outcome else { return 0 };
        fit.best_epoch.len()
    }

    /// Whether it keeps what every text was given.
    pub fn keeps_texts(&self) -> bool {
        let Outcome::Finished { rows, .. } = &self.outcome else { return false };
        rows.iter().flat_map(|row| &row.domains).any(|domain| domain.per_text.is_some())
    }
}

/// What came of a unit. A failure is a row of the table, not a gap in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "status", deny_unknown_fields)]
pub enum Outcome {
    /// Fitted and predicted.
    Finished {
        /// The fit.
        fit: FitRecord,
        /// One row per predictive (a fit may be read in several ways: at its mean, or sampled).
        rows: Vec<RowRecord>,
    },
    /// Did not finish, and why.
    Failed {
        /// One line.
        reason: String,
    },
}

/// How the fit went.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitRecord {
    /// Trainable parameters of all trainings together: members taken from one training count once.
    pub trainable_parameters: u64,
    /// Optimiser steps of all trainings together.
    pub steps: u64,
    /// Validation NLL (nats) after each epoch, one list per member.
    pub validation_nll: Vec<Vec<f64>>,
    /// Epoch (from 1) whose parameters were kept, one per member.
    pub best_epoch: Vec<u32>,
    /// Wall-clock seconds of fitting.
    pub seconds: f64,
    /// Wall-clock seconds of what was computed from the trained weights, beyond `seconds`: a curvature, a search.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub post_hoc_seconds: f64,
    /// Largest resident memory (bytes) of the process during fit and predictions, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
    /// Training tokens (forward and backward) per second; those of the first training where another follows it (SWAG).
    pub tokens_per_second: f64,
    /// What the fit chose for itself, by name: the result of a search, a fitted precision.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub chosen: BTreeMap<String, f64>,
}

fn one() -> u32 {
    1
}

/// What every record was computed in before there was a choice.
const F32: &str = "f32";

fn f32_name() -> String {
    F32.to_owned()
}

fn is_f32(name: &str) -> bool {
    name == F32
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_one(count: &u32) -> bool {
    *count == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(seconds: &f64) -> bool {
    *seconds == 0.0
}

/// One predictive of a fit on every domain: one row of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowRecord {
    /// Identifier of the row, `<method>` or `<method>/<predictive>`; with [`TEMPERED`] at its end when its logits are scaled.
    pub row: String,
    /// What divides every sample's logits, fitted on the validation split. The row then holds scores only: its curves and its cost
    /// are those of the row itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Monte-Carlo samples per example (ensemble: members).
    pub samples: u32,
    /// Wall-clock seconds of prediction over all domains.
    pub seconds: f64,
    /// Predicted examples per second, all samples of an example counted once.
    pub examples_per_second: f64,
    /// Results per domain, the in-distribution test set first.
    pub domains: Vec<DomainRecord>,
}

/// A predictive's results on one domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainRecord {
    /// Identifier of the domain (`movies`, `amazon`, ...).
    pub domain: String,
    /// Whether the fit's training data come from this domain.
    pub in_distribution: bool,
    /// Examples scored.
    pub examples: u64,
    /// Metric key (see `bayeslora_metrics::METRICS`) to value; `null` where the metric is undefined for this
    /// predictive (a deterministic one has no mutual information to rank by) or on this domain (one without labels has no accuracy).
    /// Of corrupted copies the nine of them that say how quality and detection fall.
    pub scores: BTreeMap<String, Option<f64>>,
    /// Reliability bins of the top label, of the test set in distribution only; none where they follow from `per_text`.
    #[serde(default)]
    pub reliability: Vec<ReliabilityPoint>,
    /// Risk-coverage curve ordered by top probability, at most 101 points, of the test set in distribution only; none where it follows
    /// from `per_text`.
    #[serde(default)]
    pub risk_coverage: Vec<RiskPoint>,
    /// Histograms of uncertainty scores: name to counts; none of corrupted copies, nor where they follow from `per_text`.
    #[serde(default)]
    pub histograms: BTreeMap<String, Histogram>,
    /// What every text was given; none of corrupted copies, nor in records of before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_text: Option<PerText>,
}

/// One bin of a reliability diagram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReliabilityPoint {
    /// Left edge.
    pub lower: f64,
    /// Right edge.
    pub upper: f64,
    /// Examples in the bin.
    pub count: u64,
    /// Mean top probability in the bin; `null` when empty.
    pub confidence: Option<f64>,
    /// Accuracy in the bin; `null` when empty.
    pub accuracy: Option<f64>,
}

/// One point of a risk-coverage curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskPoint {
    /// Share of examples answered.
    pub coverage: f64,
    /// Error rate among them.
    pub risk: f64,
}

/// Counts over equal-width bins on `[lower, upper]`; values outside are counted in the end bins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// Left edge of the first bin.
    pub lower: f64,
    /// Right edge of the last bin.
    pub upper: f64,
    /// Examples per bin.
    pub counts: Vec<u64>,
}

/// Paired differences of one row from the reference row, and what its scores know beyond one deterministic pass, as they were kept before
/// unit records had columns of texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparisonRecord {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// SHA-256 over the unit keys compared and the bootstrap's settings, in hex.
    pub key: String,
    /// What `key` is the hash of, as in [`UnitRecord`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Value>,
    /// Row compared; [`DISTANCES`] has no differences.
    pub row: String,
    /// Row it is compared with; tempered where the row is.
    pub reference: String,
    /// Seeds averaged.
    pub seeds: Vec<u64>,
    /// Bootstrap resamples, for metrics that are no means.
    pub resamples: u32,
    /// Coverage of the intervals, e.g. 0.95.
    pub level: f64,
    /// What the intervals cover.
    pub covers: Covers,
    /// Differences, `row - reference`.
    pub differences: Vec<Difference>,
    /// Scores of a sampled row, and distances, beside the entropy of one deterministic pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beyond: Vec<Beyond>,
}

/// Over what an interval of a difference covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Covers {
    /// Examples and seeds.
    ExamplesAndSeeds,
}

/// A paired difference of one metric on one domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// Domain.
    pub domain: String,
    /// Metric key.
    pub metric: String,
    /// Difference on the data themselves.
    pub estimate: f64,
    /// Lower end of the interval.
    pub lower: f64,
    /// Upper end of the interval.
    pub upper: f64,
    /// Two-sided p-value of no difference, not corrected, and the errors behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Test>,
}

/// The test of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// Two-sided, not corrected for other comparisons.
    pub p_value: f64,
    /// Examples it is over.
    pub examples: u64,
    /// Standard error over examples of the difference averaged over seeds.
    pub error_over_examples: f64,
    /// Standard error over seeds; none for one seed.
    pub error_over_seeds: Option<f64>,
}

/// What a score adds, on one domain, to the predictive entropy of one deterministic pass of the same fit. In records of before columns it is
/// of the reference row at the same seed where the fit has no such pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beyond {
    /// Domain.
    pub domain: String,
    /// What the score is for.
    pub question: Question,
    /// Name of the score: `mutual_information`, `mahalanobis`, ...
    pub score: String,
    /// AUROC of the deterministic entropy; none for a correlation.
    pub baseline: Option<f64>,
    /// AUROC of the score minus `baseline`, or the correlation given the entropy; mean over seeds.
    pub estimate: f64,
    /// Lower end of its interval over examples and seeds.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Two-sided p-value of 0, not corrected.
    pub p_value: f64,
}

/// What a score is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Detect the row's errors.
    Errors,
    /// Correlate with the row's errors given the deterministic entropy.
    ErrorsGivenEntropy,
    /// Detect this domain against the in-distribution test set.
    Shift,
}

/// Where, when and with what a record was computed. Names no host, user or absolute path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Version of bayeslora.
    pub version: String,
    /// Git commit of the source, with `+dirty` when the tree had changes; `unknown` outside a checkout.
    pub commit: String,
    /// UTC date, `YYYY-MM-DD`.
    pub date: String,
    /// Processor model.
    pub cpu: String,
    /// Threads used.
    pub threads: u32,
    /// Records computed at a time, on so many threads each.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub jobs: u32,
    /// Device (`cpu`, `cuda:0`).
    pub device: String,
    /// The accelerator's name and its driver's version; none for a processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<String>,
    /// Type of frozen weights and activations.
    #[serde(default = "f32_name", skip_serializing_if = "is_f32")]
    pub precision: String,
    /// SHA-256 of the backbone's weights.
    pub model_digest: String,
    /// SHA-256 of the task's data.
    pub data_digest: String,
}

/// Refuses records of more than one model: a report from records alone cannot tell which is meant.
///
/// # Errors
/// One line with the digests.
pub fn one_model<'a>(records: impl IntoIterator<Item = &'a Provenance>) -> Result<(), String> {
    let digests: BTreeSet<&str> = records.into_iter().map(|record| record.model_digest.as_str()).collect();
    if digests.len() < 2 {
        return Ok(());
    }
    let digests: Vec<&str> = digests.into_iter().collect();
    Err(format!(
        "the records come from different weights (model_digest {}); delete those of the weights that are not meant",
        digests.join(" and ")
    ))
}
