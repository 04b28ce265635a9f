//! What each row costs.

use std::fmt::Write as _;

use super::Definition;
use super::aggregate::records_of;
use super::markdown::cell_text;
use bayeslora_metrics::median;
use bayeslora_records::{Outcome, UnitRecord};

/// The table.
pub(super) fn section(definition: &Definition, units: &[&UnitRecord]) -> String {
    let mut text = String::from(
        "## Cost\n\nMedians over seeds on the machine named above, least and largest in parentheses: a wide range means a machine with other work \
         beside, not a dear method. After the fit: a search or a curvature \
         at the trained weights. Memory: the process's largest during fit and prediction. –: none, or not measured.\n\n\
         | method | parameters | fit, s | after the fit, s | training tokens/s | samples | prediction, s | examples/s | memory, MiB |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for row in &definition.rows {
        let records = records_of(units, &row.id);
        let fits: Vec<_> = records
            .iter()
            .filter_map(|(unit, _)| match &unit.outcome {
                Outcome::Finished { fit, .. } => Some(fit),
                Outcome::Failed { .. } => None,
            })
            .collect();
        let (Some(fit), Some((_, record))) = (fits.first(), records.first()) else { continue };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {:.0} | {} | {} | {:.0} | {} |",
            cell_text(&row.label),
            fit.trainable_parameters,
            ranged(fits.iter().map(|fit| fit.seconds).collect()),
            measured(fits.iter().map(|fit| fit.post_hoc_seconds), 1),
            median(fits.iter().map(|fit| fit.tokens_per_second)),
            record.samples,
            ranged(records.iter().map(|(_, record)| record.seconds).collect()),
            median(records.iter().map(|(_, record)| record.examples_per_second)),
            measured(fits.iter().filter_map(|fit| fit.peak_memory).map(|bytes| bytes as f64 / f64::from(1 << 20)), 0),
        );
    }
    text.push('\n');
    text
}

/// Median, least and largest of some seconds.
fn ranged(values: Vec<f64>) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = values.iter().copied().fold(0.0, f64::max);
    let middle = median(values);
    if least < largest { format!("{middle:.1} ({least:.1} to {largest:.1})") } else { format!("{middle:.1}") }
}

/// Median of a cost with so many decimals; a dash for none.
fn measured(values: impl Iterator<Item = f64>, decimals: usize) -> String {
    let middle = median(values);
    if middle > 0.0 { format!("{middle:.decimals$}") } else { "–".to_owned() }
}
