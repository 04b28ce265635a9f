//! The tensors of a decoder one at a time, from a folder or from a GGUF file, under the names that transformers gives them.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

use super::config::DecoderConfig;
use super::families::{EMBEDDING, PREFIX};
use super::stored::Stored;
use crate::config::CONFIG_FILE;
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::weights::Weights;

/// What stands in place of `model.` in checkpoints: the decoder alone, the text half of a model that reads images as transformers 5 and 4
/// write it, and that half alone.
const PREFIXES: [&str; 5] = [PREFIX, "", "model.language_model.", "language_model.model.", "language_model."];
/// What stands before the heads' names.
const HEADS: [&str; 2] = ["", "language_model."];

/// The weights of a decoder, opened and not yet read.
pub struct Checkpoint {
    source: Source,
    device: Device,
}

enum Source {
    Folder {
        weights: Weights,
        /// What stands in place of `model.`.
        prefix: &'static str,
    },
    Gguf(Gguf),
}

impl Checkpoint {
    /// Opens a model's folder, or a GGUF file, with its configuration.
    ///
    /// # Errors
    /// [`Error::Host`] or [`Error::File`] naming the file that is missing, malformed, or of a model that would be computed wrongly.
    pub fn open(path: &Path, device: &Device) -> Result<(DecoderConfig, Self)> {
        if let Some(file) = gguf_of(path) {
            let gguf = Gguf::open(&file)?;
            let config = gguf.config()?;
            return Ok((config, Self { source: Source::Gguf(gguf), device: device.clone() }));
        }
        let config = DecoderConfig::load(path)?;
        let weights = Weights::of_decoder(path, device)?;
        let Some(prefix) = PREFIXES.into_iter().find(|prefix| weights.has(&format!("{prefix}{EMBEDDING}.weight")))
        else {
            let problem =
                format!("has no {PREFIX}{EMBEDDING}.weight; expected the checkpoint of a {} model", config.family.name);
            return Err(Error::File { path: weights.path(), problem });
        };
        Ok((config, Self { source: Source::Folder { weights, prefix }, device: device.clone() }))
    }

    /// Whether there is a tensor `name`, such as `score.weight`.
    pub fn has(&self, name: &str) -> bool {
        match &self.source {
            Source::Folder { weights, prefix } => spellings(name, prefix).iter().any(|name| weights.has(name)),
            Source::Gguf(gguf) => gguf.has(name),
        }
    }

    /// The tensor `name` (`model.layers.0.self_attn.q_proj.weight`) as it is stored, of the shape expected and finite. Rows of queries
    /// and keys are in transformers' order, whatever the file.
    ///
    /// # Errors
    /// [`Error::File`] naming the file and the tensor that is missing, of another shape, not finite or of a type that is not read.
    pub fn stored(&self, name: &str, shape: &[usize]) -> Result<Stored> {
        match &self.source {
            Source::Gguf(gguf) => gguf.stored(name, shape, &self.device),
            Source::Folder { weights, prefix } => {
                let names = spellings(name, prefix);
                for name in &names {
                    if let Some(tensor) = weights.stored(name, shape)? {
                        return Ok(Stored::Dense(tensor));
                    }
                }
                let missing = names.first().map_or(name, String::as_str);
                let problem = format!(
                    "has no tensor {missing}; expected the checkpoint of such a model with the sizes of config.json"
                );
                Err(Error::File { path: weights.path(), problem })
            }
        }
    }

    /// The same in f32.
    ///
    /// # Errors
    /// As [`Self::stored`].
    pub fn dense(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.stored(name, shape)?.dense(&self.device)
    }

    /// The file that messages about the whole checkpoint name.
    pub fn path(&self) -> PathBuf {
        match &self.source {
            Source::Folder { weights, .. } => weights.path(),
            Source::Gguf(gguf) => gguf.path().to_owned(),
        }
    }
}

/// The GGUF file that `model` is, by its extension, or that is the only one in a folder without configuration.
pub fn gguf_of(model: &Path) -> Option<PathBuf> {
    let is_gguf = |path: &Path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    if !model.is_dir() {
        return is_gguf(model).then(|| model.to_owned());
    }
    if model.join(CONFIG_FILE).exists() {
        return None;
    }
    let files = std::fs::read_dir(model).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let mut files = files.filter(|path| is_gguf(path) && !path.is_dir());
    let first = files.next()?;
    files.next().is_none().then_some(first)
}

/// The names that a tensor may have in a checkpoint whose decoder is at `prefix`.
fn spellings(name: &str, prefix: &str) -> Vec<String> {
    match name.strip_prefix(PREFIX) {
        Some(within) => vec![format!("{prefix}{within}")],
        None => HEADS.into_iter().map(|before| format!("{before}{name}")).collect(),
    }
}
