//! Experiment files: what is compared, on what, how, with the prose that explains it.
//!
//! `experiment.toml` is read into an [`Experiment`]; [`Experiment::plan`] resolves one of its profiles into a [`Plan`],
//! checked, that can run. Unknown keys are refused with the nearest known one.

mod changes;
mod check;
mod chosen;
mod model;
mod plan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bayeslora_inference::{AdapterSettings, PredictionSettings, TrainingSettings};
use bayeslora_metrics::Bootstrap;
use bayeslora_report::{Contrast, ReadmeTable};
use serde::{Deserialize, Serialize};

pub use changes::Changes;
pub(crate) use chosen::{CHOSEN_FILE, Chosen, TUNING_FOLDER};
pub use model::{Model, ModelEntry, ModelFolder};
pub use plan::{Plan, PlannedMethod, Row};

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
    /// The question that the experiment asks, in one sentence, for the index of all results.
    pub question: Option<String>,
    /// The answer found, in one sentence, for the index of all results.
    pub answer: Option<String>,
    /// Place in the index of all results, lowest first; those without one follow by name.
    pub order: Option<u32>,
    /// The table that the README shows of it; by default its main table.
    pub readme: Option<ReadmeTable>,
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
    /// Differences from the reference that do not matter, by metric: equivalence is tested within them.
    #[serde(default)]
    pub margins: BTreeMap<String, f64>,
    /// Rows tested against another than the reference, where a profile has both.
    #[serde(default)]
    pub contrasts: Vec<Contrast>,
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
    /// Trials of every method at most, the settings as written among them; at least 1. Default: 6.
    pub trials: u32,
    /// Seeds of every trial, other ones than those of the tables; at least one. Default: 1000.
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
    /// Further seeds of the reference alone: every row is compared with it, so its spread should be known best.
    #[serde(default)]
    pub reference_seeds: Vec<u64>,
    /// Folder of its results within the experiment's, the experiment's own by default.
    #[serde(default)]
    pub folder: PathBuf,
    /// Another task than the experiment's.
    pub task: Option<String>,
    /// What it changes in `[data]`.
    #[serde(default)]
    pub data: toml::Table,
    /// What it changes in `[adapter]`.
    #[serde(default)]
    pub adapter: toml::Table,
    /// What it changes in `[training]`.
    #[serde(default)]
    pub training: toml::Table,
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
