//! The rule "sets": a set of classes that contains the label with probability at least `1 - alpha` (split conformal prediction, Vovk et al. 2005).
//!
//! Calibration scores are those of the labels, larger = stranger. The threshold is the `k`-th smallest, `k = n + 1 - l`, with `l` of
//! [`allowed_above`](super::allowed_above); a class is in the set if its score is at most that.

use ndarray::{ArrayView1, ArrayView2};

use crate::error::{Error, Result};
use crate::inputs;

use super::rank::{Promise, allowed_above};

/// How strange a class is, given the probabilities.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetScore {
    /// `1 - p_y`: the smallest sets on average (Sadinle, Lei and Wasserman 2019).
    Lac,
    /// `sum of the probabilities above p_y + u p_y + penalty max(0, rank_y - free)`, rank from 1: sets that adapt to the example (Angelopoulos et al.
    /// 2021). Of equal probabilities the lower class comes first. Its number `u` in `[0, 1]` is the example's, see [`uniform`].
    Raps {
        /// Price of each class beyond the free ones, at least 0.
        penalty: f64,
        /// Classes without a price.
        free: usize,
    },
}

/// The number in `(0, 1)` of an example: a pure function of a seed and the example's id, so that neither order nor batch decide about a set.
pub fn uniform(seed: u64, example: u64) -> f64 {
    crate::random::SplitMix64::keyed(seed, example, 0).open_unit()
}

impl SetScore {
    /// Scores of the labels, for calibration.
    ///
    /// # Shapes
    /// `probabilities: [examples, classes]`, `labels` and `uniforms: [examples]`.
    /// # Errors
    /// [`Error::TooFew`], [`Error::Probability`], [`Error::RowSum`], [`Error::Length`], [`Error::Label`]; [`Error::Entry`] for a uniform number
    /// outside `[0, 1]`; [`Error::Setting`] for a penalty that is negative or not finite.
    pub fn of_labels(self, probabilities: ArrayView2<'_, f64>, labels: &[usize], uniforms: &[f64]) -> Result<Vec<f64>> {
        inputs::probabilities("probabilities", probabilities)?;
        inputs::labels(labels, "probabilities", probabilities.nrows(), probabilities.ncols())?;
        inputs::same_length("uniforms", uniforms.len(), "probabilities", probabilities.nrows())?;
        self.check(uniforms)?;
        let rows = probabilities.outer_iter().zip(labels).zip(uniforms);
        Ok(rows.map(|((row, &label), &uniform)| self.scores(row, uniform)[label]).collect())
    }

    /// The scores of all classes of an example.
    ///
    /// # Shapes
    /// `probabilities: [classes]` to `[classes]`.
    /// # Errors
    /// As [`Self::of_labels`].
    pub fn of_classes(self, probabilities: ArrayView1<'_, f64>, uniform: f64) -> Result<Vec<f64>> {
        inputs::probabilities("probabilities", probabilities.insert_axis(ndarray::Axis(0)))?;
        self.check(&[uniform])?;
        Ok(self.scores(probabilities, uniform))
    }

    fn check(self, uniforms: &[f64]) -> Result<()> {
        if let Self::Raps { penalty, .. } = self
            && !(penalty >= 0.0 && penalty.is_finite())
        {
            return Err(Error::Setting { what: "penalty", value: penalty, expected: "[0, inf)" });
        }
        match uniforms.iter().position(|uniform| !(0.0..=1.0).contains(uniform)) {
            Some(index) => Err(Error::Entry { what: "uniforms", index, value: uniforms[index], expected: "[0, 1]" }),
            None => Ok(()),
        }
    }

    fn scores(self, probabilities: ArrayView1<'_, f64>, uniform: f64) -> Vec<f64> {
        let Self::Raps { penalty, free } = self else { return probabilities.iter().map(|p| 1.0 - p).collect() };
        let mut order: Vec<(usize, f64)> = probabilities.iter().copied().enumerate().collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut scores = vec![0.0; order.len()];
        let mut above = 0.0;
        for (place, (class, probability)) in order.into_iter().enumerate() {
            scores[class] = above + uniform * probability + penalty * (place + 1).saturating_sub(free) as f64;
            above += probability;
        }
        scores
    }
}

/// The threshold of a conformal score.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Cutoff {
    /// Probability that the label is not in the set.
    pub alpha: f64,
    /// Over what that is promised.
    pub promise: Promise,
    /// Calibration examples.
    pub examples: usize,
    /// `l`: the threshold is the `l`-th largest calibration score.
    pub rank_from_above: usize,
    /// Scores up to it, itself included, are in the set.
    pub threshold: f64,
}

/// The classes that may be the label.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LabelSet {
    /// Ascending; never empty.
    pub classes: Vec<usize>,
    /// No class came up to the threshold: the least strange one stands alone, and the example is unlike those calibrated on. It covers no less
    /// than the empty set would.
    pub is_forced: bool,
}

impl Cutoff {
    /// The threshold from the calibration scores of the labels.
    ///
    /// # Errors
    /// [`Error::TooFew`] naming the examples needed, [`Error::NotFinite`], [`Error::Setting`] unless `1e-9 <= alpha < 1` and `0 < delta < 1`.
    /// # Examples
    /// ```
    /// use bayeslora_metrics::guarantee::{Cutoff, Promise, SetScore};
    /// let scores: Vec<f64> = (1..=19).map(|n| f64::from(n) / 20.0).collect();
    /// let cutoff = Cutoff::fit(&scores, 0.1, Promise::Average)?;
    /// assert_eq!((cutoff.rank_from_above, cutoff.threshold), (2, 0.9));
    /// let classes = SetScore::Lac.of_classes(ndarray::arr1(&[0.5, 0.25, 0.2, 0.05]).view(), 0.5)?;
    /// assert_eq!(cutoff.set(&classes)?.classes, [0, 1, 2]);
    /// # Ok::<(), bayeslora_metrics::Error>(())
    /// ```
    pub fn fit(scores: &[f64], alpha: f64, promise: Promise) -> Result<Self> {
        let examples = scores.len();
        let rank_from_above = allowed_above(examples, alpha, promise)?;
        inputs::finite("calibration scores", scores)?;
        let mut sorted = scores.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let threshold = sorted[rank_from_above - 1];
        Ok(Self { alpha, promise, examples, rank_from_above, threshold })
    }

    /// Whether a class of this score is in the set; NaN is in none.
    pub fn contains(&self, score: f64) -> bool {
        score <= self.threshold
    }

    /// The set, from the scores of all classes.
    ///
    /// # Errors
    /// [`Error::TooFew`] without classes, [`Error::NotFinite`].
    pub fn set(&self, class_scores: &[f64]) -> Result<LabelSet> {
        label_set(class_scores, |_, score| self.contains(score))
    }
}

/// The classes of which `contains` holds, or that of the least score, the first of equals.
pub(super) fn label_set(class_scores: &[f64], contains: impl Fn(usize, f64) -> bool) -> Result<LabelSet> {
    inputs::at_least("classes", class_scores.len(), 1)?;
    inputs::finite("class scores", class_scores)?;
    let scored = || class_scores.iter().copied().enumerate();
    let classes: Vec<usize> =
        scored().filter(|&(class, score)| contains(class, score)).map(|(class, _)| class).collect();
    if !classes.is_empty() {
        return Ok(LabelSet { classes, is_forced: false });
    }
    let least = scored().min_by(|a, b| a.1.total_cmp(&b.1));
    Ok(LabelSet { classes: least.into_iter().map(|(class, _)| class).collect(), is_forced: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;
    use ndarray::{Array2, array};

    /// Rows of a softmax with labels drawn from them.
    fn sample(seed: u64, n: usize) -> (Array2<f64>, Vec<usize>, Vec<f64>) {
        let mut random = SplitMix64::keyed(seed, 0, 0);
        let mut rows = Array2::from_shape_simple_fn((n, 5), || (4.0 * random.open_unit()).exp());
        for mut row in rows.outer_iter_mut() {
            let sum = row.sum();
            row /= sum;
        }
        let draw = |row: ArrayView1<'_, f64>, at: f64| {
            let mut sum = 0.0;
            let passed = row
                .iter()
                .take_while(|&&p| {
                    sum += p;
                    sum < at
                })
                .count();
            passed.min(4)
        };
        let labels = rows.outer_iter().map(|row| draw(row, random.open_unit())).collect();
        (rows, labels, (0..n as u64).map(|id| uniform(seed, id)).collect())
    }

    const SCORES: [SetScore; 3] =
        [SetScore::Lac, SetScore::Raps { penalty: 0.0, free: 0 }, SetScore::Raps { penalty: 0.1, free: 2 }];

    #[test]
    fn raps_is_its_formula() {
        let row = array![0.2, 0.5, 0.2, 0.1];
        let found = SetScore::Raps { penalty: 0.01, free: 2 }.of_classes(row.view(), 0.5).unwrap();
        // In the order 1, 0, 2, 3: the first of equals comes first.
        for (found, expected) in found.iter().zip([0.5 + 0.1, 0.25, 0.7 + 0.1 + 0.01, 0.9 + 0.05 + 0.02]) {
            assert!((found - expected).abs() < 1e-15, "{found} for {expected}");
        }
    }

    #[test]
    fn sets_grow_with_the_promise() {
        let (rows, labels, uniforms) = sample(1, 400);
        for score in SCORES {
            let scores = score.of_labels(rows.view(), &labels, &uniforms).unwrap();
            let mut last = f64::NEG_INFINITY;
            for alpha in [0.3, 0.2, 0.1, 0.05, 0.02] {
                let mean = Cutoff::fit(&scores, alpha, Promise::Average).unwrap();
                let pac = Cutoff::fit(&scores, alpha, Promise::Pac { delta: 0.1 }).unwrap();
                let surer = Cutoff::fit(&scores, alpha, Promise::Pac { delta: 0.05 }).unwrap();
                assert!(last <= mean.threshold && mean.threshold <= pac.threshold && pac.threshold <= surer.threshold);
                last = mean.threshold;
                for (row, &uniform) in rows.outer_iter().zip(&uniforms) {
                    let classes = score.of_classes(row, uniform).unwrap();
                    let (small, large) = (mean.set(&classes).unwrap(), pac.set(&classes).unwrap());
                    assert!(
                        !small.classes.is_empty() && small.classes.iter().all(|class| large.classes.contains(class))
                    );
                }
            }
        }
    }

    #[test]
    fn the_label_is_in_the_set_as_often_as_promised_and_no_more() {
        for score in SCORES {
            let runs = 1500;
            let covered = (0..runs).filter(|&run| {
                let (rows, labels, uniforms) = sample(run, 100);
                let scores = score.of_labels(rows.view(), &labels, &uniforms).unwrap();
                let cutoff = Cutoff::fit(&scores[..99], 0.1, Promise::Average).unwrap();
                let set = cutoff.set(&score.of_classes(rows.row(99), uniforms[99]).unwrap()).unwrap();
                // A forced class may be the label by luck.
                !set.is_forced && set.classes.contains(&labels[99])
            });
            // Without ties it is 9 / 10 exactly; four standard errors.
            let share = covered.count() as f64 / runs as f64;
            assert!((share - 0.9).abs() < 4.0 * (0.09 / runs as f64).sqrt(), "{score:?}: {share}");
        }
    }

    #[test]
    fn order_of_examples_does_not_matter_and_ties_are_inside() {
        let (rows, labels, uniforms) = sample(2, 99);
        let scores = SetScore::Lac.of_labels(rows.view(), &labels, &uniforms).unwrap();
        let turned: Vec<f64> = scores.iter().rev().copied().collect();
        let cutoff = Cutoff::fit(&scores, 0.1, Promise::Average).unwrap();
        assert_eq!(cutoff, Cutoff::fit(&turned, 0.1, Promise::Average).unwrap());
        assert!(
            cutoff.contains(cutoff.threshold)
                && !cutoff.contains(cutoff.threshold.next_up())
                && !cutoff.contains(f64::NAN)
        );
        assert_eq!(scores.iter().filter(|&&score| cutoff.contains(score)).count(), 90);
    }

    #[test]
    fn a_set_is_never_empty_and_says_when_it_would_be() {
        let cutoff = Cutoff::fit(&[0.1; 20], 0.1, Promise::Average).unwrap();
        let classes = SetScore::Lac.of_classes(array![0.2, 0.4, 0.4].view(), 0.5).unwrap();
        assert_eq!(cutoff.set(&classes).unwrap(), LabelSet { classes: vec![1], is_forced: true });
        assert_eq!(cutoff.set(&[0.3, 0.1]).unwrap(), LabelSet { classes: vec![1], is_forced: false });
    }

    #[test]
    fn bad_input_is_refused_by_name() {
        let classes = |score: SetScore, row: &[f64], uniform| {
            score.of_classes(ArrayView1::from(row), uniform).unwrap_err().to_string()
        };
        assert!(classes(SetScore::Lac, &[0.5, 0.4], 0.5).contains("expected 1"));
        assert_eq!(classes(SetScore::Lac, &[0.5, 0.5], 1.5), "uniforms[0] is 1.5, expected a number in [0, 1]");
        let negative = SetScore::Raps { penalty: -1.0, free: 0 };
        assert_eq!(classes(negative, &[0.5, 0.5], 0.5), "penalty is -1, expected a number in [0, inf)");
        let refused = Cutoff::fit(&[0.1; 8], 0.1, Promise::Average).unwrap_err().to_string();
        assert_eq!(refused, "calibration examples: got 8, expected at least 9");
        let refused = Cutoff::fit(&[f64::NAN; 9], 0.1, Promise::Average).unwrap_err().to_string();
        assert_eq!(refused, "calibration scores[0] is NaN, expected a finite number");
        let cutoff = Cutoff::fit(&[0.1; 9], 0.1, Promise::Average).unwrap();
        assert_eq!(
            cutoff.set(&[0.1, f64::INFINITY]).unwrap_err().to_string(),
            "class scores[1] is inf, expected a finite number"
        );
    }
}
