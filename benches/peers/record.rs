//! What a measurement set leaves behind: one JSON file, everything the report needs, no host, user or path.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bayeslora_host::write_atomically;
use serde::{Deserialize, Serialize};

use crate::protocol::Part;

/// Version of the layout.
pub(crate) const SCHEMA: u32 = 1;

/// Largest share of a machine that others may use while it measures: an editor, not a compiler.
const QUIET: f64 = 0.15;

/// One measurement set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) schema: u32,
    /// Identifier of the set.
    pub(crate) set: String,
    /// Whether it is a smoke test.
    pub(crate) is_quick: bool,
    /// What was asked for; a record of other settings is measured again.
    pub(crate) settings: serde_json::Value,
    pub(crate) machine: Machine,
    /// Largest share of the machine that others used while all workers waited, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) others: Option<f64>,
    pub(crate) agreement: Vec<Agreement>,
    pub(crate) measurements: Vec<Measurement>,
}

/// Where and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) threads: usize,
    pub(crate) date: String,
    /// Of this program.
    pub(crate) commit: String,
    /// Of torch, transformers, peft and Python.
    pub(crate) versions: BTreeMap<String, String>,
}

/// One contestant at one point of the axis.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measurement {
    pub(crate) contestant: String,
    /// The point: samples, texts, rank, tokens, blocks.
    pub(crate) at: f64,
    /// Every timed run, in the order they alternated.
    pub(crate) seconds: Vec<f64>,
    /// The untimed first run, compiling included.
    pub(crate) warm_seconds: f64,
    /// Largest resident size once loaded, and after the first timed run.
    pub(crate) ready_bytes: Option<u64>,
    pub(crate) peak_bytes: Option<u64>,
    /// Tokens of one run, without and with padding.
    pub(crate) tokens: u64,
    pub(crate) padded: u64,
    /// The least arithmetic of the work, with sharing and packing; see cost.rs.
    pub(crate) flops: f64,
    pub(crate) bytes: f64,
    /// Threads and libraries as the worker sees them.
    pub(crate) worker: String,
    /// Why there are no runs.
    pub(crate) failed: Option<String>,
    /// Distance from the reference, where there is one.
    pub(crate) errors: Option<Errors>,
    /// What its samples are beside ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) precision: Option<Precision>,
    /// Parts timed apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<Part>,
    /// What was computed, kept for the reference alone: `[4, texts, classes]`, see worker/predict.rs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) values: Vec<f32>,
}

/// Distance of a predictive from the reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Errors {
    /// Root mean square over texts of the error of the mean probability.
    pub(crate) mean: f64,
    /// The same of the probability's variance, as a share of the reference's root mean square; none for one sample.
    pub(crate) variance: Option<f64>,
    /// The same of the logits' variance.
    pub(crate) logit_variance: Option<f64>,
}

/// Sampled uncertainty beside ours.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Precision {
    /// Variance of the probability, summed over texts, as a multiple of ours.
    pub(crate) variance_ratio: f64,
    /// Rank correlation over texts of that variance with ours.
    pub(crate) rank_correlation: f64,
    /// Root mean square over texts of the distance of mean logits from ours.
    pub(crate) logit_distance: f64,
    /// Root mean square over texts of the deviation of a logit from sample to sample.
    pub(crate) deviation: f64,
}

/// A comparison made before the clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agreement {
    pub(crate) contestant: String,
    pub(crate) at: f64,
    /// What is compared, and how.
    pub(crate) of: String,
    pub(crate) statistic: f64,
    pub(crate) limit: f64,
    /// The pair of values that lies farthest apart, where the statistic has one: ours (or exact), theirs.
    pub(crate) farthest: Option<(f64, f64)>,
    /// Whether a larger statistic stops the measurement; reduced precision is only reported.
    pub(crate) is_enforced: bool,
}

impl Measurement {
    /// Median of the timed runs.
    pub(crate) fn median(&self) -> Option<f64> {
        (!self.seconds.is_empty()).then(|| bayeslora_metrics::median(self.seconds.iter().copied()))
    }

    /// Least and largest of the timed runs.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        let least = self.seconds.iter().copied().reduce(f64::min)?;
        Some((least, self.seconds.iter().copied().fold(least, f64::max)))
    }
}

impl Record {
    /// Reads the record of a set, if it is there.
    pub(crate) fn read(folder: &Path, set: &str) -> Result<Option<Self>> {
        let path = folder.join(format!("{set}.json"));
        if !path.is_file() {
            return Ok(None);
        }
        let name = path.display();
        let text = std::fs::read_to_string(&path).with_context(|| format!("{name} cannot be read"))?;
        let record: Self = serde_json::from_str(&text)
            .with_context(|| format!("{name} is not a record of this program; delete it and measure again"))?;
        let got = record.schema;
        ensure!(got == SCHEMA, "{name} has layout {got}, this program reads {SCHEMA}; delete it and measure again");
        Ok(Some(record))
    }

    /// Writes the record, whole or not at all.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        Ok(write_atomically(&folder.join(format!("{}.json", self.set)), format!("{text}\n").as_bytes())?)
    }

    /// Keeps the largest share that others used.
    pub(crate) fn notice(&mut self, others: Option<f64>) {
        self.others = others.into_iter().chain(self.others).reduce(f64::max);
    }

    /// Whether other programs took so much of the machine that the times mean little.
    pub(crate) fn was_disturbed(&self) -> bool {
        self.others.is_some_and(|share| share > QUIET)
    }

    /// The measurement of a contestant at a point.
    pub(crate) fn find(&self, contestant: &str, at: f64) -> Option<&Measurement> {
        self.measurements.iter().find(|one| one.contestant == contestant && one.at.to_bits() == at.to_bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_even_and_odd_counts() {
        let of = |seconds: &[f64]| Measurement { seconds: seconds.to_vec(), ..Measurement::default() };
        assert_eq!(of(&[3.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).median(), Some(2.5));
        assert_eq!(of(&[]).median(), None);
        assert_eq!(of(&[3.0, 1.0]).range(), Some((1.0, 3.0)));
    }

    #[test]
    fn a_record_of_another_layout_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(folder.path(), "main").unwrap(), None);
        std::fs::write(folder.path().join("main.json"), "{}").unwrap();
        let error = Record::read(folder.path(), "main").unwrap_err().to_string();
        assert!(error.ends_with("main.json is not a record of this program; delete it and measure again"), "{error}");
    }
}
