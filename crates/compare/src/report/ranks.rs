//! Rows by their average ranks over the labelled test sets.

use std::fmt::Write as _;

use bayeslora_metrics::{Better, Friedman, MetricInfo, friedman, metric, nemenyi_critical_difference};
use bayeslora_render::Ranking;
use ndarray::Array2;

use super::aggregate::LEVEL;
use super::markdown::cell_text;
use super::{Aggregate, Definition, RowDefinition, one_reading_each};
use crate::error::Result;
use bayeslora_data::tasks::DomainInfo;

const METRICS: [&str; 4] = ["nll", "brier", "ece", "aurc"];

/// Ranks in one metric.
pub(crate) struct Ranked<'a> {
    metric: &'static MetricInfo,
    /// Rows that have the metric in every block.
    rows: Vec<&'a RowDefinition>,
    test: Friedman,
    critical: f64,
}

/// Labelled test sets; corrupted copies of the first are left out.
pub(super) fn test_sets(definition: &Definition) -> Vec<&DomainInfo> {
    definition.domains.iter().filter(|domain| domain.labelled && domain.corruption.is_none()).collect()
}

/// Ranks of seed means over the labelled test sets of one experiment.
pub(super) fn over_test_sets<'a>(
    definition: &Definition,
    rows: &'a [RowDefinition],
    aggregate: &Aggregate,
) -> Result<Vec<Ranked<'a>>> {
    let domains = test_sets(definition);
    ranked(rows, domains.len(), |row, block, metric| {
        aggregate.get(&row.id, &domains[block].id, metric).map(|cell| cell.mean)
    })
}

/// Ranks of `value(row, block, metric key)` over `blocks` blocks, metric by metric; a metric is left out below two blocks or three rows
/// that have it in all of them, or where all rows are equal.
pub(crate) fn ranked(
    rows: &[RowDefinition],
    blocks: usize,
    value: impl Fn(&RowDefinition, usize, &str) -> Option<f64>,
) -> Result<Vec<Ranked<'_>>> {
    let mut found = Vec::new();
    for metric in METRICS.iter().filter_map(|key| metric(key)) {
        let sign = if metric.better == Better::Higher { -1.0 } else { 1.0 };
        let losses_of = |row: &RowDefinition| -> Option<Vec<f64>> {
            (0..blocks).map(|block| Some(sign * value(row, block, metric.key)?)).collect()
        };
        let (rows, losses): (Vec<_>, Vec<_>) = rows.iter().filter_map(|row| Some((row, losses_of(row)?))).unzip();
        let table = Array2::from_shape_fn((blocks, rows.len()), |(block, row)| losses[row][block]);
        // Too few of either, or nothing to rank.
        let Ok(test) = friedman(table.view()) else { continue };
        let critical = nemenyi_critical_difference(rows.len(), blocks, LEVEL)?;
        found.push(Ranked { metric, rows, test, critical });
    }
    Ok(found)
}

impl<'a> Ranked<'a> {
    /// What the figure shows.
    pub(crate) fn ranking(&self) -> Ranking<'a> {
        let names = self.rows.iter().map(|row| row.label.as_str());
        Ranking {
            title: self.metric.label,
            ranks: names.zip(self.test.average_ranks.iter().copied()).collect(),
            critical: self.critical,
        }
    }

    fn rank(&self, row: &RowDefinition) -> Option<f64> {
        self.rows.iter().position(|own| own.id == row.id).map(|place| self.test.average_ranks[place])
    }
}

/// The table of ranks; nothing where nothing was ranked.
pub(super) fn section(definition: &Definition, ranked: &[Ranked<'_>]) -> String {
    if ranked.is_empty() {
        return String::new();
    }
    let domains: Vec<&str> = test_sets(definition).iter().map(|domain| domain.label.as_str()).collect();
    let mut text = format!(
        "## Average ranks over test sets\n\nRanks of seed means over {} test sets ({}), 1 is best; one reading of each fit, the \
         sampled one where there are several. Descriptive only: the test sets \
         are few and, sharing one training task, not independent, which Friedman's test (F of Iman and Davenport) and Nemenyi's critical \
         difference at 0.05 assume. The figure joins rows whose ranks differ by less than that.\n\n",
        domains.len(),
        domains.join(", ")
    );
    text.push_str(&table(&one_reading_each(&definition.rows), ranked));
    text.push_str("\n![Critical differences](critical_difference.svg)\n\n");
    text
}

/// Average ranks, row by row, with test and critical difference below them.
pub(crate) fn table(rows: &[RowDefinition], ranked: &[Ranked<'_>]) -> String {
    let mut text = "| method |".to_owned();
    for ranked in ranked {
        let _ = write!(text, " {} |", ranked.metric.label);
    }
    let _ = write!(text, "\n|---|{}\n", "---:|".repeat(ranked.len()));
    for row in rows {
        let _ = write!(text, "| {} |", cell_text(&row.label));
        for ranked in ranked {
            let _ = write!(text, " {} |", ranked.rank(row).map_or_else(|| "–".to_owned(), |rank| format!("{rank:.2}")));
        }
        text.push('\n');
    }
    let mut line = |name: &str, value: &dyn Fn(&Ranked<'_>) -> String| {
        let values: Vec<String> = ranked.iter().map(value).collect();
        let _ = writeln!(text, "| {name} | {} |", values.join(" | "));
    };
    line("*Friedman's test, p*", &|ranked| match ranked.test.f_p {
        p if p < 1e-4 => "< 0.0001".to_owned(),
        p => format!("{p:.4}"),
    });
    line("*critical difference*", &|ranked| format!("{:.2}", ranked.critical));
    text
}
