//! Sets with a promise for every class or group (Mondrian conformal prediction, Vovk et al. 2005): one threshold a stratum.
//!
//! Strata that are too small share one. Who shares has to be decided by other counts than those of the calibration examples: the grid split's, or
//! those of the plan. A stratum that is small by chance is also under-represented in the threshold that it shares.

use crate::error::{Error, Result};
use crate::inputs;

use super::rank::{Promise, fewest_examples};
use super::sets::{Cutoff, LabelSet, label_set};

/// Which strata share a threshold.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Strata {
    /// Number of the threshold of each stratum.
    threshold_of: Vec<usize>,
    /// Strata that share one, ascending; empty where each has its own.
    sharing: Vec<usize>,
}

impl Strata {
    /// Those with fewer than `fewest` examples share, and with them the smallest of the others until they have that many together.
    ///
    /// # Errors
    /// [`Error::TooFew`] without strata, or where all of them together are too few.
    /// # Examples
    /// ```
    /// let strata = bayeslora_metrics::guarantee::Strata::merged(&[40, 3, 20, 90], 19)?;
    /// // The second is too small; with the third it is not.
    /// assert_eq!((strata.sharing(), strata.thresholds()), (&[1, 2][..], 3));
    /// # Ok::<(), bayeslora_metrics::Error>(())
    /// ```
    pub fn merged(counts: &[usize], fewest: usize) -> Result<Self> {
        inputs::at_least("strata", counts.len(), 1)?;
        let total = counts.iter().fold(0, |sum: usize, &count| sum.saturating_add(count));
        inputs::at_least("examples of all strata", total, fewest)?;
        let mut order: Vec<(usize, usize)> = counts.iter().copied().zip(0..).collect();
        order.sort_unstable();
        let (mut sharing, mut together) = (Vec::new(), 0_usize);
        for (count, stratum) in order {
            if count >= fewest && (sharing.is_empty() || together >= fewest) {
                break;
            }
            sharing.push(stratum);
            together = together.saturating_add(count);
        }
        sharing.sort_unstable();
        let mut own = 0;
        let mut threshold_of = Vec::with_capacity(counts.len());
        let shared = counts.len() - sharing.len();
        for stratum in 0..counts.len() {
            let is_shared = sharing.binary_search(&stratum).is_ok();
            threshold_of.push(if is_shared { shared } else { own });
            own += usize::from(!is_shared);
        }
        Ok(Self { threshold_of, sharing })
    }

    /// The strata that share a threshold, ascending; none where each has its own. What is promised of them is promised of all together.
    pub fn sharing(&self) -> &[usize] {
        &self.sharing
    }

    /// Number of thresholds.
    pub fn thresholds(&self) -> usize {
        self.threshold_of.iter().max().map_or(0, |most| most + 1)
    }

    fn threshold_of(&self, example: usize, stratum: usize) -> Result<usize> {
        let strata = self.threshold_of.len();
        self.threshold_of.get(stratum).copied().ok_or(Error::Label { example, value: stratum, classes: strata })
    }
}

/// One threshold a stratum.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StratifiedCutoff {
    /// Which strata share.
    pub strata: Strata,
    /// By number of the threshold.
    pub cutoffs: Vec<Cutoff>,
}

impl StratifiedCutoff {
    /// The thresholds, from the calibration scores of the labels and the stratum of each example: its label or its group.
    ///
    /// # Errors
    /// As [`Cutoff::fit`], with the examples needed of each stratum; [`Error::Length`], and [`Error::Label`] for a stratum that there is none of.
    pub fn fit(scores: &[f64], stratum: &[usize], strata: Strata, alpha: f64, promise: Promise) -> Result<Self> {
        inputs::same_length("strata", stratum.len(), "calibration scores", scores.len())?;
        inputs::finite("calibration scores", scores)?;
        let mut parts = vec![Vec::new(); strata.thresholds()];
        for (example, (&score, &stratum)) in scores.iter().zip(stratum).enumerate() {
            parts[strata.threshold_of(example, stratum)?].push(score);
        }
        let fewest = fewest_examples(alpha, promise)?;
        for part in &parts {
            inputs::at_least("calibration examples of a stratum", part.len(), fewest)?;
        }
        let cutoffs = parts.iter().map(|part| Cutoff::fit(part, alpha, promise)).collect::<Result<_>>()?;
        Ok(Self { strata, cutoffs })
    }

    /// The threshold of a group.
    ///
    /// # Errors
    /// [`Error::Label`] for a stratum that there is none of.
    pub fn of(&self, stratum: usize) -> Result<&Cutoff> {
        let refused = Error::Label { example: 0, value: stratum, classes: self.strata.threshold_of.len() };
        self.cutoffs.get(self.strata.threshold_of(0, stratum)?).ok_or(refused)
    }

    /// The set where strata are classes: each class is held to its own threshold.
    ///
    /// # Errors
    /// As [`Cutoff::set`], and [`Error::Length`] for another number of classes.
    pub fn set_by_class(&self, class_scores: &[f64]) -> Result<LabelSet> {
        inputs::same_length("class scores", class_scores.len(), "strata", self.strata.threshold_of.len())?;
        let cutoffs = (0..class_scores.len()).map(|class| self.of(class)).collect::<Result<Vec<_>>>()?;
        label_set(class_scores, |class, score| cutoffs.get(class).is_some_and(|cutoff| cutoff.contains(score)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_strata_share_until_they_are_enough() {
        let shared = |counts: &[usize]| Strata::merged(counts, 10).unwrap();
        assert_eq!(shared(&[10, 30, 11]), Strata { threshold_of: vec![0, 1, 2], sharing: vec![] });
        assert_eq!(shared(&[6, 30, 5]), Strata { threshold_of: vec![1, 0, 1], sharing: vec![0, 2] });
        assert_eq!(shared(&[0, 30, 12, 12]), Strata { threshold_of: vec![2, 0, 2, 1], sharing: vec![0, 2] });
        assert_eq!(shared(&[9, 1, 50]), Strata { threshold_of: vec![1, 1, 0], sharing: vec![0, 1] });
        assert_eq!(shared(&[9, 9, 9, 0]).thresholds(), 1);
        assert_eq!(shared(&[10]), Strata { threshold_of: vec![0], sharing: vec![] });
        let refused = Strata::merged(&[4, 5], 10).unwrap_err().to_string();
        assert_eq!(refused, "examples of all strata: got 9, expected at least 10");
    }

    #[test]
    fn every_stratum_is_covered_and_with_one_threshold_the_stranger_is_not() {
        let (mut covered, mut together) = ([0; 2], [0; 2]);
        for run in 0..1000 {
            let mut random = crate::random::SplitMix64::keyed(12, 0, run);
            // The second stratum is twice as strange and a fifth of all.
            let mut example = |stratum: usize| (stratum, random.open_unit() * (stratum + 1) as f64);
            let (strata, scores): (Vec<usize>, Vec<f64>) = (0..195).map(|n| example(usize::from(n % 5 == 0))).unzip();
            let merged = Strata::merged(&[156, 39], 19).unwrap();
            let each = StratifiedCutoff::fit(&scores, &strata, merged, 0.1, Promise::Average).unwrap();
            let one = Cutoff::fit(&scores, 0.1, Promise::Average).unwrap();
            for stratum in 0..2 {
                let (_, score) = example(stratum);
                covered[stratum] += u32::from(each.of(stratum).unwrap().contains(score));
                together[stratum] += u32::from(one.contains(score));
            }
        }
        // Four standard errors of a binomial.
        let least = 900.0 - 4.0 * 90f64.sqrt();
        assert!(covered.iter().all(|&covered| f64::from(covered) > least), "{covered:?}");
        assert!(f64::from(together[1]) < least, "{together:?}");
    }

    #[test]
    fn every_class_is_held_to_its_own_threshold() {
        let scores: Vec<f64> = (0..60).map(|n| f64::from(n % 30) / if n < 30 { 100.0 } else { 30.0 }).collect();
        let labels: Vec<usize> = (0..60).map(|n| usize::from(n >= 30)).collect();
        let strata = Strata::merged(&[30, 30], 9).unwrap();
        let found = StratifiedCutoff::fit(&scores, &labels, strata.clone(), 0.1, Promise::Average).unwrap();
        let alone = Cutoff::fit(&scores[..30], 0.1, Promise::Average).unwrap();
        assert_eq!(found.of(0).unwrap(), &alone);
        assert_eq!(found.set_by_class(&[0.5, 0.5]).unwrap().classes, [1]);
        assert_eq!(found.set_by_class(&[0.1, 0.95]).unwrap().classes, [0]);
        let refused = found.set_by_class(&[0.1]).unwrap_err().to_string();
        assert_eq!(refused, "class scores has 1 entries, strata has 2");
        let few = StratifiedCutoff::fit(&scores[..35], &labels[..35], strata.clone(), 0.1, Promise::Average);
        assert_eq!(few.unwrap_err().to_string(), "calibration examples of a stratum: got 5, expected at least 9");
        let unknown = StratifiedCutoff::fit(&[0.1], &[2], strata, 0.1, Promise::Average).unwrap_err().to_string();
        assert_eq!(unknown, "label of example 0 is 2, expected a class below 2");
    }
}
