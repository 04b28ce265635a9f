//! Metrics of bootstrap resamples without sorting again: order the examples once, then count each of them `w_n` times.
//!
//! `with_weights(w)` is the plain metric of the data in which example `n` is repeated `w_n` times; the plain functions stay
//! as the definition and the tests hold the two together. Each call is linear in the number of examples.

use ndarray::ArrayView2;

use crate::binning;
use crate::binning::Bin;
use crate::error::Result;
use crate::{calibration, selective};

/// AURC ([`RiskCoverage`](crate::RiskCoverage)) of resamples.
///
/// # Examples
/// ```
/// use bayeslora_metrics::{PreparedAurc, RiskCoverage};
/// let prepared = PreparedAurc::new(&[0.9, 0.8, 0.7], &[true, false, true])?;
/// let repeated = RiskCoverage::from_confidence(&[0.9, 0.8, 0.8], &[true, false, false])?;
/// assert_eq!(prepared.with_weights(&[1, 2, 0]), repeated.aurc());
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedAurc {
    /// Indices by falling confidence, one group per distinct value.
    groups: Vec<Vec<usize>>,
    correct: Vec<bool>,
}

impl PreparedAurc {
    /// Orders the examples by confidence.
    ///
    /// # Errors
    /// As [`RiskCoverage::from_confidence`](crate::RiskCoverage::from_confidence).
    pub fn new(confidence: &[f64], correct: &[bool]) -> Result<Self> {
        selective::check(confidence, correct)?;
        Ok(Self { groups: selective::tied_groups(confidence), correct: correct.to_vec() })
    }

    /// AURC when every example occurs as often as its weight says.
    ///
    /// NaN unless there is one weight per example and a positive one among them.
    pub fn with_weights(&self, weights: &[u32]) -> f64 {
        if weights.len() != self.correct.len() {
            return f64::NAN;
        }
        let (mut answered, mut errors, mut area) = (0.0, 0.0, 0.0);
        for group in &self.groups {
            let (mut tied, mut wrong) = (0u64, 0u64);
            for &index in group {
                let weight = u64::from(weights[index]);
                tied += weight;
                wrong += if self.correct[index] { 0 } else { weight };
            }
            let (tied, wrong) = (tied as f64, wrong as f64);
            let mut k = 1.0;
            while k <= tied {
                area += (errors + wrong * k / tied) / (answered + k);
                k += 1.0;
            }
            answered += tied;
            errors += wrong;
        }
        area / answered
    }
}

/// [`expected_calibration_error`](crate::expected_calibration_error) of resamples.
///
/// # Examples
/// ```
/// let probs = ndarray::array![[0.5, 0.5], [0.75, 0.25]];
/// let prepared = bayeslora_metrics::PreparedEce::new(probs.view(), &[0, 1], 15)?;
/// assert_eq!(prepared.with_weights(&[1, 1]), (0.5 + 0.75) / 2.0);
/// assert_eq!(prepared.with_weights(&[2, 0]), 0.5);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedEce {
    /// Bin, confidence and correctness of every example.
    outcomes: Vec<(usize, calibration::Outcome)>,
    bins: usize,
}

impl PreparedEce {
    /// Bins the examples.
    ///
    /// # Errors
    /// As [`reliability`](crate::reliability).
    pub fn new(probs: ArrayView2<'_, f64>, labels: &[usize], bins: usize) -> Result<Self> {
        Ok(Self::of(calibration::outcomes(probs, labels, bins)?, bins))
    }

    /// Bins examples by their top probability, given whether the top class was right.
    ///
    /// # Errors
    /// As [`reliability_of_top`](crate::reliability_of_top).
    pub fn of_top(confidence: &[f64], correct: &[bool], bins: usize) -> Result<Self> {
        Ok(Self::of(calibration::outcomes_of_top(confidence, correct, bins)?, bins))
    }

    fn of(outcomes: Vec<calibration::Outcome>, bins: usize) -> Self {
        let edges = binning::inner_edges(bins);
        let place = |outcome: calibration::Outcome| (binning::bin_of(&edges, outcome.confidence), outcome);
        Self { outcomes: outcomes.into_iter().map(place).collect(), bins }
    }

    /// Expected calibration error when every example occurs as often as its weight says.
    ///
    /// NaN unless there is one weight per example and a positive one among them.
    pub fn with_weights(&self, weights: &[u32]) -> f64 {
        if weights.len() != self.outcomes.len() {
            return f64::NAN;
        }
        let mut sums = vec![Bin::default(); self.bins];
        for (&(bin, outcome), &weight) in self.outcomes.iter().zip(weights) {
            sums[bin].add(f64::from(weight), outcome.confidence, outcome.correct);
        }
        binning::gap(&sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_that_fit_nothing_give_nan() {
        let aurc = PreparedAurc::new(&[0.1, 0.2], &[true, false]).unwrap();
        assert!(aurc.with_weights(&[1, 1, 1]).is_nan());
        assert!(aurc.with_weights(&[0, 0]).is_nan());
        let ece = PreparedEce::new(ndarray::array![[0.5, 0.5]].view(), &[0], 15).unwrap();
        assert!(ece.with_weights(&[]).is_nan());
        assert!(ece.with_weights(&[0]).is_nan());
    }

    #[test]
    fn unit_weights_are_the_plain_metric() {
        let (confidence, correct) = ([0.5, 0.9, 0.5, 0.1], [false, true, true, false]);
        let plain = crate::RiskCoverage::from_confidence(&confidence, &correct).unwrap();
        let prepared = PreparedAurc::new(&confidence, &correct).unwrap();
        assert!((prepared.with_weights(&[1; 4]) - plain.aurc()).abs() < 1e-15);
        assert!((prepared.with_weights(&[1, 1, 1, 2]) - plain.aurc()).abs() > 0.01, "weights must count");
    }
}
