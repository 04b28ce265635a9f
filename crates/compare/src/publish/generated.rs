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

/// Files that `bayeslora report` makes from records in seconds and that no page shows: they need not be there, and are not in version
/// control.
const NOT_KEPT: [&str; 9] = [
    "beyond.csv",
    "contrasts.csv",
    "table.csv",
    "table.tex",
    "summary.json",
    "risk_coverage.svg",
    "reliability.svg",
    "entropy_histograms.svg",
    "mutual_information_histograms.svg",
];

/// Whether a file is not there or holds something else than `bytes`.
pub fn is_stale(path: &Path, bytes: &[u8]) -> bool {
    std::fs::read(path).map_or(true, |found| found != bytes)
}

/// Paths of the stale ones among files that are made from records.
pub(crate) fn stale(files: Files) -> Vec<PathBuf> {
    let is_missed = |path: &Path| path.exists() || !NOT_KEPT.iter().any(|name| path.ends_with(name));
    files.into_iter().filter(|(path, bytes)| is_missed(path) && is_stale(path, bytes)).map(|(path, _)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_stale_when_it_differs_or_is_missing_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        for (name, kept) in [
            ("table.md", true),
            ("a.svg", true),
            ("summary.json", false),
            ("table.csv", false),
            ("beyond.csv", false),
            ("contrasts.csv", false),
        ] {
            let path = folder.path().join(name);
            let is_stale = |bytes: &[u8]| !stale(vec![(path.clone(), bytes.to_vec())]).is_empty();
            assert_eq!(is_stale(b"this"), kept, "{name} is not there");
            std::fs::write(&path, "this").unwrap();
            assert!(!is_stale(b"this") && is_stale(b"that"), "{name}");
        }
    }
}
