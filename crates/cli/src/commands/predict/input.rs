//! Texts from lines: plain, or JSON objects.

use std::io::{self, BufRead as _, BufReader, Read};
use std::sync::mpsc::{Receiver, sync_channel};

use anyhow::{Context as _, bail, ensure};
use bayeslora_inference::Text;
use serde_json::{Map, Value};

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Decided by the first line that is not blank.
    Auto,
    /// A text.
    Text,
    /// A JSON object with a field `text` and, for a pair of texts, `text_pair`; other fields are the user's own.
    Json,
}

/// Lines that are read ahead of their answers.
const AHEAD: usize = 64;
/// Longest line, in bytes.
const LONGEST: usize = 256 << 20;

/// The lines of `input`, each with its end, read by a thread of its own, so that what has arrived can be told from what has not.
pub(super) fn lines(input: impl Read + Send + 'static) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = sync_channel(AHEAD);
    std::thread::spawn(move || {
        let mut input = BufReader::new(input);
        loop {
            let mut line = Vec::new();
            let read = input.by_ref().take(LONGEST as u64 + 1).read_until(b'\n', &mut line);
            // The last line, and a receiver that has gone away, end the thread.
            let is_last = !matches!(read, Ok(1..));
            if matches!(read, Ok(0)) || sender.send(read.map(|_| line)).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

/// Reads texts from numbered lines.
pub(super) struct Parser {
    format: Format,
    line: u64,
}

impl Parser {
    pub(super) fn new(format: Format) -> Self {
        Self { format, line: 0 }
    }

    /// The text of the next line; none for a blank one.
    ///
    /// # Errors
    /// One line that names the line's number, what it is and what was expected.
    pub(super) fn parse(&mut self, line: &[u8]) -> anyhow::Result<Option<Text>> {
        self.line += 1;
        let number = self.line;
        let place = || format!("standard input, line {number}");
        ensure!(line.len() <= LONGEST, "{}: longer than {LONGEST} bytes; expected one text a line", place());
        if number == 1 && (line.starts_with(&[0xff, 0xfe]) || line.starts_with(&[0xfe, 0xff])) {
            bail!("{}: UTF-16; expected UTF-8: convert it with `iconv -f UTF-16 -t UTF-8`", place());
        }
        let line = std::str::from_utf8(line).with_context(|| format!("{}: not UTF-8", place()))?;
        let line = if number == 1 { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
        let line = line.trim_end_matches(['\n', '\r']);
        if line.trim().is_empty() {
            return Ok(None);
        }
        if self.format == Format::Auto {
            self.format = match line.trim_start().chars().next() {
                Some('[') => bail!(
                    "{}: begins with [, as a JSON array does; expected one text or one JSON object a line (`jq -c '.[]'` writes an \
                     array so), or --format text if it is a text",
                    place()
                ),
                Some('{') => Format::Json,
                _ => Format::Text,
            };
        }
        if self.format == Format::Text {
            return Ok(Some(Text { line: number, text: line.to_owned(), second: None }));
        }
        let hint = "expected {\"text\": \"...\"} on each line; --format text takes lines as they are";
        let fields: Map<String, Value> = serde_json::from_str(line)
            .map_err(|error| anyhow::anyhow!("{}: not a JSON object ({error}); {hint}", place()))?;
        let found = || fields.keys().cloned().collect::<Vec<_>>().join(", ");
        let field = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => bail!("{}: the field {name} is no string (fields found: {}); {hint}", place(), found()),
        };
        match field("text")? {
            Some(text) => Ok(Some(Text { line: number, text, second: field("text_pair")? })),
            None => bail!("{}: no field text (fields found: {}); {hint}", place(), found()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(format: Format, input: &[u8]) -> Result<Vec<(u64, String, Option<String>)>, String> {
        let mut parser = Parser::new(format);
        let mut texts = Vec::new();
        for line in lines(io::Cursor::new(input.to_vec())) {
            let text = parser.parse(&line.unwrap()).map_err(|error| format!("{error:#}"))?;
            texts.extend(text.map(|text| (text.line, text.text, text.second)));
        }
        Ok(texts)
    }

    fn alone(line: u64, text: &str) -> (u64, String, Option<String>) {
        (line, text.to_owned(), None)
    }

    #[test]
    fn blank_lines_are_skipped_and_counted() {
        let expected = Ok(vec![alone(2, "a"), alone(4, "b")]);
        assert_eq!(texts(Format::Auto, b"\na\n  \r\nb\r\n\n"), expected);
        assert_eq!(texts(Format::Auto, b"\n{\"text\": \"a\"}\n\n{\"text\": \"b\", \"id\": 7}\n\n"), expected);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        assert_eq!(texts(Format::Auto, "\u{feff}{\"text\": \"a\"}".as_bytes()), Ok(vec![alone(1, "a")]));
        assert_eq!(texts(Format::Auto, "\u{feff}a".as_bytes()), Ok(vec![alone(1, "a")]));
    }

    #[test]
    fn a_pair_is_a_pair() {
        let found =
            texts(Format::Json, b"{\"text\": \"a\", \"text_pair\": \"b\"}\n{\"text\": \"a\", \"text_pair\": null}");
        assert_eq!(found, Ok(vec![(1, "a".to_owned(), Some("b".to_owned())), alone(2, "a")]));
    }

    #[test]
    fn what_is_no_text_says_what_it_is_and_what_to_do() {
        for (format, input, expected) in [
            (Format::Auto, &b"\n[{\"text\": \"a\"}]"[..], "line 2: begins with [, as a JSON array does; "),
            (Format::Auto, b"{\n \"text\": \"a\"}", "line 1: not a JSON object ("),
            (Format::Auto, b"{spoiler} a", "--format text takes lines as they are"),
            (Format::Auto, b"{\"sentence\": \"a\", \"label\": 1}", "no field text (fields found: label, sentence); "),
            (Format::Json, b"{\"text\": [\"a\"]}", "the field text is no string (fields found: text); "),
            (Format::Json, b"{\"text\": \"a\", \"text_pair\": 3}", "the field text_pair is no string"),
            (Format::Json, b"{\"text\": \"a\"}\nb", "line 2: not a JSON object ("),
            (Format::Auto, b"\xff\xfea\0", "line 1: UTF-16; expected UTF-8"),
            (Format::Auto, b"a\n\xc3(\n", "line 2: not UTF-8"),
        ] {
            let message = texts(format, input).unwrap_err();
            assert!(message.starts_with("standard input, line ") && message.contains(expected), "{message}");
        }
        assert_eq!(texts(Format::Text, b"[a]\n{b}"), Ok(vec![alone(1, "[a]"), alone(2, "{b}")]));
    }
}
