//! Rows beside another than the reference, in a table.

use bayeslora_metrics::metric;
use bayeslora_records::TEMPERED;
use bayeslora_render::{Align, Block, Cell, Column, Section, Table};

use crate::comparison::Difference;
use crate::definition::Contrast;
use crate::report::Report;
use crate::score::p_cell;

/// The table; nothing where the experiment names no contrast.
pub(crate) fn section(report: &Report<'_>) -> Vec<Section> {
    let right = |name: &str| Column { align: Align::Right, ..Column::text(name) };
    let mut table = Table::new([
        Column::text("method"),
        Column::text("beside"),
        Column::text("test set"),
        Column::text("metric"),
        Column::text("difference"),
        right("p"),
    ]);
    for one in &report.contrasts {
        let label = |id: &str| Cell::text(report.definition.label(id.strip_suffix(TEMPERED).unwrap_or(id)));
        let domain = report.definition.domains.iter().find(|domain| domain.id == one.found.domain);
        let (name, digits) = metric(&one.found.metric).map_or(("", 4), |metric| (metric.label, metric.digits));
        let Difference { estimate, lower, upper, .. } = one.found;
        let mark = if one.differs() { "*" } else { "" };
        table.push([
            label(&one.row),
            label(&one.beside),
            Cell::text(domain.map_or("", |domain| domain.label.as_str())),
            Cell::text(format!("{name}{}", if one.is_tempered() { ", with temperature" } else { "" })),
            Cell::text(Cell::Interval { estimate, lower, upper, mark }.shown(digits)),
            p_cell(one.holm_p),
        ]);
    }
    let named = &report.definition.contrasts;
    let tested = |contrast: &Contrast| {
        report.contrasts.iter().any(|one| one.row == contrast.row && one.beside == contrast.beside)
    };
    let missing: Vec<String> = named
        .iter()
        .filter(|contrast| !tested(contrast))
        .map(|Contrast { row, beside }| format!("{row} beside {beside}"))
        .collect();
    let mut blocks = Vec::new();
    if !table.rows.is_empty() {
        let corrected = match named.len() - missing.len() {
            1 => "There is one such pair, so p is not corrected.".to_owned(),
            pairs => format!("p is after Holm's correction over {pairs} pairs, for each test set and metric."),
        };
        let said = "Differences of two rows at equal seeds. The spread over seeds is that of the pairs alone, so intervals are wide. `*`: p is at \
                    most 0.05.";
        blocks.extend([Block::text(format!("{said} {corrected}")), Block::Table(table)]);
    }
    if !missing.is_empty() {
        let why = "a row is not in this profile, or lacks finished seeds";
        blocks.push(Block::text(format!("Not tested on this page, since {why}: {}.", missing.join("; "))));
    }
    if blocks.is_empty() { Vec::new() } else { vec![Section::new("Rows beside each other", blocks)] }
}
