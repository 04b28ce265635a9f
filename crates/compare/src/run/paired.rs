//! Paired differences between rows, from kept predictions.

use ndarray::Array3;

use super::workshop::Workshop;
use super::{Unit, comparison_key};
use crate::Result;
use crate::differences::{Pairs, differences};
use crate::experiment::PlannedMethod;
use crate::record::{ComparisonRecord, Difference, SCHEMA};

/// Logits of a row and of the reference at one seed, domain by domain.
type PairedLogits = (Vec<Array3<f32>>, Vec<Array3<f32>>);

impl Workshop<'_> {
    /// Paired differences of every row against the reference, where both finished at every seed and predictions are kept.
    pub(super) fn compare(&self, units: &[Unit<'_>]) -> Result<()> {
        let plan = self.plan;
        let rows = plan.rows();
        let keys_of = |method: &str| -> Vec<&str> {
            units.iter().filter(|unit| unit.method.id == method).map(|unit| unit.key.as_str()).collect()
        };
        let Some((reference, _, reference_method, _)) = rows.iter().find(|(id, ..)| *id == plan.experiment.reference)
        else {
            return Ok(());
        };
        for (row, label, method, _) in rows.iter().filter(|(id, ..)| id != reference) {
            let (own_keys, reference_keys) = (keys_of(&method.id), keys_of(&reference_method.id));
            let key = comparison_key(plan, row, &own_keys, &reference_keys);
            if self.store.comparison(row, &key)?.is_some() {
                continue;
            }
            self.progress.stage(&format!("bootstrap of {label}"));
            let mut logits = Vec::new();
            for (own, other) in own_keys.into_iter().zip(reference_keys) {
                match (self.kept(own, row)?, self.kept(other, reference)?) {
                    (Some(own), Some(other)) => logits.push((own, other)),
                    _ => break,
                }
            }
            if logits.len() < plan.seeds.len() {
                self.progress
                    .note(&format!("no paired differences for {label}: predictions of some seeds were not kept"));
                continue;
            }
            let differences = self.differences((method, reference_method), &logits)?;
            let bootstrap = &plan.experiment.bootstrap;
            self.store.write_comparison(&ComparisonRecord {
                schema: SCHEMA,
                key,
                row: row.clone(),
                reference: reference.clone(),
                seeds: plan.seeds.clone(),
                resamples: bootstrap.resamples,
                level: bootstrap.level,
                differences,
            })?;
        }
        Ok(())
    }

    /// Kept logits of a row, domain by domain.
    fn kept(&self, key: &str, row: &str) -> Result<Option<Vec<Array3<f32>>>> {
        let Some(mut all) = self.store.predictions(key)? else { return Ok(None) };
        Ok(self.data.domains.iter().map(|domain| all.remove(&format!("{row}.{}", domain.info.id))).collect())
    }

    fn differences(
        &self,
        (own, other): (&PlannedMethod, &PlannedMethod),
        logits: &[PairedLogits],
    ) -> Result<Vec<Difference>> {
        let mut pairs: Vec<Pairs<'_>> = self.data.domains.iter().map(|_| Pairs { seeds: Vec::new() }).collect();
        for (of_row, of_reference) in logits {
            let scored = self.score(own, of_row)?.into_iter().zip(self.score(other, of_reference)?);
            for (pair, (row, reference)) in pairs.iter_mut().zip(scored) {
                pair.seeds.push((row, reference));
            }
        }
        let inside = self.data.domains.iter().position(|domain| domain.info.in_distribution).map(|place| &pairs[place]);
        let mut found = Vec::new();
        for (pair, domain) in pairs.iter().zip(&self.data.domains) {
            let inside = inside.filter(|_| !domain.info.in_distribution);
            found.extend(differences(pair, inside, &self.plan.experiment.bootstrap)?);
        }
        Ok(found)
    }
}
