//! `config.json` of a BERT-family encoder.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::{Error, Result};

/// Sizes of a BERT-family encoder. Keys that do not change the computation are ignored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct BertConfig {
    /// `bert`.
    pub model_type: String,
    /// Entries of the vocabulary.
    pub vocab_size: usize,
    /// Width of the activations.
    pub hidden_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Width between the two maps of the feed-forward network.
    pub intermediate_size: usize,
    /// Longest text in tokens.
    pub max_position_embeddings: usize,
    /// Activation of the feed-forward network; only `gelu` is supported.
    #[serde(default = "gelu")]
    pub hidden_act: String,
    /// Only `absolute` is supported.
    #[serde(default = "absolute")]
    pub position_embedding_type: String,
    /// Added to variances in layer normalisation.
    #[serde(default = "layer_norm_eps")]
    pub layer_norm_eps: f64,
    /// Names of the classes by number.
    #[serde(default)]
    pub id2label: BTreeMap<String, String>,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn absolute() -> String {
    "absolute".to_owned()
}

fn layer_norm_eps() -> f64 {
    1e-12
}

impl BertConfig {
    /// Reads `config.json` of a model folder.
    ///
    /// # Errors
    /// [`Error::File`] for a missing or malformed file, or a model this backbone would compute wrongly.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let problem = |problem: String| Error::File { path: path.clone(), problem };
        let bytes = std::fs::read(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let config: Self =
            serde_json::from_slice(&bytes).map_err(|error| problem(format!("not a BERT configuration: {error}")))?;
        let unsupported = [
            ("model_type", &config.model_type, "bert"),
            ("hidden_act", &config.hidden_act, "gelu"),
            ("position_embedding_type", &config.position_embedding_type, "absolute"),
        ];
        for (key, got, expected) in unsupported {
            if got != expected {
                return Err(problem(format!("{key} is \"{got}\"; this backbone supports \"{expected}\" only")));
            }
        }
        let (width, heads) = (config.hidden_size, config.num_attention_heads);
        if heads == 0 || width == 0 || width % heads != 0 {
            return Err(problem(format!("hidden_size {width} is not a multiple of num_attention_heads {heads}")));
        }
        if !(1..u8::MAX as usize).contains(&config.num_hidden_layers) {
            return Err(problem(format!("num_hidden_layers is {}; expected 1 to 254", config.num_hidden_layers)));
        }
        Ok(config)
    }
}
