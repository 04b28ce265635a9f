//! The rule "answer": of what is answered, at most a share `risk` is wrong, with probability `1 - delta` over calibrations.
//!
//! Each of the thresholds `t_1 < .. < t_L`, fixed beforehand, is the null hypothesis that the risk among scores up to it is larger. Given that
//! `m_j` calibration examples are accepted, the wrong ones are binomial, so `p_j = BinCDF(k_j; m_j, risk)` is its exact p-value. The
//! fallback procedure (Wiens 2003) keeps the probability of any false rejection at `delta`, however the tests depend on each other:
//!
//! `level_1 = delta / L`, reject `j` if `p_j <= level_j`, `level_(j+1) = delta / L + (level_j if j was rejected, else 0)`.
//!
//! All rejected thresholds are certified at once, and the one of the largest coverage is taken. Why not a fixed sequence, which spends `delta`
//! on the first threshold and stops at the first failure: where the most confident few per cent are overconfident it certifies nothing, at
//! any number of examples. To take the largest threshold whose calibration risk meets the target breaks the promise in half of all calibrations.

use crate::error::{Error, Result};
use crate::inputs;

use super::binomial::{cdf, fewest_refuting, level_of, rate_of};
use super::labels::accepted_at_rate;

/// One threshold and its test.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AnswerTest {
    /// Scores up to it, itself included, are accepted.
    pub threshold: f64,
    /// Calibration examples that are accepted.
    pub accepted: usize,
    /// Those of them that are wrong.
    pub wrong: usize,
    /// `BinCDF(wrong; accepted, risk)`.
    pub p_value: f64,
    /// Level at which it is tested.
    pub level: f64,
    /// Whether the risk up to the threshold is certified.
    pub is_certified: bool,
}

/// What is missing where nothing is certified.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shortfall {
    /// The test that needs the fewest labels more, or the smallest p-value if no number would do.
    pub closest: AnswerTest,
    /// Labels more, at the rates observed, until it passes; none where its rate of errors is not below the risk.
    pub labels_more: Option<usize>,
}

/// Tests of all thresholds against one calibration set.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Answer {
    /// The promised risk among answers, in `(0, 1)`.
    pub risk: f64,
    /// Probability that the promise is broken.
    pub delta: f64,
    /// Calibration examples.
    pub examples: usize,
    /// By rising threshold.
    pub tests: Vec<AnswerTest>,
}

impl Answer {
    /// Tests `thresholds`, ascending and from other data, on calibration examples: their scores, larger = more uncertain, and whether they are
    /// wrong. A score equal to a threshold is accepted.
    ///
    /// # Errors
    /// [`Error::TooFew`] without thresholds, or naming the examples from which anything could be certified; [`Error::Descending`] for thresholds
    /// that do not ascend; [`Error::NotFinite`], [`Error::Length`]; [`Error::Setting`] unless `1e-9 <= risk < 1` and `0 < delta < 1`.
    /// # Examples
    /// ```
    /// use bayeslora_metrics::guarantee::{Answer, coverages, thresholds};
    /// let scores: Vec<f64> = (0..1000).map(|n| f64::from(n) / 1000.0).collect();
    /// // Every fifth of the less certain half is wrong.
    /// let wrong: Vec<bool> = (0..1000).map(|n| n >= 500 && n % 5 == 0).collect();
    /// let candidates = thresholds(&scores, &coverages(1000, 0.05, 0.1)?)?;
    /// let rule = Answer::fit(&candidates, &scores, &wrong, 0.05, 0.1)?;
    /// let certified = rule.certified().ok_or("nothing certified")?;
    /// assert_eq!((certified.accepted, certified.wrong), (552, 11));
    /// assert!(rule.accepts(0.5) && !rule.accepts(0.6) && !rule.accepts(f64::NAN));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fit(thresholds: &[f64], scores: &[f64], wrong: &[bool], risk: f64, delta: f64) -> Result<Self> {
        rate_of("risk", risk)?;
        level_of("delta", delta)?;
        check_thresholds(thresholds)?;
        check_examples(scores, wrong)?;
        inputs::at_least("calibration examples", scores.len(), fewest_refuting(0, risk, delta))?;
        let share = delta / thresholds.len() as f64;
        let mut level = 0.0;
        let mut tests = Vec::with_capacity(thresholds.len());
        for &threshold in thresholds {
            let accepted = scores.iter().filter(|&&score| score <= threshold).count();
            let wrong = scores.iter().zip(wrong).filter(|&(&score, &wrong)| wrong && score <= threshold).count();
            level += share;
            let p_value = cdf(wrong, accepted, risk);
            let is_certified = p_value <= level;
            tests.push(AnswerTest { threshold, accepted, wrong, p_value, level, is_certified });
            if !is_certified {
                level = 0.0;
            }
        }
        Ok(Self { risk, delta, examples: scores.len(), tests })
    }

    /// The certified test of the largest coverage.
    pub fn certified(&self) -> Option<&AnswerTest> {
        self.tests.iter().rfind(|test| test.is_certified)
    }

    /// Whether to answer at this score: never where nothing is certified, never at NaN.
    pub fn accepts(&self, score: f64) -> bool {
        self.certified().is_some_and(|test| score <= test.threshold)
    }

    /// What is missing, where nothing is certified.
    pub fn shortfall(&self) -> Option<Shortfall> {
        if self.certified().is_some() {
            return None;
        }
        let each = self.tests.iter().map(|&closest| Shortfall { closest, labels_more: self.labels_more(&closest) });
        each.min_by(|a, b| {
            let more = |found: &Shortfall| found.labels_more.unwrap_or(usize::MAX);
            more(a).cmp(&more(b)).then(a.closest.p_value.total_cmp(&b.closest.p_value))
        })
    }

    fn labels_more(&self, test: &AnswerTest) -> Option<usize> {
        let accepted = accepted_at_rate(test.wrong, test.accepted, self.risk, test.level)?;
        Some(self.examples.checked_mul(accepted)?.div_ceil(test.accepted).saturating_sub(self.examples))
    }
}

fn check_thresholds(thresholds: &[f64]) -> Result<()> {
    inputs::at_least("thresholds", thresholds.len(), 1)?;
    inputs::finite("thresholds", thresholds)?;
    match thresholds.windows(2).find(|pair| matches!(pair, [low, high] if low >= high)) {
        Some(pair) => Err(Error::Descending { what: "thresholds", before: pair[0], after: pair[1] }),
        None => Ok(()),
    }
}

/// Calibration scores, all finite, and as many verdicts.
pub(super) fn check_examples(scores: &[f64], wrong: &[bool]) -> Result<()> {
    inputs::at_least("calibration examples", scores.len(), 1)?;
    inputs::same_length("wrong", wrong.len(), "calibration scores", scores.len())?;
    inputs::finite("calibration scores", scores)
}

#[cfg(test)]
mod tests {
    use super::super::grid;
    use super::*;

    /// Scores `0..n` of which those at `places` are wrong.
    fn fitted(n: u32, places: &[usize], thresholds: &[f64], delta: f64) -> Answer {
        let scores: Vec<f64> = (0..n).map(f64::from).collect();
        let wrong: Vec<bool> = (0..scores.len()).map(|place| places.contains(&place)).collect();
        Answer::fit(thresholds, &scores, &wrong, 0.05, delta).unwrap()
    }

    #[test]
    fn levels_are_carried_on_or_lost() {
        // Of 200: right up to 99, then two errors, then many.
        let wrong: Vec<usize> = [110, 111].into_iter().chain(150..160).collect();
        let rule = fitted(200, &wrong, &[49.0, 99.0, 119.0, 199.0], 0.2);
        let levels: Vec<f64> = rule.tests.iter().map(|test| test.level).collect();
        for (found, expected) in levels.iter().zip([0.05, 0.05, 0.1, 0.15]) {
            assert!((found - expected).abs() < 1e-15, "{levels:?}");
        }
        assert_eq!(rule.tests.iter().map(|test| test.is_certified).collect::<Vec<_>>(), [false, true, true, false]);
        assert_eq!(rule.tests.iter().map(|test| test.wrong).collect::<Vec<_>>(), [0, 0, 2, 12]);
        assert!((rule.tests[0].p_value - 0.95f64.powi(50)).abs() < 1e-15);
        assert_eq!(rule.certified().map(|test| test.accepted), Some(120));
        assert_eq!(rule.shortfall(), None);
    }

    #[test]
    fn a_score_at_the_threshold_is_accepted() {
        let scores = [vec![0.5; 60], vec![1.0; 60]].concat();
        let wrong: Vec<bool> = (0..120).map(|place| place >= 60).collect();
        let rule = Answer::fit(&[0.5, 1.0], &scores, &wrong, 0.05, 0.2).unwrap();
        assert_eq!((rule.tests[0].accepted, rule.tests[0].wrong, rule.tests[1].wrong), (60, 0, 60));
        assert!(rule.accepts(0.5) && !rule.accepts(0.5f64.next_up()) && !rule.accepts(f64::NAN));
        assert!(rule.accepts(-1e300) && !rule.accepts(f64::INFINITY));
    }

    #[test]
    fn nothing_certified_says_what_is_missing() {
        // 2 errors among 100 at a level of 0.05.
        let rule = fitted(200, &[5, 50, 150, 151, 152, 153, 154, 155, 156, 157], &[99.0, 199.0], 0.1);
        let missing = rule.shortfall().unwrap();
        assert_eq!((missing.closest.accepted, missing.closest.wrong), (100, 2));
        let more = missing.labels_more.unwrap();
        // At the same rate the accepted grow by half as much as the labels.
        let passes = |labels: usize| {
            let accepted = usize::midpoint(200, labels);
            cdf((2 * accepted).div_ceil(100), accepted, 0.05) <= 0.05
        };
        assert!(passes(more) && !(0..more).any(passes), "{more}");
        assert!(!rule.accepts(0.0), "nothing is answered");
        let hopeless = fitted(200, &(0..20).collect::<Vec<_>>(), &[99.0, 199.0], 0.1).shortfall().unwrap();
        assert_eq!((hopeless.closest.accepted, hopeless.labels_more), (200, None));
    }

    #[test]
    fn order_of_examples_does_not_matter_and_looser_promises_cover_more() {
        let mut random = crate::random::SplitMix64::keyed(5, 0, 0);
        let scores: Vec<f64> = (0..800).map(|_| (random.open_unit() * 50.0).floor()).collect();
        let wrong: Vec<bool> = scores.iter().map(|score| random.open_unit() < 0.004 * score).collect();
        let candidates = grid::thresholds(&scores, &[0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0]).unwrap();
        let rule =
            |scores: &[f64], wrong: &[bool], risk, delta| Answer::fit(&candidates, scores, wrong, risk, delta).unwrap();
        let turned: (Vec<f64>, Vec<bool>) = scores.iter().copied().zip(wrong.iter().copied()).rev().unzip();
        assert_eq!(rule(&scores, &wrong, 0.05, 0.1), rule(&turned.0, &turned.1, 0.05, 0.1));
        let covered = |risk, delta| rule(&scores, &wrong, risk, delta).certified().map_or(0, |test| test.accepted);
        let risks = [0.02, 0.03, 0.05, 0.08, 0.1, 0.2].map(|risk| covered(risk, 0.1));
        let deltas = [0.03, 0.05, 0.1, 0.2, 0.5].map(|delta| covered(0.08, delta));
        assert!(risks.is_sorted() && risks[0] < risks[5], "{risks:?}");
        assert!(deltas.is_sorted() && deltas[0] < deltas[4], "{deltas:?}");
    }

    #[test]
    fn bad_input_is_refused_by_name() {
        let message = |thresholds: &[f64], scores: &[f64], wrong: &[bool], risk| {
            Answer::fit(thresholds, scores, wrong, risk, 0.1).unwrap_err().to_string()
        };
        let (scores, wrong) = ([0.0; 44], [false; 44]);
        assert_eq!(message(&[1.0], &scores, &wrong, 0.05), "calibration examples: got 44, expected at least 45");
        assert_eq!(message(&[], &scores, &wrong, 0.5), "thresholds: got 0, expected at least 1");
        assert_eq!(message(&[2.0, 1.0], &scores, &wrong, 0.5), "thresholds go from 2 to 1, expected ascending ones");
        assert_eq!(message(&[f64::NAN], &scores, &wrong, 0.5), "thresholds[0] is NaN, expected a finite number");
        assert_eq!(
            message(&[1.0], &[f64::INFINITY; 44], &wrong, 0.5),
            "calibration scores[0] is inf, expected a finite number"
        );
        assert_eq!(message(&[1.0], &scores, &wrong[1..], 0.5), "wrong has 43 entries, calibration scores has 44");
        assert_eq!(message(&[1.0], &scores, &wrong, 1.0), "risk is 1, expected a number in [1e-9, 1)");
    }
}
