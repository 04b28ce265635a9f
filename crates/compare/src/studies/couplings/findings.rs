//! What one coupling is worth: standard errors over replicates, and factors of samples saved.

use bayeslora_adapters::{Coupling, GroupSize};
use bayeslora_metrics::{Bootstrap, Interval};
use ndarray::{Array3, ArrayView3, Axis, s};

use crate::error::Result;

/// Numbers of samples compared.
pub(crate) const SAMPLES: [u32; 5] = [2, 4, 8, 16, 32];

/// A way to couple `T` samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// No coupling.
    Independent,
    /// `T / 2` opposite pairs.
    Antithetic,
    /// One balanced group of `T`.
    Balanced,
    /// Two balanced groups of `T / 2`.
    TwoGroups,
}

impl Scheme {
    pub(crate) const ALL: [Self; 4] = [Self::Independent, Self::Antithetic, Self::Balanced, Self::TwoGroups];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Independent => "independent",
            Self::Antithetic => "antithetic",
            Self::Balanced => "balanced, one group",
            Self::TwoGroups => "balanced, two groups",
        }
    }

    /// The coupling of `T` samples; none where there is no such group.
    pub(crate) fn coupling(self, samples: u32) -> Option<Coupling> {
        match self {
            Self::Independent => Some(Coupling::Independent),
            Self::Antithetic => Some(Coupling::Antithetic),
            Self::Balanced => GroupSize::new(samples).ok().map(Coupling::Balanced),
            Self::TwoGroups => GroupSize::new(samples / 2).ok().map(Coupling::Balanced),
        }
    }
}

/// Class probabilities of samples `0..` of some texts under one coupling.
#[derive(Debug)]
pub(crate) struct Pool {
    pub coupling: Coupling,
    /// `[samples, texts, classes]`.
    pub probabilities: Array3<f64>,
}

/// What `T` samples of one scheme are worth.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub scheme: Scheme,
    pub samples: u32,
    pub replicates: usize,
    /// Standard error of the predictive mean.
    pub mean_error: f64,
    /// Squared standard error of independent samples over that of these.
    pub mean_factor: Interval,
    /// Of the sample variance of the probabilities (divisor `T - 1`).
    pub variance: Variance,
    /// Of the variance within and between groups, where there are two groups or more of coupled samples.
    pub corrected: Option<Variance>,
}

/// What an estimate of the variance of the probabilities is worth.
#[derive(Debug, Clone)]
pub(crate) struct Variance {
    /// Standard error, over the mean variance of the texts.
    pub error: f64,
    /// Squared standard error of independent samples over that of these.
    pub factor: Interval,
    /// Mean over the true mean, less 1.
    pub bias: Interval,
}

/// Per text: mean and variance over replicates of an estimate, summed over classes.
struct Moments {
    mean: Vec<f64>,
    variance: Vec<f64>,
}

/// The variance of a sample's probabilities from `block [T, classes]`, summed over classes, by the sample variance and by the
/// variance within groups of `group` plus that between them.
///
/// The first has expectation `sigma^2 - mean covariance of two different samples`: independent samples have none, coupled ones a
/// negative one. The second adds `E W = sigma^2 - Var(m)` and `E B = Var(m)` for the mean `m` of a group and is unbiased.
fn variances(block: &ArrayView3<'_, f64>, text: usize, group: usize) -> [f64; 2] {
    let block = block.index_axis(Axis(1), text);
    let samples = block.nrows();
    let groups = samples / group;
    let mut found = [0.0; 2];
    for class in block.columns() {
        let mean = class.sum() / samples as f64;
        let total: f64 = class.iter().map(|p| (p - mean).powi(2)).sum();
        found[0] += total / (samples - 1) as f64;
        let between: f64 =
            class.exact_chunks(group).into_iter().map(|chunk| (chunk.sum() / group as f64 - mean).powi(2)).sum();
        found[1] += (total - group as f64 * between) / samples as f64 + between / (groups.max(2) - 1) as f64;
    }
    found
}

/// Moments over replicates of the mean, the sample variance and the variance within and between groups.
fn replicate(pool: &Pool, samples: usize) -> (usize, [Moments; 3]) {
    let (drawn, texts, classes) = pool.probabilities.dim();
    let (replicates, group) = (drawn / samples, pool.coupling.group() as usize);
    let blocks: Vec<ArrayView3<'_, f64>> =
        (0..replicates).map(|r| pool.probabilities.slice(s![r * samples..(r + 1) * samples, .., ..])).collect();
    let spread = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (mean, squares / (values.len() - 1) as f64)
    };
    let mut moments = [(); 3].map(|()| Moments { mean: Vec::new(), variance: Vec::new() });
    for text in 0..texts {
        let mut variance_of_mean = 0.0;
        for class in 0..classes {
            let means: Vec<f64> =
                blocks.iter().map(|block| block.slice(s![.., text, class]).sum() / samples as f64).collect();
            variance_of_mean += spread(&means).1;
        }
        moments[0].mean.push(0.0);
        moments[0].variance.push(variance_of_mean);
        let estimates: Vec<[f64; 2]> = blocks.iter().map(|block| variances(block, text, group)).collect();
        for which in 0..2 {
            let values: Vec<f64> = estimates.iter().map(|both| both[which]).collect();
            let (mean, variance) = spread(&values);
            moments[1 + which].mean.push(mean);
            moments[1 + which].variance.push(variance);
        }
    }
    (replicates, moments)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// `sum of above / sum of below - shift` over texts.
fn ratio(bootstrap: &Bootstrap, above: &[f64], below: &[f64], shift: f64) -> Result<Interval> {
    let sum = |values: &[f64], places: &[usize]| places.iter().map(|&place| values[place]).sum::<f64>();
    Ok(bootstrap.interval(above.len(), |places| sum(above, places) / sum(below, places) - shift)?)
}

/// Every scheme at every number of samples, from pools of at least two replicates; the independent one is the yardstick.
pub(crate) fn findings(pools: &[Pool], bootstrap: &Bootstrap) -> Result<Vec<Finding>> {
    let pool = |coupling: Coupling| {
        pools
            .iter()
            .find(|pool| pool.coupling == coupling)
            .ok_or_else(|| crate::error::Error::Report(format!("couplings: no samples of {coupling} masks")))
    };
    let independent = pool(Coupling::Independent)?;
    let (_, texts, _) = independent.probabilities.dim();
    let all = independent.probabilities.view();
    let truth: Vec<f64> = (0..texts).map(|text| variances(&all, text, 1)[0]).collect();
    let mut findings = Vec::new();
    for samples in SAMPLES {
        let (_, yardstick) = replicate(independent, samples as usize);
        let exact: Vec<f64> = truth.iter().map(|variance| variance / f64::from(samples)).collect();
        for scheme in Scheme::ALL {
            let Some(coupling) = scheme.coupling(samples) else { continue };
            let (replicates, [means, plain, within]) = replicate(pool(coupling)?, samples as usize);
            let variance = |moments: &Moments| -> Result<Variance> {
                Ok(Variance {
                    error: mean(&moments.variance).sqrt() / mean(&truth),
                    factor: ratio(bootstrap, &yardstick[1].variance, &moments.variance, 0.0)?,
                    bias: ratio(bootstrap, &moments.mean, &truth, 1.0)?,
                })
            };
            let group = coupling.group();
            findings.push(Finding {
                scheme,
                samples,
                replicates,
                mean_error: mean(&means.variance).sqrt(),
                mean_factor: ratio(bootstrap, &exact, &means.variance, 0.0)?,
                variance: variance(&plain)?,
                corrected: if group > 1 && samples / group > 1 { Some(variance(&within)?) } else { None },
            });
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests;
