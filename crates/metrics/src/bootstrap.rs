//! Percentile bootstrap over examples: draw `n` of `n` with replacement, compute, and take the quantiles
//! `(1 - level) / 2` and `(1 + level) / 2` of the resampled statistics (Efron and Tibshirani 1993, section 13.3).

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::inputs;
use crate::random::SplitMix64;

/// An estimate with its bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Interval {
    /// The statistic of the data.
    pub estimate: f64,
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// How to resample.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `resamples` | 2000 | number of resamples | at least 1 |
/// | `level` | 0.95 | probability the interval aims to cover | (0, 1) |
/// | `seed` | 0 | chooses the resamples | any |
///
/// A resample depends on nothing but the seed, its number and the number of examples: not on threads, and not on the
/// statistic, so that two calls over the same examples are paired with each other.
///
/// # Examples
/// The interval of a difference, both sides computed on the same resampled examples:
/// ```
/// use bayeslora_metrics::{Bootstrap, accuracy};
/// let labels = vec![1_usize; 200];
/// let right = |every: usize| (0..200).map(|n| usize::from(n % every != 0)).collect::<Vec<_>>();
/// let (ours, theirs) = (right(10), right(5));
/// let mean = |guess: &[usize], indices: &[usize]| indices.iter().map(|&n| guess[n] as f64).sum::<f64>() / 200.0;
/// let difference = Bootstrap::default().interval(200, |indices| mean(&ours, indices) - mean(&theirs, indices))?;
/// assert!((difference.estimate - (accuracy(&ours, &labels)? - accuracy(&theirs, &labels)?)).abs() < 1e-12);
/// assert!(difference.lower > 0.05 && difference.upper < 0.15);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bootstrap {
    /// Number of resamples.
    pub resamples: u32,
    /// Probability the interval aims to cover, in `(0, 1)`.
    pub level: f64,
    /// Chooses the resamples.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 2000, level: 0.95, seed: 0 }
    }
}

impl Bootstrap {
    /// Refuses settings that cannot run.
    ///
    /// # Errors
    /// [`Error::TooFew`] for 0 resamples, [`Error::Setting`] unless `0 < level < 1`.
    pub fn check(&self) -> Result<()> {
        inputs::at_least("resamples", usize::try_from(self.resamples).unwrap_or(usize::MAX), 1)?;
        if !(self.level > 0.0 && self.level < 1.0) {
            return Err(Error::Setting { what: "level", value: self.level, expected: "(0, 1)" });
        }
        Ok(())
    }

    /// Percentile interval of a statistic of `examples` examples.
    ///
    /// `statistic` maps indices below `examples`, with repetitions, to a value. Whatever is compared inside one statistic
    /// shares the resample, which pairs it. [`weights`] turns indices into counts for the prepared metrics.
    ///
    /// # Errors
    /// Those of [`Self::check`]; [`Error::TooFew`] without examples; [`Error::Statistic`] when the statistic is not finite
    /// on the data or on a resample (such as a correlation with errors, where a resample holds none).
    pub fn interval(&self, examples: usize, statistic: impl Fn(&[usize]) -> f64 + Sync) -> Result<Interval> {
        self.check()?;
        inputs::at_least("examples", examples, 1)?;
        self.run(statistic(&identity(examples)), |resample| statistic(&self.draw(0, resample, examples)))
    }

    /// Percentile interval of a statistic of two groups, each resampled on its own, such as in- and out-of-distribution
    /// examples for a detection metric.
    ///
    /// # Errors
    /// As [`Self::interval`].
    pub fn interval_two_groups(
        &self,
        first: usize,
        second: usize,
        statistic: impl Fn(&[usize], &[usize]) -> f64 + Sync,
    ) -> Result<Interval> {
        self.check()?;
        inputs::at_least("examples of the first group", first, 1)?;
        inputs::at_least("examples of the second group", second, 1)?;
        self.run(statistic(&identity(first), &identity(second)), |resample| {
            statistic(&self.draw(0, resample, first), &self.draw(1, resample, second))
        })
    }

    /// The statistic on every resample, in their order: what two statistics take on the same examples is paired entry by entry, so that
    /// each of many rows is resampled once and any two of them compared ([`Measured::resampled`](crate::Measured::resampled)).
    ///
    /// # Errors
    /// As [`Self::interval`], for the resamples.
    pub fn replicates(&self, examples: usize, statistic: impl Fn(&[usize]) -> f64 + Sync) -> Result<Vec<f64>> {
        self.check()?;
        inputs::at_least("examples", examples, 1)?;
        self.values(|resample| statistic(&self.draw(0, resample, examples)))
    }

    /// The statistic of several fits on every resample, `[fits][resamples]`: what [`Fits::resampled`](crate::Fits::resampled) takes. Every
    /// resample is drawn once for all fits; `statistic` is given the number of a fit and how often each example was drawn.
    ///
    /// # Errors
    /// As [`Self::interval`], for the resamples.
    pub fn replicates_of_fits(
        &self,
        examples: usize,
        fits: usize,
        statistic: impl Fn(usize, &[u32]) -> f64 + Sync,
    ) -> Result<Vec<Vec<f64>>> {
        self.check()?;
        inputs::at_least("examples", examples, 1)?;
        let of_resample = |resample: u32| -> Vec<f64> {
            let weights = weights(&self.draw(0, resample, examples), examples);
            (0..fits).map(|fit| statistic(fit, &weights)).collect()
        };
        let by_resample: Vec<Vec<f64>> = (0..self.resamples).into_par_iter().map(of_resample).collect();
        for (index, values) in (0..).zip(&by_resample) {
            if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
                return Err(Error::Statistic { resample: Some(index), value });
            }
        }
        Ok((0..fits).map(|fit| by_resample.iter().map(|values| values[fit]).collect()).collect())
    }

    fn values(&self, resampled: impl Fn(u32) -> f64 + Sync) -> Result<Vec<f64>> {
        let values: Vec<f64> = (0..self.resamples).into_par_iter().map(&resampled).collect();
        match (0..).zip(&values).find(|(_, value)| !value.is_finite()) {
            Some((index, &value)) => Err(Error::Statistic { resample: Some(index), value }),
            None => Ok(values),
        }
    }

    fn run(&self, estimate: f64, resampled: impl Fn(u32) -> f64 + Sync) -> Result<Interval> {
        if !estimate.is_finite() {
            return Err(Error::Statistic { resample: None, value: estimate });
        }
        let mut values = self.values(resampled)?;
        values.sort_by(f64::total_cmp);
        let tail = (1.0 - self.level) / 2.0;
        Ok(Interval { estimate, lower: quantile(&values, tail), upper: quantile(&values, 1.0 - tail) })
    }

    fn draw(&self, stream: u64, resample: u32, examples: usize) -> Vec<usize> {
        let mut random = SplitMix64::keyed(self.seed, stream, resample);
        let bound = u64::try_from(examples).unwrap_or(u64::MAX);
        // A draw below `examples` fits back into the type `examples` came from.
        (0..examples).map(|_| usize::try_from(random.below(bound)).unwrap_or(0)).collect()
    }
}

/// How often each of `examples` examples occurs among `indices`; an index that names no example counts nowhere.
///
/// # Examples
/// ```
/// assert_eq!(bayeslora_metrics::weights(&[2, 0, 2], 4), [1, 0, 2, 0]);
/// ```
pub fn weights(indices: &[usize], examples: usize) -> Vec<u32> {
    let mut counts = vec![0; examples];
    for &index in indices {
        if let Some(count) = counts.get_mut(index) {
            *count += 1;
        }
    }
    counts
}

fn identity(examples: usize) -> Vec<usize> {
    (0..examples).collect()
}

/// Quantile of sorted, non-empty values, linear between order statistics (numpy's default).
fn quantile(sorted: &[f64], probability: f64) -> f64 {
    let position = probability * (sorted.len() - 1) as f64;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the probability is in [0, 1], so the position is an index"
    )]
    let below = position.floor() as usize;
    let next = sorted[(below + 1).min(sorted.len() - 1)];
    sorted[below] + (next - sorted[below]) * (position - position.floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_of(values: &[f64]) -> impl Fn(&[usize]) -> f64 + Sync {
        move |indices| indices.iter().map(|&index| values[index]).sum::<f64>() / indices.len() as f64
    }

    #[test]
    fn quantiles_are_numpys() {
        let sorted: Vec<f64> = (0..11).map(|k| f64::from(k * k)).collect();
        assert!((quantile(&sorted, 0.025) - 0.25).abs() < 1e-12);
        assert!((quantile(&sorted, 0.975) - 95.25).abs() < 1e-12);
        assert!((quantile(&sorted, 1.0) - 100.0).abs() < 1e-12);
        assert!((quantile(&[3.0], 0.5) - 3.0).abs() < 1e-12);
    }

    #[test]
    fn interval_of_a_mean_is_the_normal_one() {
        let values: Vec<f64> = (0..400).map(|k| f64::from(k % 20)).collect();
        let interval = Bootstrap { resamples: 10_000, ..Bootstrap::default() }.interval(400, mean_of(&values)).unwrap();
        // Standard deviation of 0..20 over sqrt(400). A percentile of 10,000 draws is off by about 0.027 standard errors;
        // five of those.
        let standard_error = (399.0f64 / 12.0).sqrt() / 20.0;
        for (got, expected) in [(interval.lower, -1.96), (interval.estimate, 0.0), (interval.upper, 1.96)] {
            assert!(((got - 9.5) / standard_error - expected).abs() < 0.14, "{interval:?}");
        }
    }

    #[test]
    fn result_depends_on_the_seed_and_not_on_threads() {
        let values: Vec<f64> = (0..50).map(|k| f64::from(k * k % 31)).collect();
        let run = |seed, threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let bootstrap = Bootstrap { resamples: 200, seed, ..Bootstrap::default() };
            pool.install(|| bootstrap.interval(50, mean_of(&values)).unwrap())
        };
        assert_eq!(run(1, 1), run(1, 4));
        assert_ne!(run(1, 1), run(2, 1));
    }

    #[test]
    fn replicates_of_several_fits_are_those_of_each() {
        let values: [Vec<f64>; 2] = [7, 11].map(|m| (0..40).map(|k: u32| f64::from(k * k % m)).collect());
        let bootstrap = Bootstrap { resamples: 30, seed: 5, ..Bootstrap::default() };
        let weighted = |fit: usize, weights: &[u32]| -> f64 {
            values[fit].iter().zip(weights).map(|(value, &weight)| value * f64::from(weight)).sum::<f64>() / 40.0
        };
        let found = bootstrap.replicates_of_fits(40, 2, weighted).unwrap();
        for (found, values) in found.iter().zip(&values) {
            let alone = bootstrap.replicates(40, mean_of(values)).unwrap();
            assert!(found.iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-12));
        }
        let refused = bootstrap.replicates_of_fits(40, 2, |fit, _| if fit == 1 { f64::NAN } else { 0.0 }).unwrap_err();
        assert_eq!(refused.to_string(), "statistic is NaN on resample 0, expected a finite number");
    }

    #[test]
    fn a_difference_with_itself_has_no_width() {
        let values: Vec<f64> = (0..50).map(|k| f64::from(k * k % 31)).collect();
        let mean = mean_of(&values);
        let paired = Bootstrap::default().interval(50, |indices| mean(indices) - mean(indices)).unwrap();
        assert_eq!(paired, Interval { estimate: 0.0, lower: 0.0, upper: 0.0 });
        // Two groups are drawn independently: the same difference must have a width.
        let apart = Bootstrap::default().interval_two_groups(50, 50, |a, b| mean(a) - mean(b)).unwrap();
        assert!(apart.lower < -1.0 && apart.upper > 1.0);
    }

    #[test]
    fn bad_settings_and_statistics_are_refused() {
        let refuse = |bootstrap: Bootstrap| bootstrap.interval(3, |_| 0.0).unwrap_err().to_string();
        let fine = Bootstrap::default();
        assert_eq!(refuse(Bootstrap { resamples: 0, ..fine }), "resamples: got 0, expected at least 1");
        assert_eq!(refuse(Bootstrap { level: 1.0, ..fine }), "level is 1, expected a number in (0, 1)");
        assert_eq!(refuse(Bootstrap { level: f64::NAN, ..fine }), "level is NaN, expected a number in (0, 1)");
        assert_eq!(fine.interval(0, |_| 0.0).unwrap_err().to_string(), "examples: got 0, expected at least 1");
        assert!(fine.interval_two_groups(3, 0, |_, _| 0.0).is_err());
        let nowhere = fine.interval(3, |_| f64::NAN).unwrap_err();
        assert_eq!(nowhere.to_string(), "statistic is NaN on the data, expected a finite number");
        let sometimes = fine.interval(3, |indices| if indices == [0, 1, 2] { 1.0 } else { f64::INFINITY }).unwrap_err();
        assert_eq!(sometimes.to_string(), "statistic is inf on resample 0, expected a finite number");
    }
}
