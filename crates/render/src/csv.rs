//! CSV: what machines read, in full precision.

use serde::Serialize;

use crate::error::{Error, Result};

/// A head and its lines. An empty head is taken from the names of the lines' fields.
///
/// # Errors
/// [`Error::Csv`] naming the file, when a line has another number of fields than the head, or none that CSV can hold.
pub fn csv(name: &str, head: &[&str], lines: impl IntoIterator<Item = impl Serialize>) -> Result<Vec<u8>> {
    let failed = |problem: &dyn std::fmt::Display| Error::Csv { name: name.to_owned(), problem: problem.to_string() };
    let mut writer = ::csv::WriterBuilder::new().has_headers(head.is_empty()).from_writer(Vec::new());
    if !head.is_empty() {
        writer.write_record(head).map_err(|error| failed(&error))?;
    }
    for line in lines {
        writer.serialize(line).map_err(|error| failed(&error))?;
    }
    writer.into_inner().map_err(|error| failed(&error))
}
