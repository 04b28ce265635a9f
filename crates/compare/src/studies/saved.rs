//! The fits that the units of a run saved.

use std::path::PathBuf;

use bayeslora_adapters::{DropoutSite, PosteriorSettings};
use bayeslora_inference::Fitted;
use bayeslora_models::SavedAdapter;
use bayeslora_records::{Outcome, Reading};

use crate::error::{Error, Result};
use crate::experiment::Row;
use crate::run::opened::OpenedPlan;
use crate::run::unit::Unit;

/// The saved adapters of the finished ones of `units` that were trained with dropout, with site and probability; all are there before
/// anything is computed.
pub(crate) fn dropout_adapters<'u, 'p>(
    opened: &OpenedPlan<'p>,
    units: &'u [Unit<'p>],
) -> Result<Vec<(&'u Unit<'p>, SavedAdapter, DropoutSite, f64)>> {
    if opened.language().is_some() {
        return Err(Error::Report(
            "an experiment on questions has no fit to measure here: expected texts with classes".to_owned(),
        ));
    }
    let mut saved = Vec::new();
    for unit in units {
        let folder = opened.store.fit_folder(&unit.fit).join("adapter");
        if !unit.method.trains_with_dropout() || has_failed(opened, unit)? {
            continue;
        }
        if !folder.is_dir() {
            return Err(missing(opened, unit, folder));
        }
        let adapter = SavedAdapter::load(&folder, &opened.backbone, opened.model.path(), Ok)?;
        if let PosteriorSettings::Dropout { site, dropout, .. } = adapter.posterior
            && dropout > 0.0
        {
            saved.push((unit, adapter, site, dropout));
        }
    }
    if saved.is_empty() {
        return Err(Error::Report(
            "no finished fit of this experiment was trained with dropout: there is nothing to measure".to_owned(),
        ));
    }
    Ok(saved)
}

/// The units that have a sampled or linearised row, with these rows.
pub(crate) struct RandomUnits<'u, 'p> {
    /// Finished ones, whose fits are all here.
    pub(crate) finished: Vec<(&'u Unit<'p>, Vec<&'p Row>)>,
    /// Names of those that failed.
    pub(crate) failed: Vec<String>,
}

/// Those of `units`; fits are looked for before anything is computed.
///
/// # Errors
/// When a fit is missing, or no finished unit has such a row.
pub(crate) fn random_units<'u, 'p>(opened: &OpenedPlan<'p>, units: &'u [Unit<'p>]) -> Result<RandomUnits<'u, 'p>> {
    let (mut finished, mut failed) = (Vec::new(), Vec::new());
    for unit in units {
        let is_random = |row: &&Row| matches!(row.reading, Reading::Sampled | Reading::Linearised);
        let rows: Vec<&Row> = opened.rows_of(unit).filter(is_random).collect();
        if rows.is_empty() {
            continue;
        }
        if has_failed(opened, unit)? {
            failed.push(unit.name());
            continue;
        }
        if !opened.keeps_fit(unit) {
            return Err(missing(opened, unit, opened.store.fit_folder(&unit.fit)));
        }
        finished.push((unit, rows));
    }
    if finished.is_empty() {
        let problem = "no finished fit of this experiment has a sampled or linearised row: there is no width to vary";
        return Err(Error::Report(problem.to_owned()));
    }
    Ok(RandomUnits { finished, failed })
}

/// The fit of a unit, which was there before.
pub(crate) fn kept_fit(opened: &OpenedPlan<'_>, unit: &Unit<'_>) -> Result<Fitted> {
    opened.kept_fit(unit)?.ok_or_else(|| missing(opened, unit, opened.store.fit_folder(&unit.fit)))
}

fn has_failed(opened: &OpenedPlan<'_>, unit: &Unit<'_>) -> Result<bool> {
    let record = opened.store.unit(&unit.method.id, unit.seed, &unit.key)?;
    Ok(record.is_some_and(|record| matches!(record.outcome, Outcome::Failed { .. })))
}

fn missing(opened: &OpenedPlan<'_>, unit: &Unit<'_>, path: PathBuf) -> Error {
    let problem = format!(
        "{} is not there: adapters are not kept with the records; compute them with `bayeslora run` on this experiment, profile \"{}\" (a \
         record that is there without its adapter is computed again once its file in units/ is removed)",
        unit.name(),
        opened.plan.profile
    );
    Error::Store { path, problem }
}
