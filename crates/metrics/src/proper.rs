//! Proper scores: negative log likelihood `-(1/N) sum_n ln p_n(y_n)` and Brier score
//! `(1/N) sum_n sum_c (p_n(c) - [c = y_n])^2` (Good 1952; Brier 1950; both in Gneiting and Raftery 2007).

use ndarray::ArrayView2;

use crate::error::{Error, Result};
use crate::inputs;

/// Mean negative log likelihood of the labels, `-(1/N) sum_n ln p_n(y_n)`, in nats.
///
/// Takes log-probabilities, because the logarithm of a probability that was rounded to 0 is infinite.
///
/// # Shapes
/// `log_probs: [examples, classes]`, `labels: [examples]`.
/// # Errors
/// [`Error::LogProbability`] and [`Error::RowSum`] when a row is no log-distribution, [`Error::Length`] and
/// [`Error::Label`] for the labels, [`Error::ZeroProbability`] when a label has log-probability minus infinity.
/// # Examples
/// ```
/// let log_probs = ndarray::array![[0.5f64, 0.5], [0.25, 0.75]].mapv_into(f64::ln);
/// let nll = bayeslora_metrics::negative_log_likelihood(log_probs.view(), &[0, 0])?;
/// assert!((nll - 8f64.ln() / 2.0).abs() < 1e-15);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn negative_log_likelihood(log_probs: ArrayView2<'_, f64>, labels: &[usize]) -> Result<f64> {
    inputs::log_probabilities("log-probabilities", log_probs)?;
    inputs::labels(labels, "log-probabilities", log_probs.nrows(), log_probs.ncols())?;
    let mut total = 0.0;
    for (example, (row, &class)) in log_probs.outer_iter().zip(labels).enumerate() {
        total += finite_log(row[class], example, class)?;
    }
    Ok(0.0 - total / labels.len() as f64)
}

/// Mean cross-entropy against label distributions, `-(1/N) sum_n sum_c q_n(c) ln p_n(c)`, in nats, with `0 ln 0 = 0`.
///
/// With one-hot `soft_labels` this is [`negative_log_likelihood`]; with the votes of several raters its least value is
/// the mean entropy of the raters.
///
/// # Shapes
/// `log_probs` and `soft_labels: [examples, classes]`.
/// # Errors
/// As [`negative_log_likelihood`]; [`Error::Probability`] and [`Error::RowSum`] also for `soft_labels`.
/// # Examples
/// ```
/// let log_probs = ndarray::array![[0.5f64, 0.5]].mapv_into(f64::ln);
/// let nll = bayeslora_metrics::soft_negative_log_likelihood(log_probs.view(), ndarray::array![[0.2, 0.8]].view())?;
/// assert!((nll - 2f64.ln()).abs() < 1e-15);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn soft_negative_log_likelihood(log_probs: ArrayView2<'_, f64>, soft_labels: ArrayView2<'_, f64>) -> Result<f64> {
    inputs::log_probabilities("log-probabilities", log_probs)?;
    inputs::probabilities("soft labels", soft_labels)?;
    inputs::same_length("soft labels", soft_labels.nrows(), "log-probabilities", log_probs.nrows())?;
    inputs::same_length("a row of soft labels", soft_labels.ncols(), "a row of log-probabilities", log_probs.ncols())?;
    let mut total = 0.0;
    for ((example, class), &weight) in soft_labels.indexed_iter() {
        if weight > 0.0 {
            total += weight * finite_log(log_probs[[example, class]], example, class)?;
        }
    }
    Ok(0.0 - total / log_probs.nrows() as f64)
}

/// Mean Brier score, `(1/N) sum_n sum_c (p_n(c) - [c = y_n])^2`, in `[0, 2]`: summed over the classes, not averaged.
///
/// # Shapes
/// `probs: [examples, classes]`, `labels: [examples]`.
/// # Errors
/// [`Error::Probability`] and [`Error::RowSum`] when a row is no distribution, [`Error::Length`] and [`Error::Label`] for
/// the labels.
/// # Examples
/// ```
/// let score = bayeslora_metrics::brier(ndarray::array![[0.75, 0.25], [0.0, 1.0]].view(), &[0, 0])?;
/// assert_eq!(score, (0.125 + 2.0) / 2.0);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn brier(probs: ArrayView2<'_, f64>, labels: &[usize]) -> Result<f64> {
    inputs::probabilities("probabilities", probs)?;
    inputs::labels(labels, "probabilities", probs.nrows(), probs.ncols())?;
    let squared = |((example, class), &p): ((usize, usize), &f64)| {
        let observed = if labels[example] == class { 1.0 } else { 0.0 };
        (p - observed) * (p - observed)
    };
    Ok(probs.indexed_iter().map(squared).sum::<f64>() / labels.len() as f64)
}

fn finite_log(value: f64, example: usize, class: usize) -> Result<f64> {
    if value == f64::NEG_INFINITY { Err(Error::ZeroProbability { example, class }) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn zero_probability_counts_only_where_it_was_observed() {
        let log_probs = array![[0.0, f64::NEG_INFINITY]];
        assert_eq!(negative_log_likelihood(log_probs.view(), &[0]).unwrap().to_bits(), 0f64.to_bits());
        let error = negative_log_likelihood(log_probs.view(), &[1]).unwrap_err();
        assert_eq!(error, Error::ZeroProbability { example: 0, class: 1 });
        let soft = |weights: ndarray::Array2<f64>| soft_negative_log_likelihood(log_probs.view(), weights.view());
        assert_eq!(soft(array![[1.0, 0.0]]).unwrap().to_bits(), 0f64.to_bits());
        assert_eq!(soft(array![[0.5, 0.5]]).unwrap_err(), Error::ZeroProbability { example: 0, class: 1 });
    }

    #[test]
    fn one_hot_soft_labels_are_labels() {
        let log_probs = array![[0.2f64, 0.3, 0.5], [0.1, 0.8, 0.1]].mapv_into(f64::ln);
        let hard = negative_log_likelihood(log_probs.view(), &[2, 0]).unwrap();
        let one_hot = array![[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]];
        let soft = soft_negative_log_likelihood(log_probs.view(), one_hot.view()).unwrap();
        assert_eq!(hard.to_bits(), soft.to_bits());
    }

    #[test]
    fn shapes_must_agree() {
        let log_probs = array![[0.5f64, 0.5]].mapv_into(f64::ln);
        let wide = soft_negative_log_likelihood(log_probs.view(), array![[0.5, 0.25, 0.25]].view()).unwrap_err();
        assert_eq!(wide.to_string(), "a row of soft labels has 3 entries, a row of log-probabilities has 2");
        let long = soft_negative_log_likelihood(log_probs.view(), array![[0.5, 0.5], [0.5, 0.5]].view()).unwrap_err();
        assert_eq!(long.to_string(), "soft labels has 2 entries, log-probabilities has 1");
        assert!(brier(array![[0.5, 0.5]].view(), &[2]).is_err());
    }

    #[test]
    fn certain_and_wrong_costs_two() {
        let score = brier(array![[1.0, 0.0, 0.0]].view(), &[2]).unwrap();
        assert!((score - 2.0).abs() < 1e-15);
    }
}
