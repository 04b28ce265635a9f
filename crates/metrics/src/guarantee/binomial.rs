//! The exact binomial tail `BinCDF(k; n, p) = P(Bin(n, p) <= k) = 1 - I_p(k + 1, n - k)`, on which every promise here rests, and the
//! bounds of Clopper and Pearson (1934) that invert it.
//!
//! Everything takes counts. A rate that is turned back into a count loses errors: 1 of 49 becomes 0 through truncation.

use crate::bootstrap::Interval;
use crate::error::{Error, Result};
use crate::integral::solve_increasing;

use super::beta::{ln_lower, ln_upper};

/// More than this many trials would be needed below the smallest rate: counts beyond 2^53 are no whole f64.
const SMALLEST_RATE: f64 = 1e-9;

/// `P(Bin(trials, probability) <= successes)`.
///
/// # Errors
/// [`Error::Setting`] unless `0 <= probability <= 1`.
/// # Examples
/// ```
/// use bayeslora_metrics::guarantee::binomial_cdf;
/// // No error among 59: a rate of 5 % is refuted at 5 %.
/// assert!((binomial_cdf(0, 59, 0.05)? - 0.048_494_525_249_423_2).abs() < 1e-15);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn binomial_cdf(successes: usize, trials: usize, probability: f64) -> Result<f64> {
    if !(0.0..=1.0).contains(&probability) {
        return Err(Error::Setting { what: "probability", value: probability, expected: "[0, 1]" });
    }
    Ok(cdf(successes, trials, probability))
}

/// The rate behind `successes` of `trials`, with the interval of Clopper and Pearson: it covers the rate with probability at least `level`.
///
/// # Errors
/// [`Error::TooFew`] without trials, [`Error::Length`] for more successes than trials, [`Error::Setting`] unless `0 < level < 1`.
/// # Examples
/// ```
/// let rate = bayeslora_metrics::guarantee::clopper_pearson(1, 49, 0.95)?;
/// assert!((rate.lower - 0.000_516_556_497_6).abs() < 1e-12 && (rate.upper - 0.108_541_763_968_4).abs() < 1e-12);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn clopper_pearson(successes: usize, trials: usize, level: f64) -> Result<Interval> {
    level_of("level", level)?;
    let each = (1.0 - level) / 2.0;
    let [lower, upper] = [lower_bound(successes, trials, each)?, upper_bound(successes, trials, each)?];
    Ok(Interval { estimate: successes as f64 / trials as f64, lower, upper })
}

/// The rate that is below the true one with probability at least `1 - delta`: the `p` with `P(Bin(n, p) >= k) = delta`, and 0 for `k = 0`.
///
/// # Errors
/// As [`clopper_pearson`], for `delta`.
pub fn lower_bound(successes: usize, trials: usize, delta: f64) -> Result<f64> {
    check_counts(successes, trials, delta)?;
    if successes == 0 {
        return Ok(0.0);
    }
    // The tail itself: one minus the other tail would have lost its digits, and one minus the rate those of the rate.
    let [k, rest] = [successes as f64, (trials - successes + 1) as f64];
    Ok(solve_increasing(0.0, 1.0, delta, |p| ln_lower(k, rest, p).exp()))
}

/// The rate that is above the true one with probability at least `1 - delta`: the `p` with `P(Bin(n, p) <= k) = delta`, and 1 for `k = n`.
///
/// # Errors
/// As [`clopper_pearson`], for `delta`.
pub fn upper_bound(successes: usize, trials: usize, delta: f64) -> Result<f64> {
    check_counts(successes, trials, delta)?;
    Ok(if successes == trials { 1.0 } else { solve_increasing(0.0, 1.0, -delta, |p| -cdf(successes, trials, p)) })
}

/// The largest number of successes that still refutes a rate: the largest `k` with `BinCDF(k; trials, rate) <= delta`, or none where not even
/// 0 does.
///
/// # Errors
/// [`Error::Setting`] unless `1e-9 <= rate < 1` and `0 < delta < 1`.
/// # Examples
/// ```
/// use bayeslora_metrics::guarantee::largest_count;
/// assert_eq!(largest_count(1000, 0.05, 0.05)?, Some(38));
/// assert_eq!(largest_count(58, 0.05, 0.05)?, None);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn largest_count(trials: usize, rate: f64, delta: f64) -> Result<Option<usize>> {
    rate_of("rate", rate)?;
    level_of("delta", delta)?;
    Ok(most_refuting(trials, rate, delta))
}

/// The fewest trials in which `successes` refute a rate: the smallest `n` with `BinCDF(successes; n, rate) <= delta`.
///
/// # Errors
/// [`Error::Setting`] unless `1e-9 <= rate < 1` and `0 < delta < 1`.
/// # Examples
/// ```
/// assert_eq!(bayeslora_metrics::guarantee::fewest_trials(0, 0.05, 0.05)?, 59);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn fewest_trials(successes: usize, rate: f64, delta: f64) -> Result<usize> {
    rate_of("rate", rate)?;
    level_of("delta", delta)?;
    Ok(fewest_refuting(successes, rate, delta))
}

/// [`binomial_cdf`] of a `probability` in `[0, 1]`.
pub(super) fn cdf(successes: usize, trials: usize, probability: f64) -> f64 {
    if successes >= trials || probability <= 0.0 {
        return 1.0;
    }
    if probability >= 1.0 {
        return 0.0;
    }
    let [k, n] = [successes, trials].map(|count| count as f64);
    if successes == 0 { (n * (-probability).ln_1p()).exp() } else { ln_upper(k + 1.0, n - k, probability).exp() }
}

/// [`largest_count`] of checked settings.
pub(super) fn most_refuting(trials: usize, rate: f64, delta: f64) -> Option<usize> {
    partition(0, trials, |k| cdf(k, trials, rate) <= delta).checked_sub(1)
}

/// [`fewest_trials`] of checked settings.
pub(super) fn fewest_refuting(successes: usize, rate: f64, delta: f64) -> usize {
    let is_too_few = |n: usize| cdf(successes, n, rate) > delta;
    let mut enough = successes.saturating_add(1);
    while is_too_few(enough) && enough < usize::MAX / 4 {
        enough *= 2;
    }
    partition(successes, enough, is_too_few)
}

/// The first place from `from` to `to` where `holds` no longer does, `to` if it does everywhere; it must not come back.
pub(super) fn partition(from: usize, to: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (from, to);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// A risk or a share that a promise names.
pub(super) fn rate_of(what: &'static str, value: f64) -> Result<()> {
    if (SMALLEST_RATE..1.0).contains(&value) {
        Ok(())
    } else {
        Err(Error::Setting { what, value, expected: "[1e-9, 1)" })
    }
}

/// The probability that a promise is allowed to fail with.
pub(super) fn level_of(what: &'static str, value: f64) -> Result<()> {
    if value > 0.0 && value < 1.0 { Ok(()) } else { Err(Error::Setting { what, value, expected: "(0, 1)" }) }
}

fn check_counts(successes: usize, trials: usize, delta: f64) -> Result<()> {
    crate::inputs::at_least("trials", trials, 1)?;
    if successes > trials {
        return Err(Error::Length { what: "successes", got: successes, reference: "trials", expected: trials });
    }
    level_of("delta", delta)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `P(Bin(n, p) <= k)` by adding its terms.
    fn summed(k: usize, n: usize, p: f64) -> f64 {
        let mut coefficient = 1.0;
        let mut sum = 0.0;
        for i in 0..=k {
            sum += coefficient * p.powi(i32::try_from(i).unwrap()) * (1.0 - p).powi(i32::try_from(n - i).unwrap());
            coefficient *= (n - i) as f64 / (i + 1) as f64;
        }
        sum
    }

    #[test]
    fn tails_are_those_of_scipy() {
        // scipy.stats.binom.cdf; the last four by mpmath with 40 digits.
        for (k, n, p, expected) in [
            (0, 59, 0.05, 0.048_494_525_249_423_2),
            (1, 49, 0.05, 0.289_875_807_136_648),
            (3, 47, 0.1, 0.295_587_032_839_238),
            (6, 208, 0.05, 0.100_918_794_268_791),
            (25, 1000, 0.04, 0.006_667_348_904_342_45),
            (300, 10_000, 0.04, 5.928_038_599_612_72e-8),
            (9900, 10_000, 0.99, 0.513_499_271_716_754_7),
            (49_500, 1_000_000, 0.05, 0.010_872_176_589_645_384),
            (500_000, 10_000_000, 0.05, 0.500_376_249_998_333),
        ] {
            let found = binomial_cdf(k, n, p).unwrap();
            assert!((found / expected - 1.0).abs() < 1e-12, "{k}, {n}, {p}: {found} for {expected}");
        }
    }

    #[test]
    fn tails_are_sums_of_terms() {
        for n in 0..=25 {
            for p in [0.0, 1e-6, 0.05, 0.3, 0.5, 0.77, 0.999, 1.0] {
                for k in 0..=n {
                    let (found, expected) = (cdf(k, n, p), summed(k, n, p));
                    assert!(
                        (found - expected).abs() <= 1e-12 * expected + 1e-300,
                        "{k}, {n}, {p}: {found} for {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_fraction_settles_whatever_the_number_of_trials() {
        // From ten million trials on, what is above a half falls with the root of their number.
        let found = cdf(500_000_000, 10_000_000_000, 0.05);
        assert!((found - 0.5 - 3.762_5e-4 / 1000f64.sqrt()).abs() < 1e-9, "{found}");
        let most = largest_count(10_000_000_000, 0.05, 0.05).unwrap().unwrap() as f64;
        let deviation = (1e10 * 0.05 * 0.95_f64).sqrt();
        assert!(((5e8 - most) / deviation - 1.644_854).abs() < 1e-4, "{most}");
    }

    #[test]
    fn ends_are_exact() {
        for (k, n, p, expected) in
            [(5, 5, 0.3, 1.0), (6, 5, 1.0, 1.0), (4, 5, 1.0, 0.0), (0, 5, 0.0, 1.0), (0, 0, 0.5, 1.0)]
        {
            assert_eq!(cdf(k, n, p).to_bits(), f64::to_bits(expected), "{k}, {n}, {p}");
        }
        assert_eq!(binomial_cdf(0, 1, 1.5).unwrap_err().to_string(), "probability is 1.5, expected a number in [0, 1]");
        assert!(binomial_cdf(0, 1, f64::NAN).is_err());
    }

    #[test]
    fn bounds_are_those_of_scipy() {
        // scipy.stats.beta.ppf, level 0.95.
        for (k, n, lower, upper) in [
            (0, 49, 0.0, 0.072_519_263_664_277_4),
            (1, 49, 0.000_516_556_497_593_286, 0.108_541_763_968_407),
            (3, 47, 0.013_361_769_497_254_93, 0.175_392_430_012_921),
            (49, 49, 0.927_480_736_335_722_6, 1.0),
            (25, 1000, 0.016_242_535_696_882_23, 0.036_684_823_051_923_04),
        ] {
            let found = clopper_pearson(k, n, 0.95).unwrap();
            assert!((found.lower - lower).abs() < 1e-12, "{k} of {n}: {found:?}");
            assert!((found.upper - upper).abs() < 1e-12, "{k} of {n}: {found:?}");
        }
        assert_eq!(clopper_pearson(3, 2, 0.95).unwrap_err().to_string(), "successes has 3 entries, trials has 2");
        assert_eq!(clopper_pearson(0, 0, 0.95).unwrap_err().to_string(), "trials: got 0, expected at least 1");
    }

    #[test]
    fn counts_that_refute_are_found_by_search() {
        for n in [1, 44, 45, 59, 200, 333] {
            for (rate, delta) in [(0.05, 0.1), (0.05, 0.05), (0.1, 0.01), (0.5, 0.2)] {
                let expected = (0..=n).rev().find(|&k| cdf(k, n, rate) <= delta);
                assert_eq!(largest_count(n, rate, delta).unwrap(), expected, "{n}, {rate}, {delta}");
            }
        }
        for k in [0, 1, 7] {
            let expected = (k..1000).find(|&n| cdf(k, n, 0.05) <= 0.1).unwrap();
            assert_eq!(fewest_trials(k, 0.05, 0.1).unwrap(), expected);
        }
        assert!(fewest_trials(0, 1e-12, 0.1).is_err());
        assert_eq!(fewest_trials(0, 0.5, 0.25).unwrap(), 2);
    }
}
