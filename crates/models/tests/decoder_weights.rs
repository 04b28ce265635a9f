//! Weights of decoders in folders: names and types that people's checkpoints have, and what is refused.
#![cfg(test)]

use std::collections::HashMap;
use std::path::Path;

use bayeslora_models::{Checkpoint, DecoderConfig, Stored};
use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};

const DEVICE: Device = Device::Cpu;
const QUERY: &str = "model.layers.0.self_attn.q_proj.weight";

fn config() -> Value {
    json!({"model_type": "llama", "vocab_size": 6, "hidden_size": 8, "intermediate_size": 4, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 16})
}

/// Tensors of a whole model by their names, a different number in each entry.
fn tensors(dtype: DType) -> HashMap<String, Tensor> {
    let config = DecoderConfig::from_json(Path::new("config.json"), &serde_json::to_vec(&config()).unwrap()).unwrap();
    let mut next = 0;
    let mut tensor = |shape: Vec<usize>| {
        let count = shape.iter().product::<usize>();
        next += 1;
        let values: Vec<f32> = (0..count).map(|entry| (entry + 100 * next) as f32 / 7.0).collect();
        Tensor::from_vec(values, shape, &DEVICE).unwrap().to_dtype(dtype).unwrap()
    };
    config.parameters().into_iter().map(|(name, shape)| (name, tensor(shape))).collect()
}

fn folder(files: &[(&str, &HashMap<String, Tensor>)], index: Option<&Value>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config().to_string()).unwrap();
    for (name, tensors) in files {
        candle_core::safetensors::save(tensors, folder.path().join(name)).unwrap();
    }
    if let Some(index) = index {
        let index = json!({"metadata": {}, "weight_map": index}).to_string();
        std::fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    }
    folder
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Every parameter as it is stored.
fn read_all(folder: &Path) -> Result<HashMap<String, Tensor>, bayeslora_models::Error> {
    let (config, checkpoint) = Checkpoint::open(folder, &DEVICE)?;
    let read = |(name, shape): (String, Vec<usize>)| match checkpoint.stored(&name, &shape)? {
        Stored::Dense(tensor) => Ok((name, tensor)),
        Stored::Quantised(_) => panic!("{name} is quantised"),
    };
    config.parameters().into_iter().map(read).collect()
}

fn refused(folder: &Path) -> String {
    let message = read_all(folder).unwrap_err().to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    message.replace(&format!("{}/", folder.display()), "")
}

/// The first half of the tensors by name, and the rest.
fn halves(tensors: HashMap<String, Tensor>) -> [HashMap<String, Tensor>; 2] {
    let mut names: Vec<String> = tensors.keys().cloned().collect();
    names.sort();
    let middle = names[names.len() / 2].clone();
    let (first, second) = tensors.into_iter().partition(|(name, _)| *name < middle);
    [first, second]
}

fn index_of(first: &HashMap<String, Tensor>, second: &HashMap<String, Tensor>) -> Value {
    let shard = |tensors: &HashMap<String, Tensor>, file: &str| {
        tensors.keys().map(|name| (name.clone(), json!(file))).collect::<Vec<_>>()
    };
    Value::Object([shard(first, "a.safetensors"), shard(second, "b.safetensors")].concat().into_iter().collect())
}

#[test]
fn a_decoder_is_found_under_every_path_that_checkpoints_have() {
    let tensors = tensors(DType::F32);
    for (prefix, head) in [
        ("model.", ""),
        ("", ""),
        ("model.language_model.", ""),
        ("language_model.model.", "language_model."),
        ("language_model.", ""),
    ] {
        let named = tensors.iter().map(|(name, tensor)| {
            let name =
                name.strip_prefix("model.").map_or(format!("{head}{name}"), |within| format!("{prefix}{within}"));
            (name, tensor.clone())
        });
        let mut named: HashMap<String, Tensor> = named.collect();
        // What older files have beside it, and what a model that reads images has.
        let buffer = Tensor::from_vec(vec![1_i64], 1, &DEVICE).unwrap();
        named.insert(format!("{prefix}layers.0.self_attn.rotary_emb.inv_freq"), buffer.clone());
        named.insert("vision_tower.weight".to_owned(), buffer);
        let folder = folder(&[("model.safetensors", &named)], None);
        let read = read_all(folder.path()).unwrap();
        assert_eq!(read.len(), tensors.len());
        for (name, tensor) in &tensors {
            assert_eq!(values(&read[name]), values(tensor), "{prefix}: {name}");
        }
        let (_, checkpoint) = Checkpoint::open(folder.path(), &DEVICE).unwrap();
        assert!(checkpoint.has(QUERY) && checkpoint.has("lm_head.weight") && !checkpoint.has("score.weight"));
    }
}

#[test]
fn shards_keep_their_type_and_f64_becomes_f32() {
    for (stored, expected) in
        [(DType::BF16, DType::BF16), (DType::F16, DType::F16), (DType::F32, DType::F32), (DType::F64, DType::F32)]
    {
        let tensors = tensors(stored);
        let [first, second] = halves(tensors.clone());
        let index = index_of(&first, &second);
        let folder = folder(&[("a.safetensors", &first), ("b.safetensors", &second)], Some(&index));
        let read = read_all(folder.path()).unwrap();
        for (name, tensor) in &tensors {
            assert_eq!(read[name].dtype(), expected);
            assert_eq!(values(&read[name]), values(tensor), "{name}");
        }
        let (_, checkpoint) = Checkpoint::open(folder.path(), &DEVICE).unwrap();
        let dense = checkpoint.dense(QUERY, &[8, 8]).unwrap();
        assert_eq!((dense.dtype(), values(&dense)), (DType::F32, values(&tensors[QUERY])));
    }
}

#[test]
fn an_index_and_its_shards_must_agree() {
    let [first, second] = halves(tensors(DType::BF16));
    let index = index_of(&first, &second);
    let files = [("a.safetensors", &first), ("b.safetensors", &second)];
    let name_of_second = second.keys().min().unwrap().clone();

    // A shard that was not downloaded.
    let missing = folder(&files[..1], Some(&index));
    let message = refused(missing.path());
    let expected = "model.safetensors.index.json: says that tensors lie in b.safetensors, which is not beside it; download every shard";
    assert_eq!(message, expected);

    // A shard that was cut off while it was downloaded.
    let cut = folder(&files, Some(&index));
    let path = cut.path().join("b.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let message = refused(cut.path());
    assert!(message.starts_with("b.safetensors: not a complete safetensors file ("), "{message}");
    assert!(message.ends_with("; copy or download it again"), "{message}");

    // A shard of another checkpoint.
    let mut fewer = second.clone();
    fewer.remove(&name_of_second);
    let other = folder(&[("a.safetensors", &first), ("b.safetensors", &fewer)], Some(&index));
    let expected = format!(
        "model.safetensors.index.json: says that {name_of_second} lies in b.safetensors, which does not have it; download every shard again"
    );
    assert_eq!(refused(other.path()), expected);

    // A tensor in the other shard than its index says, and in both.
    let mut swapped = index.clone();
    swapped[&name_of_second] = json!("a.safetensors");
    let message = refused(folder(&files, Some(&swapped)).path());
    assert!(message.contains(&format!("says that {name_of_second} lies in a.safetensors, which does not have")));
    let mut more = first.clone();
    more.insert(name_of_second.clone(), second[&name_of_second].clone());
    let twice = folder(&[("a.safetensors", &more), ("b.safetensors", &second)], Some(&index));
    let message = refused(twice.path());
    assert!(message.contains(&format!("{name_of_second} is in a.safetensors and in b.safetensors; ")), "{message}");
}

#[test]
fn tensors_that_are_damaged_are_refused_by_name() {
    let whole = tensors(DType::BF16);
    let with = |name: &str, tensor: Option<Tensor>| {
        let mut tensors = whole.clone();
        tensors.remove(name);
        tensors.extend(tensor.map(|tensor| (name.to_owned(), tensor)));
        refused(folder(&[("model.safetensors", &tensors)], None).path())
    };
    let of = |values: Vec<f32>, shape: &[usize]| {
        Tensor::from_vec(values, shape, &DEVICE).unwrap().to_dtype(DType::BF16).ok()
    };
    let mut nan = vec![0.5; 64];
    nan[9] = f32::NAN;
    let message = with(QUERY, of(nan, &[8, 8]));
    let expected = format!("model.safetensors: {QUERY} [8, 8] has the value NaN at entry 9; expected finite weights");
    assert!(message.starts_with(&expected), "{message}");
    let message = with(QUERY, of(vec![0.5; 32], &[4, 8]));
    assert_eq!(message, format!("model.safetensors: {QUERY} has shape [4, 8]; config.json says [8, 8]"));
    let message = with(QUERY, None);
    assert!(message.starts_with(&format!("model.safetensors: has no tensor {QUERY}; expected the checkpoint of")));
    let message = with(QUERY, Tensor::zeros((8, 8), DType::I64, &DEVICE).ok());
    assert!(message.contains(&format!("{QUERY} has dtype I64; expected f32, f16, bf16 or f64")), "{message}");
    let message = with("model.embed_tokens.weight", None);
    let expected = "model.safetensors: has no model.embed_tokens.weight; expected the checkpoint of a Llama model";
    assert_eq!(message, expected);
}

#[test]
fn weights_that_are_not_read_are_refused_by_name() {
    let folder = folder(&[], None);
    assert!(refused(folder.path()).starts_with("model.safetensors: not found; expected the weights of the model, or "));
    std::fs::write(folder.path().join("pytorch_model.bin.index.json"), "{}").unwrap();
    let message = refused(folder.path());
    assert!(
        message.starts_with("model.safetensors: not found, only pytorch_model.bin.index.json, which is not read; ")
    );
    std::fs::write(folder.path().join("model.safetensors"), "version https://git-lfs.github.com/spec/v1").unwrap();
    assert!(refused(folder.path()).starts_with("model.safetensors: a pointer of Git LFS, not the file itself; "));
}
