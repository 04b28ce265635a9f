//! The encoder, its tokenizer and PEFT adapters against transformers and PEFT (`golden/generate*.py`), on a tiny random
//! encoder of each family in the tree. The same on the real backbone is a test of the compare crate, which knows how to get it.
#![cfg(test)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bayeslora_adapters::{AdapterSet, Draw};
use bayeslora_models::{
    Backbone, Hidden, Packing, Pass, Sampler, Samples, SavedAdapter, Tokenizer, classify, pooler_slot, save_adapter,
};
use candle_core::{D, DType, Device, Tensor, Var};
use serde::Deserialize;

/// f32 rounding over three blocks of unusually large weights, relative to the largest value; the issue's bar is 1e-4.
const TOLERANCE: f32 = 2e-5;

#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    ids: Vec<u32>,
    pooled: Vec<f32>,
    hidden: Vec<Vec<f32>>,
}

fn golden(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(model)
}

fn expected(model: &str) -> Expected {
    serde_json::from_slice(&std::fs::read(golden(model).join("expected.json")).unwrap()).unwrap()
}

fn assert_close(got: &Tensor, expected: &[f32], what: &str) {
    let got = got.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() <= TOLERANCE * largest, "{what}, entry {index}: {got} against {expected}");
    }
}

#[test]
fn every_hidden_state_is_that_of_transformers() {
    hidden_states("tiny", 160);
    hidden_states("distilbert", 64);
    hidden_states("roberta", 24);
    hidden_states("xlm-roberta", 24);
}

fn hidden_states(model: &str, positions: usize) {
    let backbone = Backbone::load(&golden(model), &Device::Cpu).unwrap();
    assert_eq!(backbone.longest_text(), positions);
    let tokenizer = Tokenizer::load(&golden(model), positions).unwrap();
    let Expected { texts, sentences } = expected(model);
    let none = AdapterSet::new();
    // All sentences packed into one batch: none may see another.
    let ids: Vec<Vec<u32>> = texts.iter().map(|text| tokenizer.encode(text).unwrap()).collect();
    let tokens: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let packing = Packing::from_lengths(&ids.iter().map(Vec::len).collect::<Vec<_>>());
    let mut pass = Pass::new(&none, Draw::Mean);
    let mut x = backbone.embed(&tokens).unwrap();
    for layer in 0..=backbone.blocks() {
        if layer > 0 {
            x = backbone.run_blocks(layer - 1..layer, &x, &packing, &mut pass).unwrap();
        }
        for (number, (rows, sentence)) in packing.sentences().zip(&sentences).enumerate() {
            assert_eq!(ids[number], sentence.ids, "tokens of {:?}", texts[number]);
            let own = x.narrow(1, rows.start, rows.len()).unwrap();
            assert_close(&own, &sentence.hidden[layer], &format!("layer {layer} of sentence {number}"));
        }
    }
    let x = backbone.embed(&tokens).unwrap();
    let pooled = backbone.pooled(0, &x, &packing, &mut pass).unwrap();
    let all: Vec<f32> = sentences.iter().flat_map(|sentence| sentence.pooled.clone()).collect();
    assert_close(&pooled, &all, "pooled");
}

#[test]
fn peft_adapters_give_the_logits_of_pytorch() {
    adapted_logits("tiny", &["query-value", "dense", "one-block", "rslora", "patterns", "head-beside"]);
    adapted_logits("distilbert", &["all-maps", "head-in-checkpoint"]);
    adapted_logits("roberta", &["query-value", "all-maps", "head-in-checkpoint"]);
    adapted_logits("xlm-roberta", &["query-value"]);
}

fn adapted_logits(model: &str, cases: &[&str]) {
    let backbone = Backbone::load(&golden(model), &Device::Cpu).unwrap();
    let ids: Vec<Vec<u32>> = expected(model).sentences.into_iter().map(|sentence| sentence.ids).collect();
    let tokens: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let packing = Packing::from_lengths(&ids.iter().map(Vec::len).collect::<Vec<_>>());
    for case in cases {
        let folder = golden(model).join(case);
        let saved = SavedAdapter::load(&folder, &backbone, &golden(model), Ok).unwrap();
        let x = backbone.embed(&tokens).unwrap();
        let output = classify(&backbone, &saved.head, &saved.adapters, Draw::Mean, 0, &x, &packing).unwrap();
        let logits: Vec<Vec<f32>> =
            serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
        assert_close(&output.logits, &logits.concat(), case);
        // The same in the code that samples.
        let values = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let lengths: Vec<usize> = ids.iter().map(Vec::len).collect();
        let examples: Vec<u64> = (0..).take(ids.len()).collect();
        let hidden = Hidden { values: (&values).into(), lengths: &lengths, examples: &examples };
        let sampler = Sampler { backbone: &backbone, head: &saved.head, adapters: &saved.adapters, from: 0 };
        let fast = sampler.logits(hidden, &Samples::Mean, &|_| ()).unwrap();
        assert_close(&Tensor::new(fast, &Device::Cpu).unwrap(), &logits.concat(), case);
        // Without the adapter they differ: the comparison above can fail.
        let bare = classify(&backbone, &saved.head, &AdapterSet::new(), Draw::Mean, 0, &x, &packing).unwrap();
        let difference = (bare.logits - &output.logits).unwrap().abs().unwrap().flatten_all().unwrap();
        assert!(difference.max(0).unwrap().to_scalar::<f32>().unwrap() > 1e-2, "{case} changes nothing");
    }
}

#[test]
fn gradients_are_those_of_pytorch() {
    adapted_gradients("tiny", &["query-value", "dense", "one-block"]);
    adapted_gradients("distilbert", &["all-maps"]);
    adapted_gradients("roberta", &["query-value", "all-maps"]);
    adapted_gradients("xlm-roberta", &["query-value"]);
}

fn adapted_gradients(model: &str, cases: &[&str]) {
    let backbone = Backbone::load(&golden(model), &Device::Cpu).unwrap();
    let ids: Vec<Vec<u32>> = expected(model).sentences.into_iter().map(|sentence| sentence.ids).collect();
    let tokens: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let packing = Packing::from_lengths(&ids.iter().map(Vec::len).collect::<Vec<_>>());
    for case in cases {
        let folder = golden(model).join(case);
        let saved = SavedAdapter::load(&folder, &backbone, &golden(model), Ok).unwrap();
        let x = backbone.embed(&tokens).unwrap();
        let output = classify(&backbone, &saved.head, &saved.adapters, Draw::Mean, 0, &x, &packing).unwrap();
        let logits = output.logits.squeeze(0).unwrap();
        let (texts, classes) = logits.dims2().unwrap();
        let labels: Vec<u32> =
            (0..u32::try_from(texts).unwrap()).map(|text| text % u32::try_from(classes).unwrap()).collect();
        let labels = Tensor::from_vec(labels, (texts, 1), &Device::Cpu).unwrap();
        let normaliser = logits.exp().unwrap().sum_keepdim(D::Minus1).unwrap().log().unwrap();
        let loss = (normaliser - logits.gather(&labels, 1).unwrap()).unwrap().mean_all().unwrap();
        let gradients = loss.backward().unwrap();

        let mut trained: BTreeMap<String, &Var> = saved
            .adapters
            .parameters()
            .map(|(slot, parameter)| (format!("{}.{}", backbone.module_path(slot), parameter.name), parameter.var))
            .collect();
        trained.extend(saved.head.parameters().map(|(name, var)| (name.to_owned(), var)));
        let golden = candle_core::safetensors::load(folder.join("gradients.safetensors"), &Device::Cpu).unwrap();
        assert!(trained.keys().eq(golden.keys().collect::<std::collections::BTreeSet<_>>()), "{case}");
        for (name, var) in trained {
            let expected = golden[&name].flatten_all().unwrap().to_vec1().unwrap();
            assert_close(gradients.get(var).unwrap(), &expected, &format!("{case}: gradient of {name}"));
        }
    }
}

#[test]
fn an_adapter_of_weights_apart_from_their_sizes_is_refused() {
    let backbone = Backbone::load(&golden("tiny"), &Device::Cpu).unwrap();
    let error = SavedAdapter::load(&golden("tiny/dora"), &backbone, &golden("tiny"), Ok).unwrap_err().to_string();
    assert!(error.contains("use_dora true is not supported"), "{error}");
}

#[test]
fn trained_biases_give_the_logits_of_pytorch() {
    trained_biases("tiny", "bias");
    trained_biases("roberta", "bias-all");
}

fn trained_biases(model: &str, case: &str) {
    let folder = golden(model).join(case);
    let (backbone, saved) = SavedAdapter::load_with_model(&folder, &golden(model), &Device::Cpu, None, Ok).unwrap();
    let ids: Vec<Vec<u32>> = expected(model).sentences.into_iter().map(|sentence| sentence.ids).collect();
    let tokens: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let packing = Packing::from_lengths(&ids.iter().map(Vec::len).collect::<Vec<_>>());
    let x = backbone.embed(&tokens).unwrap();
    let output = classify(&backbone, &saved.head, &saved.adapters, Draw::Mean, 0, &x, &packing).unwrap();
    let logits: Vec<Vec<f32>> = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    assert_close(&output.logits, &logits.concat(), case);
}

/// A folder like `distilbert` with `change` made to its configuration and some tensors replaced (an empty one: left out); what loading it says.
fn distilbert_with(change: impl FnOnce(&mut serde_json::Value), tensors: &[(&str, Tensor)]) -> String {
    let place = tempfile::tempdir().unwrap();
    let source = golden("distilbert");
    let mut config = serde_json::from_slice(&std::fs::read(source.join("config.json")).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(place.path().join("config.json"), config.to_string()).unwrap();
    let mut weights = candle_core::safetensors::load(source.join("model.safetensors"), &Device::Cpu).unwrap();
    for (name, tensor) in tensors {
        assert!(weights.remove(*name).is_some());
        if tensor.elem_count() > 0 {
            weights.insert((*name).to_owned(), tensor.clone());
        }
    }
    candle_core::safetensors::save(&weights, place.path().join("model.safetensors")).unwrap();
    Backbone::load(place.path(), &Device::Cpu).unwrap_err().to_string()
}

#[test]
fn a_distilbert_that_would_be_computed_wrongly_is_refused() {
    let key = |key: &'static str, value: serde_json::Value| distilbert_with(|config| config[key] = value, &[]);
    let zeros = |shape: (usize, usize)| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let lin1 = "distilbert.transformer.layer.1.ffn.lin1.weight";
    let positions = "distilbert.embeddings.position_embeddings.weight";
    let sinusoidal = |config: &mut serde_json::Value| config["sinusoidal_pos_embds"] = true.into();
    let without = |config: &mut serde_json::Value| drop(config.as_object_mut().unwrap().remove("hidden_dim"));
    for (message, file, says) in [
        (key("activation", "mish".into()), "config.json", "activation is \"mish\"; expected one of gelu, "),
        (key("n_heads", 3.into()), "config.json", "dim 16 is not a multiple of n_heads 3"),
        // Sinusoidal positions are read from their table, which every checkpoint has.
        (
            distilbert_with(sinusoidal, &[(positions, zeros((0, 0)))]),
            "model.safetensors",
            &format!("has no tensor {positions}"),
        ),
        (distilbert_with(without, &[]), "config.json", "has no hidden_dim"),
        (distilbert_with(|_| (), &[(lin1, zeros((0, 0)))]), "model.safetensors", &format!("has no tensor {lin1}")),
        (distilbert_with(|_| (), &[(lin1, zeros((3, 4)))]), "model.safetensors", &format!("{lin1} has shape [3, 4]")),
    ] {
        assert!(message.contains(file) && message.contains(says), "{message}");
    }
}

#[test]
fn adapters_are_saved_under_the_names_of_their_family() {
    for model in ["distilbert", "roberta"] {
        let backbone = Backbone::load(&golden(model), &Device::Cpu).unwrap();
        let case = golden(model).join("all-maps");
        let saved = SavedAdapter::load(&case, &backbone, &golden(model), Ok).unwrap();
        let place = tempfile::tempdir().unwrap();
        save_adapter(place.path(), &backbone, &saved.adapters, &saved.head, &saved.posterior, (3, 6.0), model).unwrap();
        let tensors = |folder: &Path| {
            let read = candle_core::safetensors::load(folder.join("adapter_model.safetensors"), &Device::Cpu).unwrap();
            let values = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            read.into_iter().map(|(name, tensor)| (name, values(tensor))).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(tensors(place.path()), tensors(&case));
    }
}

#[test]
fn distilbert_has_no_pooler_to_adapt() {
    let backbone = Backbone::load(&golden("distilbert"), &Device::Cpu).unwrap();
    let error = backbone.slot_shape(pooler_slot(backbone.blocks())).unwrap_err().to_string();
    assert!(error.contains("pooler") && error.contains("a distilbert has none"), "{error}");
}

#[test]
fn configurations_of_other_families_are_named_before_what_they_lack() {
    let place = tempfile::tempdir().unwrap();
    for (config, says) in [
        (r#"{"model_type": "gpt2", "n_embd": 768}"#, "model_type is \"gpt2\"; this backbone supports"),
        (r#"{"model_type": "xlm-roberta-xl"}"#, "supports \"bert\", \"distilbert\", \"roberta\", \"xlm-roberta\", and"),
        (r#"{"hidden_size": 16}"#, "has no model_type; add \"model_type\": \"bert\" or "),
        (r#"{"model_type": "bert"}"#, "missing field"),
    ] {
        std::fs::write(place.path().join("config.json"), config).unwrap();
        let message = Backbone::load(place.path(), &Device::Cpu).unwrap_err().to_string();
        assert!(message.contains("config.json") && message.contains(says), "{message}");
    }
}

#[test]
fn a_tokenizer_with_more_tokens_than_the_model_embeds_is_refused() {
    let tokenizer = Tokenizer::load(&golden("distilbert"), 16).unwrap();
    let backbone = Backbone::load(&golden("distilbert"), &Device::Cpu).unwrap();
    tokenizer.check(backbone.vocabulary()).unwrap();
    let vocab_size = backbone.vocabulary();
    let message = tokenizer.check(vocab_size - 1).unwrap_err().to_string();
    let says = format!("reach {}, but vocab_size in config.json is {}", vocab_size - 1, vocab_size - 1);
    assert!(message.contains("tokenizer.json") && message.contains(&says), "{message}");
}
