//! The smallest difference from the reference that the design detects, by Cohen's noncentral t.

use std::collections::HashMap;

use bayeslora_metrics::{MetricInfo, metric, smallest_noncentrality};

use crate::comparison::{Comparison, Difference, StandardError};
use crate::definition::{Definition, TestSet};
use crate::error::Result;
use crate::score::LEVEL;

/// Probability with which it is detected.
const POWER: f64 = 0.8;
/// Fewer seeds say nothing about their spread.
const SEEDS: usize = 3;

/// Smallest detectable differences of the rows in one metric and domain, row by row.
#[derive(Debug, Default)]
pub(crate) struct Detectable {
    /// By the test of the stars: over examples and seeds.
    pub(crate) by_test: Vec<f64>,
    /// Examples as units, seeds averaged and given.
    pub(crate) over_examples: Vec<f64>,
    /// Seeds as units, examples given.
    pub(crate) over_seeds: Vec<f64>,
}

/// What the design detects in every metric that was tested on a test set; corrupted copies are left out.
pub(crate) struct DetectableDifferences<'a> {
    pub(crate) found: Vec<(&'a TestSet, &'static MetricInfo, Detectable)>,
}

impl<'a> DetectableDifferences<'a> {
    /// Standard errors times [`smallest_noncentrality`], at the level that Holm's correction asks of the smallest p-value, 0.05 over the rows
    /// compared. Rows that predict exactly as the reference does are left out.
    pub(crate) fn new(definition: &'a Definition, comparisons: &[Comparison]) -> Result<Self> {
        let mut needed = Noncentralities::default();
        let mut found = Vec::new();
        for domain in definition.domains.iter().filter(|domain| domain.corruption.is_none()) {
            for metric in compared(comparisons, domain) {
                let mut tests: Vec<(&Difference, usize)> = Vec::new();
                for comparison in comparisons.iter().filter(|c| definition.rows.iter().any(|row| row.id == c.row)) {
                    let here = |d: &&Difference| d.domain == domain.id && d.metric == metric.key;
                    tests.extend(comparison.differences.iter().filter(here).map(|found| (found, comparison.seeds)));
                }
                let alpha = LEVEL / tests.len().max(1) as f64;
                let mut detectable = Detectable::default();
                let has_error = |part: &Option<StandardError>| part.is_some_and(|part| part.error > 0.0);
                for (found, seeds) in tests {
                    // What is persistent of examples may be estimated as nothing: the seeds' error still counts.
                    let parts = [Some(found.over_examples), found.over_seeds];
                    let [over_examples, over_seeds] = parts.each_ref().map(has_error);
                    if over_examples || over_seeds {
                        detectable.by_test.push(needed.smallest(&parts, alpha)?);
                    }
                    if over_examples {
                        detectable.over_examples.push(needed.smallest(&parts[..1], alpha)?);
                    }
                    if over_seeds && seeds >= SEEDS {
                        detectable.over_seeds.push(needed.smallest(&parts[1..], alpha)?);
                    }
                }
                found.push((domain, metric, detectable));
            }
        }
        Ok(Self { found })
    }

    /// In one metric on one domain, where it was tested.
    pub(crate) fn of(&self, domain: &str, metric: &str) -> Option<&Detectable> {
        let here = |(own, info, _): &&(&TestSet, &MetricInfo, _)| own.id == domain && info.key == metric;
        self.found.iter().find(here).map(|(_, _, detectable)| detectable)
    }
}

/// [`smallest_noncentrality`] by degrees of freedom, of which two digits are told apart, and level: many rows need the same.
#[derive(Default)]
struct Noncentralities(HashMap<(u64, u64), f64>);

impl Noncentralities {
    /// The smallest difference that a test detects whose variance is the sum of these squared errors, with their degrees of freedom
    /// (Satterthwaite 1946).
    fn smallest(&mut self, errors: &[Option<StandardError>], alpha: f64) -> Result<f64> {
        let parts = || errors.iter().flatten().map(|part| (part.error.powi(2), part.degrees_of_freedom));
        let variance: f64 = parts().map(|(part, _)| part).sum();
        let inverse: f64 = parts().map(|(part, degrees)| (part / variance).powi(2) / degrees).sum();
        let scale = 10f64.powf((1.0 / inverse).log10().floor() - 1.0);
        let degrees = (1.0 / inverse / scale).round() * scale;
        let key = (degrees.to_bits(), alpha.to_bits());
        let needed = match self.0.get(&key) {
            Some(needed) => *needed,
            None => smallest_noncentrality(degrees, alpha, POWER)?,
        };
        self.0.insert(key, needed);
        Ok(needed * variance.sqrt())
    }
}

/// Metrics with a test on a domain, in the order in which they were compared.
fn compared(comparisons: &[Comparison], domain: &TestSet) -> Vec<&'static MetricInfo> {
    let mut found: Vec<&'static MetricInfo> = Vec::new();
    for difference in comparisons.iter().flat_map(|comparison| &comparison.differences) {
        let here = difference.domain == domain.id;
        if let Some(metric) = metric(&difference.metric).filter(|metric| here && !found.contains(metric)) {
            found.push(metric);
        }
    }
    found
}
