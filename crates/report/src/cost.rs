//! What each row costs.

use bayeslora_metrics::median;
use bayeslora_records::{FitRecord, Outcome, RowRecord, UnitRecord};
use bayeslora_render::{Block, Cell, Column, Section, Table};

use crate::aggregate::records_of;
use crate::report::Report;

/// The fits behind some records.
pub(crate) fn fits_of<'a>(records: &[(&'a UnitRecord, &RowRecord)]) -> Vec<&'a FitRecord> {
    let fit = |(unit, _): &(&'a UnitRecord, &RowRecord)| match &unit.outcome {
        Outcome::Finished { fit, .. } => Some(fit),
        Outcome::Failed { .. } => None,
    };
    records.iter().filter_map(fit).collect()
}

/// The table.
pub(crate) fn section(report: &Report<'_>) -> Vec<Section> {
    let Report { definition, units, .. } = report;
    let mut table = Table::new([
        Column::text("method"),
        Column::number("parameters", 0),
        Column::number("fit", 1).unit("s"),
        Column::number("after the fit", 1).unit("s"),
        Column::number("training tokens/s", 0),
        Column::number("samples", 0),
        Column::number("prediction", 1).unit("s"),
        Column::number("examples/s", 0),
        Column::number("memory", 0).unit("MiB"),
    ]);
    for row in &definition.rows {
        let records = records_of(units, &row.id);
        let fits = fits_of(&records);
        let (Some(fit), Some((_, record))) = (fits.first(), records.first()) else { continue };
        table.push([
            Cell::text(&row.label),
            Cell::Count(fit.trainable_parameters),
            ranged(fits.iter().map(|fit| fit.seconds).collect()),
            measured(fits.iter().map(|fit| fit.post_hoc_seconds)),
            Cell::Number(median(fits.iter().map(|fit| fit.tokens_per_second))),
            Cell::Count(u64::from(record.samples)),
            ranged(records.iter().map(|(_, record)| record.seconds).collect()),
            Cell::Number(median(records.iter().map(|(_, record)| record.examples_per_second))),
            measured(fits.iter().filter_map(|fit| fit.peak_memory).map(|bytes| bytes as f64 / f64::from(1 << 20))),
        ]);
    }
    let said = "Medians over seeds on the machine named above; least and largest in parentheses. A wide range means a machine with other \
                work beside, not a dear method. After the fit: a search or a curvature at the trained weights. Memory: the largest of the \
                process during fit and prediction. –: none, or not measured.";
    vec![Section::new("Cost", [Block::text(said), Block::Table(table)])]
}

/// Median, least and largest of some seconds.
fn ranged(values: Vec<f64>) -> Cell {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = values.iter().copied().fold(0.0, f64::max);
    let middle = median(values);
    if least < largest { Cell::text(format!("{middle:.1} ({least:.1} to {largest:.1})")) } else { Cell::Number(middle) }
}

/// Median of a cost; missing for none.
fn measured(values: impl Iterator<Item = f64>) -> Cell {
    let middle = median(values);
    if middle > 0.0 { Cell::Number(middle) } else { Cell::Missing }
}
