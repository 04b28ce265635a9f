//! What the samples of one text say together, also where they are drawn in pieces that are not kept.

use bayeslora_metrics::{Averaging, Predictive, softmax};
use ndarray::{Array3, Axis};

use crate::error::Result;

/// Differences of entropies below this are rounding, as in [`Predictive`].
const ENTROPY_ROUNDING: f64 = 1e-13;

/// Averages over the samples of one text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Summary {
    /// Number of samples.
    pub(crate) samples: u32,
    /// Mean logits.
    pub(crate) logits: Vec<f64>,
    /// Mean probabilities.
    pub(crate) probabilities: Vec<f64>,
    /// Entropy of the mean probabilities, nats.
    pub(crate) predictive_entropy: f64,
    /// Mean entropy of a sample's probabilities, nats.
    pub(crate) expected_entropy: f64,
    /// Difference of the two, nats.
    pub(crate) mutual_information: f64,
    /// Sum over samples of the squared deviations of each class's probability from its mean.
    squares: Vec<f64>,
}

impl Summary {
    /// The summaries of several texts from their logits.
    ///
    /// # Shapes
    /// `logits: [samples, texts, classes]`.
    ///
    /// # Errors
    /// As [`Predictive::from_logits`].
    pub(crate) fn of(logits: &Array3<f32>) -> Result<Vec<Self>> {
        let predictive = Predictive::from_logits(logits.view(), Averaging::Probabilities)?;
        let drawn = logits.dim().0;
        let summary = |(text, own): (usize, ndarray::ArrayView2<'_, f32>)| {
            let own = own.mapv(f64::from);
            let sampled = own.map_axis(Axis(1), |row| softmax(&row.to_vec()));
            let squares = (0..own.ncols()).map(|class| {
                let mean = sampled.iter().map(|p| p[class]).sum::<f64>() / drawn as f64;
                sampled.iter().map(|p| (p[class] - mean).powi(2)).sum::<f64>()
            });
            Self {
                samples: u32::try_from(drawn).unwrap_or(u32::MAX),
                logits: own.columns().into_iter().map(|logits| logits.sum() / drawn as f64).collect(),
                probabilities: predictive.probabilities().row(text).to_vec(),
                predictive_entropy: predictive.predictive_entropy()[text],
                expected_entropy: predictive.expected_entropy()[text],
                mutual_information: predictive.mutual_information()[text],
                squares: squares.collect(),
            }
        };
        Ok(logits.axis_iter(Axis(1)).enumerate().map(summary).collect())
    }

    /// The summary of these samples and of `others` of the same text.
    ///
    /// Means and sums of squares join as in Chan, Golub and `LeVeque`, "Updating formulae and a pairwise algorithm for computing
    /// sample variances" (1979), equation 2.1.
    pub(crate) fn joined(&self, others: &Self) -> Self {
        let (own, more) = (f64::from(self.samples), f64::from(others.samples));
        let share = more / (own + more);
        let mean = |a: f64, b: f64| a + (b - a) * share;
        let means = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(&a, &b)| mean(a, b)).collect::<Vec<f64>>();
        let probabilities = means(&self.probabilities, &others.probabilities);
        let apart = self.probabilities.iter().zip(&others.probabilities).map(|(a, b)| (b - a).powi(2) * own * share);
        let squares = self.squares.iter().zip(&others.squares).zip(apart).map(|((a, b), apart)| a + b + apart);
        let predictive_entropy = -probabilities.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>();
        let expected_entropy = mean(self.expected_entropy, others.expected_entropy);
        let difference = predictive_entropy - expected_entropy;
        Self {
            samples: self.samples + others.samples,
            logits: means(&self.logits, &others.logits),
            squares: squares.collect(),
            probabilities,
            predictive_entropy,
            expected_entropy,
            mutual_information: if difference < ENTROPY_ROUNDING { 0.0 } else { difference },
        }
    }

    /// Class of the largest mean probability, the first one on ties.
    pub(crate) fn class(&self) -> usize {
        let p = &self.probabilities;
        (0..p.len()).fold(0, |best, class| if p[class] > p[best] { class } else { best })
    }

    /// Variance of each class's probability over samples (divisor `samples - 1`; 0 for one).
    pub(crate) fn variance(&self) -> Vec<f64> {
        let divisor = f64::from(self.samples.saturating_sub(1).max(1));
        self.squares.iter().map(|squares| squares / divisor).collect()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::s;

    use super::*;

    /// Logits of 30 samples of two texts with three classes, of any values.
    fn logits() -> Array3<f32> {
        Array3::from_shape_fn((30, 2, 3), |(sample, text, class)| {
            ((sample * 7 + text * 3 + class * 11) % 13) as f32 / 4.0
        })
    }

    #[test]
    fn pieces_say_what_the_whole_says() {
        let logits = logits();
        let whole = Summary::of(&logits).unwrap();
        let first = Summary::of(&logits.slice(s![..7, .., ..]).to_owned()).unwrap();
        let rest = Summary::of(&logits.slice(s![7.., .., ..]).to_owned()).unwrap();
        for (whole, (first, rest)) in whole.iter().zip(first.iter().zip(&rest)) {
            let joined = first.joined(rest);
            assert_eq!((joined.samples, joined.class()), (whole.samples, whole.class()));
            let numbers = |of: &Summary| {
                let entropies = vec![of.predictive_entropy, of.expected_entropy, of.mutual_information];
                [of.logits.clone(), of.probabilities.clone(), of.variance(), entropies].concat()
            };
            for (joined, whole) in numbers(&joined).iter().zip(numbers(whole)) {
                assert!((joined - whole).abs() < 1e-12, "{joined} and {whole}");
            }
        }
    }

    #[test]
    fn pieces_that_agree_have_no_epistemic_uncertainty() {
        let one = Summary::of(&logits().slice(s![..1, .., ..]).to_owned()).unwrap().remove(0);
        let joined = one.joined(&one);
        assert_eq!((joined.samples, joined.mutual_information), (2, 0.0));
        assert_eq!(joined.variance(), [0.0; 3]);
    }
}
