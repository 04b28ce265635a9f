//! The smallest difference from the reference that the design detects.

use std::collections::HashMap;
use std::fmt::Write as _;

use bayeslora_metrics::{MetricInfo, metric, smallest_detectable_effect};

use super::Definition;
use super::aggregate::LEVEL;
use super::markdown::median;
use crate::Result;
use crate::record::{ComparisonRecord, Test};
use crate::tasks::DomainInfo;

/// Probability with which it is detected.
const POWER: f64 = 0.8;
/// Fewer seeds say nothing about their spread.
const SEEDS: usize = 3;

/// Smallest detectable differences of the rows in one metric and domain, by unit; empty where there is none.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Detectable {
    /// Examples as units, seeds averaged and given.
    pub(super) over_examples: Vec<f64>,
    /// Seeds as units, examples given.
    pub(super) over_seeds: Vec<f64>,
}

/// `d(n) sqrt(n)` standard errors: at the level that Holm's correction asks of the smallest p-value, 0.05 over the rows compared. Rows that
/// predict exactly as the reference does are left out.
pub(super) fn detectable(
    definition: &Definition,
    comparisons: &[ComparisonRecord],
    domain: &str,
    metric: &str,
) -> Result<Detectable> {
    let mut tests: Vec<(Test, usize)> = Vec::new();
    for comparison in comparisons.iter().filter(|c| definition.rows.iter().any(|row| row.id == c.row)) {
        let here = comparison.differences.iter().filter(|d| d.domain == domain && d.metric == metric);
        tests.extend(here.filter_map(|d| Some((d.test?, comparison.seeds.len()))));
    }
    let alpha = LEVEL / tests.len().max(1) as f64;
    // The same for every row, and worth computing once.
    let mut errors_needed = HashMap::<usize, f64>::new();
    let mut smallest = |error: f64, units: usize| -> Result<f64> {
        let needed = match errors_needed.get(&units) {
            Some(needed) => *needed,
            None => smallest_detectable_effect(units, alpha, POWER)? * (units as f64).sqrt(),
        };
        errors_needed.insert(units, needed);
        Ok(needed * error)
    };
    let mut found = Detectable::default();
    for (test, seeds) in tests.into_iter().filter(|(test, _)| test.error_over_examples > 0.0) {
        let examples = usize::try_from(test.examples).unwrap_or(usize::MAX);
        found.over_examples.push(smallest(test.error_over_examples, examples)?);
        if let Some(error) = test.error_over_seeds.filter(|_| seeds >= SEEDS) {
            found.over_seeds.push(smallest(error, seeds)?);
        }
    }
    Ok(found)
}

/// The table; nothing where no comparison has a test.
pub(super) fn section(definition: &Definition, comparisons: &[ComparisonRecord]) -> Result<String> {
    let mut lines = String::new();
    for domain in definition.domains.iter().filter(|domain| domain.corruption.is_none()) {
        for metric in compared(comparisons, domain) {
            let Detectable { over_examples, over_seeds } = detectable(definition, comparisons, &domain.id, metric.key)?;
            let spread = |values: &[f64]| {
                let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
                let highest = values.iter().copied().fold(0.0, f64::max);
                let digits = metric.digits;
                if values.is_empty() {
                    return "–".to_owned();
                }
                let median = median(values.iter().copied());
                format!("{median:.digits$} ({lowest:.digits$} to {highest:.digits$})")
            };
            let (examples, seeds) = (spread(&over_examples), spread(&over_seeds));
            let _ = writeln!(lines, "| {} | {} | {examples} | {seeds} |", domain.label, metric.label);
        }
    }
    if lines.is_empty() {
        return Ok(lines);
    }
    Ok(format!(
        "## What would have been seen\n\nThe smallest difference from {} that is detected with probability 0.8 at the level that \
         the correction asks of the strongest row (0.05 over the number of rows): median over rows (smallest to largest). Over examples: \
         these fits on other examples. Over seeds: other fits on these examples, from three seeds on. A smaller difference may \
         well exist where no star stands.\n\n| test set | metric | over examples | over seeds |\n|---|---|---:|---:|\n{lines}\n",
        definition.reference_label()
    ))
}

/// Metrics with a test on a domain, in the order in which they were compared.
fn compared(comparisons: &[ComparisonRecord], domain: &DomainInfo) -> Vec<&'static MetricInfo> {
    let mut found: Vec<&'static MetricInfo> = Vec::new();
    for difference in comparisons.iter().flat_map(|comparison| &comparison.differences) {
        let here = difference.domain == domain.id && difference.test.is_some();
        if let Some(metric) = metric(&difference.metric).filter(|metric| here && !found.contains(metric)) {
            found.push(metric);
        }
    }
    found
}
