//! Experiment files: what is compared, on what, how, with the prose that explains it.
//!
//! `experiment.toml` is read into an [`Experiment`]; [`Experiment::plan`] resolves one of its profiles into a [`Plan`],
//! checked, that can run. Unknown keys are refused with the nearest known one.

mod changes;
mod model;
mod plan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bayeslora_adapters::TargetMap;
use bayeslora_metrics::{Averaging, Bootstrap};
use serde::{Deserialize, Serialize};

pub use changes::Changes;
pub use model::{Model, ModelEntry, ModelFolder};
pub use plan::{Plan, PlannedMethod};

use crate::error::{Error, Result};

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
    /// What was found, in a few sentences of Markdown, for the overview of all results.
    pub findings: Option<String>,
    /// Name as one task of the ranks over tasks, in the overview of all results; without it the experiment is none.
    pub ranked_as: Option<String>,
    /// Backbone: a name of the catalogue, or the folder of a model of one's own.
    pub model: ModelEntry,
    /// Task.
    pub task: String,
    /// Row that the others are compared with.
    pub reference: String,
    /// Data and splits: [`bayeslora_data::tasks::DataSettings`] and what the task adds to them.
    #[serde(default)]
    pub data: toml::Table,
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
    /// The search of `bayeslora tune`.
    #[serde(default)]
    pub tuning: TuningSettings,
    /// A curve over profiles.
    pub curve: Option<CurveSettings>,
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
    /// true: whether the classification head is trained too, or stays at its random initial values.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub train_head: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_yes(value: &bool) -> bool {
    *value
}

/// How rates change over a training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Up from 0 over the first `warmup` share of the steps, then down to 0 at the end.
    #[default]
    Linear,
    /// Not at all.
    Constant,
}

/// The epoch whose parameters are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// That of lowest validation NLL.
    #[default]
    ValidationNll,
    /// The first of highest validation accuracy.
    ValidationAccuracy,
    /// The last; training does not stop early.
    Last,
}

/// Keys added since the first records are left out at their defaults: units keep their keys.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
    /// 0.06: share of the steps in which the rate of a linear schedule rises from 0; in [0, 1].
    pub warmup: f64,
    /// 0: AdamW's decoupled weight decay, at least 0.
    pub weight_decay: f64,
    /// 1: largest norm of the gradient of all parameters together, positive.
    pub clip_norm: f64,
    /// 1: epochs without a better one by `select` after which training stops, at least 1.
    pub patience: u32,
    /// `linear`: how the rate changes, up and down again, or `constant`.
    #[serde(skip_serializing_if = "is_default")]
    pub schedule: Schedule,
    /// `validation-nll`: the epoch that is kept, or `validation-accuracy` or `last`.
    #[serde(skip_serializing_if = "is_default")]
    pub select: Selection,
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
            schedule: Schedule::default(),
            select: Selection::default(),
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

/// What `bayeslora curve` draws over the profiles that say `at`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CurveSettings {
    /// What the profiles vary, in words: `training sentences`.
    pub axis: String,
    /// Whether the axis is logarithmic.
    #[serde(default)]
    pub logarithmic: bool,
    /// Metrics by key, a panel and a table each.
    pub metrics: Vec<String>,
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
    /// What it changes in the shared training loop, by key of [`TrainingSettings`].
    #[serde(default)]
    pub training: toml::Table,
    /// What it changes in the shared adapters, by key of [`AdapterSettings`].
    #[serde(default)]
    pub adapter: toml::Table,
    /// What it changes in the shared sampling, by key of [`PredictionSettings`].
    #[serde(default)]
    pub prediction: toml::Table,
    /// What tuning may change beside the shared search space.
    #[serde(default)]
    pub search: Space,
    /// A method whose tuned training loop it takes over instead of searching the shared space: for what starts from the
    /// same fit.
    pub tuned_like: Option<String>,
}

/// Values to choose from, by the path of a setting as in [`Changes`].
pub type Space = BTreeMap<String, Vec<toml::Value>>;

/// How settings are searched: name, default, purpose, range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct TuningSettings {
    /// 6: trials of every method at most, the settings as written among them; at least 1.
    pub trials: u32,
    /// 1000: seeds of every trial, other ones than those of the tables; at least one.
    pub seeds: Vec<u64>,
    /// The space that every method searches.
    pub search: Space,
}

impl Default for TuningSettings {
    fn default() -> Self {
        Self { trials: 6, seeds: vec![1000], search: Space::new() }
    }
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
    /// What it changes in `[data]`.
    #[serde(default)]
    pub data: toml::Table,
    /// Where it stands on the axis of the curve.
    pub at: Option<f64>,
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
    /// Whether methods run with what `bayeslora tune` chose for this profile.
    #[serde(default)]
    pub tuned: bool,
}

impl Experiment {
    /// Reads an experiment file.
    ///
    /// # Errors
    /// [`Error::Experiment`] naming the file, the place and the nearest known key.
    pub fn load(path: &Path) -> Result<Self> {
        let refused = |problem: String| Error::Experiment { path: path.to_owned(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| refused(format!("cannot read: {error}")))?;
        toml::from_str(&text).map_err(|error| refused(bayeslora_data::with_suggestion(&error.to_string())))
    }
}
