//! The description of a decoder from a GGUF file's keys and tensors.

use std::collections::{BTreeMap, HashMap};

use candle_core::DType;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::TensorInfo;

use super::metadata::Metadata;
use super::names::ROPE_FACTORS;
use crate::decoder::{Biases, BlockKind, DecoderConfig, Family, Rope, Sizes, WindowRule, by_head_width};

/// Base of rotary positions where a file has none, by the format's description.
const THETA: f64 = 10_000.0;

/// Reads the configuration of a decoder of `family`, whose pairs turn slower by `factors`.
pub(crate) fn read(
    family: &'static Family,
    metadata: &Metadata<'_>,
    tensors: &HashMap<String, TensorInfo>,
    factors: Option<&[f64]>,
) -> Result<DecoderConfig, String> {
    let keys = Keys { metadata, architecture: family.gguf.unwrap_or_default() };
    if keys.count("expert_count")?.is_some_and(|experts| experts > 0) {
        return Err(keys.refused("expert_count", "none: mixtures of experts are not supported"));
    }
    let sizes = sizes(&keys, family, tensors)?;
    let has = |name: &str| tensors.contains_key(name);
    let [attention_softcap, final_softcap] = softcaps(&keys, family)?;
    let token = |key: &str| -> Result<Option<u32>, String> {
        let found = metadata.count(&format!("tokenizer.ggml.{key}_token_id"))?;
        Ok(found.and_then(|token| u32::try_from(token).ok()))
    };
    Ok(DecoderConfig {
        family,
        vocab_size: sizes.vocab,
        hidden_size: sizes.hidden,
        intermediate_size: sizes.intermediate,
        heads: sizes.heads,
        kv_heads: sizes.kv_heads,
        head_dim: sizes.head_dim,
        max_positions: sizes.max_positions,
        blocks: windows(&keys, family, &sizes)?,
        ropes: ropes(&keys, family, sizes.head_dim, factors)?,
        attention_scale: match keys.number("attention.scale")?.filter(|scale| *scale > 0.0) {
            Some(scale) => scale,
            None => by_head_width(scaled_width(family, &sizes)),
        },
        attention_softcap,
        final_softcap,
        epsilon: keys.number("attention.layer_norm_rms_epsilon")?.ok_or_else(|| {
            format!("has no {}; expected a whole model", keys.spelt("attention.layer_norm_rms_epsilon"))
        })?,
        // The files hold the sum.
        norm_plus_one: false,
        biases: Biases {
            query_key_value: has("blk.0.attn_q.bias"),
            attention_output: has("blk.0.attn_output.bias"),
            mlp: has("blk.0.ffn_gate.bias"),
        },
        activation: family.activation.1,
        embedding_scale: family.scaled_embedding.then(|| (sizes.hidden as f64).sqrt()),
        tied: !has("output.weight"),
        pad_token_id: token("padding")?,
        bos_token_id: token("bos")?,
        eos_token_ids: token("eos")?.into_iter().collect(),
        id2label: BTreeMap::new(),
        problem_type: None,
        stored_dtype: tensors.get("blk.0.attn_q.weight").and_then(|info| match info.ggml_dtype {
            GgmlDType::F32 => Some(DType::F32),
            GgmlDType::F16 => Some(DType::F16),
            GgmlDType::BF16 => Some(DType::BF16),
            _ => None,
        }),
    })
}

/// The keys of an architecture, which stands before each.
struct Keys<'a> {
    metadata: &'a Metadata<'a>,
    architecture: &'static str,
}

impl Keys<'_> {
    fn spelt(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn is_given(&self, key: &str) -> bool {
        self.metadata.find(&self.spelt(key)).is_some()
    }

    fn count(&self, key: &str) -> Result<Option<usize>, String> {
        self.metadata.count(&self.spelt(key))
    }

    fn size(&self, key: &str) -> Result<Option<usize>, String> {
        self.metadata.size(&self.spelt(key))
    }

    fn number(&self, key: &str) -> Result<Option<f64>, String> {
        self.metadata.number(&self.spelt(key))
    }

    fn needed(&self, key: &str) -> Result<usize, String> {
        self.size(key)?.ok_or_else(|| format!("has no {}; expected a whole model", self.spelt(key)))
    }

    fn refused(&self, key: &str, expected: &str) -> String {
        self.metadata.refused(&self.spelt(key), expected)
    }
}

/// The file's key of a size that transformers calls `theirs`.
fn key_of(theirs: &str) -> &str {
    match theirs {
        "hidden_size" => "embedding_length",
        "intermediate_size" => "feed_forward_length",
        "num_hidden_layers" => "block_count",
        "num_attention_heads" => "attention.head_count",
        "num_key_value_heads" => "attention.head_count_kv",
        "head_dim" => "attention.key_length",
        "max_position_embeddings" => "context_length",
        other => other,
    }
}

fn sizes(keys: &Keys<'_>, family: &Family, tensors: &HashMap<String, TensorInfo>) -> Result<Sizes, String> {
    let (hidden, heads) = (keys.needed("embedding_length")?, keys.needed("attention.head_count")?);
    let head_dim = match keys.size("attention.key_length")? {
        Some(width) => width,
        None if hidden.is_multiple_of(heads) => hidden / heads,
        None => return Err(keys.refused("embedding_length", &format!("a multiple of {heads} heads"))),
    };
    for key in ["attention.value_length", "rope.dimension_count"] {
        if keys.size(key)?.is_some_and(|width| width != head_dim) {
            return Err(keys.refused(key, &format!("{head_dim}, the width of a head")));
        }
    }
    let rows = tensors.get("token_embd.weight").and_then(|info| info.shape.dims().first().copied());
    let sizes = Sizes {
        vocab: rows.ok_or_else(|| format!("has no token_embd.weight; expected a whole {} model", family.name))?,
        hidden,
        intermediate: keys.needed("feed_forward_length")?,
        blocks: keys.needed("block_count")?,
        heads,
        kv_heads: keys.size("attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        max_positions: keys.needed("context_length")?,
    };
    sizes.check(|theirs| keys.spelt(key_of(theirs)))?;
    Ok(sizes)
}

/// The width whose root divides the attention's products. Files do not say it: Gemma's largest models take the width for each head in
/// place of that of a head, and are known by their depth, as in llama.cpp.
fn scaled_width(family: &Family, sizes: &Sizes) -> f64 {
    let is_largest = matches!((family.gguf, sizes.blocks), (Some("gemma2"), 46) | (Some("gemma3"), 62));
    if is_largest { (sizes.hidden / sizes.heads) as f64 } else { sizes.head_dim as f64 }
}

/// The caps of scores and logits; 0 is none.
fn softcaps(keys: &Keys<'_>, family: &Family) -> Result<[Option<f64>; 2], String> {
    let Some([attention, last]) = family.softcaps else { return Ok([None; 2]) };
    let cap = |key: &str, default| {
        Ok::<_, String>(if keys.is_given(key) { keys.number(key)?.filter(|cap| *cap > 0.0) } else { default })
    };
    Ok([cap("attn_logit_softcapping", attention)?, cap("final_logit_softcapping", last)?])
}

fn windows(keys: &Keys<'_>, family: &Family, sizes: &Sizes) -> Result<Vec<BlockKind>, String> {
    let key = "attention.sliding_window";
    let window = keys.count(key)?.filter(|window| *window > 0);
    let windows: Vec<Option<usize>> = match family.windows {
        WindowRule::AllButLastOf { window: default, pattern, .. } => {
            let window = match window {
                Some(window) => window,
                // Gemma 2's files may leave it out.
                None if family.theta.1.is_none() && !keys.is_given(key) => default,
                None => return Err(keys.refused(key, "a whole number of at least 1")),
            };
            let period = keys.size("attention.sliding_window_pattern")?.unwrap_or(pattern);
            (1..=sizes.blocks).map(|block| (!block.is_multiple_of(period)).then_some(window)).collect()
        }
        // Which blocks it would be of, the format does not say.
        _ if window.is_some_and(|window| window < sizes.max_positions) => {
            return Err(
                keys.refused(key, "none: its blocks are not told; take the model's config.json and safetensors")
            );
        }
        _ => vec![None; sizes.blocks],
    };
    Ok(family.kinds(windows))
}

fn ropes(keys: &Keys<'_>, family: &Family, head_dim: usize, factors: Option<&[f64]>) -> Result<Vec<Rope>, String> {
    let base = |key: &str, default: Option<f64>| -> Result<f64, String> {
        let given = keys.number(key)?.or(default);
        given.filter(|base| *base > 0.0).ok_or_else(|| keys.refused(key, "a number above 0"))
    };
    // Without it a model of two bases would be plausible and wrong.
    let default = family.theta.1.is_none().then_some(THETA);
    let mut rope = Rope::plain(base("rope.freq_base", default)?, head_dim);
    let key = "rope.scaling.type";
    match keys.metadata.text(&keys.spelt(key))?.unwrap_or("linear") {
        "none" => {}
        "linear" => {
            let factor = match keys.number("rope.scaling.factor")? {
                Some(factor) => Some(factor),
                None => keys.number("rope.scale_linear")?,
            };
            rope = rope.slower(factor.filter(|factor| *factor > 0.0).unwrap_or(1.0));
        }
        _ => return Err(keys.refused(key, "\"none\" or \"linear\"; take the model's config.json and safetensors")),
    }
    if let Some(factors) = factors {
        if factors.len() != head_dim / 2 || factors.iter().any(|factor| *factor <= 0.0) {
            let (count, expected) = (factors.len(), head_dim / 2);
            return Err(format!("{ROPE_FACTORS} has {count} values; expected {expected} above 0, one for each pair"));
        }
        rope = rope.slower_by(factors);
    }
    let mut ropes = vec![rope];
    if let (_, Some(local)) = family.theta {
        ropes.push(Rope::plain(base("rope.freq_base_swa", Some(local))?, head_dim));
    }
    Ok(ropes)
}
