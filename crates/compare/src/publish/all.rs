//! Everything that is made from records, in one go: every experiment's report, curve and tuning tables, the README's block, the overview.

use std::path::{Path, PathBuf};

use super::generated::{self, Files};
use super::overview;
use super::report_files::report_files;
use crate::curve;
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::studies::tuning;

/// The profile that is for a reader's own machine and not kept.
const NOT_KEPT: &str = "quick";

/// Files of every experiment in a results folder that has records, and the README above it where an experiment has a table there.
fn files(results: &Path) -> Result<Files> {
    let mut files = Files::new();
    let mut experiments = 0;
    for folder in overview::folders(results)? {
        let path = results.join(folder).join("experiment.toml");
        if !path.is_file() {
            continue;
        }
        experiments += 1;
        let experiment = Experiment::load(&path)?;
        for profile in experiment.profiles.keys().filter(|name| *name != NOT_KEPT) {
            let untuned = experiment.clone().plan_untuned(&path, profile)?;
            if untuned.folder.join("tuning/trials").is_dir() {
                files.extend(tuning::files(&untuned, None)?);
            }
            let plan = experiment.clone().plan(&path, profile)?;
            if !plan.folder.join("units").is_dir() {
                continue;
            }
            let readme = results.join("../README.md");
            let shown = experiment.readme.is_some() && readme.is_file();
            files.extend(report_files(&plan, shown.then_some(readme.as_path()), None)?);
        }
        if experiment.curve.is_some() {
            files.extend(curve::files_of(&path)?);
        }
    }
    if experiments == 0 {
        let problem = "holds no experiment; name the folder of the results".to_owned();
        return Err(Error::Store { path: results.to_owned(), problem });
    }
    Ok(files)
}

/// Writes everything that is made from the records of a results folder, the overview last: it reads what the others wrote.
///
/// # Errors
/// When a record cannot be read or a file cannot be written.
pub fn write_all(results: &Path) -> Result<Vec<PathBuf>> {
    let mut written = generated::write(files(results)?)?;
    written.extend(overview::write_overview(results)?);
    Ok(written)
}

/// The files on disk that differ from what the records of a results folder give.
///
/// # Errors
/// When a record cannot be read.
pub fn check_all(results: &Path) -> Result<Vec<PathBuf>> {
    let mut stale = generated::stale(files(results)?);
    stale.extend(overview::check_overview(results)?);
    Ok(stale)
}
