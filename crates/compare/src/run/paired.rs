//! Paired differences between rows, from kept predictions.

use std::collections::HashMap;

use bayeslora_metrics::{Scaled, Temperature};
use ndarray::Array3;

use super::workshop::Workshop;
use super::{Unit, comparison_key};
use crate::beyond::{Domains, beyond};
use crate::differences::{Measures, differences, measure};
use crate::distances::Distances;
use crate::error::Result;
use crate::experiment::PlannedMethod;
use crate::score::Scored;
use bayeslora_inference::Reading;
use bayeslora_records::{Beyond, ComparisonRecord, Covers, DISTANCES, Difference, SCHEMA, TEMPERED};

/// Kept logits of a unit by name.
type Kept = HashMap<String, Array3<f32>>;

/// What a row predicted: for every domain, every seed.
type Predicted<'a> = Vec<Vec<Scored<'a>>>;

/// Name among the kept logits of a row's on the validation split.
pub(super) fn validation_name(row: &str) -> String {
    format!("{row}.+validation")
}

/// The reference row at every seed.
struct Reference<'a> {
    keys: Vec<&'a str>,
    kept: Vec<Kept>,
    /// As predicted and, where validation logits were kept, tempered: for every domain.
    measures: Vec<Measures>,
    tempered: Option<Vec<Measures>>,
}

impl Workshop<'_> {
    /// Paired differences of every row from the reference, tempered against tempered too, and what scores know beyond a deterministic
    /// pass: where both rows finished at every seed and predictions are kept.
    pub(super) fn compare(&self, units: &[Unit<'_>]) -> Result<()> {
        let plan = self.plan;
        let rows = plan.rows();
        let keys_of = |method: &PlannedMethod| -> Vec<&str> {
            units.iter().filter(|unit| unit.method.id == method.id).map(|unit| unit.key.as_str()).collect()
        };
        let Some((reference, reference_label, reference_method, _)) =
            rows.iter().find(|(id, ..)| *id == plan.experiment.reference)
        else {
            return Ok(());
        };
        let reference_keys = keys_of(reference_method);
        let mut missing = Vec::new();
        for row in rows.iter().filter(|(id, ..)| id != reference) {
            let key = comparison_key(plan, &row.0, &keys_of(row.2), &reference_keys);
            if self.store.comparison(&row.0, &key)?.is_none() {
                missing.push((row, key));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let Some(reference) = self.reference(reference, reference_keys)? else {
            let note = "no paired differences: predictions of some seeds were not kept for";
            self.progress.note(&format!("{note} {reference_label}"));
            return Ok(());
        };
        self.compare_distances(reference_method, &reference)?;
        for ((row, label, method, reading), key) in missing {
            self.progress.stage(&format!("comparison of {label}"));
            let own_keys = keys_of(method);
            let kept = self.kept(&own_keys)?;
            let Some(predicted) = kept.as_ref().map(|kept| self.predicted(kept, row, None)).transpose()?.flatten()
            else {
                self.progress
                    .note(&format!("no paired differences for {label}: predictions of some seeds were not kept"));
                continue;
            };
            let kept = kept.unwrap_or_default();
            // First what is found again by the row's own record.
            if let (Some(own), Some(other)) = (self.tempered(&kept, row)?, &reference.tempered) {
                let row = format!("{row}{TEMPERED}");
                let key = comparison_key(plan, &row, &own_keys, &reference.keys);
                let differences = self.differences(&own, other)?;
                self.write(key, row, format!("{}{TEMPERED}", plan.experiment.reference), differences, Vec::new())?;
            }
            let known = match reading {
                Reading::Mean => Vec::new(),
                _ => self.beyond(&predicted, &self.pass(method, &kept, &reference)?, |score| {
                    !Distances::SCORES.contains(&score)
                })?,
            };
            let differences = self.differences(&self.measures(&predicted)?, &reference.measures)?;
            self.write(key, row.clone(), plan.experiment.reference.clone(), differences, known)?;
        }
        Ok(())
    }

    /// Kept logits of every unit, if all were kept.
    fn kept(&self, keys: &[&str]) -> Result<Option<Vec<Kept>>> {
        keys.iter().map(|key| Ok(self.store.predictions(key)?)).collect()
    }

    fn reference<'a>(&self, row: &str, keys: Vec<&'a str>) -> Result<Option<Reference<'a>>> {
        let Some(kept) = self.kept(&keys)? else { return Ok(None) };
        let Some(predicted) = self.predicted(&kept, row, None)? else { return Ok(None) };
        let (measures, tempered) = (self.measures(&predicted)?, self.tempered(&kept, row)?);
        Ok(Some(Reference { keys, kept, measures, tempered }))
    }

    /// A row's predictions, divided by one temperature a seed where they are given.
    fn predicted(
        &self,
        kept: &[Kept],
        row: &str,
        temperatures: Option<&[Temperature]>,
    ) -> Result<Option<Predicted<'_>>> {
        let averaging = self.averaging(row);
        let mut predicted = Vec::new();
        for domain in &self.data.domains {
            let mut seeds = Vec::new();
            for (seed, logits) in kept.iter().enumerate() {
                let Some(logits) = logits.get(&format!("{row}.{}", domain.info.id)) else { return Ok(None) };
                seeds.push(match temperatures {
                    None => Scored::new(domain, logits, averaging)?,
                    Some(fitted) => Scored::new(domain, &fitted[seed].apply(logits.view(), averaging)?, averaging)?,
                });
            }
            predicted.push(seeds);
        }
        Ok(Some(predicted))
    }

    /// The temperature that minimises the NLL of the validation split, from a row's logits on it.
    pub(super) fn temperature(&self, row: &str, logits: &Array3<f32>) -> Result<Temperature> {
        let labels =
            self.data.validation.iter().map(|example| example.label.map_or(usize::MAX, |label| label as usize));
        let labels: Vec<usize> = labels.collect();
        Ok(Temperature::fit(logits.view(), &labels, self.averaging(row), Scaled::Samples)?)
    }

    /// What a row measures with its own temperature, if its validation logits were kept.
    fn tempered(&self, kept: &[Kept], row: &str) -> Result<Option<Vec<Measures>>> {
        let logits: Option<Vec<_>> = kept.iter().map(|kept| kept.get(&validation_name(row))).collect();
        let Some(logits) = logits else { return Ok(None) };
        let fitted = logits.into_iter().map(|logits| self.temperature(row, logits)).collect::<Result<Vec<_>>>()?;
        self.predicted(kept, row, Some(&fitted))?.map(|predicted| self.measures(&predicted)).transpose()
    }

    /// Place of the in-distribution test set, for those that are shifted.
    fn inside(&self, place: usize) -> Option<usize> {
        let inside = self.data.domains.iter().position(|domain| domain.info.in_distribution);
        inside.filter(|_| !self.data.domains[place].info.in_distribution)
    }

    fn measures(&self, predicted: &Predicted<'_>) -> Result<Vec<Measures>> {
        let inside = |place| self.inside(place).map(|inside| predicted[inside].as_slice());
        let domains = predicted.iter().enumerate();
        domains.map(|(place, seeds)| measure(seeds, inside(place), &self.plan.experiment.bootstrap)).collect()
    }

    fn differences(&self, own: &[Measures], reference: &[Measures]) -> Result<Vec<Difference>> {
        let mut found = Vec::new();
        for ((domain, own), reference) in self.data.domains.iter().zip(own).zip(reference) {
            let examples = (domain.info.id.as_str(), domain.examples.len());
            found.extend(differences(own, reference, examples, self.plan.experiment.bootstrap.level)?);
        }
        Ok(found)
    }

    /// The deterministic pass that a fit's scores are held against: its own, or that of the reference's fit at the same seed. Without
    /// either there is nothing, and nothing is held against it.
    fn pass(&self, method: &PlannedMethod, kept: &[Kept], reference: &Reference<'_>) -> Result<Predicted<'_>> {
        let rows = self.plan.rows();
        let mean = |id: &str| {
            let mut rows = rows.iter();
            rows.find(|(_, _, planned, reading)| planned.id == id && *reading == Reading::Mean).map(|(row, ..)| row)
        };
        let of_reference = || {
            let (_, _, planned, _) = rows.iter().find(|(row, ..)| *row == self.plan.experiment.reference)?;
            Some((reference.kept.as_slice(), mean(&planned.id)?))
        };
        let Some((kept, row)) = mean(&method.id).map(|row| (kept, row)).or_else(of_reference) else {
            return Ok(Predicted::default());
        };
        Ok(self.predicted(kept, row, None)?.unwrap_or_default())
    }

    /// What the scores `wanted` know; corrupted copies are left out.
    fn beyond(&self, own: &Predicted<'_>, pass: &Predicted<'_>, wanted: fn(&str) -> bool) -> Result<Vec<Beyond>> {
        let mut found = Vec::new();
        let at = |place: usize| Some(Domains { own: own.get(place)?, pass: pass.get(place)? });
        for (place, domain) in self.data.domains.iter().enumerate().filter(|(_, d)| d.info.corruption.is_none()) {
            let level = self.plan.experiment.bootstrap.level;
            let Some(domains) = at(place).filter(|_| !domain.examples.is_empty()) else { continue };
            found.extend(beyond(domains, self.inside(place).and_then(at), wanted, level)?);
        }
        Ok(found)
    }

    /// Distances are the same for every fit: once, against the reference row.
    fn compare_distances(&self, method: &PlannedMethod, reference: &Reference<'_>) -> Result<()> {
        let named = |domain: &bayeslora_data::tasks::Domain| format!("{DISTANCES}.{}", domain.info.id);
        let Some(kept) = reference.kept.first() else { return Ok(()) };
        let stored: Option<Vec<_>> =
            self.data.domains.iter().map(|domain| kept.get(&named(domain)).and_then(Distances::from_kept)).collect();
        let Some(stored) = stored else { return Ok(()) };
        let mut predicted = self.pass(method, &reference.kept, reference)?;
        for (seeds, distances) in predicted.iter_mut().zip(&stored) {
            for scored in seeds {
                scored.distances = Some(distances);
            }
        }
        let known = self.beyond(&predicted, &predicted, |score| Distances::SCORES.contains(&score))?;
        let key = comparison_key(self.plan, DISTANCES, &reference.keys, &reference.keys);
        self.write(key, DISTANCES.to_owned(), self.plan.experiment.reference.clone(), Vec::new(), known)
    }

    fn write(
        &self,
        key: String,
        row: String,
        reference: String,
        differences: Vec<Difference>,
        beyond: Vec<Beyond>,
    ) -> Result<()> {
        let bootstrap = &self.plan.experiment.bootstrap;
        let record = ComparisonRecord {
            schema: SCHEMA,
            key,
            row,
            reference,
            seeds: self.plan.seeds.clone(),
            resamples: bootstrap.resamples,
            level: bootstrap.level,
            covers: Covers::ExamplesAndSeeds,
            differences,
            beyond,
        };
        Ok(self.store.write_comparison(&record)?)
    }
}
