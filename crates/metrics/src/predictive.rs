//! The predictive distribution of Monte-Carlo samples and its decomposition into entropies:
//! `H[mean_s p_s] = mean_s H[p_s] + I`, total = aleatoric + epistemic (Houlsby et al. 2011, BALD, equation 2).

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayView3, Axis};

use crate::error::{Error, Result};
use crate::softmax::log_sum_exp;
use crate::{Averaging, inputs, top};

/// Differences of entropies below this are 0: two sums of order 1 carry a few hundred units of f64 rounding.
///
/// Without it, examples on which all samples agree would be *ranked* by rounding noise. Logits rounded to f32 differ by
/// 6e-8 and move the mutual information by the square of that, 4e-15, so no stored disagreement is lost.
const ENTROPY_ROUNDING: f64 = 1e-13;

/// The predictive distribution `p(y | x)` aggregated over Monte-Carlo samples, with what the samples say about its
/// uncertainty.
///
/// `p_s = softmax(z_s)`; under [`Averaging::Probabilities`] `p = (1/S) sum_s p_s`, under [`Averaging::Logits`]
/// `p = softmax((1/S) sum_s z_s)`. Everything is computed in f64 from log-softmax and log-mean-exp, so that a
/// probability that underflows keeps its logarithm. Entropies are in nats.
///
/// # Examples
/// Two samples that contradict each other: all of the predictive entropy is disagreement.
/// ```
/// use bayeslora_metrics::{Averaging, Predictive};
/// let logits = ndarray::arr3(&[[[40.0_f32, 0.0]], [[0.0, 40.0]]]);
/// let predictive = Predictive::from_logits(logits.view(), Averaging::Probabilities)?;
/// assert_eq!(predictive.probabilities()[[0, 0]], 0.5);
/// assert!((predictive.predictive_entropy()[0] - 2f64.ln()).abs() < 1e-12);
/// assert!((predictive.mutual_information()[0] - 2f64.ln()).abs() < 1e-12);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::struct_field_names, reason = "predictive entropy is the name of the quantity")]
pub struct Predictive {
    samples: usize,
    probabilities: Array2<f64>,
    log_probabilities: Array2<f64>,
    predictive_entropy: Array1<f64>,
    expected_entropy: Array1<f64>,
    mutual_information: Array1<f64>,
    probability_variance: Array1<f64>,
}

impl Predictive {
    /// Aggregates sampled logits.
    ///
    /// # Shapes
    /// `logits: [samples, examples, classes]`.
    /// # Errors
    /// [`Error::TooFew`] without samples or examples or with fewer than two classes, [`Error::NotFinite`] for NaN and
    /// infinite logits.
    pub fn from_logits(logits: ArrayView3<'_, f32>, averaging: Averaging) -> Result<Self> {
        let (samples, examples, classes) = logits.dim();
        inputs::at_least("samples", samples, 1)?;
        inputs::at_least("examples", examples, 1)?;
        inputs::at_least("classes", classes, 2)?;
        if let Some(((s, n, c), &value)) = logits.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite { what: "logits", index: vec![s, n, c], value: f64::from(value) });
        }
        let mut log_probabilities = Array2::zeros((examples, classes));
        let mut expected_entropy = Array1::zeros(examples);
        let mut probability_variance = Array1::zeros(examples);
        for example in 0..examples {
            let sampled = log_softmax(logits.index_axis(Axis(1), example));
            log_probabilities.row_mut(example).assign(&aggregate(sampled.view(), averaging));
            expected_entropy[example] = sampled.outer_iter().map(entropy).sum::<f64>() / samples as f64;
            probability_variance[example] = largest_variance(sampled.view());
        }
        let predictive_entropy = log_probabilities.map_axis(Axis(1), entropy);
        let mutual_information = (&predictive_entropy - &expected_entropy).mapv_into(|difference| match averaging {
            _ if difference.abs() < ENTROPY_ROUNDING => 0.0,
            Averaging::Probabilities => difference.max(0.0),
            Averaging::Logits => difference,
        });
        Ok(Self {
            samples,
            probabilities: log_probabilities.mapv(f64::exp),
            log_probabilities,
            predictive_entropy,
            expected_entropy,
            mutual_information,
            probability_variance,
        })
    }

    /// Number of Monte-Carlo samples.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Number of examples.
    pub fn examples(&self) -> usize {
        self.probabilities.nrows()
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.probabilities.ncols()
    }

    /// Aggregated probabilities, `[examples, classes]`.
    pub fn probabilities(&self) -> ArrayView2<'_, f64> {
        self.probabilities.view()
    }

    /// Logarithms of the aggregated probabilities, `[examples, classes]`; finite even where the probability underflows.
    pub fn log_probabilities(&self) -> ArrayView2<'_, f64> {
        self.log_probabilities.view()
    }

    /// Entropy of the aggregated distribution, `-sum_c p_c ln p_c`, in nats: total uncertainty.
    pub fn predictive_entropy(&self) -> ArrayView1<'_, f64> {
        self.predictive_entropy.view()
    }

    /// Mean over samples of the entropy of each sampled distribution, in nats: aleatoric uncertainty.
    pub fn expected_entropy(&self) -> ArrayView1<'_, f64> {
        self.expected_entropy.view()
    }

    /// Predictive minus expected entropy, in nats: epistemic uncertainty.
    ///
    /// With [`Averaging::Probabilities`] this is the mutual information of label and weights, in `[0, ln C]`; exactly 0
    /// where it is 0 up to rounding. With [`Averaging::Logits`] it is the same difference but no mutual information, and may be
    /// negative.
    pub fn mutual_information(&self) -> ArrayView1<'_, f64> {
        self.mutual_information.view()
    }

    /// Largest over classes of the variance over samples of the class probability, `max_c Var_s[p_s(c)]`, unbiased
    /// (divided by `S - 1`); 0 for a single sample. At most `S / (4 (S - 1))`.
    pub fn probability_variance(&self) -> ArrayView1<'_, f64> {
        self.probability_variance.view()
    }

    /// Largest aggregated probability of every example: the confidence.
    pub fn max_probability(&self) -> Array1<f64> {
        top::labels(self.probabilities()).into_iter().map(|label| label.probability).collect()
    }

    /// Class of the largest aggregated probability of every example, the first one on ties.
    pub fn predicted(&self) -> Vec<usize> {
        top::labels(self.probabilities()).into_iter().map(|label| label.class).collect()
    }
}

/// Row-wise `z_c - ln sum_k exp z_k` in f64.
fn log_softmax(logits: ArrayView2<'_, f32>) -> Array2<f64> {
    let mut log_p = logits.mapv(f64::from);
    for mut row in log_p.outer_iter_mut() {
        let normaliser = log_sum_exp(row.iter().copied());
        row.mapv_inplace(|z| z - normaliser);
    }
    log_p
}

/// Log-probabilities of the aggregate of `[samples, classes]` sampled log-probabilities.
fn aggregate(sampled: ArrayView2<'_, f64>, averaging: Averaging) -> Array1<f64> {
    let samples = sampled.nrows() as f64;
    match averaging {
        Averaging::Probabilities => {
            sampled.map_axis(Axis(0), |column| log_sum_exp(column.iter().copied()) - samples.ln())
        }
        // Each sample's normaliser shifts all classes alike, so averaging log-probabilities is averaging logits.
        Averaging::Logits => {
            let mean = sampled.sum_axis(Axis(0)) / samples;
            let normaliser = log_sum_exp(mean.iter().copied());
            mean.mapv_into(|z| z - normaliser)
        }
    }
}

/// `-sum p ln p` from log-probabilities, all finite, so that a `p` of 0 contributes 0 and not NaN.
fn entropy(log_p: ArrayView1<'_, f64>) -> f64 {
    // Not `-sum`: a certain prediction has entropy 0.0 and not -0.0; nor below it by rounding.
    (0.0 - log_p.iter().map(|l| l.exp() * l).sum::<f64>()).max(0.0)
}

fn largest_variance(sampled: ArrayView2<'_, f64>) -> f64 {
    if sampled.nrows() < 2 {
        return 0.0;
    }
    sampled.mapv(f64::exp).var_axis(Axis(0), 1.0).fold(0.0, |a, &b| a.max(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, arr3};

    #[test]
    fn underflowing_probabilities_keep_their_logarithm() {
        let logits = arr3(&[[[0.0_f32, -2000.0]], [[0.0, -1500.0]]]);
        for averaging in [Averaging::Probabilities, Averaging::Logits] {
            let predictive = Predictive::from_logits(logits.view(), averaging).unwrap();
            assert_eq!(predictive.probabilities()[[0, 1]].to_bits(), 0f64.to_bits());
            let expected = match averaging {
                Averaging::Probabilities => -1500.0 - 2f64.ln(),
                Averaging::Logits => -1750.0,
            };
            assert!((predictive.log_probabilities()[[0, 1]] - expected).abs() < 1e-10);
            assert_eq!(predictive.predictive_entropy()[0].to_bits(), 0f64.to_bits());
        }
    }

    #[test]
    fn variance_is_unbiased_and_zero_for_one_sample() {
        let two = arr3(&[[[40.0_f32, 0.0]], [[0.0, 40.0]]]);
        let both = Predictive::from_logits(two.view(), Averaging::Probabilities).unwrap();
        assert!((both.probability_variance()[0] - 0.5).abs() < 1e-12, "population variance would be 0.25");
        let one = arr3(&[[[40.0_f32, 0.0]]]);
        let single = Predictive::from_logits(one.view(), Averaging::Probabilities).unwrap();
        assert_eq!(single.probability_variance()[0].to_bits(), 0f64.to_bits());
    }

    #[test]
    fn ties_are_predicted_as_the_first_class() {
        let logits = arr3(&[[[1.0_f32, 3.0, 3.0], [2.0, 2.0, 2.0]]]);
        let predictive = Predictive::from_logits(logits.view(), Averaging::default()).unwrap();
        assert_eq!(predictive.predicted(), [1, 0]);
        assert!((predictive.max_probability()[1] - 1.0 / 3.0).abs() < 1e-15);
        assert_eq!((predictive.samples(), predictive.examples(), predictive.classes()), (1, 2, 3));
    }

    #[test]
    fn averaged_logits_may_have_a_negative_difference() {
        // The geometric mean of two distributions that share their top class is sharper than either is on average.
        let logits = arr3(&[[[0.0_f32, -1.0, -8.0]], [[0.0, -8.0, -1.0]]]);
        let of_logits = Predictive::from_logits(logits.view(), Averaging::Logits).unwrap();
        assert!(of_logits.mutual_information()[0] < -0.1);
        let of_probabilities = Predictive::from_logits(logits.view(), Averaging::Probabilities).unwrap();
        assert!(of_probabilities.mutual_information()[0] > 0.1);
    }

    #[test]
    fn agreeing_samples_have_no_mutual_information_at_all() {
        let logits = Array3::from_shape_fn((7, 50, 5), |(_, n, c)| ((13 * n + 7 * c) % 17) as f32 * 0.37);
        for averaging in [Averaging::Probabilities, Averaging::Logits] {
            let predictive = Predictive::from_logits(logits.view(), averaging).unwrap();
            assert!(predictive.mutual_information().iter().all(|value| value.to_bits() == 0f64.to_bits()));
            assert!(predictive.probability_variance().iter().all(|value| value.to_bits() == 0f64.to_bits()));
        }
    }

    #[test]
    fn bad_logits_are_refused() {
        let refuse = |logits: Array3<f32>| Predictive::from_logits(logits.view(), Averaging::default()).unwrap_err();
        let mut logits = Array3::zeros((2, 3, 2));
        logits[[1, 2, 0]] = f32::NAN;
        assert_eq!(refuse(logits).to_string(), "logits[1, 2, 0] is NaN, expected a finite number");
        assert_eq!(refuse(Array3::zeros((0, 3, 2))).to_string(), "samples: got 0, expected at least 1");
        assert_eq!(refuse(Array3::zeros((2, 0, 2))).to_string(), "examples: got 0, expected at least 1");
        assert_eq!(refuse(Array3::zeros((2, 3, 1))).to_string(), "classes: got 1, expected at least 2");
    }
}
