//! The paired t-test, seed by seed (Student 1908).

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::error::{Error, Result};
use crate::summary::summarise;

/// Two-sided p-value that `a` and `b`, paired in order, have the same mean: `t = mean(d) / (sd(d) / sqrt(n))` of the differences `d`, with
/// `n - 1` degrees of freedom.
///
/// Differences that are all the same number have no spread to judge it by: the p-value is then 1 for zero and 0 for anything else.
///
/// # Errors
/// [`Error::Length`] where the two differ in length, [`Error::TooFew`] below two pairs, [`Error::NotFinite`].
///
/// # Examples
/// ```
/// // Three differences 1, 2, 3: t = 2 sqrt(3), and with two degrees of freedom p = 1 - t / sqrt(2 + t^2).
/// let p = bayeslora_metrics::paired_t(&[2.0, 4.0, 6.0], &[1.0, 2.0, 3.0])?;
/// assert!((p - (1.0 - (12.0_f64 / 14.0).sqrt())).abs() < 1e-12);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn paired_t(a: &[f64], b: &[f64]) -> Result<f64> {
    crate::inputs::same_length("a", a.len(), "b", b.len())?;
    crate::inputs::at_least("pairs", a.len(), 2)?;
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let summary = summarise(&differences)?;
    let error = summary.sample_sd.unwrap_or(0.0) / (summary.n as f64).sqrt();
    // What is left of equal differences is rounding.
    if error <= 1e-12 * summary.mean.abs() {
        return Ok(if summary.mean == 0.0 { 1.0 } else { 0.0 });
    }
    let degrees = summary.n as f64 - 1.0;
    let student = StudentsT::new(0.0, 1.0, degrees).map_err(|_| Error::Setting {
        what: "degrees of freedom",
        value: degrees,
        expected: "[1, inf)",
    })?;
    Ok((2.0 * student.cdf(-(summary.mean / error).abs())).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_are_those_of_the_closed_forms() {
        // Four degrees of freedom: P(T <= t) = 1/2 + 3/8 s (1 - s^2 / 12) with s = t / sqrt(1 + t^2 / 4).
        let (a, b) = ([5.0, 7.0, 3.0, 6.0, 4.0], [4.0, 4.0, 2.0, 6.0, 1.0]);
        // Differences 1, 3, 1, 0, 3: mean 1.6, variance 1.8.
        let t = 1.6 / (1.8_f64 / 5.0).sqrt();
        let s = t / (1.0 + t * t / 4.0).sqrt();
        let expected = 2.0 * (0.5 - 0.375 * s * (1.0 - s * s / 12.0));
        assert!((paired_t(&a, &b).unwrap() - expected).abs() < 1e-12);
        assert!((paired_t(&b, &a).unwrap() - expected).abs() < 1e-12, "two-sided");
        // Two pairs: a Cauchy variable, p = 1 - 2 atan(t) / pi with t = 3 for the differences 1 and 2.
        let two = paired_t(&[1.0, 2.0], &[0.0, 0.0]).unwrap();
        assert!((two - (1.0 - 2.0 * 3.0_f64.atan() / std::f64::consts::PI)).abs() < 1e-12);
    }

    #[test]
    fn without_spread_the_sign_decides_and_bad_inputs_are_refused() {
        assert_eq!([paired_t(&[1.0, 2.0], &[1.0, 2.0]), paired_t(&[1.0, 2.0], &[0.5, 1.5])], [Ok(1.0), Ok(0.0)]);
        assert_eq!(paired_t(&[0.1 + 0.2, 0.6, 0.9], &[0.2, 0.5, 0.8]), Ok(0.0), "rounding is no spread");
        assert!(paired_t(&[1.0], &[2.0]).is_err() && paired_t(&[1.0, 2.0], &[2.0]).is_err());
        assert!(paired_t(&[1.0, f64::NAN], &[2.0, 3.0]).is_err());
    }
}
