//! The report: a pure function of the records.

use std::path::Path;

use anyhow::Result;

/// Name and bytes of a file.
pub(crate) type File = (String, Vec<u8>);

/// Every file of the report.
pub(crate) fn files(_records: &Path) -> Result<Vec<File>> {
    Ok(Vec::new())
}
