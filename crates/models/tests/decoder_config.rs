//! Configurations of decoders against what transformers builds from them (`golden/generate_decoders.py`), and what is refused.
#![cfg(test)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bayeslora_models::{DecoderConfig, Family};
use candle_core::DType;
use serde::Deserialize;
use serde_json::{Value, json};

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decoders").join(path)
}

fn read(keys: &Value) -> Result<DecoderConfig, String> {
    let bytes = serde_json::to_vec(keys).unwrap();
    DecoderConfig::from_json(Path::new("config.json"), &bytes).map_err(|error| error.to_string())
}

/// A configuration, and the model that transformers builds from it.
#[derive(Deserialize)]
struct Case {
    name: String,
    config: Value,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    max_positions: usize,
    windows: Vec<Option<usize>>,
    rope_of_block: Vec<usize>,
    ropes: Vec<ExpectedRope>,
    attention_scale: f64,
    attention_softcap: Option<f64>,
    final_softcap: Option<f64>,
    epsilon: f64,
    norm_plus_one: bool,
    tied: bool,
    activation: String,
    embedding_scale: Option<f64>,
    pad: Option<u32>,
    bos: Option<u32>,
    eos: Vec<u32>,
    /// Of the second block, and of what is in no block.
    #[serde(default)]
    shapes: BTreeMap<String, Vec<usize>>,
}

#[derive(Deserialize)]
struct ExpectedRope {
    inverse_frequencies: Vec<f64>,
    attention_factor: f64,
}

fn cases() -> Vec<Case> {
    serde_json::from_slice(&std::fs::read(golden("cases.json")).unwrap()).unwrap()
}

#[test]
fn configurations_are_read_as_transformers_reads_them() {
    let cases = cases();
    assert!(cases.len() > 35, "{}", cases.len());
    for Case { name, config, expected } in cases {
        let got = read(&config).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        let sizes = [
            (got.vocab_size, expected.vocab_size),
            (got.hidden_size, expected.hidden_size),
            (got.intermediate_size, expected.intermediate_size),
            (got.heads, expected.heads),
            (got.kv_heads, expected.kv_heads),
            (got.head_dim, expected.head_dim),
            (got.max_positions, expected.max_positions),
        ];
        assert!(sizes.iter().all(|(got, expected)| got == expected), "{name}: {sizes:?}");
        let windows: Vec<_> = got.blocks.iter().map(|block| block.window).collect();
        assert_eq!(windows, expected.windows, "{name}");
        assert_eq!(got.blocks.iter().map(|block| block.rope).collect::<Vec<_>>(), expected.rope_of_block, "{name}");
        assert!((got.attention_scale - expected.attention_scale).abs() < 1e-12, "{name}: {}", got.attention_scale);
        assert_eq!((got.attention_softcap, got.final_softcap), (expected.attention_softcap, expected.final_softcap));
        assert!((got.epsilon - expected.epsilon).abs() < 1e-15, "{name}: {}", got.epsilon);
        assert_eq!((got.norm_plus_one, got.tied), (expected.norm_plus_one, expected.tied), "{name}");
        let [activation, own] =
            [&expected.activation, &format!("{:?}", got.activation)].map(|name| name.to_lowercase());
        assert_eq!(activation.trim_end_matches("activation"), own, "{name}");
        let scales = (got.embedding_scale.unwrap_or(1.0), expected.embedding_scale.unwrap_or(1.0));
        assert!((scales.0 - scales.1).abs() < 1e-12 && got.embedding_scale.is_some() == expected.norm_plus_one);
        let tokens = (got.pad_token_id, got.bos_token_id, got.eos_token_ids.clone());
        assert_eq!(tokens, (expected.pad, expected.bos, expected.eos.clone()), "{name}");
        assert_eq!(got.ropes.len(), expected.ropes.len(), "{name}");
        for (got, expected) in got.ropes.iter().zip(&expected.ropes) {
            assert!((got.attention_factor - expected.attention_factor).abs() < 1e-12, "{name}: {got:?}");
            assert_eq!(got.inverse_frequencies.len(), expected.inverse_frequencies.len(), "{name}");
            // transformers computes them in f32.
            for (got, expected) in got.inverse_frequencies.iter().zip(&expected.inverse_frequencies) {
                assert!((got - expected).abs() <= 1e-6 * expected, "{name}: {got} against {expected}");
            }
        }
        if !expected.shapes.is_empty() {
            let is_told = |name: &str| !name.contains(".layers.") || name.contains(".layers.1.");
            let own = got.parameters().into_iter().filter(|(name, _)| is_told(name)).collect::<BTreeMap<_, _>>();
            assert_eq!(own, expected.shapes, "{name}");
        }
    }
}

#[test]
fn both_spellings_of_every_family_are_one_description() {
    for (name, family, dtype) in [
        ("llama3", "Llama", DType::F32),
        ("llama_plain", "Llama", DType::F32),
        ("mistral", "Mistral", DType::BF16),
        ("qwen2", "Qwen2", DType::BF16),
        ("qwen3", "Qwen3", DType::F32),
        ("gemma2", "Gemma 2", DType::F32),
        ("gemma3", "Gemma 3", DType::F32),
    ] {
        let [newer, older] = ["config.json", "config_v4.json"].map(|file| {
            let path = golden(name).join(file);
            DecoderConfig::from_json(&path, &std::fs::read(&path).unwrap()).unwrap()
        });
        assert_eq!(newer, older, "{name}");
        assert_eq!((newer.family.name, newer.stored_dtype), (family, Some(dtype)), "{name}");
        assert_eq!(DecoderConfig::load(&golden(name)).unwrap(), newer, "{name}");
    }
}

/// The smallest configuration of a family, with more keys.
fn small(kind: &str, more: &Value) -> Value {
    let mut keys = json!({"model_type": kind, "vocab_size": 9, "hidden_size": 32, "intermediate_size": 8, "num_hidden_layers": 3,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64});
    keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    keys
}

#[test]
fn a_longer_text_is_reached_by_slower_turns_as_it_was_published() {
    // arXiv 2407.21783 and Meta's code: wavelengths above 8192 are 8 times as long, those below 2048 are as they were.
    let scaling = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192});
    let config = read(&small("llama", &json!({"head_dim": 128, "rope_theta": 5e5, "rope_scaling": scaling}))).unwrap();
    for (pair, got) in config.ropes[0].inverse_frequencies.iter().enumerate() {
        let plain = 1.0 / 5e5_f64.powf(pair as f64 / 64.0);
        let wavelength = 2.0 * std::f64::consts::PI / plain;
        let expected = if wavelength < 2048.0 {
            plain
        } else if wavelength > 8192.0 {
            plain / 8.0
        } else {
            let smooth = (8192.0 / wavelength - 1.0) / 3.0;
            (1.0 - smooth) * plain / 8.0 + smooth * plain
        };
        assert!((got - expected).abs() <= 1e-14 * expected, "{pair}: {got} against {expected}");
    }
}

/// Every configuration is refused with what it says.
fn assert_refused(cases: &[(Value, &str)]) {
    for (keys, expected) in cases {
        let message = read(keys).unwrap_err();
        assert!(message.starts_with("config.json: ") && message.contains(expected), "{message}\n{expected}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn positions_that_are_not_read_are_refused_with_their_key_and_value() {
    let rope = |rope: Value| small("llama", &json!({"rope_scaling": rope}));
    assert_refused(&[
        (small("llama", &json!({"partial_rotary_factor": 0.5})), "partial_rotary_factor is 0.5; expected 1"),
        (
            small("llama", &json!({"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.25}})),
            "rope_parameters.partial_rotary_factor is 0.25; expected 1",
        ),
        (
            rope(json!({"rope_type": "longrope", "factor": 2.0})),
            "rope_scaling.rope_type is \"longrope\"; expected \"default\", \"linear\", \"dynamic\", \"llama3\" or \"yarn\"",
        ),
        (rope(json!({"type": "su"})), "rope_scaling.type is \"su\"; expected \"default\""),
        (rope(json!({"type": "linear"})), "has no rope_scaling.factor; add it"),
        (rope(json!({"type": "linear", "factor": 0})), "rope_scaling.factor is 0; expected a number above 0"),
        (
            rope(json!({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1})),
            "rope_scaling.high_freq_factor is 1; expected more than low_freq_factor",
        ),
        (
            small("llama", &json!({"rope_theta": 1e4, "rope_parameters": {"rope_theta": 5e5}})),
            "rope_parameters.rope_theta is 500000, but rope_theta is 10000; remove the one",
        ),
        (
            small(
                "llama",
                &json!({"rope_scaling": {"type": "linear", "factor": 2}, "rope_parameters": {"rope_theta": 1e4}}),
            ),
            "has both rope_scaling and rope_parameters; remove",
        ),
        (
            small("llama", &json!({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}})),
            "has rope_parameters.full_attention; the positions of a Llama are the same in all blocks",
        ),
        (
            small("gemma3_text", &json!({"rope_parameters": {"rope_theta": 1e4}})),
            "rope_parameters is {\"rope_theta\":10000.0}; expected an object with full_attention and sliding_attention",
        ),
    ]);
}

#[test]
fn what_would_be_computed_wrongly_is_refused_with_its_key_and_value() {
    let types = |types: Value| json!({"layer_types": types, "use_sliding_window": true});
    assert_refused(&[
        (json!({}), "has no model_type; add \"model_type\": \"llama\" or \"mistral\" or "),
        (small("mixtral", &json!({})), "model_type is \"mixtral\", a mixture of experts, which is not supported; "),
        (small("qwen3_moe", &json!({})), "model_type is \"qwen3_moe\", a mixture of experts"),
        (small("phi3", &json!({})), "model_type is \"phi3\"; decoders here are \"llama\", \"mistral\", "),
        (
            small("llama", &json!({"num_local_experts": 8})),
            "num_local_experts is 8; expected none: mixtures of experts",
        ),
        (
            small("llama", &json!({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true}})),
            "quantization_config says that the weights are stored by bitsandbytes, which is not read; take the checkpoint",
        ),
        (
            small("llama", &json!({"quantization_config": {"quant_method": "gptq"}})),
            "quantization_config says that the weights are stored by gptq, which is not read; ",
        ),
        (small("llama", &json!({"pruned_heads": {"0": [1]}})), "pruned_heads is {\"0\":[1]}; expected none"),
        (small("gemma3_text", &json!({"use_bidirectional_attention": true})), "use_bidirectional_attention is true; "),
        (small("llama", &json!({"hidden_act": "relu"})), "hidden_act is \"relu\"; expected \"silu\" or "),
        (small("llama", &json!({"hidden_size": 33})), "hidden_size 33 is not a multiple of num_attention_heads 2"),
        (small("llama", &json!({"head_dim": 7})), "head_dim is 7; expected an even number"),
        (
            small("llama", &json!({"num_key_value_heads": 3})),
            "num_attention_heads 2 is not a multiple of num_key_value_heads 3",
        ),
        (small("llama", &json!({"vocab_size": "9"})), "vocab_size is \"9\"; expected a whole number of at least 1"),
        (
            small("llama", &json!({"vocab_size": null})),
            "has no vocab_size; expected the configuration of a Llama model",
        ),
        (small("llama", &json!({"num_hidden_layers": 1000})), "num_hidden_layers is 1000; expected 1 to 253"),
        (small("llama", &json!({"head_dim": 1_u64 << 60})), "head_dim is 1152921504606846976; expected 1 to 65536"),
        (small("llama", &json!({"rms_norm_eps": -1.0})), "rms_norm_eps is -1.0; expected a number above 0"),
        (small("llama", &json!({"tie_word_embeddings": 1})), "tie_word_embeddings is 1; expected true or false"),
        (
            small("llama", &json!({"pad_token_id": "<pad>"})),
            "pad_token_id is \"<pad>\"; expected the number of a token",
        ),
        (small("qwen2", &types(json!(["full_attention"]))), "layer_types is [\"full_attention\"]; expected 3 of"),
        (
            small("qwen2", &types(json!(["full_attention", "linear_attention", "full_attention"]))),
            "; expected 3 of full_",
        ),
        (
            small("qwen2", &json!({"layer_types": ["sliding_attention", "full_attention", "full_attention"]})),
            "layer_types has sliding_attention, but there is no window; ",
        ),
        (
            small("mistral", &json!({"layer_types": ["full_attention", "full_attention", "full_attention"]})),
            "layer_types does not fit a Mistral; remove it",
        ),
        (small("gemma2", &json!({"sliding_window": null})), "sliding_window is null; expected a whole number"),
        (json!({"model_type": "gemma3"}), "has no text_config; expected the keys of its decoder there"),
        (
            json!({"model_type": "gemma3", "text_config": {"model_type": "llama"}}),
            "text_config.model_type is \"llama\"; expected \"gemma3_text\"",
        ),
        (
            json!({"model_type": "gemma3", "text_config": {"num_hidden_layers": 0}}),
            "text_config.num_hidden_layers is 0; expected a whole number of at least 1",
        ),
    ]);
    let message = DecoderConfig::from_json(Path::new("config.json"), b"{").unwrap_err().to_string();
    assert!(message.starts_with("config.json: not a model's configuration: "), "{message}");
    let message = DecoderConfig::load(Path::new("smollm2")).unwrap_err().to_string();
    assert!(message.starts_with("smollm2: not a folder; expected the folder of a model"), "{message}");
}

#[test]
fn heads_that_are_no_softmax_are_refused_and_classes_have_names() {
    let path = Path::new("config.json");
    for kind in ["multi_label_classification", "regression"] {
        let config = read(&small("llama", &json!({"problem_type": kind}))).unwrap();
        let message = config.check_problem_type(path).unwrap_err().to_string();
        assert!(message.starts_with(&format!("config.json: problem_type is \"{kind}\"; ")), "{message}");
    }
    let labels = json!({"problem_type": "single_label_classification", "id2label": {"0": "no", "1": "yes"}});
    let config = read(&small("llama", &labels)).unwrap();
    config.check_problem_type(path).unwrap();
    assert_eq!(config.class_names(2), Some(vec!["no".to_owned(), "yes".to_owned()]));
    assert_eq!(config.class_names(3), None);
}

#[test]
fn a_null_or_a_negative_token_is_none() {
    let keys = json!({"pad_token_id": -1, "eos_token_id": [3, 5], "bos_token_id": null, "torch_dtype": "float16"});
    let config = read(&small("llama", &keys)).unwrap();
    assert_eq!((config.pad_token_id, config.bos_token_id, config.eos_token_ids), (None, None, vec![3, 5]));
    assert_eq!(config.stored_dtype, Some(DType::F16));
    assert_eq!(Family::of("gemma3").map(|family| family.name), Some("Gemma 3"));
}
