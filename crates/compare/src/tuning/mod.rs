//! The search of each method's settings on the validation set, the same number of trials for all.
//!
//! A trial is one point of the method's space, fitted and judged by the NLL of its main predictive on validation; a record is kept of
//! each. The first trial is the method as written, the others are points of the grid in an order of chance. What has the lowest mean
//! NLL over the tuning's seeds is chosen. `chosen.toml` and the tables are pure functions of the records, as reports are.

mod chosen;
mod table;
mod trial;

use std::path::PathBuf;

pub(crate) use chosen::Chosen;
pub(crate) use trial::{Searched, Trial, TrialOutcome, TrialRecord, search, trials};

use crate::error::{Error, Result};
use crate::experiment::Plan;
use crate::generated::{self, Files};
use crate::run::unit_key;
use bayeslora_records::one_model;
use bayeslora_records::{Store, check_schema, read_all, read_json};

/// Folder of the tuning of a plan.
pub(crate) fn folder(plan: &Plan) -> PathBuf {
    plan.folder.join(FOLDER)
}

/// Within the results of the profile.
const FOLDER: &str = "tuning";

/// The trials of a plan that are on record, on the model of this digest where it is known, with what they choose.
fn on_record(plan: &Plan, model: Option<&str>) -> Result<Vec<Searched>> {
    let folder = folder(plan);
    let mut records: Vec<TrialRecord> = read_all(&folder.join("trials"), |record: &TrialRecord| record.schema)?;
    records.retain(|record| model.is_none_or(|model| model == record.provenance.model_digest));
    let mut belonging = Vec::new();
    let searched = search(plan, |trial, seed| {
        let current = |record: &&TrialRecord| {
            let (model, data) = (&record.provenance.model_digest, &record.provenance.data_digest);
            record.seed == seed && record.key == unit_key(plan, &trial.method, seed, model, data)
        };
        let found: Vec<&TrialRecord> = records.iter().filter(current).collect();
        belonging.extend(found.iter().map(|record| &record.provenance));
        found.first().copied().cloned().ok_or_else(|| {
            let problem = format!(
                "{} ({}) at seed {seed} has not run; run `{}`",
                trial.method.label,
                trial.changes,
                command(plan)
            );
            Error::Store { path: folder.join("trials"), problem }
        })
    })?;
    one_model(belonging).map_err(|problem| Error::Store { path: folder.join("trials"), problem })?;
    Ok(searched)
}

/// The command that regenerates the tuning.
pub(crate) fn command(plan: &Plan) -> String {
    format!("bayeslora tune results/{}/experiment.toml --profile {}", plan.experiment.name, plan.profile)
}

/// The files that follow from the records.
fn files(plan: &Plan, model: Option<&str>) -> Result<Files> {
    let searched = on_record(plan, model)?;
    let folder = folder(plan);
    Ok(vec![
        (folder.join(chosen::FILE), Chosen::of_search(&searched).to_toml(&command(plan))?.into_bytes()),
        (folder.join("table.md"), table::markdown(plan, &searched).into_bytes()),
        (folder.join("table.csv"), table::csv(&searched)?),
    ])
}

/// Writes `chosen.toml` and the tables from the records of trials on the model of this digest.
///
/// # Errors
/// When a trial is missing, or a file cannot be written.
pub(crate) fn write(plan: &Plan, model: &str) -> Result<Vec<PathBuf>> {
    generated::write(files(plan, Some(model))?)
}

/// The tuning's files on disk that differ from what its records give.
///
/// # Errors
/// When a trial is missing, or a record cannot be read.
pub fn check_tuning(plan: &Plan) -> Result<Vec<PathBuf>> {
    Ok(generated::stale(files(plan, None)?))
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

#[cfg(test)]
mod tests;
