//! Experiment files: what is compared, on what, how, with the prose that explains it.
//!
//! `experiment.toml` is read into an [`Experiment`]; [`Experiment::plan`] resolves one of its profiles into a [`Plan`],
//! checked, that can run. Unknown keys are refused with the nearest known one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bayeslora_adapters::{LoraShape, TargetMap};
use bayeslora_metrics::{Averaging, Bootstrap};
use serde::{Deserialize, Serialize};

use crate::assets::AssetId;
use crate::methods::{self, Method};
use crate::tasks::vader::VaderSettings;
use crate::{Error, Result};

/// An experiment as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Experiment {
    /// Name, the folder's.
    pub name: String,
    /// One line.
    pub title: String,
    /// What is measured and how to read it, in Markdown; printed above the tables.
    pub analysis: String,
    /// Backbone, by asset name.
    pub model: String,
    /// Task.
    pub task: String,
    /// Row that the others are compared with.
    pub reference: String,
    /// Data and splits.
    #[serde(default)]
    pub data: VaderSettings,
    /// Longest text in tokens.
    pub max_tokens: usize,
    /// Size and place of the adapters.
    pub adapter: AdapterSettings,
    /// The training loop all methods share.
    #[serde(default)]
    pub training: TrainingSettings,
    /// Sampling.
    #[serde(default)]
    pub prediction: PredictionSettings,
    /// Intervals of paired differences.
    #[serde(default)]
    pub bootstrap: Bootstrap,
    /// What is compared.
    pub methods: Vec<MethodEntry>,
    /// Named sizes of the experiment.
    pub profiles: BTreeMap<String, Profile>,
}

/// Size and place of the adapters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AdapterSettings {
    /// Rank `r`.
    pub rank: usize,
    /// `alpha`; the scale is `alpha / r`.
    pub alpha: f64,
    /// Maps adapted.
    pub target_maps: Vec<TargetMap>,
    /// Blocks adapted, from 0.
    pub target_blocks: Vec<usize>,
}

/// The training loop: name, default, purpose, range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrainingSettings {
    /// 3: passes over the training set, at least 1.
    pub epochs: u32,
    /// 32: sentences per step, at least 1.
    pub batch_size: usize,
    /// 1e-3: AdamW's peak learning rate, positive.
    pub learning_rate: f64,
    /// 0.06: share of the steps in which the rate rises from 0; it falls linearly to 0 afterwards; in [0, 1].
    pub warmup: f64,
    /// 0: AdamW's decoupled weight decay, at least 0.
    pub weight_decay: f64,
    /// 1: largest norm of the gradient of all parameters together, positive.
    pub clip_norm: f64,
    /// 1: epochs without a lower validation NLL after which training stops, at least 1.
    pub patience: u32,
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self {
            epochs: 3,
            batch_size: 32,
            learning_rate: 1e-3,
            warmup: 0.06,
            weight_decay: 0.0,
            clip_norm: 1.0,
            patience: 1,
        }
    }
}

/// How predictives are formed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct PredictionSettings {
    /// 16: Monte-Carlo samples per example, at least 1.
    pub samples: u32,
    /// `mean-probs`: what is averaged over samples.
    pub averaging: Averaging,
}

impl Default for PredictionSettings {
    fn default() -> Self {
        Self { samples: 16, averaging: Averaging::default() }
    }
}

/// One method as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MethodEntry {
    /// Identifier, unique in the experiment.
    pub id: String,
    /// Name in tables and legends.
    pub label: String,
    /// Which method.
    pub kind: String,
    /// Its parameters.
    #[serde(default)]
    pub parameters: toml::Table,
}

/// What a profile changes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Profile {
    /// Seeds of the fits.
    pub seeds: Vec<u64>,
    /// Folder of its results within the experiment's, the experiment's own by default.
    #[serde(default)]
    pub folder: PathBuf,
    /// Training examples at most.
    pub max_train: Option<usize>,
    /// Test examples at most.
    pub max_test: Option<usize>,
    /// Examples per shifted domain at most.
    pub max_shifted: Option<usize>,
    /// Passes over the training set.
    pub epochs: Option<u32>,
    /// Monte-Carlo samples.
    pub samples: Option<u32>,
    /// Methods run, all by default.
    pub methods: Option<Vec<String>>,
}

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
    /// Data and splits.
    pub data: VaderSettings,
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
    /// Reads an experiment file.
    ///
    /// # Errors
    /// [`Error::Experiment`] naming the file, the place and the nearest known key.
    pub fn load(path: &Path) -> Result<Self> {
        let refused = |problem: String| Error::Experiment { path: path.to_owned(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| refused(format!("cannot read: {error}")))?;
        toml::from_str(&text).map_err(|error| refused(with_suggestion(&error.to_string())))
    }

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
        if self.task != TASK {
            return Err(refused(unknown("task", &self.task, [TASK])));
        }
        let model: AssetId = self.model.parse()?;
        let lora = LoraShape::new(self.adapter.rank, self.adapter.alpha)?;
        let mut data = self.data.clone();
        data.max_train = chosen.max_train.or(data.max_train);
        data.max_test = chosen.max_test.or(data.max_test);
        data.max_examples_per_shifted_domain = chosen.max_shifted.or(data.max_examples_per_shifted_domain);
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
            data,
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

/// The one task there is so far.
const TASK: &str = "vader-movies";

impl Plan {
    /// Rows of the tables: a method's identifier, with the reading appended where it has several.
    pub fn rows(&self) -> Vec<(String, String, &PlannedMethod, crate::methods::Reading)> {
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

/// `unknown KIND "got"; did you mean "nearest"? The KINDs are ...`.
pub(crate) fn unknown<'a>(kind: &str, got: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let suggestion = nearest(got, &known).map_or_else(String::new, |word| format!("; did you mean \"{word}\"?"));
    format!("unknown {kind} \"{got}\"{suggestion} (known: {})", known.join(", "))
}

fn nearest<'a>(got: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |word: &str| strsim::damerau_levenshtein(got, word);
    let word = known.iter().copied().min_by_key(|word| distance(word))?;
    (distance(word) <= got.chars().count().max(word.chars().count()) / 2).then_some(word)
}

/// Appends the nearest known word to serde's "unknown field `x`, expected one of `y`, `z`" and its like.
fn with_suggestion(message: &str) -> String {
    let mut quoted =
        message.lines().filter(|line| line.contains("unknown ")).flat_map(|line| line.split('`').skip(1).step_by(2));
    let Some(got) = quoted.next() else { return message.trim_end().to_owned() };
    let known: Vec<&str> = quoted.collect();
    match nearest(got, &known) {
        Some(word) => format!("{}\ndid you mean `{word}`?", message.trim_end()),
        None => message.trim_end().to_owned(),
    }
}
