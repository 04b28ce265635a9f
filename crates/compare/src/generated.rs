//! Files that are made from records: written, or compared with what lies there.

use std::path::PathBuf;

use bayeslora_adapters::files::write_atomically;

use crate::Result;

/// Files by path.
pub(crate) type Files = Vec<(PathBuf, Vec<u8>)>;

/// Writes each file; their paths.
///
/// # Errors
/// When one cannot be written.
pub(crate) fn write(files: Files) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (path, bytes) in files {
        write_atomically(&path, &bytes)?;
        written.push(path);
    }
    Ok(written)
}

/// Paths of the files that are not there or hold something else. Pictures in PNG need not be there: version control keeps those in SVG.
pub(crate) fn stale(files: Files) -> Vec<PathBuf> {
    let need_not_be = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "png") && !path.exists();
    let differs = |(path, bytes): &(PathBuf, Vec<u8>)| {
        !need_not_be(path) && std::fs::read(path).map_or(true, |found| found != *bytes)
    };
    files.into_iter().filter(differs).map(|(path, _)| path).collect()
}
