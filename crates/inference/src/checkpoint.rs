//! A training's state between two epochs, in one safetensors file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bayeslora_host::write_atomically;
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What a checkpoint says beside its tensors.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) epoch: u32,
    pub(crate) steps: u32,
    pub(crate) validation_nll: Vec<f64>,
    pub(crate) validation_accuracy: Vec<f64>,
    pub(crate) best_epoch: u32,
    pub(crate) seconds: f64,
    pub(crate) tokens: u64,
    /// Steps before the optimiser's moments began.
    #[serde(default)]
    pub(crate) moments_since: u32,
}

/// Writes the checkpoint, whole or not at all.
///
/// # Errors
/// When it cannot be encoded or written.
pub(crate) fn write_checkpoint(path: &Path, state: &State, tensors: &HashMap<String, Tensor>) -> Result<()> {
    let encoding = |error: &dyn std::fmt::Display| Error::File {
        path: path.to_owned(),
        problem: format!("cannot be encoded: {error}"),
    };
    let state = serde_json::to_string(state).map_err(|error| encoding(&error))?;
    let metadata = HashMap::from([("state".to_owned(), state)]);
    let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|error| encoding(&error))?;
    Ok(write_atomically(path, &bytes)?)
}

/// State and tensors of a checkpoint; none where the bytes are not one.
pub(crate) fn read_checkpoint(bytes: &[u8], device: &Device) -> Option<(State, BTreeMap<String, Tensor>)> {
    let (_, metadata) = safetensors::SafeTensors::read_metadata(bytes).ok()?;
    let state = serde_json::from_str(metadata.metadata().as_ref()?.get("state")?).ok()?;
    let tensors = candle_core::safetensors::load_buffer(bytes, device).ok()?;
    Some((state, tensors.into_iter().collect()))
}
