//! What a guard is for: the model, the adapter, the classes, the settings of inference and the score it was calibrated with.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// What predictions come from. A guard holds for equal ones only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Digest of the model, or the name of a foreign program.
    pub model: String,
    /// Digest of the adapter; none where there is none.
    pub adapter: Option<String>,
    /// Names of the classes; empty for generated text.
    pub classes: Vec<String>,
    /// Samples, coupling, tokens, temperature and whatever else changes a prediction.
    pub inference: Value,
    /// The score.
    pub score: Score,
}

/// The score by which inputs are ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// Its name.
    pub name: String,
    /// Its orientation.
    pub orientation: Orientation,
}

/// Which way a score points; there is one way, and a file that says another is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Orientation {
    /// Confidences must be turned around before they come here.
    LargerIsMoreUncertain,
}

impl Score {
    /// A score of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), orientation: Orientation::LargerIsMoreUncertain }
    }
}

impl Subject {
    /// The same with the members of settings in the order of their names, which is how they are written.
    pub(crate) fn sorted(mut self) -> Self {
        self.inference = sorted(self.inference);
        self
    }

    /// Refuses any other subject than this.
    ///
    /// # Errors
    /// [`Error::Subject`] naming what differs.
    pub fn check(&self, used: &Self) -> Result<()> {
        let refused = |what, expected: &dyn ToString, got: &dyn ToString| {
            Err(Error::Subject { what, expected: expected.to_string(), got: got.to_string() })
        };
        let named = |adapter: &Option<String>| adapter.clone().unwrap_or_else(|| "none".to_owned());
        if self.model != used.model {
            return refused("model", &self.model, &used.model);
        }
        if self.adapter != used.adapter {
            return refused("adapter", &named(&self.adapter), &named(&used.adapter));
        }
        if self.classes != used.classes {
            return refused("list of classes", &self.classes.join(", "), &used.classes.join(", "));
        }
        if self.score != used.score {
            return refused("score", &self.score.name, &used.score.name);
        }
        let [own, other] = [self, used].map(|subject| sorted(subject.inference.clone()));
        if own != other {
            let (expected, got) = difference(&own, &other);
            return refused("setting of inference", &expected, &got);
        }
        Ok(())
    }
}

/// Members in the order of their names.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(list) => list.into_iter().map(sorted).collect(),
        Value::Object(members) => {
            let mut members: Vec<(String, Value)> =
                members.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            members.into_iter().collect()
        }
        other => other,
    }
}

/// The first member that differs, in both.
fn difference(own: &Value, other: &Value) -> (String, String) {
    let (Some(members), Some(others)) = (own.as_object(), other.as_object()) else {
        return (own.to_string(), other.to_string());
    };
    let names = members.keys().chain(others.keys());
    let shown = |name: &str, value: Option<&Value>| {
        value.map_or_else(|| format!("no {name}"), |value| format!("{name} {value}"))
    };
    let mut differing = names.filter(|name| members.get(*name) != others.get(*name));
    let name = differing.next().map_or("", String::as_str);
    (shown(name, members.get(name)), shown(name, others.get(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn another_subject_is_refused_by_what_differs() {
        let own = Subject {
            model: "m1".into(),
            adapter: Some("a1".into()),
            classes: vec!["no".into(), "yes".into()],
            inference: json!({"samples": 8, "temperature": 1.0}),
            score: Score::new("predictive-entropy"),
        };
        let message = |used: Subject| own.check(&used).unwrap_err().to_string();
        let end = "; fit a guard to what is used";
        for (used, expected) in [
            (Subject { model: "m2".into(), ..own.clone() }, "model: m1, not m2"),
            (Subject { adapter: None, ..own.clone() }, "adapter: a1, not none"),
            (Subject { classes: vec![], ..own.clone() }, "list of classes: no, yes, not "),
            (Subject { score: Score::new("mi"), ..own.clone() }, "score: predictive-entropy, not mi"),
            (
                Subject { inference: json!({"samples": 4, "temperature": 1.0}), ..own.clone() },
                "setting of inference: samples 8, not samples 4",
            ),
            (
                Subject { inference: json!({"samples": 8, "temperature": 1.0, "x": 0}), ..own.clone() },
                "setting of inference: no x, not x 0",
            ),
        ] {
            assert_eq!(message(used), format!("the guard is for another {expected}{end}"));
        }
        let turned = Subject { inference: json!({"temperature": 1.0, "samples": 8}), ..own.clone() };
        assert!(own.check(&turned).is_ok());
    }
}
