//! Files that are made from records: written, or compared with what lies there.

use std::path::{Path, PathBuf};

use bayeslora_host::write_atomically;

use crate::error::Result;

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

/// Whether a file is not there or holds something else than `bytes`. `summary.json` says the same as `table.csv` beside it: it need not be
/// there, and is not in version control.
pub fn is_stale(path: &Path, bytes: &[u8]) -> bool {
    if path.ends_with("summary.json") && !path.exists() {
        return false;
    }
    std::fs::read(path).map_or(true, |found| found != bytes)
}

/// Paths of the stale ones.
pub(crate) fn stale(files: Files) -> Vec<PathBuf> {
    files.into_iter().filter(|(path, bytes)| is_stale(path, bytes)).map(|(path, _)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_stale_when_it_differs_or_is_missing_and_nothing_beside_it_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        for (name, missing) in [("table.md", true), ("a.svg", true), ("summary.json", false), ("a.json", true)] {
            let path = folder.path().join(name);
            assert_eq!(is_stale(&path, b"this"), missing, "{name} is not there");
            std::fs::write(&path, "this").unwrap();
            assert!(!is_stale(&path, b"this") && is_stale(&path, b"that"), "{name}");
        }
    }
}
