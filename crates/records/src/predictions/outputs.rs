//! Outputs of a classifier, `[samples, examples, classes]`, as logits, logarithms of probabilities or probabilities.

use ndarray::{Array3, ArrayViewMut1, Axis};

/// How far the probabilities of an example may sum from 1.
///
/// Programs write four decimals or half precision: ten classes are then off by up to 5e-4, while rows that were never normalised are off by far
/// more. Rows are divided by their sum before they are used.
pub const SUM_TOLERANCE: f64 = 1e-3;

/// What the numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any finite numbers, up to a constant the logarithms of probabilities.
    Logits,
    /// Logarithms of probabilities; minus infinity is that of 0.
    LogProbs,
    /// Probabilities.
    Probs,
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 3] = [Self::Logits, Self::LogProbs, Self::Probs];

    /// Name of the tensor.
    pub fn name(self) -> &'static str {
        match self {
            Self::Logits => "logits",
            Self::LogProbs => "log_probs",
            Self::Probs => "probs",
        }
    }
}

/// The numbers, in the precision they were given in.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Single precision.
    F32(Array3<f32>),
    /// Double precision.
    F64(Array3<f64>),
}

/// Outputs of a classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs {
    /// What the numbers are.
    pub kind: Kind,
    /// `[samples, examples, classes]`.
    pub values: Values,
}

impl Outputs {
    /// Samples, examples and classes.
    pub fn shape(&self) -> [usize; 3] {
        let (samples, examples, classes) = match &self.values {
            Values::F32(values) => values.dim(),
            Values::F64(values) => values.dim(),
        };
        [samples, examples, classes]
    }

    /// The numbers in double precision.
    pub fn to_f64(&self) -> Array3<f64> {
        match &self.values {
            Values::F32(values) => values.mapv(f64::from),
            Values::F64(values) => values.clone(),
        }
    }

    /// Logarithms of the probabilities, normalised: each row sums to 1 up to rounding. Meaningful for outputs that were checked.
    pub fn log_probabilities(&self) -> Array3<f64> {
        let mut values = self.to_f64();
        if self.kind == Kind::Probs {
            values.mapv_inplace(f64::ln);
        }
        for row in values.lanes_mut(Axis(2)) {
            normalise(row);
        }
        values
    }

    /// The first example that is no distribution, and a clause that says why.
    pub(super) fn problem(&self) -> Option<(usize, String)> {
        let (kind, name) = (self.kind, self.kind.name());
        for (sample, rows) in self.to_f64().outer_iter().enumerate() {
            for (example, row) in rows.outer_iter().enumerate() {
                for (class, &value) in row.iter().enumerate() {
                    let (fits, expected) = match kind {
                        Kind::Logits => (value.is_finite(), "a finite number"),
                        Kind::LogProbs => (value < SUM_TOLERANCE, "the logarithm of a probability, at most 0"),
                        Kind::Probs => ((0.0..=1.0 + SUM_TOLERANCE).contains(&value), "a probability in [0, 1]"),
                    };
                    if !fits {
                        let place = format!("{name} of class {class} in sample {sample}");
                        return Some((example, format!("{place} is {value}, expected {expected}")));
                    }
                }
                let sum: f64 = match kind {
                    Kind::Logits => continue,
                    Kind::LogProbs => row.iter().map(|value| value.exp()).sum(),
                    Kind::Probs => row.sum(),
                };
                if (sum - 1.0).abs() > SUM_TOLERANCE {
                    let place = format!("{name} of sample {sample} sum to {sum}");
                    return Some((example, format!("{place}, expected 1 within {SUM_TOLERANCE}")));
                }
            }
        }
        None
    }
}

/// `z - ln sum exp z`.
fn normalise(mut row: ArrayViewMut1<'_, f64>) {
    let most = row.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
    let sum = most + row.iter().map(|value| (value - most).exp()).sum::<f64>().ln();
    row.mapv_inplace(|value| value - sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr3;

    #[test]
    fn the_three_kinds_of_one_distribution_are_one() {
        let probabilities = arr3(&[[[0.25_f64, 0.75, 0.0]], [[0.5, 0.25, 0.25]]]);
        let given = |kind, values: Array3<f64>| Outputs { kind, values: Values::F64(values) };
        let expected = probabilities.mapv(f64::ln);
        for outputs in [
            given(Kind::Probs, probabilities.clone()),
            given(Kind::LogProbs, expected.clone()),
            // Of no unit: rows that sum to 1 up to the tolerance.
            given(Kind::Probs, probabilities.mapv(|p| p * 0.9995)),
        ] {
            assert_eq!(outputs.problem(), None);
            for (found, expected) in outputs.log_probabilities().iter().zip(&expected) {
                assert!((found.exp() - expected.exp()).abs() < 1e-15);
            }
        }
        let logits = given(Kind::Logits, arr3(&[[[1000.0, 1000.0 + 3_f64.ln()]]]));
        assert!((logits.log_probabilities()[[0, 0, 1]] - 0.75_f64.ln()).abs() < 1e-13);
    }

    #[test]
    fn what_is_no_distribution_is_named() {
        let problem = |kind, row: [f32; 2]| {
            let values = Values::F32(arr3(&[[[0.5, 0.5], row]]));
            Outputs { kind, values }.problem().map(|(example, problem)| {
                assert_eq!(example, usize::from(!problem.contains("log_probs")));
                problem
            })
        };
        assert_eq!(
            problem(Kind::Logits, [0.0, f32::NAN]).unwrap(),
            "logits of class 1 in sample 0 is NaN, expected a finite number"
        );
        assert_eq!(
            problem(Kind::Probs, [0.5, 0.25]).unwrap(),
            "probs of sample 0 sum to 0.75, expected 1 within 0.001"
        );
        assert!(problem(Kind::Probs, [-0.5, 1.5]).unwrap().ends_with("is -0.5, expected a probability in [0, 1]"));
        assert!(
            problem(Kind::LogProbs, [0.0, 0.0])
                .unwrap()
                .ends_with("expected the logarithm of a probability, at most 0")
        );
    }
}
