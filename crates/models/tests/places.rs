//! Tensors against buffers, in f32 and in bf16, on tiny decoders of every family and on a tiny encoder.
//!
//! What runs on an accelerator is the plain twin of every operation; in bf16 these twins run on a processor too.
#![cfg(test)]

mod adapted;

use std::fs;
use std::path::{Path, PathBuf};

use bayeslora_adapters::{
    AdapterSet, ContextualSettings, Draw, GaussianSettings, InducingSettings, LrvdSampling, LrvdSettings, LrvdVariant,
    Noise, PosteriorSettings, RankGaussianSettings, RankSwitchSettings, Rows, Sampling, Stream, WeightGaussianSettings,
};
use bayeslora_models::{Backbone, Head, Hidden, Packing, Place, Precision, Sampler, Samples, classify};
use candle_core::{DType, Device, Tensor};

use adapted::{dropout, random_adapters};

const MODELS: [&str; 8] = [
    "decoders/tiny/llama3",
    "decoders/tiny/llama_plain",
    "decoders/tiny/qwen2",
    "decoders/tiny/qwen3",
    "decoders/tiny/mistral",
    "decoders/tiny/gemma2",
    "decoders/tiny/gemma3",
    "tiny",
];
const LENGTHS: [usize; 16] = [4, 1, 7, 12, 3, 9, 2, 11, 5, 8, 6, 10, 12, 12, 11, 7];
const EXAMPLES: [u64; 16] = [10, 3, 5, 77, 0, 1, 2, 4, 6, 7, 8, 9, 11, 12, 13, 14];
const CLASSES: usize = 3;

fn golden(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(model)
}

fn place(precision: Precision) -> Place {
    Place { precision, ..Place::default() }
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// A network with adapters on every map of every block, whose `B` is not zero.
struct Network {
    backbone: Backbone,
    head: Head,
    adapters: AdapterSet,
}

impl Network {
    fn of(model: &Path, precision: Precision, posterior: &PosteriorSettings) -> Self {
        let backbone = Backbone::load(model, place(precision)).unwrap();
        let noise = Noise::new(3, Stream::Initial);
        let head = Head::initial(&backbone, CLASSES, &noise).unwrap();
        let adapters = random_adapters(&backbone, 0, posterior, 0.3);
        Self { backbone, head, adapters }
    }

    fn embed(&self) -> Tensor {
        let token = |text: usize, i: usize| u32::try_from(5 + (text * 11 + i * 7) % 40).unwrap();
        let text = |(text, &length)| (0..length).map(|i| token(text, i)).collect();
        let ids: Vec<Vec<u32>> = LENGTHS.iter().enumerate().map(text).collect();
        self.backbone.embed(&ids.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap()
    }

    /// Logits of the sampler, `[samples, sentences, classes]`.
    fn sampled(&self, samples: &Samples) -> Vec<f32> {
        let Self { backbone, head, adapters } = self;
        let values = flat(&self.embed());
        let hidden = Hidden { values: (&values).into(), lengths: &LENGTHS, examples: &EXAMPLES };
        Sampler { backbone, head, adapters, from: 0 }.logits(hidden, samples, &|_| ()).unwrap()
    }

    /// The same of tensors, whatever the place.
    fn on_tape(&self, samples: &Samples) -> Tensor {
        let Self { backbone, head, adapters } = self;
        let rows = Rows::of_sentences(&EXAMPLES, &LENGTHS);
        let draw = match samples {
            Samples::Mean => Draw::Mean,
            Samples::Drawn { noise, numbers } => {
                Draw::Sampled(Sampling { noise: *noise, samples: numbers.clone(), rows: &rows, with_divergence: false })
            }
        };
        let packing = Packing::from_lengths(&LENGTHS);
        classify(backbone, head, adapters, draw, 0, &self.embed(), &packing).unwrap().logits
    }
}

fn drawn() -> Samples {
    Samples::Drawn { noise: Noise::new(5, Stream::Predictive), numbers: 2..5 }
}

/// Root mean square.
fn size(values: impl Iterator<Item = f32>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += f64::from(value).powi(2);
        count += 1.0;
    }
    (sum / f64::max(count, 1.0)).sqrt()
}

/// Size of the difference, relative to the size of what is expected.
fn error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    size(found.iter().zip(expected).map(|(found, expected)| found - expected)) / size(expected.iter().copied())
}

#[test]
fn tensors_in_f32_are_buffers_to_rounding() {
    for model in MODELS {
        for site in ["input", "rank", "weight"] {
            let network = Network::of(&golden(model), Precision::F32, &dropout(site));
            for samples in [Samples::Mean, drawn()] {
                let error = error(&flat(&network.on_tape(&samples)), &network.sampled(&samples));
                assert!(error < 1e-5, "{model} {site}: {error}");
            }
        }
    }
}

/// Weights and activations have 8 significant bits: each of some ten roundings a block is off by 2^-9 of its value (0.002) at most, half of
/// that on average. So logits are off by about 0.01 of their size after two or three blocks, and by twice that where they nearly cancel.
const BF16: f64 = 0.03;
/// The same on average over sites and draws, of decoders and of the encoder. Without their sums in f32, RMS norms make the first 0.0155 in
/// place of 0.0117, and layer norms the second 0.0102 in place of 0.0080.
const BF16_ON_AVERAGE: [(bool, f64); 2] = [(true, 0.0135), (false, 0.009)];

#[test]
fn bf16_differs_by_its_rounding_and_draws_the_same_noise() {
    let mut all = Vec::new();
    for model in MODELS {
        for site in ["input", "rank", "weight"] {
            let of = |precision| Network::of(&golden(model), precision, &dropout(site));
            let (exact, half) = (of(Precision::F32), of(Precision::Bf16));
            assert_eq!(half.embed().dtype(), DType::BF16, "activations are bf16");
            for samples in [Samples::Mean, drawn()] {
                let (found, expected) = (half.sampled(&samples), exact.sampled(&samples));
                let off = error(&found, &expected);
                assert!(off < BF16, "{model} {site}: {off}");
                assert!(off > 1e-4, "{model} {site}: nothing is in bf16");
                all.push((exact.backbone.is_causal(), off));
                assert_eq!(found, flat(&half.on_tape(&samples)), "the sampler in bf16 is the tape");
            }
            let other = Samples::Drawn { noise: Noise::new(6, Stream::Predictive), numbers: 2..5 };
            let apart = error(&exact.sampled(&other), &exact.sampled(&drawn()));
            assert!(apart > 3.0 * BF16, "{model} {site}: other noise is only {apart} away");
        }
    }
    for (is_causal, most) in BF16_ON_AVERAGE {
        let own: Vec<f64> = all.iter().filter(|(kind, _)| *kind == is_causal).map(|(_, off)| *off).collect();
        let average = own.iter().sum::<f64>() / own.len() as f64;
        assert!(average < most, "decoders: {is_causal}, {average}");
    }
}

/// Every kind of posterior has its part computed in f32 there, offsets and divergences included.
#[test]
fn every_posterior_is_computed_in_bf16_networks() {
    let lrvd = |variant, sampling| PosteriorSettings::Lrvd(LrvdSettings { variant, tied: true, sampling });
    let all = [
        PosteriorSettings::Deterministic,
        PosteriorSettings::Contextual(ContextualSettings::default()),
        PosteriorSettings::Gaussian(GaussianSettings::default()),
        PosteriorSettings::RankGaussian(RankGaussianSettings::default()),
        PosteriorSettings::RankSwitch(RankSwitchSettings::default()),
        PosteriorSettings::WeightGaussian(WeightGaussianSettings { initial_sd: 0.02 }),
        PosteriorSettings::Inducing(InducingSettings::default()),
        lrvd(LrvdVariant::Symmetric, LrvdSampling::Weights),
        lrvd(LrvdVariant::Asymmetric, LrvdSampling::LocalReparametrisation),
    ];
    for posterior in all {
        let of = |precision| Network::of(&golden("tiny"), precision, &posterior);
        let off = error(&of(Precision::Bf16).sampled(&drawn()), &of(Precision::F32).sampled(&drawn()));
        assert!(off < BF16, "{posterior:?}: {off}");
    }
}

#[test]
fn heads_and_adapters_stay_f32() {
    let network = Network::of(&golden("decoders/tiny/qwen3"), Precision::Bf16, &PosteriorSettings::Deterministic);
    let logits = network.on_tape(&Samples::Mean);
    assert_eq!(logits.dtype(), DType::F32);
    let rounded = logits.to_dtype(DType::BF16).unwrap();
    assert!(error(&flat(&rounded), &flat(&logits)) > 1e-4, "logits went through bf16");
    assert!(network.adapters.parameters().all(|(_, parameter)| parameter.var.dtype() == DType::F32));
}

/// Gradients of a training step point where those in f32 do.
#[test]
fn every_parameter_of_a_bf16_network_gets_its_gradient() {
    for model in ["decoders/tiny/gemma3", "decoders/tiny/qwen2", "tiny"] {
        let gradients = |precision| {
            let network = Network::of(&golden(model), precision, &dropout("rank"));
            let loss = network.on_tape(&drawn()).narrow(2, 0, 1).unwrap().sqr().unwrap().sum_all().unwrap();
            let store = loss.backward().unwrap();
            let of = |var: &candle_core::Var| flat(store.get(var).expect("a gradient"));
            network
                .adapters
                .parameters()
                .map(|(slot, parameter)| (format!("{slot} {}", parameter.name), of(parameter.var)))
                .collect::<Vec<_>>()
        };
        for ((name, half), (_, exact)) in gradients(Precision::Bf16).into_iter().zip(gradients(Precision::F32)) {
            let product: f64 = half.iter().zip(&exact).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let sizes = size(half.iter().copied()) * size(exact.iter().copied()) * half.len() as f64;
            assert!(product > 0.95 * sizes, "{model} {name}: cosine {}", product / sizes);
        }
    }
}

/// A checkpoint that is stored in bf16, with one number that is none.
#[test]
fn what_is_no_number_in_a_bf16_checkpoint_is_refused() {
    for (model, name) in [
        ("decoders/tiny/llama3", "model.layers.1.mlp.down_proj.weight"),
        ("tiny", "encoder.layer.1.output.dense.weight"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(golden(model)).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        let file = folder.path().join("model.safetensors");
        let tensors = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
        let write = |damaged: bool| {
            let halved = tensors.iter().map(|(own, tensor)| {
                let mut values = flat(tensor);
                if damaged && own.ends_with(name) {
                    values[3] = f32::NAN;
                }
                let tensor = Tensor::from_vec(values, tensor.shape(), &Device::Cpu).unwrap();
                (own.clone(), tensor.to_dtype(DType::BF16).unwrap())
            });
            candle_core::safetensors::save(&halved.collect(), &file).unwrap();
        };
        for precision in [Precision::F32, Precision::Bf16] {
            write(false);
            Backbone::load(folder.path(), place(precision)).unwrap();
            write(true);
            let message = Backbone::load(folder.path(), place(precision)).unwrap_err().to_string();
            assert!(
                message.contains(name) && message.contains("NaN") && message.contains("model.safetensors"),
                "{message}"
            );
        }
    }
}
