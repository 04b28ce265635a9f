//! Moderated variances: those of many rows, few degrees of freedom each, drawn towards what the rows have in common (Smyth 2004).
//!
//! If the true variances are `d0 s0^2 / chi^2_d0` and a row has the sample variance `s^2` with `d` degrees of freedom, then given it the
//! variance is about `(d0 s0^2 + d s^2) / (d0 + d)`, with `d0 + d` degrees of freedom. `d0` and `s0^2` come from the mean and the variance
//! of `ln s^2` over rows, by digamma and trigamma functions (Smyth 2004, section 6.2; `fitFDist` of limma).
//!
//! What is done here beyond limma: **shrinkage may raise a variance, never lower it.** Rows that vary more than the others in truth (an
//! unstable method among stable ones) are otherwise given a variance that is too small, and are found "different" too often. Where a row's
//! own variance is above the common one, it is kept. What the common one then adds in degrees of freedom falls with the square of their ratio,
//! `d0 min(1, (s0^2 / s^2)^2)`.

use statrs::function::gamma::digamma;

use crate::error::{Error, Result};
use crate::inputs;
use crate::median::median;
use crate::trigamma::{inverse_trigamma, trigamma};

/// Sample variances below this share of their median are raised to it, as in limma: the logarithm of 0 says nothing.
const LEAST: f64 = 1e-5;

/// What the variances of a group of rows have in common.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Prior {
    /// Common variance `s0^2`.
    pub variance: f64,
    /// Degrees of freedom `d0` that it is worth beside a row's own; infinite where rows differ by no more than chance.
    pub degrees_of_freedom: f64,
    /// Degrees of freedom `d` of each row's own variance.
    own: f64,
    /// Number of rows.
    rows: usize,
}

/// A row's variance with what the other rows say about it.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Moderated {
    /// Variance.
    pub variance: f64,
    /// Degrees of freedom.
    pub degrees_of_freedom: f64,
}

impl Prior {
    /// Of the sample variances of rows that have `own` degrees of freedom each.
    ///
    /// # Errors
    /// [`Error::TooFew`] without rows, [`Error::Entry`] for a variance that is negative or not finite, [`Error::Setting`] unless
    /// `own > 0`.
    /// # Examples
    /// ```
    /// use bayeslora_metrics::Prior;
    /// // Variances that differ by no more than four degrees of freedom explain are all the same.
    /// let prior = Prior::fit(&[0.5, 1.0, 1.5, 0.8, 1.2], 4.0)?;
    /// assert!(prior.degrees_of_freedom.is_infinite());
    /// assert!((prior.variance - 1.0).abs() < 1e-12);
    /// // Those that differ by a hundred have little in common.
    /// assert!(Prior::fit(&[0.01, 1.0, 100.0, 0.02, 50.0], 4.0)?.degrees_of_freedom < 2.0);
    /// # Ok::<(), bayeslora_metrics::Error>(())
    /// ```
    pub fn fit(variances: &[f64], own: f64) -> Result<Self> {
        inputs::at_least("variances", variances.len(), 1)?;
        if let Some(index) = variances.iter().position(|v| !(0.0..f64::INFINITY).contains(v)) {
            return Err(Error::Entry { what: "variances", index, value: variances[index], expected: "[0, inf)" });
        }
        if !(own > 0.0 && own.is_finite()) {
            return Err(Error::Setting { what: "degrees of freedom of a variance", value: own, expected: "(0, inf)" });
        }
        let rows = variances.len();
        let least = LEAST * median(variances.iter().copied());
        let raised: Vec<f64> = variances.iter().map(|&v| v.max(least)).collect();
        let pooled = Self { variance: mean(&raised), degrees_of_freedom: f64::INFINITY, own, rows };
        // One row has nothing in common with others; without any variance there is no logarithm.
        if rows == 1 || raised.iter().any(|&v| v <= 0.0) {
            return Ok(Self { degrees_of_freedom: 0.0, ..pooled });
        }
        let logs: Vec<f64> = raised.iter().map(|v| v.ln() - digamma(own / 2.0) + (own / 2.0).ln()).collect();
        let centre = mean(&logs);
        let spread = logs.iter().map(|e| (e - centre).powi(2)).sum::<f64>() / (rows - 1) as f64 - trigamma(own / 2.0);
        if spread <= 0.0 {
            return Ok(pooled);
        }
        let half = inverse_trigamma(spread);
        let variance = (centre + digamma(half) - half.ln()).exp();
        Ok(Self { variance, degrees_of_freedom: 2.0 * half, ..pooled })
    }

    /// The posterior of limma: `(d0 s0^2 + d s^2) / (d0 + d)`, with `min(d0 + d, rows d)` degrees of freedom.
    pub fn posterior(&self, variance: f64) -> Moderated {
        let all = self.own * self.rows as f64;
        if self.degrees_of_freedom.is_infinite() {
            return Moderated { variance: self.variance, degrees_of_freedom: all };
        }
        let sum = self.degrees_of_freedom + self.own;
        let variance = (self.degrees_of_freedom * self.variance + self.own * variance) / sum;
        Moderated { variance, degrees_of_freedom: sum.min(all) }
    }

    /// The posterior, but never below the row's own variance, with the degrees of freedom that the module's text derives.
    pub fn moderate(&self, variance: f64) -> Moderated {
        let Moderated { variance: posterior, degrees_of_freedom } = self.posterior(variance);
        let ratio = if variance > self.variance { self.variance / variance } else { 1.0 };
        let borrowed = (degrees_of_freedom - self.own) * ratio * ratio;
        Moderated { variance: posterior.max(variance), degrees_of_freedom: self.own + borrowed }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_varies_more_keeps_its_variance_and_borrows_little() {
        let prior = Prior::fit(&[1.0, 0.4, 2.1, 0.9, 1.6, 0.2, 30.0, 1.1], 4.0).unwrap();
        let borrowed = |variance: f64| prior.moderate(variance).degrees_of_freedom - 4.0;
        let (small, large) = (prior.moderate(0.2), prior.moderate(30.0));
        assert!(small.variance > 0.2 && small.variance < prior.variance, "{small:?}");
        assert!(large.variance.to_bits() == 30f64.to_bits() && prior.posterior(30.0).variance < 25.0, "{large:?}");
        let ratio: f64 = prior.variance / 30.0;
        assert!((borrowed(30.0) / borrowed(0.2) - ratio.powi(2)).abs() < 1e-12);
        assert!(borrowed(30.0) < 0.1 && borrowed(0.2) > 0.5, "{} {}", borrowed(30.0), borrowed(0.2));
    }

    #[test]
    fn one_row_has_only_itself() {
        let prior = Prior::fit(&[0.7], 2.0).unwrap();
        assert_eq!(prior.moderate(0.7), Moderated { variance: 0.7, degrees_of_freedom: 2.0 });
        // Without any variance there is nothing to share.
        let none = Prior::fit(&[0.0, 0.0], 2.0).unwrap();
        assert_eq!(none.moderate(0.0), Moderated { variance: 0.0, degrees_of_freedom: 2.0 });
    }

    #[test]
    fn bad_inputs_are_refused() {
        let message = |variances: &[f64], own| Prior::fit(variances, own).unwrap_err().to_string();
        assert_eq!(message(&[], 4.0), "variances: got 0, expected at least 1");
        assert_eq!(message(&[1.0, -1.0], 4.0), "variances[1] is -1, expected a number in [0, inf)");
        assert_eq!(message(&[1.0], 0.0), "degrees of freedom of a variance is 0, expected a number in (0, inf)");
    }
}
