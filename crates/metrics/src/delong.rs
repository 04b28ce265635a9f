//! DeLong's comparison of two correlated areas under the ROC curve (DeLong, DeLong and Clarke-Pearson 1988; by midranks as
//! in Sun and Xu 2014).

use statrs::distribution::{ContinuousCDF, Normal};

use crate::error::{Error, Result};
use crate::{detection, inputs, rank};

/// One detector's scores of the same examples, higher = more out of distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectionScores<'a> {
    /// Of the examples in distribution.
    pub negatives: &'a [f64],
    /// Of those out of distribution.
    pub positives: &'a [f64],
}

/// Two detectors of the same examples compared by AUROC.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AurocDifference {
    /// AUROC of the first detector.
    pub first: f64,
    /// AUROC of the second.
    pub second: f64,
    /// `first - second`.
    pub difference: f64,
    /// Its standard error over examples.
    pub standard_error: f64,
    /// Lower end of the interval of the difference.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Two-sided, of no difference.
    pub p_value: f64,
}

/// DeLong's test and interval for the difference of two AUROCs on the same examples.
///
/// With the share of negatives that a positive beats, `V10_i = (R_i - R+_i) / n-` (`R` midrank among all, `R+` among
/// positives), and the share of positives that beat a negative, `V01_j = 1 - (R_j - R-_j) / n+`,
/// `Var(A - B) = Var_i(V10^A - V10^B) / n+  +  Var_j(V01^A - V01^B) / n-` (sample variances, equation 4 of the paper);
/// the difference over its root is compared with a standard normal.
///
/// The variance is over examples: the fits are taken as given; [`Measured::auroc`](crate::Measured::auroc) compares over seeds too. Where it is 0 (both detectors order every pair alike, or
/// each separates perfectly) the interval has no width, and p is 1 for equal areas and 0 otherwise: large samples are
/// assumed, and such data are not one.
///
/// # Errors
/// [`Error::TooFew`] below two examples in a group, [`Error::Length`] when the detectors scored different numbers of
/// examples, [`Error::NotFinite`], [`Error::Setting`] unless `0 < level < 1`.
/// # Examples
/// ```
/// use bayeslora_metrics::{DetectionScores, delong};
/// let first = DetectionScores { negatives: &[0.1, 0.2, 0.3, 0.4], positives: &[0.35, 0.5, 0.6] };
/// let second = DetectionScores { negatives: &[0.1, 0.4, 0.2, 0.3], positives: &[0.25, 0.15, 0.6] };
/// let compared = delong(first, second, 0.95)?;
/// assert!((compared.first - 11.0 / 12.0).abs() < 1e-15 && (compared.second - 7.0 / 12.0).abs() < 1e-15);
/// assert!(compared.lower < 0.0 && compared.upper > 0.0 && compared.p_value > 0.05);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn delong(first: DetectionScores<'_>, second: DetectionScores<'_>, level: f64) -> Result<AurocDifference> {
    for scores in [first, second] {
        inputs::at_least("negatives", scores.negatives.len(), 2)?;
        inputs::at_least("positives", scores.positives.len(), 2)?;
        detection::check(scores.negatives, scores.positives)?;
    }
    let other = "those of the second detector";
    inputs::same_length("negatives of the first detector", first.negatives.len(), other, second.negatives.len())?;
    inputs::same_length("positives of the first detector", first.positives.len(), other, second.positives.len())?;
    if !(level > 0.0 && level < 1.0) {
        return Err(Error::Setting { what: "level", value: level, expected: "(0, 1)" });
    }
    let (one, two) = (Placements::new(first), Placements::new(second));
    let difference = one.auroc() - two.auroc();
    let variance = variance_of_mean(&one.positives, &two.positives) + variance_of_mean(&one.negatives, &two.negatives);
    let standard_error = variance.sqrt();
    let normal = Normal::standard();
    let half = normal.inverse_cdf(f64::midpoint(1.0, level)) * standard_error;
    // 0 / 0 is no evidence at all.
    let z = if difference == 0.0 { 0.0 } else { difference.abs() / standard_error };
    Ok(AurocDifference {
        first: one.auroc(),
        second: two.auroc(),
        difference,
        standard_error,
        lower: difference - half,
        upper: difference + half,
        p_value: (2.0 * normal.sf(z)).min(1.0),
    })
}

/// The structural components of an AUROC.
pub(crate) struct Placements {
    /// Share of the negatives that each positive beats.
    pub(crate) positives: Vec<f64>,
    /// Share of the positives that beat each negative.
    pub(crate) negatives: Vec<f64>,
}

impl Placements {
    pub(crate) fn new(scores: DetectionScores<'_>) -> Self {
        let DetectionScores { negatives, positives } = scores;
        let all = rank::midranks(&[positives, negatives].concat());
        let (of_positives, of_negatives) = all.split_at(positives.len());
        let share = |all: &[f64], own: &[f64], others: usize| -> Vec<f64> {
            all.iter().zip(rank::midranks(own)).map(|(all, own)| (all - own) / others as f64).collect()
        };
        let beaten = share(of_positives, positives, negatives.len());
        let below = share(of_negatives, negatives, positives.len());
        Self { positives: beaten, negatives: below.into_iter().map(|share| 1.0 - share).collect() }
    }

    pub(crate) fn auroc(&self) -> f64 {
        self.positives.iter().sum::<f64>() / self.positives.len() as f64
    }
}

/// Variance of the mean of `a - b`.
fn variance_of_mean(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let differences = || a.iter().zip(b).map(|(a, b)| a - b);
    let mean = differences().sum::<f64>() / n;
    differences().map(|difference| (difference - mean).powi(2)).sum::<f64>() / (n - 1.0) / n
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auroc;

    const NEGATIVES: [f64; 5] = [0.3, 0.1, 0.5, 0.5, 0.2];
    const POSITIVES: [f64; 4] = [0.5, 0.2, 0.9, 0.6];

    fn scores<'a>(negatives: &'a [f64], positives: &'a [f64]) -> DetectionScores<'a> {
        DetectionScores { negatives, positives }
    }

    #[test]
    fn a_detector_does_not_differ_from_itself_or_from_a_monotone_copy() {
        let own = scores(&NEGATIVES, &POSITIVES);
        let (negatives, positives) = (NEGATIVES.map(f64::exp), POSITIVES.map(f64::exp));
        for other in [own, scores(&negatives, &positives)] {
            let compared = delong(own, other, 0.95).unwrap();
            assert!((compared.first - auroc(&NEGATIVES, &POSITIVES).unwrap()).abs() < 1e-15);
            assert_eq!([compared.difference, compared.lower, compared.upper].map(f64::to_bits), [0; 3]);
            assert!((compared.p_value - 1.0).abs() < 1e-15);
        }
    }

    #[test]
    fn without_variance_a_difference_is_certain() {
        let compared = delong(scores(&[0.0, 0.1], &[1.0, 2.0]), scores(&[1.0, 2.0], &[0.0, 0.1]), 0.95).unwrap();
        assert!((compared.difference - 1.0).abs() < 1e-15 && compared.p_value == 0.0, "{compared:?}");
    }

    #[test]
    fn bad_inputs_are_refused() {
        let own = scores(&NEGATIVES, &POSITIVES);
        let message = |other, level| delong(own, other, level).unwrap_err().to_string();
        assert_eq!(message(scores(&[0.1], &POSITIVES), 0.95), "negatives: got 1, expected at least 2");
        assert_eq!(
            message(scores(&NEGATIVES, &[0.1, 0.2]), 0.95),
            "positives of the first detector has 4 entries, those of the second detector has 2"
        );
        assert_eq!(message(own, 1.0), "level is 1, expected a number in (0, 1)");
        let nan = scores(&NEGATIVES, &[0.1, 0.2, f64::NAN, 0.3]);
        assert_eq!(message(nan, 0.95), "positives[2] is NaN, expected a finite number");
    }
}
