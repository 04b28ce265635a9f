//! Files with one JSON object a line.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::lines::{Table, malformed};
use crate::error::Result;

/// The objects of `path`, each with its line; `form` says what one holds, for messages.
///
/// # Errors
/// [`crate::Error::TaskFile`] for a file that cannot be read, [`crate::Error::TaskLine`] for a line of another form.
pub(super) fn read<T: DeserializeOwned>(path: &Path, form: &str) -> Result<Vec<(usize, T)>> {
    let table = Table::read(path.to_owned())?;
    let object = |line: super::lines::Line<'_>| {
        let value = serde_json::from_str(line.text());
        Ok((line.number, value.map_err(|error| of_another_form(path, line.number, form, &error, line.text()))?))
    };
    table.lines().map(object).collect()
}

/// What is said of JSON that is not as expected, with the parser's reason.
pub(super) fn of_another_form(
    path: &Path,
    line: usize,
    form: &str,
    error: &serde_json::Error,
    found: &str,
) -> crate::error::Error {
    let reason = error.to_string();
    // Its place is of the line alone.
    let reason = reason.split(" at line ").next().unwrap_or_default();
    malformed(path, line, &format!("{form}, as JSON ({reason})"), found)
}
