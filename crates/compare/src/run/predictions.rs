//! What a fit predicts: rows with their scores and columns.

use std::collections::HashMap;
use std::time::Instant;

use bayeslora_data::tasks::Example;
use bayeslora_inference::{Fitted, Predictor, Reading, Sentences};
use bayeslora_metrics::{Averaging, Predictive, Scaled, Temperature};
use bayeslora_records::{DomainRecord, PerText, RowRecord, Texts, four_digits};
use ndarray::{Array3, s};

use super::opened::{OpenedPlan, Splits};
use super::unit::Unit;
use crate::error::Result;
use crate::experiment::Row;
use crate::scoring::distances::Distances;
use crate::scoring::scored::Scored;

/// A row's results on every domain.
pub(crate) struct Scores {
    /// As it is.
    pub(crate) domains: Vec<DomainRecord>,
    /// With its temperature.
    pub(crate) tempered: Vec<DomainRecord>,
    /// What divides every sample's logits.
    pub(crate) temperature: f64,
}

impl<'a> OpenedPlan<'a> {
    /// The stream of noise that the samples of all rows come from.
    pub(crate) const PREDICTIVE: u64 = u64::MAX;

    /// What every reading of a fit predicts, as it is and with its temperature; logits are kept for studies.
    pub(super) fn predict(&self, unit: &Unit<'_>, fitted: &Fitted, splits: &Splits) -> Result<Vec<RowRecord>> {
        let samples = unit.method.prediction.samples;
        let predictor = self.predictor(unit, self.first_adapted(unit.method), samples, Self::PREDICTIVE);
        let examples: usize = splits.domains.iter().map(Sentences::len).sum();
        let mut kept = HashMap::new();
        let mut rows = Vec::new();
        let has_pass = self.rows_of(unit).any(|row| row.reading == Reading::Mean);
        for row in self.rows_of(unit) {
            let reading = row.reading;
            let started = Instant::now();
            let mut logits: Vec<Array3<f32>> = Vec::new();
            for sentences in &splits.domains {
                logits.push(predictor.logits(fitted, reading, sentences)?);
            }
            let seconds = started.elapsed().as_secs_f64();
            let validation = predictor.logits(fitted, reading, &splits.validation)?;
            let Scores { mut domains, tempered, temperature } =
                self.score(row, &validation, &logits, Some(&splits.distances))?;
            if !has_pass {
                for (place, columns) in domains.iter_mut().enumerate() {
                    if let Some(columns) = &mut columns.per_text {
                        let sentences = &splits.domains[place];
                        columns.pass_entropy = pass_entropy(&predictor, fitted, (reading, &logits[place]), sentences)?;
                    }
                }
            }
            let record = RowRecord {
                row: row.id.to_string(),
                temperature: None,
                samples: predictor.samples_of(fitted, reading),
                seconds,
                examples_per_second: examples as f64 / seconds,
                domains,
            };
            rows.push(record.clone());
            let (row_id, temperature) = (row.id.tempered().to_string(), Some(temperature));
            rows.push(RowRecord { row: row_id, temperature, domains: tempered, ..record });
            kept.insert(row.id.kept_name(Texts::Validation), validation);
            for (domain, logits) in self.data.domains.iter().zip(logits) {
                kept.insert(row.id.kept_name(Texts::Domain(&domain.info.id)), logits);
            }
        }
        self.store.write_predictions(&unit.key, &kept)?;
        Ok(rows)
    }

    /// The rows of a unit's method.
    pub(crate) fn rows_of<'b>(&'b self, unit: &'b Unit<'_>) -> impl Iterator<Item = &'a Row> + 'b {
        self.plan.rows.iter().filter(|row| self.plan.method_of(row).id == unit.method.id)
    }

    fn domains(&self, row: &Row, logits: &[Array3<f32>], distances: Option<&[Distances]>) -> Result<Vec<DomainRecord>> {
        let averaging = self.plan.method_of(row).prediction.averaging;
        let mut scored = Vec::new();
        for (place, (domain, logits)) in self.data.domains.iter().zip(logits).enumerate() {
            let distances = distances.and_then(|all| all.get(place));
            scored.push(Scored { distances, ..Scored::new(domain, logits, averaging)? });
        }
        let inside = scored.iter().find(|scored| scored.domain.info.in_distribution);
        scored.iter().map(|one| one.record(inside.filter(|_| !one.domain.info.in_distribution))).collect()
    }

    /// The results of a row whose logits these are, as they are and with every sample divided by the temperature that the `validation`
    /// logits ask for. The latter are without what no temperature moves (distances) and the uncertainties of texts.
    pub(crate) fn score(
        &self,
        row: &Row,
        validation: &Array3<f32>,
        logits: &[Array3<f32>],
        distances: Option<&[Distances]>,
    ) -> Result<Scores> {
        let fitted = self.temperature(row, validation)?;
        let averaging = self.plan.method_of(row).prediction.averaging;
        let scaled = logits.iter().map(|logits| fitted.apply(logits.view(), averaging));
        let mut tempered = self.domains(row, &scaled.collect::<Result<Vec<_>, _>>()?, None)?;
        for domain in &mut tempered {
            domain.per_text = domain.per_text.take().map(PerText::without_uncertainties);
        }
        Ok(Scores { domains: self.domains(row, logits, distances)?, tempered, temperature: fitted.temperature })
    }

    /// Labels of the validation texts; no class where one has none.
    pub(crate) fn validation_labels(&self) -> Vec<usize> {
        let label = |example: &Example| example.label.map_or(usize::MAX, |label| label as usize);
        self.data.validation.iter().map(label).collect()
    }

    /// The temperature that minimises the NLL of the validation split, from a row's logits on it.
    fn temperature(&self, row: &Row, logits: &Array3<f32>) -> Result<Temperature> {
        let labels = self.validation_labels();
        let averaging = self.plan.method_of(row).prediction.averaging;
        Ok(Temperature::fit(logits.view(), &labels, averaging, Scaled::Samples)?)
    }
}

/// Predictive entropy of one deterministic pass of a fit for every text.
fn pass_entropy(
    predictor: &Predictor<'_>,
    fitted: &Fitted,
    (reading, logits): (Reading, &Array3<f32>),
    sentences: &Sentences,
) -> Result<Vec<f64>> {
    match reading {
        Reading::Members => entropy_of_last(logits),
        _ => entropy_of_last(&predictor.logits(fitted, Reading::Mean, sentences)?),
    }
}

/// Predictive entropy of the last of the samples `[samples, texts, classes]`: of snapshots, that which was trained longest.
fn entropy_of_last(logits: &Array3<f32>) -> Result<Vec<f64>> {
    let pass = Predictive::from_logits(logits.slice(s![-1.., .., ..]), Averaging::Probabilities)?;
    Ok(pass.predictive_entropy().iter().copied().map(four_digits).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pass_of_an_ensemble_is_that_of_its_last_member() {
        // Two members, two texts: the first member is sure, the last has probabilities 1/2 and 1/(1 + e^2).
        let logits = ndarray::arr3(&[[[9.0, 0.0], [0.0, 9.0]], [[1.0, 1.0], [0.0, 2.0]]]);
        let p: f64 = 1.0 / (1.0 + 2.0_f64.exp());
        let expected = [std::f64::consts::LN_2, -p * p.ln() - (1.0 - p) * (1.0 - p).ln()];
        let got = entropy_of_last(&logits).unwrap();
        assert!(got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 5e-4), "{got:?}");
    }
}
