//! The report of a plan: which records it is made from and where its files go.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use bayeslora_data::tasks::DomainInfo;
use bayeslora_host::read;
use bayeslora_records::{ComparisonRecord, RowId, Store, UnitRecord, one_model};
use bayeslora_report::{Aggregate, Comparison, Definition, Report, RowDefinition, TestSet, compared, splice};

use crate::error::{Error, Result};
use crate::experiment::{Plan, Row};
use crate::publish::generated::{self, Files};
use crate::run::keys::{arithmetic_of, comparison_key, distances_key_on_record, is_of_arithmetic, key_on_record};

/// What makes the records of a profile whose experiment lies in `file`.
pub(crate) fn command(file: impl Display, profile: &str) -> String {
    format!("make results EXPERIMENT={file} PROFILE={profile}")
}

pub(crate) fn definition(plan: &Plan) -> Definition {
    let row = |row: &Row| RowDefinition {
        id: row.id.to_string(),
        label: row.label.clone(),
        method: plan.method_of(row).id.clone(),
    };
    let test_set = |domain: DomainInfo| TestSet {
        id: domain.id,
        label: domain.label,
        in_distribution: domain.in_distribution,
        labelled: domain.labelled,
        rated: domain.rated,
        corruption: domain.corruption.map(|(kind, strength)| (kind.label(), strength)),
    };
    Definition {
        name: plan.experiment.name.clone(),
        title: plan.experiment.title.clone(),
        analysis: plan.experiment.analysis.clone(),
        seeds: plan.seeds.clone(),
        draws_training_set: plan.task.settings().train_per_seed.is_some(),
        rows: plan.rows.iter().map(row).collect(),
        domains: plan.task.domains().into_iter().map(test_set).collect(),
        reference: plan.experiment.reference.clone(),
        command: command(format_args!("results/{}/experiment.toml", plan.experiment.name), &plan.profile),
        bootstrap: plan.experiment.bootstrap,
        margins: plan.experiment.margins.clone(),
        contrasts: plan.experiment.contrasts.clone(),
        readme: plan.experiment.readme.clone(),
    }
}

/// A plan's definition and the records that belong to it.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) definition: Definition,
    /// Folder of the profile.
    pub(crate) folder: PathBuf,
    units: Vec<UnitRecord>,
    comparisons: Vec<Comparison>,
}

impl Recorded {
    /// The records that belong to the plan as it stands; those of other settings are left out, and those of other models than the one of
    /// this digest, where it is known.
    pub(crate) fn read(plan: &Plan, model: Option<&str>) -> Result<Self> {
        let store = Store::new(&plan.folder);
        let belongs = |unit: &UnitRecord| {
            let planned = plan.methods.iter().find(|planned| planned.id == unit.method);
            plan.fits(&unit.method, unit.seed)
                && model.is_none_or(|model| model == unit.provenance.model_digest)
                && planned.is_some_and(|method| key_on_record(plan, method, unit) == unit.key)
        };
        let units: Vec<UnitRecord> = store.units()?.into_iter().filter(belongs).collect();
        let refused = |problem: String| Error::Store { path: store.folder().join("units"), problem };
        let alike = |differ: fn(&UnitRecord, &UnitRecord) -> bool, problem: &str| {
            let Some(other) = units.iter().find(|unit| differ(unit, &units[0])) else { return Ok(()) };
            let named = |unit: &UnitRecord| format!("{} at seed {}", unit.method, unit.seed);
            Err(refused(format!("the records of {} and {} {problem}", named(&units[0]), named(other))))
        };
        alike(
            |one, other| one.provenance.data_digest != other.provenance.data_digest,
            "come from different data; delete those of the old data",
        )?;
        alike(
            |one, other| arithmetic_of(one) != arithmetic_of(other),
            "differ in precision or device (in their settings); delete those that are not meant",
        )?;
        one_model(units.iter().map(|unit| &unit.provenance)).map_err(refused)?;
        let keys_of = |method: &str| -> Vec<&str> {
            let seeds = plan.seeds.iter();
            let keys = seeds.filter_map(|seed| units.iter().find(|unit| unit.method == method && unit.seed == *seed));
            keys.map(|unit| unit.key.as_str()).collect()
        };
        // Made before records had columns of texts.
        let current = |comparison: &ComparisonRecord| {
            let Ok(id) = comparison.row.parse::<RowId>() else { return false };
            let plain = id.untempered();
            let row = plan.rows.iter().find(|row| row.id == plain);
            let Some(row) = row.or((id == RowId::Distances).then_some(&plan.reference)) else { return false };
            let [own, other] = [row, &plan.reference].map(|row| keys_of(&plan.method_of(row).id));
            comparison_key(plan, &id, &own, &other) == comparison.key
        };
        let kept: Vec<ComparisonRecord> = store.comparisons()?.into_iter().filter(current).collect();
        let distances = store.distances()?.into_iter().find(|record| {
            let alike = |unit: &UnitRecord| {
                let (own, other) = (&record.provenance, &unit.provenance);
                own.model_digest == other.model_digest
                    && own.data_digest == other.data_digest
                    && is_of_arithmetic(record, unit)
            };
            units.first().is_some_and(alike) && distances_key_on_record(plan, record) == record.key
        });
        let mut definition = definition(plan);
        let comparisons = compared(&definition, &units, (&kept, distances.as_ref()))?;
        if units.is_empty() {
            // No page shows it: it says what to run, wherever the file lies.
            definition.command = command(plan.path.display(), &plan.profile);
        }
        Ok(Self { definition, folder: plan.folder.clone(), units, comparisons })
    }

    /// Number of records that belong to the plan.
    pub(crate) fn computed(&self) -> usize {
        self.units.len()
    }

    /// What pages are made from.
    pub(crate) fn report(&self) -> Result<Report<'_>> {
        Ok(Report::new(&self.definition, &self.units, &self.comparisons)?)
    }
}

/// The numbers of a plan's tables.
///
/// # Errors
/// When there are no records, or one cannot be read.
pub(crate) fn aggregated(plan: &Plan) -> Result<Aggregate> {
    let Recorded { definition, units, comparisons, .. } = Recorded::read(plan, None)?;
    Ok(Aggregate::of(&definition, &units, &comparisons)?)
}

/// The files of a report in `folder`, by path, with the block of the README when one is given.
pub(crate) fn files_of(report: &Report<'_>, folder: &Path, readme: Option<&Path>) -> Result<Files> {
    let mut files: Files = report.files()?.into_iter().map(|(name, bytes)| (folder.join(name), bytes)).collect();
    if let Some(path) = readme {
        files.push(with_blocks(path, &[(report.definition.name.clone(), report.readme_block()?)])?);
    }
    Ok(files)
}

/// A README with these generated blocks, each by its name, in place of those that it has.
pub(crate) fn with_blocks(path: &Path, blocks: &[(String, String)]) -> Result<(PathBuf, Vec<u8>)> {
    let problem = |problem: String| Error::Store { path: path.to_owned(), problem };
    let mut text = String::from_utf8(read(path)?).map_err(|error| problem(format!("not UTF-8: {error}")))?;
    for (name, block) in blocks {
        text = splice(&text, name, block).map_err(|error| problem(error.to_string()))?;
    }
    Ok((path.to_owned(), text.into_bytes()))
}

fn report_files(plan: &Plan, readme: Option<&Path>, model: Option<&str>) -> Result<Files> {
    let recorded = Recorded::read(plan, model)?;
    files_of(&recorded.report()?, &plan.folder, readme)
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
