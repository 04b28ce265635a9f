//! A checkpoint as large as a model of 7 billion parameters, of which two blocks are read: its weights are held as they are stored.
#![cfg(test)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use bayeslora_adapters::{AdapterSet, Draw};
use bayeslora_models::{Backbone, Packing, Pass};
use candle_core::Device;
use serde_json::json;

const HIDDEN: usize = 4096;
const INNER: usize = 11_008;
const VOCABULARY: usize = 32_000;
/// Blocks in the files, and those that the configuration asks for.
const BLOCKS: usize = 32;
const READ: usize = 2;

fn shapes() -> Vec<(String, Vec<usize>)> {
    let mut all = vec![("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, HIDDEN])];
    for block in 0..BLOCKS {
        let maps = [
            ("self_attn.q_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.k_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.v_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.o_proj", vec![HIDDEN, HIDDEN]),
            ("mlp.gate_proj", vec![INNER, HIDDEN]),
            ("mlp.up_proj", vec![INNER, HIDDEN]),
            ("mlp.down_proj", vec![HIDDEN, INNER]),
            ("input_layernorm", vec![HIDDEN]),
            ("post_attention_layernorm", vec![HIDDEN]),
        ];
        all.extend(maps.map(|(name, shape)| (format!("model.layers.{block}.{name}.weight"), shape)));
    }
    all.push(("model.norm.weight".to_owned(), vec![HIDDEN]));
    all.push(("lm_head.weight".to_owned(), vec![VOCABULARY, HIDDEN]));
    all
}

/// Two shards of zeros in bf16, which take no place on the disk.
fn write(folder: &Path) {
    let config = json!({
        "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": READ,
        "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": VOCABULARY, "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5, "rope_theta": 10_000.0, "hidden_act": "silu", "tie_word_embeddings": false,
        "torch_dtype": "bfloat16",
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let shapes = shapes();
    let mut index = BTreeMap::new();
    for (number, part) in shapes.chunks(shapes.len().div_ceil(2)).enumerate() {
        let name = format!("model-{:05}-of-00002.safetensors", number + 1);
        let (mut header, mut end) = (serde_json::Map::new(), 0);
        for (tensor, shape) in part {
            let start = end;
            end += 2 * shape.iter().product::<usize>();
            header.insert(tensor.clone(), json!({ "dtype": "BF16", "shape": shape, "data_offsets": [start, end] }));
            index.insert(tensor.clone(), name.clone());
        }
        let header = serde_json::Value::Object(header).to_string();
        let mut file = File::create(folder.join(&name)).unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.set_len((8 + header.len() + end) as u64).unwrap();
    }
    let index = json!({ "metadata": {}, "weight_map": index });
    fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

/// Most memory that this process ever had, in bytes; none where the system does not tell.
fn peak() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?)
}

#[test]
fn seven_billion_parameters_are_never_widened_whole() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let before = peak();
    let backbone = Backbone::load(folder.path(), &Device::Cpu).unwrap();
    // Two bytes a value; norms are widened.
    let of_block = 4 * HIDDEN * HIDDEN + 3 * HIDDEN * INNER;
    let stored = 2 * (READ * of_block + VOCABULARY * HIDDEN) + 4 * (2 * READ + 1) * HIDDEN;
    assert_eq!(backbone.weight_bytes(), stored);
    let x = backbone.embed(&[&[1, 2, 3], &[4]]).unwrap();
    let packing = Packing::from_lengths(&[3, 1]);
    let none = AdapterSet::new();
    let out = backbone.run_blocks(0..READ, &x, &packing, &mut Pass::new(&none, Draw::Mean)).unwrap();
    assert_eq!(out.dims(), [1, 4, HIDDEN]);
    if let (Some(before), Some(after)) = (before, peak()) {
        // Held, the largest tensor read from its map, and panels.
        let most = stored + 2 * VOCABULARY * HIDDEN + (150 << 20);
        assert!(after - before < most, "{} bytes more than before, of {stored} stored", after - before);
    }
}
