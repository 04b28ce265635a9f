//! Calibration of predicted probabilities: reliability bins and binned calibration errors,
//! `sum_b (n_b / N) |accuracy_b - confidence_b|` (Guo et al. 2017, equation 3), in `[0, 1]`.

use ndarray::ArrayView2;

use crate::binning;
use crate::binning::Bin;
use crate::error::{Error, Result};
use crate::{inputs, top};

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ReliabilityBin {
    /// Least confidence in the bin, inclusive.
    pub lower: f64,
    /// Upper edge, exclusive except in the last bin.
    pub upper: f64,
    /// Number of examples.
    pub count: usize,
    /// Their mean top probability; `None` without examples.
    pub confidence: Option<f64>,
    /// Share whose top class is the label; `None` without examples.
    pub accuracy: Option<f64>,
}

/// Reliability diagram of the top probability over `bins` bins of equal width, `[lower, upper)`, 1.0 in the last.
///
/// # Shapes
/// `probs: [examples, classes]`, `labels: [examples]`.
/// # Errors
/// [`Error::TooFew`] for 0 bins, [`Error::Setting`] for over a million, [`Error::Probability`] and [`Error::RowSum`] when a row is no
/// distribution, [`Error::Length`] and [`Error::Label`] for the labels.
/// # Examples
/// ```
/// let probs = ndarray::array![[0.5, 0.5], [0.75, 0.25], [0.0, 1.0]];
/// let bins = bayeslora_metrics::reliability(probs.view(), &[1, 0, 1], 4)?;
/// assert_eq!((bins[2].count, bins[2].confidence, bins[2].accuracy), (1, Some(0.5), Some(0.0)));
/// assert_eq!((bins[3].count, bins[3].confidence, bins[3].accuracy), (2, Some(0.875), Some(1.0)));
/// assert_eq!(bins[0].accuracy, None);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn reliability(probs: ArrayView2<'_, f64>, labels: &[usize], bins: usize) -> Result<Vec<ReliabilityBin>> {
    Ok(diagram(&outcomes(probs, labels, bins)?, bins))
}

/// [`reliability`] of top probabilities and whether the top class was right.
///
/// # Shapes
/// `confidence: [examples]`, `correct: [examples]`.
/// # Errors
/// [`Error::TooFew`] for 0 bins or without examples, [`Error::Setting`] for over a million bins, [`Error::Length`],
/// [`Error::Probability`] outside [0, 1].
/// # Examples
/// ```
/// let bins = bayeslora_metrics::reliability_of_top(&[0.5, 0.75, 1.0], &[false, true, true], 4)?;
/// assert_eq!((bins[3].count, bins[3].confidence, bins[3].accuracy), (2, Some(0.875), Some(1.0)));
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn reliability_of_top(confidence: &[f64], correct: &[bool], bins: usize) -> Result<Vec<ReliabilityBin>> {
    Ok(diagram(&outcomes_of_top(confidence, correct, bins)?, bins))
}

fn diagram(outcomes: &[Outcome], bins: usize) -> Vec<ReliabilityBin> {
    let edges = binning::inner_edges(bins);
    let mut counts = vec![0; bins];
    for outcome in outcomes {
        counts[binning::bin_of(&edges, outcome.confidence)] += 1;
    }
    let per_bin = equal_width(outcomes, bins).into_iter().zip(counts).enumerate();
    per_bin
        .map(|(k, (sums, count))| ReliabilityBin {
            lower: k as f64 / bins as f64,
            upper: (k + 1) as f64 / bins as f64,
            count,
            confidence: (count > 0).then(|| sums.predicted / sums.count),
            accuracy: (count > 0).then(|| sums.hits / sums.count),
        })
        .collect()
}

/// Expected calibration error of the top label over `bins` bins of equal width, `[lower, upper)`, 1.0 in the last.
///
/// `sum_b (n_b / N) |accuracy_b - confidence_b|` (Guo et al. 2017, equation 3), in `[0, 1]`. torchmetrics bins alike, but
/// gives a confidence of exactly 1.0 a bin of its own.
///
/// # Shapes
/// `probs: [examples, classes]`, `labels: [examples]`.
/// # Errors
/// As [`reliability`].
/// # Examples
/// ```
/// let probs = ndarray::array![[0.5, 0.5], [0.75, 0.25], [0.0, 1.0]];
/// let ece = bayeslora_metrics::expected_calibration_error(probs.view(), &[1, 0, 1], 4)?;
/// assert_eq!(ece, (0.5 + 0.25) / 3.0);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn expected_calibration_error(probs: ArrayView2<'_, f64>, labels: &[usize], bins: usize) -> Result<f64> {
    Ok(binning::gap(&equal_width(&outcomes(probs, labels, bins)?, bins)))
}

/// Calibration error of the top label over `bins` bins of equal count (Nguyen and O'Connor 2015), in `[0, 1]`.
///
/// Examples are sorted by top probability and split as `numpy.array_split` does: the first `N mod bins` bins hold one
/// more. Where a bin edge falls among equal probabilities, the order of the file would decide who falls where; here every
/// one of the tied examples counts as correct to the share of correct ones among them, so that order does not matter.
/// This is not the classwise "ACE" of Nixon et al. 2019.
///
/// # Shapes
/// `probs: [examples, classes]`, `labels: [examples]`.
/// # Errors
/// As [`reliability`].
/// # Examples
/// ```
/// let probs = ndarray::array![[0.5, 0.5], [0.75, 0.25], [0.0, 1.0]];
/// let ace = bayeslora_metrics::adaptive_calibration_error(probs.view(), &[1, 0, 1], 2)?;
/// assert_eq!(ace, (0.25 + 0.0) / 3.0);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn adaptive_calibration_error(probs: ArrayView2<'_, f64>, labels: &[usize], bins: usize) -> Result<f64> {
    let mut outcomes = outcomes(probs, labels, bins)?;
    outcomes.sort_by(|a, b| a.confidence.total_cmp(&b.confidence));
    for tied in outcomes.chunk_by_mut(|a, b| a.confidence.total_cmp(&b.confidence).is_eq()) {
        let shared = tied.iter().map(|outcome| outcome.correct).sum::<f64>() / tied.len() as f64;
        for outcome in tied {
            outcome.correct = shared;
        }
    }
    let (size, larger) = (outcomes.len() / bins, outcomes.len() % bins);
    let mut rest = outcomes.as_slice();
    let mut sums = Vec::new();
    for k in 0..bins {
        let (bin, tail) = rest.split_at(size + usize::from(k < larger));
        sums.push(bin.iter().fold(Bin::default(), |mut sum, outcome| {
            sum.add(1.0, outcome.confidence, outcome.correct);
            sum
        }));
        rest = tail;
    }
    Ok(binning::gap(&sums))
}

/// Mean over classes of the binned gap between predicted probability and class frequency, bins of equal width.
///
/// `(1/C) sum_c sum_b (n_bc / N) |frequency_bc - confidence_bc|` where class `c` bins *all* examples by `p_n(c)` (Kull et
/// al. 2019), in `[0, 1]`. Same bins as [`expected_calibration_error`].
///
/// # Shapes
/// `probs: [examples, classes]`, `labels: [examples]`.
/// # Errors
/// As [`reliability`].
/// # Examples
/// ```
/// let probs = ndarray::array![[0.5, 0.5], [0.75, 0.25], [0.0, 1.0]];
/// let error = bayeslora_metrics::classwise_calibration_error(probs.view(), &[1, 0, 1], 4)?;
/// assert_eq!(error, (0.75 / 3.0 + 0.75 / 3.0) / 2.0);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn classwise_calibration_error(probs: ArrayView2<'_, f64>, labels: &[usize], bins: usize) -> Result<f64> {
    check(probs, labels, bins)?;
    let edges = binning::inner_edges(bins);
    let class_gap = |(class, column): (usize, ndarray::ArrayView1<'_, f64>)| {
        let mut sums = vec![Bin::default(); bins];
        for (&p, &label) in column.iter().zip(labels) {
            sums[binning::bin_of(&edges, p)].add(1.0, p, f64::from(u8::from(label == class)));
        }
        binning::gap(&sums)
    };
    Ok(probs.columns().into_iter().enumerate().map(class_gap).sum::<f64>() / probs.ncols() as f64)
}

/// The top label of one example: how sure, and 1 if right or 0 if wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) confidence: f64,
    pub(crate) correct: f64,
}

pub(crate) fn outcomes(probs: ArrayView2<'_, f64>, labels: &[usize], bins: usize) -> Result<Vec<Outcome>> {
    check(probs, labels, bins)?;
    let outcome = |(top, &label): (top::TopLabel, &usize)| Outcome {
        confidence: top.probability,
        correct: f64::from(u8::from(top.class == label)),
    };
    Ok(top::labels(probs).into_iter().zip(labels).map(outcome).collect())
}

pub(crate) fn outcomes_of_top(confidence: &[f64], correct: &[bool], bins: usize) -> Result<Vec<Outcome>> {
    inputs::bins("bins", bins)?;
    inputs::at_least("examples", confidence.len(), 1)?;
    inputs::same_length("correct", correct.len(), "confidences", confidence.len())?;
    if let Some(example) = confidence.iter().position(|value| !(0.0..=1.0).contains(value)) {
        return Err(Error::Probability { what: "confidences", index: [example, 0], value: confidence[example] });
    }
    let outcome = |(&confidence, &correct)| Outcome { confidence, correct: f64::from(u8::from(correct)) };
    Ok(confidence.iter().zip(correct).map(outcome).collect())
}

fn check(probs: ArrayView2<'_, f64>, labels: &[usize], bins: usize) -> Result<()> {
    inputs::bins("bins", bins)?;
    inputs::probabilities("probabilities", probs)?;
    inputs::labels(labels, "probabilities", probs.nrows(), probs.ncols())
}

fn equal_width(outcomes: &[Outcome], bins: usize) -> Vec<Bin> {
    let edges = binning::inner_edges(bins);
    let mut sums = vec![Bin::default(); bins];
    for outcome in outcomes {
        sums[binning::bin_of(&edges, outcome.confidence)].add(1.0, outcome.confidence, outcome.correct);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn adaptive_error_does_not_depend_on_the_order_of_ties() {
        let probs = array![[0.75, 0.25], [0.75, 0.25], [0.75, 0.25], [0.75, 0.25]];
        let grouped = adaptive_calibration_error(probs.view(), &[0, 0, 1, 1], 2).unwrap();
        let mixed = adaptive_calibration_error(probs.view(), &[0, 1, 0, 1], 2).unwrap();
        assert_eq!(grouped.to_bits(), mixed.to_bits());
        // A stable sort that splits the ties where the file does would see bins of accuracy 1 and 0 in the first case.
        let split_by_file = 0.5 * (1.0f64 - 0.75) + 0.5 * (0.75f64 - 0.0);
        assert!((grouped - split_by_file).abs() > 0.2);
    }

    #[test]
    fn more_bins_than_examples_leave_bins_empty() {
        let probs = array![[0.75, 0.25], [0.5, 0.5]];
        for error in [
            expected_calibration_error(probs.view(), &[0, 0], 1000).unwrap(),
            adaptive_calibration_error(probs.view(), &[0, 0], 1000).unwrap(),
        ] {
            assert!((error - 0.375).abs() < 1e-15);
        }
    }

    #[test]
    fn bad_inputs_are_refused() {
        let probs = array![[0.75, 0.25]];
        let bins = expected_calibration_error(probs.view(), &[0], 0).unwrap_err();
        assert_eq!(bins.to_string(), "bins: got 0, expected at least 1");
        assert!(reliability(probs.view(), &[0], usize::MAX).is_err(), "would not fit in memory");
        let label = classwise_calibration_error(probs.view(), &[2], 15).unwrap_err();
        assert_eq!(label.to_string(), "label of example 0 is 2, expected a class below 2");
        assert!(reliability(probs.view(), &[0, 1], 15).is_err());
        assert!(adaptive_calibration_error(array![[0.75, 0.75]].view(), &[0], 15).is_err());
    }
}
