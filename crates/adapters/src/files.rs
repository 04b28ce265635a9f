//! Tensor files, read with errors that name file and tensor, and never half written.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bayeslora_host::{read, write_atomically};
use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};

/// Writes tensors as safetensors, atomically.
///
/// # Errors
/// [`bayeslora_host::Error::Write`] naming the file.
pub fn write_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let contiguous: HashMap<String, Tensor> =
        tensors.iter().map(|(name, tensor)| Ok((name.clone(), tensor.contiguous()?))).collect::<Result<_>>()?;
    let bytes = safetensors::serialize(&contiguous, None)
        .map_err(|error| Error::File { path: path.to_owned(), problem: format!("cannot be encoded: {error}") })?;
    Ok(write_atomically(path, &bytes)?)
}

/// Reads every tensor of a safetensors file as finite f32.
///
/// # Errors
/// [`bayeslora_host::Error::Read`] when it cannot be read; [`Error::File`] when it is not a complete safetensors file, or a tensor is not
/// of floating-point type or has a value that is not finite.
pub fn read_tensors(path: &Path, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    let bytes = read(path)?;
    let tensors = candle_core::safetensors::load_buffer(&bytes, device).map_err(|error| Error::File {
        path: path.to_owned(),
        problem: format!("not a complete safetensors file ({error}); copy or download it again"),
    })?;
    tensors.into_iter().map(|(name, tensor)| Ok((name.clone(), finite_f32(path, &name, &tensor)?))).collect()
}

/// `tensor` as f32, refused where a value is not finite.
///
/// # Errors
/// [`Error::File`] naming the file, the tensor and the first bad entry.
pub fn finite_f32(path: &Path, name: &str, tensor: &Tensor) -> Result<Tensor> {
    let refused = |problem: String| Error::File { path: path.to_owned(), problem };
    if !tensor.dtype().is_float() {
        return Err(refused(format!("{name} has dtype {:?}; expected f32, f16, bf16 or f64", tensor.dtype())));
    }
    let tensor = tensor.to_dtype(DType::F32)?;
    // A sum is finite unless an entry is not (or the sum overflows, which the search below then clears).
    if !tensor.sum_all()?.to_scalar::<f32>()?.is_finite() {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        if let Some((entry, value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            let shape = tensor.dims();
            return Err(refused(format!(
                "{name} {shape:?} has the value {value} at entry {entry}; expected finite weights: the training diverged \
                 or the file is damaged"
            )));
        }
    }
    Ok(tensor)
}
