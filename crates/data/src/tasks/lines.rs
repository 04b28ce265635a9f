//! Text files of tasks as numbered lines and records, with what is wrong said of the line it is on.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A file as lines of UTF-8.
pub(super) struct Table {
    path: PathBuf,
    text: String,
}

impl Table {
    pub(super) fn read(path: PathBuf) -> Result<Self> {
        let text = read_text(&path)?;
        Ok(Self { path, text })
    }

    /// A file in which the byte `blank`, not ASCII, stands for a space.
    pub(super) fn read_with_blank(path: PathBuf, blank: u8) -> Result<Self> {
        let mut bytes = read_bytes(&path)?;
        for byte in bytes.iter_mut().filter(|byte| **byte == blank) {
            *byte = b' ';
        }
        let text = utf8(&path, bytes)?;
        Ok(Self { path, text })
    }

    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let text = self.text.strip_prefix('\u{feff}').unwrap_or(&self.text);
        text.lines().enumerate().map(|(index, text)| Line { path: &self.path, number: index + 1, text })
    }
}

/// A line and where it is.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    path: &'a Path,
    /// From 1.
    pub(super) number: usize,
    text: &'a str,
}

impl<'a> Line<'a> {
    pub(super) fn text(self) -> &'a str {
        self.text
    }

    /// The tab-separated fields, exactly as many as asked for.
    pub(super) fn fields<const N: usize>(self, names: &str) -> Result<[&'a str; N]> {
        let fields: Vec<_> = self.text.split('\t').collect();
        let found = format!("{} in", fields.len());
        fields.try_into().map_err(|_| {
            let mut error = self.error(&format!("{N} fields separated by tabs ({names})"), self.text);
            if let Error::TaskLine { found: text, .. } = &mut error {
                *text = format!("{found} {text}");
            }
            error
        })
    }

    pub(super) fn error(self, expected: &str, found: &str) -> Error {
        const LONGEST: usize = 60;
        let shown: String = found.chars().take(LONGEST).collect();
        let rest = if shown.len() < found.len() { "..." } else { "" };
        Error::TaskLine {
            path: self.path.to_owned(),
            line: self.number,
            expected: expected.to_owned(),
            found: format!("{shown:?}{rest}"),
        }
    }
}

/// A whole file of UTF-8.
pub(super) fn read_text(path: &Path) -> Result<String> {
    utf8(path, read_bytes(path)?)
}

fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| Error::TaskFile { path: path.to_owned(), source })
}

fn utf8(path: &Path, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let (good, bad) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let line = good.split(|byte| *byte == b'\n').count();
        let found = format!("the byte 0x{:02x}", bad.first().copied().unwrap_or_default());
        Error::TaskLine { path: path.to_owned(), line, expected: "UTF-8".to_owned(), found }
    })
}

/// The records of a CSV file with exactly `N` fields each (RFC 4180: quoted fields may hold commas and line breaks), and the line that each
/// begins on. `names` are those of the fields, for messages.
pub(super) fn csv_records<const N: usize>(path: &Path, names: &str) -> Result<Vec<(usize, [String; N])>> {
    let bytes = read_bytes(path)?;
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&bytes[..]);
    let mut records = Vec::new();
    let (mut line, mut counted) = (1, 0);
    for record in reader.byte_records() {
        let refused = |line: usize, expected: String, found: String| Error::TaskLine {
            path: path.to_owned(),
            line,
            expected,
            found,
        };
        let record = record.map_err(|error| refused(0, "a record of a CSV file".to_owned(), error.to_string()))?;
        // The reader's own count is behind by one after CRLF: it stops between the two.
        let end = record.position().and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(0);
        let breaks = bytes[end..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        line += bytes[counted..end + breaks].split(|byte| *byte == b'\n').count() - 1;
        counted = end + breaks;
        let fields: Vec<&[u8]> = record.iter().collect();
        let count = fields.len();
        let fields: [&[u8]; N] = fields
            .try_into()
            .map_err(|_| refused(line, format!("{N} fields separated by commas ({names})"), format!("{count}")))?;
        let mut texts = [const { String::new() }; N];
        for (text, field) in texts.iter_mut().zip(fields) {
            *text = String::from_utf8(field.to_vec()).map_err(|error| {
                let bad = error.as_bytes()[error.utf8_error().valid_up_to()];
                refused(line, "UTF-8".to_owned(), format!("the byte 0x{bad:02x} in the record that begins here"))
            })?;
        }
        records.push((line, texts));
    }
    Ok(records)
}

/// A malformed place in a file that was read as records.
pub(super) fn malformed(path: &Path, line: usize, expected: &str, found: &str) -> Error {
    Line { path, number: line, text: "" }.error(expected, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(content: &[u8]) -> Result<Vec<(usize, [String; 2])>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.csv");
        fs::write(&path, content).unwrap();
        csv_records(&path, "text, category")
            .map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
    }

    #[test]
    fn quoted_fields_hold_commas_quotes_and_line_breaks() {
        let found = records(b"a,x\r\n\"one, \"\"two\"\"\nthree\",y\r\nb,z").unwrap();
        let field = |line: usize, text: &str, category: &str| (line, [text.to_owned(), category.to_owned()]);
        assert_eq!(found, [field(1, "a", "x"), field(2, "one, \"two\"\nthree", "y"), field(4, "b", "z")]);
    }

    #[test]
    fn malformed_records_name_file_and_line() {
        assert_eq!(
            records(b"a,x\nb\n").unwrap_err(),
            "some.csv, line 2: expected 2 fields separated by commas (text, category), found 1"
        );
        assert_eq!(
            records(b"a,x\nb\xe9,y\n").unwrap_err(),
            "some.csv, line 2: expected UTF-8, found the byte 0xe9 in the record that begins here"
        );
    }
}
