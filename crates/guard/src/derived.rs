//! Uncertainties of any program's predictions, and the examples that a guard is fitted to.
//!
//! Predictions are averaged over their samples, `p = mean_s p_s` or, where they say so, `softmax(mean_s ln p_s)`, all in double precision. With
//! one sample there is no mutual information.

use std::fmt;
use std::str::FromStr;

use bayeslora_records::predictions::{About, Outputs, Predictions};
use ndarray::{Array2, Axis};
use serde_json::json;

use crate::error::{Error, Result};
use crate::example::Example;
use crate::subject::{Score, Subject};

/// Two sums of order 1 differ by this much through rounding alone: what is smaller is 0, lest rounding orders examples.
const ROUNDING: f64 = 1e-13;

/// Which uncertainty orders the examples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScoreName {
    /// `-sum_c p_c ln p_c`, nats.
    PredictiveEntropy,
    /// `1 - max_c p_c`.
    OneMinusMax,
    /// Predictive less expected entropy, nats.
    MutualInformation,
    /// A score of the program itself.
    Own(String),
}

/// As it is parsed.
impl fmt::Display for ScoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PredictiveEntropy => f.write_str("predictive-entropy"),
            Self::OneMinusMax => f.write_str("one-minus-max"),
            Self::MutualInformation => f.write_str("mutual-information"),
            Self::Own(name) => write!(f, "score.{name}"),
        }
    }
}

impl FromStr for ScoreName {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        Ok(match word {
            "predictive-entropy" => Self::PredictiveEntropy,
            "one-minus-max" => Self::OneMinusMax,
            "mutual-information" => Self::MutualInformation,
            _ => {
                let own = word.strip_prefix("score.").filter(|name| !name.is_empty());
                let expected = "predictive-entropy, one-minus-max, mutual-information or score.NAME";
                let refused = || Error::Setting { what: "score", value: word.to_owned(), expected };
                Self::Own(own.ok_or_else(refused)?.to_owned())
            }
        })
    }
}

/// What follows from outputs, for every example.
#[derive(Debug, Clone, PartialEq)]
pub struct Derived {
    /// Averaged over samples, `[examples, classes]`; each row sums to 1 up to rounding.
    pub probabilities: Array2<f64>,
    /// Nats.
    pub predictive_entropy: Vec<f64>,
    /// In `[0, 1 - 1 / classes]`.
    pub one_minus_max: Vec<f64>,
    /// Nats; none with one sample.
    pub mutual_information: Option<Vec<f64>>,
    /// The class of the largest probability, the first of equals.
    pub predicted: Vec<usize>,
}

impl Derived {
    /// From outputs that were checked.
    pub fn of(outputs: &Outputs, averages_logits: bool) -> Self {
        let [samples, examples, classes] = outputs.shape();
        let logs = outputs.log_probabilities();
        let mut probabilities = Array2::zeros((examples, classes));
        let mut expected = vec![0.0; examples];
        for (place, rows) in logs.axis_iter(Axis(1)).enumerate() {
            let mut row = if averages_logits {
                let mean = rows.sum_axis(Axis(0)) / samples as f64;
                let most = mean.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                mean.mapv_into(|log| (log - most).exp())
            } else {
                rows.mapv(f64::exp).sum_axis(Axis(0))
            };
            row /= row.sum();
            probabilities.row_mut(place).assign(&row);
            let mean = rows.outer_iter().map(|row| entropy(&row.mapv(f64::exp))).sum::<f64>() / samples as f64;
            expected.iter_mut().skip(place).take(1).for_each(|expected| *expected = mean);
        }
        let predictive_entropy: Vec<f64> = probabilities.outer_iter().map(entropy).collect();
        let tops: Vec<(usize, f64)> = probabilities.outer_iter().map(top).collect();
        let difference = |(all, expected): (&f64, &f64)| {
            let difference = all - expected;
            if difference.abs() < ROUNDING { 0.0 } else { difference }
        };
        Self {
            one_minus_max: tops.iter().map(|(_, most)| 1.0 - most).collect(),
            predicted: tops.into_iter().map(|(class, _)| class).collect(),
            mutual_information: (samples > 1)
                .then(|| predictive_entropy.iter().zip(&expected).map(difference).collect()),
            predictive_entropy,
            probabilities,
        }
    }
}

/// What predictions say of their own origin, as what a guard is for: method, task and source stand for the model. The score that is read as a
/// distance belongs to it, see [`distance_of`].
pub fn subject_of(predictions: &Predictions, score: &ScoreName, distance: Option<&str>) -> Subject {
    let About { method, task, source, samples, averages_logits, classes, .. } = &predictions.about;
    let said = |name: &str, word: &Option<String>| word.as_ref().map(|word| format!("{name} {word}"));
    let told = [said("method", method), said("task", task), said("source", source)];
    let told: Vec<String> = told.into_iter().flatten().collect();
    let number = predictions.outputs.as_ref().map(|outputs| outputs.shape()[0]);
    let numbered = || (0..predictions.classes()).map(|class| class.to_string()).collect();
    Subject {
        model: if told.is_empty() { "predictions of unknown origin".to_owned() } else { told.join(", ") },
        adapter: None,
        classes: if classes.is_empty() { numbered() } else { classes.clone() },
        inference: json!({"samples": samples.word(), "number": number, "averages_logits": averages_logits, "distance": distance}),
        score: Score::new(score.to_string()),
    }
}

/// The score that predictions of this subject have as their distance; none where none is read.
pub fn distance_of(subject: &Subject) -> Option<&str> {
    subject.inference.get("distance").and_then(serde_json::Value::as_str)
}

/// Examples to fit a guard to, to check it with or to decide about, with the score of this name. An example is wrong if its predictions say so, or
/// else if its most probable class is not its label. The distance that the rule "ood" reads is a score of the program's own, by its name.
///
/// # Errors
/// [`Error::Examples`] where the score needs outputs or samples, or is none of the program's own.
/// # Examples
/// ```
/// use bayeslora_guard::{ScoreName, examples_of};
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("p.jsonl");
/// std::fs::write(&path, r#"{"id": "a", "label": 1, "probs": [0.75, 0.25]}"#)?;
/// let predictions = bayeslora_records::predictions::read_lines(&path)?;
/// let examples = examples_of(&predictions, &"one-minus-max".parse()?, None)?;
/// assert!((examples[0].score - 0.25).abs() < 1e-15 && examples[0].wrong == Some(true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn examples_of(predictions: &Predictions, score: &ScoreName, distance: Option<&str>) -> Result<Vec<Example>> {
    let refused = |problem: String| Error::Examples { set: "predictions", problem };
    let derived = predictions.outputs.as_ref().map(|outputs| Derived::of(outputs, predictions.about.averages_logits));
    let own = |name: &str| {
        predictions.scores.get(name).ok_or_else(|| {
            let names = predictions.scores.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            refused(format!("there is no score `{name}`, expected one of: {names}"))
        })
    };
    let from_outputs = |scores: fn(&Derived) -> Option<&Vec<f64>>| {
        let derived =
            derived.as_ref().ok_or_else(|| refused("this score needs outputs; take score.NAME".to_owned()))?;
        scores(derived)
            .ok_or_else(|| refused("mutual information needs several samples; take another score".to_owned()))
    };
    let scores = match score {
        ScoreName::PredictiveEntropy => from_outputs(|derived| Some(&derived.predictive_entropy))?,
        ScoreName::OneMinusMax => from_outputs(|derived| Some(&derived.one_minus_max))?,
        ScoreName::MutualInformation => from_outputs(|derived| derived.mutual_information.as_ref())?,
        ScoreName::Own(name) => own(name)?,
    };
    let distances = distance.map(own).transpose()?;
    let example = |(place, (identity, &score)): (usize, (&bayeslora_records::predictions::Identity, &f64))| {
        let label = predictions.labels.get(place).copied().flatten();
        let predicted = derived.as_ref().and_then(|derived| derived.predicted.get(place));
        let said = predictions.correct.as_ref().and_then(|correct| correct.get(place)).map(|correct| !correct);
        let rows = derived.as_ref().map(|derived| &derived.probabilities).filter(|rows| place < rows.nrows());
        Example {
            id: identity.id.clone(),
            group: identity.group.clone(),
            sha256: identity.sha256.clone(),
            score,
            distance: distances.and_then(|distances| distances.get(place)).copied(),
            probabilities: rows.map(|rows| rows.row(place).to_vec()),
            label,
            wrong: said.or_else(|| Some(*predicted? != label?)),
            ..Example::default()
        }
    };
    Ok(predictions.examples.iter().zip(scores).enumerate().map(example).collect())
}

fn entropy<'a>(probabilities: impl IntoIterator<Item = &'a f64>) -> f64 {
    let parts = probabilities.into_iter().filter(|p| **p > 0.0).map(|p| p * p.ln());
    (0.0 - parts.sum::<f64>()).max(0.0)
}

fn top<'a>(row: impl IntoIterator<Item = &'a f64>) -> (usize, f64) {
    row.into_iter()
        .copied()
        .enumerate()
        .fold((0, f64::NEG_INFINITY), |best, next| if next.1 > best.1 { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bayeslora_metrics::{Averaging, Predictive};
    use bayeslora_records::predictions::{Kind, Values};
    use ndarray::{Array3, arr3};

    #[test]
    fn uncertainties_are_those_of_the_metrics() {
        let logits = Array3::from_shape_fn((5, 40, 4), |(s, n, c)| ((13 * s + 7 * n + 5 * c) % 23) as f32 * 0.4);
        for (averages_logits, averaging) in [(false, Averaging::Probabilities), (true, Averaging::Logits)] {
            let outputs = Outputs { kind: Kind::Logits, values: Values::F32(logits.clone()) };
            let found = Derived::of(&outputs, averages_logits);
            let expected = Predictive::from_logits(logits.view(), averaging).unwrap();
            assert_eq!(found.predicted, expected.predicted());
            let pairs = found.probabilities.iter().zip(expected.probabilities().to_owned());
            assert!(pairs.into_iter().all(|(found, expected)| (found - expected).abs() < 1e-14));
            let columns = [
                (found.predictive_entropy, expected.predictive_entropy().to_vec()),
                (found.mutual_information.unwrap(), expected.mutual_information().to_vec()),
                (found.one_minus_max, expected.max_probability().iter().map(|most| 1.0 - most).collect()),
            ];
            for (found, expected) in columns {
                assert!(found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-13));
            }
        }
    }

    #[test]
    fn a_probability_of_nought_and_rows_of_four_decimals_will_do() {
        let values = Values::F64(arr3(&[[[1.0, 0.0, 0.0], [0.3333, 0.3333, 0.3333]]]));
        let found = Derived::of(&Outputs { kind: Kind::Probs, values }, false);
        assert!(found.predictive_entropy[0].to_bits() == 0 && (found.predictive_entropy[1] - 3_f64.ln()).abs() < 1e-14);
        assert!((found.probabilities.row(1).sum() - 1.0).abs() < 1e-15);
        assert_eq!((found.mutual_information, found.predicted), (None, vec![0, 0]));
    }

    #[test]
    fn examples_carry_what_the_predictions_say_and_a_score_that_is_not_there_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.jsonl");
        let read = |lines: [&str; 2]| {
            std::fs::write(&path, lines.join("\n")).unwrap();
            bayeslora_records::predictions::read_lines(&path).unwrap()
        };
        let own = read([
            r#"{"id": "a", "label": 0, "probs": [0.75, 0.25], "correct": false, "score": 3, "group": "g"}"#,
            r#"{"id": "b", "probs": [0.25, 0.75], "correct": true, "score": 4}"#,
        ]);
        let found = examples_of(&own, &ScoreName::Own("score".into()), Some("score")).unwrap();
        assert!(found.iter().all(|example| example.distance == Some(example.score)));
        let shown: Vec<_> = found.iter().map(|e| (e.score, e.label, e.wrong, e.group.as_deref())).collect();
        assert_eq!(shown, [(3.0, Some(0), Some(true), Some("g")), (4.0, None, Some(false), None)]);
        let unlabelled =
            read([r#"{"id": "a", "probs": [0.75, 0.25]}"#, r#"{"id": "b", "label": 0, "probs": [0.25, 0.75]}"#]);
        let wrong: Vec<_> =
            examples_of(&unlabelled, &ScoreName::OneMinusMax, None).unwrap().iter().map(|e| e.wrong).collect();
        assert_eq!(wrong, [None, Some(true)]);
        let message = |set: &Predictions, score| examples_of(set, &score, None).unwrap_err().to_string();
        assert_eq!(
            message(&own, ScoreName::MutualInformation),
            "predictions: mutual information needs several samples; take another score"
        );
        assert_eq!(
            message(&own, ScoreName::Own("p(true)".into())),
            "predictions: there is no score `p(true)`, expected one of: score"
        );
        let generated = read([r#"{"id": "a", "correct": true}"#, r#"{"id": "b", "correct": false}"#]);
        let refused = message(&generated, ScoreName::PredictiveEntropy);
        assert_eq!(refused, "predictions: this score needs outputs; take score.NAME");
    }

    #[test]
    fn words_name_scores() {
        for word in ["predictive-entropy", "one-minus-max", "mutual-information", "score.p(true)"] {
            assert_eq!(word.parse::<ScoreName>().unwrap().to_string(), word);
        }
        assert_eq!("score.p(true)".parse::<ScoreName>().unwrap(), ScoreName::Own("p(true)".into()));
        let message = "confidence".parse::<ScoreName>().unwrap_err().to_string();
        assert_eq!(
            message,
            "score is confidence, expected predictive-entropy, one-minus-max, mutual-information or score.NAME"
        );
    }
}
