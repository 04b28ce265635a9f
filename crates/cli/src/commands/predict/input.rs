//! Texts from standard input: one a line, or JSON lines.
//!
//! A thread reads, so that texts are answered as soon as no more input waits. It hands over one line at a time: no more of the input is
//! in memory than the texts that are predicted together.

use std::io::{BufRead, Read as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bayeslora_inference::Text;

use super::line::{Format, parse};

/// Texts predicted together at most: enough to fill the matrix products.
const TEXTS: usize = 16;
/// Bytes of text after which no further line is waited for.
const BYTES: usize = 1 << 20;
/// Longest line.
const LINE_BYTES: u64 = 256 << 20;
/// Time without a further line after which the texts at hand are answered: a program that writes many lines needs less for one.
const PATIENCE: Duration = Duration::from_millis(10);

/// What some editors and shells write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Texts of standard input, as they come.
pub(super) struct Input {
    lines: Receiver<anyhow::Result<Text>>,
    /// Whether the rest of the input is there already, as in a file: then texts go together by their number alone.
    is_file: bool,
    /// What ends the input after the texts before it.
    failure: Option<anyhow::Error>,
}

impl Input {
    /// Begins to read `input`, named `name` in messages.
    pub(super) fn read(input: impl BufRead + Send + 'static, is_file: bool, format: Format) -> Self {
        let (sender, lines) = sync_channel(0);
        std::thread::spawn(move || {
            for text in Texts::new(input, format) {
                // The receiver goes away with the command.
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
        Self { lines, is_file, failure: None }
    }

    /// The next texts to predict together; none at the end.
    ///
    /// # Errors
    /// What is wrong with a line, after the texts before it.
    pub(super) fn next(&mut self) -> anyhow::Result<Vec<Text>> {
        let mut texts: Vec<Text> = Vec::new();
        let mut bytes = 0;
        while self.failure.is_none() && texts.len() < TEXTS && bytes < BYTES {
            let line = if texts.is_empty() || self.is_file {
                self.lines.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.lines.recv_timeout(PATIENCE)
            };
            match line {
                Ok(Ok(text)) => {
                    bytes += text.text.len();
                    texts.push(text);
                }
                Ok(Err(failure)) => self.failure = Some(failure),
                Err(_) => break,
            }
        }
        match self.failure.take() {
            Some(failure) if texts.is_empty() => Err(failure),
            failure => {
                self.failure = failure;
                Ok(texts)
            }
        }
    }
}

/// The texts of an input, one after the other; the last is a failure if something is wrong.
struct Texts<R> {
    input: R,
    format: Format,
    /// Number of the line read last.
    number: u64,
    is_over: bool,
}

impl<R: BufRead> Texts<R> {
    fn new(input: R, format: Format) -> Self {
        Self { input, format, number: 0, is_over: false }
    }

    /// The next line without its end; none at the end of the input.
    fn line(&mut self) -> anyhow::Result<Option<String>> {
        let mut line = Vec::new();
        let read = self.input.by_ref().take(LINE_BYTES + 1).read_until(b'\n', &mut line);
        if read.context("standard input cannot be read")? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let number = self.number;
        if line.len() as u64 > LINE_BYTES {
            bail!(
                "standard input, line {number}: longer than {} MiB; expected one text a line, and little of a long one is read",
                LINE_BYTES >> 20
            );
        }
        if number == 1 {
            if is_utf16(&line) {
                bail!("standard input, line 1: UTF-16; expected UTF-8, as `iconv -f UTF-16 -t UTF-8` makes it");
            }
            if line.starts_with(BYTE_ORDER_MARK) {
                line.drain(..BYTE_ORDER_MARK.len());
            }
        }
        let mut line = String::from_utf8(line).map_err(|error| {
            let at = error.utf8_error().valid_up_to() + 1;
            anyhow!(
                "standard input, line {number}: not UTF-8 at byte {at}; convert it, as `iconv -f LATIN1 -t UTF-8` does"
            )
        })?;
        line.truncate(line.trim_end_matches(['\n', '\r']).len());
        Ok(Some(line))
    }

    /// The next text; none at the end of the input.
    fn text(&mut self) -> anyhow::Result<Option<Text>> {
        while let Some(line) = self.line()? {
            if !line.trim().is_empty() {
                return parse(line, self.number, &mut self.format).map(Some);
            }
        }
        Ok(None)
    }
}

impl<R: BufRead> Iterator for Texts<R> {
    type Item = anyhow::Result<Text>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let found = self.text().transpose();
        self.is_over = !matches!(found, Some(Ok(_)));
        found
    }
}

/// Whether bytes are the first line of UTF-16: after its mark, or where every second byte of the beginning is 0.
fn is_utf16(line: &[u8]) -> bool {
    let beginning = &line[..line.len().min(16)];
    let zeros = |first: usize| beginning.iter().skip(first).step_by(2).all(|&byte| byte == 0);
    line.starts_with(&[0xff, 0xfe]) || line.starts_with(&[0xfe, 0xff]) || line.len() >= 4 && (zeros(0) || zeros(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers and texts of an input, up to the first failure.
    fn texts(input: &[u8], format: Format) -> (Vec<(u64, String)>, Option<String>) {
        let (mut read, mut failure) = (Vec::new(), None);
        for text in Texts::new(input, format) {
            match text {
                Ok(text) => read.push((text.line, text.text)),
                Err(error) => failure = Some(format!("{error:#}")),
            }
        }
        (read, failure)
    }

    fn read(input: &[u8]) -> Vec<(u64, String)> {
        let (read, failure) = texts(input, Format::Auto);
        assert_eq!(failure, None);
        read
    }

    fn owned(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
        expected.iter().map(|&(line, text)| (line, text.to_owned())).collect()
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        assert_eq!(read(b"\xef\xbb\xbf{\"text\": \"a\"}\n"), owned(&[(1, "a")]));
        assert_eq!(read(b"\xef\xbb\xbfa\n"), owned(&[(1, "a")]));
    }

    #[test]
    fn blank_lines_are_skipped_and_counted() {
        let expected = owned(&[(3, "a"), (5, "b")]);
        assert_eq!(read(b"\n \n{\"text\": \"a\"}\r\n\n{\"text\": \"b\"}\n\n"), expected);
        assert_eq!(read(b"\n \r\na\n\nb"), expected);
        assert_eq!(read(b"\n\n"), owned(&[]));
    }

    #[test]
    fn line_ends_of_windows_are_no_part_of_the_text() {
        assert_eq!(read(b"a\r\nb \r\n"), owned(&[(1, "a"), (2, "b ")]));
    }

    #[test]
    fn what_precedes_a_failure_is_read() {
        let (read, failure) = texts(b"a\nb\n\xff\nc\n", Format::Auto);
        assert_eq!(read, owned(&[(1, "a"), (2, "b")]));
        assert!(failure.unwrap().starts_with("standard input, line 3: not UTF-8 at byte 1; convert it"));
    }

    #[test]
    fn utf16_is_refused_with_and_without_its_mark() {
        for input in [&b"\xff\xfea\0\n\0"[..], b"\xfe\xff\0a\0\n", b"a\0b\0c\0\n\0", b"\0a\0b\0c\0\n"] {
            let (read, failure) = texts(input, Format::Auto);
            assert!(read.is_empty() && failure.is_some_and(|failure| failure.contains("UTF-16")), "{input:?}");
        }
    }

    #[test]
    fn texts_go_together_as_long_as_more_wait() {
        let lines = "a\n".repeat(40).into_bytes();
        let mut input = Input::read(std::io::Cursor::new(lines), true, Format::Auto);
        let sizes: Vec<usize> = std::iter::from_fn(|| Some(input.next().unwrap().len())).take(4).collect();
        assert_eq!(sizes, [16, 16, 8, 0]);
    }

    #[test]
    fn long_texts_do_not_wait_for_company() {
        let line = format!("{}\n", "a ".repeat(BYTES));
        let mut input = Input::read(std::io::Cursor::new(line.repeat(2).into_bytes()), true, Format::Auto);
        assert_eq!([input.next().unwrap().len(), input.next().unwrap().len()], [1, 1]);
    }
}
