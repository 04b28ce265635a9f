//! Error rate by quantile of a score: does a higher uncertainty go with more errors?
//!
//! Bins between the quantiles `F^-1(j / q)` of the score, `[lower, upper)`, the last one closed.

use crate::error::Result;
use crate::inputs;

/// One bin between two quantiles of the score.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct QuantileBin {
    /// Mean score of the examples in the bin.
    pub mean_score: f64,
    /// Share of them that are errors.
    pub error_rate: f64,
    /// Number of examples.
    pub count: usize,
}

/// Mean score and error rate between successive quantiles of the score, from the lowest.
///
/// Quantiles interpolate linearly, as numpy's default. Bins are `[lower, upper)` and the last one is closed, so that the
/// most uncertain example is counted. Equal scores share a bin; where ties leave a bin empty it is omitted, so fewer than
/// `quantiles` bins may come back, and a constant score gives a single one.
///
/// # Errors
/// [`Error::TooFew`](crate::Error::TooFew) without examples or for 0 quantiles,
/// [`Error::Setting`](crate::Error::Setting) for over a million quantiles, [`Error::Length`](crate::Error::Length),
/// [`Error::NotFinite`](crate::Error::NotFinite) for the scores.
/// # Examples
/// ```
/// let bins = bayeslora_metrics::error_by_quantile(&[4.0, 1.0, 2.0, 3.0], &[true, false, false, true], 2)?;
/// assert_eq!((bins[0].mean_score, bins[0].error_rate, bins[0].count), (1.5, 0.0, 2));
/// assert_eq!((bins[1].mean_score, bins[1].error_rate, bins[1].count), (3.5, 1.0, 2));
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn error_by_quantile(scores: &[f64], errors: &[bool], quantiles: usize) -> Result<Vec<QuantileBin>> {
    inputs::bins("quantiles", quantiles)?;
    inputs::at_least("examples", scores.len(), 1)?;
    inputs::same_length("errors", errors.len(), "scores", scores.len())?;
    inputs::finite("scores", scores)?;
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let sorted: Vec<f64> = order.iter().map(|&index| scores[index]).collect();
    let mut start = 0;
    let mut bins = Vec::new();
    for j in 1..=quantiles {
        let end = if j == quantiles {
            sorted.len()
        } else {
            let upper = quantile(&sorted, j, quantiles);
            sorted.partition_point(|&score| score < upper)
        };
        let members = &order[start..end.max(start)];
        if !members.is_empty() {
            let count = members.len();
            let wrong = members.iter().filter(|&&index| errors[index]).count();
            bins.push(QuantileBin {
                mean_score: members.iter().map(|&index| scores[index]).sum::<f64>() / count as f64,
                error_rate: wrong as f64 / count as f64,
                count,
            });
        }
        start = end.max(start);
    }
    Ok(bins)
}

/// The `numerator / denominator` quantile of sorted, non-empty values, linear between order statistics.
///
/// The position `(n - 1) numerator / denominator` is split in integers: in floating point it may fall just short of the
/// order statistic it is.
pub(crate) fn quantile(sorted: &[f64], numerator: usize, denominator: usize) -> f64 {
    let scaled = (sorted.len() - 1) * numerator;
    let (below, rest) = (scaled / denominator, scaled % denominator);
    let fraction = rest as f64 / denominator as f64;
    let next = sorted[(below + 1).min(sorted.len() - 1)];
    sorted[below] + (next - sorted[below]) * fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_uncertain_example_is_counted() {
        let scores: Vec<f64> = (0..101).map(f64::from).collect();
        let errors: Vec<bool> = scores.iter().map(|&score| score > 99.5).collect();
        let bins = error_by_quantile(&scores, &errors, 10).unwrap();
        assert_eq!(bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), [10, 10, 10, 10, 10, 10, 10, 10, 10, 11]);
        assert!((bins[9].error_rate - 1.0 / 11.0).abs() < 1e-15, "[lower, upper) throughout would find no error");
    }

    #[test]
    fn ties_share_a_bin_and_empty_bins_are_omitted() {
        let bins =
            error_by_quantile(&[0.0, 0.0, 0.0, 0.0, 0.0, 1.0], &[true, false, false, false, true, true], 3).unwrap();
        assert_eq!(bins.len(), 1);
        let bins = error_by_quantile(&[0.0, 0.0, 1.0, 1.0], &[false, false, true, true], 4).unwrap();
        assert_eq!(bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(error_by_quantile(&[7.0], &[true], 10).unwrap().len(), 1);
    }

    #[test]
    fn bad_inputs_are_refused() {
        assert_eq!(
            error_by_quantile(&[1.0], &[true], 0).unwrap_err().to_string(),
            "quantiles: got 0, expected at least 1"
        );
        assert!(error_by_quantile(&[], &[], 10).is_err());
        assert!(error_by_quantile(&[1.0], &[], 10).is_err());
        assert!(error_by_quantile(&[f64::NAN], &[true], 10).is_err());
    }
}
