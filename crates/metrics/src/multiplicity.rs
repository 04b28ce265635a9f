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

/// How many tests stand on a page, and how many of them reject under which correction.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// Tests on the page.
    pub tests: usize,
    /// Of these, as many reject as they stand.
    pub uncorrected: usize,
    /// As many reject after Holm's correction within each family.
    pub within_families: usize,
    /// As many reject after Holm's correction over all tests of the page.
    pub across_page: usize,
    /// p-values corrected over all tests of the page, family by family.
    pub corrected: Vec<Vec<f64>>,
}

impl Tally {
    /// Of the p-values of a page, family by family.
    ///
    /// # Errors
    /// [`Error::Entry`] for an entry outside `[0, 1]`, [`Error::Setting`] unless `0 < alpha < 1`.
    /// # Examples
    /// ```
    /// let tally = bayeslora_metrics::Tally::of(&[vec![0.004, 0.03], vec![0.024, 0.9]], 0.05)?;
    /// // 4 * 0.004, 3 * 0.024, 2 * 0.03 raised to what stands before it, and 0.9.
    /// assert_eq!((tally.tests, tally.uncorrected, tally.within_families, tally.across_page), (4, 3, 3, 1));
    /// for (found, expected) in tally.corrected.concat().into_iter().zip([0.016, 0.072, 0.072, 0.9]) {
    ///     assert!((found - expected).abs() < 1e-12);
    /// }
    /// # Ok::<(), bayeslora_metrics::Error>(())
    /// ```
    pub fn of(families: &[Vec<f64>], alpha: f64) -> Result<Self> {
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(Error::Setting { what: "alpha", value: alpha, expected: "(0, 1)" });
        }
        let rejected = |p_values: &[f64]| p_values.iter().filter(|&&p| p <= alpha).count();
        let all = families.concat();
        let over_all = holm(&all)?;
        let mut within_families = 0;
        let mut rest = over_all.as_slice();
        let mut corrected = Vec::new();
        for family in families {
            within_families += rejected(&holm(family)?);
            let (own, others) = rest.split_at(family.len());
            corrected.push(own.to_vec());
            rest = others;
        }
        let (tests, uncorrected, across_page) = (all.len(), rejected(&all), rejected(&over_all));
        Ok(Self { tests, uncorrected, within_families, across_page, corrected })
    }
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
