//! Which rows are shown to be no further from the reference than a margin that was named beforehand.

use bayeslora_metrics::metric;
use bayeslora_render::{Align, Block, Cell, Column, Section, Table};

use crate::comparison::Difference;
use crate::report::Report;
use crate::score::{LEVEL, p_cell};

/// The table; nothing where the experiment names no margin.
pub(crate) fn section(report: &Report<'_>) -> Vec<Section> {
    let right = |name: &str| Column { align: Align::Right, ..Column::text(name) };
    let mut table = Table::new([
        Column::text("test set"),
        Column::text("metric"),
        right("margin"),
        Column::text("method"),
        Column::text("difference"),
        right("p"),
        Column::text("within the margin"),
    ]);
    for one in &report.equivalences {
        let (label, digits) = metric(one.metric).map_or(("", 4), |metric| (metric.label, metric.digits));
        let Difference { estimate, lower, upper, .. } = *one.found;
        let interval = Cell::Interval { estimate, lower, upper, mark: "" }.shown(digits);
        table.push([
            Cell::text(&one.domain.label),
            Cell::text(format!("{label}{}", if one.is_tempered { ", with temperature" } else { "" })),
            Cell::text(one.margin.to_string()),
            Cell::text(&one.row.label),
            Cell::text(interval),
            p_cell(one.holm_p),
            Cell::text(if one.holm_p <= LEVEL { "shown" } else { "not shown" }),
        ]);
    }
    if table.rows.is_empty() {
        return Vec::new();
    }
    let said = format!(
        "Two one-sided tests that the difference from {} is smaller than a margin, which the experiment file names. p is the larger of the two, \
         after Holm's correction over the rows of one test set and metric. Not shown does not mean different.",
        report.definition.reference_label()
    );
    vec![Section::new("What is shown to make no difference", [Block::text(said), Block::Table(table)])]
}
