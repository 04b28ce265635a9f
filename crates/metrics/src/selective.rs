//! Selective prediction: the risk when only the most confident examples are answered, `r(k) = (errors among the first k) / k`,
//! and its area over all coverages, `AURC = (1/n) sum_k r(k)` (Geifman, Uziel and El-Yaniv 2019).

use crate::error::{Error, Result};
use crate::{inputs, rank};

/// The risk-coverage curve of a confidence.
///
/// Examples are answered in order of falling confidence. Equal confidences have no order, and the order of the file must
/// not decide: within a tied group the errors are spread evenly, which is the expectation over all orders of the group and
/// makes every number here independent of the order of examples.
///
/// # Examples
/// ```
/// let curve = bayeslora_metrics::RiskCoverage::from_confidence(&[0.9, 0.8, 0.7, 0.6], &[true, true, false, true])?;
/// assert_eq!(curve.aurc(), (0.0 + 0.0 + 1.0 / 3.0 + 1.0 / 4.0) / 4.0);
/// assert_eq!(curve.e_aurc(), curve.aurc() - (1.0 / 4.0) / 4.0);
/// assert_eq!(curve.selective_accuracy(0.5)?, 1.0);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RiskCoverage {
    /// Expected errors among the `k + 1` most confident examples.
    errors: Vec<f64>,
}

impl RiskCoverage {
    /// Orders the examples by `confidence`, higher = answered first.
    ///
    /// # Errors
    /// [`Error::TooFew`] without examples, [`Error::Length`], [`Error::NotFinite`] for the confidence.
    pub fn from_confidence(confidence: &[f64], correct: &[bool]) -> Result<Self> {
        check(confidence, correct)?;
        let mut errors = Vec::with_capacity(confidence.len());
        let mut before = 0.0;
        for tied in tied_groups(confidence) {
            let wrong = tied.iter().filter(|&&index| !correct[index]).count() as f64;
            errors.extend((1..=tied.len()).map(|k| before + wrong * k as f64 / tied.len() as f64));
            before += wrong;
        }
        Ok(Self { errors })
    }

    /// Number of examples.
    pub fn examples(&self) -> usize {
        self.errors.len()
    }

    /// Area under the risk-coverage curve, `(1/n) sum_(k=1..n) r(k)`, in `[0, 1]`: the mean over the coverages `k / n`.
    pub fn aurc(&self) -> f64 {
        let risks = self.errors.iter().zip(1u32..).map(|(errors, k)| errors / f64::from(k));
        risks.sum::<f64>() / self.errors.len() as f64
    }

    /// Excess AURC: [`Self::aurc`] minus that of the best order with the same number of errors `m`, in which every error
    /// comes last: `(1/n) sum_(j=1..m) j / (n - m + j)`.
    ///
    /// This exact discrete optimum, not the approximation `r + (1 - r) ln(1 - r)` of Geifman et al. 2019,
    /// which is off by `O(1/n)` and makes the excess of a perfect order negative.
    pub fn e_aurc(&self) -> f64 {
        let total = self.errors.last().copied().unwrap_or(0.0);
        self.aurc() - optimal_aurc(total, self.errors.len() as f64)
    }

    /// Accuracy on the most confident examples, as few as make up at least `coverage`, in `[0, 1]`.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `0 < coverage <= 1`.
    pub fn selective_accuracy(&self, coverage: f64) -> Result<f64> {
        if !(coverage > 0.0 && coverage <= 1.0) {
            return Err(Error::Setting { what: "coverage", value: coverage, expected: "(0, 1]" });
        }
        let n = self.errors.len();
        // Compared as quotients: 0.07 * 100 is 7.000000000000001, whose ceiling would answer an eighth example.
        let answered = (1..n).find(|&k| k as f64 / n as f64 >= coverage).unwrap_or(n);
        Ok(1.0 - self.risk(answered))
    }

    /// `(coverage, risk)` at `points` coverages `ceil(j n / points) / n`, or at all `n` if there are fewer examples.
    pub fn curve(&self, points: usize) -> Vec<(f64, f64)> {
        let n = self.errors.len();
        let points = points.min(n);
        (1..=points)
            .map(|j| (j * n).div_ceil(points))
            .map(|answered| (answered as f64 / n as f64, self.risk(answered)))
            .collect()
    }

    fn risk(&self, answered: usize) -> f64 {
        self.errors[answered - 1] / answered as f64
    }
}

/// `(1/n) sum_(j=1..m) j / (n - m + j)`: the AURC when all `wrong` examples come last. Counts, given as f64.
fn optimal_aurc(wrong: f64, examples: f64) -> f64 {
    let mut sum = 0.0;
    let mut j = 1.0;
    // Half a step of slack: `wrong` is a sum of shares and may miss its integer by rounding.
    while j < wrong + 0.5 {
        sum += j / (examples - wrong + j);
        j += 1.0;
    }
    sum / examples
}

/// Indices by falling confidence, one group per distinct value.
pub(crate) fn tied_groups(confidence: &[f64]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..confidence.len()).collect();
    order.sort_by(|&a, &b| confidence[b].total_cmp(&confidence[a]));
    order.chunk_by(|&a, &b| rank::equal(confidence[a], confidence[b])).map(<[usize]>::to_vec).collect()
}

pub(crate) fn check(confidence: &[f64], correct: &[bool]) -> Result<()> {
    inputs::at_least("examples", confidence.len(), 1)?;
    inputs::same_length("correct", correct.len(), "confidence", confidence.len())?;
    inputs::finite("confidence", confidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_the_mean_over_all_orders() {
        // One error among three tied examples: the mean over its three places.
        let place = |at: usize| {
            let correct: Vec<bool> = (0..4).map(|k| k != at).collect();
            RiskCoverage::from_confidence(&[0.9, 0.8, 0.7, 0.1], &correct).unwrap().aurc()
        };
        let expected = (place(0) + place(1) + place(2)) / 3.0;
        let tied = RiskCoverage::from_confidence(&[0.5, 0.5, 0.5, 0.1], &[false, true, true, true]).unwrap();
        assert!((tied.aurc() - expected).abs() < 1e-15);
        assert!((tied.aurc() - place(0)).abs() > 0.1, "the order of the file would give another number");
    }

    #[test]
    fn excess_is_zero_for_the_best_order_and_positive_for_the_worst() {
        let confidence = [0.9, 0.8, 0.7, 0.6, 0.5];
        let best = RiskCoverage::from_confidence(&confidence, &[true, true, true, false, false]).unwrap();
        assert!(best.e_aurc().abs() < 1e-15);
        let worst = RiskCoverage::from_confidence(&confidence, &[false, false, true, true, true]).unwrap();
        assert!(worst.e_aurc() > 0.5);
        let approximation = 0.4 + 0.6 * 0.6f64.ln();
        assert!((best.aurc() - approximation).abs() > 0.01, "the continuous optimum is another number");
    }

    #[test]
    fn coverage_is_a_quotient_of_counts() {
        let correct: Vec<bool> = (0..100).map(|k| k != 7).collect();
        let confidence: Vec<f64> = (0..100).map(|k| -f64::from(k)).collect();
        let curve = RiskCoverage::from_confidence(&confidence, &correct).unwrap();
        assert!((curve.selective_accuracy(0.07).unwrap() - 1.0).abs() < 1e-15);
        assert!((curve.selective_accuracy(0.08).unwrap() - 0.875).abs() < 1e-15);
        assert!((curve.selective_accuracy(1e-300).unwrap() - 1.0).abs() < 1e-15);
        assert!((curve.selective_accuracy(1.0).unwrap() - 0.99).abs() < 1e-15);
        for coverage in [0.0, -1.0, 1.1, f64::NAN] {
            assert!(matches!(curve.selective_accuracy(coverage), Err(Error::Setting { .. })));
        }
    }

    #[test]
    fn curve_ends_at_full_coverage() {
        let curve = RiskCoverage::from_confidence(&[0.9, 0.8, 0.7], &[true, false, true]).unwrap();
        assert_eq!(curve.curve(2), [(2.0 / 3.0, 0.5), (1.0, 1.0 / 3.0)]);
        assert_eq!(curve.curve(100).len(), 3);
        assert_eq!(curve.curve(0), []);
    }

    #[test]
    fn bad_inputs_are_refused() {
        assert!(matches!(RiskCoverage::from_confidence(&[], &[]), Err(Error::TooFew { .. })));
        assert!(matches!(RiskCoverage::from_confidence(&[0.1], &[true, false]), Err(Error::Length { .. })));
        assert!(matches!(RiskCoverage::from_confidence(&[f64::NAN], &[true]), Err(Error::NotFinite { .. })));
    }
}
