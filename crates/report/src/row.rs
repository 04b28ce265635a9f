//! A row of the tables as its records have it.

use std::collections::BTreeMap;

use bayeslora_metrics::Family;
use bayeslora_records::{PerText, RowRecord, UnitRecord};

use crate::aggregate::records_of;
use crate::definition::Definition;

/// A row's finished records, by seed.
pub(crate) struct Row<'a> {
    pub(crate) id: String,
    pub(crate) by_seed: BTreeMap<u64, &'a RowRecord>,
}

impl<'a> Row<'a> {
    pub(crate) fn of(units: &[&'a UnitRecord], id: &str) -> Self {
        let by_seed = records_of(units, id).into_iter().map(|(unit, record)| (unit.seed, record)).collect();
        Self { id: id.to_owned(), by_seed }
    }

    /// What every text of a test set was given, seed by seed; none where a record does not have it.
    pub(crate) fn columns(&self, domain: &str) -> Option<Vec<&'a PerText>> {
        let of_record = |record: &&'a RowRecord| {
            let own = record.domains.iter().find(|own| own.domain == domain);
            own.and_then(|own| own.per_text.as_ref())
        };
        let columns: Option<Vec<&PerText>> = self.by_seed.values().map(of_record).collect();
        columns.filter(|columns| !columns.is_empty())
    }

    pub(crate) fn has_columns(&self) -> bool {
        let inside = |record: &RowRecord| {
            record.domains.iter().find(|own| own.in_distribution).map(|own| own.per_text.is_some())
        };
        !self.by_seed.is_empty() && self.by_seed.values().all(|record| inside(record) == Some(true))
    }

    /// Whether it finished at every seed planned, as the reference did, and there are seeds enough.
    pub(crate) fn is_comparable(&self, definition: &Definition, reference: &Self) -> bool {
        self.is_finished(definition) && reference.is_finished(definition) && self.has_columns()
    }

    /// Whether it finished at every seed planned for all methods, and there are seeds enough for tests.
    pub(crate) fn is_finished(&self, definition: &Definition) -> bool {
        let Definition { seeds, .. } = definition;
        seeds.len() >= Family::FEWEST_SEEDS && seeds.iter().all(|seed| self.by_seed.contains_key(seed))
    }

    pub(crate) fn seeds(&self) -> Vec<u64> {
        self.by_seed.keys().copied().collect()
    }
}
