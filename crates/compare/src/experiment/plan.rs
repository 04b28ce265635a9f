//! A profile of an experiment, resolved and checked: what runs.

use std::path::{Path, PathBuf};

use bayeslora_adapters::LoraShape;

use super::suggest::{unknown, with_suggestion};
use super::{Experiment, PredictionSettings, TrainingSettings};
use crate::assets::AssetId;
use crate::methods::{self, Method, Reading};
use crate::tasks::PlannedTask;
use crate::{Error, Result};

/// A checked experiment in one of its profiles.
#[derive(Debug)]
pub struct Plan {
    /// The experiment.
    pub experiment: Experiment,
    /// Profile name.
    pub profile: String,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Folder of the results.
    pub folder: PathBuf,
    /// Backbone.
    pub model: AssetId,
    /// Task, with data and splits.
    pub task: PlannedTask,
    /// Rank and scale.
    pub lora: LoraShape,
    /// Training.
    pub training: TrainingSettings,
    /// Sampling.
    pub prediction: PredictionSettings,
    /// Methods in table order.
    pub methods: Vec<PlannedMethod>,
}

/// A checked method of a plan.
#[derive(Debug)]
pub struct PlannedMethod {
    /// Identifier.
    pub id: String,
    /// Name in tables.
    pub label: String,
    /// The method.
    pub method: Box<dyn Method>,
}

impl Experiment {
    /// Resolves a profile.
    ///
    /// # Errors
    /// [`Error::Experiment`] for an unknown profile, method or task, or a setting out of range.
    pub fn plan(self, path: &Path, profile: &str) -> Result<Plan> {
        let refused = |problem: String| Error::Experiment { path: path.to_owned(), problem };
        let chosen = self
            .profiles
            .get(profile)
            .cloned()
            .ok_or_else(|| refused(unknown("profile", profile, self.profiles.keys().map(String::as_str))))?;
        let model: AssetId = self.model.parse()?;
        let lora = LoraShape::new(self.adapter.rank, self.adapter.alpha)?;
        let mut data = self.data.clone();
        for (name, cap) in [
            ("max-train", chosen.max_train),
            ("max-test", chosen.max_test),
            ("max-examples-per-shifted-domain", chosen.max_shifted),
        ] {
            if let Some(cap) = cap {
                // A cap that no file has the examples for is as good as none.
                data.insert(name.to_owned(), toml::Value::Integer(i64::try_from(cap).unwrap_or(i64::MAX)));
            }
        }
        let task = PlannedTask::new(&self.task, data).map_err(refused)?;
        let mut training = self.training.clone();
        training.epochs = chosen.epochs.unwrap_or(training.epochs);
        let mut prediction = self.prediction.clone();
        prediction.samples = chosen.samples.unwrap_or(prediction.samples);
        let mut methods = Vec::new();
        for entry in &self.methods {
            if methods.iter().any(|planned: &PlannedMethod| planned.id == entry.id) {
                return Err(refused(format!("two methods have the id \"{}\"", entry.id)));
            }
            let method = methods::from_settings(&entry.kind, entry.parameters.clone())
                .map_err(|problem| refused(format!("method \"{}\": {}", entry.id, with_suggestion(&problem))))?;
            methods.push(PlannedMethod { id: entry.id.clone(), label: entry.label.clone(), method });
        }
        if let Some(wanted) = &chosen.methods {
            let ids: Vec<&str> = methods.iter().map(|m| m.id.as_str()).collect();
            if let Some(missing) = wanted.iter().find(|id| !ids.contains(&id.as_str())) {
                return Err(refused(unknown("method", missing, ids)));
            }
            methods.retain(|m| wanted.contains(&m.id));
        }
        let folder = path.parent().unwrap_or(Path::new(".")).join(&chosen.folder);
        let plan = Plan {
            profile: profile.to_owned(),
            seeds: chosen.seeds,
            folder,
            model,
            task,
            lora,
            training,
            prediction,
            methods,
            experiment: self,
        };
        plan.check().map_err(refused)?;
        Ok(plan)
    }
}

impl Plan {
    /// Rows of the tables: a method's identifier, with the reading appended where it has several.
    pub fn rows(&self) -> Vec<(String, String, &PlannedMethod, Reading)> {
        let mut rows = Vec::new();
        for planned in &self.methods {
            let readings = planned.method.readings();
            for &reading in &readings {
                let (id, label) = if readings.len() == 1 {
                    (planned.id.clone(), planned.label.clone())
                } else {
                    (format!("{}/{}", planned.id, reading.word()), format!("{}, {}", planned.label, reading.word()))
                };
                rows.push((id, label, planned, reading));
            }
        }
        rows
    }

    fn check(&self) -> Result<(), String> {
        let range = |name: &str, value: f64, ok: bool, expected: &str| {
            if ok { Ok(()) } else { Err(format!("{name} is {value}; expected {expected}")) }
        };
        let t = &self.training;
        range("training.epochs", t.epochs.into(), t.epochs >= 1, "at least 1")?;
        range("training.batch-size", t.batch_size as f64, t.batch_size >= 1, "at least 1")?;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        range("training.learning-rate", t.learning_rate, positive(t.learning_rate), "a positive number")?;
        range("training.warmup", t.warmup, (0.0..=1.0).contains(&t.warmup), "0 to 1")?;
        let decay = t.weight_decay;
        range("training.weight-decay", decay, decay.is_finite() && decay >= 0.0, "at least 0")?;
        range("training.clip-norm", t.clip_norm, positive(t.clip_norm), "a positive number")?;
        range("training.patience", t.patience.into(), t.patience >= 1, "at least 1")?;
        range("prediction.samples", self.prediction.samples.into(), self.prediction.samples >= 1, "at least 1")?;
        let max_tokens = self.experiment.max_tokens;
        range("max-tokens", max_tokens as f64, max_tokens >= 3, "at least 3 (special tokens included)")?;
        let adapter = &self.experiment.adapter;
        if adapter.target_maps.is_empty() || adapter.target_blocks.is_empty() {
            return Err("adapter.target-maps or adapter.target-blocks is empty; name at least one of each".to_owned());
        }
        if self.seeds.is_empty() || self.methods.is_empty() {
            return Err(format!("profile \"{}\" has no seeds or no methods", self.profile));
        }
        if !self.rows().iter().any(|(id, ..)| *id == self.experiment.reference) {
            let rows: Vec<String> = self.rows().into_iter().map(|(id, ..)| id).collect();
            return Err(unknown("reference", &self.experiment.reference, rows.iter().map(String::as_str)));
        }
        Ok(())
    }
}
