//! Sets under a known shift of the inputs: weighted conformal prediction, and what weights are worth.

use crate::error::{Error, Result};
use crate::inputs;

use super::binomial::level_of;

/// Fewest examples that weighted ones have to be worth.
const LEAST_EFFECTIVE: f64 = 100.0;

/// `(sum w)^2 / sum w^2`: how many unweighted examples weighted ones are worth (Kish 1965).
///
/// # Errors
/// [`Error::TooFew`] without weights, [`Error::Entry`] for one that is negative or not finite, [`Error::Setting`] where all are 0.
/// # Examples
/// ```
/// assert_eq!(bayeslora_metrics::guarantee::effective_examples(&[1.0, 1.0, 2.0])?, 16.0 / 6.0);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn effective_examples(weights: &[f64]) -> Result<f64> {
    inputs::at_least("weights", weights.len(), 1)?;
    let largest = largest_weight(weights)?;
    // Relative to the largest, so that no square leaves the range.
    let (sum, squares) = weights
        .iter()
        .map(|weight| weight / largest)
        .fold((0.0, 0.0), |(sum, squares), weight| (sum + weight, squares + weight * weight));
    Ok(sum * sum / squares)
}

fn largest_weight(weights: &[f64]) -> Result<f64> {
    let mut largest = 0.0_f64;
    for (index, &value) in weights.iter().enumerate() {
        if !(value >= 0.0 && value.is_finite()) {
            return Err(Error::Entry { what: "weights", index, value, expected: "[0, inf)" });
        }
        largest = largest.max(value);
    }
    if largest > 0.0 {
        Ok(largest)
    } else {
        Err(Error::Setting { what: "sum of the weights", value: 0.0, expected: "(0, inf)" })
    }
}

/// Thresholds of conformal scores under a known shift of the inputs (Tibshirani et al. 2019): examples weigh `w(x)`, the ratio of the densities after and
/// before.
///
/// The threshold of an input of weight `w` is the smallest score `q` with at most a share `alpha` of the mass above it. The input's own mass lies at
/// infinity: `sum_(s_i > q) w_i + w <= alpha (sum_i w_i + w)`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct WeightedCutoff {
    alpha: f64,
    /// Scores, descending, and the mass of those above each of them.
    above: Vec<(f64, f64)>,
    total: f64,
}

impl WeightedCutoff {
    /// From the calibration scores of the labels and the weights of their inputs.
    ///
    /// # Errors
    /// [`Error::Setting`] where the weights are worth fewer than 100 examples or unless `0 < alpha < 1`; [`Error::TooFew`], [`Error::Length`],
    /// [`Error::NotFinite`]; [`Error::Entry`] for a weight that is negative or not finite.
    /// # Examples
    /// ```
    /// use bayeslora_metrics::guarantee::WeightedCutoff;
    /// let scores: Vec<f64> = (1..=199).map(f64::from).collect();
    /// let cutoff = WeightedCutoff::fit(&scores, &[1.0; 199], 0.1)?;
    /// assert_eq!(cutoff.threshold(1.0)?, Some(180.0));
    /// // An input that weighs as much as a tenth of all could be anything.
    /// assert_eq!(cutoff.threshold(23.0)?, None);
    /// # Ok::<(), bayeslora_metrics::Error>(())
    /// ```
    pub fn fit(scores: &[f64], weights: &[f64], alpha: f64) -> Result<Self> {
        level_of("alpha", alpha)?;
        inputs::at_least("calibration examples", scores.len(), 1)?;
        inputs::finite("calibration scores", scores)?;
        inputs::same_length("weights", weights.len(), "calibration scores", scores.len())?;
        let value = effective_examples(weights)?;
        if value < LEAST_EFFECTIVE {
            return Err(Error::Setting {
                what: "effective number of weighted examples",
                value,
                expected: "[100, inf)",
            });
        }
        let mut weighted: Vec<(f64, f64)> = scores.iter().copied().zip(weights.iter().copied()).collect();
        // Equal scores by weight, so that the order of examples does not reach the last bit of a sum.
        weighted.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
        let mut total = 0.0;
        let above = weighted
            .into_iter()
            .map(|(score, weight)| {
                let above = total;
                total += weight;
                (score, above)
            })
            .collect();
        if !total.is_finite() {
            return Err(Error::Setting { what: "sum of the weights", value: total, expected: "(0, inf)" });
        }
        Ok(Self { alpha, above, total })
    }

    /// The threshold of an input of this weight; none where its own mass exceeds the share `alpha`: every class is then in its set.
    ///
    /// # Errors
    /// [`Error::Entry`] for a weight that is negative or not finite.
    pub fn threshold(&self, weight: f64) -> Result<Option<f64>> {
        if !(weight >= 0.0 && weight.is_finite()) {
            return Err(Error::Entry { what: "weights", index: 0, value: weight, expected: "[0, inf)" });
        }
        let mass = self.total + weight;
        // As many roundings as there are terms: a share that is met up to them is met.
        let allowed = self.alpha * mass - weight + mass * self.above.len() as f64 * f64::EPSILON;
        if allowed < 0.0 {
            return Ok(None);
        }
        let places = self.above.partition_point(|(_, above)| *above <= allowed);
        // Of equal scores the first has the mass above all of them.
        Ok(places.checked_sub(1).and_then(|last| self.above.get(last)).map(|(score, _)| *score))
    }

    /// Whether a class of this score is in the set of an input of this weight; NaN is in none.
    ///
    /// # Errors
    /// As [`Self::threshold`].
    pub fn contains(&self, score: f64, weight: f64) -> Result<bool> {
        Ok(match self.threshold(weight)? {
            Some(threshold) => score <= threshold,
            None => !score.is_nan(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::rank::Promise;
    use super::super::sets::Cutoff;
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn equal_weights_are_none() {
        let mut random = SplitMix64::keyed(2, 0, 0);
        for n in [100, 101, 199, 500] {
            let scores: Vec<f64> = (0..n).map(|_| (random.open_unit() * 80.0).floor()).collect();
            for alpha in [0.05, 0.1, 0.29, 0.3] {
                for weight in [1.0, 0.1, 1e300, 7e-300] {
                    let expected = Cutoff::fit(&scores, alpha, Promise::Average).unwrap().threshold;
                    let weighted = WeightedCutoff::fit(&scores, &vec![weight; n], alpha);
                    if weight < 1e300 {
                        assert_eq!(
                            weighted.unwrap().threshold(weight).unwrap(),
                            Some(expected),
                            "{n}, {alpha}, {weight}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn weighted_sets_cover_after_the_shift_and_unweighted_do_not() {
        // Scores are |noise| x with x uniform before and of density 2 x after.
        let (mut covered, mut unweighted) = (0, 0);
        for run in 0..2000 {
            let mut random = SplitMix64::keyed(6, 0, run);
            let mut example = |is_after: bool| {
                let x = if is_after { random.open_unit().sqrt() } else { random.open_unit() };
                (x, x * random.open_unit())
            };
            let (inputs, scores): (Vec<f64>, Vec<f64>) = (0..200).map(|_| example(false)).unzip();
            let weighted =
                WeightedCutoff::fit(&scores, &inputs.iter().map(|x| 2.0 * x).collect::<Vec<_>>(), 0.2).unwrap();
            let (x, score) = example(true);
            covered += u32::from(weighted.contains(score, 2.0 * x).unwrap());
            unweighted += u32::from(Cutoff::fit(&scores, 0.2, Promise::Average).unwrap().contains(score));
        }
        // Four standard errors of a binomial.
        let slack = 4.0 * (2000.0 * 0.2 * 0.8_f64).sqrt();
        assert!(f64::from(covered) > 1600.0 - slack, "{covered}");
        assert!(f64::from(unweighted) < 1600.0 - slack, "{unweighted}");
    }

    #[test]
    fn bad_weights_are_refused() {
        let message =
            |weights: &[f64]| WeightedCutoff::fit(&vec![0.5; weights.len()], weights, 0.1).unwrap_err().to_string();
        let few = "effective number of weighted examples is 99, expected a number in [100, inf)";
        assert_eq!(message(&[1.0; 99]), few);
        assert_eq!(message(&[[1.0; 99].as_slice(), &[0.0; 500]].concat()), few);
        assert_eq!(message(&[-1.0; 3]), "weights[0] is -1, expected a number in [0, inf)");
        assert_eq!(message(&[0.0; 3]), "sum of the weights is 0, expected a number in (0, inf)");
        assert_eq!(message(&[1e307; 200]), "sum of the weights is inf, expected a number in (0, inf)");
        assert!(message(&[1.0, f64::NAN]).starts_with("weights[1] is NaN"));
        assert!((effective_examples(&[1e-200; 7]).unwrap() - 7.0).abs() < 1e-12);
    }
}
