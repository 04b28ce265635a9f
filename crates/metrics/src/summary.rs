//! Mean and sample standard deviation over seeds, `s^2 = sum_i (x_i - mean)^2 / (n - 1)`.

use crate::error::Result;
use crate::inputs;

/// Mean, spread and number of some values.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Summary {
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (divided by `n - 1`); `None` for a single value, which shows no spread.
    pub sample_sd: Option<f64>,
    /// Number of values.
    pub n: usize,
}

/// Mean and sample standard deviation of `values`.
///
/// Divided by `n - 1`, not by `n` as numpy does by default: over three seeds that would be 18 % less.
///
/// # Errors
/// [`Error::TooFew`](crate::Error::TooFew) without values, [`Error::NotFinite`](crate::Error::NotFinite).
/// # Examples
/// ```
/// let summary = bayeslora_metrics::summarise(&[1.0, 2.0, 3.0])?;
/// assert_eq!((summary.mean, summary.sample_sd, summary.n), (2.0, Some(1.0), 3));
/// assert_eq!(bayeslora_metrics::summarise(&[0.5])?.sample_sd, None);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn summarise(values: &[f64]) -> Result<Summary> {
    inputs::at_least("values", values.len(), 1)?;
    inputs::finite("values", values)?;
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    let sample_sd = (n > 1).then(|| (squares / (n - 1) as f64).sqrt());
    Ok(Summary { mean, sample_sd, n })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_inputs_are_refused() {
        assert_eq!(summarise(&[]).unwrap_err().to_string(), "values: got 0, expected at least 1");
        let error = summarise(&[0.0, f64::INFINITY]).unwrap_err();
        assert_eq!(error.to_string(), "values[1] is inf, expected a finite number");
    }
}
