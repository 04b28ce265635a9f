use candle_core::{DType, Device};

use super::*;
use crate::draw::{Rows, Sampling};
use crate::noise::{Address, Noise, Stream};
use crate::posterior::{
    ContextualSettings, GaussianSettings, InducingSettings, LrvdSampling, LrvdSettings, LrvdVariant, PosteriorSettings,
    RankGaussianSettings, RankSwitchSettings, WeightGaussianSettings,
};
use crate::site::{DropoutSite, MaskScope};
use crate::slot::TargetMap;

const SLOT: Slot = Slot::new(0, TargetMap::Value);
const SAMPLES: u32 = 3;
const ROWS: usize = 4;

fn normal(seed: u64, shape: &[usize]) -> Tensor {
    let mut values = vec![0.0; shape.iter().product()];
    let at = Address { slot: SLOT, sample: 0, example: 0, position: 0 };
    Noise::new(seed, Stream::Initial).fill_normal(at, &mut Vec::new(), &mut values);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// One of every kind, and both ways of those that have two.
fn posteriors() -> Vec<PosteriorSettings> {
    let mut all = vec![
        PosteriorSettings::Contextual(ContextualSettings::default()),
        PosteriorSettings::RankSwitch(RankSwitchSettings { prior: 0.7, ..RankSwitchSettings::default() }),
        PosteriorSettings::RankGaussian(RankGaussianSettings { initial_scale: 0.5, ..RankGaussianSettings::default() }),
        PosteriorSettings::WeightGaussian(WeightGaussianSettings { initial_sd: 0.3 }),
        PosteriorSettings::Inducing(InducingSettings {
            prior_sd: 1.0,
            initial_sd: 0.5,
            largest_sd: 0.5,
            initial_scale: 0.3,
            largest_scale: 0.3,
            ..InducingSettings::default()
        }),
    ];
    for site in DropoutSite::ALL {
        all.push(PosteriorSettings::Dropout { site, scope: MaskScope::Token, dropout: 0.3 });
    }
    for scope in [MaskScope::Token, MaskScope::Sample] {
        let gaussian = GaussianSettings { scope, initial_scale: 0.5, ..GaussianSettings::default() };
        all.push(PosteriorSettings::Gaussian(gaussian));
    }
    for sampling in [LrvdSampling::Weights, LrvdSampling::LocalReparametrisation] {
        all.push(PosteriorSettings::Lrvd(LrvdSettings { variant: LrvdVariant::Symmetric, tied: true, sampling }));
    }
    all
}

fn adapter(posterior: &PosteriorSettings) -> Arc<dyn StochasticAdapter> {
    let lora = LowRank::from_tensors(SLOT, (5, 7), &normal(1, &[3, 7]), &normal(2, &[5, 3]), 0.5).unwrap();
    posterior.initial(SLOT, lora, &Noise::new(4, Stream::Initial), &Device::Cpu).unwrap().into()
}

/// `s B e + o [samples, rows, d_out]` with tensors.
fn by_tensors(adapter: &dyn StochasticAdapter, x: &Tensor, draw: &Draw<'_>) -> Vec<f64> {
    let Increment { core, up, scale, offset, .. } = adapter.increment(SLOT, x, draw).unwrap();
    let through = (core.contiguous().unwrap().broadcast_matmul(&up.t().unwrap()).unwrap() * scale).unwrap();
    values(&offset.map_or(Ok(through.clone()), |offset| through.broadcast_add(&offset)).unwrap())
}

/// The same without them.
fn by_buffers(adapter: &dyn StochasticAdapter, x: &Tensor, draw: &Draw<'_>) -> Vec<f64> {
    let held = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let x = Activations { values: &held, samples: x.dims()[0], rows: ROWS };
    let (mut core, mut scratch) = (Vec::new(), Scratch::default());
    let samples = adapter.core(SLOT, x, draw, &mut scratch, &mut core).unwrap();
    let lora = adapter.low_rank();
    let through = Tensor::from_slice(&core, (samples * ROWS, 3), &Device::Cpu).unwrap();
    let through = through.matmul(&lora.b().as_detached_tensor().t().unwrap()).unwrap();
    let mut out = (through * lora.scale()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    adapter.add_offset(SLOT, x, draw, &mut scratch, &core, &mut out).unwrap();
    out.into_iter().map(f64::from).collect()
}

#[test]
fn what_a_draw_adds_deviates_by_so_many_times_as_much() {
    let rows = Rows::of_sentences(&[7, 9], &[3, 1]);
    for posterior in posteriors() {
        let inner = adapter(&posterior);
        for given in [1, SAMPLES as usize] {
            let x = normal(5, &[given, ROWS, 7]);
            let noise = Noise::new(8, Stream::Predictive);
            let sampling = Sampling { noise, samples: 0..SAMPLES, rows: &rows, with_divergence: false };
            let draw = Draw::Sampled(sampling);
            let mean = by_tensors(inner.as_ref(), &x, &Draw::Mean);
            let drawn = by_tensors(inner.as_ref(), &x, &draw);
            let furthest = drawn.iter().zip(mean.iter().cycle()).map(|(f, m)| (f - m).abs()).fold(0.0, f64::max);
            assert!(furthest > 0.05, "{posterior:?} {furthest}");
            for width in [0.0, 0.5, 1.0, 3.0] {
                let widened = Widened::new(Arc::clone(&inner), width).unwrap();
                let expected: Vec<f64> =
                    drawn.iter().zip(mean.iter().cycle()).map(|(f, m)| m + width * (f - m)).collect();
                for (way, got) in
                    [("tensors", by_tensors(&widened, &x, &draw)), ("buffers", by_buffers(&widened, &x, &draw))]
                {
                    assert_eq!(got.len(), expected.len());
                    for (got, expected) in got.iter().zip(&expected) {
                        // Increments of size 1 in f32.
                        assert!((got - expected).abs() < 2e-5, "{posterior:?} {width} {way}: {got} for {expected}");
                    }
                }
                let still = by_buffers(&widened, &x, &Draw::Mean);
                assert!(still.iter().zip(&mean).all(|(got, mean)| (got - mean).abs() < 2e-5), "{posterior:?}");
            }
        }
    }
}

#[test]
fn covariances_are_multiplied_by_the_square() {
    for posterior in posteriors() {
        let inner = adapter(&posterior);
        let x = normal(6, &[2, 7]);
        let own = inner.moments(&x).unwrap();
        let widened = Widened::new(Arc::clone(&inner), 3.0).unwrap().moments(&x).unwrap();
        assert_eq!(values(&own.mean), values(&widened.mean));
        let covariances = [own, widened].map(|moments| values(&moments.covariance().unwrap()));
        let largest = covariances[0].iter().fold(0.0_f64, |largest, entry| largest.max(entry.abs()));
        assert!(largest > 1e-3, "{posterior:?}");
        for (own, widened) in covariances[0].iter().zip(&covariances[1]) {
            assert!((9.0 * own - widened).abs() < 1e-12 * largest.max(1.0), "{posterior:?}: {widened} for {own}");
        }
    }
}

/// Of outputs that depend on the core; those of a random `B` are refused with and without a width.
#[test]
fn first_order_covariances_are_multiplied_by_the_square() {
    let (x, gradients) = (normal(6, &[ROWS, 7]), normal(7, &[2, ROWS, 3]));
    let sentences = [0..3, 3..ROWS];
    let dependence = || Dependence { x: &x, gradients: &gradients, sentences: &sentences };
    let mut compared = 0;
    for posterior in posteriors() {
        let inner = adapter(&posterior);
        let own = inner.first_order_covariance(dependence());
        let widened = Widened::new(Arc::clone(&inner), 3.0).unwrap().first_order_covariance(dependence());
        assert_eq!(own.is_ok(), widened.is_ok(), "{posterior:?}");
        let (Ok(own), Ok(widened)) = (own, widened) else { continue };
        assert!(own.len() == 8 && own[0] > 1e-6, "{posterior:?} {own:?}");
        assert!(own.iter().zip(&widened).all(|(own, wide)| (9.0 * own - wide).abs() <= 1e-12 * wide.abs()));
        compared += 1;
    }
    assert!(compared >= 6, "{compared}");
}

#[test]
fn what_trains_or_saves_finds_nothing_to_take() {
    let rows = Rows::of_sentences(&[7, 9], &[3, 1]);
    let widened = Widened::new(adapter(&posteriors()[0]), 2.0).unwrap();
    assert!(widened.parameters().is_empty());
    let noise = Noise::new(8, Stream::Predictive);
    let sampling = Sampling { noise, samples: 0..SAMPLES, rows: &rows, with_divergence: true };
    let said = widened.increment(SLOT, &normal(5, &[1, ROWS, 7]), &Draw::Sampled(sampling)).unwrap_err().to_string();
    assert_eq!(said, "width is 2; expected no width where the divergence is asked for");
}

#[test]
fn a_width_below_zero_is_refused() {
    let inner = adapter(&posteriors()[0]);
    for width in [-1.0, f64::NAN, f64::INFINITY] {
        let said = Widened::new(Arc::clone(&inner), width).unwrap_err().to_string();
        assert!(said.starts_with("width is ") && said.ends_with("expected at least 0"), "{said}");
    }
}
