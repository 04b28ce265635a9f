//! Weights of a checkpoint, read through a memory map.
//!
//! The map is the one `unsafe` call of this crate: mapping a file is sound only while nobody changes the file. Every
//! tensor is copied out of the map before [`Weights`] is dropped, so a change must hit the seconds of loading.
#![expect(unsafe_code, reason = "memory mapping a file that may change under us; see the module's documentation")]

use std::path::{Path, PathBuf};

use bayeslora_adapters::files::finite_f32;
use candle_core::safetensors::MmapedSafetensors;
use candle_core::{Device, Tensor};

use crate::error::{Error, Result};
use crate::slots::Family;

/// The tensors of `model.safetensors`.
pub(crate) struct Weights {
    path: PathBuf,
    tensors: MmapedSafetensors,
    prefix: &'static str,
    device: Device,
}

impl Weights {
    /// Maps `folder/model.safetensors`.
    pub(crate) fn open(folder: &Path, device: &Device) -> Result<Self> {
        let path = folder.join("model.safetensors");
        if !path.is_file() {
            return Err(Error::File { path, problem: "not found; expected the weights of the model".to_owned() });
        }
        // SAFETY: the file is a checkpoint that nothing writes to while it is loaded.
        let tensors = unsafe { MmapedSafetensors::new(&path) }.map_err(|error| Error::File {
            path: path.clone(),
            problem: format!("not a complete safetensors file ({error}); copy or download it again"),
        })?;
        let is_whole = |prefix: &&str| tensors.get(&format!("{prefix}embeddings.word_embeddings.weight")).is_ok();
        let prefix = [Family::Bert, Family::DistilBert].map(Family::prefix).into_iter().find(is_whole).unwrap_or("");
        Ok(Self { path, tensors, prefix, device: device.clone() })
    }

    /// The encoder's tensor `name`, in f32, of the shape expected and finite.
    pub(crate) fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let name = format!("{}{name}", self.prefix);
        let tensor = self.tensors.load(&name, &self.device).map_err(|_| Error::File {
            path: self.path.clone(),
            problem: format!("has no tensor {name}; expected a BERT checkpoint with the sizes of config.json"),
        })?;
        if tensor.dims() != shape {
            return Err(Error::File {
                path: self.path.clone(),
                problem: format!("{name} has shape {:?}; config.json says {shape:?}", tensor.dims()),
            });
        }
        Ok(finite_f32(&self.path, &name, &tensor)?)
    }

    /// The tensor `name` outside the encoder, if the checkpoint has it.
    pub(crate) fn outside(&self, name: &str) -> Result<Option<Tensor>> {
        match self.tensors.load(name, &self.device) {
            Ok(tensor) => Ok(Some(finite_f32(&self.path, name, &tensor)?)),
            Err(_) => Ok(None),
        }
    }
}
