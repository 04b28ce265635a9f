//! Methods by their average ranks over tasks.

use std::collections::HashMap;

use bayeslora_metrics::{Better, Friedman, MetricInfo, friedman, metric, nemenyi_critical_difference};
use bayeslora_render::{Block, Cell, Column, CriticalDifference, File, Page, Ranking, Section, Table};
use ndarray::Array2;

use crate::definition::RowDefinition;
use crate::error::Result;
use crate::score::LEVEL;

const METRICS: [&str; 4] = ["nll", "brier", "ece", "aurc"];

/// One task: its rows, one reading of each fit, and their seed means on the test set of the training domain.
#[derive(Debug)]
pub struct Task {
    /// Name in the text.
    pub name: String,
    /// Rows in the order of the tables.
    pub rows: Vec<RowDefinition>,
    /// Means by row and metric key.
    pub means: HashMap<(String, String), f64>,
}

/// Ranks in one metric.
struct Ranked<'a> {
    metric: &'static MetricInfo,
    /// Rows that have the metric in every task.
    rows: Vec<&'a RowDefinition>,
    test: Friedman,
    critical: f64,
}

/// The page of ranks and its figure; `None` below two tasks, and where they share fewer than three rows.
///
/// # Errors
/// When the figure cannot be drawn.
pub fn ranks(tasks: &[Task]) -> Result<Option<(Page, File)>> {
    let Some(first) = tasks.first().filter(|_| tasks.len() > 1) else { return Ok(None) };
    let shared = |row: &&RowDefinition| tasks.iter().all(|task| task.rows.iter().any(|own| own.id == row.id));
    let rows: Vec<RowDefinition> = first.rows.iter().filter(shared).cloned().collect();
    let ranked = ranked(&rows, tasks)?;
    if ranked.is_empty() {
        return Ok(None);
    }
    let names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    let opening = format!(
        "Average ranks of {} methods over the {} tasks that share them: {}. Rank 1 is best. Ranks are of seed means on the test set of each \
         training domain, one reading of each fit: the sampled one where there are several. Every method is set as its experiment says.",
        rows.len(),
        tasks.len(),
        names.join(", ")
    );
    let tests = "Friedman's test (F of Iman and Davenport) asks whether any rows differ. The figure joins rows whose ranks differ by less than \
                 Nemenyi's critical difference at 0.05. With so few tasks only large and regular differences can show.";
    let figure = Block::figure("Critical differences", "critical_difference.svg");
    let page = Page {
        provenance: vec![Page::made_by("bayeslora report --all")],
        title: "Ranks over tasks".to_owned(),
        opening: vec![Block::text(opening), Block::text(tests)],
        sections: vec![
            Section::new("Average ranks", [Block::Table(table(&rows, &ranked)), figure]),
            Section::new("First on every task", first_everywhere(&ranked, tasks.len()).map(Block::text)),
        ],
    };
    let rankings: Vec<Ranking<'_>> = ranked.iter().map(Ranked::ranking).collect();
    Ok(Some((page, bayeslora_render::file("critical_difference", &CriticalDifference(&rankings))?)))
}

/// Ranks of the tasks' means, metric by metric; a metric is left out where fewer than three rows have it in all tasks, or all are equal.
fn ranked<'a>(rows: &'a [RowDefinition], tasks: &[Task]) -> Result<Vec<Ranked<'a>>> {
    let mut found = Vec::new();
    for metric in METRICS.iter().filter_map(|key| metric(key)) {
        let sign = if metric.better == Better::Higher { -1.0 } else { 1.0 };
        let losses_of = |row: &RowDefinition| -> Option<Vec<f64>> {
            let key = (row.id.clone(), metric.key.to_owned());
            tasks.iter().map(|task| Some(sign * task.means.get(&key)?)).collect()
        };
        let (rows, losses): (Vec<_>, Vec<_>) = rows.iter().filter_map(|row| Some((row, losses_of(row)?))).unzip();
        let table = Array2::from_shape_fn((tasks.len(), rows.len()), |(task, row)| losses[row][task]);
        // Too few of either, or nothing to rank.
        let Ok(test) = friedman(table.view()) else { continue };
        let critical = nemenyi_critical_difference(rows.len(), tasks.len(), LEVEL)?;
        found.push(Ranked { metric, rows, test, critical });
    }
    Ok(found)
}

impl<'a> Ranked<'a> {
    /// What the figure shows.
    fn ranking(&self) -> Ranking<'a> {
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

/// Which rows are first everywhere, and how likely that is by chance.
fn first_everywhere(ranked: &[Ranked<'_>], tasks: usize) -> [String; 2] {
    let mut first: Vec<(&str, Vec<&str>)> = Vec::new();
    for one in ranked {
        let Some(row) = one.rows.iter().find(|row| one.rank(row) == Some(1.0)) else { continue };
        match first.iter_mut().find(|(label, _)| *label == row.label) {
            Some((_, metrics)) => metrics.push(one.metric.label),
            None => first.push((row.label.as_str(), vec![one.metric.label])),
        }
    }
    let said =
        |(label, metrics): &(&str, Vec<&str>)| format!("{label} is first on every task in {}.", metrics.join(", "));
    let found = match first.as_slice() {
        [] => "No row is first on every task in any metric.".to_owned(),
        some => some.iter().map(said).collect::<Vec<_>>().join(" "),
    };
    let rows = ranked.iter().map(|ranked| ranked.rows.len()).min().unwrap_or(0);
    let exponent = u32::try_from(tasks - 1).unwrap_or(u32::MAX);
    let odds = u64::try_from(rows).unwrap_or(u64::MAX).saturating_pow(exponent);
    let chance = format!(
        "Were {rows} rows alike and the tasks independent, some row would be first on all of them with probability 1/{odds}, in each metric. \
         The metrics are not independent: they are of the same predictions. That is no test of the row named, which was named after looking; \
         Friedman's test is in the table."
    );
    [found, chance]
}

/// Rows against metrics: average ranks, critical difference, p-value.
fn table(rows: &[RowDefinition], ranked: &[Ranked<'_>]) -> Table {
    let heads = ranked.iter().map(|ranked| Column::number(ranked.metric.label, 2));
    let mut table = Table::named("method", heads);
    for row in rows {
        let cells = ranked.iter().map(|ranked| Cell::maybe(ranked.rank(row)));
        table.push_named(&row.label, cells);
    }
    let critical = ranked.iter().map(|ranked| Cell::Number(ranked.critical));
    table.push(std::iter::once(Cell::Strong("critical difference".to_owned())).chain(critical));
    let p_value = |ranked: &Ranked<'_>| match ranked.test.f_p {
        p if p < 0.001 => Cell::text("< 0.001"),
        p => Cell::text(format!("{p:.3}")),
    };
    table.push(std::iter::once(Cell::Strong("Friedman's p".to_owned())).chain(ranked.iter().map(p_value)));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tasks on which the rows a, b, c, ... have these losses in all metrics.
    fn tasks(losses: &[&[f64]]) -> Vec<Task> {
        let task = |(place, losses): (usize, &&[f64])| {
            let id = |row: usize| char::from(b'a' + u8::try_from(row).unwrap()).to_string();
            let row = |row: usize| RowDefinition { id: id(row), label: id(row).to_uppercase(), method: id(row) };
            let of = |row: usize| METRICS.map(|metric| ((id(row), metric.to_owned()), losses[row]));
            let rows = 0..losses.len();
            Task {
                name: format!("task {place}"),
                rows: rows.clone().map(row).collect(),
                means: rows.flat_map(of).collect(),
            }
        };
        losses.iter().enumerate().map(task).collect()
    }

    #[test]
    fn ranks_their_critical_difference_and_the_chance_of_being_first_are_told() {
        let (page, (name, drawing)) = ranks(&tasks(&[&[0.1, 0.2, 0.3, 0.4], &[0.1, 0.3, 0.2, 0.4]])).unwrap().unwrap();
        let text = page.markdown();
        assert!(
            text.contains("| A | 1.00 |") && text.contains("| B | 2.50 |") && text.contains("| D | 4.00 |"),
            "{text}"
        );
        // q(4) sqrt(4 * 5 / (6 * 2)) with q = 2.569 at 0.05.
        assert!(text.contains("| **critical difference** | 3.32 |"), "{text}");
        assert!(text.contains("A is first on every task in NLL, Brier, ECE, AURC."), "{text}");
        assert!(text.contains("with probability 1/4, "), "{text}");
        let drawing = String::from_utf8(drawing).unwrap();
        assert!(name == "critical_difference.svg" && drawing.contains("A (1.00)") && !drawing.contains("NaN"));
        let (mixed, _) = ranks(&tasks(&[&[0.1, 0.2, 0.3], &[0.3, 0.2, 0.1], &[0.1, 0.3, 0.2]])).unwrap().unwrap();
        assert!(mixed.markdown().contains("No row is first on every task in any metric."));
        assert!(mixed.markdown().contains("with probability 1/9, "));
    }

    #[test]
    fn one_task_or_two_rows_have_no_ranks() {
        assert!(ranks(&tasks(&[&[0.1, 0.2, 0.3]])).unwrap().is_none());
        assert!(ranks(&tasks(&[&[0.1, 0.2], &[0.1, 0.2]])).unwrap().is_none());
    }
}
