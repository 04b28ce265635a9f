//! Statistics of several fits on the same test examples and their paired differences, over examples and seeds.
//!
//! With `D` the mean over `S` seeds of the difference, `V = V_E + V_S`: `V_E` the variance over examples of the seed-averaged
//! statistic, `V_S` that over seeds, the sample variance of the seeds' differences over `S` (0 for one seed). `D / sqrt V` is compared
//! with Student's t at the degrees of freedom of Satterthwaite (1946), `V^2 / (V_E^2 / nu + V_S^2 / (S - 1))`.
//!
//! Why not the quantiles of [`Bootstrap::interval_over_seeds`](crate::Bootstrap::interval_over_seeds): a p-value from `B` resamples is at
//! least `2 / (B + 1)`, which no correction for dozens of rows survives at `B = 1000`, and seeds resampled vary by `(S - 1) / S` of what
//! they should with the tails of a normal law. Here few seeds cost degrees of freedom. What is noise of an example *and* a
//! seed is in both variances (the price is at most a factor 2 in `V`, and errs towards no difference).
//!
//! More than 400 lines: more than half is simulations that check the level of the test.

use std::collections::BTreeMap;

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::deviations::{self, Detection};
use crate::error::{Error, Result};
use crate::inputs;
use crate::summary::summarise;

/// A difference with its interval and test.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PairedDifference {
    /// Mean over seeds.
    pub estimate: f64,
    /// Lower end of the interval.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Two-sided, of no difference; at most `1 - level` exactly where the interval excludes 0.
    pub p_value: f64,
    /// Standard error over examples, `sqrt V_E`.
    pub error_over_examples: f64,
    /// Standard error over seeds, `sqrt V_S`; `None` for one seed.
    pub error_over_seeds: Option<f64>,
}

/// Interval and test of the mean over seeds of `per_seed`, given its standard error over examples and the degrees of freedom of that.
///
/// For one seed it is Student's t over examples alone: with per-example differences the paired t-test, with a partial correlation `r`
/// and the error `sqrt((1 - r^2) / (n - 3))` the p-value of [`partial_spearman`](crate::partial_spearman). Without any variance the
/// interval has no width, and p is 1 for no difference and 0 otherwise.
///
/// # Errors
/// [`Error::TooFew`] without seeds, [`Error::NotFinite`], [`Error::Setting`] unless `0 < level < 1`, the error is at least 0 and the
/// degrees of freedom are positive.
/// # Examples
/// ```
/// let one = bayeslora_metrics::over_examples_and_seeds(&[0.02], 0.01, 2000.0, 0.95)?;
/// assert!(one.p_value < 0.05 && one.lower > 0.0);
/// // Three seeds that disagree: the same mean is no evidence.
/// let three = bayeslora_metrics::over_examples_and_seeds(&[0.0, 0.01, 0.05], 0.01, 2000.0, 0.95)?;
/// assert!(three.p_value > 0.2 && three.lower < 0.0);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn over_examples_and_seeds(
    per_seed: &[f64],
    error_over_examples: f64,
    degrees_of_freedom: f64,
    level: f64,
) -> Result<PairedDifference> {
    let over_seeds = summarise(per_seed)?;
    for (what, value, ok, expected) in [
        ("level", level, level > 0.0 && level < 1.0, "(0, 1)"),
        ("error over examples", error_over_examples, (0.0..f64::INFINITY).contains(&error_over_examples), "[0, inf)"),
        ("degrees of freedom", degrees_of_freedom, degrees_of_freedom > 0.0, "(0, inf)"),
    ] {
        if !ok {
            return Err(Error::Setting { what, value, expected });
        }
    }
    let estimate = over_seeds.mean;
    let seeds = over_seeds.n as f64;
    let error_over_seeds = over_seeds.sample_sd.map(|sd| sd / seeds.sqrt());
    let (of_examples, of_seeds) = (error_over_examples.powi(2), error_over_seeds.unwrap_or(0.0).powi(2));
    let variance = of_examples + of_seeds;
    let share = |part: f64, degrees: f64| if part > 0.0 { (part / variance).powi(2) / degrees } else { 0.0 };
    let inverse = share(of_examples, degrees_of_freedom) + share(of_seeds, seeds - 1.0);
    let (mut half, mut p_value) = (0.0, if estimate == 0.0 { 1.0 } else { 0.0 });
    // No variance has no degrees of freedom, and no law.
    if let Ok(student) = StudentsT::new(0.0, 1.0, 1.0 / inverse)
        && variance > 0.0
    {
        half = student.inverse_cdf(f64::midpoint(1.0, level)) * variance.sqrt();
        p_value = (2.0 * student.sf(estimate.abs() / variance.sqrt())).min(1.0);
    }
    let (lower, upper) = (estimate - half, estimate + half);
    Ok(PairedDifference { estimate, lower, upper, p_value, error_over_examples, error_over_seeds })
}

/// One statistic of several fits on the same examples: its value at every seed, and its deviations, whose squared differences
/// sum to the variance over examples of a paired difference.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    per_seed: Vec<f64>,
    deviations: Vec<f64>,
    degrees_of_freedom: f64,
}

impl Measured {
    /// A mean over examples: `psi_i = (x_i - mean x) / sqrt(n (n - 1))` with `x_i` averaged over seeds.
    ///
    /// # Shapes
    /// `values: [seeds][examples]`.
    /// # Errors
    /// [`Error::TooFew`] without seeds or below two examples, [`Error::Length`], [`Error::NotFinite`].
    pub fn mean(values: &[Vec<f64>]) -> Result<Self> {
        inputs::at_least("seeds", values.len(), 1)?;
        let examples = values[0].len();
        inputs::at_least("examples", examples, 2)?;
        for own in values {
            inputs::same_length("values of a seed", own.len(), "those of the first", examples)?;
            inputs::finite("values", own)?;
        }
        let mut per_seed = Vec::new();
        let mut deviations = vec![0.0; examples];
        for (mean, own) in values.iter().map(|own| deviations::of_mean(own)) {
            per_seed.push(mean);
            for (deviation, own) in deviations.iter_mut().zip(own) {
                *deviation += own / values.len() as f64;
            }
        }
        Ok(Self { per_seed, deviations, degrees_of_freedom: examples as f64 - 1.0 })
    }

    /// Any statistic, from the values that its mean over seeds takes on resamples of the examples
    /// ([`Bootstrap::replicates`](crate::Bootstrap::replicates), the same resamples for whatever it is compared with).
    ///
    /// # Errors
    /// [`Error::TooFew`] without seeds or below two replicates or examples, [`Error::NotFinite`].
    pub fn resampled(per_seed: Vec<f64>, replicates: &[f64], examples: usize) -> Result<Self> {
        inputs::at_least("seeds", per_seed.len(), 1)?;
        inputs::at_least("replicates", replicates.len(), 2)?;
        inputs::at_least("examples", examples, 2)?;
        inputs::finite("values", &per_seed)?;
        let mean = summarise(replicates)?.mean;
        let scale = (replicates.len() as f64 - 1.0).sqrt();
        let deviations = replicates.iter().map(|value| (value - mean) / scale).collect();
        Ok(Self { per_seed, deviations, degrees_of_freedom: examples as f64 - 1.0 })
    }

    /// AUROC by the structural components of DeLong's test, averaged over fits example by example.
    ///
    /// A positive that beats a share `V_i` of the negatives has `psi_i = (V_i - A) / sqrt(n+ (n+ - 1))`, a negative likewise with the
    /// share of positives that beat it. For one fit the variance of a difference is equation 4 of DeLong, DeLong and Clarke-Pearson (1988); examples
    /// that are positive under one fit and negative under another (errors) keep their places in the average.
    ///
    /// # Errors
    /// [`Error::TooFew`] without fits or below two positives or negatives in one, [`Error::Length`], [`Error::NotFinite`].
    pub fn auroc(fits: &[Detection<'_>]) -> Result<Self> {
        inputs::at_least("fits", fits.len(), 1)?;
        let examples = fits[0].scores.len();
        let mut deviations = vec![0.0; examples];
        let mut per_seed = Vec::new();
        for fit in fits {
            inputs::same_length("scores of a fit", fit.scores.len(), "those of the first", examples)?;
            let (area, own) = deviations::of_auroc(fit)?;
            for (deviation, own) in deviations.iter_mut().zip(own) {
                *deviation += own / fits.len() as f64;
            }
            per_seed.push(area);
        }
        Ok(Self { per_seed, deviations, degrees_of_freedom: (examples - 2) as f64 })
    }

    /// Of examples that are not independent: those of one cluster count as one.
    ///
    /// Their deviations add up before they are squared (the cluster-robust variance), which leaves `clusters - 1` degrees of freedom. For
    /// [`Self::mean`] and [`Self::auroc`]; resampled statistics have no deviation of an example.
    ///
    /// # Shapes
    /// `clusters: [examples]`, the number of each example's cluster.
    /// # Errors
    /// [`Error::Length`], [`Error::TooFew`] below two clusters.
    pub fn clustered(self, clusters: &[usize]) -> Result<Self> {
        inputs::same_length("clusters", clusters.len(), "deviations", self.deviations.len())?;
        let mut sums = BTreeMap::<usize, f64>::new();
        for (&cluster, deviation) in clusters.iter().zip(&self.deviations) {
            *sums.entry(cluster).or_default() += deviation;
        }
        inputs::at_least("clusters", sums.len(), 2)?;
        let degrees_of_freedom = (sums.len() - 1) as f64;
        Ok(Self { deviations: sums.into_values().collect(), degrees_of_freedom, ..self })
    }

    /// Mean over seeds.
    pub fn value(&self) -> f64 {
        self.per_seed.iter().sum::<f64>() / self.per_seed.len() as f64
    }

    /// `self - reference`, both of the same seeds, examples and, where they were resampled, resamples.
    ///
    /// # Errors
    /// [`Error::Length`] when they are not, and those of [`over_examples_and_seeds`].
    pub fn difference(&self, reference: &Self, level: f64) -> Result<PairedDifference> {
        let other = "those of the reference";
        inputs::same_length("seeds", self.per_seed.len(), other, reference.per_seed.len())?;
        inputs::same_length("deviations", self.deviations.len(), other, reference.deviations.len())?;
        let per_seed: Vec<f64> =
            self.per_seed.iter().zip(&reference.per_seed).map(|(own, other)| own - other).collect();
        let pairs = self.deviations.iter().zip(&reference.deviations);
        let variance: f64 = pairs.map(|(own, other)| (own - other).powi(2)).sum();
        over_examples_and_seeds(&per_seed, variance.sqrt(), self.degrees_of_freedom, level)
    }
}

#[cfg(test)]
mod tests {
    use statrs::distribution::Normal;

    use super::*;
    use crate::placements::Placements;
    use crate::{Bootstrap, partial_spearman, random::SplitMix64};

    /// Standard normals of a numbered stream.
    struct Normals(SplitMix64);

    impl Normals {
        fn new(number: u32) -> Self {
            Self(SplitMix64::keyed(7, 0, number))
        }

        fn next(&mut self) -> f64 {
            Normal::standard().inverse_cdf(self.0.open_unit())
        }

        fn list(&mut self, n: usize) -> Vec<f64> {
            (0..n).map(|_| self.next()).collect()
        }
    }

    #[test]
    fn one_seed_is_the_paired_t_test() {
        // scipy.stats.ttest_rel([0.3, 0.1, 0.5, 0.9, 0.4], [0.2, 0.2, 0.1, 0.5, 0.3]): t = 1.8565582432658285, p = 0.13694512334578729.
        let own = Measured::mean(&[vec![0.3, 0.1, 0.5, 0.9, 0.4]]).unwrap();
        let other = Measured::mean(&[vec![0.2, 0.2, 0.1, 0.5, 0.3]]).unwrap();
        let found = own.difference(&other, 0.95).unwrap();
        assert!((found.estimate / found.error_over_examples - 1.856_558_243_265_828_5).abs() < 1e-12, "{found:?}");
        assert!((found.p_value - 0.136_945_123_345_787).abs() < 1e-9, "{found:?}");
        assert_eq!(found.error_over_seeds, None);
    }

    #[test]
    fn examples_and_seeds_add_up_with_the_degrees_of_freedom_of_satterthwaite() {
        // scipy.stats.t with V = 0.006^2 + var(d) / 3 at V^2 / (0.006^4 / 400 + (var(d) / 3)^2 / 2) = 4.2753 degrees of freedom.
        let found = over_examples_and_seeds(&[0.01, 0.02, 0.04], 0.006, 400.0, 0.95).unwrap();
        for (got, expected) in [
            (found.p_value, 0.089_571_541_142_782),
            (found.lower, -0.005_544_881_781_227),
            (found.upper, 0.052_211_548_447_894),
        ] {
            assert!((got - expected).abs() < 1e-7, "{got} for {expected}");
        }
        // Without an error over examples it is scipy.stats.ttest_1samp of the seeds.
        let seeds = over_examples_and_seeds(&[0.01, 0.02, 0.04], 0.0, 400.0, 0.95).unwrap();
        assert!((seeds.p_value - 0.118_082_896_311_803).abs() < 1e-7, "{seeds:?}");
    }

    #[test]
    fn one_partial_correlation_keeps_its_p_value() {
        let mut normals = Normals::new(0);
        let (x, y, g) = (normals.list(40), normals.list(40), normals.list(40));
        let partial = partial_spearman(&x, &y, &g).unwrap();
        let error = ((1.0 - partial.coefficient.powi(2)) / 37.0).sqrt();
        let found = over_examples_and_seeds(&[partial.coefficient], error, 37.0, 0.95).unwrap();
        assert!((found.p_value - partial.p_value).abs() < 1e-12);
    }

    #[test]
    fn one_fit_has_the_error_of_delong_and_two_groups_average_their_placements() {
        let mut normals = Normals::new(1);
        let positive: Vec<bool> = (0..60).map(|n| n % 3 == 0).collect();
        let scores: Vec<Vec<f64>> = (0..4).map(|_| normals.list(60)).collect();
        let group = |scores: &[f64], wanted: bool| -> Vec<f64> {
            scores.iter().zip(&positive).filter(|(_, p)| **p == wanted).map(|(score, _)| *score).collect()
        };
        let of = |scores: &[&Vec<f64>]| {
            let fits: Vec<_> = scores.iter().map(|scores| Detection { scores, positive: &positive }).collect();
            Measured::auroc(&fits).unwrap()
        };
        let found = of(&[&scores[0]]).difference(&of(&[&scores[1]]), 0.95).unwrap();
        let placements: Vec<_> =
            scores.iter().map(|scores| Placements::new(&group(scores, false), &group(scores, true))).collect();
        // Equation 4: the sample variance of the differences of either group over its size.
        let variance = |a: &[f64], b: &[f64]| {
            let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
            summarise(&differences).unwrap().sample_sd.unwrap().powi(2) / a.len() as f64
        };
        let (one, two) = (&placements[0], &placements[1]);
        let expected = variance(&one.positives, &two.positives) + variance(&one.negatives, &two.negatives);
        let expected = expected.sqrt();
        assert!((found.estimate - (one.auroc() - two.auroc())).abs() < 1e-14);
        assert!((found.error_over_examples - expected).abs() < 1e-14);
        // Two copies of a fit are one fit; two fits that differ vary less together.
        let twice = of(&[&scores[0], &scores[0]]).difference(&of(&[&scores[1], &scores[1]]), 0.95).unwrap();
        assert!((twice.error_over_examples - expected).abs() < 1e-14);
        let both = of(&[&scores[0], &scores[2]]).difference(&of(&[&scores[1], &scores[3]]), 0.95).unwrap();
        assert!(both.error_over_examples < 0.9 * expected, "{both:?}");
    }

    #[test]
    fn the_error_of_areas_whose_positives_change_from_fit_to_fit_is_that_of_the_bootstrap() {
        let mut normals = Normals::new(2);
        let examples = 400;
        let common = normals.list(examples);
        // Errors at high difficulty, which both scores see through noise; every fit errs elsewhere.
        let fits: Vec<(Vec<bool>, Vec<f64>, Vec<f64>)> = (0..3)
            .map(|_| {
                let mut noisy =
                    |scale: f64| -> Vec<f64> { common.iter().map(|c| c + scale * normals.next()).collect() };
                (noisy(0.7).into_iter().map(|value| value > 0.8).collect(), noisy(0.5), noisy(0.9))
            })
            .collect();
        let measure = |second: bool, places: &[usize]| {
            let taken: Vec<(Vec<f64>, Vec<bool>)> = fits
                .iter()
                .map(|(errors, one, two)| {
                    let scores = if second { two } else { one };
                    (places.iter().map(|&n| scores[n]).collect(), places.iter().map(|&n| errors[n]).collect())
                })
                .collect();
            let fits: Vec<_> = taken.iter().map(|(scores, positive)| Detection { scores, positive }).collect();
            Measured::auroc(&fits).unwrap()
        };
        let all: Vec<usize> = (0..examples).collect();
        let found = measure(false, &all).difference(&measure(true, &all), 0.95).unwrap();
        let bootstrap = Bootstrap { resamples: 2000, ..Bootstrap::default() };
        let resampled = bootstrap
            .replicates(examples, |places| measure(false, places).value() - measure(true, places).value())
            .unwrap();
        let expected = summarise(&resampled).unwrap().sample_sd.unwrap();
        // A standard deviation of 2000 draws is off by 1.6 %; five of those, and 1 / n of either definition.
        assert!((found.error_over_examples / expected - 1.0).abs() < 0.085, "{found:?} {expected}");
        let unpaired =
            measure(false, &all).deviations.iter().chain(&measure(true, &all).deviations).map(|d| d * d).sum::<f64>();
        assert!(unpaired.sqrt() > 1.2 * expected, "unpaired areas must be told apart");
    }

    #[test]
    fn texts_and_their_copies_have_the_error_of_resampled_pairs() {
        let mut normals = Normals::new(4);
        let texts = 300;
        let common = normals.list(texts);
        // Scores of a text and of its copy: what a fit makes of the text it makes of the copy too.
        let of_fits = [0.8, 0.5].map(|scale| normals.list(texts).iter().map(|own| scale * own).collect::<Vec<f64>>());
        let seen = [0.0, 0.6].map(|shift| {
            let mut side = |own: &[f64]| -> Vec<f64> {
                common.iter().zip(own).map(|(c, own)| c + own + shift + 0.2 * normals.next()).collect()
            };
            [side(&of_fits[0]), side(&of_fits[1])]
        });
        let measure = |fit: usize, places: &[usize]| {
            let scores: Vec<f64> = seen.iter().flat_map(|side| places.iter().map(move |&n| side[fit][n])).collect();
            let positive: Vec<bool> = (0..2 * texts).map(|n| n >= texts).collect();
            Measured::auroc(&[Detection { scores: &scores, positive: &positive }]).unwrap()
        };
        let all: Vec<usize> = (0..texts).collect();
        let pairs: Vec<usize> = (0..texts).chain(0..texts).collect();
        let clustered = |fit: usize| measure(fit, &all).clustered(&pairs).unwrap();
        let error = |one: &Measured, other: &Measured| one.difference(other, 0.95).unwrap().error_over_examples;
        let bootstrap = Bootstrap { resamples: 2000, ..Bootstrap::default() };
        let resampled =
            bootstrap.replicates(texts, |places| measure(0, places).value() - measure(1, places).value()).unwrap();
        let expected = summarise(&resampled).unwrap().sample_sd.unwrap();
        // A standard deviation of 2000 draws is off by 1.6 %; five of those, and 1 / n of either definition.
        let found = error(&clustered(0), &clustered(1));
        assert!((found / expected - 1.0).abs() < 0.085, "{found} {expected}");
        let apart = error(&measure(0, &all), &measure(1, &all));
        assert!(apart > 1.2 * expected, "{apart} {expected}: as if copies were other texts");
        // Everyone alone: only the degrees of freedom are counted otherwise.
        let alone: Vec<usize> = (0..2 * texts).collect();
        let single = |fit: usize| measure(fit, &all).clustered(&alone).unwrap();
        assert!((error(&single(0), &single(1)) - apart).abs() < 1e-15);
    }

    #[test]
    fn resampled_means_have_the_error_of_means() {
        let mut normals = Normals::new(3);
        let (one, two) = (normals.list(300), normals.list(300));
        let bootstrap = Bootstrap { resamples: 4000, ..Bootstrap::default() };
        let mean = |values: &[f64], places: &[usize]| places.iter().map(|&n| values[n]).sum::<f64>() / 300.0;
        let all: Vec<usize> = (0..300).collect();
        let resampled = |values: &[f64]| {
            let replicates = bootstrap.replicates(300, |places| mean(values, places)).unwrap();
            Measured::resampled(vec![mean(values, &all)], &replicates, 300).unwrap()
        };
        let found = resampled(&one).difference(&resampled(&two), 0.95).unwrap();
        let plain = |values: &[f64]| Measured::mean(&[values.to_vec()]).unwrap();
        let expected = plain(&one).difference(&plain(&two), 0.95).unwrap();
        assert!((found.estimate - expected.estimate).abs() < 1e-15);
        // A standard deviation of 4000 draws is off by 1.1 %; five of those.
        assert!((found.error_over_examples / expected.error_over_examples - 1.0).abs() < 0.056);
    }

    #[test]
    fn without_a_difference_one_test_in_twenty_rejects_where_seeds_vary_and_over_examples_alone_most_do() {
        let (seeds, examples, runs) = (3, 80, 1500);
        let mut rejected = [0.0; 2];
        for run in 0..runs {
            let mut normals = Normals::new(10 + run);
            let of_examples = normals.list(examples);
            let values: Vec<Vec<f64>> = (0..seeds)
                .map(|_| {
                    let shift = 0.3 * normals.next();
                    of_examples.iter().map(|effect| effect + shift).collect()
                })
                .collect();
            let measured = Measured::mean(&values).unwrap();
            let none = Measured::mean(&vec![vec![0.0; examples]; seeds]).unwrap();
            let found = measured.difference(&none, 0.95).unwrap();
            assert_eq!(found.p_value <= 0.05, found.lower > 0.0 || found.upper < 0.0);
            let naive = over_examples_and_seeds(&[found.estimate], found.error_over_examples, 79.0, 0.95).unwrap();
            for (count, p) in rejected.iter_mut().zip([found.p_value, naive.p_value]) {
                *count += f64::from(u8::from(p <= 0.05)) / f64::from(runs);
            }
        }
        // Four standard errors of a share of 0.05 in 1500 runs; Satterthwaite's degrees of freedom err to either side by about as much.
        assert!((rejected[0] - 0.05).abs() < 0.0225 + 0.02, "{rejected:?}");
        assert!(rejected[1] > 0.2, "{rejected:?}");
    }

    #[test]
    fn no_variance_is_no_evidence_or_certainty() {
        let same = Measured::mean(&[vec![0.1, 0.2], vec![0.3, 0.1]]).unwrap();
        let none = same.difference(&same, 0.95).unwrap();
        assert_eq!([none.estimate, none.lower, none.upper].map(f64::to_bits), [0; 3]);
        assert!((none.p_value - 1.0).abs() < 1e-15);
        let certain = over_examples_and_seeds(&[0.5, 0.5], 0.0, 10.0, 0.95).unwrap();
        assert!(certain.p_value == 0.0 && certain.lower.to_bits() == 0.5f64.to_bits(), "{certain:?}");
    }

    #[test]
    fn bad_inputs_are_refused() {
        let message = |found: Result<Measured>| found.unwrap_err().to_string();
        assert_eq!(message(Measured::mean(&[])), "seeds: got 0, expected at least 1");
        assert_eq!(message(Measured::mean(&[vec![1.0]])), "examples: got 1, expected at least 2");
        assert_eq!(
            message(Measured::mean(&[vec![1.0, 2.0], vec![1.0]])),
            "values of a seed has 1 entries, those of the first has 2"
        );
        assert_eq!(message(Measured::resampled(vec![0.1], &[0.1], 9)), "replicates: got 1, expected at least 2");
        let fit = Detection { scores: &[0.1, 0.2, 0.3], positive: &[true, false, false] };
        assert_eq!(message(Measured::auroc(&[fit])), "positives: got 1, expected at least 2");
        let refused =
            |error, degrees, level| over_examples_and_seeds(&[0.1], error, degrees, level).unwrap_err().to_string();
        assert_eq!(refused(-1.0, 5.0, 0.95), "error over examples is -1, expected a number in [0, inf)");
        assert_eq!(refused(1.0, 0.0, 0.95), "degrees of freedom is 0, expected a number in (0, inf)");
        assert_eq!(refused(1.0, 5.0, 1.0), "level is 1, expected a number in (0, 1)");
        let clustered = |clusters: &[usize]| message(Measured::mean(&[vec![0.1; 2]]).unwrap().clustered(clusters));
        assert_eq!(clustered(&[0, 0]), "clusters: got 1, expected at least 2");
        assert_eq!(clustered(&[0]), "clusters has 1 entries, deviations has 2");
        let (two, three) = (Measured::mean(&[vec![0.1; 2]]).unwrap(), Measured::mean(&[vec![0.1; 3]]).unwrap());
        let message = two.difference(&three, 0.95).unwrap_err().to_string();
        assert_eq!(message, "deviations has 2 entries, those of the reference has 3");
    }
}
