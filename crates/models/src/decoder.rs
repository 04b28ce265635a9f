//! Decoders: language models that read from left to right, of every family that is described in [`Family`].

mod checkpoint;
mod config;
mod families;
mod keys;
mod parameters;
mod refusals;
mod ropes;
mod sizes;
mod stored;
mod windows;

pub use checkpoint::{Checkpoint, gguf_of};
pub use config::{Biases, DecoderConfig};
pub use families::{BiasRule, Family, WindowRule};
pub use ropes::Rope;
pub use stored::Stored;
pub use windows::BlockKind;

pub(crate) use config::by_head_width;
pub(crate) use families::family_of_gguf;
pub(crate) use sizes::Sizes;

use std::path::Path;

use crate::error::Result;

/// Whether a GGUF file or its folder, or the folder of a decoder, by the `model_type` of its `config.json`.
///
/// # Errors
/// [`Error::Host`](crate::Error::Host) or [`Error::File`](crate::Error::File) for a configuration that cannot be read.
pub(crate) fn is_decoder(model: &Path) -> Result<bool> {
    if !model.is_dir() || gguf_of(model).is_some() {
        return Ok(gguf_of(model).is_some());
    }
    let bytes = crate::weights::read_config(&model.join(crate::config::CONFIG_FILE))?;
    // What is no configuration is told by who reads it.
    let config: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    let kind = config.as_ref().and_then(|config| config["model_type"].as_str());
    Ok(kind.is_some_and(|kind| Family::of(kind).is_some()))
}
