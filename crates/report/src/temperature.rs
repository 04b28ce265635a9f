//! Rows before and after a temperature fitted on validation: `logits / T` for every sample, then averaged as before.

use bayeslora_metrics::{median, metric};
use bayeslora_render::{Align, Block, Cell, Column, Section, Table};

use crate::definition::TestSet;
use crate::report::Report;
use crate::score::tempered;
use crate::tables::metrics_of;

const INSIDE: [&str; 6] = ["nll", "brier", "ece", "classwise_ece", "aurc", "soft_nll"];
const SHIFTED: [&str; 2] = ["nll", "ece"];

/// Two tables; nothing where no temperature was fitted.
pub(crate) fn section(report: &Report<'_>) -> Vec<Section> {
    if !report.aggregate.holds(&["temperature"]) {
        return Vec::new();
    }
    let reference = report.definition.reference_label();
    let said = format!(
        "Before → after, means over seeds. Every sample's logits are divided by the T that minimises the NLL of the validation split, one T \
         for each row and seed. `*`: after it the row differs from {reference} after its own temperature, tested and corrected as above. \
         Predicted classes stay, except where samples disagree about them."
    );
    let inside: Vec<&TestSet> = report.definition.inside().collect();
    let shifted: Vec<&TestSet> = report.definition.shifted().collect();
    let tables = [table(report, &inside, &INSIDE), table(report, &shifted, &SHIFTED)].into_iter().flatten();
    let blocks = std::iter::once(Block::text(said)).chain(tables.map(Block::Table));
    vec![Section::new("With a temperature fitted on validation", blocks)]
}

fn table(report: &Report<'_>, domains: &[&TestSet], keys: &[&str]) -> Option<Table> {
    let metrics = |domain: &&'_ TestSet| -> Vec<_> {
        let id = domain.id.clone();
        metrics_of(domain, keys).into_iter().map(|metric| (id.clone(), domain.label.clone(), metric)).collect()
    };
    let columns: Vec<_> = domains.iter().flat_map(metrics).collect();
    if columns.is_empty() {
        return None;
    }
    let heads = columns.iter().map(|(_, label, metric)| {
        let own = Column::metric(metric);
        Column { name: format!("{label}, {}", own.name), ..own }
    });
    let mut table = Table::new([Column::text("method"), Column::number("T", 2)].into_iter().chain(heads));
    for row in &report.definition.rows {
        let scaled = tempered(&row.id);
        let Some(temperature) = report.aggregate.get(&scaled, "validation", "temperature") else { continue };
        let cells = columns.iter().map(|(domain, _, metric)| {
            let get = |row: &str| report.aggregate.get(row, domain, metric.key);
            let (Some(before), Some(after)) = (get(&row.id), get(&scaled)) else { return Cell::Missing };
            let (digits, star) = (metric.digits, if after.differs() { "*" } else { "" });
            let shown = format!("{:.digits$} → {:.digits$}{star}", before.mean, after.mean);
            if after.alike == Some(true) { Cell::Strong(shown) } else { Cell::Text(shown) }
        });
        table.push([Cell::text(&row.label), Cell::Number(temperature.mean)].into_iter().chain(cells));
    }
    Some(table)
}

/// In how many rows a temperature lowers a loss, test set by test set; `None` where no temperature was fitted.
pub(crate) fn lowered(report: &Report<'_>) -> Option<Table> {
    let right = |name: &str| Column { align: Align::Right, ..Column::text(name) };
    let mut table = Table::new([
        Column::text("test set"),
        Column::text("metric"),
        right("rows in which T lowers it"),
        right("median before → after"),
    ]);
    for domain in report.definition.labelled() {
        for metric in SHIFTED.iter().filter_map(|key| metric(key)) {
            let pair = |row: &crate::definition::RowDefinition| {
                let get = |row: &str| report.aggregate.get(row, &domain.id, metric.key).map(|score| score.mean);
                Some((get(&row.id)?, get(&tempered(&row.id))?))
            };
            let pairs: Vec<(f64, f64)> = report.definition.rows.iter().filter_map(pair).collect();
            if pairs.is_empty() {
                continue;
            }
            let fell = pairs.iter().filter(|(before, after)| after < before).count();
            let (before, after) = (median(pairs.iter().map(|pair| pair.0)), median(pairs.iter().map(|pair| pair.1)));
            let digits = metric.digits;
            table.push([
                Cell::text(&domain.label),
                Cell::text(metric.label),
                Cell::text(format!("{fell} of {}", pairs.len())),
                Cell::text(format!("{before:.digits$} → {after:.digits$}")),
            ]);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}
