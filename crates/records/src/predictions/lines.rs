//! Predictions as JSON lines, the form that any program can write: `{"id", "label"?, "probs" or "logits", "correct"?, "score"?, "group"?, "sha256"?}`.
//!
//! Outputs are `[..]`, one number a class, or `[[..], ..]`, one row a sample. What one line has, every line has; a label may be missing.

use std::collections::BTreeMap;
use std::path::Path;

use bayeslora_host::read;
use ndarray::Array3;
use serde::Deserialize;

use super::about::{About, Samples};
use super::outputs::{Kind, Outputs, Values};
use super::set::{Identity, Predictions};
use crate::error::{Error, Result};

/// The most lines that are read; beyond, the folder takes a tenth of the room and of the time.
pub const MOST_LINES: usize = 100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    label: Option<i64>,
    probs: Option<Rows>,
    logits: Option<Rows>,
    correct: Option<bool>,
    score: Option<f64>,
    group: Option<String>,
    sha256: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Rows {
    One(Vec<f64>),
    Many(Vec<Vec<f64>>),
}

impl Rows {
    fn into_samples(self) -> Vec<Vec<f64>> {
        match self {
            Self::One(row) => vec![row],
            Self::Many(rows) => rows,
        }
    }
}

/// Outputs of lines so far.
struct Growing {
    kind: Kind,
    samples: usize,
    classes: usize,
    /// `[examples, samples, classes]`.
    values: Vec<f64>,
}

/// Reads predictions from a file of JSON lines. Its score is named `score`, and its samples, where there are several, are taken to be draws from
/// a posterior.
///
/// # Errors
/// [`Error::Store`] naming the file and the line or the id: more than [`MOST_LINES`] lines, a line that is not as described or has other fields than
/// the first or another shape, and what [`Predictions::checked`] refuses.
pub fn read_lines(path: &Path) -> Result<Predictions> {
    let refused = |problem: String| Error::Store { path: path.to_owned(), problem };
    let bytes = read(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| refused("is no UTF-8 text; write it as UTF-8".to_owned()))?;
    let set = parsed(text).map_err(refused)?;
    match set.problem() {
        Some(problem) => Err(refused(problem)),
        None => Ok(set),
    }
}

fn parsed(text: &str) -> Result<Predictions, String> {
    let lines: Vec<(usize, &str)> =
        (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).take(MOST_LINES + 1).collect();
    if lines.len() > MOST_LINES {
        return Err(format!("has more than {MOST_LINES} lines; write a folder with predictions.safetensors instead"));
    }
    let mut outputs: Option<Growing> = None;
    let (mut examples, mut labels) = (Vec::new(), Vec::new());
    let (mut correct, mut scores) = (Vec::new(), Vec::new());
    for (place, (number, text)) in lines.into_iter().enumerate() {
        let at = |problem: &dyn std::fmt::Display| format!("line {number}: {problem}");
        let line: Line = serde_json::from_str(text).map_err(|error| {
            let expected =
                r#"expected {"id", "label", "probs" or "logits", "correct"?, "score"?, "group"?, "sha256"?}"#;
            at(&format!("{error}; {expected}"))
        })?;
        let rows = match (line.probs, line.logits) {
            (Some(_), Some(_)) => return Err(at(&"has both probs and logits; keep one of them")),
            (Some(rows), None) => Some((Kind::Probs, rows.into_samples())),
            (None, Some(rows)) => Some((Kind::Logits, rows.into_samples())),
            (None, None) => None,
        };
        let has = |what: &str, now: bool| {
            let (now, before) = if now { ("has", "without") } else { ("has no", "with") };
            at(&format!("{now} {what}, but lines {before} it came first; give it on every line or on none"))
        };
        for (what, now, before) in [
            ("outputs", rows.is_some(), outputs.is_some()),
            ("correct", line.correct.is_some(), !correct.is_empty()),
            ("score", line.score.is_some(), !scores.is_empty()),
        ] {
            if place > 0 && now != before {
                return Err(has(what, now));
            }
        }
        if let Some((kind, rows)) = rows {
            push(&mut outputs, kind, rows).map_err(|problem| at(&problem))?;
        }
        labels.push(match line.label {
            None | Some(-1) => None,
            Some(label) => Some(
                usize::try_from(label)
                    .map_err(|_| at(&format!("label is {label}, expected a class from 0, or -1 for none")))?,
            ),
        });
        correct.extend(line.correct);
        scores.extend(line.score);
        examples.push(Identity { id: line.id, sha256: line.sha256, group: line.group });
    }
    let samples = outputs.as_ref().map_or(1, |outputs| outputs.samples);
    let about = About { samples: if samples > 1 { Samples::Posterior } else { Samples::One }, ..About::default() };
    let outputs = outputs.map(|outputs| finished(outputs, examples.len())).transpose()?;
    let correct = Some(correct).filter(|correct| !correct.is_empty());
    let scores = Some(scores).filter(|scores| !scores.is_empty()).map(|scores| ("score".to_owned(), scores));
    Ok(Predictions { examples, outputs, labels, correct, ratings: None, scores: BTreeMap::from_iter(scores), about })
}

/// Adds the samples of an example, which must be as many and of as many classes as those before.
fn push(outputs: &mut Option<Growing>, kind: Kind, rows: Vec<Vec<f64>>) -> Result<(), String> {
    let classes = rows.first().map_or(0, Vec::len);
    let grown = outputs.get_or_insert_with(|| Growing { kind, samples: rows.len(), classes, values: Vec::new() });
    if kind != grown.kind {
        return Err(format!("has {}, but the lines before have {}", kind.name(), grown.kind.name()));
    }
    if rows.len() != grown.samples {
        return Err(format!("has {} samples, expected {} as on the first line", rows.len(), grown.samples));
    }
    if let Some(row) = rows.iter().find(|row| row.len() != grown.classes) {
        return Err(format!("has {} classes, expected {} as on the first line", row.len(), grown.classes));
    }
    grown.values.extend(rows.into_iter().flatten());
    Ok(())
}

fn finished(outputs: Growing, examples: usize) -> Result<Outputs, String> {
    let by_example = Array3::from_shape_vec((examples, outputs.samples, outputs.classes), outputs.values)
        .map_err(|error| format!("outputs: {error}"))?;
    let values = by_example.permuted_axes([1, 0, 2]).as_standard_layout().into_owned();
    Ok(Outputs { kind: outputs.kind, values: Values::F64(values) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.jsonl");
        std::fs::write(&path, text).unwrap();
        let message = read_lines(&path).unwrap_err().to_string();
        message.strip_prefix(&format!("{}: ", path.display())).unwrap_or_else(|| panic!("{message}")).to_owned()
    }

    #[test]
    fn lines_of_samples_are_turned_to_samples_of_lines_and_survive_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.jsonl");
        let text = r#"{"id": "a", "label": 1, "logits": [[1, 2, 3], [4, 5, 6]], "correct": true, "score": 0.5, "group": "g"}

{"id": "b", "label": -1, "logits": [[7, 8, 9], [10, 11, 12]], "correct": false, "score": -0.25}"#;
        std::fs::write(&path, text).unwrap();
        let set = read_lines(&path).unwrap();
        let outputs = set.outputs.as_ref().unwrap();
        assert_eq!(outputs.shape(), [2, 2, 3]);
        let values: Vec<f64> = outputs.to_f64().iter().copied().collect();
        assert_eq!(values, [1.0, 2.0, 3.0, 7.0, 8.0, 9.0, 4.0, 5.0, 6.0, 10.0, 11.0, 12.0]);
        assert_eq!((set.labels.as_slice(), set.about.samples), (&[Some(1), None][..], Samples::Posterior));
        assert_eq!((set.correct.clone(), set.scores["score"].clone()), (Some(vec![true, false]), vec![0.5, -0.25]));
        set.write(&folder.path().join("set")).unwrap();
        assert_eq!(Predictions::read(&folder.path().join("set")).unwrap(), set);
    }

    #[test]
    fn lines_that_are_not_as_described_are_named() {
        let good = r#"{"id": "a", "label": 0, "probs": [0.5, 0.5]}"#;
        let second = |line: &str| message(&format!("{good}\n{line}\n"));
        assert_eq!(message(""), "has no examples, expected at least one");
        assert_eq!(message("\n \n"), "has no examples, expected at least one");
        assert!(second(r#"{"id": "b", "label": 0, "probs": [NaN, 1]}"#).starts_with("line 2: "));
        assert!(second(r#"{"id": "b", "probabilities": [1]}"#).starts_with("line 2: unknown field `probabilities`"));
        for (line, said) in [
            (r#"{"id": "a", "label": 0, "probs": [0.5, 0.5]}"#, "has the id `a` twice; give every example its own"),
            (r#"{"id": "b", "label": 2, "probs": [0.5, 0.5]}"#, "id `b` has the label 2, expected a class below 2"),
            (
                r#"{"id": "b", "label": -2, "probs": [0.5, 0.5]}"#,
                "line 2: label is -2, expected a class from 0, or -1 for none",
            ),
            (
                r#"{"id": "b", "label": 0, "probs": [0.5, 0.25]}"#,
                "id `b`: probs of sample 0 sum to 0.75, expected 1 within 0.001",
            ),
            (
                r#"{"id": "b", "label": 0, "probs": [0.5, 0.25, 0.25]}"#,
                "line 2: has 3 classes, expected 2 as on the first line",
            ),
            (
                r#"{"id": "b", "label": 0, "probs": [[0.5, 0.5], [0.5, 0.5]]}"#,
                "line 2: has 2 samples, expected 1 as on the first line",
            ),
            (r#"{"id": "b", "label": 0, "logits": [0.5, 0.5]}"#, "line 2: has logits, but the lines before have probs"),
            (
                r#"{"id": "b", "label": 0, "correct": true}"#,
                "line 2: has no outputs, but lines with it came first; give it on every line or on none",
            ),
            (
                r#"{"id": "b", "probs": [1, 0], "score": 1}"#,
                "line 2: has score, but lines without it came first; give it on every line or on none",
            ),
        ] {
            assert_eq!(second(line), said);
        }
        assert_eq!(
            message(r#"{"id": "a", "label": 0, "probs": [], "correct": true}"#),
            "probs have 1 samples and 0 classes, expected at least 1 and 2"
        );
        assert!(message(r#"{"id": "", "correct": true}"#).starts_with("example 0 has an empty id"));
    }

    #[test]
    fn one_line_too_many_is_refused() {
        let line = |id: usize| format!("{{\"id\": \"{id}\", \"correct\": true}}\n");
        let many: String = (0..=MOST_LINES).map(line).collect();
        assert!(message(&many).starts_with("has more than 100000 lines; write a folder"));
        assert!(parsed(many.trim_end().rsplit_once('\n').unwrap().0).is_ok());
    }
}
