//! The rule "total": of all inputs, at most a share `risk` is both answered and wrong (the joint risk).
//!
//! The loss `1{accepted and wrong}` grows with the threshold, so no grid and no correction is needed. Let a wrong example keep its score and a right
//! one have an infinite score; the joint risk of accepting what lies below the `(k + 1)`-th smallest of these `n` is a quantile of their law.
//! It exceeds `risk` with probability at most `BinCDF(k; n, risk)`: the largest `k` where that is at most `delta` is taken. On average over
//! calibrations `k = floor(risk (n + 1)) - 1` will do (conformal risk control, Angelopoulos et al. 2024); nearly half of them then lie above.

use crate::error::Result;

use super::answer::check_examples;
use super::binomial::{cdf, rate_of};
use super::rank::{Promise, allowed_above};

/// A threshold for the joint risk.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Total {
    /// The promised share of inputs that are answered and wrong.
    pub risk: f64,
    /// Over what it is promised.
    pub promise: Promise,
    /// Calibration examples.
    pub examples: usize,
    /// Wrong answers that may be accepted in calibration.
    pub allowed: usize,
    /// Scores up to it are accepted. It is the number next to the `(allowed + 1)`-th most confident wrong example's score, on the confident side; the
    /// largest finite number where there are no more than `allowed` wrong ones.
    pub threshold: f64,
    /// Calibration examples that are accepted.
    pub accepted: usize,
    /// Probability that a calibration lies above `risk`, at most (exact for scores without ties): `BinCDF(allowed; examples, risk)`.
    pub exceeds: f64,
}

impl Total {
    /// The largest threshold that keeps the promise, from scores, larger = more uncertain, and whether each example is wrong.
    ///
    /// # Errors
    /// [`Error::TooFew`](crate::Error::TooFew) naming the examples needed, [`Error::Length`](crate::Error::Length),
    /// [`Error::NotFinite`](crate::Error::NotFinite), [`Error::Setting`](crate::Error::Setting) unless `1e-9 <= risk < 1` and `0 < delta < 1`.
    /// # Examples
    /// ```
    /// use bayeslora_metrics::guarantee::{Promise, Total};
    /// let scores: Vec<f64> = (0..100).map(f64::from).collect();
    /// let wrong: Vec<bool> = (0..100).map(|n| n % 10 == 9).collect();
    /// let rule = Total::fit(&scores, &wrong, 0.05, Promise::Average)?;
    /// // Four wrong answers may pass: those at 9, 19, 29 and 39.
    /// assert_eq!((rule.allowed, rule.accepted), (4, 49));
    /// assert!(rule.accepts(48.0) && !rule.accepts(49.0));
    /// # Ok::<(), bayeslora_metrics::Error>(())
    /// ```
    pub fn fit(scores: &[f64], wrong: &[bool], risk: f64, promise: Promise) -> Result<Self> {
        rate_of("risk", risk)?;
        check_examples(scores, wrong)?;
        let examples = scores.len();
        let allowed = allowed_above(examples, risk, promise)?.saturating_sub(1);
        let mut of_wrong: Vec<f64> =
            scores.iter().zip(wrong).filter(|(_, wrong)| **wrong).map(|(score, _)| *score).collect();
        of_wrong.sort_by(f64::total_cmp);
        let threshold = of_wrong.get(allowed).copied().unwrap_or(f64::INFINITY).next_down();
        let accepted = scores.iter().filter(|&&score| score <= threshold).count();
        Ok(Self { risk, promise, examples, allowed, threshold, accepted, exceeds: cdf(allowed, examples, risk) })
    }

    /// Whether to answer at this score; never at NaN.
    pub fn accepts(&self, score: f64) -> bool {
        score <= self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAC: Promise = Promise::Pac { delta: 0.1 };

    fn sample(n: u32) -> (Vec<f64>, Vec<bool>) {
        let mut random = crate::random::SplitMix64::keyed(8, u64::from(n), 0);
        let scores: Vec<f64> = (0..n).map(|_| (random.open_unit() * 200.0).floor()).collect();
        let wrong = scores.iter().map(|score| random.open_unit() < score / 1000.0).collect();
        (scores, wrong)
    }

    #[test]
    fn no_more_than_the_allowed_are_accepted_and_one_step_further_they_are() {
        for n in [60, 200, 1000] {
            let (scores, wrong) = sample(n);
            for promise in [Promise::Average, PAC] {
                let rule = Total::fit(&scores, &wrong, 0.05, promise).unwrap();
                let accepted_wrong = |threshold: f64| {
                    scores.iter().zip(&wrong).filter(|&(&score, &wrong)| wrong && score <= threshold).count()
                };
                assert!(accepted_wrong(rule.threshold) <= rule.allowed);
                assert!(rule.threshold >= f64::MAX || accepted_wrong(rule.threshold.next_up()) > rule.allowed);
                assert!(rule.exceeds <= 0.1 || promise == Promise::Average);
                let turned: (Vec<f64>, Vec<bool>) = scores.iter().copied().zip(wrong.iter().copied()).rev().unzip();
                assert_eq!(rule, Total::fit(&turned.0, &turned.1, 0.05, promise).unwrap());
            }
        }
    }

    #[test]
    fn tied_wrong_examples_stay_out_together() {
        let scores = [vec![1.0; 50], vec![2.0; 50]].concat();
        let wrong: Vec<bool> = (0..100).map(|n| n >= 40).collect();
        let rule = Total::fit(&scores, &wrong, 0.05, Promise::Average).unwrap();
        assert_eq!((rule.allowed, rule.accepted), (4, 0));
        assert!(rule.accepts(1.0f64.next_down()) && !rule.accepts(1.0) && !rule.accepts(f64::NAN));
    }

    #[test]
    fn hardly_any_errors_accept_everything_finite() {
        let rule = Total::fit(&[0.0; 100], &[false; 100], 0.05, PAC).unwrap();
        assert_eq!((rule.accepted, rule.threshold.to_bits()), (100, f64::MAX.to_bits()));
        assert!(rule.accepts(1e300) && !rule.accepts(f64::INFINITY));
    }

    #[test]
    fn looser_promises_cover_more() {
        let (scores, wrong) = sample(1000);
        let accepted = |risk, promise| Total::fit(&scores, &wrong, risk, promise).unwrap().accepted;
        let risks = [0.01, 0.02, 0.05, 0.08].map(|risk| accepted(risk, PAC));
        let deltas = [0.01, 0.05, 0.1, 0.3].map(|delta| accepted(0.03, Promise::Pac { delta }));
        assert!(
            risks.is_sorted() && deltas.is_sorted() && risks[0] < risks[3] && deltas[0] < deltas[3],
            "{risks:?} {deltas:?}"
        );
        assert!(accepted(0.03, Promise::Average) > accepted(0.03, PAC));
    }

    #[test]
    fn nearly_half_of_calibrations_exceed_a_promise_on_average() {
        // scipy.stats.binom.cdf(floor(a (n + 1)) - 1, n, a).
        for (n, risk, expected) in
            [(100, 0.02, 0.403_271_710_782), (1000, 0.05, 0.479_741_057_087), (3000, 0.1, 0.491_098_027_447)]
        {
            let rule = Total::fit(&vec![0.0; n], &vec![false; n], risk, Promise::Average).unwrap();
            assert!((rule.exceeds - expected).abs() < 1e-11, "{n}, {risk}: {}", rule.exceeds);
        }
    }

    #[test]
    fn too_few_examples_are_refused_with_the_number_needed() {
        let message =
            |n: usize, promise| Total::fit(&vec![0.0; n], &vec![false; n], 0.02, promise).unwrap_err().to_string();
        assert_eq!(message(48, Promise::Average), "calibration examples: got 48, expected at least 49");
        assert_eq!(message(113, PAC), "calibration examples: got 113, expected at least 114");
        let refused = Total::fit(&[f64::NAN; 49], &[false; 49], 0.02, Promise::Average).unwrap_err().to_string();
        assert_eq!(refused, "calibration scores[0] is NaN, expected a finite number");
    }
}
