//! What scores know beyond one deterministic pass, from kept predictions.

use std::collections::HashMap;

use bayeslora_metrics::{Scaled, Temperature};
use ndarray::{Array3, s};

use super::keys::{comparison_key, comparison_settings};
use super::opened::OpenedPlan;
use super::unit::Unit;
use crate::error::Result;
use crate::experiment::Row;
use crate::scoring::beyond::{Domains, beyond};
use crate::scoring::distances::Distances;
use crate::scoring::scored::Scored;
use bayeslora_data::tasks::Domain;
use bayeslora_records::{Beyond, ComparisonRecord, Covers, Question, Reading, RowId, SCHEMA, Texts, key_of};

/// Kept logits of a unit by name.
type Kept = HashMap<String, Array3<f32>>;

/// What a row predicted: for every domain, every seed.
type Predicted<'a> = Vec<Vec<Scored<'a>>>;

/// The reference row at every seed.
struct Reference<'a> {
    keys: Vec<&'a str>,
    kept: Vec<Kept>,
}

impl OpenedPlan<'_> {
    /// What the scores of every sampled row know beyond a deterministic pass, where it and the reference finished at every seed and
    /// predictions are kept. Differences from the reference follow from the columns of the records.
    pub(super) fn compare(&self, units: &[Unit<'_>]) -> Result<()> {
        let plan = self.plan;
        let keys_of = |row: &Row| -> Vec<&str> {
            let method = &plan.method_of(row).id;
            let own = units.iter().filter(|unit| unit.method.id == *method && plan.seeds.contains(&unit.seed));
            own.map(|unit| unit.key.as_str()).collect()
        };
        let reference_keys = keys_of(&plan.reference);
        let mut missing = Vec::new();
        for row in plan.rows.iter().filter(|row| **row != plan.reference && row.reading != Reading::Mean) {
            let key = comparison_key(plan, &row.id, &keys_of(row), &reference_keys);
            if self.store.comparison(&row.id.to_string(), &key)?.is_none() {
                missing.push(row);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let Some(kept) = self.kept(&reference_keys)? else {
            let note = "nothing is said of scores beyond one pass: predictions of some seeds were not kept for";
            self.progress.note(&format!("{note} {}", plan.reference.label));
            return Ok(());
        };
        let reference = Reference { keys: reference_keys, kept };
        self.compare_distances(&reference)?;
        self.compare_another_fit(&reference)?;
        for row in missing {
            self.progress.stage(&format!("scores of {}", row.label));
            let own_keys = keys_of(row);
            let kept = self.kept(&own_keys)?;
            let predicted = kept.as_ref().map(|kept| self.predicted(kept, row)).transpose()?.flatten();
            let (Some(kept), Some(predicted)) = (kept, predicted) else {
                let note = "nothing is said of the scores of";
                self.progress.note(&format!("{note} {}: predictions of some seeds were not kept", row.label));
                continue;
            };
            let beyond = self
                .beyond(&predicted, &self.pass(row, &kept, &reference)?, |score| !Distances::SCORES.contains(&score))?;
            self.write((own_keys.as_slice(), reference.keys.as_slice()), &row.id, beyond)?;
        }
        Ok(())
    }

    /// Kept logits of every unit, if all were kept.
    fn kept(&self, keys: &[&str]) -> Result<Option<Vec<Kept>>> {
        keys.iter().map(|key| Ok(self.store.predictions(key)?)).collect()
    }

    /// A row's predictions.
    fn predicted(&self, kept: &[Kept], row: &Row) -> Result<Option<Predicted<'_>>> {
        let averaging = self.plan.method_of(row).prediction.averaging;
        let mut predicted = Vec::new();
        for domain in &self.data.domains {
            let mut seeds = Vec::new();
            for logits in kept {
                let Some(logits) = logits.get(&row.id.kept_name(Texts::Domain(&domain.info.id))) else {
                    return Ok(None);
                };
                seeds.push(Scored::new(domain, logits, averaging)?);
            }
            predicted.push(seeds);
        }
        Ok(Some(predicted))
    }

    /// The temperature that minimises the NLL of the validation split, from a row's logits on it.
    pub(super) fn temperature(&self, row: &Row, logits: &Array3<f32>) -> Result<Temperature> {
        let labels =
            self.data.validation.iter().map(|example| example.label.map_or(usize::MAX, |label| label as usize));
        let labels: Vec<usize> = labels.collect();
        let averaging = self.plan.method_of(row).prediction.averaging;
        Ok(Temperature::fit(logits.view(), &labels, averaging, Scaled::Samples)?)
    }

    /// Place of the in-distribution test set, for those that are shifted.
    fn inside(&self, place: usize) -> Option<usize> {
        let inside = self.data.domains.iter().position(|domain| domain.info.in_distribution);
        inside.filter(|_| !self.data.domains[place].info.in_distribution)
    }

    /// The deterministic pass that a fit's scores are held against: its own, that of the first of its members, or that of the reference's
    /// fit at the same seed. Without any there is nothing, and nothing is held against it.
    fn pass(&self, row: &Row, kept: &[Kept], reference: &Reference<'_>) -> Result<Predicted<'_>> {
        if row.reading == Reading::Members {
            // Another fit's pass would seem to lack what any second fit adds.
            let first = |kept: &Kept| -> Kept {
                kept.iter().map(|(name, logits)| (name.clone(), logits.slice(s![..1, .., ..]).to_owned())).collect()
            };
            let members: Vec<Kept> = kept.iter().map(first).collect();
            return Ok(self.predicted(&members, row)?.unwrap_or_default());
        }
        let mean_of =
            |method: usize| self.plan.rows.iter().find(|row| row.method == method && row.reading == Reading::Mean);
        let own = mean_of(row.method).map(|row| (kept, row));
        let of_reference = || mean_of(self.plan.reference.method).map(|row| (reference.kept.as_slice(), row));
        let Some((kept, row)) = own.or_else(of_reference) else { return Ok(Predicted::default()) };
        Ok(self.predicted(kept, row)?.unwrap_or_default())
    }

    /// What the scores `wanted` know; corrupted copies are left out.
    fn beyond(&self, own: &Predicted<'_>, pass: &Predicted<'_>, wanted: fn(&str) -> bool) -> Result<Vec<Beyond>> {
        self.beyond_of(own, own, pass, wanted)
    }

    /// The same of scores that are another's, as of a placebo.
    fn beyond_of(
        &self,
        own: &Predicted<'_>,
        scores: &Predicted<'_>,
        pass: &Predicted<'_>,
        wanted: fn(&str) -> bool,
    ) -> Result<Vec<Beyond>> {
        let mut found = Vec::new();
        let at =
            |place: usize| Some(Domains { own: own.get(place)?, scores: scores.get(place)?, pass: pass.get(place)? });
        for (place, domain) in self.data.domains.iter().enumerate().filter(|(_, d)| d.info.corruption.is_none()) {
            let level = self.plan.experiment.bootstrap.level;
            let Some(domains) = at(place).filter(|_| !domain.examples.is_empty()) else { continue };
            found.extend(beyond(domains, self.inside(place).and_then(at), wanted, level)?);
        }
        Ok(found)
    }

    /// A placebo: the entropy of the reference's fit at the next seed beside that of its fit at this one. What any second fit adds to one
    /// pass is no merit of a posterior.
    fn compare_another_fit(&self, reference: &Reference<'_>) -> Result<()> {
        if reference.kept.len() < 2 {
            return Ok(());
        }
        let mut next = reference.kept.clone();
        next.rotate_left(1);
        let row = &self.plan.reference;
        let (Some(own), Some(others)) = (self.predicted(&reference.kept, row)?, self.predicted(&next, row)?) else {
            return Ok(());
        };
        let pass = self.pass(row, &reference.kept, reference)?;
        let mut beyond = self.beyond_of(&own, &others, &pass, |score| score == "predictive_entropy")?;
        // Of shifts the mean over seeds is that of the same fits in another order: no placebo at all.
        beyond.retain(|one| one.question != Question::Shift);
        let keys = (reference.keys.as_slice(), reference.keys.as_slice());
        self.write(keys, &RowId::OtherFit, beyond)
    }

    /// Distances are the same for every fit: once, against the reference row.
    fn compare_distances(&self, reference: &Reference<'_>) -> Result<()> {
        let named = |domain: &Domain| RowId::Distances.kept_name(Texts::Domain(&domain.info.id));
        let Some(kept) = reference.kept.first() else { return Ok(()) };
        let stored: Option<Vec<_>> =
            self.data.domains.iter().map(|domain| kept.get(&named(domain)).and_then(Distances::from_kept)).collect();
        let Some(stored) = stored else { return Ok(()) };
        let mut predicted = self.pass(&self.plan.reference, &reference.kept, reference)?;
        for (seeds, distances) in predicted.iter_mut().zip(&stored) {
            for scored in seeds {
                scored.distances = Some(distances);
            }
        }
        let beyond = self.beyond(&predicted, &predicted, |score| Distances::SCORES.contains(&score))?;
        let keys = (reference.keys.as_slice(), reference.keys.as_slice());
        self.write(keys, &RowId::Distances, beyond)
    }

    /// Writes what was found of a row beside the reference, given the keys of their units.
    fn write(&self, (own, others): (&[&str], &[&str]), row: &RowId, beyond: Vec<Beyond>) -> Result<()> {
        let bootstrap = &self.plan.experiment.bootstrap;
        let settings = comparison_settings(self.plan, row, own, others);
        let record = ComparisonRecord {
            schema: SCHEMA,
            key: key_of(&settings),
            settings: Some(settings),
            row: row.to_string(),
            reference: self.plan.reference.id.to_string(),
            seeds: self.plan.seeds.clone(),
            resamples: bootstrap.resamples,
            level: bootstrap.level,
            covers: Covers::ExamplesAndSeeds,
            differences: Vec::new(),
            beyond,
        };
        Ok(self.store.write_comparison(&record)?)
    }
}
