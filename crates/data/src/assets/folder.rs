//! A model in a folder of the user's own: nobody declared its bytes, so its digest is that of what lies there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::asset::{MODEL_FILES, is_gguf};
use super::asset_dir::AssetDir;
use super::event::{Event, Notify};
use crate::error::{Error, Result};
use bayeslora_host::{digest_of, sha256_while};

/// Names the shards of weights that are in several files.
const INDEX: &str = "model.safetensors.index.json";

/// How often reading tells how far it is; what takes less tells nothing.
const TOLD_EVERY: Duration = Duration::from_secs(2);

impl AssetDir {
    /// The model in `folder`, called `name` in messages, with the digest that a catalogue's model of these bytes has.
    ///
    /// # Errors
    /// [`Error::ModelFolder`] and [`Error::ModelFile`] for what is not there, [`Error::AssetRead`] for what cannot be read.
    pub fn of_model(folder: &Path, name: &str, notify: &mut dyn FnMut(Event)) -> Result<Self> {
        open(folder, name, TOLD_EVERY, notify)
    }
}

fn open(folder: &Path, name: &str, every: Duration, notify: Notify<'_>) -> Result<AssetDir> {
    if !folder.is_dir() {
        return Err(Error::ModelFolder { path: folder.to_owned() });
    }
    // All are there before the largest is read.
    let files = files_of(folder)?;
    if let Some(path) = files.iter().map(|file| folder.join(file)).find(|path| !path.is_file()) {
        return Err(Error::ModelFile { path });
    }
    let mut told = Instant::now();
    let mut checksums = Vec::new();
    for file in files {
        let path = folder.join(&file);
        let total = path.metadata().map_or(0, |metadata| metadata.len());
        let checksum = sha256_while(&path, &mut |done| {
            if told.elapsed() >= every {
                told = Instant::now();
                notify(Event::Reading { file: file.clone(), done, total });
            }
        });
        checksums.push((checksum.map_err(|source| Error::AssetRead { path, source })?, file));
    }
    let digest = digest_of(checksums.iter().map(|(checksum, file)| (checksum.as_str(), file.as_str())));
    notify(Event::Digested { model: name.to_owned(), digest: digest.clone(), path: folder.to_owned() });
    Ok(AssetDir::new(folder.to_owned(), digest))
}

/// The shards of a model, by tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files of the model in `folder`: one GGUF file where there is no configuration, else [`MODEL_FILES`], with the index and its shards
/// where the weights are in shards.
fn files_of(folder: &Path) -> Result<Vec<String>> {
    let [config, tokenizer, weights] = MODEL_FILES.map(str::to_owned);
    let cannot = |source| Error::AssetRead { path: folder.to_owned(), source };
    if !folder.join(&config).is_file() {
        let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let files = entries.map_err(cannot)?.into_iter().map(|entry| entry.path()).filter(|path| is_gguf(path));
        let names = files.filter_map(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
        if let [only] = names.collect::<Vec<_>>().as_slice() {
            return Ok(vec![only.clone()]);
        }
    }
    let index = folder.join(INDEX);
    if folder.join(&weights).is_file() || !index.is_file() {
        return Ok(vec![config, tokenizer, weights]);
    }
    let bytes = std::fs::read(&index).map_err(|source| Error::AssetRead { path: index.clone(), source })?;
    let Index { weight_map } = serde_json::from_slice(&bytes)
        .map_err(|error| Error::AssetRead { path: index.clone(), source: std::io::Error::other(error) })?;
    let shards: BTreeSet<String> = weight_map.into_values().collect();
    Ok([config, tokenizer, INDEX.to_owned()].into_iter().chain(shards).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sha2::{Digest, Sha256};

    use super::*;
    use bayeslora_host::hex;

    fn model() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in MODEL_FILES {
            fs::write(folder.path().join(file), format!("bytes of {file}")).unwrap();
        }
        folder
    }

    fn digest(folder: &Path) -> String {
        AssetDir::of_model(folder, "own", &mut |_| {}).unwrap().digest().to_owned()
    }

    #[test]
    fn the_digest_is_that_of_the_catalogue_and_of_every_file() {
        let folder = model();
        let before = digest(folder.path());
        // As `sha256sum config.json tokenizer.json model.safetensors | sha256sum` gives it.
        let lines = ["config.json", "tokenizer.json", "model.safetensors"]
            .map(|file| format!("{}  {file}\n", hex(&Sha256::digest(format!("bytes of {file}")))));
        assert_eq!(before, hex(&Sha256::digest(lines.concat())));
        // Neither the folder's place nor other files matter; each of the three does.
        let elsewhere = model();
        fs::write(elsewhere.path().join("README.md"), "not read").unwrap();
        assert_eq!(digest(elsewhere.path()), before);
        for file in MODEL_FILES {
            let changed = model();
            fs::write(changed.path().join(file), "other bytes").unwrap();
            assert_ne!(digest(changed.path()), before, "{file}");
        }
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let folder = model();
        let refusal = |path: &Path| open(path, "own", TOLD_EVERY, &mut |_| {}).unwrap_err().to_string();
        let message = refusal(&folder.path().join("~"));
        assert!(message.contains("no such folder") && message.contains("`~` is not expanded"), "{message}");
        for file in MODEL_FILES {
            let folder = model();
            fs::remove_file(folder.path().join(file)).unwrap();
            let message = refusal(folder.path());
            assert!(message.contains(file) && message.contains("not found"), "{message}");
        }
    }

    #[test]
    fn shards_and_single_files_are_models_too() {
        let folder = model();
        let one = digest(folder.path());
        fs::remove_file(folder.path().join("model.safetensors")).unwrap();
        let index = r#"{"weight_map": {"a": "b.safetensors", "c": "a.safetensors", "d": "b.safetensors"}}"#;
        fs::write(folder.path().join(INDEX), index).unwrap();
        fs::write(folder.path().join("a.safetensors"), "a").unwrap();
        let missing = AssetDir::of_model(folder.path(), "own", &mut |_| {}).unwrap_err().to_string();
        assert!(missing.contains("b.safetensors"), "{missing}");
        fs::write(folder.path().join("b.safetensors"), "b").unwrap();
        let shards = digest(folder.path());
        fs::write(folder.path().join("b.safetensors"), "other").unwrap();
        assert!(digest(folder.path()) != shards && shards != one);

        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model.gguf"), "bytes").unwrap();
        let single = digest(folder.path());
        fs::write(folder.path().join("README.md"), "not read").unwrap();
        assert_eq!(digest(folder.path()), single);
        // Of two it is not known which.
        fs::write(folder.path().join("other.gguf"), "bytes").unwrap();
        let message = AssetDir::of_model(folder.path(), "own", &mut |_| {}).unwrap_err().to_string();
        assert!(message.contains("config.json"), "{message}");
    }

    #[test]
    fn only_what_takes_long_tells_how_far_it_is() {
        let folder = model();
        let events = |every| {
            let mut events = Vec::new();
            open(folder.path(), "own", every, &mut |event| events.push(event.to_string())).unwrap();
            events
        };
        let patient = events(Duration::from_hours(1));
        assert_eq!(patient.len(), 1);
        assert!(patient[0].starts_with(&format!("own: digest {}", digest(folder.path()))), "{patient:?}");
        let told = events(Duration::ZERO);
        assert_eq!(told.len(), MODEL_FILES.len() + 1);
        assert_eq!(told[0], "config.json: 20 of 20 bytes read for its sha256");
    }
}
