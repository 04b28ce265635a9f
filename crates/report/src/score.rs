//! One number of a report: a metric of a row on a test set, over seeds.

use bayeslora_metrics::MetricInfo;
use bayeslora_records::{TEMPERED, seven_digits};
use bayeslora_render::Cell;
use serde::Serialize;

/// Family-wise level of every star.
pub(crate) const LEVEL: f64 = 0.05;

/// One metric of one row on one test set; a fitted temperature is `temperature` on `validation`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// Row.
    pub row: String,
    /// Test set.
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
    /// The same after Holm's correction over the rows of this test set and metric (tempered rows are a family of their own).
    pub holm_p: Option<f64>,
    /// Whether the seeds do not tell the row apart from the best row of this test set and metric; none where that was not tested.
    #[serde(rename = "not_told_apart_from_best")]
    pub alike: Option<bool>,
    /// Seeds and their values.
    #[serde(skip)]
    pub by_seed: Vec<(u64, f64)>,
}

impl Score {
    /// Whether the row differs from the reference after correction.
    pub(crate) fn differs(&self) -> bool {
        self.holm_p.is_some_and(|p| p <= LEVEL)
    }

    /// As files keep it.
    pub(crate) fn rounded(&self) -> Self {
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

    /// As it stands in a table: a star where the row differs from the reference, strong where it is not told apart from the best.
    pub(crate) fn cell(&self, metric: &MetricInfo) -> Cell {
        // A p-value that rounds to nothing is small, not zero, and its spread says nothing.
        let smallest = 0.1_f64.powi(i32::try_from(metric.digits).unwrap_or(0));
        if metric.key.ends_with("_p") && self.mean < smallest {
            return Cell::text(format!("< {smallest:.digits$}", digits = metric.digits));
        }
        let mark = if self.differs() { "*" } else { "" };
        Cell::Mean { mean: self.mean, sd: self.sd, mark, strong: self.alike == Some(true) }
    }
}

/// A p-value in a table; one that rounds to nothing is small, not zero.
pub(crate) fn p_cell(p: f64) -> Cell {
    Cell::text(if p < 1e-4 { "< 0.0001".to_owned() } else { format!("{p:.4}") })
}

/// The identifier of a row with its own temperature.
pub(crate) fn tempered(row: &str) -> String {
    format!("{row}{TEMPERED}")
}
