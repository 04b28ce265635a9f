//! The distances of test texts from the training texts, kept for the pages.

use bayeslora_records::{DistancesRecord, SCHEMA, TextDistances, four_digits, key_of};

use super::keys::distances_settings;
use super::opened::{OpenedPlan, Splits};
use super::provenance;
use crate::error::Result;
use crate::scoring::distances::Distances;

impl OpenedPlan<'_> {
    /// First block that the reference adapts: distances are of its adapters' input.
    pub(super) fn reference_input(&self) -> usize {
        self.first_adapted(self.plan.method_of(&self.plan.reference))
    }

    /// Whether the distances of the plan's texts are on record.
    pub(super) fn has_distances(&self) -> Result<bool> {
        let key = key_of(&distances_settings(self.plan, self.sources()));
        Ok(self.store.distances()?.iter().any(|record| record.key == key))
    }

    /// Writes them, given the activations that the reference's adapters are given. Corrupted copies are left out.
    pub(super) fn keep_distances(&self, splits: &Splits) -> Result<()> {
        let settings = distances_settings(self.plan, self.sources());
        let rounded = |values: &[f64]| values.iter().copied().map(four_digits).collect();
        let domains =
            self.data.domains.iter().zip(&splits.distances).filter(|(domain, _)| domain.info.corruption.is_none());
        let domains =
            domains.map(|(domain, Distances { input_norm, mahalanobis, nearest_neighbours })| TextDistances {
                domain: domain.info.id.clone(),
                input_norm: rounded(input_norm),
                mahalanobis: rounded(mahalanobis),
                nearest_neighbours: rounded(nearest_neighbours),
            });
        let record = DistancesRecord {
            schema: SCHEMA,
            key: key_of(&settings),
            settings,
            domains: domains.collect(),
            provenance: provenance::current(self.backbone.place(), self.model.digest(), &self.data.digest),
        };
        Ok(self.store.write_distances(&record)?)
    }
}
