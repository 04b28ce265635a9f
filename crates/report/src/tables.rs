//! Tables of rows against metrics, test set by test set.

use std::collections::BTreeSet;

use bayeslora_metrics::{METRICS, MetricInfo, Needs, median, metric};
use bayeslora_records::UnitRecord;
use bayeslora_render::{Block, Cell, Column, Section, Table};

use crate::aggregate::{Aggregate, records_of};
use crate::cost::fits_of;
use crate::definition::{Definition, ReadmeTable, TestSet};
use crate::error::{Error, Result};
use crate::report::Report;

/// Metrics of the main table.
pub(crate) const MAIN: [&str; 6] = ["accuracy", "nll", "brier", "ece", "aurc", "soft_nll"];
/// Metrics under shift.
const SHIFT: [&str; 5] = ["accuracy", "nll", "brier", "ece", "soft_nll"];
/// Selective prediction.
const SELECTIVE: [&str; 5] = ["aurc", "e_aurc", "selective_accuracy_80", "variance_error_spearman", "variance_error_p"];
/// Further calibration errors.
const CALIBRATION: [&str; 3] = ["ece", "adaptive_ece", "classwise_ece"];
/// Agreement with the raters.
const RATERS: [&str; 4] = [
    "rater_spearman_predictive_entropy",
    "rater_spearman_expected_entropy",
    "rater_spearman_mutual_information",
    "rater_sd_spearman_expected_entropy",
];
/// Detection of shift.
const DETECTION: [&str; 11] = [
    "auroc_max_probability",
    "auroc_predictive_entropy",
    "auroc_expected_entropy",
    "auroc_mutual_information",
    "auroc_variance",
    "aupr_predictive_entropy",
    "aupr_mutual_information",
    "fpr95_predictive_entropy",
    "fpr95_mutual_information",
    "ood_spearman_mutual_information",
    "ood_spearman_variance",
];
/// Selective prediction by other scores than the top probability.
const OTHER_SELECTIVE: [&str; 7] = [
    "aurc_predictive_entropy",
    "aurc_expected_entropy",
    "aurc_mutual_information",
    "aurc_variance",
    "aurc_input_norm",
    "aurc_mahalanobis",
    "aurc_nearest_neighbours",
];
/// Detection by plain distances of the adapters' input from that of the training texts.
const BY_DISTANCE: [&str; 6] = [
    "auroc_input_norm",
    "auroc_mahalanobis",
    "auroc_nearest_neighbours",
    "aupr_mahalanobis",
    "fpr95_mahalanobis",
    "fpr95_nearest_neighbours",
];
/// Metrics of corrupted test sets.
const CORRUPTED: [&str; 4] = ["accuracy", "nll", "ece", "auroc_predictive_entropy"];

/// The metrics of `keys` that exist on a test set.
pub(crate) fn metrics_of(domain: &TestSet, keys: &[&str]) -> Vec<&'static MetricInfo> {
    let exists = |metric: &&MetricInfo| match metric.needs {
        Needs::Nothing => true,
        Needs::Labels => domain.labelled,
        Needs::Ratings => domain.labelled && domain.rated,
    };
    keys.iter().filter_map(|key| metric(key)).filter(exists).collect()
}

/// A score as it stands in a table.
fn shown(aggregate: &Aggregate, row: &str, domain: &str, metric: &MetricInfo) -> Cell {
    aggregate.get(row, domain, metric.key).map_or(Cell::Missing, |score| score.cell(metric))
}

/// Rows against the metrics that exist on one test set; `None` when none does.
pub(crate) fn table(definition: &Definition, aggregate: &Aggregate, domain: &TestSet, keys: &[&str]) -> Option<Table> {
    let metrics = metrics_of(domain, keys);
    if metrics.is_empty() {
        return None;
    }
    let columns = metrics.iter().map(|metric| Column::metric(metric));
    let mut table = Table::named("method", columns);
    for row in &definition.rows {
        let cells = metrics.iter().map(|metric| shown(aggregate, &row.id, &domain.id, metric));
        table.push_named(&row.label, cells);
    }
    Some(table)
}

/// Detection by the distance of the frozen input. No fit enters it, so where all rows are the same they are one, and none is the best.
fn by_distance(definition: &Definition, aggregate: &Aggregate, domain: &TestSet) -> Option<Table> {
    let mut table = table(definition, aggregate, domain, &BY_DISTANCE)?;
    if let [first, others @ ..] = table.rows.as_slice()
        && !others.is_empty()
        && others.iter().all(|other| other[1..] == first[1..])
    {
        let plain = |cell: Cell| match cell {
            Cell::Mean { mean, sd, mark, .. } => Cell::Mean { mean, sd, mark, strong: false },
            other => other,
        };
        let cells: Vec<Cell> = first[1..].iter().cloned().map(plain).collect();
        table.rows.clear();
        table.push_named("every row", cells);
    }
    Some(table)
}

/// Quality on one test set, and what one pays for it: trained parameters and seconds of fit and prediction, medians over seeds.
pub(crate) fn main_table(report: &Report<'_>, domain: &TestSet) -> Option<Table> {
    let Report { definition, aggregate, units, .. } = report;
    let mut table = table(definition, aggregate, domain, &MAIN)?;
    table.columns.push(Column::number("parameters", 0));
    table.columns.push(Column::number("fit", 1).unit("s"));
    table.columns.push(Column::number("prediction", 1).unit("s"));
    for (row, cells) in definition.rows.iter().zip(&mut table.rows) {
        let records = records_of(units, &row.id);
        let fits = fits_of(&records);
        if let Some(fit) = fits.first() {
            cells.push(Cell::Count(fit.trainable_parameters));
            cells.push(Cell::Number(median(fits.iter().map(|fit| fit.seconds + fit.post_hoc_seconds))));
            cells.push(Cell::Number(median(records.iter().map(|(_, record)| record.seconds))));
        }
        cells.resize(table.columns.len(), Cell::Missing);
    }
    Some(table)
}

/// The rows and columns that a README wants.
///
/// # Errors
/// [`Error::Report`] for a row, a metric or a test set that there is not.
pub(crate) fn chosen(definition: &Definition, aggregate: &Aggregate, wanted: &ReadmeTable) -> Result<Table> {
    let unknown = |what: &str, got: &str, known: Vec<&str>| {
        Error::Report(format!(
            "{}: readme: unknown {what} \"{got}\"; expected one of {}",
            definition.name,
            known.join(", ")
        ))
    };
    let mut columns = Vec::new();
    for column in &wanted.columns {
        let keys = || METRICS.iter().map(|metric| metric.key).collect();
        let metric = metric(&column.metric).ok_or_else(|| unknown("metric", &column.metric, keys()))?;
        let domains = || definition.domains.iter().map(|domain| domain.id.as_str());
        if !domains().any(|domain| domain == column.domain) {
            return Err(unknown("domain", &column.domain, domains().collect()));
        }
        columns.push((column, metric));
    }
    let heads = columns.iter().map(|(column, metric)| Column { name: column.label.clone(), ..Column::metric(metric) });
    let mut table = Table::named("method", heads);
    for id in &wanted.rows {
        let known = || definition.rows.iter().map(|row| row.id.as_str()).collect();
        let row = definition.rows.iter().find(|row| row.id == *id).ok_or_else(|| unknown("row", id, known()))?;
        let cells = columns.iter().map(|(column, metric)| shown(aggregate, id, &column.domain, metric));
        table.push_named(&row.label, cells);
    }
    Ok(table)
}

/// Quality, calibration, selection, shift and detection; one section each.
pub(crate) fn sections(report: &Report<'_>) -> Vec<Section> {
    let Report { definition, aggregate, .. } = report;
    // Some records hold none of these scores.
    let (others, raters) = (aggregate.holds(&OTHER_SELECTIVE), aggregate.holds(&RATERS));
    let distances = aggregate.holds(&BY_DISTANCE);
    let mut sections = Vec::new();
    let mut section = |domain: &TestSet, title: &str, table: Option<Table>| {
        let heading = format!("{}: {title}", domain.label);
        sections.extend(table.map(|table| Section::new(heading, [Block::Table(table)])));
    };
    let of = |domain: &TestSet, keys: &[&str]| table(definition, aggregate, domain, keys);
    for domain in definition.inside() {
        section(domain, "predictive quality", main_table(report, domain));
        section(domain, "calibration", of(domain, &CALIBRATION));
        section(domain, "selective prediction", of(domain, &SELECTIVE));
        if others {
            section(domain, "selective prediction by other scores", of(domain, &OTHER_SELECTIVE));
        }
        if raters {
            section(domain, "agreement with the raters", of(domain, &RATERS));
        }
    }
    for domain in definition.shifted() {
        section(domain, "under shift", of(domain, &SHIFT));
        section(domain, "detected against the in-distribution test set", of(domain, &DETECTION));
        if distances {
            let title = "detected by the distance of the adapters' input, without any posterior";
            section(domain, title, by_distance(definition, aggregate, domain));
        }
        if raters {
            section(domain, "agreement with the raters", of(domain, &RATERS));
        }
    }
    sections
}

/// Examples of a test set in the records that have it, `120` or, where they differ, `100 to 120`.
pub(crate) fn examples(units: &[&UnitRecord], definition: &Definition, domain: &TestSet) -> String {
    let mut counts: BTreeSet<u64> = BTreeSet::new();
    for row in &definition.rows {
        let domains = records_of(units, &row.id).into_iter().flat_map(|(_, record)| &record.domains);
        counts.extend(domains.filter(|found| found.domain == domain.id).map(|found| found.examples));
    }
    match (counts.first(), counts.last()) {
        (Some(least), Some(most)) if least < most => format!("{least} to {most}"),
        (Some(count), _) => count.to_string(),
        _ => "no".to_owned(),
    }
}

/// Tables by strength, one for each kind of corruption and metric.
pub(crate) fn corrupted(report: &Report<'_>) -> Vec<Section> {
    let Report { definition, aggregate, units, .. } = report;
    let mut kinds: Vec<&str> = Vec::new();
    for (kind, _) in definition.domains.iter().filter_map(|domain| domain.corruption) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let mut sections = Vec::new();
    for kind in kinds {
        let clean = definition.inside().map(|domain| ("as published".to_owned(), domain));
        let of_kind = definition.domains.iter().filter_map(|domain| match domain.corruption {
            Some((own, strength)) if own == kind => Some((format!("strength {strength}"), domain)),
            _ => None,
        });
        let columns: Vec<(String, &TestSet)> = clean.chain(of_kind).collect();
        let counts = columns.iter().map(|(name, domain)| format!("{} {name}", examples(units, definition, domain)));
        let counts: Vec<String> = counts.collect();
        for metric in CORRUPTED.iter().filter_map(|key| metric(key)) {
            let heads = columns.iter().map(|(name, _)| Column::number(name, metric.digits));
            let mut table = Table::named("method", heads);
            for row in &definition.rows {
                let cells = columns.iter().map(|(_, domain)| shown(aggregate, &row.id, &domain.id, metric));
                table.push_named(&row.label, cells);
            }
            let said = Block::text(format!("Examples: {}.", counts.join(", ")));
            let heading = format!("{kind}: {}", Column::metric(metric).heading());
            sections.push(Section::new(heading, [said, Block::Table(table)]));
        }
    }
    sections
}
