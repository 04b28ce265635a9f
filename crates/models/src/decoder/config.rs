//! One description of a decoder, whatever its family and the file it was read from.

use std::collections::BTreeMap;
use std::path::Path;

use bayeslora_kernels::Activation;
use candle_core::DType;
use serde_json::{Map, Value};

use super::families::{BiasRule, Family};
use super::keys::{Keys, Problem};
use super::refusals;
use super::ropes::{self, Rope};
use super::sizes::Sizes;
use super::windows::{self, BlockKind};
use crate::config::{CONFIG_FILE, activation_of};
use crate::error::{Error, Result};
use crate::labels;
use crate::weights::read_config;

/// A decoder's sizes and what it computes.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// Names of its parts.
    pub family: &'static Family,
    /// Entries of the vocabulary.
    pub vocab_size: usize,
    /// Width of the activations.
    pub hidden_size: usize,
    /// Width between the maps of the feed-forward network.
    pub intermediate_size: usize,
    /// Attention heads.
    pub heads: usize,
    /// Heads of keys and values, which divide [`Self::heads`].
    pub kv_heads: usize,
    /// Width of a head, even.
    pub head_dim: usize,
    /// Most tokens of a text.
    pub max_positions: usize,
    /// What each block's attention sees, from the bottom.
    pub blocks: Vec<BlockKind>,
    /// Rotary positions, as [`BlockKind::rope`] counts them.
    pub ropes: Vec<Rope>,
    /// Factor of the products of queries and keys.
    pub attention_scale: f64,
    /// Scores `s` become `c tanh(s / c)` before the softmax.
    pub attention_softcap: Option<f64>,
    /// The same of the language head's logits; those of a class head are not capped.
    pub final_softcap: Option<f64>,
    /// Number added to mean squares in norms.
    pub epsilon: f64,
    /// Whether a norm multiplies by `1 + w` instead of `w`.
    pub norm_plus_one: bool,
    /// Which maps have a bias.
    pub biases: Biases,
    /// Activation of the feed-forward network's gate.
    pub activation: Activation,
    /// Factor of the embeddings. transformers rounds it to the type of the embeddings' weights.
    pub embedding_scale: Option<f64>,
    /// Whether the language head is the table of embeddings.
    pub tied: bool,
    /// The padding token. A class head is read at the last token that is another.
    pub pad_token_id: Option<u32>,
    /// The token before a text.
    pub bos_token_id: Option<u32>,
    /// The tokens that end a text.
    pub eos_token_ids: Vec<u32>,
    /// Names of the classes of the checkpoint's own head, by number; see [`Self::class_names`].
    pub id2label: BTreeMap<String, String>,
    /// What the checkpoint's own head was trained for; see [`Self::check_problem_type`].
    pub problem_type: Option<String>,
    /// Type of the stored weights, where the file says one that is read.
    pub stored_dtype: Option<DType>,
}

/// Which maps have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Biases {
    /// Query, key and value.
    pub query_key_value: bool,
    /// The attention's output.
    pub attention_output: bool,
    /// The three maps of the feed-forward network.
    pub mlp: bool,
}

/// The attention's factor of queries of `width`.
pub(crate) fn by_head_width(width: f64) -> f64 {
    1.0 / width.sqrt()
}

impl DecoderConfig {
    /// Reads `config.json` of a model folder.
    ///
    /// # Errors
    /// [`Error::Host`] or [`Error::File`] for a missing or malformed file, or a model that would be computed wrongly.
    pub fn load(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            let problem =
                "not a folder; expected the folder of a model, with config.json, weights and tokenizer".to_owned();
            return Err(Error::File { path: folder.to_owned(), problem });
        }
        let path = folder.join(CONFIG_FILE);
        Self::from_json(&path, &read_config(&path)?)
    }

    /// Reads the bytes of a `config.json`, which `path` names in messages.
    ///
    /// # Errors
    /// [`Error::File`] for a malformed file, or a model that would be computed wrongly.
    pub fn from_json(path: &Path, bytes: &[u8]) -> Result<Self> {
        let problem = |problem: Problem| Error::File { path: path.to_owned(), problem };
        let top: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|error| problem(format!("not a model's configuration: {error}")))?;
        Self::from_keys(&top).map_err(problem)
    }

    fn from_keys(top: &Map<String, Value>) -> Result<Self, Problem> {
        let outer = Keys::new(top);
        let family = refusals::family(&outer)?;
        refusals::check(&outer)?;
        // A model that reads images keeps its decoder's keys apart.
        let text = outer.inner("text_config")?;
        let is_half = outer.text("model_type")? == Some("gemma3");
        let keys = match text {
            Some(text) => text,
            None if is_half => return Err("has no text_config; expected the keys of its decoder there".to_owned()),
            None => Keys::new(top),
        };
        if keys.find("model_type").is_some_and(|kind| kind.as_str().and_then(Family::of) != Some(family)) {
            return Err(keys.refused("model_type", &format!("\"{}\"", family.types[0])));
        }
        refusals::check(&keys)?;
        let sizes = Sizes::read(&keys, family)?;
        let (key, default) = family.activation;
        let query_scalar = match family.query_scalar {
            None => sizes.head_dim as f64,
            Some(default) => keys.positive("query_pre_attn_scalar")?.unwrap_or(default),
        };
        let [attention_softcap, final_softcap] = softcaps(&keys, family)?;
        let [pad, bos, eos] = tokens(&keys, family)?;
        let tied = match keys.truth("tie_word_embeddings")? {
            Some(tied) => Some(tied),
            None => outer.truth("tie_word_embeddings")?,
        };
        Ok(Self {
            family,
            vocab_size: sizes.vocab,
            hidden_size: sizes.hidden,
            intermediate_size: sizes.intermediate,
            heads: sizes.heads,
            kv_heads: sizes.kv_heads,
            head_dim: sizes.head_dim,
            max_positions: sizes.max_positions,
            blocks: windows::read(&keys, family, sizes.blocks)?,
            ropes: ropes::read(&keys, family, sizes.head_dim, sizes.max_positions)?,
            attention_scale: by_head_width(query_scalar),
            attention_softcap,
            final_softcap,
            epsilon: keys.positive("rms_norm_eps")?.unwrap_or(1e-6),
            norm_plus_one: family.norm_plus_one,
            biases: biases(&keys, family)?,
            activation: activation(&keys, key)?.unwrap_or(default),
            embedding_scale: family.scaled_embedding.then(|| (sizes.hidden as f64).sqrt()),
            tied: tied.unwrap_or(family.tied),
            pad_token_id: pad.first().copied(),
            bos_token_id: bos.first().copied(),
            eos_token_ids: eos,
            id2label: labels::scalars_by_name(outer.find("id2label").cloned().unwrap_or_default()),
            problem_type: outer.text("problem_type")?.map(str::to_owned),
            stored_dtype: stored_dtype(&keys).or_else(|| stored_dtype(&outer)),
        })
    }

    /// Refuses a head that the configuration at `path` says is read otherwise than by a softmax over its outputs.
    ///
    /// # Errors
    /// [`Error::File`] for `multi_label_classification` (a sigmoid for each output) and `regression`.
    pub fn check_problem_type(&self, path: &Path) -> Result<()> {
        labels::check_problem_type(self.problem_type.as_deref(), path)
    }

    /// Names of the `classes` outputs of the head in use, where the configuration names exactly these.
    pub fn class_names(&self, classes: usize) -> Option<Vec<String>> {
        labels::class_names(&self.id2label, classes)
    }
}

fn biases(keys: &Keys<'_>, family: &Family) -> Result<Biases, Problem> {
    let says = |key: &str| Ok::<_, Problem>(keys.truth(key)?.unwrap_or(false));
    let of_attention = || says("attention_bias");
    Ok(match family.biases {
        BiasRule::Never => Biases::default(),
        BiasRule::QueryKeyValue => Biases { query_key_value: true, ..Biases::default() },
        BiasRule::Attention => {
            let attention = of_attention()?;
            Biases { query_key_value: attention, attention_output: attention, mlp: false }
        }
        BiasRule::AttentionAndMlp => {
            let attention = of_attention()?;
            Biases { query_key_value: attention, attention_output: attention, mlp: says("mlp_bias")? }
        }
    })
}

/// The caps of scores and logits; a null is none.
fn softcaps(keys: &Keys<'_>, family: &Family) -> Result<[Option<f64>; 2], Problem> {
    let Some([attention, last]) = family.softcaps else { return Ok([None; 2]) };
    let cap = |key: &str, default| {
        let given = keys.positive(key)?;
        Ok::<_, Problem>(if keys.is_given(key) { given } else { default })
    };
    Ok([cap("attn_logit_softcapping", attention)?, cap("final_logit_softcapping", last)?])
}

/// The activation, if the key is there: gates are silu or the tanh approximation of gelu.
fn activation(keys: &Keys<'_>, key: &str) -> Result<Option<Activation>, Problem> {
    let Some(name) = keys.text(key)? else { return Ok(None) };
    match activation_of(name) {
        Ok(known @ (Activation::Silu | Activation::GeluTanh)) => Ok(Some(known)),
        _ => Err(keys.refused(key, "\"silu\" or \"gelu_pytorch_tanh\"")),
    }
}

/// The tokens for padding, beginning and end; a null is none.
fn tokens(keys: &Keys<'_>, family: &Family) -> Result<[Vec<u32>; 3], Problem> {
    let [pad, bos, eos] = family.tokens;
    let token = |key: &str, default: Option<u32>| {
        if keys.is_given(key) { keys.tokens(key) } else { Ok(default.into_iter().collect()) }
    };
    Ok([token("pad_token_id", pad)?, token("bos_token_id", bos)?, token("eos_token_id", eos)?])
}

/// The type of the weights. What is no type that is read is not told, as the tensors say it themselves.
fn stored_dtype(keys: &Keys<'_>) -> Option<DType> {
    let name = keys.find("dtype").or_else(|| keys.find("torch_dtype"))?.as_str()?;
    match name.strip_prefix("torch.").unwrap_or(name) {
        "float32" => Some(DType::F32),
        "float16" => Some(DType::F16),
        "bfloat16" => Some(DType::BF16),
        _ => None,
    }
}
