//! The rule "ood": at most a share `f` of in-distribution inputs is sent away as foreign.
//!
//! The conformal p-value of a score is `p = (1 + #{calibration scores >= s}) / (n + 1)`. Inputs with `p <= f` are sent away, which are those beyond
//! the `floor(f (n + 1))`-th largest calibration score.

use crate::error::Result;
use crate::inputs;

use super::binomial::rate_of;
use super::grid::sorted;
use super::rank::{Promise, allowed_above};

/// A threshold on distances from the training distribution.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Outlier {
    /// Share of in-distribution inputs that may be sent away.
    pub share: f64,
    /// Scores up to it, itself included, stay.
    pub threshold: f64,
    /// Calibration scores, ascending.
    scores: Vec<f64>,
}

impl Outlier {
    /// The threshold, from scores of in-distribution examples, larger = farther.
    ///
    /// # Errors
    /// [`Error::TooFew`](crate::Error::TooFew) naming the examples needed, [`Error::NotFinite`](crate::Error::NotFinite),
    /// [`Error::NoOrder`](crate::Error::NoOrder) where all scores are the same, [`Error::Setting`](crate::Error::Setting) unless `1e-9 <= share < 1`.
    /// # Examples
    /// ```
    /// let scores: Vec<f64> = (1..=99).map(f64::from).collect();
    /// let rule = bayeslora_metrics::guarantee::Outlier::fit(&scores, 0.05)?;
    /// assert_eq!((rule.threshold, rule.p_value(95.0), rule.p_value(95.5)), (95.0, 0.06, 0.05));
    /// assert!(rule.accepts(95.0) && !rule.accepts(95.5));
    /// # Ok::<(), bayeslora_metrics::Error>(())
    /// ```
    pub fn fit(scores: &[f64], share: f64) -> Result<Self> {
        rate_of("share", share)?;
        let from_above = allowed_above(scores.len(), share, Promise::Average)?;
        let scores = sorted("calibration scores", scores)?;
        inputs::at_least("calibration scores", scores.len(), from_above)?;
        Ok(Self { share, threshold: scores[scores.len() - from_above], scores })
    }

    /// Calibration examples.
    pub fn examples(&self) -> usize {
        self.scores.len()
    }

    /// The conformal p-value of a score, in `[1 / (n + 1), 1]`: of in-distribution inputs at most a share `f` has one of at most `f`. NaN is as
    /// foreign as can be.
    pub fn p_value(&self, score: f64) -> f64 {
        let at_least = self.scores.len() - self.scores.partition_point(|other| *other < score);
        let at_least = if score.is_nan() { 0 } else { at_least };
        (1 + at_least) as f64 / (self.scores.len() + 1) as f64
    }

    /// Whether an input of this score stays; never at NaN.
    pub fn accepts(&self, score: f64) -> bool {
        score <= self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_are_those_of_their_definition_and_decide_as_the_threshold_does() {
        let mut random = crate::random::SplitMix64::keyed(4, 0, 0);
        for n in [19, 20, 99, 240] {
            let scores: Vec<f64> = (0..n).map(|_| (random.open_unit() * 40.0).floor()).collect();
            for share in [0.05, 0.1, 0.29] {
                let rule = Outlier::fit(&scores, share).unwrap();
                for score in (-1..42).map(f64::from).chain([0.5, 17.5, f64::INFINITY, f64::NEG_INFINITY]) {
                    let at_least = scores.iter().filter(|&&other| other >= score).count();
                    let p_value = rule.p_value(score);
                    assert!((p_value - (1 + at_least) as f64 / f64::from(n + 1)).abs() < 1e-15);
                    assert_eq!(rule.accepts(score), p_value > share + 1e-12, "{n}, {share}, {score}");
                }
                assert!((rule.p_value(f64::NAN) - 1.0 / f64::from(n + 1)).abs() < 1e-15 && !rule.accepts(f64::NAN));
                assert!(
                    scores.iter().filter(|&&score| !rule.accepts(score)).count() as f64 <= share * f64::from(n + 1)
                );
            }
        }
    }

    #[test]
    fn bad_input_is_refused_by_name() {
        let message = |scores: &[f64]| Outlier::fit(scores, 0.05).unwrap_err().to_string();
        assert_eq!(message(&[1.0; 18]), "calibration examples: got 18, expected at least 19");
        assert_eq!(
            message(&[1.0; 19]),
            "calibration scores are 1 for every example; scores that do not differ order nothing"
        );
        assert_eq!(message(&[f64::NAN; 19]), "calibration scores[0] is NaN, expected a finite number");
    }
}
