//! The files of an adapter's folder, with what to do where one is not there or is something else.

use std::path::Path;

use crate::error::{Error, Result};
use crate::files::read_whole;

/// The settings of an adapter.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// The tensors of an adapter.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";
/// What PEFT wrote before it wrote safetensors.
const PICKLE_FILE: &str = "adapter_model.bin";

/// The bytes of `adapter_config.json`.
pub(super) fn settings(folder: &Path) -> Result<Vec<u8>> {
    let path = folder.join(CONFIG_FILE);
    if path.is_file() {
        return read_whole(&path);
    }
    let problem = if folder.is_file() {
        format!("is a file; expected the folder that holds {CONFIG_FILE} and {WEIGHTS_FILE}")
    } else if folder.is_dir() {
        format!("has no {CONFIG_FILE}{}; expected the folder in which PEFT saved the adapter", beside(folder))
    } else {
        format!(
            "no such folder; expected one with {CONFIG_FILE} and {WEIGHTS_FILE} (an adapter of the Hugging Face Hub is fetched first: \
             `hf download NAME --local-dir FOLDER`)"
        )
    };
    Err(Error::File { path: folder.to_owned(), problem })
}

/// The bytes of `adapter_model.safetensors`.
pub(super) fn tensors(folder: &Path) -> Result<Vec<u8>> {
    let path = folder.join(WEIGHTS_FILE);
    if path.is_file() {
        return read_whole(&path);
    }
    let problem = if folder.join(PICKLE_FILE).is_file() {
        format!(
            "not found, only {PICKLE_FILE}, which is not read because it can run code; convert it in its folder: `python -c \"import \
             torch; from safetensors.torch import save_file; t = torch.load('{PICKLE_FILE}', map_location='cpu', weights_only=True); \
             save_file({{k: v.clone().contiguous() for k, v in t.items()}}, '{WEIGHTS_FILE}')\"`"
        )
    } else {
        format!("not found{}; save the adapter with save_pretrained(.., safe_serialization=True)", beside(folder))
    };
    Err(Error::File { path, problem })
}

/// What a folder holds, in words for a message.
fn beside(folder: &Path) -> String {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(6);
    names.truncate(6);
    match (names.is_empty(), more) {
        (true, _) => " (the folder is empty)".to_owned(),
        (false, 0) => format!(" (the folder holds {})", names.join(", ")),
        (false, more) => format!(" (the folder holds {} and {more} more)", names.join(", ")),
    }
}
