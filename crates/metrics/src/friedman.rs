//! Several methods on several data sets by their ranks: Friedman's test and Nemenyi's critical difference (Friedman 1937;
//! Nemenyi 1963; as Demsar 2006 recommends for comparing classifiers).

use ndarray::{ArrayView2, Axis};
use statrs::distribution::{ChiSquared, Continuous, ContinuousCDF, FisherSnedecor, Normal};

use crate::error::{Error, Result};
use crate::integral::{simpson, solve_increasing};
use crate::{inputs, rank};

/// Friedman's test of equal methods.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Friedman {
    /// Mean over data sets of each method's rank; 1 is the smallest value, ties share their ranks.
    pub average_ranks: Vec<f64>,
    /// Friedman's statistic, corrected for ties; about chi-squared with `k - 1` degrees of freedom.
    pub chi_squared: f64,
    /// Its p-value, too large for few data sets.
    pub chi_squared_p: f64,
    /// The statistic of Iman and Davenport (1980), F with `k - 1` and `(k - 1)(n - 1)` degrees of freedom; infinite where
    /// all data sets agree.
    pub f: f64,
    /// Its p-value: the better approximation.
    pub f_p: f64,
}

/// Friedman's test over `n` data sets (rows) of `k` methods (columns).
///
/// With ranks within each row and their column means `R_j`,
/// `chi^2 = 12 n / (k (k + 1)) (sum_j R_j^2 - k (k + 1)^2 / 4)`, divided by `1 - sum (t^3 - t) / (n (k^3 - k))` over groups of
/// `t` ties; `F = (n - 1) chi^2 / (n (k - 1) - chi^2)`. Rank 1 goes to the smallest value: give losses, or scores with their
/// signs turned.
///
/// # Shapes
/// `losses: [data sets, methods]`.
/// # Errors
/// [`Error::TooFew`] below two data sets or three methods (two are compared by a paired test), [`Error::NotFinite`],
/// [`Error::Constant`] when every row is tied throughout.
/// # Examples
/// ```
/// let losses = ndarray::array![[0.1, 0.2, 0.3], [0.2, 0.1, 0.4], [0.1, 0.3, 0.5], [0.3, 0.4, 0.9]];
/// let test = bayeslora_metrics::friedman(losses.view())?;
/// assert_eq!(test.average_ranks, [1.25, 1.75, 3.0]);
/// assert!((test.chi_squared - 6.5).abs() < 1e-12);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn friedman(losses: ArrayView2<'_, f64>) -> Result<Friedman> {
    let (rows, columns) = losses.dim();
    inputs::at_least("data sets", rows, 2)?;
    inputs::at_least("methods", columns, 3)?;
    if let Some(((row, column), &value)) = losses.indexed_iter().find(|(_, value)| !value.is_finite()) {
        return Err(Error::NotFinite { what: "losses", index: vec![row, column], value });
    }
    let (n, k) = (rows as f64, columns as f64);
    let mut average_ranks = vec![0.0; columns];
    // Variance of the ranks of all rows; without ties it is that of 1..k.
    let mut spread = 0.0;
    for row in losses.axis_iter(Axis(0)) {
        for (average, rank) in average_ranks.iter_mut().zip(rank::midranks(&row.to_vec())) {
            *average += rank / n;
            spread += (rank - f64::midpoint(k, 1.0)).powi(2);
        }
    }
    if spread == 0.0 {
        return Err(Error::Constant { what: "every data set's row of losses" });
    }
    let between: f64 = average_ranks.iter().map(|average| (average - f64::midpoint(k, 1.0)).powi(2)).sum();
    let largest = n * (k - 1.0);
    let chi_squared = (n * n * (k - 1.0) * between / spread).min(largest);
    // All data sets in agreement leave only rounding in the denominator.
    let f = if largest - chi_squared < 1e-9 * largest {
        f64::INFINITY
    } else {
        (n - 1.0) * chi_squared / (largest - chi_squared)
    };
    let chi_squared_p = ChiSquared::new(k - 1.0).map_or(f64::NAN, |law| law.sf(chi_squared));
    let f_p = match FisherSnedecor::new(k - 1.0, (k - 1.0) * (n - 1.0)) {
        Ok(law) if f.is_finite() => law.sf(f),
        Ok(_) => 0.0,
        Err(_) => f64::NAN,
    };
    Ok(Friedman { average_ranks, chi_squared, chi_squared_p, f, f_p })
}

/// More methods than this are a mistake; the range of so many normals is still resolved.
const MOST_METHODS: usize = 1000;

/// Nemenyi's critical difference: average ranks over `data_sets` that differ by at least this differ significantly at
/// family-wise level `alpha`.
///
/// `CD = q sqrt(k (k + 1) / (6 n))` with the upper `alpha` quantile `q` of the range of `k` standard normals over `sqrt 2`
/// (Demsar 2006, table 5). Independent data sets are assumed: shifted domains of one training set are not.
///
/// # Errors
/// [`Error::TooFew`] below two methods or one data set, [`Error::Setting`] above 1000 methods or unless `0 < alpha < 1`.
/// # Examples
/// ```
/// // Demsar's table gives 2.569 for four methods.
/// let critical = bayeslora_metrics::nemenyi_critical_difference(4, 14, 0.05)?;
/// assert!((critical - 2.569 * (4.0 * 5.0 / (6.0 * 14.0f64)).sqrt()).abs() < 1e-3);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn nemenyi_critical_difference(methods: usize, data_sets: usize, alpha: f64) -> Result<f64> {
    inputs::at_least("methods", methods, 2)?;
    inputs::at_least("data sets", data_sets, 1)?;
    if methods > MOST_METHODS {
        return Err(Error::Setting { what: "methods", value: methods as f64, expected: "[2, 1000]" });
    }
    if !(alpha > 0.0 && alpha < 1.0) {
        return Err(Error::Setting { what: "alpha", value: alpha, expected: "(0, 1)" });
    }
    let (k, n) = (methods as f64, data_sets as f64);
    // A range above 40 has probability 0 in f64.
    let q = solve_increasing(0.0, 40.0, 1.0 - alpha, |range| range_cdf(range, k)) / 2f64.sqrt();
    Ok(q * (k * (k + 1.0) / (6.0 * n)).sqrt())
}

/// `P(max - min <= range)` of `k` standard normals: `k int phi(z) (Phi(z) - Phi(z - range))^(k - 1) dz`, `z` the maximum.
fn range_cdf(range: f64, k: f64) -> f64 {
    let normal = Normal::standard();
    k * simpson(-9.0, 9.0, |z| normal.pdf(z) * (normal.cdf(z) - normal.cdf(z - range)).powf(k - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn agreement_of_all_is_the_largest_statistic() {
        let test = friedman(array![[1.0, 2.0, 3.0], [0.1, 0.2, 0.3], [5.0, 6.0, 9.0]].view()).unwrap();
        assert_eq!(test.average_ranks, [1.0, 2.0, 3.0]);
        assert!((test.chi_squared - 6.0).abs() < 1e-12 && test.f.is_infinite() && test.f_p == 0.0, "{test:?}");
    }

    #[test]
    fn critical_differences_shrink_with_data_sets_and_grow_with_methods() {
        let critical = |k, n| nemenyi_critical_difference(k, n, 0.05).unwrap();
        assert!((critical(5, 40) - critical(5, 10) / 2.0).abs() < 1e-12);
        assert!(critical(6, 10) > critical(5, 10));
        // Two methods: the range over sqrt 2 is the absolute value of a standard normal.
        assert!((critical(2, 1) - 1.959_963_984_540_054).abs() < 1e-9, "{}", critical(2, 1));
    }

    #[test]
    fn bad_inputs_are_refused() {
        let message = |losses: ndarray::Array2<f64>| friedman(losses.view()).unwrap_err().to_string();
        assert_eq!(message(array![[1.0, 2.0], [1.0, 2.0]]), "methods: got 2, expected at least 3");
        assert_eq!(message(array![[1.0, 2.0, 3.0]]), "data sets: got 1, expected at least 2");
        assert_eq!(
            message(array![[1.0, 2.0, 3.0], [1.0, f64::NAN, 0.0]]),
            "losses[1, 1] is NaN, expected a finite number"
        );
        assert!(message(array![[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]).contains("is constant"));
        let alpha = nemenyi_critical_difference(3, 4, 0.0).unwrap_err().to_string();
        assert_eq!(alpha, "alpha is 0, expected a number in (0, 1)");
    }
}
