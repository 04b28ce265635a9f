//! What can be wrong with assets, folders of models and the files of tasks.

use std::io;
use std::path::PathBuf;

use crate::assets::{Attempts, GivenBy, Missing};

/// `Result` with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that is no asset's.
    #[error("{name:?} is not an asset; the assets are {valid}")]
    AssetName {
        /// What was asked for.
        name: String,
        /// The valid names, comma-separated.
        valid: String,
    },
    /// The platform does not say where caches go.
    #[error("no cache folder: {reason}; set BAYESLORA_CACHE to a folder that can be written")]
    AssetNoCache {
        /// What the platform said.
        reason: String,
    },
    /// A folder of the user's does not exist.
    #[error("{path}: no such folder (given by {} or {})", .given_by.option(), .given_by.variable())]
    AssetFolder {
        /// The folder.
        path: PathBuf,
        /// Which folder it is.
        given_by: GivenBy,
    },
    /// The cache cannot be written: no permission, no space, not a folder.
    #[error("{path}: cannot write to the asset cache: {source}; BAYESLORA_CACHE names another folder")]
    AssetCache {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An asset's file exists and cannot be read.
    #[error("{path}: cannot read: {source}")]
    AssetRead {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file in the user's own folder is not the declared one. It is never touched.
    #[error(
        "{path}: sha256 is {got}, {asset} needs {expected}; replace the file, or leave its folder out of {} and {}",
        .given_by.option(),
        .given_by.variable()
    )]
    AssetLocal {
        /// The asset.
        asset: &'static str,
        /// The file.
        path: PathBuf,
        /// Which folder of the user's it is in.
        given_by: GivenBy,
        /// The declared SHA-256.
        expected: String,
        /// The SHA-256 found.
        got: String,
    },
    /// The folder of a model of the user's own does not exist.
    #[error(
        "{path}: no such folder; model.path of an experiment is relative to the experiment file, and `~` is not expanded"
    )]
    ModelFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The folder of a model of the user's own lacks a file.
    #[error(
        "{path}: not found; a model's folder has config.json, tokenizer.json and model.safetensors or its shards, as transformers' \
         save_pretrained writes them for the model and its fast tokenizer, or one GGUF file alone"
    )]
    ModelFile {
        /// The file.
        path: PathBuf,
    },
    /// Files are missing and downloads are switched off.
    #[error(transparent)]
    AssetOffline(Box<Missing>),
    /// No source could provide the asset.
    #[error(transparent)]
    AssetUnavailable(Box<Attempts>),
    /// A task's setting is out of range.
    #[error("{setting} is {got}, expected {expected}")]
    TaskSetting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        got: String,
        /// The range.
        expected: &'static str,
    },
    /// A task's file cannot be read.
    #[error("{path}: cannot read: {source}")]
    TaskFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of a task's file is malformed.
    #[error("{path}, line {line}: expected {expected}, found {found}")]
    TaskLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A split has no examples.
    #[error("{task}: the {split} split is empty: {examples} examples are too few for its share")]
    TaskEmptySplit {
        /// The task.
        task: &'static str,
        /// The split.
        split: String,
        /// How many examples there are to split.
        examples: usize,
    },
}
