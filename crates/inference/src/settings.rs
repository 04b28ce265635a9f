//! Settings of a fit and its predictions that every method shares.

use bayeslora_adapters::TargetMap;
use bayeslora_metrics::Averaging;
use serde::{Deserialize, Serialize};

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
    /// Whether the classification head is trained too, or stays at its random initial values. Default: true.
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
    /// Passes over the training set, at least 1. Default: 3.
    pub epochs: u32,
    /// Sentences per step, at least 1. Default: 32.
    pub batch_size: usize,
    /// AdamW's peak learning rate, positive. Default: 1e-3.
    pub learning_rate: f64,
    /// Share of the steps in which the rate of a linear schedule rises from 0; in [0, 1]. Default: 0.06.
    pub warmup: f64,
    /// AdamW's decoupled weight decay, at least 0. Default: 0.
    pub weight_decay: f64,
    /// Largest norm of the gradient of all parameters together, positive. Default: 1.
    pub clip_norm: f64,
    /// Epochs without a better one by `select` after which training stops, at least 1. Default: 1.
    pub patience: u32,
    /// How the rate changes: `linear` (up and down again) or `constant`. Default: `linear`.
    #[serde(skip_serializing_if = "is_default")]
    pub schedule: Schedule,
    /// The epoch that is kept: by `validation-nll`, `validation-accuracy`, or the `last`. Default: `validation-nll`.
    #[serde(skip_serializing_if = "is_default")]
    pub select: Selection,
}

impl TrainingSettings {
    /// Steps of an epoch over so many examples.
    pub fn steps_per_epoch(&self, examples: usize) -> u32 {
        u32::try_from(examples.div_ceil(self.batch_size.max(1))).unwrap_or(u32::MAX)
    }

    /// Steps of a training on so many examples that is not stopped early.
    pub fn steps(&self, examples: usize) -> u32 {
        self.steps_per_epoch(examples).saturating_mul(self.epochs)
    }
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
    /// Monte-Carlo samples per example, at least 1. Default: 16.
    pub samples: u32,
    /// What is averaged over samples. Default: `mean-probs`.
    pub averaging: Averaging,
}

impl Default for PredictionSettings {
    fn default() -> Self {
        Self { samples: 16, averaging: Averaging::default() }
    }
}
