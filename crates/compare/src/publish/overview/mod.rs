//! Everything in the results folder on two pages: `README.md` to find one's way, and `report.html`, which needs no network.
//!
//! Both are made of the values that the experiments' own pages are made of: nothing is computed twice, and no page is read back.

mod answers;
mod html;
mod markdown;
mod ranks;

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::publish::generated::{self, Files};
use crate::publish::results::{Reported, folders, reported};

pub(super) use answers::{Answered, answered, answers_block};

/// `README.md`, and the ranks over tasks where there are several.
pub(super) fn files(reported: &[Reported<'_>], answered: &[Answered], results: &Path) -> Result<Files> {
    let mut files = ranks::files(reported, results)?;
    files.push((results.join("README.md"), markdown::index(reported, answered, results).into_bytes()));
    Ok(files)
}

/// `report.html`.
pub(super) fn html_file(
    reported: &[Reported<'_>],
    answered: &[Answered],
    results: &Path,
) -> Result<(PathBuf, Vec<u8>)> {
    Ok((results.join("report.html"), html::report(reported, answered, results)?.into_bytes()))
}

/// Writes `README.md` and `report.html` into a results folder, and the ranks over its tasks where there are several.
///
/// # Errors
/// Naming the file, when one cannot be read or written.
pub fn write_overview(results: &Path) -> Result<Vec<PathBuf>> {
    let folders = folders(results)?;
    let reported = reported(&folders)?;
    let answered = answered(&reported, results)?;
    let mut written = generated::write(files(&reported, &answered, results)?)?;
    // It shows figures as they lie beside the tables.
    written.extend(generated::write(vec![html_file(&reported, &answered, results)?])?);
    Ok(written)
}

/// `README.md` and the ranks where they differ from what the records give. `report.html` is large and not kept: it is not looked at.
///
/// # Errors
/// Naming the file, when one cannot be read.
pub fn check_overview(results: &Path) -> Result<Vec<PathBuf>> {
    let folders = folders(results)?;
    let reported = reported(&folders)?;
    Ok(generated::stale(files(&reported, &answered(&reported, results)?, results)?))
}

#[cfg(test)]
mod tests;
