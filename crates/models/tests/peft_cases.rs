//! Adapter folders as people have them, against the logits of transformers and PEFT (`golden/peft/expected.json`), or refused by what
//! is wrong with them.
//!
//! The model is the tiny encoder of `golden/tiny`. A folder is either one of `golden/peft`, saved by PEFT, or a copy of
//! `golden/tiny/query-value` with a change.
#![cfg(test)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bayeslora_adapters::Draw;
use bayeslora_models::{Backbone, Packing, SavedAdapter, Tokenizer, classify};
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

/// f32 rounding, and PEFT's decompositions in f32, relative to the largest logit.
const TOLERANCE: f32 = 2e-5;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// The first adapted map.
const QUERY: &str = "base_model.model.bert.encoder.layer.0.attention.self.query";

#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    logits: BTreeMap<String, Vec<Vec<f32>>>,
}

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(path)
}

fn expected() -> Expected {
    serde_json::from_slice(&std::fs::read(golden("peft/expected.json")).unwrap()).unwrap()
}

type Tensors = std::collections::HashMap<String, Tensor>;

/// A copy of `query-value` on which everything can be changed.
struct Changed {
    place: TempDir,
    config: Value,
    tensors: Tensors,
}

impl Changed {
    fn new() -> Self {
        let source = golden("tiny/query-value");
        Self {
            place: tempfile::tempdir().unwrap(),
            config: serde_json::from_slice(&std::fs::read(source.join(CONFIG)).unwrap()).unwrap(),
            tensors: candle_core::safetensors::load(source.join(WEIGHTS), &Device::Cpu).unwrap(),
        }
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    fn without(mut self, key: &str) -> Self {
        self.config.as_object_mut().unwrap().remove(key);
        self
    }

    /// Every tensor's name changed.
    fn renamed(mut self, name: impl Fn(&str) -> String) -> Self {
        self.tensors = self.tensors.into_iter().map(|(key, tensor)| (name(&key), tensor)).collect();
        self
    }

    fn tensor(mut self, name: &str, tensor: Tensor) -> Self {
        self.tensors.insert(name.to_owned(), tensor);
        self
    }

    fn less(mut self, name: &str) -> Self {
        assert!(self.tensors.remove(name).is_some(), "{name}");
        self
    }

    /// The settings as text, for an order of keys that a JSON value does not keep.
    fn write(&self, config: &str) -> &Path {
        let folder = self.place.path();
        std::fs::write(folder.join(CONFIG), config).unwrap();
        candle_core::safetensors::save(&self.tensors, folder.join(WEIGHTS)).unwrap();
        folder
    }

    fn logits(&self) -> Vec<Vec<f32>> {
        logits(self.write(&self.config.to_string())).unwrap()
    }

    fn refusal(&self) -> String {
        logits(self.write(&self.config.to_string())).unwrap_err()
    }
}

/// Logits at the mean, of the four texts.
fn logits(adapter: &Path) -> Result<Vec<Vec<f32>>, String> {
    let model = golden("tiny");
    let (backbone, saved) =
        SavedAdapter::load_with_model(adapter, &model, &Device::Cpu, None, Ok).map_err(|error| error.to_string())?;
    let tokenizer = Tokenizer::load(&model, backbone.longest_text()).unwrap();
    let ids: Vec<Vec<u32>> = expected().texts.iter().map(|text| tokenizer.encode(text).unwrap()).collect();
    let tokens: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let packing = Packing::from_lengths(&ids.iter().map(Vec::len).collect::<Vec<_>>());
    let x = backbone.embed(&tokens).unwrap();
    let output = classify(&backbone, &saved.head, &saved.adapters, Draw::Mean, 0, &x, &packing).unwrap();
    Ok(output.logits.squeeze(0).unwrap().to_vec2().unwrap())
}

fn assert_close(got: &[Vec<f32>], expected: &[Vec<f32>], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.concat().iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (got, expected) in got.concat().iter().zip(expected.concat()) {
        assert!((got - expected).abs() <= TOLERANCE * largest, "{what}: {got} against {expected}");
    }
}

fn assert_is(case: &Changed, name: &str) {
    assert_close(&case.logits(), &expected().logits[name], name);
}

#[test]
fn folders_saved_by_peft_give_its_logits() {
    let Expected { logits: all, .. } = expected();
    for (case, rows) in all.iter().filter(|(case, _)| !case.starts_with("changed: ")) {
        assert_close(&logits(&golden("peft").join(case)).unwrap(), rows, case);
    }
}

#[test]
fn changed_base_tensors_need_an_encoder_of_their_own() {
    let backbone = Backbone::load(&golden("tiny"), &Device::Cpu).unwrap();
    for case in ["bias-all", "embeddings-lora", "tokens", "pooler-saved", "pissa", "key-extra-base-layer"] {
        let folder = golden("peft").join(case);
        let error = SavedAdapter::load(&folder, &backbone, &golden("tiny"), Ok).unwrap_err().to_string();
        assert!(error.contains("changes the model's own weights"), "{case}: {error}");
    }
}

#[test]
fn an_embedding_may_have_more_rows_than_the_models() {
    let model = golden("tiny");
    let folder = golden("peft/embedding-resize");
    let (backbone, _) = SavedAdapter::load_with_model(&folder, &model, &Device::Cpu, None, Ok).unwrap();
    assert_eq!(backbone.vocabulary(), 80);
    // PEFT wants the model resized before; the texts have no new token, so the rows of the old ones decide.
    let tensors = candle_core::safetensors::load(folder.join(WEIGHTS), &Device::Cpu).unwrap();
    let name = "base_model.model.bert.embeddings.word_embeddings.weight";
    let config: Value = serde_json::from_slice(&std::fs::read(folder.join(CONFIG)).unwrap()).unwrap();
    let rows = tensors[name].narrow(0, 0, 77).unwrap().contiguous().unwrap();
    let cut = Changed { config, tensors, ..Changed::new() }.tensor(name, rows);
    assert_close(&logits(&folder).unwrap(), &cut.logits(), "resized");
}

#[test]
fn nulls_and_keys_left_out_are_pefts_defaults() {
    let plain = "changed: nothing";
    assert_is(&Changed::new(), plain);
    for key in [
        "lora_alpha",
        "alpha_pattern",
        "use_rslora",
        "fan_in_fan_out",
        "bias",
        "init_lora_weights",
        "layers_to_transform",
    ] {
        assert_is(&Changed::new().without(key), plain);
        assert_is(&Changed::new().with(key, Value::Null), plain);
    }
    let ranks = json!({"query": 4, "value": 4});
    assert_is(&Changed::new().without("r").with("rank_pattern", ranks), plain);
    for (key, value) in [("fan_in_fan_out", json!(true)), ("init_lora_weights", json!("gaussian")), ("r", json!(4.0))] {
        assert_is(&Changed::new().with(key, value), plain);
    }
}

#[test]
fn the_first_pattern_of_the_file_that_matches_counts() {
    for (case, pattern) in [
        ("alpha-pattern-order", r#"{"query": 32, "layer.1.attention.self.query": 2}"#),
        ("alpha-pattern-dot-any", r#"{"self.quer.": 32}"#),
        ("alpha-pattern-regex", r#"{"layer\\.[01]\\.attention\\.self\\.query": 32}"#),
    ] {
        let changed = Changed::new().with("alpha_pattern", json!("here"));
        let config = changed.config.to_string().replace("\"here\"", pattern);
        let got = logits(changed.write(&config)).unwrap();
        assert_close(&got, &expected().logits[&format!("changed: {case}")], case);
    }
}

#[test]
fn initialisations_that_the_weights_decide_are_repeated() {
    assert_is(&Changed::new().with("init_lora_weights", json!("pissa")), "changed: pissa");
    assert_is(&Changed::new().with("init_lora_weights", json!("olora")), "changed: olora");
    assert_is(&Changed::new().with("init_lora_weights", json!("OLoRA")), "changed: olora");
}

#[test]
fn names_of_other_tools_are_read() {
    let plain = "changed: nothing";
    let infix = |adapter: &'static str| {
        move |key: &str| {
            key.replace("lora_A.", &format!("lora_A.{adapter}.")).replace("lora_B.", &format!("lora_B.{adapter}."))
        }
    };
    assert_is(&Changed::new().renamed(infix("default")), plain);
    assert_is(&Changed::new().renamed(infix("sst2")), plain);
    assert_is(&Changed::new().renamed(|key| format!("module.{key}")), plain);
    assert_is(&Changed::new().renamed(|key| format!("_orig_mod.{key}")), plain);
    assert_is(&Changed::new().renamed(|key| key.replace("base_model.model.", "")), plain);
    assert_is(&Changed::new().renamed(|key| key.replace("classifier.", "classifier.modules_to_save.default.")), plain);
}

/// With `bias="all"` PEFT saves the biases of every adapter's copies, under the adapter's name, beside the tensors of the one saved.
#[test]
fn trained_copies_under_the_name_of_an_adapter_are_read() {
    let plain = "changed: nothing";
    let bias = "base_model.model.classifier.bias";
    let copy = |name: &str| format!("base_model.model.classifier.modules_to_save.{name}.bias");
    let saved = || {
        let tensor = Changed::new().tensors[bias].clone();
        (
            Changed::new().tensor("base_model.model.classifier.original_module.bias", tensor.zeros_like().unwrap()),
            tensor,
        )
    };
    let (case, tensor) = saved();
    assert_is(&case.tensor(&copy("mine"), tensor), plain);
    let (case, tensor) = saved();
    assert_is(&case.less(bias).tensor(&copy("mine"), tensor), plain);
    let (case, tensor) = saved();
    assert_is(&case.tensor(&copy("mine"), tensor.clone()).tensor(&copy("other"), tensor), plain);
    let (case, tensor) = saved();
    let message = case.less(bias).tensor(&copy("mine"), tensor.clone()).tensor(&copy("other"), tensor).refusal();
    assert!(message.contains("are both there; expected one tensor of classifier.bias"), "{message}");
}

#[test]
fn targets_are_names_expressions_or_all_linear_maps() {
    let plain = "changed: nothing";
    for targets in [json!(r".*\.(query|value)"), json!(["attention.self.query", "self.value"])] {
        assert_is(&Changed::new().with("target_modules", targets), plain);
    }
    for (key, value, says) in [
        ("target_modules", json!(["query"]), "which the settings do not target"),
        ("exclude_modules", json!(["value"]), "which the settings do not target"),
        ("layers_to_transform", json!([0, 1]), "has lora_A and lora_B of bert.encoder.layer.2"),
        (
            "target_modules",
            json!(["query", "key", "value"]),
            "has no lora_A and lora_B of bert.encoder.layer.0.attention.self.key",
        ),
        ("target_modules", json!("all-linear"), "has no lora_A and lora_B of"),
    ] {
        let message = Changed::new().with(key, value).refusal();
        assert!(message.contains(WEIGHTS) && message.contains(says), "{message}");
    }
}

#[test]
fn settings_that_would_be_computed_wrongly_are_refused_by_key_and_value() {
    for (key, value, says) in [
        ("peft_type", json!("IA3"), "peft_type \"IA3\" is not supported"),
        ("peft_type", Value::Null, "has no peft_type"),
        ("use_dora", json!(true), "use_dora true is not supported"),
        ("alora_invocation_tokens", json!([5, 6]), "alora_invocation_tokens [5,6] is not supported"),
        ("layer_replication", json!([[0, 2]]), "layer_replication [[0,2]] is not supported"),
        ("use_new_thing", json!(true), "the unknown setting use_new_thing true is not supported"),
        ("init_lora_weights", json!("pissa_niter_16"), "init_lora_weights \"pissa_niter_16\" is not supported"),
        ("init_lora_weights", json!("corda"), "init_lora_weights \"corda\" is not supported"),
        ("init_lora_weights", json!("loftq"), "init_lora_weights \"loftq\" is not supported"),
        ("task_type", json!("TOKEN_CLS"), "task_type is \"TOKEN_CLS\"; expected \"SEQ_CLS\" (classes of a text)"),
        ("lora_alpha", json!(1e38), "lora_alpha is 1e+38; expected a number of ordinary size"),
        ("r", json!(0), "r is 0; expected a rank of at least 1"),
        ("lora_dropout", json!(1.0), "lora_dropout is 1.0; expected a probability p"),
        ("bias", json!("some"), "bias is \"some\"; expected \"none\", \"all\" or \"lora_only\""),
        ("alpha_pattern", json!({"quer(y": 2}), "alpha_pattern: `quer(y` is not a regular expression"),
        ("rank_pattern", json!({"query": null}), "rank_pattern[\"query\"] is null; expected a rank"),
    ] {
        let message = Changed::new().with(key, value).refusal();
        assert!(message.contains(CONFIG) && message.contains(says), "{message}");
    }
    // A key that is switched off changes nothing.
    assert_is(&Changed::new().with("task_type", json!("FEATURE_EXTRACTION")), "changed: nothing");
    assert_is(&Changed::new().with("use_new_thing", json!(false)).with("new_config", json!({})), "changed: nothing");
}

#[test]
fn tensors_that_do_not_fit_are_refused_by_file_and_name() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let a = format!("{QUERY}.lora_A.weight");
    let b = format!("{QUERY}.lora_B.weight");
    let classifier = |suffix: &str| format!("base_model.model.classifier.{suffix}");
    let with = |name: &str, tensor: Tensor| Changed::new().tensor(name, tensor);
    for (changed, says) in [
        (with(&b, zeros(&[32, 3])), "lora_B of bert.encoder.layer.0.attention.self.query has rank 3"),
        (with(&a, zeros(&[])), "lora_A of bert.encoder.layer.0.attention.self.query has shape []"),
        (with(&a, zeros(&[4, 31])), "attention.self.query: lora_A of block 0 query has shape [4, 31]"),
        (with(&a, zeros(&[4, 32]).to_dtype(DType::U8).unwrap()), "lora_A.weight has dtype U8"),
        (with(&a, (zeros(&[4, 32]) + f64::NAN).unwrap()), "lora_A.weight [4, 32] has the value NaN at entry 0"),
        (with(&classifier("weight"), (zeros(&[2, 32]) + 3e38).unwrap()), "has the value 3e38 at entry 0"),
        (
            with(&a, (zeros(&[4, 32]) + 1e17).unwrap()).with("lora_alpha", json!(1e4)),
            "the increment of bert.encoder.layer.0.attention.self.query reaches",
        ),
        (Changed::new().less(&b), "has no lora_B of bert.encoder.layer.0.attention.self.query"),
        (Changed::new().less(&classifier("bias")), "has classifier.weight without classifier.bias"),
        (
            with(&classifier("weight"), zeros(&[1, 32])).tensor(&classifier("bias"), zeros(&[1])),
            "classifier.weight has one output, as of a regression",
        ),
        (
            with(&classifier("weight"), zeros(&[0, 32])).tensor(&classifier("bias"), zeros(&[0])),
            "classifier.weight has no rows",
        ),
        (with("base_model.model.bert.new.weight", zeros(&[2])), "saves bert.new.weight whole"),
        (with("base_model.model.bert.pooler.dense.bias", zeros(&[3])), "dense.bias has shape [3]"),
        (with(&format!("{QUERY}.lora_magnitude_vector"), zeros(&[32])), "is a tensor of DoRA"),
        (with(&format!("{QUERY}.lora_B.bias"), zeros(&[32])), "but lora_bias is false"),
        (
            with("base_model.model.classifier.lora_A.weight", zeros(&[4, 32]))
                .tensor("base_model.model.classifier.lora_B.weight", zeros(&[2, 4])),
            "has LoRA on the classification head (classifier)",
        ),
        (Changed::new().renamed(|key| format!("model.{key}")), "begins with `model.`"),
        (Changed::new().with("modules_to_save", json!(["classifier", "pooler"])), "has no pooler.dense.weight"),
        (
            Changed::new().with("trainable_token_indices", json!([3])),
            "has no trained rows of embeddings.word_embeddings",
        ),
    ] {
        let message = logits(changed.write(&changed.config.to_string())).expect_err(says);
        assert!(message.contains(WEIGHTS) && message.contains(says), "{message}");
    }
}

#[test]
fn a_bias_on_b_is_added_at_its_scale() {
    let bias = Tensor::arange(0_f32, 32.0, &Device::Cpu).unwrap().affine(0.01, 0.0).unwrap();
    let mut changed = Changed::new().with("lora_bias", json!(true));
    let names: Vec<String> =
        changed.tensors.keys().filter_map(|key| key.strip_suffix(".lora_B.weight").map(str::to_owned)).collect();
    // The same as a bias of the model's own that is larger by `s = 2` times it.
    let mut direct = Changed::new();
    let model = candle_core::safetensors::load(golden("tiny/model.safetensors"), &Device::Cpu).unwrap();
    for module in names {
        changed = changed.tensor(&format!("{module}.lora_B.bias"), bias.clone());
        let path = format!("{}.bias", module.trim_start_matches("base_model.model."));
        let own = model.get(&path).unwrap_or_else(|| &model[path.trim_start_matches("bert.")]);
        let sum = (own + bias.affine(2.0, 0.0).unwrap()).unwrap();
        direct = direct.tensor(&format!("{module}.base_layer.bias"), sum);
    }
    assert_close(&changed.logits(), &direct.logits(), "bias on B");
    let difference = changed.logits()[0][0] - Changed::new().logits()[0][0];
    assert!(difference.abs() > 1e-3, "the bias changes nothing");
}

#[test]
fn folders_without_an_adapter_say_what_is_there() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("adapter");
    let refused = || logits(&folder).unwrap_err();
    let says = |message: String, parts: &[&str]| {
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    };
    says(refused(), &["adapter: no such folder", "hf download"]);
    std::fs::create_dir(&folder).unwrap();
    says(refused(), &["has no adapter_config.json (the folder is empty)"]);
    std::fs::write(folder.join(CONFIG), "not JSON").unwrap();
    says(refused(), &[CONFIG, "not the settings of an adapter"]);
    std::fs::copy(golden("tiny/query-value").join(CONFIG), folder.join(CONFIG)).unwrap();
    says(refused(), &[WEIGHTS, "not found (the folder holds adapter_config.json)"]);
    std::fs::write(folder.join("adapter_model.bin"), "").unwrap();
    says(refused(), &[WEIGHTS, "only adapter_model.bin", "python -c", "save_file"]);
    std::fs::write(folder.join(WEIGHTS), "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n").unwrap();
    says(refused(), &[WEIGHTS, "pointer of Git LFS", "git lfs pull"]);
    std::fs::write(folder.join(WEIGHTS), "short").unwrap();
    says(refused(), &[WEIGHTS, "not a complete safetensors file"]);
    let file = folder.join(CONFIG);
    says(logits(&file).unwrap_err(), &["is a file; expected the folder"]);
}
