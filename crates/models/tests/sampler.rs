//! The sampler against `classify`, which it repeats without tensors, and the linearised predictive against finite differences.
#![cfg(test)]

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bayeslora_adapters::{
    AdapterSet, ContextualSettings, Dependence, Draw, DropoutSite, GaussianSettings, Increment, InducingSettings,
    LoraShape, LowRank, LrvdSampling, LrvdSettings, LrvdVariant, MaskScope, Moments, Noise, Parameter,
    PosteriorSettings, RankGaussianSettings, RankSwitchSettings, Rows, Sampling, Slot, StochasticAdapter, Stream,
    TargetMap, WeightGaussianSettings,
};
use bayeslora_models::{
    Backbone, Head, Hidden, Packing, Pass, Sampler, Samples, classify, initial_adapters, target_slots,
};
use candle_core::{Device, Tensor};

const LENGTHS: [usize; 4] = [4, 1, 7, 33];
const EXAMPLES: [u64; 4] = [10, 3, 5, 77];

struct Network {
    backbone: Backbone,
    head: Head,
    adapters: AdapterSet,
}

fn network(posterior: &PosteriorSettings, blocks: &[usize]) -> Network {
    network_of(posterior, blocks, Backbone::maps)
}

fn network_of(posterior: &PosteriorSettings, blocks: &[usize], maps: fn(&Backbone) -> Vec<TargetMap>) -> Network {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny");
    let backbone = Backbone::load(&folder, &Device::Cpu).unwrap();
    let noise = Noise::new(3, Stream::Initial);
    let slots = target_slots(&backbone, blocks, &maps(&backbone)).unwrap();
    let adapters = initial_adapters(&backbone, &slots, LoraShape::new(3, 6.0).unwrap(), posterior, &noise).unwrap();
    for (number, (_, parameter)) in adapters.parameters().enumerate() {
        if ["lora_B.weight", "inducing.b.mean"].contains(&parameter.name) {
            let ramp = Tensor::arange(0.0_f32, parameter.var.elem_count() as f32, &Device::Cpu).unwrap();
            let wave = (ramp + number as f64).unwrap().sin().unwrap().affine(0.2, 0.0).unwrap();
            parameter.var.set(&wave.reshape(parameter.var.shape()).unwrap()).unwrap();
        }
    }
    let head = Head::initial(&backbone, 2, &noise).unwrap();
    Network { backbone, head, adapters }
}

impl Network {
    fn sampler(&self) -> Sampler<'_> {
        Sampler { backbone: &self.backbone, head: &self.head, adapters: &self.adapters, from: 0 }
    }

    fn embed(&self, lengths: &[usize]) -> Tensor {
        let ids: Vec<Vec<u32>> =
            lengths.iter().map(|&length| (0_u32..).map(|i| 5 + i * 7 % 70).take(length).collect()).collect();
        let tokens: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        self.backbone.embed(&tokens).unwrap()
    }

    fn logits(&self, lengths: &[usize], examples: &[u64], samples: &Samples) -> Vec<f32> {
        let values = flat(&self.embed(lengths));
        self.sampler().logits(Hidden { values: (&values).into(), lengths, examples }, samples, &|_| ()).unwrap()
    }

    /// `[sentences, classes]` at the mean, with other adapters.
    fn mean_logits(&self, adapters: &AdapterSet, x: &Tensor) -> Vec<f32> {
        let packing = Packing::from_lengths(&LENGTHS);
        flat(&classify(&self.backbone, &self.head, adapters, Draw::Mean, 0, x, &packing).unwrap().logits)
    }
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn drawn(coupling: &str, numbers: Range<u32>) -> Samples {
    let noise = Noise::new(8, Stream::Predictive).coupled(coupling.parse().unwrap());
    Samples::Drawn { noise, numbers }
}

fn assert_close(left: &[f32], right: &[f32], what: &str) {
    assert_eq!(left.len(), right.len(), "{what}");
    for (left, right) in left.iter().zip(right) {
        // Logits are of size 0.1; sums of 64 f32 products in another order, through three blocks.
        assert!((left - right).abs() < 1e-5, "{what}: {left} against {right}");
    }
}

fn posteriors() -> Vec<PosteriorSettings> {
    let mut all = vec![PosteriorSettings::Deterministic, PosteriorSettings::Contextual(ContextualSettings::default())];
    all.push(PosteriorSettings::WeightGaussian(WeightGaussianSettings { initial_sd: 0.05 }));
    let wide = InducingSettings { initial_sd: 0.1, initial_scale: 0.03, ..InducingSettings::default() };
    all.push(PosteriorSettings::Inducing(wide));
    for scope in MaskScope::ALL {
        for site in DropoutSite::ALL {
            all.push(PosteriorSettings::Dropout { site, scope, dropout: 0.3 });
        }
        let gaussian = GaussianSettings { scope, initial_scale: 0.5, ..GaussianSettings::default() };
        let rank = RankGaussianSettings { scope, initial_scale: 0.5, ..RankGaussianSettings::default() };
        all.extend([PosteriorSettings::Gaussian(gaussian), PosteriorSettings::RankGaussian(rank)]);
        let switches = RankSwitchSettings { scope, prior: 0.7, ..RankSwitchSettings::default() };
        all.push(PosteriorSettings::RankSwitch(switches));
    }
    for variant in [LrvdVariant::Symmetric, LrvdVariant::Asymmetric] {
        for sampling in [LrvdSampling::Weights, LrvdSampling::LocalReparametrisation] {
            all.push(PosteriorSettings::Lrvd(LrvdSettings { variant, tied: true, sampling }));
        }
    }
    all
}

#[test]
fn agrees_with_classify_at_the_mean_and_sampled() {
    for posterior in posteriors() {
        let network = network(&posterior, &[1, 2]);
        let x = network.embed(&LENGTHS);
        let packing = Packing::from_lengths(&LENGTHS);
        let rows = Rows::of_sentences(&EXAMPLES, &LENGTHS);
        let mean = network.logits(&LENGTHS, &EXAMPLES, &Samples::Mean);
        assert_close(&mean, &network.mean_logits(&network.adapters, &x), &format!("{posterior:?}"));
        for coupling in ["independent", "antithetic", "balanced-4"] {
            let samples = drawn(coupling, 1..6);
            let Samples::Drawn { noise, numbers } = samples.clone() else { unreachable!() };
            let sampling = Sampling { noise, samples: numbers, rows: &rows, with_divergence: false };
            let Network { backbone, head, adapters } = &network;
            let draw = Draw::Sampled(sampling);
            let plain = flat(&classify(backbone, head, adapters, draw, 0, &x, &packing).unwrap().logits);
            // Nothing drawn gives one sample there, its repetitions here.
            let plain = plain.repeat(5 * LENGTHS.len() * 2 / plain.len());
            let what = format!("{posterior:?} {coupling}");
            assert_close(&network.logits(&LENGTHS, &EXAMPLES, &samples), &plain, &what);
        }
    }
}

/// With the pooler alone adapted, every block is below the first adapter.
#[test]
fn activations_above_the_last_block_may_be_given() {
    let posterior = PosteriorSettings::Gaussian(GaussianSettings { initial_scale: 0.5, ..GaussianSettings::default() });
    let network = network_of(&posterior, &[2], |_| vec![TargetMap::Pooler]);
    let (x, packing) = (network.embed(&LENGTHS), Packing::from_lengths(&LENGTHS));
    let none = AdapterSet::new();
    let blocks = network.backbone.blocks();
    let above = network.backbone.run_blocks(0..blocks, &x, &packing, &mut Pass::new(&none, Draw::Mean)).unwrap();
    let values = flat(&above);
    let hidden = Hidden { values: (&values).into(), lengths: &LENGTHS, examples: &EXAMPLES };
    let samples = drawn("independent", 0..5);
    let sampler = Sampler { from: blocks, ..network.sampler() };
    let whole = network.logits(&LENGTHS, &EXAMPLES, &samples);
    assert_close(&sampler.logits(hidden, &samples, &|_| ()).unwrap(), &whole, "in buffers");
    let rows = Rows::of_sentences(&EXAMPLES, &LENGTHS);
    let Samples::Drawn { noise, numbers } = samples else { unreachable!() };
    let draw = Draw::Sampled(Sampling { noise, samples: numbers, rows: &rows, with_divergence: false });
    let Network { backbone, head, adapters } = &network;
    let plain = flat(&classify(backbone, head, adapters, draw, blocks, &above, &packing).unwrap().logits);
    assert_close(&plain, &whole, "with tensors");
    assert!(whole[..8].iter().zip(&whole[8..16]).any(|(one, other)| (one - other).abs() > 1e-4), "samples differ");
}

#[test]
fn cuts_of_the_work_do_not_show() {
    let dropout = PosteriorSettings::Dropout { site: DropoutSite::Input, scope: MaskScope::Token, dropout: 0.3 };
    for coupling in ["independent", "antithetic", "balanced-8"] {
        cuts_of_the_work_of(&dropout, coupling);
    }
    for posterior in [
        PosteriorSettings::RankSwitch(RankSwitchSettings { prior: 0.7, ..RankSwitchSettings::default() }),
        PosteriorSettings::WeightGaussian(WeightGaussianSettings { initial_sd: 0.05 }),
        PosteriorSettings::Inducing(InducingSettings::default()),
    ] {
        cuts_of_the_work_of(&posterior, "antithetic");
    }
}

/// 45 rows of 60 samples: many passes; then the same samples a few at a time, and each sentence alone.
fn cuts_of_the_work_of(posterior: &PosteriorSettings, coupling: &str) {
    let network = network(posterior, &[0, 1, 2]);
    let what = format!("{posterior:?} {coupling}");
    let whole = network.logits(&LENGTHS, &EXAMPLES, &drawn(coupling, 0..60));
    let mut parts = network.logits(&LENGTHS, &EXAMPLES, &drawn(coupling, 0..7));
    parts.extend(network.logits(&LENGTHS, &EXAMPLES, &drawn(coupling, 7..60)));
    assert_close(&whole, &parts, &what);
    for (place, (length, example)) in LENGTHS.into_iter().zip(EXAMPLES).enumerate() {
        let alone = network.logits(&[length], &[example], &drawn(coupling, 0..60));
        let own: Vec<f32> =
            whole.chunks_exact(8).flat_map(|sample| sample[2 * place..2 * place + 2].to_vec()).collect();
        assert_close(&own, &alone, &what);
    }
}

#[test]
fn edges_are_results_or_errors() {
    let still = PosteriorSettings::Dropout { site: DropoutSite::Input, scope: MaskScope::Token, dropout: 0.0 };
    let network = network(&still, &[0]);
    assert!(network.logits(&[], &[], &drawn("independent", 0..3)).is_empty());
    assert!(network.logits(&LENGTHS, &EXAMPLES, &drawn("independent", 4..4)).is_empty());
    let mean = network.logits(&LENGTHS, &EXAMPLES, &Samples::Mean);
    assert_close(&network.logits(&LENGTHS, &EXAMPLES, &drawn("independent", 4..5)), &mean, "p = 0, one sample");
    assert_close(&network.logits(&LENGTHS, &EXAMPLES, &drawn("independent", 0..3)), &mean.repeat(3), "p = 0");
    // The longest text the positions allow, alone.
    assert_eq!(network.logits(&[160], &[0], &drawn("independent", 0..2)).len(), 4);
    let values = flat(&network.embed(&LENGTHS));
    let bad = Hidden { values: (&values[1..]).into(), lengths: &LENGTHS, examples: &EXAMPLES };
    let message = network.sampler().logits(bad, &Samples::Mean, &|_| ()).unwrap_err().to_string();
    assert_eq!(
        message,
        "the model has no 1439 activations for 4 sentences; expected 45 rows of 32 values and a number for every sentence, \
         none empty"
    );
    assert!(network.sampler().linearised(bad, &|_| ()).is_err());
}

/// An adapter with one multiplier moved away from 1.
#[derive(Debug)]
struct Moved {
    adapter: Arc<dyn StochasticAdapter>,
    site: DropoutSite,
    rows: Range<usize>,
    component: usize,
    value: f32,
}

impl Moved {
    fn scaled(&self, x: &Tensor) -> Tensor {
        let (_, rows, width) = x.dims3().unwrap();
        let mut z = vec![1.0_f32; rows * width];
        for row in self.rows.clone() {
            z[row * width + self.component] = self.value;
        }
        (x * Tensor::from_vec(z, (1, rows, width), &Device::Cpu).unwrap()).unwrap()
    }
}

impl StochasticAdapter for Moved {
    fn increment(&self, slot: Slot, x: &Tensor, draw: &Draw<'_>) -> bayeslora_adapters::Result<Increment> {
        if self.site == DropoutSite::Input {
            return self.adapter.increment(slot, &self.scaled(x), draw);
        }
        let increment = self.adapter.increment(slot, x, draw)?;
        Ok(Increment { core: self.scaled(&increment.core), ..increment })
    }

    fn low_rank(&self) -> &LowRank {
        self.adapter.low_rank()
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        self.adapter.parameters()
    }

    fn first_order_covariance(&self, dependence: Dependence<'_>) -> bayeslora_adapters::Result<Vec<f64>> {
        self.adapter.first_order_covariance(dependence)
    }

    fn moments(&self, x: &Tensor) -> bayeslora_adapters::Result<Moments> {
        self.adapter.moments(x)
    }
}

/// `kappa sum J J'` with every derivative by a central difference.
fn covariance_by_differences(network: &Network, site: DropoutSite, scope: MaskScope, kappa: f64) -> Vec<f64> {
    const STEP: f32 = 0.05;
    let x = network.embed(&LENGTHS);
    let packing = Packing::from_lengths(&LENGTHS);
    let mut covariance = vec![0.0; LENGTHS.len() * 4];
    for (slot, adapter) in network.adapters.shared() {
        // At the last block and the pooler only keys and values are computed beyond the first rows.
        let first_only = slot.block > 2 || slot.block == 2 && !matches!(slot.map, TargetMap::Key | TargetMap::Value);
        let single = Packing::single_rows(LENGTHS.len());
        let sentences: Vec<_> = if first_only { single.sentences() } else { packing.sentences() }.collect();
        let width = adapter.low_rank().a().dims()[usize::from(site == DropoutSite::Input)];
        for (sentence, rows) in sentences.into_iter().enumerate() {
            let draws: Vec<Range<usize>> =
                if scope == MaskScope::Token { rows.map(|row| row..row + 1).collect() } else { vec![rows] };
            for rows in draws {
                for component in 0..width {
                    let at = |value: f32| {
                        let mut moved = AdapterSet::new();
                        for (other, adapter) in network.adapters.shared() {
                            let rows = if other == slot { rows.clone() } else { 0..0 };
                            moved.insert(other, Box::new(Moved { adapter, site, rows, component, value }));
                        }
                        network.mean_logits(&moved, &x)[2 * sentence..2 * sentence + 2].to_vec()
                    };
                    let (up, down) = (at(1.0 + STEP), at(1.0 - STEP));
                    let j: Vec<f64> =
                        up.iter().zip(&down).map(|(up, down)| f64::from(up - down) / f64::from(2.0 * STEP)).collect();
                    for (entry, value) in covariance[4 * sentence..4 * sentence + 4].iter_mut().enumerate() {
                        *value += kappa * j[entry / 2] * j[entry % 2];
                    }
                }
            }
        }
    }
    covariance
}

#[test]
fn linearised_is_the_jacobian_of_finite_differences() {
    for site in [DropoutSite::Rank, DropoutSite::Input] {
        for scope in [MaskScope::Token, MaskScope::Sequence] {
            let network = network(&PosteriorSettings::Dropout { site, scope, dropout: 0.2 }, &[2]);
            let values = flat(&network.embed(&LENGTHS));
            let hidden = Hidden { values: (&values).into(), lengths: &LENGTHS, examples: &EXAMPLES };
            let linearised = network.sampler().linearised(hidden, &|_| ()).unwrap();
            let plain = network.logits(&LENGTHS, &EXAMPLES, &Samples::Mean);
            let plain: Vec<f64> = plain.iter().map(|&logit| logit.into()).collect();
            for (left, right) in linearised.mean.iter().zip(&plain) {
                assert!((left - right).abs() < 1e-5, "mean: {left} against {right}");
            }
            let expected = covariance_by_differences(&network, site, scope, 0.25);
            let size = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
            for (left, right) in linearised.covariance.iter().zip(&expected) {
                // Differences of f32 logits over a step of 0.1: 1e-7 / 0.1 beside derivatives of size 1e-3, and curvature.
                assert!((left - right).abs() < 0.01 * size, "{site} {scope}: {left} against {right} of {size}");
            }
        }
    }
}

/// Every posterior, by samples, with an adapter so weak that the first order is all there is.
#[test]
fn linearised_is_the_covariance_of_weak_samples() {
    const SAMPLES: u32 = 4000;
    for posterior in posteriors() {
        let network = network(&posterior, &[1, 2]);
        for (_, parameter) in network.adapters.parameters() {
            if parameter.name == "lora_B.weight" {
                parameter.var.set(&(parameter.var.as_tensor() * 0.05).unwrap()).unwrap();
            }
        }
        let values = flat(&network.embed(&LENGTHS));
        let hidden = Hidden { values: (&values).into(), lengths: &LENGTHS, examples: &EXAMPLES };
        let linearised = network.sampler().linearised(hidden, &|_| ());
        let reaches_outputs = match posterior {
            PosteriorSettings::Lrvd(LrvdSettings { variant, sampling, .. }) => {
                (variant, sampling) != (LrvdVariant::Asymmetric, LrvdSampling::Weights)
            }
            PosteriorSettings::WeightGaussian(_) | PosteriorSettings::Inducing(_) => true,
            _ => false,
        };
        if reaches_outputs {
            let problem = linearised.unwrap_err().to_string();
            assert!(problem.contains("draw samples instead"), "{problem}");
            continue;
        }
        let linearised = linearised.unwrap();
        let logits = network.logits(&LENGTHS, &EXAMPLES, &drawn("independent", 0..SAMPLES));
        for place in 0..LENGTHS.len() {
            for class in 0..2 {
                let own: Vec<f64> = logits.chunks_exact(8).map(|s| f64::from(s[2 * place + class])).collect();
                let mean = own.iter().sum::<f64>() / own.len() as f64;
                let moment = |power| own.iter().map(|x| (x - mean).powi(power)).sum::<f64>() / own.len() as f64;
                let (variance, fourth) = (moment(2), moment(4));
                let predicted = linearised.covariance[4 * place + 3 * class];
                // Five standard errors of a variance, and 2 % for the second order at this strength.
                let error = ((fourth - variance * variance) / f64::from(SAMPLES)).sqrt();
                assert!(
                    (variance - predicted).abs() <= 5.0 * error + 0.02 * predicted + 1e-12,
                    "{posterior:?}, text {place}: {variance} against {predicted}, error {error}"
                );
            }
        }
    }
}
