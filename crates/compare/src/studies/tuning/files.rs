//! The files of a tuning, from its records.

use std::path::PathBuf;

use bayeslora_records::{one_model, read_all};

use super::stored::{command, folder};
use super::table;
use super::trial::{Searched, TrialRecord, search};
use crate::error::{Error, Result};
use crate::experiment::{CHOSEN_FILE, Chosen, Plan};
use crate::publish::generated::{self, Files};
use crate::run::keys::unit_key;

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

/// The files that follow from the records.
pub(crate) fn files(plan: &Plan, model: Option<&str>) -> Result<Files> {
    let searched = on_record(plan, model)?;
    let folder = folder(plan);
    Ok(vec![
        (folder.join(CHOSEN_FILE), chosen(&searched).to_toml(&command(plan))?.into_bytes()),
        (folder.join("table.md"), table::page(plan, &searched).markdown().into_bytes()),
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

/// What a search chose, by method.
pub(super) fn chosen(searched: &[Searched]) -> Chosen {
    Chosen::new(searched.iter().map(|one| (one.id.clone(), one.chosen().changes.clone())))
}
