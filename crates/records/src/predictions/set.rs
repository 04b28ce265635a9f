//! Predictions of examples that are known by their ids, and what is required of them.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use super::about::About;
use super::outputs::{Outputs, Values};
use crate::error::{Error, Result};

/// Which example a row of predictions is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Name of the example, once in a set.
    pub id: String,
    /// SHA-256 of the text, in lower-case hex; none where the text is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Name of what the example shares with others, such as the review of a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Predictions of a program.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// In the order of every other field.
    pub examples: Vec<Identity>,
    /// None where `correct` is all there is.
    pub outputs: Option<Outputs>,
    /// Class of each example, where it is known.
    pub labels: Vec<Option<usize>>,
    /// Whether each prediction is right, where the program said so.
    pub correct: Option<Vec<bool>>,
    /// Degree of each class by people, `[examples, classes]`, each at least 0.
    pub ratings: Option<Array2<f64>>,
    /// Uncertainties by name, larger = more uncertain.
    pub scores: BTreeMap<String, Vec<f64>>,
    /// Where they come from.
    pub about: About,
}

impl Predictions {
    /// These predictions, if they are consistent.
    ///
    /// # Errors
    /// [`Error::Predictions`] for no examples, ids that are empty or come twice, hashes that are none, shapes that differ, labels outside the
    /// classes, outputs that are no distribution, scores that are not finite, and neither outputs nor `correct`.
    pub fn checked(self) -> Result<Self> {
        match self.problem() {
            Some(problem) => Err(Error::Predictions { problem }),
            None => Ok(self),
        }
    }

    /// Number of classes, by the outputs or else the names; 0 where neither is known.
    pub fn classes(&self) -> usize {
        self.outputs.as_ref().map_or(self.about.classes.len(), |outputs| outputs.shape()[2])
    }

    /// The examples at these places, in this order; those beyond the end are left out.
    #[must_use]
    pub fn at(&self, places: &[usize]) -> Self {
        let places: Vec<usize> = places.iter().copied().filter(|&place| place < self.examples.len()).collect();
        let outputs = self.outputs.as_ref().map(|outputs| Outputs {
            kind: outputs.kind,
            values: match &outputs.values {
                Values::F32(values) => Values::F32(values.select(Axis(1), &places)),
                Values::F64(values) => Values::F64(values.select(Axis(1), &places)),
            },
        });
        Self {
            examples: taken(&self.examples, &places),
            outputs,
            labels: taken(&self.labels, &places),
            correct: self.correct.as_ref().map(|correct| taken(correct, &places)),
            ratings: self.ratings.as_ref().map(|ratings| ratings.select(Axis(0), &places)),
            scores: self.scores.iter().map(|(name, values)| (name.clone(), taken(values, &places))).collect(),
            about: self.about.clone(),
        }
    }

    /// What is wrong with them, as a clause about the file.
    pub(super) fn problem(&self) -> Option<String> {
        if self.examples.is_empty() {
            return Some("has no examples, expected at least one".to_owned());
        }
        self.problem_of_ids()
            .or_else(|| self.problem_of_shapes())
            .or_else(|| self.problem_of_labels())
            .or_else(|| self.problem_of_numbers())
    }

    fn problem_of_ids(&self) -> Option<String> {
        let mut seen = BTreeSet::new();
        for (place, Identity { id, sha256, .. }) in self.examples.iter().enumerate() {
            if id.is_empty() {
                return Some(format!("example {place} has an empty id; name it"));
            }
            if !seen.insert(id) {
                return Some(format!("has the id `{id}` twice; give every example its own"));
            }
            let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if let Some(hash) = sha256.as_ref().filter(|text| !is_hash(text)) {
                return Some(format!("id `{id}` has the sha256 `{hash}`, expected 64 lower-case hex digits"));
            }
        }
        None
    }

    fn problem_of_shapes(&self) -> Option<String> {
        let examples = self.examples.len();
        let named = [("labels", self.labels.len())].into_iter();
        let named = named.chain(self.correct.as_ref().map(|correct| ("correct", correct.len())));
        let named = named.chain(self.ratings.as_ref().map(|ratings| ("ratings", ratings.nrows())));
        let named = named.chain(self.outputs.as_ref().map(|outputs| (outputs.kind.name(), outputs.shape()[1])));
        let mut named = named.chain(self.scores.iter().map(|(name, values)| (name.as_str(), values.len())));
        if let Some((name, got)) = named.find(|(_, got)| *got != examples) {
            return Some(format!("{name} are of {got} examples, expected {examples} as in the list of ids"));
        }
        let Some(outputs) = &self.outputs else {
            return self.correct.is_none().then(|| "has neither outputs nor `correct`; give one of them".to_owned());
        };
        let ([samples, _, classes], name) = (outputs.shape(), outputs.kind.name());
        if samples == 0 || classes < 2 {
            return Some(format!("{name} have {samples} samples and {classes} classes, expected at least 1 and 2"));
        }
        let names = self.about.classes.len();
        if names != 0 && names != classes {
            return Some(format!("{name} have {classes} classes, but {names} are named"));
        }
        let rated = self.ratings.as_ref().map(Array2::ncols).filter(|rated| *rated != classes);
        rated.map(|rated| format!("ratings have {rated} classes, but {name} have {classes}"))
    }

    fn problem_of_labels(&self) -> Option<String> {
        let classes = self.classes();
        let mut labelled =
            self.examples.iter().zip(&self.labels).filter_map(|(example, label)| Some((example, (*label)?)));
        let (example, label) = labelled.find(|(_, label)| classes != 0 && *label >= classes)?;
        Some(format!("id `{}` has the label {label}, expected a class below {classes}", example.id))
    }

    fn problem_of_numbers(&self) -> Option<String> {
        if let Some((place, problem)) = self.outputs.as_ref().and_then(Outputs::problem) {
            return Some(format!("id `{}`: {problem}", self.id(place)));
        }
        for (name, values) in &self.scores {
            if let Some((place, value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
                return Some(format!("id `{}`: score {name} is {value}, expected a finite number", self.id(place)));
            }
        }
        let mut rated = self.ratings.iter().flat_map(|ratings| ratings.indexed_iter());
        let ((place, class), value) = rated.find(|(_, value)| !(**value >= 0.0 && value.is_finite()))?;
        Some(format!("id `{}`: rating of class {class} is {value}, expected a number in [0, inf)", self.id(place)))
    }

    fn id(&self, place: usize) -> &str {
        self.examples.get(place).map_or("", |example| example.id.as_str())
    }
}

fn taken<T: Clone>(values: &[T], places: &[usize]) -> Vec<T> {
    places.iter().filter_map(|&place| values.get(place).cloned()).collect()
}
