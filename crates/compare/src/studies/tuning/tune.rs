//! Trials of a plan's tuning: what is missing is fitted and judged on validation, what is there is kept.

use std::path::PathBuf;
use std::time::Instant;

use bayeslora_metrics::{Predictive, accuracy, negative_log_likelihood};

use super::files::write;
use super::stored::{folder, record_path, recorded};
use super::trial::{Trial, TrialOutcome, TrialRecord, search, trials};
use crate::error::{Error, Result};
use crate::experiment::{Changes, Plan, PlannedMethod};
use crate::run::opened::OpenedPlan;
use crate::run::provenance;
use crate::run::unit::Unit;
use bayeslora_data::Progress;
use bayeslora_data::assets::Assets;
use bayeslora_inference::FitContext;
use bayeslora_inference::Reading;
use bayeslora_inference::{Resources, Sentences};
use bayeslora_records::SCHEMA;
use bayeslora_records::{Store, write_json};

/// Part of a trial's seed that its predictive samples come from: none of a run's.
const JUDGED: u64 = u64::MAX - 3;

/// Computes the missing trials of `plan`, chooses, and writes `chosen.toml` and tables into `tuning` within its results.
///
/// # Errors
/// When an asset cannot be had, data or weights are damaged, or results cannot be written. A fit that diverges is no error: its trial
/// is not chosen.
pub fn tune(plan: &Plan, resources: &Resources, assets: &Assets, progress: &dyn Progress) -> Result<Vec<PathBuf>> {
    let store = Store::new(folder(plan));
    store.check_writable()?;
    let opened = OpenedPlan::open(plan, store, resources, assets, progress)?;
    let compute = opened.prefixes(opened.lowest())?;
    let splits = Splits { train: compute(&opened.data.train, 0)?, validation: compute(&opened.data.validation, 1)? };
    // All trials are planned, and refused where a setting is out of range, before the first is run.
    let mut count = 0;
    for method in &plan.methods {
        let entry = plan.experiment.methods.iter().find(|entry| entry.id == method.id);
        for trial in entry.map_or_else(|| Ok(Vec::new()), |entry| trials(plan, entry, &Changes::default()))? {
            progress.expect(splits.work(&trial.method) * plan.experiment.tuning.seeds.len() as u64);
            count += plan.experiment.tuning.seeds.len();
        }
    }
    let mut number = 0;
    search(plan, |trial, seed| {
        number += 1;
        let unit = Unit::new(plan, &trial.method, seed, opened.sources());
        if let Some(record) = recorded(&opened.store, &trial.method.id, seed, &unit.key)? {
            progress.advance(splits.work(&trial.method));
            return Ok(record);
        }
        progress.stage(&format!("{}, {} ({number} of {count})", trial.method.label, trial.changes));
        let record = judge(&opened, &splits, trial, unit)?;
        write_json(&record_path(&opened.store, &record), &record)?;
        Ok(record)
    })?;
    write(plan, opened.model.digest())
}

/// What trials are fitted on and judged by.
struct Splits {
    train: Sentences,
    validation: Sentences,
}

impl Splits {
    /// Work of a trial, in token passes.
    fn work(&self, method: &PlannedMethod) -> u64 {
        let (train, validation) = (self.train.tokens() as u64, self.validation.tokens() as u64);
        method.fit_work(train, validation) + method.passes(main_reading(method)) * validation
    }
}

/// The reading that a method is judged by: its samples where it has any.
fn main_reading(method: &PlannedMethod) -> Reading {
    method.method.readings().pop().unwrap_or(Reading::Mean)
}

fn judge(opened: &OpenedPlan<'_>, splits: &Splits, trial: &Trial, unit: Unit<'_>) -> Result<TrialRecord> {
    let started = Instant::now();
    let folder = opened.store.run_folder(&unit.key);
    // The prefixes are those below the lowest block of any method: a fit starts where they end.
    let own = opened.drawn(unit.seed, &splits.train)?;
    let train = own.as_ref().unwrap_or(&splits.train);
    let context = opened.context(&unit, (train, &splits.validation), &folder);
    let context = FitContext { from: opened.lowest(), ..context };
    let judged = trial.method.method.fit(&context).and_then(|fitted| {
        let samples = trial.method.prediction.samples;
        let predictor = opened.predictor(&unit, opened.lowest(), samples, JUDGED);
        let logits = predictor.logits(&fitted, main_reading(&trial.method), &splits.validation)?;
        let predictive = Predictive::from_logits(logits.view(), trial.method.prediction.averaging)?;
        let labels: Vec<usize> = splits.validation.labels().iter().map(|&label| label as usize).collect();
        Ok(TrialOutcome::Finished {
            nll: negative_log_likelihood(predictive.log_probabilities(), &labels)?,
            accuracy: accuracy(&predictive.predicted(), &labels)?,
            seconds: started.elapsed().as_secs_f64(),
        })
    });
    let outcome = match judged {
        Err(error) if error.is_of_the_fit() => TrialOutcome::Failed { reason: error.to_string() },
        other => other.map_err(|error| Error::from(error).in_unit(unit.name()))?,
    };
    // Checkpoints of a judged trial serve nothing.
    if folder.is_dir() {
        std::fs::remove_dir_all(&folder)
            .map_err(|error| Error::Store { path: folder.clone(), problem: format!("cannot be removed: {error}") })?;
    }
    let json = |value: &toml::Value| serde_json::to_value(value).unwrap_or_default();
    Ok(TrialRecord {
        schema: SCHEMA,
        key: unit.key,
        experiment: opened.plan.experiment.name.clone(),
        method: trial.method.id.clone(),
        seed: unit.seed,
        changes: trial.changes.0.iter().map(|(path, value)| (path.clone(), json(value))).collect(),
        outcome,
        provenance: provenance::current(opened.backbone.place(), opened.model.digest(), &opened.data.digest),
    })
}
