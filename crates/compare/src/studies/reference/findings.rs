//! What was found of chains, of the posterior's predictions, and of methods beside them.

use bayeslora_metrics as metrics;
use bayeslora_metrics::{Predictive, spearman};
use bayeslora_posterior::{Chain, bulk_ess, r_hat};
use ndarray::{Array2, Array3};

use crate::error::Result;

/// How the posterior is sampled, and under which priors and temperatures.
#[derive(Debug, Clone, PartialEq)]
pub struct PosteriorOptions {
    /// Standard deviations of the prior of every entry, positive; at least one.
    pub prior_sds: Vec<f64>,
    /// Temperatures of the posterior, positive; methods are held against that of 1, which is sampled whether it is named or not.
    pub temperatures: Vec<f64>,
    /// Chains, at least 1.
    pub chains: usize,
    /// Draws of each chain before the kept ones.
    pub tune: u64,
    /// Draws kept of each chain, at least 4.
    pub draws: u64,
    /// Texts of each test domain at most.
    pub texts: usize,
}

/// Which posterior: its prior and temperature, at a seed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Which {
    pub(super) prior_sd: f64,
    pub(super) temperature: f64,
    pub(super) seed: u64,
}

/// Have the chains mixed, in function space?
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mixing {
    pub(super) which: Which,
    pub(super) parameters: usize,
    /// Largest R-hat of a predicted probability over texts.
    pub(super) r_hat: f64,
    /// Least bulk ESS of one.
    pub(super) ess: f64,
    pub(super) divergences: usize,
    /// Kept draws whose tree was as deep as is allowed.
    pub(super) deepest: usize,
    pub(super) gradients: u64,
    pub(super) seconds: f64,
}

/// Scores of the posterior's predictions, or of a row's, on a labelled domain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Quality {
    pub(super) accuracy: f64,
    pub(super) nll: f64,
    pub(super) ece: f64,
}

/// A row beside the posterior at temperature 1, or the posterior itself (without label), on one domain.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Beside {
    pub(super) which: Which,
    pub(super) domain: String,
    /// Name of the row; none of the posterior itself.
    pub(super) row: Option<String>,
    pub(super) quality: Option<Quality>,
    /// Mean mutual information over texts, nats.
    pub(super) information: f64,
    pub(super) distance: Option<Distance>,
}

/// How far a row's predictions are from the posterior's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Distance {
    /// Total variation of the predictive distributions, mean over texts; in [0, 1].
    pub(super) total_variation: f64,
    /// Divergence of the row's from the posterior's, `KL(posterior || row)`, nats, mean over texts.
    pub(super) divergence: f64,
    /// Rank correlation over texts of the mutual information; none of a single pass.
    pub(super) information: Option<f64>,
    /// The same of the variance of the class probability.
    pub(super) variance: Option<f64>,
}

impl Mixing {
    /// Of chains that kept each draw's log probabilities `[texts, classes]`, of which the first `judged` texts are looked at.
    pub(super) fn of(which: Which, parameters: usize, chains: &[Chain<Array2<f32>>], judged: usize) -> Result<Self> {
        let (texts, classes) = chains.first().and_then(|chain| chain.read.first()).map_or((0, 0), Array2::dim);
        let (mut largest, mut least) = (1.0_f64, f64::INFINITY);
        for text in 0..texts.min(judged) {
            // The probability of the last class follows from the others'.
            for class in 0..classes.saturating_sub(1) {
                let of = |chain: &Chain<Array2<f32>>| -> Vec<f64> {
                    chain.read.iter().map(|draw| f64::from(draw[[text, class]]).exp()).collect()
                };
                let values: Vec<Vec<f64>> = chains.iter().map(of).collect();
                largest = largest.max(r_hat(&values)?);
                least = least.min(bulk_ess(&values)?);
            }
        }
        Ok(Self {
            which,
            parameters,
            r_hat: largest,
            ess: least,
            divergences: chains.iter().map(|chain| chain.divergences).sum(),
            deepest: chains.iter().map(|chain| chain.deepest).sum(),
            gradients: chains.iter().map(|chain| chain.gradients).sum(),
            seconds: 0.0,
        })
    }
}

impl Quality {
    /// Of predictions of texts with these labels.
    pub(super) fn of(predictive: &Predictive, labels: &[usize]) -> Result<Self> {
        Ok(Self {
            accuracy: metrics::accuracy(&predictive.predicted(), labels)?,
            nll: metrics::negative_log_likelihood(predictive.log_probabilities(), labels)?,
            ece: metrics::expected_calibration_error(predictive.probabilities(), labels, metrics::ECE_BINS)?,
        })
    }
}

impl Distance {
    /// Of a row's predictions from the posterior's, of the same texts.
    pub(super) fn of(row: &Predictive, posterior: &Predictive) -> Self {
        let texts = posterior.examples() as f64;
        let pairs = || posterior.probabilities().into_iter().zip(row.probabilities());
        let logs = || posterior.log_probabilities().into_iter().zip(row.log_probabilities());
        let is_sampled = row.samples() > 1;
        let ranked = |a: Vec<f64>, b: Vec<f64>| spearman(&a, &b).ok().map(|found| found.coefficient);
        let of = |of: fn(&Predictive) -> Vec<f64>| is_sampled.then(|| ranked(of(row), of(posterior))).flatten();
        Self {
            total_variation: pairs().map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0 / texts,
            divergence: pairs().zip(logs()).map(|((p, _), (log_p, log_q))| p * (log_p - log_q)).sum::<f64>() / texts,
            information: of(|predictive| predictive.mutual_information().to_vec()),
            variance: of(|predictive| predictive.probability_variance().to_vec()),
        }
    }
}

/// Draws of log probabilities as the samples of a predictive, of the texts in `range`.
pub(super) fn samples(chains: &[Chain<Array2<f32>>], range: std::ops::Range<usize>) -> Array3<f32> {
    let draws: Vec<&Array2<f32>> = chains.iter().flat_map(|chain| &chain.read).collect();
    let classes = draws.first().map_or(0, |draw| draw.ncols());
    Array3::from_shape_fn((draws.len(), range.len(), classes), |(draw, text, class)| {
        draws[draw][[range.start + text, class]]
    })
}
