//! One table of every method in every experiment, to be sorted.

use bayeslora_metrics::{median, metric};
use bayeslora_render::{Cell, Column, Table};

use crate::aggregate::records_of;
use crate::cost::fits_of;
use crate::definition::{RowDefinition, one_reading_each};
use crate::report::Report;
use crate::score::tempered;

/// Metrics on the test set in distribution.
const INSIDE: [&str; 4] = ["accuracy", "nll", "ece", "aurc"];
/// How well one score of a row tells shifted texts.
const SHIFT: &str = "auroc_predictive_entropy";

/// One row for each method of each experiment, one reading of each fit. Differences between experiments are differences between tasks:
/// only rows of one experiment compare.
pub fn leaderboard<'a>(reports: impl IntoIterator<Item = (&'a str, &'a Report<'a>)>) -> Table {
    let of = |key: &str| metric(key).map(Column::metric);
    let renamed = |key: &str, name: &str| of(key).map(|column| Column { name: name.to_owned(), ..column });
    let mut columns = vec![Column::text("experiment"), Column::text("method")];
    columns.extend(INSIDE.iter().filter_map(|key| of(key)));
    columns.extend(renamed("nll", "NLL with T"));
    columns.extend(renamed(SHIFT, "AUROC of shift"));
    columns.push(Column::number("parameters", 0));
    columns.push(Column::number("fit", 1).unit("s"));
    columns.push(Column::number("seeds", 0));
    let mut table = Table::new(columns);
    for (name, report) in reports {
        for row in one_reading_each(&report.definition.rows) {
            table.push([Cell::text(name), Cell::text(&row.label)].into_iter().chain(cells(report, &row)));
        }
    }
    table
}

fn cells(report: &Report<'_>, row: &RowDefinition) -> Vec<Cell> {
    let inside = report.definition.inside().next().map_or("", |domain| domain.id.as_str());
    let on = |row: &str, key: &str| {
        let score = report.aggregate.get(row, inside, key);
        score.zip(metric(key)).map_or(Cell::Missing, |(score, metric)| score.cell(metric))
    };
    let mut cells: Vec<Cell> = INSIDE.iter().map(|key| on(&row.id, key)).collect();
    cells.push(on(&tempered(&row.id), "nll"));
    let areas = report.definition.shifted().filter_map(|set| report.aggregate.get(&row.id, &set.id, SHIFT));
    let areas: Vec<f64> = areas.map(|score| score.mean).collect();
    let mean = areas.iter().sum::<f64>() / areas.len() as f64;
    cells.push(if areas.is_empty() { Cell::Missing } else { Cell::Number(mean) });
    let records = records_of(&report.units, &row.id);
    let fits = fits_of(&records);
    if let Some(fit) = fits.first() {
        cells.push(Cell::Count(fit.trainable_parameters));
        cells.push(Cell::Number(median(fits.iter().map(|fit| fit.seconds + fit.post_hoc_seconds))));
        cells.push(Cell::Count(u64::try_from(fits.len()).unwrap_or(u64::MAX)));
    }
    cells
}
