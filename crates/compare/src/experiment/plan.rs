//! A profile of an experiment, resolved and checked: what runs.

use std::path::{Path, PathBuf};

use bayeslora_adapters::LoraShape;

use super::changes::changed;
use super::{Changes, Chosen, Experiment, MethodEntry, Model};
use crate::error::{Error, Result};
use bayeslora_data::tasks::PlannedTask;
use bayeslora_data::{unknown, with_suggestion};
use bayeslora_inference::methods;
use bayeslora_inference::methods::Method;
use bayeslora_inference::{AdapterSettings, PredictionSettings, TrainingSettings};
use bayeslora_records::{Reading, RowId};

/// A checked experiment in one of its profiles.
#[derive(Debug)]
pub struct Plan {
    /// The experiment.
    pub experiment: Experiment,
    /// Its file.
    pub path: PathBuf,
    /// Profile name.
    pub profile: String,
    /// Seeds of every method.
    pub seeds: Vec<u64>,
    /// Further seeds of the reference's method.
    pub reference_seeds: Vec<u64>,
    /// Folder of the results.
    pub folder: PathBuf,
    /// Backbone.
    pub model: Model,
    /// Task, with data and splits.
    pub task: PlannedTask,
    /// What methods share as long as they do not change it.
    pub(crate) shared: Shared,
    /// Methods in table order.
    pub methods: Vec<PlannedMethod>,
    /// Rows of the tables: every reading of every method, in table order.
    pub rows: Vec<Row>,
    /// The row that the others are compared with.
    pub reference: Row,
}

/// A row of the tables: one reading of one method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its identifier: the method's, with the reading appended where there are several.
    pub id: RowId,
    /// Name in tables.
    pub label: String,
    /// Place of its method in [`Plan::methods`].
    pub method: usize,
    /// How the fit is read.
    pub reading: Reading,
}

/// A checked method of a plan.
#[derive(Debug)]
pub struct PlannedMethod {
    /// Identifier.
    pub id: String,
    /// Name in tables.
    pub label: String,
    /// Size and place of its adapters.
    pub adapter: AdapterSettings,
    /// Rank and scale of these.
    pub lora: LoraShape,
    /// Its training loop.
    pub training: TrainingSettings,
    /// Its sampling.
    pub prediction: PredictionSettings,
    /// The method.
    pub method: Box<dyn Method>,
}

impl Experiment {
    /// Resolves a profile, with the settings that tuning chose where the profile says so.
    ///
    /// # Errors
    /// [`Error::Experiment`] for an unknown profile, method or task, or a setting out of range; [`Error::Store`] for a tuned profile
    /// whose tuning has not been done or cannot be read.
    pub fn plan(self, path: &Path, profile: &str) -> Result<Plan> {
        let Some(folder) = self.profiles.get(profile).filter(|found| found.tuned).map(|found| found.folder.clone())
        else {
            return self.plan_untuned(path, profile);
        };
        let tuned = Chosen::load(&results_folder(path, &folder), path, profile)?;
        let plan = self.plan_with(path, profile, &tuned)?;
        let refused = |problem: String| Error::Experiment { path: path.to_owned(), problem };
        tuned.check(plan.methods.iter().map(|method| method.id.as_str())).map_err(refused)?;
        match plan.seeds.iter().chain(&plan.reference_seeds).find(|seed| plan.experiment.tuning.seeds.contains(seed)) {
            None => Ok(plan),
            Some(seed) => {
                Err(refused(format!("seed {seed} of \"{profile}\" is one of tuning.seeds; expected other ones")))
            }
        }
    }

    /// Resolves a profile with every method as written: what tuning starts from.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub fn plan_untuned(self, path: &Path, profile: &str) -> Result<Plan> {
        self.plan_with(path, profile, &Chosen::default())
    }

    fn plan_with(mut self, path: &Path, profile: &str, tuned: &Chosen) -> Result<Plan> {
        let refused = |problem: String| Error::Experiment { path: path.to_owned(), problem };
        let chosen = self
            .profiles
            .get(profile)
            .cloned()
            .ok_or_else(|| refused(unknown("profile", profile, self.profiles.keys().map(String::as_str))))?;
        self.task = chosen.task.clone().unwrap_or(self.task);
        let model = self.model.resolve(path).map_err(refused)?;
        let mut data = self.data.clone();
        data.extend(chosen.data.clone());
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
        let in_profile = |problem: String| refused(format!("profile \"{profile}\": {}", with_suggestion(&problem)));
        let mut training = changed(&self.training, chosen.training.clone(), "training").map_err(in_profile)?;
        training.epochs = chosen.epochs.unwrap_or(training.epochs);
        let mut prediction = self.prediction.clone();
        prediction.samples = chosen.samples.unwrap_or(prediction.samples);
        self.adapter = changed(&self.adapter, chosen.adapter.clone(), "adapter").map_err(in_profile)?;
        let shared = Shared { adapter: self.adapter.clone(), training, prediction };
        shared.check().map_err(refused)?;
        let mut methods = Vec::new();
        for entry in &self.methods {
            // Ids are names of files, and `/` and `+` begin what is appended to them.
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if entry.id.is_empty() || entry.id.starts_with('.') || !entry.id.chars().all(is_plain) {
                let id = &entry.id;
                return Err(refused(format!(
                    "the method id \"{id}\" is not of letters, digits, \"-\", \"_\" and \".\""
                )));
            }
            if methods.iter().any(|planned: &PlannedMethod| planned.id == entry.id) {
                return Err(refused(format!("two methods have the id \"{}\"", entry.id)));
            }
            let like = entry.tuned_like.as_deref();
            if like.is_some_and(|like| !methods.iter().any(|earlier| earlier.id == like)) {
                let ids = methods.iter().map(|earlier| earlier.id.as_str());
                return Err(refused(unknown("tuned-like, an earlier method,", like.unwrap_or_default(), ids)));
            }
            methods.push(PlannedMethod::new(entry, &shared, tuned.of(&entry.id)).map_err(refused)?);
        }
        self.check_contrasts(&rows_of(&methods)).map_err(refused)?;
        if let Some(wanted) = &chosen.methods {
            let ids: Vec<&str> = methods.iter().map(|m| m.id.as_str()).collect();
            if let Some(missing) = wanted.iter().find(|id| !ids.contains(&id.as_str())) {
                return Err(refused(unknown("method", missing, ids)));
            }
            methods.retain(|m| wanted.contains(&m.id));
        }
        let folder = results_folder(path, &chosen.folder);
        if chosen.seeds.is_empty() || methods.is_empty() {
            return Err(refused(format!("profile \"{profile}\" has no seeds or no methods")));
        }
        let rows = rows_of(&methods);
        let reference = rows.iter().find(|row| row.id.to_string() == self.reference).cloned().ok_or_else(|| {
            let ids: Vec<String> = rows.iter().map(|row| row.id.to_string()).collect();
            refused(unknown("reference", &self.reference, ids.iter().map(String::as_str)))
        })?;
        let plan = Plan {
            profile: profile.to_owned(),
            seeds: chosen.seeds,
            reference_seeds: chosen.reference_seeds,
            folder,
            model,
            task,
            shared,
            methods,
            rows,
            reference,
            path: path.to_owned(),
            experiment: self,
        };
        plan.check().map_err(refused)?;
        Ok(plan)
    }
}

fn rows_of(methods: &[PlannedMethod]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (method, planned) in methods.iter().enumerate() {
        let readings = planned.method.readings();
        for &reading in &readings {
            let (id, label) = if readings.len() == 1 {
                (RowId::of(&planned.id, None), planned.label.clone())
            } else {
                (RowId::of(&planned.id, Some(reading)), format!("{}, {}", planned.label, reading.word()))
            };
            rows.push(Row { id, label, method, reading });
        }
    }
    rows
}

fn results_folder(path: &Path, folder: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new(".")).join(folder)
}

/// What methods share as long as they do not change it.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) adapter: AdapterSettings,
    pub(crate) training: TrainingSettings,
    pub(crate) prediction: PredictionSettings,
}

impl PlannedMethod {
    /// `entry` on what is shared, with changes.
    ///
    /// # Errors
    /// One line: an unknown setting with the nearest known one, or one out of range.
    pub(crate) fn new(entry: &MethodEntry, shared: &Shared, changes: &Changes) -> Result<Self, String> {
        let named = |problem: String| format!("method \"{}\": {}", entry.id, with_suggestion(&problem));
        let (mut parameters, mut training) = (entry.parameters.clone(), entry.training.clone());
        changes.apply(&mut parameters, &mut training).map_err(named)?;
        let shared = Shared {
            adapter: changed(&shared.adapter, entry.adapter.clone(), "adapter").map_err(named)?,
            training: changed(&shared.training, training, "training").map_err(named)?,
            prediction: changed(&shared.prediction, entry.prediction.clone(), "prediction").map_err(named)?,
        };
        shared.check().map_err(named)?;
        let Shared { adapter, training, prediction } = shared;
        let lora = LoraShape::new(adapter.rank, adapter.alpha).map_err(|error| named(error.to_string()))?;
        let method = methods::from_settings(&entry.kind, parameters).map_err(named)?;
        Ok(Self { id: entry.id.clone(), label: entry.label.clone(), adapter, lora, training, prediction, method })
    }
}

impl PlannedMethod {
    /// Work of a fit in token passes, with so many tokens in the training and validation texts: a pass back costs two forward.
    pub(crate) fn fit_work(&self, train: u64, validation: u64) -> u64 {
        let trainings = u64::from(self.method.trainings());
        3 * trainings * u64::from(self.training.epochs) * train + self.method.post_hoc_work(train, validation)
    }

    /// Passes over a text that a reading takes.
    pub(crate) fn passes(&self, reading: Reading) -> u64 {
        u64::from(match reading {
            Reading::Mean | Reading::Linearised => 1,
            Reading::Sampled => self.prediction.samples,
            Reading::Members => self.method.members(),
        })
    }

    /// Whether its adapters are those that claims on dropout are about.
    pub(crate) fn trains_with_dropout(&self) -> bool {
        self.method.dropout().is_some()
    }
}

impl Plan {
    /// The method of a row of this plan.
    pub fn method_of(&self, row: &Row) -> &PlannedMethod {
        &self.methods[row.method]
    }

    /// What the methods with dropout have, each value once, in their order.
    pub(crate) fn of_dropout_methods(&self, of: impl Fn(&PlannedMethod) -> String) -> String {
        let mut values = Vec::new();
        for value in self.methods.iter().filter(|method| method.trains_with_dropout()).map(of) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values.join(", ")
    }

    /// Refuses methods that want more steps than a training on so many examples has.
    pub(crate) fn check_steps(&self, examples: usize) -> Result<(), String> {
        for planned in &self.methods {
            let checked = planned.method.check_steps(examples, &planned.training);
            checked.map_err(|error| format!("method \"{}\" on {examples} training examples: {error}", planned.id))?;
        }
        Ok(())
    }

    /// Whether a method is fitted at a seed: all are at [`Self::seeds`], the reference's also at its own.
    pub(crate) fn fits(&self, method: &str, seed: u64) -> bool {
        let of_reference = self.methods[self.reference.method].id == method && self.reference_seeds.contains(&seed);
        self.seeds.contains(&seed) || of_reference
    }

    /// Number of its units: every method at every seed, and the reference at its further ones.
    pub(crate) fn unit_count(&self) -> usize {
        self.methods.len() * self.seeds.len() + self.reference_seeds.len()
    }
}
