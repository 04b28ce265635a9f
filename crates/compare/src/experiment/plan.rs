//! A profile of an experiment, resolved and checked: what runs.

use std::path::{Path, PathBuf};

use bayeslora_adapters::LoraShape;
use bayeslora_metrics::Bootstrap;

use super::changes::changed;
use super::{Changes, Chosen, Experiment, MethodEntry, Model, TuningSettings};
use crate::error::{Error, Result};
use bayeslora_data::tasks::PlannedTask;
use bayeslora_data::{unknown, with_suggestion};
use bayeslora_inference::methods;
use bayeslora_inference::methods::Method;
use bayeslora_inference::{AdapterSettings, PredictionSettings, TrainingSettings};
use bayeslora_records::{Reading, RowId};
use bayeslora_report::{Contrast, tested_metrics};

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

impl Experiment {
    /// Refuses contrasts of rows that there are not, among `rows` of all profiles, and those that every page has anyway.
    fn check_contrasts(&self, rows: &[Row]) -> Result<(), String> {
        let ids: Vec<String> = rows.iter().map(|row| row.id.to_string()).collect();
        for Contrast { row, beside } in &self.contrasts {
            if let Some(other) = [row, beside].into_iter().find(|id| !ids.contains(id)) {
                return Err(unknown("contrasts, a row,", other, ids.iter().map(String::as_str)));
            }
            if row == beside {
                return Err(format!("contrasts: \"{row}\" stands beside itself; name two rows"));
            }
            if *beside == self.reference {
                return Err(format!(
                    "contrasts: \"{row}\" beside \"{beside}\", the reference; every row is compared with it already"
                ));
            }
        }
        Ok(())
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

fn range(name: &str, value: f64, ok: bool, expected: &str) -> Result<(), String> {
    if ok { Ok(()) } else { Err(format!("{name} is {value}; expected {expected}")) }
}

impl Shared {
    fn check(&self) -> Result<(), String> {
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
        let samples = self.prediction.samples;
        range("prediction.samples", samples.into(), samples >= 1, "at least 1")?;
        if self.adapter.target_maps.is_empty() || self.adapter.target_blocks.is_empty() {
            return Err("adapter.target-maps or adapter.target-blocks is empty; name at least one of each".to_owned());
        }
        Ok(())
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

    /// Refuses words that would break the tables they stand in, and labels that would be mistaken for each other.
    fn check_lines(&self) -> Result<(), String> {
        let experiment = &self.experiment;
        let mut lines = vec![("name".to_owned(), &experiment.name), ("title".to_owned(), &experiment.title)];
        lines.extend(experiment.ranked_as.iter().map(|name| ("ranked-as".to_owned(), name)));
        lines.extend(experiment.curve.iter().map(|curve| ("curve.axis".to_owned(), &curve.axis)));
        lines
            .extend(experiment.methods.iter().map(|entry| (format!("label of method \"{}\"", entry.id), &entry.label)));
        for (name, line) in lines {
            let tears = |c: char| c.is_control() || matches!(c, '|' | '\u{2028}' | '\u{2029}');
            if line.trim().is_empty() || line.contains(tears) {
                return Err(format!("{name} is {line:?}; expected words for tables, in one line and without |"));
            }
        }
        let methods = &experiment.methods;
        let label = |place: usize| methods[place].label.trim();
        let twice = (1..methods.len()).find(|&place| (0..place).any(|before| label(before) == label(place)));
        twice.map_or(Ok(()), |place| {
            Err(format!("two methods have the label {:?}; tables know them by it", methods[place].label))
        })
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

    fn check(&self) -> Result<(), String> {
        let max_tokens = self.experiment.max_tokens;
        range("max-tokens", max_tokens as f64, max_tokens >= 3, "at least 3 (special tokens included)")?;
        let TuningSettings { trials, seeds, .. } = &self.experiment.tuning;
        range("tuning.trials", f64::from(*trials), *trials >= 1, "at least 1")?;
        range("the number of tuning.seeds", seeds.len() as f64, !seeds.is_empty(), "at least 1")?;
        // A seed counted twice would make the spread over seeds smaller than it is.
        let fitted = [self.seeds.as_slice(), &self.reference_seeds].concat();
        for (name, seeds) in [(format!("profile \"{}\"", self.profile), &fitted), ("tuning".to_owned(), seeds)] {
            if let Some(twice) = (1..seeds.len()).find(|&place| seeds[..place].contains(&seeds[place])) {
                return Err(format!("{name} has the seed {} twice; name every seed once", seeds[twice]));
            }
        }
        self.check_lines()?;
        let settings = self.task.settings();
        if let Some(examples) = settings.train_per_seed.or(settings.max_train) {
            self.check_steps(examples)?;
        }
        let Bootstrap { resamples, level, .. } = self.experiment.bootstrap;
        range("bootstrap.resamples", resamples.into(), resamples >= 2, "at least 2")?;
        range("bootstrap.level", level, level > 0.0 && level < 1.0, "a number between 0 and 1")?;
        for (metric, &margin) in &self.experiment.margins {
            let tested: Vec<&str> = tested_metrics().collect();
            if !tested.contains(&metric.as_str()) {
                return Err(format!(
                    "margins.{metric}: no such metric is tested; expected one of {}",
                    tested.join(", ")
                ));
            }
            range(&format!("margins.{metric}"), margin, margin > 0.0 && margin.is_finite(), "a positive number")?;
        }
        Ok(())
    }
}
