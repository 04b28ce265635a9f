//! What is left of a promise when deployment differs from calibration by at most `eps` in total variation, and evidence against such an `eps`.
//!
//! A change of `eps` moves a share `eps` of the inputs. Worst for the risk among answers is that all of it goes from right answers to wrong ones: with
//! coverage `c` the risk becomes `(r c + eps) / c = r + eps / c`. The coarser `(r c + eps) / (c - eps)` lets the same inputs leave the answers as well.

use crate::error::{Error, Result};

use super::binomial::lower_bound;

/// A bound on the total variation between calibration and deployment.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ShiftBudget {
    eps: f64,
}

impl ShiftBudget {
    /// `eps` is the largest difference of the probabilities of any event.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `0 <= eps <= 1`.
    /// # Examples
    /// ```
    /// let budget = bayeslora_metrics::guarantee::ShiftBudget::new(0.02)?;
    /// assert!((budget.coverage_of_sets(0.95)? - 0.93).abs() < 1e-15);
    /// assert!((budget.total_risk(0.02)? - 0.04).abs() < 1e-15);
    /// assert!((budget.answered_risk(0.05, 0.8)? - 0.075).abs() < 1e-15);
    /// # Ok::<(), bayeslora_metrics::Error>(())
    /// ```
    pub fn new(eps: f64) -> Result<Self> {
        share("eps", eps)?;
        Ok(Self { eps })
    }

    /// The coverage of sets that cover `coverage`: less `eps`, at least 0.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `0 <= coverage <= 1`.
    pub fn coverage_of_sets(self, coverage: f64) -> Result<f64> {
        share("coverage", coverage)?;
        Ok((coverage - self.eps).max(0.0))
    }

    /// The share that is answered and wrong where it was at most `risk`: more by `eps`, at most 1.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `0 <= risk <= 1`.
    pub fn total_risk(self, risk: f64) -> Result<f64> {
        share("risk", risk)?;
        Ok((risk + self.eps).min(1.0))
    }

    /// The risk among answers where it was at most `risk` at a coverage of at least `coverage`: `risk + eps / coverage`, at most 1.
    ///
    /// The coverage is that before the shift. Where it was counted, give its [`lower_bound`](super::lower_bound).
    ///
    /// # Errors
    /// [`Error::Setting`] unless `0 <= risk <= 1` and `0 < coverage <= 1`.
    pub fn answered_risk(self, risk: f64, coverage: f64) -> Result<f64> {
        share("risk", risk)?;
        if !(coverage > 0.0 && coverage <= 1.0) {
            return Err(Error::Setting { what: "coverage", value: coverage, expected: "(0, 1]" });
        }
        Ok((risk + self.eps / coverage).min(1.0))
    }

    /// Whether a bound of [`total_variation_at_least`] refutes the budget. None ever proves it.
    pub fn is_refuted_by(self, total_variation: f64) -> bool {
        total_variation > self.eps
    }
}

/// What a total variation is at least, with probability `1 - delta`, from held-out inputs that a classifier was asked to tell apart: how many of
/// the calibration inputs it called calibration, and of the deployed ones deployed, each as `[right, inputs]`.
///
/// Whatever the classifier, `TV >= P(right | calibration) + P(right | deployed) - 1`, twice the balanced accuracy less 1. Each rate is bounded by
/// Clopper and Pearson at `delta / 2`: balanced accuracy is no count of one binomial.
///
/// # Errors
/// [`Error::TooFew`] without inputs, [`Error::Length`] for more right ones than inputs, [`Error::Setting`] unless `0 < delta < 1`.
/// # Examples
/// ```
/// use bayeslora_metrics::guarantee::total_variation_at_least;
/// let at_least = total_variation_at_least([160, 200], [150, 200], 0.05)?;
/// assert!((at_least - 0.425).abs() < 0.01);
/// assert_eq!(total_variation_at_least([110, 200], [105, 200], 0.05)?, 0.0);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn total_variation_at_least(calibration: [usize; 2], deployed: [usize; 2], delta: f64) -> Result<f64> {
    let mut sum = 0.0;
    for [right, inputs] in [calibration, deployed] {
        sum += lower_bound(right, inputs, delta / 2.0)?;
    }
    Ok((sum - 1.0).max(0.0))
}

fn share(what: &'static str, value: f64) -> Result<()> {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(Error::Setting { what, value, expected: "[0, 1]" }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn bounds_hold_for_all_shifts_of_three_outcomes_and_are_met_by_one() {
        // Right answers, wrong answers and the rest, in parts of 20.
        let parts = 20_i32;
        let laws = || {
            (0..=parts).flat_map(|wrong| (0..=parts - wrong).map(move |right| [right, wrong, parts - right - wrong]))
        };
        for before in laws().filter(|law| law[0] + law[1] > 0) {
            let of = |law: [i32; 3], place: usize| f64::from(law[place]) / f64::from(parts);
            let coverage = of(before, 0) + of(before, 1);
            let risk = of(before, 1) / coverage;
            for moved in 0..=6 {
                let budget = ShiftBudget::new(f64::from(moved) / f64::from(parts)).unwrap();
                let bound = budget.answered_risk(risk, coverage).unwrap();
                let joint = budget.total_risk(of(before, 1)).unwrap();
                let mut worst = 0.0_f64;
                for after in laws().filter(|law| law[0] + law[1] > 0) {
                    let distance: i32 = before.iter().zip(after).map(|(a, b)| (a - b).abs()).sum();
                    if distance <= 2 * moved {
                        worst = worst.max(of(after, 1) / (of(after, 0) + of(after, 1)));
                        assert!(of(after, 1) <= joint + 1e-12);
                        assert!(1.0 - of(after, 1) >= budget.coverage_of_sets(1.0 - of(before, 1)).unwrap() - 1e-12);
                    }
                }
                assert!((worst - bound).abs() < 1e-12, "{before:?}, {moved}: {worst} for {bound}");
            }
        }
    }

    #[test]
    fn total_variation_is_bounded_from_below() {
        // Uniform on [0, 1] against uniform on [0.3, 1.3]: 0.3, and the best classifier asks for 0.3 or 1.
        let mut random = SplitMix64::keyed(9, 0, 0);
        let (mut too_high, mut estimated) = (0, 0);
        for _ in 0..1000 {
            let right = (0..100).filter(|_| random.open_unit() < 0.3).count();
            too_high += usize::from(total_variation_at_least([right, 100], [100, 100], 0.1).unwrap() > 0.3);
            estimated += usize::from(right > 30);
        }
        assert!(too_high <= 100 && estimated > 400, "{too_high}, and {estimated} by the accuracy itself");
        let found = total_variation_at_least([300, 1000], [1000, 1000], 0.1).unwrap();
        assert!(found > 0.26 && found < 0.3 && ShiftBudget::new(0.2).unwrap().is_refuted_by(found));
        assert!(!ShiftBudget::new(0.3).unwrap().is_refuted_by(found));
        assert_eq!(
            total_variation_at_least([3, 2], [1, 1], 0.1).unwrap_err().to_string(),
            "successes has 3 entries, trials has 2"
        );
    }

    #[test]
    fn settings_are_checked() {
        assert!(ShiftBudget::new(1.5).is_err() && ShiftBudget::new(0.1).unwrap().answered_risk(0.1, 0.0).is_err());
    }
}
