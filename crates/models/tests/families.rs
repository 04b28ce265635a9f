//! What sets families apart, against transformers and PEFT (`golden/generate_roberta.py`): pairs of texts, padding tokens within a text, texts
//! longer than the positions, activations, and the files that people have of RoBERTa.
#![cfg(test)]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use bayeslora_adapters::Draw;
use bayeslora_models::{Backbone, Encoded, Hidden, Packing, Sampler, Samples, SavedAdapter, Tokenizer, classify};
use candle_core::{D, Device, Tensor};
use serde::Deserialize;

/// f32 rounding, relative to the largest logit.
const TOLERANCE: f32 = 2e-5;

const WEIGHTS: &str = "adapter_model.safetensors";

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(path)
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn assert_close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let furthest = got.iter().zip(expected).fold(0.0_f32, |furthest, (a, b)| furthest.max((a - b).abs()));
    println!("{what}: furthest {furthest:e}, largest {largest}");
    assert!(furthest <= TOLERANCE * largest, "{what}: {got:?} against {expected:?}");
}

/// An item of `more.json`.
#[derive(Deserialize)]
struct Item {
    text: String,
    second: Option<String>,
    ids: Vec<u32>,
    truncated: bool,
    logits: Vec<f32>,
}

/// Logits of encoded texts: as training computes them, and in the code that samples.
fn both_logits(backbone: &Backbone, saved: &SavedAdapter, texts: &[Encoded]) -> [Vec<f32>; 2] {
    let lengths: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
    let x = backbone.embed_encoded(texts).unwrap();
    let packing = Packing::from_lengths(&lengths);
    let slow = classify(backbone, &saved.head, &saved.adapters, Draw::Mean, 0, &x, &packing).unwrap().logits;
    let values = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let examples: Vec<u64> = (0..).take(texts.len()).collect();
    let hidden = Hidden { values: (&values).into(), lengths: &lengths, examples: &examples };
    let sampler = Sampler { backbone, head: &saved.head, adapters: &saved.adapters, from: 0 };
    [slow.flatten_all().unwrap().to_vec1().unwrap(), sampler.logits(hidden, &Samples::Mean, &|_| ()).unwrap()]
}

#[test]
fn pairs_padding_within_texts_and_long_texts_are_read_as_transformers_reads_them() {
    for (model, texts, longest) in
        [("roberta", "roberta", 24), ("xlm-roberta", "xlm-roberta", 24), ("tiny", "pairs", 24)]
    {
        let backbone = Backbone::load(&golden(model), &Device::Cpu).unwrap();
        let saved = SavedAdapter::load(&golden(model).join("query-value"), &backbone, &golden(model), Ok).unwrap();
        let tokenizer = Tokenizer::load(&golden(texts), longest).unwrap();
        tokenizer.check(backbone.vocabulary()).unwrap();
        let items: Vec<Item> = json(&golden(texts).join("more.json"));
        let encode = |item: &Item| tokenizer.encode_text(&item.text, item.second.as_deref()).unwrap();
        let encoded: Vec<Encoded> = items.iter().map(encode).collect();
        for (encoded, item) in encoded.iter().zip(&items) {
            assert_eq!((&encoded.ids, encoded.truncated), (&item.ids, item.truncated), "{texts}: {:?}", item.text);
        }
        let expected: Vec<f32> = items.iter().flat_map(|item| item.logits.clone()).collect();
        for logits in both_logits(&backbone, &saved, &encoded) {
            assert_close(&logits, &expected, texts);
        }
        assert!(items.iter().any(|item| item.truncated) && items.iter().any(|item| item.second.is_some()));
        if model == "tiny" {
            // Segments count here: without them the logits are others.
            let alone = |text: &Encoded| Encoded { segments: vec![0; text.ids.len()], ..text.clone() };
            let [other, _] = both_logits(&backbone, &saved, &encoded.iter().map(alone).collect::<Vec<_>>());
            assert!(other.iter().zip(&expected).any(|(a, b)| (a - b).abs() > 1e-2));
        } else {
            // And here they do not, even where a tokenizer gives some.
            let second = |text: &Encoded| Encoded { segments: vec![1; text.ids.len()], ..text.clone() };
            let [other, _] = both_logits(&backbone, &saved, &encoded.iter().map(second).collect::<Vec<_>>());
            assert_close(&other, &expected, "segments that RoBERTa does not read");
            assert!(items.iter().any(|item| item.ids.iter().filter(|&&id| id == 1).count() > 2));
        }
    }
}

#[test]
fn a_text_longer_than_the_positions_after_the_padding_token_is_refused() {
    let backbone = Backbone::load(&golden("roberta"), &Device::Cpu).unwrap();
    let ids = [5; 25];
    backbone.embed(&[&ids[..24]]).unwrap();
    let message = backbone.embed(&[&ids]).unwrap_err().to_string();
    assert!(message.contains("no position 24; texts are at most 24 tokens long"), "{message}");
}

/// A golden model, or an adapter of one, with another configuration or other tensors.
fn copy(
    from: &Path,
    file: &str,
    change: impl FnOnce(HashMap<String, Tensor>) -> HashMap<String, Tensor>,
) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        std::fs::copy(&entry, place.path().join(entry.file_name().unwrap())).unwrap();
    }
    let tensors = change(candle_core::safetensors::load(from.join(file), &Device::Cpu).unwrap());
    std::fs::write(place.path().join(file), "").unwrap();
    candle_core::safetensors::save(&tensors, place.path().join(file)).unwrap();
    place
}

/// The texts of a golden file, in token numbers.
#[derive(Deserialize)]
struct Expected {
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    ids: Vec<u32>,
}

/// Logits of `roberta`'s own texts.
fn logits(backbone: &Backbone, saved: &SavedAdapter) -> Vec<f32> {
    let Expected { sentences } = json(&golden("roberta/expected.json"));
    let encoded = |Sentence { ids }| Encoded { segments: vec![0; ids.len()], ids, truncated: false };
    let [logits, _] = both_logits(backbone, saved, &sentences.into_iter().map(encoded).collect::<Vec<_>>());
    logits
}

fn roberta_logits(model: &Path, adapter: &Path) -> Result<Vec<f32>, String> {
    let (backbone, saved) =
        SavedAdapter::load_with_model(adapter, model, &Device::Cpu, None, Ok).map_err(|error| error.to_string())?;
    Ok(logits(&backbone, &saved))
}

#[test]
fn a_checkpoint_of_the_encoder_alone_has_no_prefix_and_a_pooler_that_is_not_read() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
    let bare = copy(&golden("roberta"), "model.safetensors", |tensors| {
        let encoder =
            tensors.into_iter().filter_map(|(name, tensor)| Some((name.strip_prefix("roberta.")?.to_owned(), tensor)));
        let pooler = [("pooler.dense.weight", zeros(&[32, 32])), ("pooler.dense.bias", zeros(&[32]))];
        encoder.chain(pooler.map(|(name, tensor)| (name.to_owned(), tensor))).collect()
    });
    let adapter = golden("roberta/query-value");
    let expected: Vec<Vec<f32>> = json(&adapter.join("expected.json"));
    assert_close(&roberta_logits(bare.path(), &adapter).unwrap(), &expected.concat(), "no prefix");
    // The head is in neither place.
    let message = roberta_logits(bare.path(), &golden("roberta/head-in-checkpoint")).unwrap_err();
    let says = [
        "classifier.out_proj.weight and classifier.out_proj.bias and classifier.dense.weight",
        "modules_to_save=[\"classifier\"]",
    ];
    assert!(says.iter().all(|part| message.contains(part)), "{message}");
}

#[test]
fn heads_of_roberta_are_read_under_the_names_that_peft_gives_them() {
    let adapter = golden("roberta/query-value");
    let expected: Vec<Vec<f32>> = json(&adapter.join("expected.json"));
    let changed = |change: &dyn Fn(&str) -> Option<String>| {
        let place = copy(&adapter, WEIGHTS, |tensors| {
            tensors.into_iter().filter_map(|(name, tensor)| Some((change(&name)?, tensor))).collect()
        });
        roberta_logits(&golden("roberta"), place.path())
    };
    for infix in ["modules_to_save.default", "modules_to_save"] {
        let named = |name: &str| Some(name.replace("classifier.", &format!("classifier.{infix}.")));
        assert_close(&changed(&named).unwrap(), &expected.concat(), infix);
    }
    for (left_out, says) in [
        ("dense.bias", "without classifier.dense.bias; save the whole head"),
        ("out_proj.weight", "without classifier.out_proj.weight; save the whole head"),
    ] {
        let without = |name: &str| (!name.ends_with(&format!("classifier.{left_out}"))).then(|| name.to_owned());
        let message = changed(&without).unwrap_err();
        assert!(message.contains(WEIGHTS) && message.contains(says), "{message}");
    }
    let of_bert = |name: &str| Some(name.replace("classifier.out_proj.", "classifier."));
    let message = changed(&of_bert).unwrap_err();
    assert!(message.contains("is of no head of a roberta; is this its base model?"), "{message}");
    let lora = |name: &str| Some(name.replace("roberta.encoder.layer.1.attention.self.query", "classifier.dense"));
    let message = changed(&lora).unwrap_err();
    assert!(
        message.contains("head (classifier.dense)") && message.contains("modules_to_save=[\"classifier\"]"),
        "{message}"
    );
}

/// Logits and one gradient under an activation.
#[derive(Deserialize)]
struct Activated {
    logits: Vec<Vec<f32>>,
    gradient: Vec<f32>,
}

#[test]
fn every_activation_is_that_of_transformers() {
    let all: BTreeMap<String, Activated> = json(&golden("activations.json"));
    assert_eq!(all.len(), 12);
    let Expected { sentences } = json(&golden("tiny/expected.json"));
    let encoded = |Sentence { ids }| Encoded { segments: vec![0; ids.len()], ids, truncated: false };
    let texts: Vec<Encoded> = sentences.into_iter().take(4).map(encoded).collect();
    let place = copy(&golden("tiny"), "model.safetensors", |tensors| tensors);
    for (name, Activated { logits, gradient }) in all {
        let mut config: serde_json::Value = json(&golden("tiny/config.json"));
        config["hidden_act"] = name.clone().into();
        std::fs::write(place.path().join("config.json"), config.to_string()).unwrap();
        let backbone = Backbone::load(place.path(), &Device::Cpu).unwrap();
        let saved = SavedAdapter::load(&golden("tiny/query-value"), &backbone, place.path(), Ok).unwrap();
        for found in both_logits(&backbone, &saved, &texts) {
            assert_close(&found, &logits.concat(), &name);
        }
        let x = backbone.embed_encoded(&texts).unwrap();
        let packing = Packing::from_lengths(&texts.iter().map(|text| text.ids.len()).collect::<Vec<_>>());
        let found = classify(&backbone, &saved.head, &saved.adapters, Draw::Mean, 0, &x, &packing).unwrap();
        let found = found.logits.squeeze(0).unwrap();
        let labels = Tensor::new(&[[0_u32], [1], [0], [1]], &Device::Cpu).unwrap();
        let normaliser = found.exp().unwrap().sum_keepdim(D::Minus1).unwrap().log().unwrap();
        let loss = (normaliser - found.gather(&labels, 1).unwrap()).unwrap().mean_all().unwrap();
        let store = loss.backward().unwrap();
        let query = saved.adapters.parameters().find(|(slot, parameter)| {
            backbone.module_path(*slot).ends_with("layer.0.attention.self.query") && parameter.name == "lora_B.weight"
        });
        let found = store.get(query.unwrap().1.var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_close(&found, &gradient, &format!("gradient under {name}"));
    }
}
