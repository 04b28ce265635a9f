//! `softmax(z)_c = exp(z_c) / sum_k exp(z_k)` and its normaliser, shifted by the largest logit: logits of 1000 overflow without.

/// Probabilities of `logits`, in f64.
///
/// # Examples
/// ```
/// let probabilities = bayeslora_metrics::softmax(&[1000.0_f32, 1000.0]);
/// assert_eq!(probabilities, [0.5, 0.5]);
/// ```
pub fn softmax<T: Copy + Into<f64>>(logits: &[T]) -> Vec<f64> {
    let logits = logits.iter().map(|&logit| logit.into());
    let largest = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.map(|logit: f64| (logit - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// `ln sum_k exp(z_k)`.
pub(crate) fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + values.map(|value| (value - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_of_logarithms_are_the_shares() {
        let logits = [1.0_f64, 2.0, 5.0].map(f64::ln);
        for (got, expected) in softmax(&logits).into_iter().zip([0.125, 0.25, 0.625]) {
            assert!((got - expected).abs() < 1e-15);
        }
        assert!((log_sum_exp(logits.into_iter()) - 8f64.ln()).abs() < 1e-15);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        assert_eq!(softmax(&[-1e4_f32, 1e4]), [0.0, 1.0]);
        assert!((log_sum_exp([1e4, 1e4].into_iter()) - (1e4 + 2f64.ln())).abs() < 1e-11);
    }
}
