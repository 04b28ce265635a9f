//! Means and standard deviations over seeds, with the paired differences beside them.

use std::collections::BTreeMap;

use bayeslora_metrics::{METRICS, MetricInfo, holm, summarise};
use serde::Serialize;

use super::Definition;
use crate::error::{Error, Result};
use bayeslora_records::seven_digits;
use bayeslora_records::{ComparisonRecord, Outcome, RowRecord, TEMPERED, UnitRecord};

/// Family-wise level of every star.
pub(super) const LEVEL: f64 = 0.05;

/// One metric of one row on one domain; a fitted temperature is `temperature` on `validation`.
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
    /// Two-sided p-value of no difference.
    pub p_value: Option<f64>,
    /// The same after Holm's correction over the rows of this domain and metric (tempered rows are a family of their own).
    pub holm_p: Option<f64>,
}

impl Cell {
    /// Whether the row differs from the reference: after correction where there is a p-value, by its interval where there is none.
    pub(super) fn differs(&self) -> bool {
        match (self.holm_p, self.lower, self.upper) {
            (Some(p), ..) => p <= LEVEL,
            (None, Some(lower), Some(upper)) => lower > 0.0 || upper < 0.0,
            _ => false,
        }
    }

    /// As files keep it.
    pub(super) fn rounded(&self) -> Self {
        Self {
            mean: seven_digits(self.mean),
            sd: self.sd.map(seven_digits),
            difference: self.difference.map(seven_digits),
            lower: self.lower.map(seven_digits),
            upper: self.upper.map(seven_digits),
            p_value: self.p_value.map(seven_digits),
            holm_p: self.holm_p.map(seven_digits),
            ..self.clone()
        }
    }
}

/// The identifier of a row with its own temperature.
pub(super) fn tempered(row: &str) -> String {
    format!("{row}{TEMPERED}")
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
        let plain = definition.rows.iter().map(|row| row.id.clone());
        for row in plain.chain(definition.rows.iter().map(|row| tempered(&row.id))) {
            let records = records_of(units, &row);
            let comparison = comparisons.iter().find(|comparison| comparison.row == row);
            let temperatures: Vec<f64> = records.iter().filter_map(|(_, record)| record.temperature).collect();
            if !temperatures.is_empty() {
                cells.push(cell(&row, "validation", "temperature", &temperatures)?);
            }
            for domain in &definition.domains {
                let of_domain = |record: &'_ RowRecord| record.domains.iter().find(|d| d.domain == domain.id).cloned();
                let scores: Vec<_> = records.iter().filter_map(|(_, record)| of_domain(record)).collect();
                for metric in METRICS {
                    let values: Vec<f64> =
                        scores.iter().filter_map(|scores| scores.scores.get(metric.key).copied().flatten()).collect();
                    if values.is_empty() {
                        continue;
                    }
                    let difference = comparison.and_then(|comparison| {
                        let mut all = comparison.differences.iter();
                        all.find(|d| d.domain == domain.id && d.metric == metric.key)
                    });
                    cells.push(Cell {
                        difference: difference.map(|d| d.estimate),
                        lower: difference.map(|d| d.lower),
                        upper: difference.map(|d| d.upper),
                        p_value: difference.and_then(|d| d.test).map(|test| test.p_value),
                        ..cell(&row, &domain.id, metric.key, &values)?
                    });
                }
            }
        }
        correct(&mut cells)?;
        Ok(Self { cells })
    }

    /// The cell of a row, domain and metric.
    pub fn get(&self, row: &str, domain: &str, metric: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.row == row && cell.domain == domain && cell.metric == metric)
    }
}

/// A cell without a comparison.
fn cell(row: &str, domain: &str, metric: &str, values: &[f64]) -> Result<Cell> {
    let summary = summarise(values)?;
    Ok(Cell {
        row: row.to_owned(),
        domain: domain.to_owned(),
        metric: metric.to_owned(),
        seeds: summary.n,
        mean: summary.mean,
        sd: summary.sample_sd,
        difference: None,
        lower: None,
        upper: None,
        p_value: None,
        holm_p: None,
    })
}

/// Holm's correction over the rows of every domain and metric.
fn correct(cells: &mut [Cell]) -> Result<()> {
    let mut families = BTreeMap::<_, Vec<(usize, f64)>>::new();
    for (place, cell) in cells.iter().enumerate() {
        if let Some(p) = cell.p_value {
            let family = (cell.domain.clone(), cell.metric.clone(), cell.row.ends_with(TEMPERED));
            families.entry(family).or_default().push((place, p));
        }
    }
    for members in families.into_values() {
        let adjusted = holm(&members.iter().map(|(_, p)| *p).collect::<Vec<_>>())?;
        for ((place, _), p) in members.into_iter().zip(adjusted) {
            cells[place].holm_p = Some(p);
        }
    }
    Ok(())
}

/// What a star means, as the records have it.
pub(super) fn star(aggregate: &Aggregate, reference: &str) -> String {
    let corrected = format!(
        "differs from {reference} at 0.05 after Holm's correction over the rows of one test set and metric (t-test over examples and \
         seeds; over examples alone for one seed); not corrected for the number of metrics and test sets."
    );
    let by_interval = format!(
        "the paired bootstrap interval of the difference from {reference} excludes 0 (examples resampled, seeds fixed, no correction \
         for the number of comparisons)."
    );
    let compared = || aggregate.cells.iter().filter(|cell| cell.difference.is_some());
    match (compared().any(|cell| cell.p_value.is_some()), compared().any(|cell| cell.p_value.is_none())) {
        (true, false) => corrected,
        (true, true) => format!("{corrected} Of rows that were not compared again: {by_interval}"),
        (false, _) => by_interval,
    }
}

/// `mean ± sd` with the metric's digits, `–` where undefined, `<` where a p-value is smaller than they show; a star where the row differs.
pub(super) fn display(cell: Option<&Cell>, metric: &MetricInfo) -> String {
    let Some(cell) = cell else { return "–".to_owned() };
    let digits = metric.digits;
    // A p-value that rounds to nothing is small, not zero, and its spread says nothing.
    let smallest = 0.1_f64.powi(i32::try_from(digits).unwrap_or(0));
    if metric.key.ends_with("_p") && cell.mean < smallest {
        return format!("< {smallest:.digits$}");
    }
    let spread = cell.sd.map_or_else(String::new, |sd| format!(" ± {sd:.digits$}"));
    format!("{:.digits$}{spread}{}", cell.mean, if cell.differs() { "*" } else { "" })
}
