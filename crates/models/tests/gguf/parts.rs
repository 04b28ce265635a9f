//! Files as they are made: keys and tensors of a model, in the converter's spelling and order.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use bayeslora_models::{DecoderConfig, Gguf};
use candle_core::quantized::gguf_file::{Value, write};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};

pub(crate) const DEVICE: Device = Device::Cpu;

pub(crate) fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decoders").join(path)
}

pub(crate) fn config(name: &str) -> DecoderConfig {
    DecoderConfig::load(&golden(name)).unwrap()
}

pub(crate) fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// A file as it is made: keys and tensors, by the file's own names.
#[derive(Clone, Default)]
pub(crate) struct Parts {
    pub(crate) keys: BTreeMap<String, Value>,
    pub(crate) tensors: HashMap<String, (Tensor, Option<GgmlDType>)>,
}

impl Parts {
    pub(crate) fn key(mut self, key: &str, value: Value) -> Self {
        self.keys.insert(key.to_owned(), value);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let quantised = |(name, (tensor, kind)): (&String, &(Tensor, Option<GgmlDType>))| {
            (name.clone(), QTensor::quantize(tensor, kind.unwrap_or(GgmlDType::F32)).unwrap())
        };
        let tensors: BTreeMap<String, QTensor> = self.tensors.iter().map(quantised).collect();
        let keys: Vec<(&str, &Value)> = self.keys.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut file = std::io::Cursor::new(Vec::new());
        write(&mut file, &keys, &tensors).unwrap();
        file.into_inner()
    }

    pub(crate) fn write(&self) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        std::fs::write(&path, self.bytes()).unwrap();
        (folder, path)
    }

    /// What opening the file and describing its decoder says is wrong.
    pub(crate) fn refused(&self) -> String {
        let (_folder, path) = self.write();
        let message = Gguf::open(&path).and_then(|gguf| gguf.config()).unwrap_err().to_string();
        assert_eq!(message.lines().count(), 1, "{message}");
        message.replace(&path.display().to_string(), "tiny.gguf")
    }
}

/// The converter's name of a tensor, written out.
pub(crate) fn own_name(name: &str, gemma: bool) -> String {
    let (second, third) = if gemma { ("post_attention_norm", "ffn_norm") } else { ("ffn_norm", "?") };
    [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.layers", "blk"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", second),
        ("pre_feedforward_layernorm", third),
        ("post_feedforward_layernorm", "post_ffw_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ]
    .into_iter()
    .fold(name.to_owned(), |name, (theirs, own)| name.replace(theirs, own))
}

pub(crate) fn count(number: usize) -> Value {
    Value::U32(u32::try_from(number).unwrap())
}

/// As the format holds numbers.
#[expect(clippy::cast_possible_truncation, reason = "the format's numbers are f32")]
pub(crate) fn narrow(number: f64) -> f32 {
    number as f32
}

/// A file of the model of a configuration, as the converter writes it: the parts, and the tensors by transformers' names.
pub(crate) fn converted(name: &str, architecture: &str) -> (Parts, HashMap<String, Tensor>) {
    let config = config(name);
    let key = |end: &str| format!("{architecture}.{end}");
    let mut parts = Parts::default().key("general.architecture", Value::String(architecture.to_owned()));
    for (end, size) in [
        ("block_count", config.blocks.len()),
        ("context_length", config.max_positions),
        ("embedding_length", config.hidden_size),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.heads),
        ("attention.head_count_kv", config.kv_heads),
        ("attention.key_length", config.head_dim),
        ("attention.value_length", config.head_dim),
        ("rope.dimension_count", config.head_dim),
    ] {
        parts = parts.key(&key(end), count(size));
    }
    parts = parts.key(&key("attention.layer_norm_rms_epsilon"), Value::F32(narrow(config.epsilon)));
    for (token, number) in
        [("padding", config.pad_token_id), ("bos", config.bos_token_id), ("eos", Some(config.eos_token_ids[0]))]
    {
        parts = parts.key(&format!("tokenizer.ggml.{token}_token_id"), Value::U32(number.unwrap()));
    }
    let mut tensors = HashMap::new();
    for (at, (theirs, shape)) in config.parameters().into_iter().enumerate() {
        let entries = shape.iter().product::<usize>();
        let numbers: Vec<f32> = (0..entries).map(|entry| ((entry * 37 + at * 11) % 101) as f32 / 50.0 - 1.0).collect();
        let tensor = Tensor::from_vec(numbers, shape, &DEVICE).unwrap();
        let is_query = theirs.contains("q_proj");
        let heads = if is_query { config.heads } else { config.kv_heads };
        let stored = match architecture {
            "llama" if is_query || theirs.contains("k_proj") => interleaved(&tensor, heads),
            _ => tensor.clone(),
        };
        parts.tensors.insert(own_name(&theirs, architecture.contains("gemma")), (stored, None));
        tensors.insert(theirs, tensor);
    }
    (parts, tensors)
}

/// `permute` of `convert_hf_to_gguf`: `reshape(heads, 2, rows / heads / 2, ..).swapaxes(1, 2)`.
pub(crate) fn interleaved(tensor: &Tensor, heads: usize) -> Tensor {
    let (rows, width) = (tensor.dims()[0], tensor.dims().get(1).copied().unwrap_or(1));
    let parts = tensor.reshape((heads, 2, rows / heads / 2, width)).unwrap();
    parts.transpose(1, 2).unwrap().contiguous().unwrap().reshape(tensor.shape()).unwrap()
}
