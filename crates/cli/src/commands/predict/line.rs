//! What a line of input means: a text as it stands, or a JSON object with its fields.

use anyhow::{bail, ensure};
use bayeslora_inference::Text;
use serde_json::{Map, Value};

/// Form of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// JSON lines where the first line that is not blank begins with `{`, texts otherwise.
    Auto,
    /// One text a line as it stands.
    Text,
    /// A JSON object a line, with its text in `text`, the second text of a pair in `text_pair`, and answers to choose from in `choices`. An empty `text_pair` makes a pair
    /// whose second text has no words, as in batches of transformers; without the field, or with null there, the text stands alone.
    #[value(alias = "json")]
    Jsonl,
    /// A JSON object a line with `prompt` and `completion`.
    #[value(skip)]
    Completions,
}

/// The field of a pair's second text.
const PAIR: &str = "text_pair";

/// Names under which data sets keep the second text of a pair, in [`plain`] letters. Left out, it would change the answer in silence.
const SECOND: [&str; 13] = [
    "pair",
    "textpair",
    "textpairs",
    "textb",
    "text2",
    "sentenceb",
    "sentence2",
    "second",
    "premise",
    "hypothesis",
    "passage",
    "question",
    "secondtext",
];

/// The name of a field without case, `-`, `_` and spaces.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}

/// The text of a line; the first one decides between the forms.
///
/// # Errors
/// For what is no text, with the line, what was found, and what to do.
pub(super) fn parse(line: String, number: u64, format: &mut Format) -> anyhow::Result<Text> {
    let start = line.trim_start();
    if *format == Format::Auto {
        ensure!(
            !start.starts_with('['),
            "standard input, line {number}: begins with [, as a JSON array does; expected JSON lines, an object a line \
             (`jq -c '.[]'` makes them of an array); for plain texts add --format text"
        );
        *format = if start.starts_with('{') { Format::Jsonl } else { Format::Text };
    }
    if *format == Format::Text {
        return Ok(Text { line: number, text: line, second: None, choices: None });
    }
    // Files that were joined keep their marks.
    if *format == Format::Completions {
        let found = fields(start.trim_start_matches('\u{feff}')).and_then(|fields| completion(&fields));
        let (text, completion) =
            found.map_err(|problem| anyhow::anyhow!("standard input, line {number}: {problem}"))?;
        return Ok(Text { line: number, text, second: None, choices: Some(vec![completion]) });
    }
    let found = fields(start.trim_start_matches('\u{feff}'))
        .and_then(|fields| Ok((texts(&fields)?, choices(&fields)?)))
        .map_err(|problem| anyhow::anyhow!("standard input, line {number}: {problem}"));
    let ((text, second), choices) = found?;
    Ok(Text { line: number, text, second, choices })
}

/// The fields of a JSON object.
fn fields(line: &str) -> anyhow::Result<Map<String, Value>> {
    const EXPECTED: &str = "expected a JSON object with a `text` field; for plain texts add --format text";
    match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => bail!("is {}; {EXPECTED}", kind(&other)),
        Err(error) if error.is_eof() => {
            bail!("the JSON object does not end on this line (`jq -c .` puts it on one); {EXPECTED}")
        }
        Err(error) => bail!("not JSON at column {}; {EXPECTED}", error.column()),
    }
}

/// The text among an object's fields, and the second one of a pair.
fn texts(fields: &Map<String, Value>) -> anyhow::Result<(String, Option<String>)> {
    let names = || fields.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let text = match fields.get("text") {
        Some(Value::String(text)) => text.clone(),
        Some(other) => bail!(
            "`text` is {} (fields: {}); expected a string; the second text of a pair goes into `text_pair`; to classify lines as they \
             stand add --format text",
            kind(other),
            names()
        ),
        None if fields.is_empty() => bail!("no fields; expected a `text` field, or add --format text"),
        None => bail!(
            "no `text` field among {}; rename the field with the text to `text`; to classify lines as they stand add --format text",
            names()
        ),
    };
    let second = match fields.get(PAIR) {
        None | Some(Value::Null) => None,
        Some(Value::String(second)) => Some(second.clone()),
        Some(other) => bail!("`text_pair` is {}; expected a string", kind(other)),
    };
    let is_second = |name: &str| name != PAIR && SECOND.contains(&plain(name).as_str());
    let other = fields.iter().find(|(name, value)| value.is_string() && is_second(name));
    if let (None, Some((other, _))) = (&second, other) {
        bail!(
            "`{other}` beside `text` looks like the second text of a pair; rename it to `text_pair`, or leave it out \
             to classify `text` alone"
        );
    }
    Ok((text, second))
}

/// The prompt and its completion among an object's fields.
fn completion(fields: &Map<String, Value>) -> anyhow::Result<(String, String)> {
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => bail!("`{name}` is {}; expected a string", kind(other)),
        None => bail!(
            "no `{name}` field; expected a JSON object with `prompt` and `completion`, as --completions reads them"
        ),
    };
    Ok((text("prompt")?, text("completion")?))
}

/// The answers to choose from among an object's fields.
fn choices(fields: &Map<String, Value>) -> anyhow::Result<Option<Vec<String>>> {
    let answers = match fields.get("choices") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(answers)) => answers,
        Some(other) => bail!("`choices` is {}; expected an array of strings, such as [\" yes\", \" no\"]", kind(other)),
    };
    ensure!(answers.len() >= 2, "`choices` has {} of the answers to choose from; expected two or more", answers.len());
    let text = |answer: &Value| match answer {
        Value::String(text) => Ok(text.clone()),
        other => bail!("`choices` has {}; expected strings alone, such as [\" yes\", \" no\"]", kind(other)),
    };
    answers.iter().map(text).collect::<anyhow::Result<_>>().map(Some)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str) -> Text {
        parse(line.to_owned(), 7, &mut Format::Auto.clone()).unwrap()
    }

    fn refusal(line: &str) -> String {
        parse(line.to_owned(), 7, &mut Format::Auto.clone()).unwrap_err().to_string()
    }

    #[test]
    fn the_first_line_decides_between_texts_and_json() {
        assert_eq!(text("a movie").text, "a movie");
        assert_eq!(text(" {\"id\": 3, \"text\": \"a movie\"}").text, "a movie");
        let mut format = Format::Auto;
        parse("a movie".to_owned(), 1, &mut format).unwrap();
        assert_eq!(parse("{x".to_owned(), 2, &mut format).unwrap().text, "{x");
    }

    #[test]
    fn a_pair_has_a_second_text() {
        assert_eq!(text(r#"{"text": "a", "text_pair": "b"}"#).second.as_deref(), Some("b"));
        assert_eq!(text(r#"{"text": "a", "text_pair": ""}"#).second.as_deref(), Some(""));
        assert_eq!(text(r#"{"text": "a", "text_pair": null}"#).second, None);
    }

    #[test]
    fn a_second_text_under_another_name_is_not_left_out_in_silence() {
        assert!(refusal(r#"{"text": "a", "hypothesis": "b"}"#).contains("`hypothesis` beside `text`"));
        for name in [
            "text-pair",
            "TextPair",
            "textPair",
            "TEXT_PAIR",
            "text_pairs",
            "pair",
            "Text_B",
            "text2",
            "text-2",
            "sentenceB",
            "Sentence_2",
            "second",
            "premise",
            "passage",
            "Question",
        ] {
            let message = refusal(&format!(r#"{{"text": "a", "{name}": "b"}}"#));
            assert!(message.contains(&format!("`{name}` beside `text` looks like")), "{message}");
        }
        for name in ["query", "document", "context", "id", "paired"] {
            assert_eq!(text(&format!(r#"{{"text": "a", "{name}": "b"}}"#)).second, None);
        }
        assert!(refusal(r#"{"text": "a", "text_pair": 3}"#).contains("`text_pair` is a number; expected a string"));
    }

    #[test]
    fn an_object_without_text_is_refused_with_its_fields() {
        let message = refusal(r#"{"sentence": "a movie", "label": 1}"#);
        assert!(message.contains("line 7: no `text` field among `label`, `sentence`; rename"), "{message}");
        assert!(message.contains("--format text"), "{message}");
    }

    #[test]
    fn a_text_that_is_no_string_is_refused_with_what_it_is() {
        let message = refusal(r#"{"text": ["a", "b"]}"#);
        assert!(message.contains("`text` is an array (fields: `text`); expected a string"), "{message}");
        assert!(message.contains("--format text"), "{message}");
    }

    #[test]
    fn answers_to_choose_from_are_two_strings_or_more() {
        let given = text(r#"{"text": "a", "choices": [" b", " c d"]}"#).choices;
        assert_eq!(given, Some(vec![" b".to_owned(), " c d".to_owned()]));
        assert_eq!(text(r#"{"text": "a", "choices": null}"#).choices, None);
        for (value, says) in [
            ("3", "`choices` is a number; expected an array of strings"),
            ("[]", "`choices` has 0 of the answers"),
            ("[\"a\"]", "`choices` has 1 of the answers"),
            ("[\"a\", 3]", "`choices` has a number; expected strings alone"),
        ] {
            let message = refusal(&format!(r#"{{"text": "a", "choices": {value}}}"#));
            assert!(message.contains("line 7") && message.contains(says), "{message}");
        }
    }

    #[test]
    fn a_completion_stands_beside_its_prompt() {
        let read = |line: &str| parse(line.to_owned(), 3, &mut Format::Completions.clone());
        let found = read(r#"{"prompt": "a", "completion": " b", "id": 4}"#).unwrap();
        assert_eq!((found.text.as_str(), found.choices, found.line), ("a", Some(vec![" b".to_owned()]), 3));
        for (line, says) in [
            (r#"{"prompt": "a"}"#, "no `completion` field"),
            (r#"{"text": "a", "completion": "b"}"#, "no `prompt` field"),
            (r#"{"prompt": "a", "completion": ["b"]}"#, "`completion` is an array; expected a string"),
        ] {
            let message = read(line).unwrap_err().to_string();
            assert!(message.contains("line 3") && message.contains(says), "{message}");
        }
    }

    #[test]
    fn what_is_no_json_line_is_refused_with_what_to_do() {
        for (line, says) in [
            ("[{\"text\": \"a\"}]", "begins with [, as a JSON array does"),
            ("[", "`jq -c '.[]'`"),
            ("{", "does not end on this line (`jq -c .` puts it on one)"),
            ("{spoiler} a movie", "not JSON at column 2"),
            ("{}", "no fields"),
        ] {
            let message = refusal(line);
            assert!(message.contains(says) && message.contains("--format text"), "{message}");
        }
        let refused = parse("oops".to_owned(), 20, &mut Format::Jsonl.clone()).unwrap_err().to_string();
        assert!(
            refused.starts_with("standard input, line 20: not JSON at column 1; expected a JSON object"),
            "{refused}"
        );
    }
}
