//! The report of a plan: which records it is made from and where its files go.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::experiment::Plan;

/// Writes the report.
pub(crate) fn write(plan: &Plan) -> Result<Vec<PathBuf>> {
    write_report(plan, None)
}

/// Writes.
pub fn write_report(_plan: &Plan, _readme: Option<&Path>) -> Result<Vec<PathBuf>> {
    Ok(vec![])
}

/// Checks.
pub fn check_report(_plan: &Plan, _readme: Option<&Path>) -> Result<Vec<PathBuf>> {
    Ok(vec![])
}
