//! Correction of p-values for the number of comparisons.

use crate::error::{Error, Result};

/// Holm's step-down adjustment: `p~_(i) = max_(j <= i) min(1, (m - j + 1) p_(j))` over the ordered p-values (Holm 1979).
///
/// Rejecting where the adjusted value is at most `alpha` keeps the probability of any false rejection at `alpha`, whatever
/// the dependence between the tests. In the order given; equal p-values get equal adjusted ones. No p-values give none.
///
/// # Errors
/// [`Error::Entry`] for an entry outside `[0, 1]`, NaN included: what cannot be tested must be left out knowingly.
/// # Examples
/// ```
/// let adjusted = bayeslora_metrics::holm(&[0.01, 0.04, 0.03])?;
/// assert_eq!(adjusted, [0.03, 0.06, 0.06]);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>> {
    if let Some(index) = p_values.iter().position(|p| !(0.0..=1.0).contains(p)) {
        return Err(Error::Entry { what: "p-values", index, value: p_values[index], expected: "[0, 1]" });
    }
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut highest: f64 = 0.0;
    for (before, &place) in order.iter().enumerate() {
        highest = highest.max((p_values[place] * (p_values.len() - before) as f64).min(1.0));
        adjusted[place] = highest;
    }
    Ok(adjusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_p_value_is_named() {
        assert_eq!(holm(&[]), Ok(vec![]));
        let message = |p: &[f64]| holm(p).unwrap_err().to_string();
        assert_eq!(message(&[0.5, f64::NAN]), "p-values[1] is NaN, expected a number in [0, 1]");
        assert_eq!(message(&[-0.1]), "p-values[0] is -0.1, expected a number in [0, 1]");
    }
}
