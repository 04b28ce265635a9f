//! Accuracy: the share of examples whose predicted class is the label, `(1/N) sum_n [y^_n = y_n]`.

use crate::error::Result;
use crate::inputs;

/// Share of predictions that equal their label, in `[0, 1]`.
///
/// # Errors
/// [`Error::TooFew`](crate::Error::TooFew) without examples, [`Error::Length`](crate::Error::Length) when the two do not
/// describe the same examples.
/// # Examples
/// ```
/// assert_eq!(bayeslora_metrics::accuracy(&[0, 1, 1, 2], &[0, 1, 2, 2])?, 0.75);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn accuracy(predicted: &[usize], labels: &[usize]) -> Result<f64> {
    inputs::at_least("examples", predicted.len(), 1)?;
    inputs::same_length("labels", labels.len(), "predicted", predicted.len())?;
    let correct = predicted.iter().zip(labels).filter(|(guess, label)| guess == label).count();
    Ok(correct as f64 / labels.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_inputs_are_refused() {
        assert_eq!(accuracy(&[], &[]).unwrap_err().to_string(), "examples: got 0, expected at least 1");
        assert_eq!(accuracy(&[0, 1], &[0]).unwrap_err().to_string(), "labels has 1 entries, predicted has 2");
    }
}
