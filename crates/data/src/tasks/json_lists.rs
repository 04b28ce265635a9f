//! A JSON object of lists of pairs of strings, or one list of values, with the line that each pair or value begins on.

use std::path::Path;

use serde_json::{Deserializer, Value};

use super::lines::{malformed, read_text};
use crate::error::{Error, Result};

/// One list of the object.
pub(super) struct List {
    pub(super) name: String,
    /// Line of its name, from 1.
    pub(super) line: usize,
    pub(super) pairs: Vec<Pair>,
}

/// Two strings, and the line on which their list begins.
pub(super) struct Pair {
    pub(super) line: usize,
    pub(super) fields: [String; 2],
}

/// The lists of `path` in the order of the file; `names` says what a pair holds, for messages.
///
/// # Errors
/// [`Error::TaskFile`] for a file that cannot be read, [`Error::TaskLine`] for one of another form.
pub(super) fn read(path: &Path, names: &str) -> Result<Vec<List>> {
    let text = read_text(path)?;
    let mut cursor = Cursor { path, text: &text, at: 0, line: 1 };
    let mut lists = Vec::new();
    cursor.expect('{', "an object of lists")?;
    if !cursor.take('}') {
        loop {
            lists.push(cursor.list(names)?);
            if !cursor.take(',') {
                break cursor.expect('}', "a comma or the end of the object")?;
            }
        }
    }
    match cursor.peek() {
        None => Ok(lists),
        Some(_) => Err(cursor.refused("the end of the file after the object")),
    }
}

/// The values of the list that `path` holds, each with the line it begins on; `expected` says what a value is.
///
/// # Errors
/// As [`read`].
pub(super) fn values(path: &Path, expected: &str) -> Result<Vec<(usize, Value)>> {
    let text = read_text(path)?;
    let mut cursor = Cursor { path, text: &text, at: 0, line: 1 };
    let mut values = Vec::new();
    cursor.expect('[', "a list")?;
    if !cursor.take(']') {
        loop {
            values.push(cursor.value(expected)?);
            if !cursor.take(',') {
                break cursor.expect(']', "a comma or the end of the list")?;
            }
        }
    }
    match cursor.peek() {
        None => Ok(values),
        Some(_) => Err(cursor.refused("the end of the file after the list")),
    }
}

/// A place in the file. The whole is not one value of the parser, since that forgets on which line a value was.
struct Cursor<'a> {
    path: &'a Path,
    text: &'a str,
    /// In bytes.
    at: usize,
    /// From 1.
    line: usize,
}

impl Cursor<'_> {
    fn list(&mut self, names: &str) -> Result<List> {
        let (line, name) = self.value("the name of a list")?;
        let Value::String(name) = name else {
            return Err(malformed(self.path, line, "the name of a list", &name.to_string()));
        };
        self.expect(':', "a colon after the name of a list")?;
        self.expect('[', "a list of lists")?;
        let mut pairs = Vec::new();
        if !self.take(']') {
            loop {
                pairs.push(self.pair(names)?);
                if !self.take(',') {
                    break self.expect(']', "a comma or the end of the list")?;
                }
            }
        }
        Ok(List { name, line, pairs })
    }

    fn pair(&mut self, names: &str) -> Result<Pair> {
        let expected = format!("a list of two strings ({names})");
        let (line, value) = self.value(&expected)?;
        match serde_json::from_value(value.clone()) {
            Ok(fields) => Ok(Pair { line, fields }),
            Err(_) => Err(malformed(self.path, line, &expected, &value.to_string())),
        }
    }

    /// The next value, and the line on which it begins.
    fn value(&mut self, expected: &str) -> Result<(usize, Value)> {
        self.skip_space();
        let line = self.line;
        let mut values = Deserializer::from_str(&self.text[self.at..]).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                self.advance(values.byte_offset());
                Ok((line, value))
            }
            None => Err(self.refused(expected)),
            Some(Err(error)) => {
                let line = line + error.line().saturating_sub(1);
                let found = self.text.lines().nth(line - 1).unwrap_or_default().trim();
                Err(malformed(self.path, line, &format!("{expected}, as JSON"), found))
            }
        }
    }

    fn expect(&mut self, wanted: char, expected: &str) -> Result<()> {
        if self.take(wanted) { Ok(()) } else { Err(self.refused(expected)) }
    }

    fn take(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.advance(wanted.len_utf8());
        }
        there
    }

    /// What comes after white space.
    fn peek(&mut self) -> Option<char> {
        self.skip_space();
        self.text[self.at..].chars().next()
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.advance(rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len());
    }

    fn advance(&mut self, bytes: usize) {
        self.line += self.text[self.at..self.at + bytes].matches('\n').count();
        self.at += bytes;
    }

    fn refused(&self, expected: &str) -> Error {
        malformed(self.path, self.line, expected, self.text[self.at..].lines().next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(content: &str) -> Result<Vec<List>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.json");
        std::fs::write(&path, content).unwrap();
        read(&path, "text, intent")
            .map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
    }

    #[test]
    fn every_pair_has_the_line_it_begins_on_however_the_file_is_laid_out() {
        let content = "{\n  \"a\": [\n    [\n      \"one\\n\\u00e9, [\", \n      \"x\"\n    ], [\"two\", \"y\"],\r\n\n[\"\u{e9}\", \"z\"]],\n\"b\" : [ ] }\n";
        let found = lists(content).unwrap();
        let pairs = |list: &List| -> Vec<(usize, String)> {
            list.pairs.iter().map(|pair| (pair.line, pair.fields.join("|"))).collect()
        };
        assert_eq!((found[0].name.as_str(), found[0].line, found[1].name.as_str(), found[1].line), ("a", 2, "b", 9));
        let expected = [(3, "one\n\u{e9}, [|x"), (6, "two|y"), (8, "\u{e9}|z")];
        assert_eq!(pairs(&found[0]), expected.map(|(line, text)| (line, text.to_owned())));
        assert!(found[1].pairs.is_empty() && found.len() == 2);
        assert!(lists(" {} ").unwrap().is_empty());
    }

    #[test]
    fn another_form_is_refused_with_line_and_value() {
        let refusal = |content| lists(content).map(|lists| lists.len()).unwrap_err();
        let pair = "expected a list of two strings (text, intent)";
        for (content, expected) in [
            ("", "line 1: expected an object of lists, found \"\"".to_owned()),
            ("\n[1]", "line 2: expected an object of lists, found \"[1]\"".to_owned()),
            ("{\n3: []}", "line 2: expected the name of a list, found \"3\"".to_owned()),
            ("{\"a\" []}", "line 1: expected a colon after the name of a list, found \"[]}\"".to_owned()),
            ("{\"a\": 3}", "line 1: expected a list of lists, found \"3}\"".to_owned()),
            ("{\"a\": [\n[\n\"b\",\n4]]}", format!("line 2: {pair}, found \"[\\\"b\\\",4]\"")),
            ("{\"a\": [\n[\"b\"]]}", format!("line 2: {pair}, found \"[\\\"b\\\"]\"")),
            ("{\"a\": [\n[\"b\",\"c\",\"d\"]]}", format!("line 2: {pair}, found \"[\\\"b\\\",\\\"c\\\",\\\"d\\\"]\"")),
            ("{\"a\": [\n[\"b\",\n  \"c\"]\n, ]}", format!("line 4: {pair}, as JSON, found \", ]}}\"")),
            ("{\"a\": [\n[\"b\",\n  c]]}", format!("line 3: {pair}, as JSON, found \"c]]}}\"")),
            (
                "{\"a\": [[\"b\", \"c\"]\n[]]}",
                "line 2: expected a comma or the end of the list, found \"[]]}\"".to_owned(),
            ),
            ("{\"a\": [[\"b\", \"c\"],\n", format!("line 2: {pair}, found \"\"")),
            (
                "{\"a\": []\n\"b\": []}",
                "line 2: expected a comma or the end of the object, found \"\\\"b\\\": []}\"".to_owned(),
            ),
            ("{}\n{}", "line 2: expected the end of the file after the object, found \"{}\"".to_owned()),
        ] {
            assert_eq!(refusal(content), format!("some.json, {expected}"), "{content:?}");
        }
    }

    #[test]
    fn values_of_one_list_have_their_lines_too() {
        let values = |content: &str| -> Result<Vec<(usize, String)>, String> {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("some.json");
            std::fs::write(&path, content).unwrap();
            let found = values(&path, "an object")
                .map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))?;
            Ok(found.into_iter().map(|(line, value)| (line, value.to_string())).collect())
        };
        let found = values("[\n  {\n \"a\": 1},\n {\"a\": \"[\"}\n]\n").unwrap();
        assert_eq!(found, [(2, "{\"a\":1}".to_owned()), (4, "{\"a\":\"[\"}".to_owned())]);
        assert!(values("[]").unwrap().is_empty());
        for (content, expected) in [
            ("{}", "line 1: expected a list, found \"{}\""),
            ("[\n{},\n{\"a\" 1}]", "line 3: expected an object, as JSON, found \"{\\\"a\\\" 1}]\""),
            ("[{}\n{}]", "line 2: expected a comma or the end of the list, found \"{}]\""),
            ("[{}]\n[]", "line 2: expected the end of the file after the list, found \"[]\""),
        ] {
            assert_eq!(values(content).unwrap_err(), format!("some.json, {expected}"), "{content:?}");
        }
    }
}
