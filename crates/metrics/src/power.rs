//! The smallest difference that a two-sided t-test detects (Cohen 1988, chapter 2; noncentral t).

use statrs::distribution::{Continuous, ContinuousCDF, Normal, StudentsT};
use statrs::function::gamma::{gamma_lr, ln_gamma};

use crate::error::{Error, Result};
use crate::integral::{simpson, simpson_nodes, solve_increasing};

/// The smallest difference, in standard errors, that a two-sided t-test with `degrees_of_freedom` at level `alpha` finds with
/// probability `power`. The degrees of freedom need not be whole: Satterthwaite's are not
/// ([`over_examples_and_seeds`](crate::over_examples_and_seeds)).
///
/// # Errors
/// [`Error::Setting`] unless `degrees_of_freedom >= 1`, `0 < alpha < 1` and `alpha < power < 1`.
/// # Examples
/// ```
/// // Without a limit on the degrees of freedom it is the sum of two normal quantiles, 1.960 + 0.842.
/// let many = bayeslora_metrics::smallest_noncentrality(1e6, 0.05, 0.8)?;
/// assert!((many - 2.8016).abs() < 1e-3);
/// assert!(bayeslora_metrics::smallest_noncentrality(4.5, 0.05, 0.8)? > 3.3);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn smallest_noncentrality(degrees_of_freedom: f64, alpha: f64, power: f64) -> Result<f64> {
    let test = TwoSidedTest::new(degrees_of_freedom, alpha)?;
    if !(power > alpha && power < 1.0) {
        return Err(Error::Setting { what: "power", value: power, expected: "(alpha, 1)" });
    }
    // Doubled until it is enough: with one degree of freedom at a small alpha the difference is in the thousands.
    let mut enough = 1.0;
    while test.power(enough) < power && enough < 1e12 {
        enough *= 2.0;
    }
    Ok(solve_increasing(0.0, enough, power, |delta| test.power(delta)))
}

/// Quantiles above this (few degrees of freedom at a small level) make the integrand over `u` a step that a grid misses: one degree of
/// freedom and no effect at the level 1e-4 would be given a power of 6.6e-4.
const LARGE: f64 = 50.0;

/// A two-sided t-test of a stated size.
struct TwoSidedTest {
    degrees_of_freedom: f64,
    critical: f64,
    /// Places `u` and what the integrand there weighs: Simpson's weight times the density.
    nodes: Vec<(f64, f64)>,
}

impl TwoSidedTest {
    fn new(degrees_of_freedom: f64, alpha: f64) -> Result<Self> {
        let nu = degrees_of_freedom;
        let refused = || Error::Setting { what: "degrees of freedom", value: nu, expected: "[1, inf)" };
        if !(nu >= 1.0 && nu.is_finite()) {
            return Err(refused());
        }
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(Error::Setting { what: "alpha", value: alpha, expected: "(0, 1)" });
        }
        let student = StudentsT::new(0.0, 1.0, nu).map_err(|_| refused())?;
        let root = nu.sqrt();
        // Density of u = chi_nu / sqrt(nu); u is within exp(-40) of these limits, and the density is 0 at 0 only in the limit for nu = 1.
        let constant = std::f64::consts::LN_2 + nu / 2.0 * (nu / 2.0).ln() - ln_gamma(nu / 2.0);
        let density = |u: f64| (constant + (nu - 1.0) * u.ln() - nu / 2.0 * u * u).exp();
        let (from, to) = ((1.0 - 9.0 / root).max(f64::MIN_POSITIVE), 1.0 + 9.0 / root);
        let nodes = simpson_nodes(from, to).map(|(u, weight)| (u, weight * density(u)));
        let nodes = nodes.filter(|(_, weight)| *weight > 1e-18).collect();
        Ok(Self { degrees_of_freedom: nu, critical: student.inverse_cdf(1.0 - alpha / 2.0), nodes })
    }

    /// Probability of `|T| > t` with the upper `alpha / 2` quantile `t` and `T` of noncentrality `delta`:
    /// `int f(u) (Phi(delta - t u) + Phi(-delta - t u)) du` over the density `f` of `chi_nu / sqrt(nu)`.
    fn power(&self, delta: f64) -> f64 {
        let (normal, critical) = (Normal::standard(), self.critical);
        if critical > LARGE {
            // Over the numerator of T instead: given it, T is beyond the quantile where u is small enough.
            let nu = self.degrees_of_freedom;
            let rejected = |z: f64| match nu / 2.0 * ((z + delta) / critical).powi(2) {
                0.0 => 0.0,
                half => gamma_lr(nu / 2.0, half),
            };
            return simpson(-9.0, 9.0, |z| normal.pdf(z) * rejected(z)).min(1.0);
        }
        let rejected = |u: f64| normal.cdf(delta - critical * u) + normal.cdf(-delta - critical * u);
        self.nodes.iter().map(|(u, weight)| weight * rejected(*u)).sum::<f64>().min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_effect_the_power_is_the_level_and_signs_do_not_matter() {
        for degrees in [1.0, 2.0, 29.0, 1999.0] {
            for alpha in [0.05, 1e-4] {
                let test = TwoSidedTest::new(degrees, alpha).unwrap();
                assert!((test.power(0.0) - alpha).abs() < 1e-8, "{degrees}: {}", test.power(0.0));
                assert!((test.power(1.3) - test.power(-1.3)).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn one_degree_of_freedom_at_a_small_level_is_a_ratio_of_normals() {
        // Adaptive quadrature by scipy of |z + delta| / |z'|; 20 million draws of it gave 0.15857 with a standard error of 0.00008.
        let power = TwoSidedTest::new(1.0, 0.001).unwrap().power(90.0 * 2f64.sqrt());
        assert!((power - 0.158_464_398_784).abs() < 1e-7, "{power}");
    }

    #[test]
    fn degrees_of_freedom_need_not_be_whole() {
        // SciPy: adaptive quadrature over the density of chi, solved by brentq.
        for (nu, alpha, expected) in [
            (2.0, 0.05, 5.653_489_266_197),
            (4.5, 0.05, 3.619_597_672_952),
            (7.8, 0.05 / 32.0, 5.888_482_552_450),
            (31.4, 0.0025, 4.170_772_870_809),
            (400.0, 0.005, 3.666_726_433_300),
        ] {
            let found = smallest_noncentrality(nu, alpha, 0.8).unwrap();
            assert!((found - expected).abs() < 1e-8 * expected, "{nu}, {alpha}: {found} for {expected}");
        }
        let refused = smallest_noncentrality(0.5, 0.05, 0.8).unwrap_err().to_string();
        assert_eq!(refused, "degrees of freedom is 0.5, expected a number in [1, inf)");
    }

    #[test]
    fn the_smallest_difference_has_the_wanted_power() {
        let smallest = smallest_noncentrality(4.0, 0.05, 0.8).unwrap();
        assert!((TwoSidedTest::new(4.0, 0.05).unwrap().power(smallest) - 0.8).abs() < 1e-9);
    }

    #[test]
    fn bad_inputs_are_refused() {
        let message = |alpha, power| smallest_noncentrality(3.0, alpha, power).unwrap_err().to_string();
        assert_eq!(message(0.0, 0.8), "alpha is 0, expected a number in (0, 1)");
        assert_eq!(message(0.05, 0.05), "power is 0.05, expected a number in (alpha, 1)");
    }
}
