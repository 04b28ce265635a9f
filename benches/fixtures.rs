//! Fixtures shared by the benchmarks: adapters, activations, an encoder of the size `MiniLM` has and a decoder as wide as `SmolLM2`,
//! random and offline.
#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a benchmark without its fixture cannot go on")]

use std::collections::HashMap;

use bayeslora_adapters::{
    Address, Contextual, ContextualSettings, DropoutLora, DropoutSettings, DropoutSite, KeepProbability, LoraShape,
    LowRank, MaskScope, Noise, Slot, Stream, TargetMap,
};
use bayeslora_data::Silent;
use bayeslora_inference::Sentences;
use bayeslora_models::{Backbone, Place};
use candle_core::{Device, Tensor};
use serde_json::json;

/// Width of the activations.
pub const D_IN: usize = 384;
/// The slot adapted.
pub const SLOT: Slot = Slot::new(4, TargetMap::Query);

fn lora(width: usize, rank: usize) -> LowRank {
    let shape = LoraShape::new(rank, 16.0).expect("rank and alpha are in range");
    LowRank::initial(SLOT, (width, width), shape, &Noise::new(3, Stream::Initial), &Device::Cpu).expect("the rank fits")
}

/// A rank-8 adapter with dropout 0.1.
pub fn dropout(site: DropoutSite, scope: MaskScope) -> DropoutLora {
    dropout_of(D_IN, 8, site, scope)
}

/// An adapter of a square map with dropout 0.1.
pub fn dropout_of(width: usize, rank: usize, site: DropoutSite, scope: MaskScope) -> DropoutLora {
    let keep = KeepProbability::from_dropout(0.1).expect("0.1 is a probability");
    DropoutLora::new(lora(width, rank), DropoutSettings { site, scope, keep })
}

/// A rank-8 C-LoRA adapter.
pub fn contextual() -> Contextual {
    let noise = Noise::new(3, Stream::Initial);
    Contextual::initial(SLOT, lora(D_IN, 8), ContextualSettings::default(), &noise, &Device::Cpu)
        .expect("defaults are in range")
}

/// Normal activations `[1, rows, D_IN]`.
pub fn input(rows: usize) -> Tensor {
    normal(0, &[1, rows, D_IN])
}

/// Standard normal values; another `number` gives others.
pub fn normal(number: u32, shape: &[usize]) -> Tensor {
    let mut values = vec![0.0; shape.iter().product()];
    let at = Address { slot: SLOT, sample: number, example: 0, position: 0 };
    Noise::new(4, Stream::Initial).fill_normal(at, &mut Vec::new(), &mut values);
    Tensor::from_vec(values, shape, &Device::Cpu).expect("the values fill the shape")
}

const BLOCKS: usize = 6;
const VOCABULARY: usize = 100;

/// A random encoder with the sizes of `MiniLM` (six blocks, width 384, 12 heads), its vocabulary apart.
pub fn encoder() -> Backbone {
    encoder_at(&Place::default())
}

/// The same at a place.
pub fn encoder_at(place: &Place) -> Backbone {
    let (width, inner, longest) = (D_IN, 4 * D_IN, 128);
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![VOCABULARY, width]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![longest, width]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, width]),
    ];
    let linear = |shapes: &mut Vec<(String, Vec<usize>)>, name: String, d_out: usize, d_in: usize| {
        shapes.push((format!("{name}.weight"), vec![d_out, d_in]));
        shapes.push((format!("{name}.bias"), vec![d_out]));
    };
    let norm = |shapes: &mut Vec<(String, Vec<usize>)>, name: String| {
        shapes.push((format!("{name}.weight"), vec![width]));
        shapes.push((format!("{name}.bias"), vec![width]));
    };
    norm(&mut shapes, "embeddings.LayerNorm".to_owned());
    for block in 0..BLOCKS {
        let at = format!("encoder.layer.{block}");
        for map in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"] {
            linear(&mut shapes, format!("{at}.{map}"), width, width);
        }
        linear(&mut shapes, format!("{at}.intermediate.dense"), inner, width);
        linear(&mut shapes, format!("{at}.output.dense"), width, inner);
        norm(&mut shapes, format!("{at}.attention.output.LayerNorm"));
        norm(&mut shapes, format!("{at}.output.LayerNorm"));
    }
    linear(&mut shapes, "pooler.dense".to_owned(), width, width);
    let config = json!({
        "model_type": "bert", "vocab_size": VOCABULARY, "hidden_size": width, "num_hidden_layers": BLOCKS,
        "num_attention_heads": 12, "intermediate_size": inner, "max_position_embeddings": longest,
        "layer_norm_eps": 1e-12, "hidden_act": "gelu",
    });
    random(&shapes, &config, place)
}

/// A random decoder of as wide blocks as `SmolLM2`-135M has (576, 9 heads, 3 of keys), its vocabulary apart.
pub fn decoder(blocks: usize) -> Backbone {
    let (width, keys, inner) = (576, 192, 1536);
    let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, width])];
    for block in 0..blocks {
        let maps = [
            ("self_attn.q_proj", vec![width, width]),
            ("self_attn.k_proj", vec![keys, width]),
            ("self_attn.v_proj", vec![keys, width]),
            ("self_attn.o_proj", vec![width, width]),
            ("mlp.gate_proj", vec![inner, width]),
            ("mlp.up_proj", vec![inner, width]),
            ("mlp.down_proj", vec![width, inner]),
            ("input_layernorm", vec![width]),
            ("post_attention_layernorm", vec![width]),
        ];
        shapes.extend(maps.map(|(map, shape)| (format!("model.layers.{block}.{map}.weight"), shape)));
    }
    shapes.push(("model.norm.weight".to_owned(), vec![width]));
    let config = json!({
        "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": width, "num_hidden_layers": blocks,
        "num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": inner, "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5, "rope_theta": 100_000.0, "hidden_act": "silu", "tie_word_embeddings": true,
    });
    random(&shapes, &config, &Place::default())
}

/// A model of these tensors with random values.
fn random(shapes: &[(String, Vec<usize>)], config: &serde_json::Value, place: &Place) -> Backbone {
    let tensors: HashMap<String, Tensor> = (0_u32..)
        .zip(shapes)
        .map(|(number, (name, shape))| {
            let values = (normal(number, shape) * 0.05).expect("a product");
            let is_scale = name.to_lowercase().ends_with("norm.weight");
            (name.clone(), if is_scale { (values + 1.0).expect("a sum") } else { values })
        })
        .collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("config.json"), config.to_string()).expect("config.json is written");
    candle_core::safetensors::save(&tensors, folder.path().join("model.safetensors")).expect("the weights are written");
    Backbone::load(folder.path(), place).expect("the model is complete")
}

/// `count` labelled sentences of 10 to 40 tokens, 25 on average, with their activations below block `from`.
pub fn sentences(backbone: &Backbone, count: usize, from: usize) -> Sentences {
    let tokens: Vec<Vec<u32>> = (0..count)
        .map(|sentence| {
            let length = 10 + sentence * 17 % 31;
            (0..length).map(|place| u32::try_from((sentence * 31 + place * 7) % VOCABULARY).unwrap_or(0)).collect()
        })
        .collect();
    let labels = (0_u32..).map(|sentence| sentence % 2).take(count).collect();
    Sentences::of_tokens(backbone, &tokens, labels, 0, from, &Silent).expect("tokens are in the vocabulary")
}
