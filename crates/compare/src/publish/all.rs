//! Everything that is made from records, in one go: every experiment's report, curve and tuning tables, the README's block, the overview.

use std::path::{Path, PathBuf};

use super::generated::{self, Files};
use super::overview;
use super::report_files::files_of;
use super::results::{Reported, folders, reported};
use crate::curve;
use crate::error::{Error, Result};
use crate::studies::tuning;

/// Files of a folder, and the README above the results where the experiment has a table there.
fn files(results: &Path, Reported { folder, reports }: &Reported<'_>) -> Result<Files> {
    let mut files = Files::new();
    let Some((path, experiment)) = &folder.experiment else { return Ok(files) };
    for plan in &folder.untuned {
        if plan.folder.join("tuning/trials").is_dir() {
            files.extend(tuning::files(plan, None)?);
        }
    }
    let readme = results.join("../README.md");
    let shown = (experiment.readme.is_some() && readme.is_file()).then_some(readme.as_path());
    for (run, report) in folder.runs.iter().zip(reports) {
        // The README has one block of an experiment: that of the profile without a folder of its own.
        let shown = shown.filter(|_| path.parent() == Some(run.folder.as_path()));
        files.extend(files_of(report, &run.folder, shown)?);
    }
    if experiment.curve.is_some() {
        files.extend(curve::files_of(path)?);
    }
    Ok(files)
}

/// The files of all folders, and of the overview.
fn all_files(results: &Path, reported: &[Reported<'_>]) -> Result<Files> {
    if reported.iter().all(|one| one.folder.experiment.is_none()) {
        let problem = "holds no experiment; name the folder of the results".to_owned();
        return Err(Error::Store { path: results.to_owned(), problem });
    }
    let mut all = Files::new();
    for one in reported {
        all.extend(files(results, one)?);
    }
    all.extend(overview::files(reported, results)?);
    Ok(all)
}

/// Writes everything that is made from the records of a results folder.
///
/// # Errors
/// When a record cannot be read or a file cannot be written.
pub fn write_all(results: &Path) -> Result<Vec<PathBuf>> {
    let folders = folders(results)?;
    let reported = reported(&folders)?;
    let mut written = generated::write(all_files(results, &reported)?)?;
    // It shows figures that have just been drawn.
    written.extend(generated::write(vec![overview::html_file(&reported, results)?])?);
    Ok(written)
}

/// The files on disk that differ from what the records of a results folder give. `report.html` is large and not kept: it is not looked at.
///
/// # Errors
/// When a record cannot be read.
pub fn check_all(results: &Path) -> Result<Vec<PathBuf>> {
    let folders = folders(results)?;
    Ok(generated::stale(all_files(results, &reported(&folders)?)?))
}
