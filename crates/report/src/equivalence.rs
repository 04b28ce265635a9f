//! Which rows are shown to be no further from the reference than a margin that was named beforehand.

use bayeslora_metrics::{holm, metric};
use bayeslora_records::{ComparisonRecord, Difference};
use bayeslora_render::{Align, Block, Cell, Column, Section, Table};

use crate::definition::Definition;
use crate::error::Result;
use crate::report::Report;
use crate::score::{LEVEL, tempered};

/// One row held against the margin of a metric on a test set.
pub(crate) struct Equivalence<'a> {
    row: &'a str,
    domain: &'a str,
    metric: &'a str,
    margin: f64,
    is_tempered: bool,
    found: &'a Difference,
    holm_p: f64,
}

/// Every row held against a margin, by test set and metric, each corrected over its rows, tempered rows apart.
pub(crate) fn all<'a>(definition: &'a Definition, comparisons: &'a [ComparisonRecord]) -> Result<Vec<Equivalence<'a>>> {
    let mut all = Vec::new();
    for domain in definition.domains.iter().filter(|domain| domain.corruption.is_none()) {
        for ((metric, &margin), is_tempered) in
            definition.margins.iter().flat_map(|named| [(named, false), (named, true)])
        {
            let mut family = Vec::new();
            for row in &definition.rows {
                let id = if is_tempered { tempered(&row.id) } else { row.id.clone() };
                let differences = comparisons.iter().filter(|own| own.row == id).flat_map(|own| &own.differences);
                for found in differences.filter(|own| own.domain == domain.id && own.metric == *metric) {
                    let Some(holm_p) = found.equivalent_p else { continue };
                    let (row, domain) = (row.label.as_str(), domain.label.as_str());
                    family.push(Equivalence { row, domain, metric, margin, is_tempered, found, holm_p });
                }
            }
            let adjusted = holm(&family.iter().map(|one| one.holm_p).collect::<Vec<_>>())?;
            for (one, p) in family.iter_mut().zip(adjusted) {
                one.holm_p = p;
            }
            all.extend(family);
        }
    }
    Ok(all)
}

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
            Cell::text(one.domain),
            Cell::text(format!("{label}{}", if one.is_tempered { ", with temperature" } else { "" })),
            Cell::text(one.margin.to_string()),
            Cell::text(one.row),
            Cell::text(interval),
            Cell::text(if one.holm_p < 1e-4 { "< 0.0001".to_owned() } else { format!("{:.4}", one.holm_p) }),
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
