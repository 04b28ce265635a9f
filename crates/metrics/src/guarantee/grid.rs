//! Candidate thresholds, fixed before any calibration label is seen: quantiles of the scores of a grid split, which needs no labels.

use crate::error::{Error, Result};
use crate::inputs;

use super::binomial::{fewest_refuting, level_of, rate_of};
use super::rank::ceil_of;

/// The least coverage that is worth a test.
const LEAST_COVERAGE: f64 = 0.05;
/// Calibration examples from which there are [`MOST`] candidates, and below which [`MOST_OF_FEW`].
const MANY_EXAMPLES: usize = 1000;
const MOST: usize = 20;
const MOST_OF_FEW: usize = 10;

/// Coverages at which `examples` calibration examples are worth a test of a risk, ascending and geometric up to 1.
///
/// There are `L` of them, at most 20 from 1,000 examples and 10 below. The least is that at which an errorless calibration passes a test of
/// level `delta / L`, and at least 0.05; `L` is the largest for which that is at most 1. A start at the examples that pass at
/// `delta` itself leaves a gap: with 100 examples, a risk of 5 % and `delta = 0.05` no outcome at all would be certified, though one
/// test could.
///
/// # Errors
/// [`Error::TooFew`] naming the examples needed where no outcome could be certified, [`Error::Setting`] unless `1e-9 <= risk < 1` and
/// `0 < delta < 1`.
/// # Examples
/// ```
/// let coverages = bayeslora_metrics::guarantee::coverages(1000, 0.05, 0.05)?;
/// // 117 right answers pass at 0.05 / 20.
/// assert_eq!((coverages.len(), coverages[0]), (20, 0.117));
/// let refused = bayeslora_metrics::guarantee::coverages(58, 0.05, 0.05).unwrap_err();
/// assert_eq!(refused.to_string(), "calibration examples: got 58, expected at least 59");
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn coverages(examples: usize, risk: f64, delta: f64) -> Result<Vec<f64>> {
    rate_of("risk", risk)?;
    level_of("delta", delta)?;
    let needed = |tests: usize| fewest_refuting(0, risk, delta / tests as f64);
    inputs::at_least("calibration examples", examples, needed(1))?;
    let most = if examples >= MANY_EXAMPLES { MOST } else { MOST_OF_FEW };
    let tests = (1..=most).rev().find(|&tests| needed(tests) <= examples).unwrap_or(1);
    let least = (needed(tests) as f64 / examples as f64).max(LEAST_COVERAGE);
    let tests = if least < 1.0 { tests } else { 1 };
    let steps = tests.saturating_sub(1) as f64;
    Ok((0..tests).rev().map(|step| if step == 0 { 1.0 } else { least.powf(step as f64 / steps) }).collect())
}

/// The thresholds at which these shares of the grid split are accepted: the `ceil(c n)`-th smallest score, ascending, each once.
///
/// # Errors
/// [`Error::TooFew`] without scores or coverages, [`Error::NotFinite`], [`Error::NoOrder`] where all scores are the same, [`Error::Entry`]
/// for a coverage outside `(0, 1]`.
/// # Examples
/// ```
/// use bayeslora_metrics::guarantee::thresholds;
/// assert_eq!(thresholds(&[0.4, 0.1, 0.3, 0.2], &[0.5, 0.6, 0.75, 1.0])?, [0.2, 0.3, 0.4]);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn thresholds(grid_scores: &[f64], coverages: &[f64]) -> Result<Vec<f64>> {
    let sorted = sorted("grid scores", grid_scores)?;
    inputs::at_least("coverages", coverages.len(), 1)?;
    let mut found = Vec::with_capacity(coverages.len());
    for (index, &coverage) in coverages.iter().enumerate() {
        if !(coverage > 0.0 && coverage <= 1.0) {
            return Err(Error::Entry { what: "coverages", index, value: coverage, expected: "(0, 1]" });
        }
        let rank = ceil_of(coverage, sorted.len()).clamp(1, sorted.len());
        found.push(sorted[rank - 1]);
    }
    found.sort_by(f64::total_cmp);
    found.dedup_by(|next, last| *next <= *last);
    Ok(found)
}

/// Finite scores that differ, ascending.
pub(super) fn sorted(what: &'static str, scores: &[f64]) -> Result<Vec<f64>> {
    inputs::at_least(what, scores.len(), 1)?;
    inputs::finite(what, scores)?;
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.first(), sorted.last()) {
        (Some(&first), Some(&last)) if first >= last && sorted.len() > 1 => Err(Error::NoOrder { what, value: first }),
        _ => Ok(sorted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_examples_from_the_fewest_can_be_certified() {
        for (risk, delta) in [(0.05, 0.05), (0.05, 0.1), (0.1, 0.1), (0.02, 0.05)] {
            let fewest = fewest_refuting(0, risk, delta);
            for examples in (fewest..fewest + 400).chain([1000, 3000, 100_000]) {
                let found = coverages(examples, risk, delta).unwrap();
                let level = delta / found.len() as f64;
                let accepted = found[0] * examples as f64;
                assert!((1.0 - risk).powf(accepted) <= level * (1.0 + 1e-9), "{examples}: {found:?}");
                assert!(found.is_sorted_by(|a, b| a < b) || found.len() == 1, "{examples}: {found:?}");
                assert_eq!(found.last().map(|last| last.to_bits()), Some(1f64.to_bits()));
            }
            assert!(coverages(fewest - 1, risk, delta).is_err());
        }
        // As the examples of the first draft: 1.5 times those of one test, at a tenth of its level.
        let (one, tenth) = (fewest_refuting(0, 0.05, 0.05), 0.95f64.powi(100));
        assert!(one < 100 && tenth > 0.05 / 10.0);
    }

    #[test]
    fn thresholds_accept_their_share_and_are_distinct() {
        let scores: Vec<f64> = (0..100).map(|n| f64::from(n * 37 % 100)).collect();
        for (k, threshold) in
            thresholds(&scores, &[0.07, 0.29, 1.0]).unwrap().into_iter().zip([7, 29, 100]).map(|(t, k)| (k, t))
        {
            assert_eq!(scores.iter().filter(|&&score| score <= threshold).count(), k);
        }
        let tied = [0.0, -0.0, 0.0, 1.0];
        assert_eq!(thresholds(&tied, &[0.25, 0.5, 0.75]).unwrap().len(), 1);
    }

    #[test]
    fn bad_scores_are_refused_by_name() {
        let message = |scores: &[f64], coverages: &[f64]| thresholds(scores, coverages).unwrap_err().to_string();
        assert_eq!(message(&[], &[0.5]), "grid scores: got 0, expected at least 1");
        assert_eq!(message(&[1.0, f64::NAN], &[0.5]), "grid scores[1] is NaN, expected a finite number");
        assert_eq!(message(&[1.0, f64::INFINITY], &[0.5]), "grid scores[1] is inf, expected a finite number");
        assert_eq!(
            message(&[2.0; 5], &[0.5]),
            "grid scores are 2 for every example; scores that do not differ order nothing"
        );
        assert_eq!(message(&[1.0, 2.0], &[0.5, 0.0]), "coverages[1] is 0, expected a number in (0, 1]");
    }
}
