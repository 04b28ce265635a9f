//! What a task is: its test sets, and its published examples read, cleaned and split.

use std::path::PathBuf;

use super::domain::DomainInfo;
use super::example::Example;
use super::prompts::Answers;
use crate::assets::AssetId;
use crate::error::Result;

/// Opens the folder of an asset.
pub type Open<'a> = dyn FnMut(AssetId) -> Result<PathBuf> + 'a;

/// A task with checked settings of its own.
pub(super) trait Task: std::fmt::Debug + Send + Sync {
    /// Its test sets, that of the training domain first.
    fn domains(&self) -> Vec<DomainInfo>;

    /// What the answers to its questions are; none where its texts have classes.
    fn answers(&self) -> Option<Answers> {
        None
    }

    /// Reads, cleans and splits: every split in the order of `seed`, not capped, test sets in the order of [`Self::domains`].
    fn splits(&self, seed: u64, open: &mut Open<'_>) -> Result<Splits>;
}

/// The published examples of a task.
#[derive(Debug)]
pub(super) struct Splits {
    pub(super) classes: Vec<String>,
    pub(super) train: Vec<Example>,
    pub(super) validation: Vec<Example>,
    pub(super) tests: Vec<Vec<Example>>,
    pub(super) notes: Vec<String>,
}
