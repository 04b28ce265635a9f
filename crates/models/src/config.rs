//! `config.json` of a BERT-family encoder: BERT itself, or DistilBERT, whose keys have other names.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::slots::Family;

/// Sizes of a BERT-family encoder, under BERT's names. Keys that do not change the computation are ignored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct BertConfig {
    /// `bert` or `distilbert`.
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
    /// Whether DistilBERT's positions are computed instead of learnt: not supported.
    #[serde(default)]
    pub sinusoidal_pos_embds: bool,
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

/// DistilBERT's names of BERT's keys.
const DISTILBERT_KEYS: [(&str, &str); 5] = [
    ("dim", "hidden_size"),
    ("n_layers", "num_hidden_layers"),
    ("n_heads", "num_attention_heads"),
    ("hidden_dim", "intermediate_size"),
    ("activation", "hidden_act"),
];

impl BertConfig {
    /// Reads `config.json` of a model folder.
    ///
    /// # Errors
    /// [`Error::File`] for a missing or malformed file, or a model this backbone would compute wrongly.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let problem = |problem: String| Error::File { path: path.clone(), problem };
        let bytes = std::fs::read(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let malformed = |error: serde_json::Error| problem(format!("not a BERT configuration: {error}"));
        let mut keys: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&bytes).map_err(malformed)?;
        // Before anything else is missed in the configuration of another family.
        let kind = keys.get("model_type").and_then(|kind| kind.as_str()).unwrap_or_default();
        if !["bert", "distilbert"].contains(&kind) {
            return Err(problem(format!(
                "model_type is \"{kind}\"; this backbone supports \"bert\" and \"distilbert\" only"
            )));
        }
        let distilled = kind == "distilbert";
        // A key as this file spells it.
        let spelt = |ours: &'static str| {
            let own = DISTILBERT_KEYS.into_iter().find(|(_, key)| distilled && *key == ours);
            own.map_or(ours, |(theirs, _)| theirs)
        };
        for (theirs, ours) in DISTILBERT_KEYS.into_iter().filter(|_| distilled) {
            match keys.remove(theirs) {
                Some(value) => drop(keys.insert(ours.to_owned(), value)),
                None if ours == "hidden_act" => {}
                None => {
                    return Err(problem(format!("has no {theirs}; expected the configuration of a DistilBERT model")));
                }
            }
        }
        let config: Self = serde_json::from_value(keys.into()).map_err(malformed)?;
        let unsupported = [
            (spelt("hidden_act"), &config.hidden_act, "gelu"),
            ("position_embedding_type", &config.position_embedding_type, "absolute"),
        ];
        for (key, got, expected) in unsupported {
            if got != expected {
                return Err(problem(format!("{key} is \"{got}\"; this backbone supports \"{expected}\" only")));
            }
        }
        if config.sinusoidal_pos_embds {
            return Err(problem(
                "sinusoidal_pos_embds is true; this backbone supports learnt positions only".to_owned(),
            ));
        }
        let (width, heads) = (config.hidden_size, config.num_attention_heads);
        if heads == 0 || width == 0 || width % heads != 0 {
            let (width_key, heads_key) = (spelt("hidden_size"), spelt("num_attention_heads"));
            return Err(problem(format!("{width_key} {width} is not a multiple of {heads_key} {heads}")));
        }
        if !(1..u8::MAX as usize).contains(&config.num_hidden_layers) {
            let key = spelt("num_hidden_layers");
            return Err(problem(format!("{key} is {}; expected 1 to 254", config.num_hidden_layers)));
        }
        Ok(config)
    }

    pub(crate) fn family(&self) -> Family {
        if self.model_type == "distilbert" { Family::DistilBert } else { Family::Bert }
    }
}
