//! Files that say what they should be: JSON with the digest of everything else in it, so that a number changed by hand or by accident is noticed.

use std::path::Path;

use bayeslora_host::{read, sha256_hex, write_atomically};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};

/// SHA-256 of a value's compact JSON text, in hex. The value's own field for it must be empty.
pub(crate) fn digest_of(value: &impl Serialize) -> String {
    // What is sealed here has text for keys, and cannot fail to be encoded.
    sha256_hex(&serde_json::to_vec(value).unwrap_or_default())
}

pub(crate) fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|error| file(path, format!("cannot be encoded ({error})")))?;
    bytes.push(b'\n');
    Ok(write_atomically(path, &bytes)?)
}

/// The value in a file of this layout; `kind` says what the file is.
pub(crate) fn read_as<T: DeserializeOwned>(path: &Path, kind: &str, schema: u32) -> Result<T> {
    let bytes = read(path)?;
    let damaged =
        |error: serde_json::Error| file(path, format!("is no {kind} of this program ({error}); make it again"));
    let value: Value = serde_json::from_slice(&bytes).map_err(damaged)?;
    match value.get("schema").and_then(Value::as_u64) {
        Some(got) if got == u64::from(schema) => serde_json::from_slice(&bytes).map_err(damaged),
        Some(got) => Err(file(path, format!("has layout {got}; this program reads layout {schema}: make it again"))),
        None => Err(file(path, format!("is no {kind} of this program (it has no schema); make it again"))),
    }
}

pub(crate) fn file(path: &Path, problem: String) -> Error {
    Error::File { path: path.to_owned(), problem }
}
