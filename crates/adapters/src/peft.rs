//! Adapters in the file layout of Hugging Face PEFT: `adapter_config.json` beside `adapter_model.safetensors`.
//!
//! Module paths are those of the wrapped model (`bert.encoder.layer.0.attention.self.query`); which of them a backbone
//! knows is the backbone's business.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::{read_tensors, write_tensors};
use bayeslora_host::{read, write_atomically};

/// The settings of an adapter.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// Its tensors.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";
/// A classification head kept beside an adapter that was saved without one.
pub const HEAD_FILE: &str = "head.safetensors";

/// What PEFT puts before every module path.
const PREFIX: &str = "base_model.model.";

/// The part of `adapter_config.json` that decides what an adapter computes. Other keys are ignored on reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the file's layout is PEFT's")]
pub struct PeftConfig {
    /// `LORA`.
    pub peft_type: String,
    /// `SEQ_CLS`, or nothing.
    #[serde(default)]
    pub task_type: Option<String>,
    /// Name of the model it was trained on.
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
    /// Rank.
    pub r: usize,
    /// `alpha`.
    pub lora_alpha: f64,
    /// Dropout probability `p` at the adapter's input in training.
    #[serde(default)]
    pub lora_dropout: f64,
    /// Which biases were trained: only `none` is supported.
    #[serde(default = "no_bias")]
    pub bias: String,
    /// Names of the adapted modules, or a regular expression.
    #[serde(default)]
    pub target_modules: serde_json::Value,
    /// Blocks adapted.
    #[serde(default)]
    pub layers_to_transform: Option<serde_json::Value>,
    /// Modules saved whole.
    #[serde(default)]
    pub modules_to_save: Option<Vec<String>>,
    /// Ranks of single modules.
    #[serde(default)]
    pub rank_pattern: BTreeMap<String, usize>,
    /// Alphas of single modules.
    #[serde(default)]
    pub alpha_pattern: BTreeMap<String, f64>,
    /// Whether `s = alpha / sqrt(r)`.
    #[serde(default)]
    pub use_rslora: bool,
    /// Weight-decomposed adapters: not supported.
    #[serde(default)]
    pub use_dora: bool,
    /// Transposed storage: not supported.
    #[serde(default)]
    pub fan_in_fan_out: bool,
    /// A bias on `B`: not supported.
    #[serde(default)]
    pub lora_bias: bool,
    /// Repeated blocks: not supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_replication: Option<serde_json::Value>,
    /// Trained embeddings of single tokens: not supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trainable_token_indices: Option<serde_json::Value>,
    /// Adapters on bare parameters: not supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_parameters: Option<serde_json::Value>,
    /// Whether the adapter is to be loaded for inference.
    #[serde(default)]
    pub inference_mode: bool,
}

fn no_bias() -> String {
    "none".to_owned()
}

/// One module's low-rank pair.
#[derive(Debug, Clone)]
pub struct Pair {
    /// `A [r, d_in]`.
    pub a: Tensor,
    /// `B [d_out, r]`.
    pub b: Tensor,
    /// Scale `s`.
    pub scale: f64,
}

/// An adapter as PEFT stores it.
#[derive(Debug, Clone)]
pub struct PeftAdapter {
    /// Settings.
    pub config: PeftConfig,
    /// Low-rank pairs by module path.
    pub pairs: BTreeMap<String, Pair>,
    /// Tensors of modules saved whole (`classifier.weight`), by path.
    pub extra: BTreeMap<String, Tensor>,
    /// Where it was read from, for messages.
    pub folder: PathBuf,
}

impl PeftAdapter {
    /// Reads `folder/adapter_config.json` and `folder/adapter_model.safetensors`.
    ///
    /// # Errors
    /// [`Error::Io`] for a missing file, [`Error::File`] for a damaged or inconsistent one, [`Error::Unsupported`] for
    /// a kind of adapter that would be computed wrongly.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let config_path = folder.join(CONFIG_FILE);
        let config: PeftConfig = serde_json::from_slice(&read(&config_path)?).map_err(|error| Error::File {
            path: config_path.clone(),
            problem: format!("not the settings of a LoRA adapter: {error}"),
        })?;
        check_supported(&config, &config_path)?;
        let weights_path = folder.join(WEIGHTS_FILE);
        let problem = |problem: String| Error::File { path: weights_path.clone(), problem };

        let mut halves: BTreeMap<String, [Option<Tensor>; 2]> = BTreeMap::new();
        let mut extra = BTreeMap::new();
        for (key, tensor) in read_tensors(&weights_path, device)? {
            let path = key.strip_prefix(PREFIX).unwrap_or(&key);
            let module = |suffix: &str| path.strip_suffix(suffix).map(str::to_owned);
            if let Some(module) = module(".lora_A.weight") {
                halves.entry(module).or_default()[0] = Some(tensor);
            } else if let Some(module) = module(".lora_B.weight") {
                halves.entry(module).or_default()[1] = Some(tensor);
            } else if path.contains(".lora_") {
                return Err(problem(format!(
                    "{key} is not a tensor of a plain LoRA adapter; re-export it without extras"
                )));
            } else {
                extra.insert(path.replace(".modules_to_save.", ".").replace(".default.", "."), tensor);
            }
        }
        if halves.is_empty() {
            return Err(problem("holds no lora_A and lora_B; expected a LoRA adapter saved by PEFT".to_owned()));
        }
        let mut pairs = BTreeMap::new();
        for (module, halves) in halves {
            let [Some(a), Some(b)] = halves else {
                return Err(problem(format!("{module} has only one of lora_A and lora_B; re-export the adapter")));
            };
            let (rank, expected) = (a.dim(0)?, rank_of(&config, &module));
            if rank != expected {
                return Err(problem(format!(
                    "lora_A of {module} has rank {rank}, {CONFIG_FILE} says {expected}; re-export the adapter"
                )));
            }
            let alpha = pattern(&config.alpha_pattern, &module).copied().unwrap_or(config.lora_alpha);
            let divisor = if config.use_rslora { (rank as f64).sqrt() } else { rank as f64 };
            pairs.insert(module, Pair { a, b, scale: alpha / divisor });
        }
        Ok(Self { config, pairs, extra, folder: folder.to_owned() })
    }

    /// Writes the two files into `folder`, each atomically.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let mut tensors = BTreeMap::new();
        for (module, pair) in &self.pairs {
            tensors.insert(format!("{PREFIX}{module}.lora_A.weight"), pair.a.clone());
            tensors.insert(format!("{PREFIX}{module}.lora_B.weight"), pair.b.clone());
        }
        for (path, tensor) in &self.extra {
            tensors.insert(format!("{PREFIX}{path}"), tensor.clone());
        }
        write_tensors(&folder.join(WEIGHTS_FILE), &tensors)?;
        let config_path = folder.join(CONFIG_FILE);
        let text = serde_json::to_string_pretty(&self.config).map_err(|error| Error::File {
            path: config_path.clone(),
            problem: format!("cannot be encoded: {error}"),
        })?;
        Ok(write_atomically(&config_path, format!("{text}\n").as_bytes())?)
    }
}

/// The value of the pattern that names `module`: its whole path or its last components, as PEFT matches literal keys.
fn pattern<'a, T>(patterns: &'a BTreeMap<String, T>, module: &str) -> Option<&'a T> {
    patterns
        .iter()
        .find(|(key, _)| {
            module == key.as_str() || module.strip_suffix(key.as_str()).is_some_and(|rest| rest.ends_with('.'))
        })
        .map(|(_, value)| value)
}

fn rank_of(config: &PeftConfig, module: &str) -> usize {
    pattern(&config.rank_pattern, module).copied().unwrap_or(config.r)
}

fn check_supported(config: &PeftConfig, path: &Path) -> Result<()> {
    let unsupported = |feature: String, advice| Err(Error::Unsupported { path: path.to_owned(), feature, advice });
    if config.peft_type != "LORA" {
        return unsupported(format!("peft_type {}", config.peft_type), "expected LORA");
    }
    if !(0.0..1.0).contains(&config.lora_dropout) {
        return Err(Error::DropoutProbability { got: config.lora_dropout });
    }
    if !(config.lora_alpha.is_finite() && config.r > 0) {
        let problem = format!("r is {} and lora_alpha {}; expected a positive rank", config.r, config.lora_alpha);
        return Err(Error::File { path: path.to_owned(), problem });
    }
    if config.bias != "none" {
        return unsupported(format!("bias \"{}\"", config.bias), "train the adapter with bias=\"none\"");
    }
    let flags = [
        ("use_dora", config.use_dora),
        ("fan_in_fan_out", config.fan_in_fan_out),
        ("lora_bias", config.lora_bias),
        ("layer_replication", config.layer_replication.as_ref().is_some_and(is_set)),
        ("trainable_token_indices", config.trainable_token_indices.as_ref().is_some_and(is_set)),
        ("target_parameters", config.target_parameters.as_ref().is_some_and(is_set)),
    ];
    if let Some((name, _)) = flags.into_iter().find(|(_, set)| *set) {
        return unsupported(name.to_owned(), "merge the adapter into the model, or train it without");
    }
    let keys = config.rank_pattern.keys().chain(config.alpha_pattern.keys());
    let literal = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    if let Some(key) = keys.into_iter().find(|key| !literal(key)) {
        return unsupported(format!("the regular expression `{key}` in a pattern"), "name the modules literally");
    }
    Ok(())
}

fn is_set(value: &serde_json::Value) -> bool {
    !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
}
