//! Where the tuning of a plan lies, and its records of trials.

use std::path::PathBuf;

use bayeslora_records::{Store, check_schema, read_json};

use super::trial::TrialRecord;
use crate::error::Result;
use crate::experiment::{Plan, TUNING_FOLDER};

/// Folder of the tuning of a plan.
pub(crate) fn folder(plan: &Plan) -> PathBuf {
    plan.folder.join(TUNING_FOLDER)
}

/// The command that regenerates the tuning.
pub(crate) fn command(plan: &Plan) -> String {
    format!("bayeslora tune results/{}/experiment.toml --profile {}", plan.experiment.name, plan.profile)
}

/// Path of a trial's record.
pub(crate) fn record_path(store: &Store, record: &TrialRecord) -> PathBuf {
    path_of(store, &record.method, record.seed, &record.key)
}

fn path_of(store: &Store, method: &str, seed: u64, key: &str) -> PathBuf {
    store.folder().join("trials").join(format!("{method}-seed{seed}-{}.json", &key[..8.min(key.len())]))
}

/// The record of a trial, if it is there and its key is this one.
///
/// # Errors
/// [`Error::Store`] for a record that cannot be read or has another layout.
pub(crate) fn recorded(store: &Store, method: &str, seed: u64, key: &str) -> Result<Option<TrialRecord>> {
    let path = path_of(store, method, seed, key);
    let Some(record) = read_json::<TrialRecord>(&path)? else { return Ok(None) };
    check_schema(&path, record.schema)?;
    Ok((record.key == key).then_some(record))
}
