//! Files that say what they should be: JSON with the digest of everything else in it, so that a number changed by hand or by accident is noticed.

use std::io::{self, Write};
use std::path::Path;

use bayeslora_host::{read, sha256_hex, write_atomically};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};
use serde_json::{Serializer, Value};

use crate::error::{Error, Result};

/// SHA-256 of a value's compact JSON text, in hex. The value's own field for it must be empty.
pub(crate) fn digest_of(value: &impl Serialize) -> String {
    // What is sealed here has text for keys, and cannot fail to be encoded.
    sha256_hex(&serde_json::to_vec(value).unwrap_or_default())
}

pub(crate) fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, Lines::default());
    value.serialize(&mut serializer).map_err(|error| file(path, format!("cannot be encoded ({error})")))?;
    bytes.push(b'\n');
    Ok(write_atomically(path, &bytes)?)
}

/// The value in a file of this layout; `kind` says what the file is.
pub(crate) fn read_as<T: DeserializeOwned>(path: &Path, kind: &str, schema: u32) -> Result<T> {
    let bytes = read(path)?;
    let damaged =
        |error: serde_json::Error| file(path, format!("is no {kind} of this program ({error}); make it again"));
    let value: Value = serde_json::from_slice(&bytes).map_err(damaged)?;
    match value.get("schema").and_then(Value::as_u64) {
        Some(got) if got == u64::from(schema) => serde_json::from_slice(&bytes).map_err(damaged),
        Some(got) => Err(file(path, format!("has layout {got}; this program reads layout {schema}: make it again"))),
        None => Err(file(path, format!("is no {kind} of this program (it has no schema); make it again"))),
    }
}

pub(crate) fn file(path: &Path, problem: String) -> Error {
    Error::File { path: path.to_owned(), problem }
}

/// A line a member, but lists of numbers on one line and lists of objects with one line each: a thousand scores are no thousand lines.
#[derive(Default)]
struct Lines {
    pretty: PrettyFormatter<'static>,
    /// Objects open outside of lists.
    depth: usize,
    /// Lists and objects open from the outermost list on.
    inner: usize,
}

impl Formatter for Lines {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner += 1;
        CompactFormatter.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner = self.inner.saturating_sub(1);
        CompactFormatter.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        CompactFormatter.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        CompactFormatter.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match self.inner {
            0 => {
                self.depth += 1;
                return self.pretty.begin_object(writer);
            }
            1 => write!(writer, "\n{:1$}", "", 2 * (self.depth + 1))?,
            _ => {}
        }
        self.inner += 1;
        CompactFormatter.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.inner == 0 {
            self.depth = self.depth.saturating_sub(1);
            return self.pretty.end_object(writer);
        }
        self.inner -= 1;
        CompactFormatter.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if self.inner == 0 {
            self.pretty.begin_object_key(writer, first)
        } else {
            CompactFormatter.begin_object_key(writer, first)
        }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        // Only what is outside of lists has members on lines of their own.
        if self.inner == 0 { self.pretty.end_object_value(writer) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_take_one_line_and_objects_in_them_one_each() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.json");
        let value =
            json!({"a": [1.5, [2, 3]], "b": {"c": [], "d": [{"e": {"f": [1]}, "g": 0}, {}], "h": {}}, "i": null});
        write(&path, &value).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = r#"{
  "a": [1.5,[2,3]],
  "b": {
    "c": [],
    "d": [
      {"e": {"f": [1]},"g": 0},
      {}],
    "h": {}
  },
  "i": null
}
"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
