//! `adapter_config.json`: the settings of a LoRA adapter, with PEFT's defaults for what is null or left out.
//!
//! A key that changes what an adapter computes is understood or refused by its name. A key that this reader does not know passes only
//! while it is switched off.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::initial::Initialisation;
use super::pattern::{Layers, Modules, Ordered, Patterns, Targets, saved_module};
use crate::error::{Error, Result};

/// Keys that do not change what a finished adapter computes. Settings of initialisations are here: the initialisation itself is checked.
const HARMLESS: [&str; 18] = [
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    // PEFT itself puts this to false on maps stored as these backbones store them.
    "fan_in_fan_out",
    "inference_mode",
    "loftq_config",
    "lora_dtype",
    "lora_ga_config",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "unsloth_fixed",
    "velora_config",
];

/// What to do about an initialisation that cannot be repeated.
const CONVERT: &str = "save it again with save_pretrained(.., path_initial_model_for_weight_conversion=..), which makes it a plain LoRA \
                       adapter";

/// The part of `adapter_config.json` that decides what an adapter computes.
#[derive(Debug, Clone)]
pub struct PeftConfig {
    /// Rank `r` of modules that no pattern names. Default: 8.
    pub r: usize,
    /// `alpha` of modules that no pattern names. Default: 8.
    pub lora_alpha: f64,
    /// Dropout probability `p` at the adapter's input in training. Default: 0.
    pub lora_dropout: f64,
    /// Whether all biases of the model were trained, so that one of the head's may stand alone in the file. Default: no.
    pub trains_all_biases: bool,
    /// Which modules are adapted.
    pub targets: Targets,
    /// Ends of the paths of modules that are saved whole. Default: none.
    pub modules_to_save: Vec<String>,
    /// Ranks of single modules. Default: none.
    pub rank_pattern: Patterns<usize>,
    /// What it was trained to do.
    pub task: Task,
    /// Alphas of single modules. Default: none.
    pub alpha_pattern: Patterns<f64>,
    /// Whether `s = alpha / sqrt(r)` instead of `alpha / r`. Default: no.
    pub use_rslora: bool,
    /// Whether `B` has a bias. Default: no.
    pub lora_bias: bool,
    /// What training took out of the model's own weights. Default: nothing.
    pub initialisation: Initialisation,
    /// Numbers of the tokens whose embeddings were trained, by the end of the table's path; the end is empty for the words'.
    pub trained_tokens: Vec<(String, Vec<u32>)>,
}

/// What an adapter was trained to do, by its `task_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// To classify texts, with a head of its own.
    Classes,
    /// To go on with a text, by the language head of its model.
    NextToken,
    /// It does not say.
    Unsaid,
}

impl PeftConfig {
    /// Reads the settings from the bytes of the file at `path`.
    ///
    /// # Errors
    /// [`Error::File`] for a value that is not of its kind, [`Error::Unsupported`] for a feature that would be computed wrongly.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let malformed = |error: serde_json::Error| Error::File {
            path: path.to_owned(),
            problem: format!("not the settings of an adapter: {error}; expected the JSON object that PEFT saves"),
        };
        let keys: Map<String, Value> = serde_json::from_slice(bytes).map_err(malformed)?;
        let mut keys = Keys { path, keys };
        // Before anything else is missed in the settings of another method.
        keys.check_type()?;
        let task = keys.task()?;
        let ordered: InOrder = serde_json::from_slice(bytes).map_err(malformed)?;
        keys.refuse_features()?;
        let (r, lora_alpha) = (keys.rank("r", 8)?, keys.alpha("lora_alpha", 8.0)?);
        let modules_to_save = keys.words("modules_to_save")?.unwrap_or_default();
        let config = Self {
            r,
            lora_alpha,
            lora_dropout: keys.dropout()?,
            trains_all_biases: keys.bias()?,
            targets: keys.targets(&modules_to_save)?,
            modules_to_save,
            rank_pattern: keys.pattern("rank_pattern", ordered.rank_pattern, Keys::as_rank)?,
            alpha_pattern: keys.pattern("alpha_pattern", ordered.alpha_pattern, Keys::as_alpha)?,
            use_rslora: keys.flag("use_rslora")?,
            lora_bias: keys.flag("lora_bias")?,
            task,
            initialisation: keys.initialisation()?,
            trained_tokens: keys.trained_tokens()?,
        };
        keys.refuse_unknown()?;
        Ok(config)
    }

    /// Rank of `module`: that of the first pattern that names it, or `r`.
    ///
    /// # Errors
    /// When a pattern takes too long to match.
    pub fn rank_of(&self, module: &str) -> Result<usize> {
        Ok(self.rank_pattern.first(module)?.copied().unwrap_or(self.r))
    }

    /// Scale `s` of `module` at its rank.
    ///
    /// # Errors
    /// When a pattern takes too long to match.
    pub fn scale_of(&self, module: &str) -> Result<f64> {
        let rank = self.rank_of(module)? as f64;
        let alpha = self.alpha_pattern.first(module)?.copied().unwrap_or(self.lora_alpha);
        Ok(alpha / if self.use_rslora { rank.sqrt() } else { rank })
    }
}

/// The two objects whose keys count in their order.
#[derive(Deserialize)]
struct InOrder {
    #[serde(default)]
    rank_pattern: Option<Ordered>,
    #[serde(default)]
    alpha_pattern: Option<Ordered>,
}

/// The keys of the file that are still to be looked at.
struct Keys<'a> {
    path: &'a Path,
    keys: Map<String, Value>,
}

impl Keys<'_> {
    /// The value of a key that is there and not null.
    fn take(&mut self, key: &str) -> Option<Value> {
        self.keys.remove(key).filter(|value| !value.is_null())
    }

    fn problem(&self, problem: String) -> Error {
        Error::File { path: self.path.to_owned(), problem }
    }

    fn wrong<T>(&self, key: &str, value: &Value, expected: &str) -> Result<T> {
        Err(self.problem(format!("{key} is {value}; expected {expected}")))
    }

    fn unsupported<T>(&self, feature: String, advice: &'static str) -> Result<T> {
        Err(Error::Unsupported { path: self.path.to_owned(), feature, advice })
    }

    fn check_type(&self) -> Result<()> {
        match self.keys.get("peft_type").unwrap_or(&Value::Null) {
            Value::String(kind) if kind == "LORA" => Ok(()),
            Value::Null => {
                Err(self.problem("has no peft_type; expected \"LORA\" in the settings of an adapter".to_owned()))
            }
            kind => self.unsupported(format!("peft_type {kind}"), "expected an adapter trained with LoRA (\"LORA\")"),
        }
    }

    /// What it was trained to do. Refuses what is neither to classify texts nor to go on with them.
    fn task(&mut self) -> Result<Task> {
        let Some(value) = self.take("task_type") else { return Ok(Task::Unsaid) };
        match value.as_str() {
            Some("SEQ_CLS" | "FEATURE_EXTRACTION") => Ok(Task::Classes),
            Some("CAUSAL_LM") => Ok(Task::NextToken),
            _ => self.wrong(
                "task_type",
                &value,
                "\"SEQ_CLS\" (classes of a text), \"CAUSAL_LM\" (the next token), \"FEATURE_EXTRACTION\" or null",
            ),
        }
    }

    /// Refuses what changes the function in a way that is not computed here.
    fn refuse_features(&mut self) -> Result<()> {
        let merge = "merge the adapter into the model, or train it without";
        for key in [
            "use_dora",
            "use_qalora",
            "use_bdlora",
            "alora_invocation_tokens",
            "arrow_config",
            "kasa_config",
            "layer_replication",
            "megatron_config",
            "monteclora_config",
            "target_parameters",
        ] {
            if let Some(value) = self.keys.remove(key).filter(is_set) {
                return self.unsupported(format!("{key} {value}"), merge);
            }
        }
        Ok(())
    }

    fn refuse_unknown(mut self) -> Result<()> {
        self.keys.retain(|key, value| is_set(value) && !HARMLESS.contains(&key.as_str()));
        let Some((key, value)) = self.keys.iter().next() else { return Ok(()) };
        let feature = format!("the unknown setting {key} {value}");
        self.unsupported(feature, "delete the key where it does not change what the adapter computes")
    }

    fn flag(&mut self, key: &str) -> Result<bool> {
        match self.take(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(value) => self.wrong(key, &value, "true or false"),
        }
    }

    fn as_rank(&self, key: &str, value: &Value) -> Result<usize> {
        let whole = value.as_f64().filter(|rank| rank.fract() == 0.0 && (1.0..=1e6).contains(rank));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 1 to 1e6")]
        match whole {
            Some(rank) => Ok(rank as usize),
            None => self.wrong(key, value, "a rank of at least 1"),
        }
    }

    fn as_alpha(&self, key: &str, value: &Value) -> Result<f64> {
        match value.as_f64().filter(|alpha| alpha.abs() <= crate::files::LARGEST) {
            Some(alpha) => Ok(alpha),
            None => self.wrong(key, value, "a number of ordinary size, as 16"),
        }
    }

    fn rank(&mut self, key: &str, default: usize) -> Result<usize> {
        self.take(key).map_or(Ok(default), |value| self.as_rank(key, &value))
    }

    fn alpha(&mut self, key: &str, default: f64) -> Result<f64> {
        self.take(key).map_or(Ok(default), |value| self.as_alpha(key, &value))
    }

    fn dropout(&mut self) -> Result<f64> {
        let Some(value) = self.take("lora_dropout") else { return Ok(0.0) };
        match value.as_f64().filter(|p| (0.0..1.0).contains(p)) {
            Some(p) => Ok(p),
            None => self.wrong("lora_dropout", &value, "a probability p with 0 <= p < 1"),
        }
    }

    /// Whether all biases were trained. Those of the adapted modules are in the file where only they were.
    fn bias(&mut self) -> Result<bool> {
        let Some(value) = self.take("bias") else { return Ok(false) };
        match value.as_str() {
            Some("none" | "lora_only") => Ok(false),
            Some("all") => Ok(true),
            _ => self.wrong("bias", &value, "\"none\", \"all\" or \"lora_only\""),
        }
    }

    /// A list of words, or one word.
    fn words(&mut self, key: &str) -> Result<Option<Vec<String>>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let words = match &value {
            Value::String(word) => Some(vec![word.clone()]),
            Value::Array(words) => words.iter().map(|word| word.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        words.map_or_else(|| self.wrong(key, &value, "a list of names"), |words| Ok(Some(words)))
    }

    /// A list of names, or a regular expression.
    fn modules(&mut self, key: &str) -> Result<Option<Modules>> {
        match self.take(key) {
            Some(Value::String(text)) if text.eq_ignore_ascii_case("all-linear") => Ok(Some(Modules::AllLinear)),
            Some(Value::String(text)) => {
                let regex = Modules::matching(&text).map_err(|error| self.problem(format!("{key}: {error}")))?;
                Ok(Some(regex))
            }
            Some(value) => {
                self.keys.insert(key.to_owned(), value);
                Ok(self.words(key)?.map(Modules::Named))
            }
            None => Ok(None),
        }
    }

    fn targets(&mut self, modules_to_save: &[String]) -> Result<Targets> {
        // PEFT's own choice for these families where none is written.
        let default =
            || Modules::Named(["query", "value", "q_lin", "v_lin", "q_proj", "v_proj"].map(str::to_owned).to_vec());
        let modules = self.modules("target_modules")?.unwrap_or_else(default);
        let excluded = self.modules("exclude_modules")?;
        let whole =
            |module: &String| saved_module(module).map_err(|error| self.problem(format!("modules_to_save: {error}")));
        let saved = modules_to_save.iter().map(whole).collect::<Result<_>>()?;
        let key = "layers_to_transform";
        let layers = self.take(key);
        let patterns = self.words("layers_pattern")?.unwrap_or_default();
        let numbers = match &layers {
            None => None,
            Some(Value::Array(numbers)) => Some(numbers.iter().map(Value::as_u64).collect::<Option<Vec<_>>>()),
            Some(number) => Some(number.as_u64().map(|number| vec![number])),
        };
        let layers = match (numbers, &layers) {
            (Some(None), Some(value)) => return self.wrong(key, value, "numbers of layers, from 0"),
            (Some(Some(numbers)), _) if !numbers.is_empty() => Some(
                Layers::new(numbers, &patterns).map_err(|error| self.problem(format!("layers_pattern: {error}")))?,
            ),
            _ => None,
        };
        Ok(Targets { modules, excluded, saved, layers })
    }

    fn pattern<T>(
        &mut self,
        key: &str,
        ordered: Option<Ordered>,
        value_of: impl Fn(&Self, &str, &Value) -> Result<T>,
    ) -> Result<Patterns<T>> {
        self.keys.remove(key);
        let mut patterns = Patterns::default();
        for (pattern, value) in ordered.into_iter().flat_map(|ordered| ordered.0) {
            let value = value_of(self, &format!("{key}[\"{pattern}\"]"), &value)?;
            patterns.push(&pattern, value).map_err(|error| self.problem(format!("{key}: {error}")))?;
        }
        Ok(patterns)
    }

    fn initialisation(&mut self) -> Result<Initialisation> {
        let value = match self.take("init_lora_weights") {
            None | Some(Value::Bool(_)) => return Ok(Initialisation::Untouched),
            Some(value) => value,
        };
        match value.as_str().map(str::to_lowercase).as_deref() {
            Some("gaussian" | "orthogonal" | "eva" | "mica") => Ok(Initialisation::Untouched),
            Some("olora") => Ok(Initialisation::Olora),
            _ if value == "pissa" => Ok(Initialisation::Pissa),
            _ => self.unsupported(format!("init_lora_weights {value}"), CONVERT),
        }
    }

    fn trained_tokens(&mut self) -> Result<Vec<(String, Vec<u32>)>> {
        let key = "trainable_token_indices";
        let Some(value) = self.take(key) else { return Ok(Vec::new()) };
        let numbers = |value: &Value| -> Option<Vec<u32>> {
            value.as_array()?.iter().map(|number| u32::try_from(number.as_u64()?).ok()).collect()
        };
        let read = match &value {
            Value::Object(tables) => {
                tables.iter().map(|(table, value)| Some((table.clone(), numbers(value)?))).collect::<Option<Vec<_>>>()
            }
            list => numbers(list).map(|numbers| vec![(String::new(), numbers)]),
        };
        read.map_or_else(|| self.wrong(key, &value, "token numbers, or a table of them by embedding"), Ok)
    }
}

/// Whether a value switches something on: not null, false, 0 or empty.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}
