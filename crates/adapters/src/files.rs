//! Tensor files, read with errors that name file and tensor, and never half written.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bayeslora_host::write_atomically;
use candle_core::safetensors::Load as _;
use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, SafeTensors};

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

/// Largest size of a weight. A product of two larger ones is beyond f32.
pub const LARGEST: f64 = 1e18;

/// Reads every tensor of a safetensors file as finite f32.
///
/// # Errors
/// [`Error::File`] when it cannot be read or is not a complete safetensors file, or when a tensor is not of floating-point type or has a
/// value that is not finite.
pub fn read_tensors(path: &Path, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    parse_tensors(path, &read_whole(path)?, device)
}

/// The bytes of a file, refused where it is only a pointer to it.
pub(crate) fn read_whole(path: &Path) -> Result<Vec<u8>> {
    let problem = |problem: String| Error::File { path: path.to_owned(), problem };
    let bytes = std::fs::read(path).map_err(|error| problem(format!("cannot be read: {error}")))?;
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(problem(
            "is a pointer of Git LFS, not the file itself; run `git lfs pull` in its folder".to_owned(),
        ));
    }
    Ok(bytes)
}

/// The tensors of the safetensors file at `path`, given its bytes.
pub(crate) fn parse_tensors(path: &Path, bytes: &[u8], device: &Device) -> Result<BTreeMap<String, Tensor>> {
    let problem = |problem: String| Error::File { path: path.to_owned(), problem };
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| problem(format!("not a complete safetensors file ({error}); copy or download it again")))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let dtype = view.dtype();
        if ![Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64].contains(&dtype) {
            return Err(problem(format!(
                "{name} has dtype {dtype}; expected F32, F16, BF16 or F64: convert it to one of them"
            )));
        }
        let tensor = finite_f32(path, name, &view.load(device)?)?;
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}

/// `tensor` as f32, refused where a value is not finite or so large that products with it are not.
///
/// # Errors
/// [`Error::File`] naming the file, the tensor and the first bad entry.
pub fn finite_f32(path: &Path, name: &str, tensor: &Tensor) -> Result<Tensor> {
    let refused = |problem: String| Error::File { path: path.to_owned(), problem };
    if !tensor.dtype().is_float() {
        return Err(refused(format!("{name} has dtype {:?}; expected f32, f16, bf16 or f64", tensor.dtype())));
    }
    let tensor = tensor.to_dtype(DType::F32)?;
    // A sum of squares is finite unless an entry is bad (or there are many large ones, which the search below then clears).
    if !tensor.sqr()?.sum_all()?.to_scalar::<f32>()?.is_finite() {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        let bad = values.iter().enumerate().find(|(_, value)| value.is_nan() || f64::from(value.abs()) > LARGEST);
        if let Some((entry, value)) = bad {
            let shape = tensor.dims();
            return Err(refused(format!(
                "{name} {shape:?} has the value {value:e} at entry {entry}; expected finite weights of ordinary size: the training \
                 diverged or the file is damaged"
            )));
        }
    }
    Ok(tensor)
}
