//! Means and standard deviations over seeds, with the paired differences beside them.

use bayeslora_metrics::{METRICS, MetricInfo, summarise};
use serde::Serialize;

use super::Definition;
use crate::record::{ComparisonRecord, Outcome, RowRecord, UnitRecord};
use crate::{Error, Result};

/// One metric of one row on one domain.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// Row.
    pub row: String,
    /// Domain.
    pub domain: String,
    /// Metric key.
    pub metric: String,
    /// Seeds averaged.
    pub seeds: usize,
    /// Mean over seeds.
    pub mean: f64,
    /// Sample standard deviation over seeds (divisor `n - 1`); none for one seed.
    pub sd: Option<f64>,
    /// Difference from the reference row.
    pub difference: Option<f64>,
    /// Lower end of its interval.
    pub lower: Option<f64>,
    /// Upper end.
    pub upper: Option<f64>,
}

/// All cells of an experiment.
#[derive(Debug)]
pub struct Aggregate {
    /// In definition order: rows, domains, metrics.
    pub cells: Vec<Cell>,
}

/// The finished records of a row.
pub(super) fn records_of<'a>(units: &[&'a UnitRecord], row: &str) -> Vec<(&'a UnitRecord, &'a RowRecord)> {
    let mut found = Vec::new();
    for unit in units {
        if let Outcome::Finished { rows, .. } = &unit.outcome {
            found.extend(rows.iter().filter(|record| record.row == row).map(|record| (*unit, record)));
        }
    }
    found
}

impl Aggregate {
    /// Of an experiment's records.
    ///
    /// # Errors
    /// [`Error::Report`] when there is none.
    pub(crate) fn of(definition: &Definition, units: &[UnitRecord], comparisons: &[ComparisonRecord]) -> Result<Self> {
        if units.is_empty() {
            return Err(Error::Report(format!("{} has no records yet; run `{}`", definition.name, definition.command)));
        }
        Self::new(definition, &units.iter().collect::<Vec<_>>(), comparisons)
    }

    pub(super) fn new(
        definition: &Definition,
        units: &[&UnitRecord],
        comparisons: &[ComparisonRecord],
    ) -> Result<Self> {
        let mut cells = Vec::new();
        for row in &definition.rows {
            let records = records_of(units, &row.id);
            let comparison = comparisons.iter().find(|comparison| comparison.row == row.id);
            for domain in &definition.domains {
                let of_domain = |record: &'_ RowRecord| record.domains.iter().find(|d| d.domain == domain.id).cloned();
                let scores: Vec<_> = records.iter().filter_map(|(_, record)| of_domain(record)).collect();
                for metric in METRICS {
                    let values: Vec<f64> =
                        scores.iter().filter_map(|scores| scores.scores.get(metric.key).copied().flatten()).collect();
                    if values.is_empty() {
                        continue;
                    }
                    let summary = summarise(&values)?;
                    let difference = comparison.and_then(|comparison| {
                        let mut all = comparison.differences.iter();
                        all.find(|d| d.domain == domain.id && d.metric == metric.key)
                    });
                    cells.push(Cell {
                        row: row.id.clone(),
                        domain: domain.id.clone(),
                        metric: metric.key.to_owned(),
                        seeds: summary.n,
                        mean: summary.mean,
                        sd: summary.sample_sd,
                        difference: difference.map(|d| d.estimate),
                        lower: difference.map(|d| d.lower),
                        upper: difference.map(|d| d.upper),
                    });
                }
            }
        }
        Ok(Self { cells })
    }

    /// The cell of a row, domain and metric.
    pub fn get(&self, row: &str, domain: &str, metric: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.row == row && cell.domain == domain && cell.metric == metric)
    }
}

/// `mean ± sd` with the metric's digits, `–` where undefined, `<` where a p-value is smaller than they show; a star where the difference's interval excludes 0.
pub(super) fn display(cell: Option<&Cell>, metric: &MetricInfo) -> String {
    let Some(cell) = cell else { return "–".to_owned() };
    let digits = metric.digits;
    // A p-value that rounds to nothing is small, not zero, and its spread says nothing.
    let smallest = 0.1_f64.powi(i32::try_from(digits).unwrap_or(0));
    if metric.key.ends_with("_p") && cell.mean < smallest {
        return format!("< {smallest:.digits$}");
    }
    let spread = cell.sd.map_or_else(String::new, |sd| format!(" ± {sd:.digits$}"));
    let differs = matches!((cell.lower, cell.upper), (Some(lower), Some(upper)) if lower > 0.0 || upper < 0.0);
    format!("{:.digits$}{spread}{}", cell.mean, if differs { "*" } else { "" })
}
