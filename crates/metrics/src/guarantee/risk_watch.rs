//! Watching the risk after deployment, when labels arrive: evidence against `P(wrong) <= r` that may be looked at after every label.
//!
//! The mixture of likelihood ratios over `Beta(a, b)` restricted to risks above `r`, after `k` wrong of `t`:
//!
//! `E = [B(a + k, b + t - k) (1 - I_r(a + k, b + t - k))] / [B(a, b) (1 - I_r(a, b))] / (r^k (1 - r)^(t - k))`.
//!
//! Each ratio is a supermartingale from 1 for every risk up to `r`, and so is their mixture: by Ville's inequality `E` ever reaches `1 / alpha` with
//! probability at most `alpha`. It depends on the two counts alone, and not on the order in which the labels came.

use crate::error::{Error, Result};

use super::beta::ln_ratio_above;
use super::binomial::{level_of, rate_of};

/// An e-process for the risk.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RiskWatch {
    risk: f64,
    alpha: f64,
    prior: [f64; 2],
    wrong: u64,
    labels: u64,
}

impl RiskWatch {
    /// Before any label, with the prior `Beta(1, 10)`: a false alarm is ever given with probability at most `alpha`.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `1e-9 <= risk < 1` and `0 < alpha < 1`.
    /// # Examples
    /// ```
    /// use bayeslora_metrics::guarantee::RiskWatch;
    /// let mut watch = RiskWatch::new(0.05, 0.01)?;
    /// // Every third answer is wrong, and not every twentieth.
    /// let alarm = (0..).position(|label| watch.observe(label % 3 == 0));
    /// assert_eq!((alarm, watch.counts()), (Some(12), [5, 13]));
    /// # Ok::<(), bayeslora_metrics::Error>(())
    /// ```
    pub fn new(risk: f64, alpha: f64) -> Result<Self> {
        Self::with_prior(risk, alpha, [1.0, 10.0])
    }

    /// With the prior `Beta(a, b)`. Any prior keeps the promise; one near the risks that are feared is faster.
    ///
    /// # Errors
    /// As [`Self::new`], and unless `a` and `b` are within `[0.001, 1e9]`.
    pub fn with_prior(risk: f64, alpha: f64, prior: [f64; 2]) -> Result<Self> {
        rate_of("risk", risk)?;
        level_of("alpha", alpha)?;
        match prior.into_iter().enumerate().find(|(_, value)| !(1e-3..=1e9).contains(value)) {
            Some((index, value)) => Err(Error::Entry { what: "prior", index, value, expected: "[0.001, 1e9]" }),
            None => Ok(Self { risk, alpha, prior, wrong: 0, labels: 0 }),
        }
    }

    /// The same watch after these counts, for a state kept elsewhere.
    ///
    /// # Errors
    /// [`Error::Entry`] for more wrong answers than labels.
    pub fn resumed(self, wrong: u64, labels: u64) -> Result<Self> {
        if wrong > labels {
            return Err(Error::Entry { what: "counts", index: 0, value: wrong as f64, expected: "[0, labels]" });
        }
        Ok(Self { wrong, labels, ..self })
    }

    /// Takes whether the next answer was wrong, and returns whether there is an alarm now. The promise is about the first alarm: act on it.
    pub fn observe(&mut self, wrong: bool) -> bool {
        self.wrong += u64::from(wrong);
        self.labels += 1;
        self.is_alarmed()
    }

    /// `E >= 1 / alpha`.
    pub fn is_alarmed(&self) -> bool {
        self.log_e_value() >= -self.alpha.ln()
    }

    /// `ln E`, in nats; 0 before the first label.
    pub fn log_e_value(&self) -> f64 {
        let [a, b] = self.prior;
        let (wrong, right) = (self.wrong as f64, self.labels.saturating_sub(self.wrong) as f64);
        ln_ratio_above(a, b, self.risk, wrong, right) - ln_ratio_above(a, b, self.risk, 0.0, 0.0)
    }

    /// Wrong answers and labels so far: the whole state.
    pub fn counts(&self) -> [u64; 2] {
        [self.wrong, self.labels]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integral::simpson;

    fn log_e_value(wrong: u64, labels: u64, prior: [f64; 2]) -> f64 {
        RiskWatch::with_prior(0.05, 0.05, prior).unwrap().resumed(wrong, labels).unwrap().log_e_value()
    }

    #[test]
    fn evidence_is_that_of_scipy() {
        // scipy.special.betainc and betaln; the last three by mpmath with 60 digits.
        for (wrong, labels, prior, expected) in [
            (1, 1, [0.5, 0.5], 2.452_733_581_679_55),
            (3, 20, [0.5, 0.5], -0.220_641_137_510_431),
            (10, 100, [1.0, 1.0], -0.484_815_931_856_972),
            (30, 400, [1.0, 10.0], 0.970_891_994_013_019),
            (2, 5000, [1.0, 10.0], -6.208_620_553_262_723),
            (6000, 100_000, [1.0, 10.0], 95.194_478_505_750_03),
            (1000, 1000, [1.0, 10.0], 2_942.217_257_779_077),
        ] {
            let found = log_e_value(wrong, labels, prior);
            let tolerance = 1e-12 * f64::abs(expected).max(1.0);
            assert!((found - expected).abs() < tolerance, "{wrong} of {labels}: {found} for {expected}");
        }
        assert!(log_e_value(0, 0, [1.0, 10.0]).abs() < 1e-15);
    }

    #[test]
    fn evidence_is_the_mixture_of_likelihood_ratios() {
        let ratio = |p: f64, wrong: i32, right: i32| (p / 0.05).powi(wrong) * ((1.0 - p) / 0.95).powi(right);
        let density = |p: f64| (1.0 - p).powi(9);
        let all = simpson(0.05, 1.0, density);
        for (wrong, right) in [(0, 0), (1, 0), (0, 7), (3, 20), (9, 60)] {
            let expected = simpson(0.05, 1.0, |p| density(p) * ratio(p, wrong, right)) / all;
            let counts = [wrong, wrong + right].map(|count| u64::try_from(count).unwrap());
            let found = log_e_value(counts[0], counts[1], [1.0, 10.0]).exp();
            assert!((found / expected - 1.0).abs() < 1e-8, "{wrong}, {right}: {found} for {expected}");
        }
    }

    #[test]
    fn the_mean_never_rises_while_the_promise_holds() {
        for prior in [[1.0, 10.0], [0.5, 0.5]] {
            for (wrong, labels) in [(0, 0), (0, 9), (3, 20), (40, 300), (1, 2000)] {
                let e = |wrong, labels| log_e_value(wrong, labels, prior).exp();
                let next = |p: f64| p * e(wrong + 1, labels + 1) + (1.0 - p) * e(wrong, labels + 1);
                assert!((next(0.05) / e(wrong, labels) - 1.0).abs() < 1e-10, "exactly at the risk");
                assert!(next(0.04) < e(wrong, labels) && next(0.06) > e(wrong, labels));
            }
        }
    }

    #[test]
    fn state_is_two_counts() {
        let mut watch = RiskWatch::new(0.1, 0.05).unwrap();
        let alarms = [true, false, true, true].map(|wrong| watch.observe(wrong));
        assert_eq!(watch.counts(), [3, 4]);
        assert_eq!(RiskWatch::new(0.1, 0.05).unwrap().resumed(3, 4).unwrap(), watch);
        assert_eq!(alarms[3], watch.is_alarmed());
        let refused = RiskWatch::new(0.1, 0.05).unwrap().resumed(5, 4).unwrap_err().to_string();
        assert_eq!(refused, "counts[0] is 5, expected a number in [0, labels]");
        let refused = RiskWatch::with_prior(0.1, 0.05, [1.0, 0.0]).unwrap_err().to_string();
        assert_eq!(refused, "prior[1] is 0, expected a number in [0.001, 1e9]");
    }
}
