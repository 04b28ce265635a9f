//! What a fit may use: backbone, data, settings, seed and folder.

use std::path::Path;

use bayeslora_adapters::{LoraShape, Slot};
use bayeslora_data::Progress;
use bayeslora_models::{Backbone, Head};

use crate::prefix::Sentences;
use crate::settings::TrainingSettings;

/// Everything a fit may use.
pub struct FitContext<'a> {
    /// The frozen backbone.
    pub backbone: &'a Backbone,
    /// First adapted block.
    pub from: usize,
    /// Adapted slots.
    pub slots: &'a [Slot],
    /// Rank and scale.
    pub lora: LoraShape,
    /// Whether the head is trained, or stays what it is at first.
    pub train_head: bool,
    /// The loop's settings.
    pub training: &'a TrainingSettings,
    /// Training sentences.
    pub train: &'a Sentences,
    /// Validation sentences.
    pub validation: &'a Sentences,
    /// Number of classes.
    pub classes: usize,
    /// The model's language head, where answers are chosen among; then no head is trained.
    pub language: Option<&'a Head>,
    /// Seed of the unit.
    pub seed: u64,
    /// Folder for checkpoints, the unit's own.
    pub folder: &'a Path,
    /// Who is told.
    pub progress: &'a dyn Progress,
}

impl FitContext<'_> {
    /// Steps of an epoch.
    pub fn steps_per_epoch(&self) -> u32 {
        self.training.steps_per_epoch(self.train.len())
    }

    /// Steps of a training that is not stopped early.
    pub fn steps(&self) -> u32 {
        self.training.steps(self.train.len())
    }
}
