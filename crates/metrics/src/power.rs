//! What a paired comparison can see: power of the two-sided paired t-test and the smallest difference it detects (Cohen 1988,
//! chapter 2; noncentral t).

use statrs::distribution::{Chi, Continuous, ContinuousCDF, Normal, StudentsT};

use crate::integral::{simpson, solve_increasing};
use crate::{Error, Result, inputs};

/// Probability that a paired t-test at level `alpha` finds a mean difference of `effect` standard deviations of the
/// differences in `pairs` pairs.
///
/// `P(|T| > t)` with the upper `alpha / 2` quantile `t` of Student's distribution with `n - 1` degrees of freedom and `T`
/// noncentral with parameter `effect sqrt n`:
/// `int f(u) (Phi(delta - t u) + Phi(-delta - t u)) du` over the density `f` of `chi_(n-1) / sqrt(n - 1)`.
///
/// # Errors
/// [`Error::TooFew`] below two pairs, [`Error::Setting`] unless `0 < alpha < 1` and `effect` is finite.
/// # Examples
/// ```
/// // Cohen's medium effect needs 34 pairs for a power of 0.8.
/// assert!(bayeslora_metrics::paired_power(0.5, 34, 0.05)? > 0.8);
/// assert!(bayeslora_metrics::paired_power(0.5, 33, 0.05)? < 0.8);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn paired_power(effect: f64, pairs: usize, alpha: f64) -> Result<f64> {
    if !effect.is_finite() {
        return Err(Error::Setting { what: "effect", value: effect, expected: "(-inf, inf)" });
    }
    let test = PairedTest::new(pairs, alpha)?;
    Ok(test.power(effect))
}

/// The smallest mean difference that a paired t-test at level `alpha` finds with probability `power`, in the unit of the
/// differences, given the spread and number of those at hand.
///
/// `sd(differences) d` with `d` solving [`paired_power`]` = power`. The differences must be independent of each other: per-example
/// differences of one pair of fits (then fits are taken as given), or one mean difference per seed (then the seeds are what varies, and
/// with three of them little is detectable). 0 when all differences are equal.
///
/// # Errors
/// [`Error::TooFew`] below two differences, [`Error::NotFinite`], [`Error::Setting`] unless `0 < alpha < 1` and
/// `alpha < power < 1`.
/// # Examples
/// ```
/// let differences = [0.02, -0.01, 0.03, 0.0, 0.01, 0.02];
/// let smallest = bayeslora_metrics::smallest_detectable_difference(&differences, 0.05, 0.8)?;
/// assert!((smallest - 0.021_116).abs() < 1e-5, "{smallest}");
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn smallest_detectable_difference(differences: &[f64], alpha: f64, power: f64) -> Result<f64> {
    inputs::finite("differences", differences)?;
    let effect = smallest_detectable_effect(differences.len(), alpha, power)?;
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    let sd = (differences.iter().map(|difference| (difference - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    Ok(sd * effect)
}

/// The smallest mean difference, in standard deviations of the differences, that a paired t-test at level `alpha` finds with
/// probability `power` in `pairs` pairs: `d` with [`paired_power`]` = power`. Times `sqrt(pairs)` it is in standard errors.
///
/// # Errors
/// [`Error::TooFew`] below two pairs, [`Error::Setting`] unless `0 < alpha < 1` and `alpha < power < 1`.
/// # Examples
/// ```
/// let effect = bayeslora_metrics::smallest_detectable_effect(34, 0.05, 0.8)?;
/// assert!(effect < 0.5 && effect > 0.49);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn smallest_detectable_effect(pairs: usize, alpha: f64, power: f64) -> Result<f64> {
    let test = PairedTest::new(pairs, alpha)?;
    if !(power > alpha && power < 1.0) {
        return Err(Error::Setting { what: "power", value: power, expected: "(alpha, 1)" });
    }
    // Doubled until it is enough: with two pairs at a small alpha the effect is in the thousands.
    let mut enough = 1.0;
    while test.power(enough) < power && enough < 1e12 {
        enough *= 2.0;
    }
    Ok(solve_increasing(0.0, enough, power, |effect| test.power(effect)))
}

/// Quantiles above this (three pairs or fewer at a small level) make the integrand over `u` a step that a grid misses: two pairs and no
/// effect at the level 1e-4 would be given a power of 6.6e-4.
const LARGE: f64 = 50.0;

/// A two-sided paired t-test of a stated size.
struct PairedTest {
    pairs: f64,
    critical: f64,
    chi: Chi,
}

impl PairedTest {
    fn new(pairs: usize, alpha: f64) -> Result<Self> {
        inputs::at_least("pairs", pairs, 2)?;
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(Error::Setting { what: "alpha", value: alpha, expected: "(0, 1)" });
        }
        let n = pairs as f64;
        // Neither law can fail for positive degrees of freedom.
        let refused = || Error::TooFew { what: "pairs", got: pairs, expected: 2 };
        let student = StudentsT::new(0.0, 1.0, n - 1.0).map_err(|_| refused())?;
        let chi = Chi::new(u64::try_from(pairs - 1).unwrap_or(u64::MAX)).map_err(|_| refused())?;
        Ok(Self { pairs: n, critical: student.inverse_cdf(1.0 - alpha / 2.0), chi })
    }

    fn power(&self, effect: f64) -> f64 {
        let normal = Normal::standard();
        let root = (self.pairs - 1.0).sqrt();
        let delta = effect * self.pairs.sqrt();
        if self.critical > LARGE {
            // Over the numerator of T instead: given it, T is beyond the quantile where u is small enough.
            let rejected = |z: f64| self.chi.cdf(root * (z + delta).abs() / self.critical);
            return simpson(-9.0, 9.0, |z| normal.pdf(z) * rejected(z)).min(1.0);
        }
        // The density of u is within exp(-40) of 0 beyond these; it is 0 at 0 only in the limit for one degree of freedom.
        let (from, to) = ((1.0 - 9.0 / root).max(f64::MIN_POSITIVE), 1.0 + 9.0 / root);
        let rejected = |u: f64| normal.cdf(delta - self.critical * u) + normal.cdf(-delta - self.critical * u);
        simpson(from, to, |u| root * self.chi.pdf(root * u) * rejected(u)).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_effect_the_power_is_the_level_and_signs_do_not_matter() {
        for pairs in [2, 3, 30, 2000] {
            for alpha in [0.05, 1e-4] {
                let power = |effect| paired_power(effect, pairs, alpha).unwrap();
                assert!((power(0.0) - alpha).abs() < 1e-8, "{pairs}: {}", power(0.0));
                assert!((power(0.3) - power(-0.3)).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn two_pairs_at_a_small_level_are_a_ratio_of_normals() {
        // Adaptive quadrature by scipy of |z + delta| / |z'|; 20 million draws of it gave 0.15857 with a standard error of 0.00008.
        let power = paired_power(90.0, 2, 0.001).unwrap();
        assert!((power - 0.158_464_398_784).abs() < 1e-7, "{power}");
    }

    #[test]
    fn the_smallest_difference_has_the_wanted_power_and_scales() {
        let differences = [0.3, -0.1, 0.2, 0.25, 0.0];
        let smallest = smallest_detectable_difference(&differences, 0.05, 0.8).unwrap();
        let sd = crate::summarise(&differences).unwrap().sample_sd.unwrap();
        assert!((paired_power(smallest / sd, 5, 0.05).unwrap() - 0.8).abs() < 1e-9);
        let tenfold = smallest_detectable_difference(&differences.map(|d| 10.0 * d), 0.05, 0.8).unwrap();
        assert!((tenfold - 10.0 * smallest).abs() < 1e-9);
        assert!(smallest_detectable_difference(&[0.5; 4], 0.05, 0.8).unwrap().abs() < 1e-15);
    }

    #[test]
    fn bad_inputs_are_refused() {
        let message = |differences: &[f64], alpha, power| {
            smallest_detectable_difference(differences, alpha, power).unwrap_err().to_string()
        };
        assert_eq!(message(&[0.1], 0.05, 0.8), "pairs: got 1, expected at least 2");
        assert_eq!(message(&[0.1, f64::NAN], 0.05, 0.8), "differences[1] is NaN, expected a finite number");
        assert_eq!(message(&[0.1, 0.2], 0.0, 0.8), "alpha is 0, expected a number in (0, 1)");
        assert_eq!(message(&[0.1, 0.2], 0.05, 0.05), "power is 0.05, expected a number in (alpha, 1)");
        assert!(paired_power(f64::INFINITY, 5, 0.05).is_err());
    }
}
