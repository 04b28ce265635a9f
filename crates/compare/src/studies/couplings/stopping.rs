//! Adaptive numbers of samples against fixed ones, by agreement with the class at very many samples.

use bayeslora_adapters::Coupling;
use bayeslora_metrics::{Decider, softmax};
use ndarray::{Array3, Axis};

use super::findings::Pool;
use crate::error::Result;
use bayeslora_inference::Decision;

/// Error level at which the reference may stop before its cap.
pub(crate) const REFERENCE_ALPHA: f64 = 1e-6;

/// What adaptive sampling does at one error level.
#[derive(Debug, Clone)]
pub(crate) struct Stopped {
    pub coupling: Coupling,
    pub alpha: f64,
    /// Mean number of samples of a text.
    pub mean_samples: f64,
    /// Median.
    pub median_samples: u32,
    /// Texts that reached the cap undecided.
    pub undecided: usize,
    /// Texts decided for another class than the reference's.
    pub wrong: usize,
    /// Texts whose class, decided or not, is the reference's.
    pub agreeing: usize,
    /// Texts.
    pub texts: usize,
    /// Share of texts that as many fixed samples agree on, rounded up.
    pub fixed_agreement: f64,
    /// Smallest fixed number of samples with at least the same agreement; none up to half of the pool.
    pub fixed_samples: Option<u32>,
    /// Smallest balanced group with at least the same agreement.
    pub balanced_samples: Option<u32>,
}

/// The classes of reference decisions, and how many of them needed all samples.
pub(crate) fn reference(decisions: &[Decision]) -> (Vec<usize>, usize) {
    let capped = decisions.iter().filter(|decision| !decision.decided).count();
    (decisions.iter().map(|decision| decision.class).collect(), capped)
}

/// The decisions at `alpha` along samples that were drawn for a smaller level, against the classes of reference; `pools` hold fixed numbers.
pub(crate) fn compare_stopping(
    coupling: Coupling,
    alpha: f64,
    drawn: &[Decision],
    classes: &[usize],
    pools: &[Pool],
) -> Result<Stopped> {
    let mut samples = Vec::new();
    let (mut undecided, mut wrong, mut agreeing) = (0, 0, 0);
    for (decision, &class) in drawn.iter().zip(classes) {
        let mut decider = Decider::new(decision.logits.ncols(), alpha, coupling.group())?;
        for sample in decision.logits.outer_iter() {
            if decider.observe(&softmax(&sample.to_vec()))?.is_some() {
                break;
            }
        }
        samples.push(decider.samples());
        undecided += usize::from(decider.decided().is_none());
        wrong += usize::from(decider.decided().is_some_and(|decided| decided != class));
        agreeing += usize::from(decider.decided().unwrap_or_else(|| largest(&decider.means())) == class);
    }
    samples.sort_unstable();
    let mean_samples = samples.iter().map(|&samples| f64::from(samples)).sum::<f64>() / samples.len() as f64;
    let share = agreeing as f64 / drawn.len() as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean of numbers of samples")]
    let as_many = mean_samples.ceil() as usize;
    let Some(fixed) = pools.iter().find(|pool| pool.coupling == Coupling::Independent) else {
        return Err(crate::Error::Report("couplings: no samples of independent masks".to_owned()));
    };
    let most = fixed.probabilities.dim().0 / 2;
    let balanced = pools.iter().filter_map(|pool| match pool.coupling {
        Coupling::Balanced(size) if agreement(&pool.probabilities, size.samples() as usize, classes) >= share => {
            Some(size.samples())
        }
        _ => None,
    });
    Ok(Stopped {
        coupling,
        alpha,
        mean_samples,
        median_samples: samples[samples.len() / 2],
        undecided,
        wrong,
        agreeing,
        texts: drawn.len(),
        fixed_agreement: agreement(&fixed.probabilities, as_many.min(most), classes),
        fixed_samples: (1..)
            .take(most)
            .find(|&samples| agreement(&fixed.probabilities, samples as usize, classes) >= share),
        balanced_samples: balanced.min(),
    })
}

/// Share of texts and replicates of `samples` samples whose mean is largest at the class of reference.
fn agreement(probabilities: &Array3<f64>, samples: usize, classes: &[usize]) -> f64 {
    let replicates = probabilities.dim().0 / samples;
    let mut agreeing = 0;
    for block in probabilities.axis_chunks_iter(Axis(0), samples).take(replicates) {
        let sums = block.sum_axis(Axis(0));
        agreeing += sums.outer_iter().zip(classes).filter(|(sums, class)| largest(&sums.to_vec()) == **class).count();
    }
    agreeing as f64 / (replicates * classes.len()) as f64
}

fn largest(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, place| if values[place] > values[best] { place } else { best })
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn stopping_is_counted_and_fixed_numbers_are_matched() {
        // Text 0 leads surely with class 0, text 1 with class 1 in two of three samples.
        let logits =
            |text: usize, sample: usize| if text == 0 || sample.is_multiple_of(3) { [4.0, 0.0] } else { [0.0, 4.0] };
        let decision = |text: usize| Decision {
            class: text,
            decided: true,
            probabilities: vec![],
            logits: Array2::from_shape_fn((300, 2), |(sample, class)| logits(text, sample)[class]),
        };
        let probabilities =
            Array3::from_shape_fn((300, 2, 2), |(sample, text, class)| softmax(&logits(text, sample))[class]);
        let pools = [Pool { coupling: Coupling::Independent, probabilities }];
        let drawn = [decision(0), decision(1)];
        let stopped = compare_stopping(Coupling::Independent, 0.05, &drawn, &[0, 1], &pools).unwrap();
        assert_eq!((stopped.undecided, stopped.wrong, stopped.agreeing, stopped.texts), (0, 0, 2, 2));
        // Single samples agree on 2/3 of text 1; two of three are a majority.
        assert_eq!(stopped.fixed_samples, Some(3));
        assert!((agreement(&pools[0].probabilities, 1, &[0, 1]) - 5.0 / 6.0).abs() < 1e-12);
        let stopped = compare_stopping(Coupling::Antithetic, 0.05, &drawn, &[1, 1], &pools).unwrap();
        assert_eq!((stopped.wrong, stopped.agreeing), (1, 1));
        assert!(stopped.mean_samples >= 12.0);
        assert_eq!(reference(&drawn), (vec![0, 1], 0));
    }
}
