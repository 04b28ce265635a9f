//! The report of a plan: which records it is made from and where its files go.

use std::path::{Path, PathBuf};

use bayeslora_host::read;

use crate::error::{Error, Result};
use crate::experiment::{Plan, Row};
use crate::publish::generated::{self, Files};
use crate::report::{Aggregate, Definition, File, RowDefinition, readme_block, render, splice};
use crate::run::keys::{comparison_key, unit_key};
use bayeslora_records::{ComparisonRecord, Provenance, RowId, Store, UnitRecord, one_model};

pub(crate) fn definition(plan: &Plan) -> Definition {
    let row = |row: &Row| RowDefinition {
        id: row.id.to_string(),
        label: row.label.clone(),
        method: plan.method_of(row).id.clone(),
    };
    Definition {
        name: plan.experiment.name.clone(),
        title: plan.experiment.title.clone(),
        analysis: plan.experiment.analysis.clone(),
        seeds: plan.seeds.clone(),
        rows: plan.rows.iter().map(row).collect(),
        domains: plan.task.domains(),
        reference: plan.experiment.reference.clone(),
        command: format!(
            "make results EXPERIMENT=results/{}/experiment.toml PROFILE={}",
            plan.experiment.name, plan.profile
        ),
        readme: plan.experiment.readme.clone(),
    }
}

/// The records that belong to the plan as it stands; those of other settings are left out, and those of other models than the one of
/// this digest, where it is known.
fn records(plan: &Plan, store: &Store, model: Option<&str>) -> Result<(Vec<UnitRecord>, Vec<ComparisonRecord>)> {
    let belongs = |unit: &UnitRecord| {
        let planned = plan.methods.iter().find(|planned| planned.id == unit.method);
        let Provenance { model_digest, data_digest, .. } = &unit.provenance;
        plan.seeds.contains(&unit.seed)
            && model.is_none_or(|model| model == model_digest)
            && planned.is_some_and(|m| unit_key(plan, m, unit.seed, model_digest, data_digest) == unit.key)
    };
    let units: Vec<UnitRecord> = store.units()?.into_iter().filter(belongs).collect();
    if let Some(other) = units.iter().find(|unit| unit.provenance.data_digest != units[0].provenance.data_digest) {
        return Err(Error::Report(format!(
            "{}: the records of {} and {} come from different data; delete those of the old data",
            store.folder().display(),
            units[0].method,
            other.method
        )));
    }
    one_model(units.iter().map(|unit| &unit.provenance))
        .map_err(|problem| Error::Store { path: store.folder().join("units"), problem })?;
    let keys_of = |method: &str| -> Vec<&str> {
        let seeds = plan.seeds.iter();
        let keys = seeds.filter_map(|seed| units.iter().find(|unit| unit.method == method && unit.seed == *seed));
        keys.map(|unit| unit.key.as_str()).collect()
    };
    let current = |comparison: &ComparisonRecord| {
        let Ok(id) = comparison.row.parse::<RowId>() else { return false };
        let plain = id.untempered();
        let row = plan.rows.iter().find(|row| row.id == plain);
        let Some(row) = row.or((id == RowId::Distances).then_some(&plan.reference)) else { return false };
        let [own, other] = [row, &plan.reference].map(|row| keys_of(&plan.method_of(row).id));
        comparison_key(plan, &id, &own, &other) == comparison.key
    };
    let comparisons = store.comparisons()?.into_iter().filter(current).collect();
    Ok((units, comparisons))
}

/// The numbers of a plan's tables.
///
/// # Errors
/// When there are no records, or one cannot be read.
pub(crate) fn aggregated(plan: &Plan) -> Result<Aggregate> {
    let definition = definition(plan);
    let (units, comparisons) = records(plan, &Store::new(&plan.folder), None)?;
    Aggregate::of(&definition, &units, &comparisons)
}

/// The files of the report, by path, with the block of the README when one is given.
pub(crate) fn report_files(plan: &Plan, readme: Option<&Path>, model: Option<&str>) -> Result<Files> {
    let store = Store::new(&plan.folder);
    let definition = definition(plan);
    let (units, comparisons) = records(plan, &store, model)?;
    let rendered: Vec<File> = render(&definition, &units, &comparisons)?;
    let mut files: Vec<_> = rendered.into_iter().map(|(name, bytes)| (plan.folder.join(name), bytes)).collect();
    if let Some(path) = readme {
        let text = String::from_utf8(read(path)?)
            .map_err(|error| Error::Report(format!("{}: not UTF-8: {error}", path.display())))?;
        let block = readme_block(&definition, &units, &comparisons)?;
        files.push((path.to_owned(), splice(&text, &plan.experiment.name, &block)?.into_bytes()));
    }
    Ok(files)
}

/// Writes the report of a plan from its records, and the README's block when a README is given.
///
/// # Errors
/// When there are no records, one cannot be read, or a file cannot be written.
pub fn write_report(plan: &Plan, readme: Option<&Path>) -> Result<Vec<PathBuf>> {
    generated::write(report_files(plan, readme, None)?)
}

/// Writes the report of a plan that just ran on the model of this digest: records of the weights it had before are left out.
///
/// # Errors
/// As [`write_report`].
pub fn publish(plan: &Plan, model: &str) -> Result<Vec<PathBuf>> {
    generated::write(report_files(plan, None, Some(model))?)
}

/// The files on disk that differ from what the records give.
///
/// # Errors
/// When there are no records, or one cannot be read.
pub fn check_report(plan: &Plan, readme: Option<&Path>) -> Result<Vec<PathBuf>> {
    Ok(generated::stale(report_files(plan, readme, None)?))
}
