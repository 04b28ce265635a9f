//! The rows of one test set and metric held against a margin, corrected together.

use bayeslora_metrics::holm;

use crate::comparison::{Comparison, Difference};
use crate::definition::{Definition, RowDefinition, TestSet};
use crate::error::Result;
use crate::score::tempered;

/// One row held against the margin of a metric on a test set.
pub(crate) struct Equivalence<'a> {
    pub(crate) row: &'a RowDefinition,
    pub(crate) domain: &'a TestSet,
    pub(crate) metric: &'a str,
    pub(crate) margin: f64,
    pub(crate) is_tempered: bool,
    pub(crate) found: &'a Difference,
    pub(crate) holm_p: f64,
}

/// Every row held against a margin, by test set and metric, each corrected over its rows, tempered rows apart.
pub(crate) fn all<'a>(definition: &'a Definition, comparisons: &'a [Comparison]) -> Result<Vec<Equivalence<'a>>> {
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
                    let Some(holm_p) = found.equivalence_p else { continue };
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
