//! Laws of the stochastic adapters: exact moments against enumeration and Monte Carlo, and invariance of the noise.

use bayeslora_adapters::{
    ContextualSettings, CoreSource, Coupling, Draw, DropoutSite, GaussianSettings, LowRank, MaskScope, Noise,
    PosteriorSettings, RankGaussianSettings, RankSwitchSettings, Rows, Sampling, ScaleActivation, Slot,
    StochasticAdapter, Stream, TargetMap,
};
use candle_core::{Device, Tensor};
use ndarray::Array2;
use ndarray_linalg::{Eigh as _, UPLO};
use proptest::prelude::*;

const SLOT: Slot = Slot::new(1, TargetMap::Query);
const D_IN: usize = 6;
const D_OUT: usize = 5;
const RANK: usize = 3;

fn low_rank(values: &[f32]) -> LowRank {
    let a = Tensor::from_slice(&values[..RANK * D_IN], (RANK, D_IN), &Device::Cpu).unwrap();
    let b = Tensor::from_slice(&values[RANK * D_IN..][..D_OUT * RANK], (D_OUT, RANK), &Device::Cpu).unwrap();
    LowRank::from_tensors(SLOT, (D_OUT, D_IN), &a, &b, 1.5).unwrap()
}

fn adapter(posterior: PosteriorSettings, values: &[f32]) -> Box<dyn StochasticAdapter> {
    let noise = Noise::new(17, Stream::Initial);
    posterior.initial(SLOT, low_rank(values), &noise, &Device::Cpu).unwrap()
}

fn dropout(site: DropoutSite, scope: MaskScope, dropout: f64) -> PosteriorSettings {
    PosteriorSettings::Dropout { site, scope, dropout }
}

/// Increments `[samples, rows, d_out]` of all rows of `x`.
fn increments(adapter: &dyn StochasticAdapter, x: &Tensor, draw: &Draw<'_>) -> Vec<f32> {
    let increment = adapter.increment(SLOT, x, draw).unwrap();
    let out = increment.core.broadcast_matmul(&increment.up.t().unwrap()).unwrap();
    (out * increment.scale).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn values() -> impl Strategy<Value = Vec<f32>> {
    proptest::collection::vec(-1.0_f32..1.0, RANK * D_IN + D_OUT * RANK)
}

fn input() -> impl Strategy<Value = Vec<f32>> {
    proptest::collection::vec(-1.0_f32..1.0, D_IN)
}

fn scope() -> impl Strategy<Value = MaskScope> {
    proptest::sample::select(MaskScope::ALL.to_vec())
}

fn coupling() -> impl Strategy<Value = Coupling> {
    let words = ["independent", "antithetic", "balanced-2", "balanced-4"];
    proptest::sample::select(words.iter().filter_map(|word| word.parse().ok()).collect::<Vec<_>>())
}

/// Every posterior that draws something.
fn stochastic() -> impl Strategy<Value = PosteriorSettings> {
    let activations = [ScaleActivation::SigmoidSquared, ScaleActivation::TanhSquared, ScaleActivation::Softplus];
    let cores = proptest::sample::select(vec![CoreSource::Contextual, CoreSource::Free]);
    let fixed_sd = proptest::option::of(0.05_f64..0.5);
    let contextual = (proptest::sample::select(activations.to_vec()), scope(), cores, fixed_sd).prop_map(
        |(activation, scope, core, fixed_sd)| {
            PosteriorSettings::Contextual(ContextualSettings {
                hidden: 5,
                activation,
                prior_sd: 0.2,
                scope,
                core,
                fixed_sd,
            })
        },
    );
    let gaussian = (scope(), 0.1_f64..1.0).prop_map(|(scope, initial_scale)| {
        PosteriorSettings::Gaussian(GaussianSettings { scope, prior_sd: 0.2, initial_scale })
    });
    let rank_gaussian = (scope(), 0.1_f64..1.0).prop_map(|(scope, initial_scale)| {
        PosteriorSettings::RankGaussian(RankGaussianSettings { scope, initial_scale, ..Default::default() })
    });
    let switches = (scope(), 0.1_f64..0.9).prop_map(|(scope, prior)| {
        PosteriorSettings::RankSwitch(RankSwitchSettings { scope, prior, ..Default::default() })
    });
    prop_oneof![
        3 => (site(), scope(), 0.05_f64..0.6).prop_map(|(site, scope, p)| dropout(site, scope, p)),
        2 => contextual,
        1 => gaussian,
        1 => rank_gaussian,
        1 => switches,
    ]
}

fn site() -> impl Strategy<Value = DropoutSite> {
    proptest::sample::select(DropoutSite::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Monte-Carlo means and variances agree with the exact ones: each output's standardised deviation stays below a
    /// Bonferroni bound of size 1e-6 over the 2 x 5 comparisons of a case.
    #[test]
    fn moments_agree_with_monte_carlo(posterior in stochastic(), values in values(), x in input(), seed: u64) {
        const SAMPLES: u32 = 20_000;
        // |z| > 5.3 has probability 1.2e-7 under the normal limit.
        const BOUND: f64 = 5.3;
        let adapter = adapter(posterior, &values);
        let x = Tensor::from_vec(x, (1, 1, D_IN), &Device::Cpu).unwrap();
        let rows = Rows::of_sentences(&[7], &[1]);
        let sampling =
            Sampling { noise: Noise::new(seed, Stream::Predictive), samples: 0..SAMPLES, rows: &rows, with_divergence: false };
        let draws = increments(adapter.as_ref(), &x, &Draw::Sampled(sampling));
        let moments = adapter.moments(&x.squeeze(0).unwrap()).unwrap();
        let mean = moments.mean.to_vec2::<f64>().unwrap().remove(0);
        let covariance = moments.covariance().unwrap().squeeze(0).unwrap().to_vec2::<f64>().unwrap();
        let n = f64::from(SAMPLES);
        for output in 0..D_OUT {
            let column: Vec<f64> = draws.iter().skip(output).step_by(D_OUT).map(|&v| f64::from(v) - mean[output]).collect();
            let first = column.iter().sum::<f64>() / n;
            let second = column.iter().map(|v| v * v).sum::<f64>() / n;
            let fourth = column.iter().map(|v| v.powi(4)).sum::<f64>() / n;
            let variance = covariance[output][output];
            // f32 rounding of the increments is the floor.
            prop_assert!(first.abs() < BOUND * (variance / n).sqrt() + 1e-6, "mean {output}: off by {first}");
            let spread = ((fourth - second * second).max(0.0) / n).sqrt();
            prop_assert!((second - variance).abs() < BOUND * spread + 1e-6, "variance {output}: {second} for {variance}");
        }
    }

    /// The covariance is positive semi-definite; at the rank site its rank is at most `r`.
    #[test]
    fn covariances_are_positive_semidefinite(site in site(), p in 0.05_f64..0.9, values in values(), x in input()) {
        let adapter = adapter(dropout(site, MaskScope::Token, p), &values);
        let x = Tensor::from_vec(x, (1, D_IN), &Device::Cpu).unwrap();
        let moments = adapter.moments(&x).unwrap();
        let covariance = moments.covariance().unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let covariance = Array2::from_shape_vec((D_OUT, D_OUT), covariance).unwrap();
        let diagonal = moments.variance().unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (got, entry) in diagonal.iter().zip(covariance.diag()) {
            prop_assert!((got - entry).abs() <= 1e-12 * entry.abs().max(1.0));
        }
        let (eigenvalues, _) = covariance.eigh(UPLO::Lower).unwrap();
        let largest = eigenvalues.iter().copied().fold(0.0, f64::max);
        prop_assert!(eigenvalues.iter().all(|&value| value > -1e-12 * largest.max(1.0)));
        if site == DropoutSite::Rank {
            let rank = eigenvalues.iter().filter(|&&value| value > 1e-10 * largest).count();
            prop_assert!(rank <= RANK);
        }
        let trace: f64 = eigenvalues.sum();
        let total = moments.total_variance().unwrap().to_vec1::<f64>().unwrap()[0];
        prop_assert!((trace - total).abs() <= 1e-10 * total.max(1.0));
    }

    /// A sample of an example is the same alone, in a batch, in another order, and in a longer run of samples, also where a
    /// group of coupled samples is cut.
    #[test]
    fn samples_do_not_depend_on_the_batch(
        posterior in stochastic(), coupling in coupling(), values in values(),
        first in proptest::collection::vec(input(), 1..4), second in proptest::collection::vec(input(), 1..4), seed: u64,
    ) {
        let adapter = adapter(posterior, &values);
        let noise = Noise::new(seed, Stream::Predictive).coupled(coupling);
        let run = |sentences: &[(u64, &Vec<Vec<f32>>)], samples: std::ops::Range<u32>| {
            let ids: Vec<u64> = sentences.iter().map(|(id, _)| *id).collect();
            let lengths: Vec<usize> = sentences.iter().map(|(_, rows)| rows.len()).collect();
            let flat: Vec<f32> = sentences.iter().flat_map(|(_, rows)| rows.iter().flatten().copied()).collect();
            let x = Tensor::from_vec(flat, (1, lengths.iter().sum::<usize>(), D_IN), &Device::Cpu).unwrap();
            let rows = Rows::of_sentences(&ids, &lengths);
            increments(adapter.as_ref(), &x, &Draw::Sampled(Sampling { noise, samples, rows: &rows, with_divergence: false }))
        };
        let alone = run(&[(3, &first)], 1..2);
        let together = run(&[(8, &second), (3, &first)], 0..3);
        let (own, other) = (first.len() * D_OUT, second.len() * D_OUT);
        let start = (own + other) + other;
        for (left, right) in alone.iter().zip(&together[start..start + own]) {
            prop_assert!((left - right).abs() <= 1e-6 * right.abs().max(1.0), "{left} against {right}");
        }
    }
}
