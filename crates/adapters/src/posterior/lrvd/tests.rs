use super::*;
use crate::LoraShape;
use crate::draw::Rows;
use crate::noise::{Address, Stream};
use crate::slot::TargetMap;

const SLOT: Slot = Slot::new(0, TargetMap::Value);

/// Every model, in every way of sampling.
fn every_setting() -> impl Iterator<Item = LrvdSettings> {
    let variants = [LrvdVariant::Symmetric, LrvdVariant::Asymmetric];
    let samplings = [LrvdSampling::Weights, LrvdSampling::LocalReparametrisation];
    variants.into_iter().flat_map(move |variant| {
        samplings
            .into_iter()
            .flat_map(move |sampling| [true, false].map(|tied| LrvdSettings { variant, tied, sampling }))
    })
}

fn normal(seed: u64, shape: impl Into<candle_core::Shape>) -> Tensor {
    let shape = shape.into();
    let mut values = vec![0.0; shape.elem_count()];
    let at = Address { slot: SLOT, sample: 0, example: 0, position: 0 };
    Noise::new(seed, Stream::Initial).fill_normal(at, &mut Vec::new(), &mut values);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// A map from 7 to 5 of rank 3 with deviations around 0.4, all different.
fn adapter(settings: LrvdSettings) -> Lrvd {
    let lora = LowRank::from_tensors(SLOT, (5, 7), &normal(1, (3, 7)), &normal(2, (5, 3)), 0.5).unwrap();
    let logs: Vec<Tensor> = (10..)
        .zip(shapes(&lora, settings))
        .map(|(seed, shape)| normal(seed, shape).affine(0.5, -1.8).unwrap())
        .collect();
    Lrvd::from_tensors(SLOT, lora, settings, &logs).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn divergence_has_the_published_values_and_falls_with_the_noise() {
    let of = |log: f32| values(&divergences(&Tensor::new(&[log], &Device::Cpu).unwrap()).unwrap())[0];
    // methods.md, section 11.2.
    for (log, expected) in [(-8.0, 4.635_899), (0.0, 0.431_239), (3.0, 0.025_420)] {
        assert!((of(log) - expected).abs() < 2e-6, "{log}: {} for {expected}", of(log));
    }
    let along: Vec<f64> = (-30_i16..20).map(|log| of(f32::from(log))).collect();
    assert!(along.windows(2).all(|pair| pair[1] <= pair[0] + 1e-6) && along.iter().all(|v| v.is_finite()), "{along:?}");
    // One entry of A and one of B: log a = -8 - log(1 + 1e-8) and -8 - log(4).
    let entry = |value: f32| Tensor::new(&[[value]], &Device::Cpu).unwrap();
    let lora = LowRank::from_tensors(SLOT, (1, 1), &entry(1.0), &entry(2.0), 1.0).unwrap();
    let log = Tensor::new(&[-8.0_f32], &Device::Cpu).unwrap();
    let single = Lrvd::from_tensors(SLOT, lora, LrvdSettings::default(), &[log]).unwrap();
    let got = values(&single.divergence().unwrap().unwrap())[0];
    let expected = of(-8.0) + of(-8.0 - 4.0_f32.ln());
    assert!((got - expected).abs() < 1e-5, "{got} for {expected}");
}

#[test]
fn at_the_start_next_to_nothing_is_added() {
    let noise = Noise::new(3, Stream::Initial);
    let rows = Rows::of_sentences(&[4, 9], &[3, 2]);
    let lora = LowRank::initial(SLOT, (9, 400), LoraShape::new(4, 8.0).unwrap(), &noise, &Device::Cpu).unwrap();
    for settings in every_setting() {
        let adapter = Lrvd::initial(SLOT, &lora, settings, &noise, &Device::Cpu).unwrap();
        let x = normal(5, (1, 5, 400));
        let added = |draw: &Draw<'_>| {
            let Increment { core, up, scale, offset, .. } = adapter.increment(SLOT, &x, draw).unwrap();
            let out = (core.broadcast_matmul(&up.t().unwrap()).unwrap() * scale).unwrap();
            let out = offset.map_or(Ok(out.clone()), |offset| out.broadcast_add(&offset)).unwrap();
            values(&out.abs().unwrap().max_all().unwrap())[0]
        };
        // Entries of A x have size 1 / sqrt 3 and those of B at most 1e-3: s r of them.
        let mean = added(&Draw::Mean);
        assert!(mean > 0.0 && mean < 8.0 * 1e-3, "{settings:?}: {mean}");
        let sampling = Sampling { noise, samples: 0..2, rows: &rows, with_divergence: false };
        let sampled = added(&Draw::Sampled(sampling));
        // Deviations exp(-4) = 0.018 of B's entries, of which 2 sqrt 4 0.58 0.018 = 0.04 at five rows, nine outputs, two samples.
        assert!(sampled > 0.0 && sampled < 0.3, "{settings:?}: {sampled}");
    }
}

/// Mean and covariance over many samples at two inputs, each entry within five of its standard errors of the closed form; and samples
/// outside tensors are those of tensors.
#[test]
fn samples_have_the_exact_moments_in_both_ways() {
    const SAMPLES: u32 = 20_000;
    let rows = Rows::of_sentences(&[4, 9], &[1, 1]);
    for settings in every_setting() {
        let adapter = adapter(settings);
        let x = normal(4, (2, 7));
        let noise = Noise::new(8, Stream::Predictive);
        let sampling = Sampling { noise, samples: 0..SAMPLES, rows: &rows, with_divergence: false };
        let draw = Draw::Sampled(sampling);
        let inputs = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let activations = Activations { values: &inputs, samples: 1, rows: 2 };
        let (mut scratch, mut core) = (Scratch::default(), Vec::new());
        let drawn = adapter.core(SLOT, activations, &draw, &mut scratch, &mut core).unwrap();
        assert_eq!(drawn, SAMPLES as usize, "{settings:?}");
        let mut out = vec![0.0; drawn * 2 * 5];
        let shape = (drawn * 2, 3, 5);
        adapter.lora.with_values(|_, b| product(&mut out, Onto::Nothing, 0.5, &core, b, shape, Threads::One)).unwrap();
        adapter.add_offset(SLOT, activations, &draw, &mut scratch, &core, &mut out).unwrap();

        let moments = adapter.moments(&x).unwrap();
        let (mean, covariance) = (values(&moments.mean), values(&moments.covariance().unwrap()));
        let n = f64::from(SAMPLES);
        for row in 0..2 {
            let samples: Vec<Vec<f64>> =
                out.chunks_exact(10).map(|both| both[row * 5..][..5].iter().map(|&v| f64::from(v)).collect()).collect();
            let own = |i: usize, j: usize| covariance[(row * 5 + i) * 5 + j];
            for i in 0..5 {
                let center = mean[row * 5 + i];
                let got = samples.iter().map(|sample| sample[i]).sum::<f64>() / n;
                assert!(
                    (got - center).abs() < 5.0 * (own(i, i) / n).sqrt(),
                    "{settings:?} mean {i}: {got} for {center}"
                );
                for j in 0..5 {
                    let products: Vec<f64> =
                        samples.iter().map(|sample| (sample[i] - center) * (sample[j] - mean[row * 5 + j])).collect();
                    let got = products.iter().sum::<f64>() / n;
                    // Products of Gaussians have heavier tails than Gaussians: the error is that of these products.
                    let error = (products.iter().map(|v| (v - got).powi(2)).sum::<f64>() / n / n).sqrt();
                    assert!((got - own(i, j)).abs() < 5.0 * error, "{settings:?} {i} {j}: {got} for {}", own(i, j));
                }
            }
            // What the other way of sampling would give: outputs of drawn weights are correlated, drawn outputs are not.
            let correlated = (0..5).any(|i| (0..i).any(|j| own(i, j).abs() > 1e-2));
            assert_eq!(correlated, settings.sampling == LrvdSampling::Weights, "{settings:?}");
        }

        let few = Sampling { noise, samples: 0..4, rows: &rows, with_divergence: false };
        let few = adapter.increment(SLOT, &x.unsqueeze(0).unwrap(), &Draw::Sampled(few)).unwrap();
        let low = (few.core.broadcast_matmul(&few.up.t().unwrap()).unwrap() * few.scale).unwrap();
        let few = few.offset.map_or(Ok(low.clone()), |offset| low + offset).unwrap();
        for (tensor, fast) in values(&few).iter().zip(&out) {
            assert!((tensor - f64::from(*fast)).abs() < 1e-5, "{settings:?}: {tensor} {fast}");
        }
    }
}

/// Samples and divergence: what automatic differentiation says beside central differences, for every tensor that is trained.
#[test]
fn gradients_are_those_of_finite_differences() {
    let rows = Rows::of_sentences(&[4, 9], &[3, 2]);
    for settings in every_setting() {
        let adapter = adapter(settings);
        let x = normal(5, (1, 5, 7));
        let weights = normal(6, (2, 5, 5));
        let loss = || {
            let noise = Noise::new(7, Stream::Training);
            let sampling = Sampling { noise, samples: 3..5, rows: &rows, with_divergence: false };
            let Increment { core, up, scale, offset, .. } =
                adapter.increment(SLOT, &x, &Draw::Sampled(sampling)).unwrap();
            let out = (core.contiguous().unwrap().broadcast_matmul(&up.t().unwrap()).unwrap() * scale).unwrap();
            let out = offset.map_or(Ok(out.clone()), |offset| out + offset).unwrap();
            let data = (out * &weights).unwrap().sum_all().unwrap();
            (data + (adapter.divergence().unwrap().unwrap() * 0.1).unwrap()).unwrap()
        };
        let gradients = loss().backward().unwrap();
        for Parameter { name, var } in adapter.parameters() {
            let gradient = values(gradients.get(var).unwrap());
            let before = var.as_detached_tensor().copy().unwrap();
            let entries = before.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for entry in [0, entries.len() / 2, entries.len() - 1] {
                let at = |step: f32| {
                    let mut moved = entries.clone();
                    moved[entry] += step;
                    var.set(&Tensor::from_vec(moved, before.shape(), &Device::Cpu).unwrap()).unwrap();
                    values(&loss())[0]
                };
                let difference = (at(0.01) - at(-0.01)) / 0.02;
                var.set(&before).unwrap();
                let got = gradient[entry];
                // Sums of size 10 rounded in f32 over a step of 0.02, and third derivatives.
                assert!(
                    (got - difference).abs() < 4e-3 * (1.0 + got.abs()),
                    "{settings:?} {name} {entry}: {got} against {difference}"
                );
            }
        }
    }
}

/// Scores of 3 components: the first at home, the second lost in its noise, the third as lost but for `B`.
#[test]
fn pruning_drops_what_is_lost_in_noise_and_nothing_of_the_mean() {
    for settings in every_setting() {
        let lora = LowRank::from_tensors(SLOT, (5, 7), &normal(1, (3, 7)), &normal(2, (5, 3)), 0.5).unwrap();
        let keep = Tensor::new(&[1.0_f32, 0.0, 1.0], &Device::Cpu).unwrap();
        lora.b().set(&lora.b().as_detached_tensor().broadcast_mul(&keep).unwrap()).unwrap();
        // The rows of a lost component: small in A, and zero in B.
        let small = Tensor::new(&[[1.0_f32], [1e-2], [1.0]], &Device::Cpu).unwrap();
        lora.a().set(&lora.a().as_detached_tensor().broadcast_mul(&small).unwrap()).unwrap();
        let logs: Vec<Tensor> = shapes(&lora, settings)
            .into_iter()
            .map(|shape| (Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap() * -4.0).unwrap())
            .collect();
        let adapter = Lrvd::from_tensors(SLOT, lora, settings, &logs).unwrap();
        let x = normal(4, (2, 7));
        let before = values(&adapter.moments(&x).unwrap().mean);
        let variance = values(&adapter.moments(&x).unwrap().total_variance().unwrap());
        let divergence = values(&adapter.divergence().unwrap().unwrap())[0];
        assert_eq!(adapter.prune(3.0, 3).unwrap(), 0, "{settings:?}: as many as must stay");
        assert_eq!(adapter.surviving().unwrap(), 3);
        assert_eq!(adapter.prune(3.0, 0).unwrap(), 1, "{settings:?}");
        assert_eq!(adapter.surviving().unwrap(), 2);
        assert_eq!(adapter.prune(3.0, 0).unwrap(), 0, "{settings:?}: what is gone is not dropped again");
        let moments = adapter.moments(&x).unwrap();
        assert_eq!(values(&moments.mean), before, "{settings:?}");
        let noise_left = values(&moments.total_variance().unwrap());
        let symmetric = settings.variant == LrvdVariant::Symmetric;
        // With `B` a point its zero column passed on no noise; else the component's noise is gone.
        for (left, all) in noise_left.iter().zip(&variance) {
            assert!(if symmetric { left < all } else { (left - all).abs() < 1e-9 * all }, "{settings:?}: {left} {all}");
        }
        assert!(values(&adapter.divergence().unwrap().unwrap())[0] < divergence, "{settings:?}");
        // Training goes on from here.
        let rows = Rows::of_sentences(&[1], &[2]);
        let noise = Noise::new(7, Stream::Training);
        let sampling = Sampling { noise, samples: 0..1, rows: &rows, with_divergence: false };
        let drawn = adapter.increment(SLOT, &x.unsqueeze(0).unwrap(), &Draw::Sampled(sampling)).unwrap();
        let loss = drawn.offset.map_or(drawn.core.sum_all(), |o| o.sum_all().unwrap() + drawn.core.sum_all().unwrap());
        let gradients = (loss.unwrap() + adapter.divergence().unwrap().unwrap()).unwrap().backward().unwrap();
        for Parameter { name, var } in adapter.parameters() {
            let finite = gradients.get(var).is_none_or(|g| values(g).iter().all(|g| g.is_finite()));
            assert!(finite, "{settings:?}: {name}");
        }
        // Everything goes at a threshold below all scores, and then nothing is added.
        assert_eq!(adapter.prune(-100.0, 1).unwrap(), 1);
        assert_eq!(adapter.prune(-100.0, 0).unwrap(), 1);
        assert_eq!(adapter.surviving().unwrap(), 0);
        let rows = Rows::of_sentences(&[1], &[2]);
        let noise = Noise::new(7, Stream::Predictive);
        let sampling = Sampling { noise, samples: 0..2, rows: &rows, with_divergence: false };
        let nothing = adapter.increment(SLOT, &x.unsqueeze(0).unwrap(), &Draw::Sampled(sampling)).unwrap();
        assert!(values(&nothing.core).iter().all(|v| *v == 0.0), "{settings:?}");
        let floor = nothing.offset.map_or(vec![], |offset| values(&offset));
        assert!(floor.iter().all(|v| v.abs() < 1e-5), "{settings:?}: {floor:?}");
    }
}

#[test]
fn the_adapter_behind_the_trait_is_the_same() {
    let settings = LrvdSettings::default();
    let adapter = adapter(settings);
    let shared = Lrvd::sharing(&adapter, settings).unwrap();
    assert_eq!(shared.prune(-100.0, 1).unwrap(), 2);
    assert_eq!(adapter.surviving().unwrap(), 1);
    assert!(Lrvd::sharing(&adapter, LrvdSettings { tied: false, ..settings }).is_none());
    let lora = adapter.lora.clone();
    let error = Lrvd::from_tensors(SLOT, lora, settings, &[normal(1, 4)]).unwrap_err();
    assert_eq!(error.to_string(), "lrvd.log_variance of block 0 value has shape [4]; expected [3]");
}
