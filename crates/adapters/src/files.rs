//! Reading tensor files with errors that name the file, and writing files that are never half there.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};

/// Writes `bytes` to `path` through a temporary file in the same folder and a rename.
///
/// # Errors
/// [`Error::Write`], with nothing changed at `path`.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut file = tempfile::Builder::new().prefix(".partial-").tempfile_in(folder).map_err(failed)?;
    file.as_file_mut().write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    // A temporary file is private to its owner; a result is as readable as its folder's other files.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(failed)?;
    }
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Reads a whole file.
///
/// # Errors
/// [`Error::Io`] naming the file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// Writes tensors as safetensors, atomically.
///
/// # Errors
/// [`Error::Write`] naming the file.
pub fn write_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let contiguous: HashMap<String, Tensor> =
        tensors.iter().map(|(name, tensor)| Ok((name.clone(), tensor.contiguous()?))).collect::<Result<_>>()?;
    let bytes = safetensors::serialize(&contiguous, None)
        .map_err(|error| Error::File { path: path.to_owned(), problem: format!("cannot be encoded: {error}") })?;
    write_atomically(path, &bytes)
}

/// Reads every tensor of a safetensors file as finite f32.
///
/// # Errors
/// [`Error::Io`] when it cannot be read; [`Error::File`] when it is not a complete safetensors file, or a tensor is not
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
