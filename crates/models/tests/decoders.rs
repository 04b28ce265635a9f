//! Decoders against transformers and PEFT: tiny models of every family, on tensors and in buffers.
#![cfg(test)]

mod adapted;

use std::fs;
use std::path::{Path, PathBuf};

use bayeslora_adapters::{AdapterSet, Draw, Noise, PosteriorSettings, Rows, Sampling, Stream};
use bayeslora_models::{Backbone, Head, Hidden, Packing, Pass, Sampler, Samples, SavedAdapter, classify};
use candle_core::{Device, Tensor};
use serde_json::Value;

use adapted::{dropout, random_adapters};

const FAMILIES: [&str; 7] = ["llama3", "llama_plain", "qwen2", "qwen3", "mistral", "gemma2", "gemma3"];

fn golden(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decoders/tiny").join(family)
}

/// `golden.json` of a family.
fn expected(family: &str) -> Value {
    serde_json::from_slice(&fs::read(golden(family).join("golden.json")).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn inputs(expected: &Value) -> Vec<Vec<u32>> {
    serde_json::from_value(expected["inputs"].clone()).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// A model with what is added to it.
struct Network {
    backbone: Backbone,
    head: Head,
    adapters: AdapterSet,
}

impl Network {
    fn of(model: &Path, adapter: &str, answers: Option<&[u32]>) -> Self {
        let loaded = SavedAdapter::load_with_model(&model.join(adapter), model, &Device::Cpu, answers, Ok);
        let (backbone, SavedAdapter { adapters, head, .. }) = loaded.unwrap();
        Self { backbone, head, adapters }
    }

    /// The model alone, with its whole language head.
    fn bare(model: &Path) -> Self {
        let backbone = Backbone::load(model, &Device::Cpu).unwrap();
        let head = Head::of_answers(&backbone, model, &every_token(&backbone)).unwrap();
        Self { backbone, head, adapters: AdapterSet::new() }
    }

    /// Logits `[samples or 1, texts, classes]` of tensors, and the same of buffers.
    fn logits(&self, texts: &[Vec<u32>], samples: &Samples) -> [Vec<f32>; 2] {
        let tokens: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let lengths: Vec<usize> = texts.iter().map(Vec::len).collect();
        let examples: Vec<u64> = (7..).take(texts.len()).collect();
        let (rows, x) = (Rows::of_sentences(&examples, &lengths), self.backbone.embed(&tokens).unwrap());
        let draw = match samples {
            Samples::Mean => Draw::Mean,
            Samples::Drawn { noise, numbers } => {
                Draw::Sampled(Sampling { noise: *noise, samples: numbers.clone(), rows: &rows, with_divergence: false })
            }
        };
        let packing = Packing::from_lengths(&lengths);
        let Self { backbone, head, adapters } = self;
        let on_tape = classify(backbone, head, adapters, draw, 0, &x, &packing).unwrap().logits;
        let sampler = Sampler { backbone, head, adapters, from: 0 };
        let values = flat(&x);
        let hidden = Hidden { values: (&values).into(), lengths: &lengths, examples: &examples };
        [flat(&on_tape), sampler.logits(hidden, samples, &|_| ()).unwrap()]
    }
}

fn every_token(backbone: &Backbone) -> Vec<u32> {
    (0..u32::try_from(backbone.vocabulary()).unwrap()).collect()
}

fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    let difference = largest_difference(found, expected);
    assert!(difference < 1e-4, "{what}: {difference}");
}

/// What a language model gives after each beginning of a text is what transformers gives at each of its positions.
#[test]
fn every_family_gives_the_logits_of_transformers_with_and_without_its_adapter() {
    for family in FAMILIES {
        let (model, expected) = (golden(family), expected(family));
        let bare = Network::bare(&model);
        let adapted = Network::of(&model, "adapter", Some(&every_token(&bare.backbone)));
        for (network, key) in [(&bare, "base"), (&adapted, "adapter")] {
            let mut beginnings = Vec::new();
            let mut logits = Vec::new();
            for (ids, rows) in inputs(&expected).iter().zip(expected[key].as_array().unwrap()) {
                let rows = rows.as_array().unwrap();
                for (index, row) in rows.iter().enumerate() {
                    beginnings.push(ids[..ids.len() - (rows.len() - 1 - index)].to_vec());
                    logits.extend(numbers(row));
                }
            }
            // Without the adapter one text has the logits of all its positions.
            assert_eq!(beginnings.len(), if key == "base" { 8 } else { 4 });
            for found in network.logits(&beginnings, &Samples::Mean) {
                assert_close(&found, &logits, &format!("{family} {key}"));
            }
        }
        // Whatever detail is forgotten moves these logits by more than the tolerance.
        for (detail, moved) in expected["sensitivity"].as_object().unwrap() {
            assert!(moved.as_f64().unwrap() >= 1e-3, "{family}: without {detail} the logits move by {moved}");
        }
    }
}

#[test]
fn a_class_head_is_read_at_the_last_token() {
    for family in FAMILIES {
        let (model, expected) = (golden(family), expected(family));
        let network = Network::of(&model, "adapter_seqcls", None);
        let classes: Vec<f32> = expected["classes"].as_array().unwrap().iter().flat_map(numbers).collect();
        for found in network.logits(&inputs(&expected), &Samples::Mean) {
            assert_close(&found, &classes, family);
        }
    }
}

/// A random network with adapters on every map of every block, whose `B` is not zero.
fn random(family: &str, posterior: &PosteriorSettings) -> Network {
    let backbone = Backbone::load(&golden(family), &Device::Cpu).unwrap();
    let noise = Noise::new(3, Stream::Initial);
    let head = Head::initial(&backbone, 3, &noise).unwrap();
    assert_eq!(backbone.maps().len(), 7, "seven maps a block");
    let adapters = random_adapters(&backbone, 0, posterior, 0.5);
    Network { backbone, head, adapters }
}

#[test]
fn samples_of_buffers_are_those_of_tensors() {
    for family in FAMILIES {
        let texts = inputs(&expected(family));
        for site in ["input", "rank", "weight"] {
            let network = random(family, &dropout(site));
            let drawn = Samples::Drawn { noise: Noise::new(5, Stream::Predictive), numbers: 2..5 };
            let [on_tape, in_buffers] = network.logits(&texts, &drawn);
            assert_close(&in_buffers, &on_tape, &format!("{family} {site}"));
            let count = texts.len() * 3;
            assert!(
                largest_difference(&on_tape[..count], &on_tape[count..2 * count]) > 1e-4,
                "{family}: samples agree"
            );
        }
    }
}

/// The last block at the rows that are read alone draws what it draws at all rows.
#[test]
fn the_last_token_has_its_own_noise() {
    for family in FAMILIES {
        let network = random(family, &dropout("rank"));
        let texts = inputs(&expected(family));
        let tokens: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let lengths: Vec<usize> = texts.iter().map(Vec::len).collect();
        let (rows, packing) = (Rows::of_sentences(&[7, 8, 9, 10], &lengths), Packing::from_lengths(&lengths));
        let noise = Noise::new(5, Stream::Predictive);
        let draw = || Draw::Sampled(Sampling { noise, samples: 0..2, rows: &rows, with_divergence: false });
        let (backbone, x) = (&network.backbone, network.backbone.embed(&tokens).unwrap());
        let states = backbone.states(0, &x, &packing, &mut Pass::new(&network.adapters, draw())).unwrap();
        let all = backbone.run_blocks(0..backbone.blocks(), &x, &packing, &mut Pass::new(&network.adapters, draw()));
        let last = Tensor::new(packing.last_rows(), &Device::Cpu).unwrap();
        assert_close(&flat(&states), &flat(&all.unwrap().index_select(&last, 1).unwrap()), family);
    }
}

/// Below the first adapted block too, through norms, turns, gates and windows.
#[test]
fn every_trainable_parameter_of_every_family_gets_a_gradient() {
    for family in FAMILIES {
        let Network { backbone, head, adapters } = random(family, &PosteriorSettings::Deterministic);
        let texts = inputs(&expected(family));
        let tokens: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let packing = Packing::from_lengths(&texts.iter().map(Vec::len).collect::<Vec<_>>());
        let x = backbone.embed(&tokens).unwrap();
        let logits = classify(&backbone, &head, &adapters, Draw::Mean, 0, &x, &packing).unwrap().logits;
        let gradients = logits.narrow(2, 0, 1).unwrap().sqr().unwrap().sum_all().unwrap().backward().unwrap();
        for (slot, parameter) in adapters.parameters() {
            let gradient =
                gradients.get(parameter.var).unwrap_or_else(|| panic!("{family}, {slot}: {}", parameter.name));
            let size = gradient.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(size.is_finite() && size > 0.0, "{family}, {slot}: {} has {size}", parameter.name);
        }
    }
}

/// A detail of a family that its configuration says, left out, is seen by the comparison above.
#[test]
fn a_forgotten_detail_moves_the_logits() {
    type Edit = fn(&mut Value);
    let cases: [(&str, &str, Edit); 9] = [
        ("llama3", "slower positions", |c| c["rope_parameters"]["rope_type"] = "default".into()),
        ("qwen3", "base of positions", |c| c["rope_parameters"]["rope_theta"] = 77.0.into()),
        ("mistral", "window", |c| c["sliding_window"] = Value::Null),
        ("gemma2", "window", |c| c["sliding_window"] = 64.into()),
        ("gemma2", "cap of scores", |c| c["attn_logit_softcapping"] = Value::Null),
        ("gemma2", "cap of logits", |c| c["final_logit_softcapping"] = Value::Null),
        ("gemma2", "scale of scores", |c| c["query_pre_attn_scalar"] = 64.into()),
        ("gemma3", "window", |c| c["sliding_window"] = 64.into()),
        ("gemma3", "local positions", |c| {
            c["rope_parameters"]["sliding_attention"] = c["rope_parameters"]["full_attention"].clone();
        }),
    ];
    for (family, detail, edit) in cases {
        let place = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(golden(family)).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            fs::copy(entry.path(), place.path().join(entry.file_name())).unwrap();
        }
        let path = place.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let before = config.clone();
        edit(&mut config);
        assert_ne!(config, before, "{family} {detail}");
        fs::write(&path, config.to_string()).unwrap();
        let texts = inputs(&expected(family));
        let [right, _] = Network::bare(&golden(family)).logits(&texts, &Samples::Mean);
        let [wrong, _] = Network::bare(place.path()).logits(&texts, &Samples::Mean);
        let moved = largest_difference(&right, &wrong);
        assert!(moved > 1e-2, "{family} {detail}: {moved}");
    }
}

#[test]
fn what_is_asked_of_the_wrong_kind_of_adapter_is_refused() {
    let model = golden("llama3");
    let load = |adapter: &str, answers: Option<&[u32]>| {
        let loaded = SavedAdapter::load_with_model(&model.join(adapter), &model, &Device::Cpu, answers, Ok);
        loaded.map(|_| ()).unwrap_err().to_string()
    };
    let message = load("adapter", None);
    assert!(message.contains("adapter_config.json") && message.contains("each with --choice"), "{message}");
    let message = load("adapter_seqcls", Some(&[1, 2]));
    assert!(message.contains("leave out the answers"), "{message}");
    let encoder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny");
    let loaded = SavedAdapter::load_with_model(&model.join("adapter"), &encoder, &Device::Cpu, None, Ok);
    let message = loaded.map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("is this its base model?"), "{message}");
}
