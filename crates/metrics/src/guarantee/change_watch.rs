//! Noticing that the risk has risen, when labels arrive: Shiryaev-Roberts e-detectors (Shin, Ramdas and Rinaldo 2024).
//!
//! `M_t = (1 + M_(t-1)) L_t` with the likelihood ratio `L` of a risk `p` against `r` sums the evidence over all times at which the rise may have begun.
//! While the risk is at most `r`, the mean of `M_t` is at most `t`: the first alarm at `M >= A` takes at least `A` labels on average.
//!
//! There is one detector for each of three risks, 1.5, 2 and 4 times `r`, and their mean is watched. To average the three ratios in one
//! detector would be a single risk of 2.5 `r` in disguise: `L` is linear in `p`. A multiple near 1 or above is replaced by `(1 + r) / 2`.

use crate::error::{Error, Result};

use super::binomial::rate_of;

const MULTIPLES: [f64; 3] = [1.5, 2.0, 4.0];
/// Held there, so that evidence stays finite; a smaller one is valid too.
const MOST: f64 = 1e300;

/// Three e-detectors for a rise of the risk.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ChangeWatch {
    risk: f64,
    run_length: f64,
    evidence: [f64; 3],
}

impl ChangeWatch {
    /// Before any label: while the risk is at most `risk`, an alarm takes at least `run_length` labels on average.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `1e-9 <= risk < 1` and `1 <= run_length <= 1e15`.
    /// # Examples
    /// ```
    /// use bayeslora_metrics::guarantee::ChangeWatch;
    /// let mut watch = ChangeWatch::new(0.05, 10_000.0)?;
    /// assert!((0..500).all(|label| !watch.observe(label % 50 == 0)));
    /// // Then every second answer is wrong.
    /// let delay = (0..).position(|label| watch.observe(label % 2 == 0));
    /// assert_eq!(delay, Some(12));
    /// # Ok::<(), bayeslora_metrics::Error>(())
    /// ```
    pub fn new(risk: f64, run_length: f64) -> Result<Self> {
        rate_of("risk", risk)?;
        if !(1.0..=1e15).contains(&run_length) {
            return Err(Error::Setting { what: "run length", value: run_length, expected: "[1, 1e15]" });
        }
        Ok(Self { risk, run_length, evidence: [0.0; 3] })
    }

    /// Takes whether the next answer was wrong, and returns whether there is an alarm now.
    pub fn observe(&mut self, wrong: bool) -> bool {
        for (evidence, multiple) in self.evidence.iter_mut().zip(MULTIPLES) {
            let risen = (multiple * self.risk).min(f64::midpoint(1.0, self.risk));
            let ratio = if wrong { risen / self.risk } else { (1.0 - risen) / (1.0 - self.risk) };
            *evidence = ((1.0 + *evidence) * ratio).min(MOST);
        }
        self.is_alarmed()
    }

    /// Whether the evidence has reached the run length.
    pub fn is_alarmed(&self) -> bool {
        self.evidence() >= self.run_length
    }

    /// The mean of the three detectors.
    pub fn evidence(&self) -> f64 {
        self.evidence.iter().map(|evidence| evidence / 3.0).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn evidence_sums_over_the_times_at_which_a_rise_may_have_begun() {
        let wrong = [true, false, true, true, false];
        let mut watch = ChangeWatch::new(0.1, 1e6).unwrap();
        for wrong in wrong {
            watch.observe(wrong);
        }
        let of = |p: f64| -> f64 {
            let ratio = |wrong: &bool| if *wrong { p / 0.1 } else { (1.0 - p) / 0.9 };
            (0..wrong.len()).map(|start| wrong[start..].iter().map(ratio).product::<f64>()).sum()
        };
        let expected = (of(0.15) + of(0.2) + of(0.4)) / 3.0;
        assert!((watch.evidence() - expected).abs() < 1e-12);
        // The mean of the ratios is the ratio of the mean.
        assert!((expected - of(0.25)).abs() > 0.1);
    }

    #[test]
    fn the_mean_grows_by_one_at_the_risk_itself() {
        for risk in [0.05, 0.3, 0.8] {
            let mut watch = ChangeWatch::new(risk, 1e6).unwrap();
            for label in 0..40 {
                let [mut after, mut before] = [watch, watch];
                after.observe(true);
                before.observe(false);
                let next = risk * after.evidence() + (1.0 - risk) * before.evidence();
                assert!((next - 1.0 - watch.evidence()).abs() < 1e-9 * next, "{risk}, {label}");
                watch.observe(label % 7 == 0);
            }
        }
    }

    #[test]
    fn false_alarms_are_as_rare_as_promised_and_a_rise_is_found() {
        let mut random = SplitMix64::keyed(11, 0, 0);
        let mut labels_until = |risk: f64| {
            let mut watch = ChangeWatch::new(0.05, 500.0).unwrap();
            (1..1_000_000_u32).find(|_| watch.observe(random.open_unit() < risk)).map_or(f64::INFINITY, f64::from)
        };
        let at_risk: Vec<f64> = (0..300).map(|_| labels_until(0.05)).collect();
        let mean = at_risk.iter().sum::<f64>() / 300.0;
        let error = (at_risk.iter().map(|labels| (labels - mean).powi(2)).sum::<f64>() / 299.0 / 300.0).sqrt();
        assert!(mean + 3.0 * error > 500.0, "{mean} +- {error}");
        let risen = (0..300).map(|_| labels_until(0.2)).sum::<f64>() / 300.0;
        assert!(risen < 50.0, "{risen}");
    }

    #[test]
    fn evidence_stays_finite_and_settings_are_checked() {
        let mut watch = ChangeWatch::new(0.05, 1e6).unwrap();
        assert!((0..5000).map(|_| watch.observe(true)).last() == Some(true) && watch.evidence().is_finite());
        let refused = ChangeWatch::new(0.05, 0.0).unwrap_err().to_string();
        assert_eq!(refused, "run length is 0, expected a number in [1, 1e15]");
    }
}
