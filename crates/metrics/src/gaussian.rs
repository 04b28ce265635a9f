//! Samples of Gaussian logits `f ~ N(mean, covariance)`, for `E softmax(f)`.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::error::{Error, Result};
use crate::inputs;
use crate::random::SplitMix64;

/// A Gaussian over the logits of each example.
///
/// # Examples
/// Uncertainty draws a probability towards one half:
/// ```
/// use bayeslora_metrics::{Averaging, GaussianLogits, Predictive};
/// let mean = ndarray::arr2(&[[2.0, 0.0]]);
/// let covariance = ndarray::arr3(&[[[4.0, 0.0], [0.0, 4.0]]]);
/// let samples = GaussianLogits::new(mean, covariance)?.samples(10_000, 0);
/// let predictive = Predictive::from_logits(samples.view(), Averaging::Probabilities)?;
/// // Without the covariance it would be 0.881.
/// assert!((predictive.probabilities()[[0, 0]] - 0.73).abs() < 0.02);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianLogits {
    mean: Array2<f64>,
    covariance: Array3<f64>,
}

/// Stream of the samples among the random numbers of a seed.
const STREAM: u64 = 0x6761_7573;
/// Below this share of the largest variance, what is left of a variance is rounding.
const PIVOT: f64 = 1e-12;

impl GaussianLogits {
    /// Of `mean [examples, classes]` and `covariance [examples, classes, classes]`, positive semi-definite.
    ///
    /// # Errors
    /// [`Error::Length`] when they do not go together, [`Error::TooFew`] below two classes, [`Error::NotFinite`] for NaN,
    /// infinities, and negative variances.
    pub fn new(mean: Array2<f64>, covariance: Array3<f64>) -> Result<Self> {
        let (examples, classes) = mean.dim();
        inputs::at_least("classes", if examples == 0 { 2 } else { classes }, 2)?;
        if covariance.dim() != (examples, classes, classes) {
            return Err(Error::Length {
                what: "covariance",
                got: covariance.len(),
                reference: "mean times classes",
                expected: mean.len() * classes,
            });
        }
        if let Some(((n, c), &value)) = mean.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite { what: "mean logits", index: vec![n, c], value });
        }
        let mut entries = covariance.indexed_iter();
        if let Some(((n, c, d), &value)) = entries.find(|&((_, c, d), v)| !v.is_finite() || c == d && *v < 0.0) {
            return Err(Error::NotFinite { what: "logit covariance", index: vec![n, c, d], value });
        }
        Ok(Self { mean, covariance })
    }

    /// Mean logits `[examples, classes]`.
    pub fn mean(&self) -> ArrayView2<'_, f64> {
        self.mean.view()
    }

    /// Covariances `[examples, classes, classes]`.
    pub fn covariance(&self) -> ArrayView3<'_, f64> {
        self.covariance.view()
    }

    /// The Gaussians with deviations `width` times their own, at the same means.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where an entry leaves the range of f64.
    pub fn widened(&self, width: f64) -> Result<Self> {
        Self::new(self.mean.clone(), &self.covariance * (width * width))
    }

    /// Logits drawn from the Gaussians, `[samples, examples, classes]`, for [`Predictive`](crate::Predictive). The numbers of
    /// an example depend on the seed and its place only.
    #[expect(clippy::cast_possible_truncation, reason = "logits are f32")]
    pub fn samples(&self, samples: usize, seed: u64) -> Array3<f32> {
        let (examples, classes) = self.mean.dim();
        let mut logits = Array3::zeros((samples, examples, classes));
        for example in 0..examples {
            let factor = factor(self.covariance.index_axis(Axis(0), example));
            let place = u32::try_from(example).unwrap_or(u32::MAX);
            let mut random = SplitMix64::keyed(seed, STREAM, place);
            for sample in 0..samples {
                let normals: Vec<f64> =
                    (0..classes).map(|_| Normal::standard().inverse_cdf(random.open_unit())).collect();
                for class in 0..classes {
                    let deviation: f64 = factor.row(class).iter().zip(&normals).map(|(l, n)| l * n).sum();
                    logits[[sample, example, class]] = (self.mean[[example, class]] + deviation) as f32;
                }
            }
        }
        logits
    }
}

/// A lower triangular `L` with `L L' = covariance`, which may be singular: a pivot that is nothing but rounding is 0.
fn factor(covariance: ArrayView2<'_, f64>) -> Array2<f64> {
    let n = covariance.nrows();
    let smallest = PIVOT * covariance.diag().fold(0.0_f64, |largest, &v| largest.max(v));
    let mut l = Array2::<f64>::zeros((n, n));
    for column in 0..n {
        let known = |l: &Array2<f64>, row: usize| (0..column).map(|k| l[[row, k]] * l[[column, k]]).sum::<f64>();
        let pivot = covariance[[column, column]] - known(&l, column);
        if pivot <= smallest {
            continue;
        }
        let root = pivot.sqrt();
        for row in column..n {
            l[[row, column]] = (covariance[[row, column]] - known(&l, row)) / root;
        }
    }
    l
}

#[cfg(test)]
mod tests {
    use ndarray::{arr2, arr3};

    use super::*;
    use crate::{Averaging, Predictive};

    /// `E sigmoid(d)`, `d ~ N(m, v)`, by the trapezoidal rule over twelve standard deviations: exact to 1e-12.
    fn quadrature(m: f64, v: f64) -> f64 {
        let step = 0.01;
        let density = |t: f64| (-0.5 * t * t).exp() / std::f64::consts::TAU.sqrt();
        (-1200..=1200)
            .map(|i| f64::from(i) * step)
            .map(|t| density(t) * step / (1.0 + (-(m + v.sqrt() * t)).exp()))
            .sum()
    }

    #[test]
    fn two_classes_against_quadrature() {
        for (m, a, b, c) in [(1.3, 1.0, 0.5, -0.6), (-2.0, 4.0, 3.0, 1.0), (0.4, 0.01, 0.02, 0.0), (1.0, 1.0, 1.0, 1.0)]
        {
            let logits = GaussianLogits::new(arr2(&[[0.2, 0.2 + m]]), arr3(&[[[a, c], [c, b]]])).unwrap();
            let exact = quadrature(m, a + b - 2.0 * c);
            let sampled = logits.samples(20_000, 3);
            let sampled = Predictive::from_logits(sampled.view(), Averaging::Probabilities).unwrap();
            // Five standard errors of a mean of 20,000 numbers in [0, 1], and logits in f32.
            assert!((sampled.probabilities()[[0, 1]] - exact).abs() < 5.0 * 0.5 / 20_000_f64.sqrt());
        }
    }

    #[test]
    fn without_variance_samples_are_the_softmax() {
        let logits = GaussianLogits::new(arr2(&[[1.0, -2.0, 0.5]]), Array3::zeros((1, 3, 3))).unwrap();
        let expected = crate::softmax(&[1.0, -2.0, 0.5]);
        let sampled = Predictive::from_logits(logits.samples(3, 0).view(), Averaging::Probabilities).unwrap();
        for (got, expected) in sampled.probabilities().iter().zip(expected) {
            assert!((got - expected).abs() < 1e-7);
        }
    }

    #[test]
    fn a_widened_gaussian_deviates_by_so_many_times_as_much() {
        let of = || GaussianLogits::new(arr2(&[[1.0, -2.0]]), arr3(&[[[2.0, 0.5], [0.5, 1.0]]])).unwrap();
        let (own, wide) = (of().samples(50, 4), of().widened(3.0).unwrap().samples(50, 4));
        for ((own, wide), mean) in own.iter().zip(&wide).zip([1.0_f32, -2.0].iter().cycle()) {
            assert!((wide - (mean + 3.0 * (own - mean))).abs() < 1e-4, "{own} {wide}");
        }
        assert!(of().widened(f64::NAN).is_err());
    }

    #[test]
    fn factors_of_singular_matrices_give_them_back() {
        let covariance = arr2(&[[1.0, -1.0, 0.5], [-1.0, 1.0, -0.5], [0.5, -0.5, 3.0]]);
        let l = factor(covariance.view());
        assert!((l.dot(&l.t()) - covariance).iter().all(|d| d.abs() < 1e-12));
    }

    #[test]
    fn bad_numbers_are_refused() {
        let refuse = |mean, covariance| GaussianLogits::new(mean, covariance).unwrap_err().to_string();
        assert_eq!(
            refuse(arr2(&[[0.0, f64::NAN]]), Array3::zeros((1, 2, 2))),
            "mean logits[0, 1] is NaN, expected a finite number"
        );
        assert!(refuse(arr2(&[[0.0, 1.0]]), arr3(&[[[1.0, 0.0], [0.0, -1.0]]])).contains("covariance[0, 1, 1] is -1"));
        assert!(refuse(arr2(&[[0.0, 1.0]]), Array3::zeros((2, 2, 2))).contains("covariance has 8 entries"));
        assert!(refuse(arr2(&[[0.0]]), Array3::zeros((1, 1, 1))).contains("classes: got 1"));
        assert!(GaussianLogits::new(Array2::zeros((0, 0)), Array3::zeros((0, 0, 0))).is_ok());
    }
}
