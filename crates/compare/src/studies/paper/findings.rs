//! What v1 reports, the same quantities of our fits, and the plane of its picture.

use bayeslora_metrics::{Correlation, QuantileBin};
use ndarray::{Array1, Array2, Axis};
use ndarray_linalg::{Eigh as _, UPLO};

use crate::error::{Error, Result};

/// What v1 reports for its `DistilBERT` on the first tenth of GLUE's SST-2.
pub(crate) const REPORTED: Reported = Reported { accuracy: 0.8797, spearman: 0.376, p_value: 1.8e-46 };

/// Figures of a paper.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reported {
    /// On validation.
    pub(crate) accuracy: f64,
    /// Of log-variance and error.
    pub(crate) spearman: f64,
    /// Of that coefficient.
    pub(crate) p_value: f64,
}

/// The sentences of the authors' evaluation notebook: two of the task, one beside it, one of another field, and no language at all.
pub(crate) const SENTENCES: [&str; 5] = [
    "This movie was fantastic!",
    "The plot was hard to follow.",
    "I've seen better films",
    "The quarterly earnings exceeded expectations.",
    "florgle wumpus theory extrapolates",
];

/// Samples behind each of [`SENTENCES`], as in the notebook.
pub(crate) const SENTENCE_SAMPLES: u32 = 100;

/// What was found with one method at one seed.
#[derive(Debug)]
pub(crate) struct Finding {
    /// Name of the method.
    pub(crate) label: String,
    /// Seed of the fit.
    pub(crate) seed: u64,
    /// Of the averaged samples.
    pub(crate) validation_accuracy: f64,
    /// On the test set, of the averaged samples.
    pub(crate) test_accuracy: f64,
    /// Variance over samples and error, on the test set.
    pub(crate) error: Correlation,
    /// Entropy of one deterministic pass of the same fit and its error.
    pub(crate) entropy_error: Correlation,
    /// Variance and that entropy.
    pub(crate) entropy: Correlation,
    /// Variance and error, given that entropy.
    pub(crate) error_given_entropy: Correlation,
    /// Error by decile of the variance.
    pub(crate) variance_deciles: Vec<QuantileBin>,
    /// Error by decile of that entropy.
    pub(crate) entropy_deciles: Vec<QuantileBin>,
    /// One for each of [`SENTENCES`].
    pub(crate) sentences: Vec<Sentence>,
}

/// The predictive of one sentence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sentence {
    /// Mean probability of the positive class over samples.
    pub(crate) probability: f64,
    /// Its variance over samples (divisor `T - 1`).
    pub(crate) variance: f64,
    /// Entropy of one deterministic pass, nats.
    pub(crate) entropy: f64,
}

/// A text in the picture of representations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    /// Place along the first two principal components of the test set's representations.
    pub(crate) at: (f64, f64),
    /// Variance over samples.
    pub(crate) variance: f64,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a text in the picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of the test set, predicted right.
    Right,
    /// Of the test set, predicted wrong.
    Wrong,
    /// Of another set, by its place among them.
    Shifted(usize),
}

/// Where rows are on a plane.
#[derive(Debug)]
pub(crate) struct Plane {
    /// Of each row.
    pub(crate) at: Vec<(f64, f64)>,
    /// Of the variance that spanned the plane, along either axis.
    pub(crate) shares: [f64; 2],
}

/// Coordinates of every row of `rows` along the first two principal components of `reference`, with the shares of its variance that
/// these explain.
///
/// The sign of a component is that of its largest loading, so that a picture does not turn over between machines.
///
/// # Errors
/// When the decomposition fails.
pub(crate) fn principal_plane(reference: &Array2<f64>, rows: &Array2<f64>) -> Result<Plane> {
    let mean: Array1<f64> = reference
        .mean_axis(Axis(0))
        .ok_or_else(|| Error::Report("paper: no text to span the plane of principal components".to_owned()))?;
    let centred = reference - &mean;
    let (values, vectors) = centred.t().dot(&centred).eigh(UPLO::Lower)?;
    let total: f64 = values.sum();
    let component = |place: usize| -> Array1<f64> {
        let vector = vectors.column(vectors.ncols() - 1 - place).to_owned();
        let largest = vector.iter().copied().fold(0.0_f64, |a, b| if b.abs() > a.abs() { b } else { a });
        vector * largest.signum()
    };
    let offset = rows - &mean;
    let (first, second) = (offset.dot(&component(0)), offset.dot(&component(1)));
    let shares = [0, 1].map(|place| values[values.len() - 1 - place] / total);
    Ok(Plane { at: first.into_iter().zip(second).collect(), shares })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plane_is_that_of_the_largest_variances() {
        // Independent coordinates with variances 9, 4 and 1 in every combination of signs, turned by 30 degrees about the third.
        let (cos, sin) = (0.75_f64.sqrt(), 0.5);
        let mut points = Vec::new();
        for (x, y, z) in combinations(&[3.0, -3.0], &[2.0, -2.0], &[1.0, -1.0]) {
            points.extend([cos * x - sin * y + 5.0, sin * x + cos * y, z]);
        }
        let points = Array2::from_shape_vec((8, 3), points).unwrap();
        let Plane { at, shares } = principal_plane(&points, &points).unwrap();
        assert!((shares[0] - 9.0 / 14.0).abs() < 1e-12 && (shares[1] - 4.0 / 14.0).abs() < 1e-12, "{shares:?}");
        for ((first, second), (x, y, _)) in at.iter().zip(combinations(&[3.0, -3.0], &[2.0, -2.0], &[1.0, -1.0])) {
            assert!((first - x).abs() < 1e-12 && (second - y).abs() < 1e-12, "{first} {second} for {x} {y}");
        }
    }

    fn combinations(a: &[f64], b: &[f64], c: &[f64]) -> Vec<(f64, f64, f64)> {
        let pairs = a.iter().flat_map(|&x| b.iter().map(move |&y| (x, y)));
        pairs.flat_map(|(x, y)| c.iter().map(move |&z| (x, y, z))).collect()
    }
}
