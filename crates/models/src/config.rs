//! `config.json` of an encoder of BERT's kind: BERT itself, DistilBERT, whose keys have other names, RoBERTa and XLM-RoBERTa.

use std::collections::BTreeMap;
use std::path::Path;

use bayeslora_kernels::Activation;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::labels::{self, scalars_by_name};
use crate::slots::{FAMILIES, MOST_BLOCKS, Names};
use crate::weights::read_config;

/// Sizes of an encoder of BERT's kind, under BERT's names. Keys that do not change the computation are ignored; a null counts as absent, as
/// it does in transformers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct BertConfig {
    /// `backbone`, `distilbert`, `roberta` or `xlm-roberta`.
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
    /// Rows of the table of positions; a text may be shorter: see [`Self::longest_text`].
    pub max_position_embeddings: usize,
    /// The padding token, in families whose positions are counted from its number on (default there: 1); none in the others.
    #[serde(default)]
    pub pad_token_id: Option<u32>,
    /// Segments that tokens may belong to. Default: 2. DistilBERT has none.
    #[serde(default = "two")]
    pub type_vocab_size: usize,
    /// Activation of the feed-forward network, by its name in transformers. Default: `gelu`.
    #[serde(default = "gelu")]
    pub hidden_act: String,
    /// How positions enter; only `absolute` is supported. Default: `absolute`.
    #[serde(default = "absolute")]
    pub position_embedding_type: String,
    /// Number added to variances in layer normalisation. Default: 1e-12.
    #[serde(default = "layer_norm_eps")]
    pub layer_norm_eps: f64,
    /// Whether attention is causal; not supported.
    #[serde(default)]
    pub is_decoder: bool,
    /// Whether blocks attend to another encoder; not supported.
    #[serde(default)]
    pub add_cross_attention: bool,
    /// Heads that were cut out, by block; not supported.
    #[serde(default)]
    pub pruned_heads: Map<String, Value>,
    /// What the checkpoint's own head was trained for; see [`Self::check_problem_type`].
    #[serde(default)]
    pub problem_type: Option<String>,
    /// Names of the classes of the checkpoint's own head, by number; see [`Self::class_names`].
    #[serde(default, deserialize_with = "names")]
    pub id2label: BTreeMap<String, String>,
}

fn two() -> usize {
    2
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

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(scalars_by_name(Value::deserialize(deserializer)?))
}

/// Names of activations in transformers' `ACT2FN`: several are the same function.
const ACTIVATIONS: [(&str, Activation); 12] = [
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_accurate", Activation::GeluTanh),
    ("quick_gelu", Activation::QuickGelu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("relu", Activation::Relu),
    ("tanh", Activation::Tanh),
];

/// The decoders' types, which [`crate::decoder`] reads.
pub(crate) const DECODERS: &str =
    "\"llama\", \"mistral\", \"qwen2\", \"qwen3\", \"gemma2\", \"gemma3_text\", \"gemma3\"";

/// Key of the padding token.
const PADDING_KEY: &str = "pad_token_id";

/// The file in a model's folder.
pub(crate) const CONFIG_FILE: &str = "config.json";

impl BertConfig {
    /// Reads `config.json` of a model folder.
    ///
    /// # Errors
    /// [`Error::Host`] or [`Error::File`] for a missing or malformed file, or a model this backbone would compute wrongly.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(CONFIG_FILE);
        let problem = |problem: String| Error::File { path: path.clone(), problem };
        if !folder.is_dir() {
            let problem =
                "not a folder; expected the folder of a model, with config.json, weights and tokenizer".to_owned();
            return Err(Error::File { path: folder.to_owned(), problem });
        }
        let malformed = |error: serde_json::Error| problem(format!("not a BERT configuration: {error}"));
        let mut keys: Map<String, Value> = serde_json::from_slice(&read_config(&path)?).map_err(malformed)?;
        keys.retain(|_, value| !value.is_null());
        // Before anything else is missed in the configuration of another family.
        let family = family_of(keys.get("model_type")).map_err(problem)?;
        // A key as this file spells it.
        let spelt = |ours: &'static str| {
            let own = family.keys.iter().find(|(_, key)| *key == ours);
            own.map_or(ours, |(theirs, _)| theirs)
        };
        for &(theirs, ours) in family.keys {
            match keys.remove(theirs) {
                Some(value) => drop(keys.insert(ours.to_owned(), value)),
                None if ours == "hidden_act" => {}
                None => {
                    let kind = family.types.join(" or ");
                    return Err(problem(format!("has no {theirs}; expected the configuration of a {kind} model")));
                }
            }
        }
        let padding = keys.remove(PADDING_KEY);
        if family.counts_from_padding {
            // Where there is none, transformers' default.
            let padding = padding.unwrap_or_else(|| 1.into());
            if padding.as_u64().is_none_or(|padding| u32::try_from(padding).is_err()) {
                let problem_of =
                    format!("{PADDING_KEY} is {padding}; expected the number of a token: positions begin after it");
                return Err(problem(problem_of));
            }
            keys.insert(PADDING_KEY.to_owned(), padding);
        }
        let config: Self = serde_json::from_value(keys.into()).map_err(malformed)?;
        config.check(spelt).map_err(problem)?;
        Ok(config)
    }

    /// Refuses what this backbone would compute wrongly; `spelt` gives a key as the file has it.
    fn check(&self, spelt: impl Fn(&'static str) -> &'static str) -> Result<(), String> {
        if let Err(expected) = activation_of(&self.hidden_act) {
            return Err(format!("{} is \"{}\"; {expected}", spelt("hidden_act"), self.hidden_act));
        }
        if self.position_embedding_type != "absolute" {
            let got = &self.position_embedding_type;
            return Err(format!("position_embedding_type is \"{got}\"; this backbone supports \"absolute\" only"));
        }
        for (key, set) in [("is_decoder", self.is_decoder), ("add_cross_attention", self.add_cross_attention)] {
            if set {
                return Err(format!(
                    "{key} is true; this backbone attends to all tokens of a text in both directions: expected false"
                ));
            }
        }
        if !self.pruned_heads.is_empty() {
            let heads = Value::Object(self.pruned_heads.clone());
            return Err(format!("pruned_heads is {heads}; this backbone supports whole attention only"));
        }
        let (width, heads) = (self.hidden_size, self.num_attention_heads);
        if heads == 0 || width == 0 || width % heads != 0 {
            let (width_key, heads_key) = (spelt("hidden_size"), spelt("num_attention_heads"));
            return Err(format!("{width_key} {width} is not a multiple of {heads_key} {heads}"));
        }
        for (key, size) in [
            ("vocab_size", self.vocab_size),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ] {
            if size == 0 {
                return Err(format!("{} is 0; expected at least 1", spelt(key)));
            }
        }
        if self.longest_text() == 0 {
            let (positions, padding) = (self.max_position_embeddings, self.pad_token_id.unwrap_or_default());
            return Err(format!(
                "max_position_embeddings is {positions}; positions begin after {PADDING_KEY}, which is {padding}: expected at least {}",
                u64::from(padding) + 2
            ));
        }
        if !(1..=usize::from(MOST_BLOCKS)).contains(&self.num_hidden_layers) {
            let key = spelt("num_hidden_layers");
            return Err(format!("{key} is {}; expected 1 to {MOST_BLOCKS}", self.num_hidden_layers));
        }
        if !self.layer_norm_eps.is_finite() || self.layer_norm_eps < 0.0 {
            return Err(format!(
                "layer_norm_eps is {}; expected a number of at least 0, such as 1e-12",
                self.layer_norm_eps
            ));
        }
        Ok(())
    }

    /// Refuses a head that `config.json` of `folder` says is read otherwise than by a softmax over its outputs.
    ///
    /// # Errors
    /// [`Error::File`] for `multi_label_classification` (a sigmoid for each output) and `regression`.
    pub fn check_problem_type(&self, folder: &Path) -> Result<()> {
        labels::check_problem_type(self.problem_type.as_deref(), &folder.join(CONFIG_FILE))
    }

    /// Names of the `classes` outputs of the head in use, where the configuration names exactly these; those of another head are no
    /// names of this one.
    pub fn class_names(&self, classes: usize) -> Option<Vec<String>> {
        labels::class_names(&self.id2label, classes)
    }

    /// Most tokens of a text, special ones included: the positions that there are. RoBERTa's begin after the padding token's number.
    pub fn longest_text(&self) -> usize {
        let before = self.pad_token_id.map_or(0, |padding| padding as usize + 1);
        self.max_position_embeddings.saturating_sub(before)
    }

    /// The positions of a text's tokens. Where the padding token is counted from, it has that number itself and moves nobody on.
    pub(crate) fn positions<'a>(&self, text: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
        let padding = self.pad_token_id;
        let mut next = padding.map_or(0, |padding| padding + 1);
        text.iter().map(move |&token| {
            if padding == Some(token) {
                return token;
            }
            next += 1;
            next - 1
        })
    }

    pub(crate) fn family(&self) -> &'static Names {
        Names::of(&self.model_type).unwrap_or(&FAMILIES[0])
    }

    pub(crate) fn activation(&self) -> Result<Activation> {
        let refused = |expected| Error::Slot { what: format!("activation {}", self.hidden_act), expected };
        activation_of(&self.hidden_act).map_err(refused)
    }
}

/// The activation of a name, or what was expected instead.
pub(crate) fn activation_of(name: &str) -> Result<Activation, String> {
    let found = ACTIVATIONS.into_iter().find(|(known, _)| *known == name);
    found.map(|(_, activation)| activation).ok_or_else(|| {
        let known: Vec<&str> = ACTIVATIONS.into_iter().map(|(known, _)| known).collect();
        format!("expected one of {}", known.join(", "))
    })
}

/// The family of a configuration's `model_type`, or what is wrong with that.
fn family_of(model_type: Option<&Value>) -> Result<&'static Names, String> {
    let quoted: Vec<String> =
        FAMILIES.iter().flat_map(|family| family.types).map(|kind| format!("\"{kind}\"")).collect();
    let Some(found) = model_type else {
        return Err(format!(
            "has no model_type; add \"model_type\": {} to it, if it is one of these",
            quoted.join(" or ")
        ));
    };
    let family = found.as_str().and_then(Names::of);
    family.ok_or_else(|| {
        format!(
            "model_type is {found}; this backbone supports {}, and the decoders {DECODERS}, written so",
            quoted.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BERT: &str = r#"{"model_type": "bert", "vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 8, "max_position_embeddings": 16"#;

    fn load(more: &str) -> Result<BertConfig> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CONFIG_FILE), format!("{BERT}{more}}}")).unwrap();
        BertConfig::load(folder.path())
    }

    #[test]
    fn a_null_is_as_good_as_nothing() {
        let plain = load("").unwrap();
        let nulls = r#", "position_embedding_type": null, "id2label": null, "hidden_act": null, "layer_norm_eps": null, "problem_type": null"#;
        assert_eq!(load(nulls).unwrap(), plain);
    }

    #[test]
    fn names_of_classes_are_any_scalars_and_those_of_the_head_in_use_or_none() {
        let config = load(r#", "id2label": {"0": 7, "1": true}"#).unwrap();
        assert_eq!(config.class_names(2), Some(vec!["7".to_owned(), "true".to_owned()]));
        assert_eq!(config.class_names(3), None, "the names of two classes are not those of three");
        assert_eq!(load(r#", "id2label": {"0": "a", "5": "b"}"#).unwrap().class_names(2), None);
        for malformed in [r#", "id2label": ["a", "b"]"#, r#", "id2label": {"0": null, "1": {}}"#, r#", "id2label": 3"#]
        {
            assert_eq!(load(malformed).unwrap().class_names(2), None, "{malformed}");
        }
    }

    #[test]
    fn a_head_that_is_no_softmax_is_refused_by_name() {
        for kind in ["multi_label_classification", "regression"] {
            let config = load(&format!(r#", "problem_type": "{kind}""#)).unwrap();
            let message = config.check_problem_type(Path::new("model")).unwrap_err().to_string();
            assert!(message.starts_with(&format!("model/config.json: problem_type is \"{kind}\"; ")), "{message}");
        }
        let single = load(r#", "problem_type": "single_label_classification""#).unwrap();
        single.check_problem_type(Path::new("model")).unwrap();
    }

    #[test]
    fn what_would_be_computed_wrongly_is_refused_with_its_key_and_value() {
        for (more, expected) in [
            (r#", "is_decoder": true"#, "is_decoder is true"),
            (r#", "add_cross_attention": true"#, "add_cross_attention is true"),
            (r#", "hidden_act": "gelu_10""#, "hidden_act is \"gelu_10\""),
            (r#", "hidden_act": "ReLU""#, "hidden_act is \"ReLU\""),
            (r#", "position_embedding_type": "relative_key""#, "position_embedding_type is \"relative_key\""),
            (r#", "layer_norm_eps": -1.0"#, "layer_norm_eps is -1"),
            (r#", "type_vocab_size": 0"#, "type_vocab_size is 0"),
            (r#", "pruned_heads": {"0": [1]}"#, "pruned_heads is {\"0\":[1]}"),
        ] {
            let message = load(more).unwrap_err().to_string();
            assert!(message.contains(&format!("config.json: {expected}; ")), "{message}");
        }
        assert_eq!(load(r#", "hidden_act": "gelu_python", "pruned_heads": {}"#).unwrap().hidden_act, "gelu_python");
    }

    #[test]
    fn positions_of_roberta_begin_after_its_padding_token() {
        let roberta = |more: &str| load(&format!(r#", "model_type": "xlm-roberta"{more}"#));
        let config = roberta(r#", "pad_token_id": null"#).unwrap();
        assert_eq!((config.pad_token_id, config.longest_text()), (Some(1), 14));
        assert_eq!(config.positions(&[0, 5, 1, 1, 6, 2]).collect::<Vec<_>>(), [2, 3, 1, 1, 4, 5]);
        let config = roberta(r#", "pad_token_id": 3"#).unwrap();
        assert_eq!((config.longest_text(), config.positions(&[0, 1, 3, 2]).collect()), (12, vec![4, 5, 3, 6]));
        // BERT's is a token as any other.
        let config = load(r#", "pad_token_id": -1"#).unwrap();
        assert_eq!((config.longest_text(), config.positions(&[7, 0, 0, 8]).collect()), (16, vec![0, 1, 2, 3]));
        for (padding, says) in [
            ("-1", "pad_token_id is -1; expected the number of a token"),
            ("\"<pad>\"", "pad_token_id is \"<pad>\"; expected the number of a token"),
            (
                "15",
                "max_position_embeddings is 16; positions begin after pad_token_id, which is 15: expected at least 17",
            ),
            ("4294967295", "max_position_embeddings is 16; positions begin after pad_token_id, which is 4294967295: "),
        ] {
            let message = roberta(&format!(r#", "pad_token_id": {padding}"#)).unwrap_err().to_string();
            assert!(message.contains(&format!("config.json: {says}")), "{message}");
        }
    }

    #[test]
    fn a_type_that_is_missing_or_misspelt_is_told_how_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let load = |text: &str| {
            std::fs::write(folder.path().join(CONFIG_FILE), text).unwrap();
            BertConfig::load(folder.path()).unwrap_err().to_string()
        };
        let message = load("{}");
        assert!(message.contains("has no model_type; add \"model_type\": \"bert\" or \"distilbert\" or"), "{message}");
        let message = load(r#"{"model_type": "BERT"}"#);
        assert!(message.contains("model_type is \"BERT\"; this backbone supports \"bert\", "), "{message}");
        let message = BertConfig::load(Path::new("all-minilm-l6-v2")).unwrap_err().to_string();
        assert!(message.starts_with("all-minilm-l6-v2: not a folder; expected the folder of a model"), "{message}");
    }
}
