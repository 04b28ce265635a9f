//! Everything in the results folder on two pages: `README.md` to find one's way, and `report.html`, which needs no network.
//!
//! Both are made of what the reports wrote (`table.md` and its like) and of the experiment files: nothing is computed twice.

mod html;
mod markdown;
mod ranks;
mod section;

use std::path::{Path, PathBuf};

pub(crate) use section::folders;
use section::sections;

use crate::error::Result;
use crate::publish::generated;

/// Writes `README.md` and `report.html` into a results folder, and the ranks over its tasks where there are several.
///
/// # Errors
/// Naming the file, when one cannot be read or written.
pub fn write_overview(results: &Path) -> Result<Vec<PathBuf>> {
    let mut written = generated::write(ranks::files(results)?)?;
    let sections = sections(results)?;
    let pages = [("README.md", markdown::overview(&sections)), ("report.html", html::report(&sections, results)?)];
    written.extend(generated::write(pages.map(|(name, text)| (results.join(name), text.into_bytes())).into())?);
    Ok(written)
}

/// `README.md` and the ranks where they differ from what the tables give. `report.html` is large and not kept: it is not looked at.
///
/// # Errors
/// Naming the file, when one cannot be read.
pub fn check_overview(results: &Path) -> Result<Vec<PathBuf>> {
    let mut expected = ranks::files(results)?;
    expected.push((results.join("README.md"), markdown::overview(&sections(results)?).into_bytes()));
    Ok(generated::stale(expected))
}

#[cfg(test)]
mod tests;
