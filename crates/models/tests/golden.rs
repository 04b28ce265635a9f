//! The encoder, its tokenizer and PEFT adapters against transformers and PEFT (`golden/generate.py`), on a tiny random
//! encoder in the tree. The same on the real backbone is a test of the compare crate, which knows how to get it.
#![cfg(test)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bayeslora_adapters::{AdapterSet, Draw};
use bayeslora_models::{Bert, Packing, Pass, SavedAdapter, Tokenizer, classify, module_path};
use candle_core::{D, Device, Tensor, Var};
use serde::Deserialize;

/// f32 rounding over three blocks of unusually large weights, relative to the largest value; the bar is 1e-4.
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

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny")
}

fn expected() -> Expected {
    serde_json::from_slice(&std::fs::read(golden().join("expected.json")).unwrap()).unwrap()
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
    let bert = Bert::load(&golden(), &Device::Cpu).unwrap();
    let tokenizer = Tokenizer::load(&golden(), 160).unwrap();
    let Expected { texts, sentences } = expected();
    let none = AdapterSet::new();
    // All sentences packed into one batch: none may see another.
    let ids: Vec<Vec<u32>> = texts.iter().map(|text| tokenizer.encode(text).unwrap()).collect();
    let tokens: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let packing = Packing::from_lengths(&ids.iter().map(Vec::len).collect::<Vec<_>>());
    let mut pass = Pass::new(&none, Draw::Mean);
    let mut x = bert.embed(&tokens).unwrap();
    for layer in 0..=bert.blocks() {
        if layer > 0 {
            x = bert.run_blocks(layer - 1..layer, &x, &packing, &mut pass).unwrap();
        }
        for (number, (rows, sentence)) in packing.sentences().zip(&sentences).enumerate() {
            assert_eq!(ids[number], sentence.ids, "tokens of {:?}", texts[number]);
            let own = x.narrow(1, rows.start, rows.len()).unwrap();
            assert_close(&own, &sentence.hidden[layer], &format!("layer {layer} of sentence {number}"));
        }
    }
    let x = bert.embed(&tokens).unwrap();
    let first = bert.first_tokens(0, &x, &packing, &mut pass).unwrap();
    let pooled = bert.pool(&first, &mut pass).unwrap();
    let all: Vec<f32> = sentences.iter().flat_map(|sentence| sentence.pooled.clone()).collect();
    assert_close(&pooled, &all, "pooled");
}

#[test]
fn peft_adapters_give_the_logits_of_pytorch() {
    let bert = Bert::load(&golden(), &Device::Cpu).unwrap();
    let ids: Vec<Vec<u32>> = expected().sentences.into_iter().map(|sentence| sentence.ids).collect();
    let tokens: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let packing = Packing::from_lengths(&ids.iter().map(Vec::len).collect::<Vec<_>>());
    for case in ["query-value", "dense", "one-block", "rslora", "patterns", "head-beside"] {
        let folder = golden().join(case);
        let saved = SavedAdapter::load(&folder, &bert, &golden(), Ok).unwrap();
        let x = bert.embed(&tokens).unwrap();
        let output = classify(&bert, &saved.head, &saved.adapters, Draw::Mean, 0, &x, &packing).unwrap();
        let logits: Vec<Vec<f32>> =
            serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
        assert_close(&output.logits, &logits.concat(), case);
        // Without the adapter they differ: the comparison above can fail.
        let bare = classify(&bert, &saved.head, &AdapterSet::new(), Draw::Mean, 0, &x, &packing).unwrap();
        let difference = (bare.logits - &output.logits).unwrap().abs().unwrap().flatten_all().unwrap();
        assert!(difference.max(0).unwrap().to_scalar::<f32>().unwrap() > 1e-2, "{case} changes nothing");
    }
}

#[test]
fn gradients_are_those_of_pytorch() {
    let bert = Bert::load(&golden(), &Device::Cpu).unwrap();
    let ids: Vec<Vec<u32>> = expected().sentences.into_iter().map(|sentence| sentence.ids).collect();
    let tokens: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let packing = Packing::from_lengths(&ids.iter().map(Vec::len).collect::<Vec<_>>());
    for case in ["query-value", "dense", "one-block"] {
        let folder = golden().join(case);
        let saved = SavedAdapter::load(&folder, &bert, &golden(), Ok).unwrap();
        let x = bert.embed(&tokens).unwrap();
        let output = classify(&bert, &saved.head, &saved.adapters, Draw::Mean, 0, &x, &packing).unwrap();
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
            .map(|(slot, parameter)| (format!("bert.{}.{}", module_path(slot), parameter.name), parameter.var))
            .collect();
        trained.insert("classifier.weight".to_owned(), &saved.head.weight);
        trained.insert("classifier.bias".to_owned(), &saved.head.bias);
        let golden = candle_core::safetensors::load(folder.join("gradients.safetensors"), &Device::Cpu).unwrap();
        assert!(trained.keys().eq(golden.keys().collect::<std::collections::BTreeSet<_>>()), "{case}");
        for (name, var) in trained {
            let expected = golden[&name].flatten_all().unwrap().to_vec1().unwrap();
            assert_close(gradients.get(var).unwrap(), &expected, &format!("{case}: gradient of {name}"));
        }
    }
}

#[test]
fn adapters_that_would_be_computed_wrongly_are_refused() {
    let bert = Bert::load(&golden(), &Device::Cpu).unwrap();
    for (case, feature) in [("dora", "use_dora is not supported"), ("bias", "bias \"lora_only\" is not supported")] {
        let error = SavedAdapter::load(&golden().join(case), &bert, &golden(), Ok).unwrap_err().to_string();
        assert!(error.contains(feature), "{case}: {error}");
    }
}
