//! Adapters in the file layout of Hugging Face PEFT: `adapter_config.json` beside `adapter_model.safetensors`.
//!
//! Module paths are those of the wrapped model (`bert.encoder.layer.0.attention.self.query`); which of them a backbone
//! knows is the backbone's business.

mod config;
mod folder;
mod initial;
mod names;
mod pattern;
mod plain;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bayeslora_host::write_atomically;
use candle_core::{Device, Tensor};

use crate::error::{Error, Result};
use crate::files::{LARGEST, parse_tensors, write_tensors};
use names::Part;

pub use config::{PeftConfig, Task};
pub use folder::{CONFIG_FILE, WEIGHTS_FILE};
pub use initial::Initialisation;
pub use pattern::{Patterns, Targets, ends_with_module};
pub use plain::PlainSettings;

/// A classification head kept beside an adapter that was saved without one.
pub const HEAD_FILE: &str = "head.safetensors";

/// What PEFT puts before every module path.
const PREFIX: &str = "base_model.model.";

/// One module's low-rank pair.
#[derive(Debug, Clone)]
pub struct Pair {
    /// `A [r, d_in]`.
    pub a: Tensor,
    /// `B [d_out, r]`.
    pub b: Tensor,
    /// The bias on `B [d_out]`, in an adapter trained with one.
    pub bias: Option<Tensor>,
    /// Scale `s`.
    pub scale: f64,
}

/// An adapter as PEFT stores it.
#[derive(Debug, Clone)]
pub struct PeftAdapter {
    /// Settings.
    pub config: PeftConfig,
    /// Low-rank pairs of linear maps by module path.
    pub pairs: BTreeMap<String, Pair>,
    /// Low-rank pairs of embeddings by module path: `A [r, entries]`, `B [width, r]`.
    pub tables: BTreeMap<String, Pair>,
    /// Trained rows of embeddings by module path.
    pub token_rows: BTreeMap<String, Tensor>,
    /// Tensors of modules saved whole (`classifier.weight`), by path.
    pub whole: BTreeMap<String, Tensor>,
    /// The model's own tensors of modules that have an adapter, by path.
    pub under_adapters: BTreeMap<String, Tensor>,
    /// Where it was read from.
    pub folder: PathBuf,
}

/// What a file has of one module's adapter.
#[derive(Default)]
struct Found {
    a: Option<Tensor>,
    b: Option<Tensor>,
    bias: Option<Tensor>,
}

impl PeftAdapter {
    /// Reads `folder/adapter_config.json` and `folder/adapter_model.safetensors`.
    ///
    /// # Errors
    /// [`Error::File`] for a missing, damaged or inconsistent file, [`Error::Unsupported`] for a kind of adapter that would be
    /// computed wrongly.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let config_path = folder.join(CONFIG_FILE);
        let config = PeftConfig::parse(&folder::settings(folder)?, &config_path)?;
        let weights_path = folder.join(WEIGHTS_FILE);
        let tensors = parse_tensors(&weights_path, &folder::tensors(folder)?, device)?;
        let mut adapter = Self {
            config,
            pairs: BTreeMap::new(),
            tables: BTreeMap::new(),
            token_rows: BTreeMap::new(),
            whole: BTreeMap::new(),
            under_adapters: BTreeMap::new(),
            folder: folder.to_owned(),
        };
        adapter.sort(tensors)?;
        if adapter.pairs.is_empty() && adapter.tables.is_empty() {
            return Err(adapter.problem("holds no lora_A and lora_B; expected a LoRA adapter saved by PEFT".to_owned()));
        }
        Ok(adapter)
    }

    /// The file of the tensors.
    pub fn weights_path(&self) -> PathBuf {
        self.folder.join(WEIGHTS_FILE)
    }

    /// An error about the file of the tensors.
    pub fn problem(&self, problem: String) -> Error {
        Error::File { path: self.weights_path(), problem }
    }

    /// Sorts the tensors of the file by what they are to the model.
    fn sort(&mut self, tensors: BTreeMap<String, Tensor>) -> Result<()> {
        let keys: Vec<String> = tensors.keys().cloned().collect();
        let adapters = names::adapter_names(keys.iter());
        if adapters.len() > 1 {
            let names: Vec<&str> = adapters.into_iter().collect();
            let problem = format!("holds several adapters ({}); expected one: save them apart", names.join(", "));
            return Err(self.problem(problem));
        }
        // Biases of every adapter's copies are saved with one adapter's maps.
        let adapters = &adapters | &names::copy_names(&keys);
        let mut maps: BTreeMap<String, Found> = BTreeMap::new();
        let mut tables: BTreeMap<String, Found> = BTreeMap::new();
        let mut copies: BTreeMap<String, Vec<(String, Tensor)>> = BTreeMap::new();
        for (key, tensor) in tensors {
            let name = names::parse(&key, &adapters).map_err(|problem| self.problem(problem))?;
            let path = name.path;
            let before = match name.part {
                Part::A => maps.entry(path).or_default().a.replace(tensor),
                Part::B => maps.entry(path).or_default().b.replace(tensor),
                Part::BiasOfB => maps.entry(path).or_default().bias.replace(tensor),
                Part::EmbeddingA => tables.entry(path).or_default().a.replace(tensor),
                Part::EmbeddingB => tables.entry(path).or_default().b.replace(tensor),
                Part::TokenRows => self.token_rows.insert(path, tensor),
                Part::UnderAdapter => self.under_adapters.insert(path, tensor),
                Part::Whole => self.whole.insert(path, tensor),
                Part::TrainedCopy => {
                    copies.entry(path).or_default().push((key, tensor));
                    continue;
                }
                Part::Unused => None,
            };
            if before.is_some() {
                return Err(self
                    .problem(format!("{key} is there twice, under another prefix; expected one tensor of that name")));
            }
        }
        // PEFT reads the plain name where both are there.
        copies.retain(|path, _| !self.whole.contains_key(path));
        for (path, mut copies) in copies {
            if let [(key, _), (other, _), ..] = copies.as_slice() {
                return Err(self.problem(format!("{key} and {other} are both there; expected one tensor of {path}")));
            }
            self.whole.extend(copies.pop().map(|(_, tensor)| (path, tensor)));
        }
        for (found, kind) in [(maps, ["lora_A", "lora_B"]), (tables, ["lora_embedding_A", "lora_embedding_B"])] {
            for (module, found) in found {
                let pair = self.pair(&module, found, kind)?;
                let of_kind = if kind[0] == "lora_A" { &mut self.pairs } else { &mut self.tables };
                of_kind.insert(module, pair);
            }
        }
        Ok(())
    }

    /// The halves of one module, checked against each other and the settings.
    fn pair(&self, module: &str, found: Found, kind: [&str; 2]) -> Result<Pair> {
        let (a, b) = match (found.a, found.b) {
            (Some(a), Some(b)) => (a, b),
            (a, _) => {
                let missing = if a.is_none() { kind[0] } else { kind[1] };
                return Err(self.problem(format!("has no {missing} of {module}; re-export the adapter")));
            }
        };
        let rank = self.config.rank_of(module)?;
        for (half, tensor, side) in [(kind[0], &a, 0), (kind[1], &b, 1)] {
            let shape = tensor.dims();
            if shape.len() != 2 || shape.contains(&0) {
                let expected = if side == 0 { "[rank, inputs]" } else { "[outputs, rank]" };
                return Err(self.problem(format!(
                    "{half} of {module} has shape {shape:?}; expected {expected}: its shards were not gathered, or the file is damaged"
                )));
            }
            let got = shape[side];
            if got != rank {
                return Err(self.problem(format!(
                    "{half} of {module} has rank {got}, {CONFIG_FILE} says {rank}; re-export the adapter"
                )));
            }
        }
        if let Some(bias) = found.bias.as_ref().filter(|bias| bias.dims() != &b.dims()[..1]) {
            let (got, expected) = (bias.dims(), &b.dims()[..1]);
            return Err(
                self.problem(format!("the bias of {} of {module} has shape {got:?}; expected {expected:?}", kind[1]))
            );
        }
        if found.bias.is_some() != self.config.lora_bias {
            let there = if found.bias.is_some() { "a" } else { "no" };
            let (half, flag) = (kind[1], self.config.lora_bias);
            return Err(self
                .problem(format!("has {there} bias on {half} of {module}, but lora_bias is {flag} in {CONFIG_FILE}")));
        }
        let scale = self.config.scale_of(module)?;
        let size = |tensor: &Tensor| -> Result<f64> {
            Ok(f64::from(tensor.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?))
        };
        let bound = scale.abs() * size(&a)? * size(&b)? * rank as f64;
        if bound.is_nan() || bound > LARGEST {
            return Err(self.problem(format!(
                "the increment of {module} reaches {bound:.0e} (scale {scale:e}); expected weights of ordinary size: is lora_alpha right?"
            )));
        }
        Ok(Pair { a, b, bias: found.bias, scale })
    }
}

/// Writes the two files of an adapter without extras into `folder`, each atomically.
///
/// # Errors
/// [`Error::Host`] naming the file.
pub fn save_plain(
    folder: &Path,
    settings: &PlainSettings,
    pairs: &BTreeMap<String, Pair>,
    whole: &BTreeMap<String, Tensor>,
) -> Result<()> {
    let mut tensors = BTreeMap::new();
    for (module, pair) in pairs {
        tensors.insert(format!("{PREFIX}{module}.lora_A.weight"), pair.a.clone());
        tensors.insert(format!("{PREFIX}{module}.lora_B.weight"), pair.b.clone());
    }
    for (path, tensor) in whole {
        tensors.insert(format!("{PREFIX}{path}"), tensor.clone());
    }
    write_tensors(&folder.join(WEIGHTS_FILE), &tensors)?;
    let text = settings.to_json(&pairs.keys().collect::<Vec<_>>());
    Ok(write_atomically(&folder.join(CONFIG_FILE), text.as_bytes())?)
}
