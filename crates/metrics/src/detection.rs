//! Detection of out-of-distribution examples by a score: AUROC, average precision and FPR at a TPR.
//!
//! Positive = out of distribution, higher score = more out of distribution. With thresholds `t` at the distinct scores,
//! `TPR(t)` and `FPR(t)` are the shares of positives and negatives with score at least `t`.

use crate::error::{Error, Result};
use crate::{inputs, rank};

/// Area under the ROC curve, `P(s+ > s-) + P(s+ = s-) / 2`, in `[0, 1]`.
///
/// The Mann-Whitney statistic by midranks, `(R+ - n+ (n+ + 1) / 2) / (n+ n-)` with the rank sum `R+` of the positives
/// (Bamber 1975): ties count one half, 0.5 is chance.
///
/// # Errors
/// [`Error::TooFew`] when a group is empty, [`Error::NotFinite`] for NaN and infinite scores.
/// # Examples
/// ```
/// let auroc = bayeslora_metrics::auroc(&[0.1, 0.2, 0.3], &[0.2, 0.4])?;
/// assert_eq!(auroc, (1.5 + 3.0) / 6.0);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn auroc(negatives: &[f64], positives: &[f64]) -> Result<f64> {
    check(negatives, positives)?;
    let all: Vec<f64> = positives.iter().chain(negatives).copied().collect();
    let rank_sum: f64 = rank::midranks(&all)[..positives.len()].iter().sum();
    let (neg, pos) = (negatives.len() as f64, positives.len() as f64);
    Ok((rank_sum - pos * (pos + 1.0) / 2.0) / (pos * neg))
}

/// Average precision of detecting the positives, `sum_t (R_t - R_(t-1)) P_t`, in `(0, 1]`.
///
/// Over distinct thresholds from the highest down, recall `R_t` and precision `P_t`; tied scores are one threshold and
/// nothing is interpolated, as `sklearn.metrics.average_precision_score`. Chance is the share of positives.
///
/// # Errors
/// As [`auroc`].
/// # Examples
/// ```
/// let aupr = bayeslora_metrics::aupr(&[0.1, 0.2, 0.3], &[0.2, 0.4])?;
/// assert_eq!(aupr, 0.5 * 1.0 + 0.5 * (2.0 / 4.0));
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn aupr(negatives: &[f64], positives: &[f64]) -> Result<f64> {
    check(negatives, positives)?;
    let mut area = 0.0;
    let mut found = 0;
    for detected in thresholds(negatives, positives) {
        let precision = detected.positives as f64 / (detected.positives + detected.negatives) as f64;
        area += (detected.positives - found) as f64 * precision;
        found = detected.positives;
    }
    Ok(area / positives.len() as f64)
}

/// Least false-positive rate among the thresholds whose true-positive rate is at least `tpr`, in `[0, 1]`.
///
/// No interpolation between thresholds: the rate can be had by an actual threshold on the score. FPR at 95 % TPR of
/// Hendrycks et al. is this with `tpr = 0.95`.
///
/// # Errors
/// As [`auroc`]; [`Error::Setting`] unless `0 < tpr <= 1`.
/// # Examples
/// ```
/// assert_eq!(bayeslora_metrics::fpr_at_tpr(&[0.1, 0.2, 0.3], &[0.2, 0.4], 0.95)?, 2.0 / 3.0);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn fpr_at_tpr(negatives: &[f64], positives: &[f64], tpr: f64) -> Result<f64> {
    check(negatives, positives)?;
    if !(tpr > 0.0 && tpr <= 1.0) {
        return Err(Error::Setting { what: "tpr", value: tpr, expected: "(0, 1]" });
    }
    let reached = |detected: &Detected| detected.positives as f64 / positives.len() as f64 >= tpr;
    // The last threshold detects everything, so one always reaches `tpr`.
    let first = thresholds(negatives, positives).into_iter().find(reached);
    Ok(first.map_or(1.0, |detected| detected.negatives as f64 / negatives.len() as f64))
}

/// How many of either group score at least as high as a threshold.
struct Detected {
    negatives: usize,
    positives: usize,
}

/// Cumulative counts at every distinct score, from the highest down.
fn thresholds(negatives: &[f64], positives: &[f64]) -> Vec<Detected> {
    let tagged = |values: &[f64], positive| values.iter().map(move |&score| (score, positive)).collect::<Vec<_>>();
    let mut scores = [tagged(negatives, false), tagged(positives, true)].concat();
    scores.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut seen = 0;
    let mut found = 0;
    let groups = scores.chunk_by(|a, b| rank::equal(a.0, b.0));
    groups
        .map(|tied| {
            seen += tied.len();
            found += tied.iter().filter(|(_, positive)| *positive).count();
            Detected { negatives: seen - found, positives: found }
        })
        .collect()
}

pub(crate) fn check(negatives: &[f64], positives: &[f64]) -> Result<()> {
    inputs::at_least("negatives", negatives.len(), 1)?;
    inputs::at_least("positives", positives.len(), 1)?;
    inputs::finite("negatives", negatives)?;
    inputs::finite("positives", positives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midranks_count_the_pairs() {
        let (negatives, positives) = ([0.3, 0.1, 0.5, 0.5, 0.2], [0.5, 0.2, 0.9]);
        let pair = |n: f64, p: f64| {
            if p > n {
                1.0
            } else if rank::equal(p, n) {
                0.5
            } else {
                0.0
            }
        };
        let pairs: f64 = positives.iter().flat_map(|&p| negatives.iter().map(move |&n| pair(n, p))).sum();
        assert!((auroc(&negatives, &positives).unwrap() - pairs / 15.0).abs() < 1e-15);
    }

    #[test]
    fn constant_scores_detect_nothing() {
        let (negatives, positives) = ([0.0; 6], [0.0; 2]);
        assert!((auroc(&negatives, &positives).unwrap() - 0.5).abs() < 1e-15);
        assert!((aupr(&negatives, &positives).unwrap() - 0.25).abs() < 1e-15);
        assert!((fpr_at_tpr(&negatives, &positives, 0.95).unwrap() - 1.0).abs() < 1e-15);
    }

    #[test]
    fn bad_inputs_are_refused() {
        assert_eq!(auroc(&[], &[1.0]).unwrap_err().to_string(), "negatives: got 0, expected at least 1");
        assert_eq!(aupr(&[1.0], &[]).unwrap_err().to_string(), "positives: got 0, expected at least 1");
        let nan = auroc(&[1.0], &[1.0, f64::NAN]).unwrap_err();
        assert_eq!(nan.to_string(), "positives[1] is NaN, expected a finite number");
        let tpr = fpr_at_tpr(&[1.0], &[1.0], f64::NAN).unwrap_err();
        assert_eq!(tpr.to_string(), "tpr is NaN, expected a number in (0, 1]");
    }
}
