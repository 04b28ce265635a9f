//! Arrays from flat buffers of numbers, which must have as many as their shape.

use bayeslora_metrics::GaussianLogits;
use ndarray::{Array2, Array3};

use crate::error::{Error, Result};

/// `values` with the shape `[samples, examples, classes]`.
///
/// # Errors
/// [`Error::Shape`] when there are not as many.
pub(crate) fn samples_of(shape: (usize, usize, usize), values: Vec<f32>) -> Result<Array3<f32>> {
    let got = values.len();
    Array3::from_shape_vec(shape, values).map_err(|_| Error::Shape {
        what: "predictive samples",
        got,
        expected: format!("{shape:?}"),
    })
}

/// The matrix of `values`, row after row.
///
/// # Errors
/// [`Error::Shape`] when there are not as many as the shape says.
pub(crate) fn matrix_of(what: &'static str, shape: (usize, usize), values: Vec<f32>) -> Result<Array2<f32>> {
    let got = values.len();
    Array2::from_shape_vec(shape, values).map_err(|_| Error::Shape { what, got, expected: format!("{shape:?}") })
}

/// Gaussians from their numbers, row after row: `mean [examples, classes]` and `covariance [examples, classes, classes]`.
///
/// # Errors
/// [`Error::Shape`] when one has not as many as its shape, and when a covariance is none.
pub(crate) fn gaussian(mean: Vec<f64>, covariance: Vec<f64>, examples: usize) -> Result<GaussianLogits> {
    let classes = mean.len() / examples.max(1);
    let refused = |what, got, shape: &[usize]| Error::Shape { what, got, expected: format!("{shape:?}") };
    let (means, covariances) = (mean.len(), covariance.len());
    let mean = Array2::from_shape_vec((examples, classes), mean)
        .map_err(|_| refused("the mean of Gaussian logits", means, &[examples, classes]))?;
    let covariance = Array3::from_shape_vec((examples, classes, classes), covariance)
        .map_err(|_| refused("the covariance of Gaussian logits", covariances, &[examples, classes, classes]))?;
    Ok(GaussianLogits::new(mean, covariance)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_do_not_fill_their_shape_are_refused_by_name() {
        let message = samples_of((2, 3, 2), vec![0.0; 11]).unwrap_err().to_string();
        assert_eq!(message, "predictive samples has 11 numbers; expected (2, 3, 2)");
        assert!(samples_of((2, 3, 2), vec![0.0; 12]).is_ok());
        let message = gaussian(vec![0.0; 5], vec![1.0; 8], 2).unwrap_err().to_string();
        assert_eq!(message, "the mean of Gaussian logits has 5 numbers; expected [2, 2]");
        let message = gaussian(vec![0.0; 4], vec![1.0; 7], 2).unwrap_err().to_string();
        assert_eq!(message, "the covariance of Gaussian logits has 7 numbers; expected [2, 2, 2]");
    }
}
