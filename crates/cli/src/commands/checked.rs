//! A committed page beside the page that a command makes: numbers may differ by the machine, words may not.

use std::path::Path;

/// Refuses a page whose words are not those that were made.
///
/// # Errors
/// The first line that differs, of both.
pub(crate) fn same_words(path: &Path, there: &str, made: &str) -> anyhow::Result<()> {
    let (there, made) = (words(there), words(made));
    let differing = (0..there.len().max(made.len())).find(|&line| there.get(line) != made.get(line));
    let Some(line) = differing else { return Ok(()) };
    let of = |table: &[String]| table.get(line).map_or_else(|| "no such line".to_owned(), Clone::clone);
    anyhow::bail!(
        "{}: the table is not what this command makes:\n  line {}, there: {}\n  made: {}\nRun the command without --check and commit.",
        path.display(),
        line + 1,
        of(&there),
        of(&made)
    );
}

/// Lines with `#` for every number; names of claims are none.
fn words(table: &str) -> Vec<String> {
    let line = |line: &str| {
        let is_number = |word: &str| {
            let inner = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
            !inner.starts_with(|c: char| c.is_ascii_alphabetic()) && inner.parse::<f64>().is_ok()
        };
        let word = |word| if is_number(word) { "#" } else { word };
        line.split(' ').map(word).collect::<Vec<_>>().join(" ")
    };
    table.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_differ_and_words_may_not() {
        let same = |left, right| same_words(Path::new("table.md"), left, right).is_ok();
        assert!(same("| F1 | **holds** | 0.9993 [0.9975, 1.0011] |", "| F1 | **holds** | 1.0 [0.98, 1.02] |"));
        assert!(!same("| F1 | **holds** | 1 |", "| F1 | **fails** | 1 |"));
        assert!(!same("| F1 | **holds** | 1 |", "| F2 | **holds** | 1 |"));
        assert!(!same("a\nb", "a"));
    }
}
