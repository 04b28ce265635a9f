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
        let record = opened.store.unit(&unit.method.id, unit.seed, &unit.key)?;
        let has_failed = record.is_some_and(|record| matches!(record.outcome, Outcome::Failed { .. }));
        if !unit.method.trains_with_dropout() || has_failed {
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

/// The kept fits of the finished ones of `units` that have a sampled or linearised row, with these rows; all are there before anything is
/// computed.
pub(crate) fn random_fits<'u, 'p>(
    opened: &OpenedPlan<'p>,
    units: &'u [Unit<'p>],
) -> Result<Vec<(&'u Unit<'p>, Fitted, Vec<&'p Row>)>> {
    let mut fits = Vec::new();
    for unit in units {
        let is_random = |row: &&Row| matches!(row.reading, Reading::Sampled | Reading::Linearised);
        let rows: Vec<&Row> = opened.rows_of(unit).filter(is_random).collect();
        let record = opened.store.unit(&unit.method.id, unit.seed, &unit.key)?;
        let has_failed = record.is_some_and(|record| matches!(record.outcome, Outcome::Failed { .. }));
        if rows.is_empty() || has_failed {
            continue;
        }
        let fitted = opened.kept_fit(unit)?;
        let fitted = fitted.ok_or_else(|| missing(opened, unit, opened.store.fit_folder(&unit.fit)))?;
        fits.push((unit, fitted, rows));
    }
    if fits.is_empty() {
        let problem = "no finished fit of this experiment has a sampled or linearised row: there is no width to vary";
        return Err(Error::Report(problem.to_owned()));
    }
    Ok(fits)
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
