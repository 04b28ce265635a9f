//! What `config.json` says of the checkpoint's own head, in encoders and decoders alike: names of classes, and what its outputs are.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};

/// The scalars of a table as text. What is no scalar has no name, and what is no table has none at all: names of classes never stand in
/// the way of their logits.
pub(crate) fn scalars_by_name(table: Value) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match table {
        Value::Object(names) => names.into_iter().filter_map(|(key, value)| Some((key, text(value)?))).collect(),
        _ => BTreeMap::new(),
    }
}

/// Names of `classes` outputs, where `id2label` names exactly these; those of another head are no names of this one.
pub(crate) fn class_names(id2label: &BTreeMap<String, String>, classes: usize) -> Option<Vec<String>> {
    if id2label.len() != classes {
        return None;
    }
    (0..classes).map(|class| id2label.get(&class.to_string()).cloned()).collect()
}

/// Refuses a head that the configuration at `path` says is read otherwise than by a softmax over its outputs.
///
/// # Errors
/// [`Error::File`] for `multi_label_classification` (a sigmoid for each output) and `regression`.
pub(crate) fn check_problem_type(problem_type: Option<&str>, path: &Path) -> Result<()> {
    match problem_type {
        None | Some("single_label_classification") => Ok(()),
        Some(other) => Err(Error::File {
            path: path.to_owned(),
            problem: format!(
                "problem_type is \"{other}\"; probabilities and entropies here are those of a softmax over classes that exclude each \
                 other: expected \"single_label_classification\" or none"
            ),
        }),
    }
}
