//! Everything that is made from records, in one go: every experiment's report, curve and tuning tables, the README's block, the overview.

use std::path::{Path, PathBuf};

use super::generated::{self, Files};
use super::overview::{self, Answered};
use super::report_files::{files_of, with_blocks};
use super::results::{Reported, folders, reported};
use crate::curve;
use crate::error::{Error, Result};
use crate::studies::tuning;

/// Files of a folder.
fn files(Reported { folder, reports }: &Reported<'_>) -> Result<Files> {
    let mut files = Files::new();
    let Some((path, experiment)) = &folder.experiment else { return Ok(files) };
    for plan in &folder.untuned {
        if plan.folder.join("tuning/trials").is_dir() {
            files.extend(tuning::files(plan, None)?);
        }
    }
    for (run, report) in folder.runs.iter().zip(reports) {
        files.extend(files_of(report, &run.folder, None)?);
    }
    if experiment.curve.is_some() {
        files.extend(curve::files_of(path)?);
    }
    Ok(files)
}

/// What the README above the results shows of an experiment that has a table there: that of the profile without a folder of its own.
fn readme_block(Reported { folder, reports }: &Reported<'_>) -> Result<Option<(String, String)>> {
    let Some((path, experiment)) = &folder.experiment else { return Ok(None) };
    let own = folder.runs.iter().zip(reports).find(|(run, _)| path.parent() == Some(run.folder.as_path()));
    let shown = own.filter(|_| experiment.readme.is_some());
    shown.map(|(_, report)| Ok((folder.name.clone(), report.readme_block()?))).transpose()
}

/// The files of all folders, of the overview, and the README above them.
fn all_files(results: &Path, reported: &[Reported<'_>], answered: &[Answered]) -> Result<Files> {
    if reported.iter().all(|one| one.folder.experiment.is_none()) {
        let problem = "holds no experiment; name the folder of the results".to_owned();
        return Err(Error::Store { path: results.to_owned(), problem });
    }
    let mut all = Files::new();
    let mut blocks = Vec::new();
    for one in reported {
        all.extend(files(one)?);
        blocks.extend(readme_block(one)?);
    }
    blocks.extend(overview::answers_block(answered));
    all.extend(overview::files(reported, answered, results)?);
    let readme = results.join("../README.md");
    if readme.is_file() {
        all.push(with_blocks(&readme, &blocks)?);
    }
    Ok(all)
}

/// Writes everything that is made from the records of a results folder.
///
/// # Errors
/// When a record cannot be read or a file cannot be written.
pub fn write_all(results: &Path) -> Result<Vec<PathBuf>> {
    let folders = folders(results)?;
    let reported = reported(&folders)?;
    let answered = overview::answered(&reported, results)?;
    let mut written = generated::write(all_files(results, &reported, &answered)?)?;
    // It shows figures that have just been drawn.
    written.extend(generated::write(vec![overview::html_file(&reported, &answered, results)?])?);
    Ok(written)
}

/// The files on disk that differ from what the records of a results folder give. `report.html` is large and not kept: it is not looked at.
///
/// # Errors
/// When a record cannot be read.
pub fn check_all(results: &Path) -> Result<Vec<PathBuf>> {
    let folders = folders(results)?;
    let reported = reported(&folders)?;
    Ok(generated::stale(all_files(results, &reported, &overview::answered(&reported, results)?)?))
}
