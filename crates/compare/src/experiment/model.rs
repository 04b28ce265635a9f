//! The backbone of an experiment: one of the catalogue by its name, or a folder of the user's own.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::Result;
use bayeslora_data::assets::{AssetDir, AssetId, Assets, Event};
use bayeslora_data::unknown;

/// The backbone as written: `model = "all-minilm-l6-v2"`, or `model = { path = "../../models/distilbert-base-uncased" }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelEntry {
    /// A model of the catalogue, by name.
    Catalogue(String),
    /// A folder of the user's own.
    Folder(ModelFolder),
}

/// The folder of a model of the user's own: name, default, purpose.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ModelFolder {
    /// Folder with `config.json`, `tokenizer.json` and `model.safetensors` of an encoder or a decoder, relative to the experiment
    /// file unless absolute; `~` is not expanded.
    pub path: PathBuf,
    /// The folder's last component: what the model is called in tables. No part of any key.
    pub name: Option<String>,
}

impl<'de> Deserialize<'de> for ModelEntry {
    // By hand: an untagged enum would say of any slip that no variant matched.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;
        impl<'de> Visitor<'de> for Entry {
            type Value = ModelEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a model, or { path = \"FOLDER\", name = \"NAME\" }")
            }

            fn visit_str<E>(self, name: &str) -> Result<ModelEntry, E> {
                Ok(ModelEntry::Catalogue(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ModelEntry, A::Error> {
                ModelFolder::deserialize(MapAccessDeserializer::new(map)).map(ModelEntry::Folder)
            }
        }
        deserializer.deserialize_any(Entry)
    }
}

impl ModelEntry {
    /// The model meant in the experiment file `experiment`. Its folder is not looked at: reports need no weights.
    ///
    /// # Errors
    /// One line, for an unknown name, or a folder that cannot be named.
    pub(super) fn resolve(&self, experiment: &Path) -> Result<Model, String> {
        match self {
            Self::Catalogue(name) => {
                let models = AssetId::ALL.into_iter().filter(|id| id.asset().is_model());
                models.clone().find(|id| id.name() == name).map(Model::Catalogue).ok_or_else(|| {
                    let unknown = unknown("model", name, models.map(AssetId::name));
                    format!(
                        "{unknown}; a model of your own is named by its folder, as in model = {{ path = \"FOLDER\" }}"
                    )
                })
            }
            Self::Folder(folder) => folder.resolve(experiment),
        }
    }
}

impl ModelFolder {
    fn resolve(&self, experiment: &Path) -> Result<Model, String> {
        let Self { path, name } = self;
        let last = || path.file_name().map(|last| last.to_string_lossy().into_owned());
        let name = name.clone().or_else(last).ok_or_else(|| {
            format!("model.path is \"{}\", which ends in no name; add name = \"NAME\" beside it", path.display())
        })?;
        // Names stand in Markdown tables.
        if name.trim().is_empty() || name.contains(|c: char| c.is_control() || c == '|') {
            return Err(format!("model.name is {name:?}; expected a name for tables, in one line and without |"));
        }
        let beside = experiment.parent().unwrap_or(Path::new("."));
        Ok(Model::Folder { path: beside.join(path), name })
    }
}

/// The backbone of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Model {
    /// One of the catalogue, with pinned bytes.
    Catalogue(AssetId),
    /// One in a folder of the user's own.
    Folder {
        /// The folder. It is in no key and no record: these are committed, and know the bytes by their digest.
        path: PathBuf,
        /// What tables call it.
        name: String,
    },
}

impl Model {
    /// What tables call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Catalogue(id) => id.name(),
            Self::Folder { name, .. } => name,
        }
    }

    /// Its verified files with their digest; a folder is read whole for it, once for each call.
    ///
    /// # Errors
    /// As [`Assets::open`] and [`AssetDir::of_model`].
    pub fn open(&self, assets: &Assets, notify: &mut dyn FnMut(Event)) -> Result<AssetDir> {
        Ok(match self {
            Self::Catalogue(id) => assets.open(*id, notify)?,
            Self::Folder { path, name } => AssetDir::of_model(path, name, notify)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bayeslora_data::with_suggestion;

    fn read(model: &str) -> Result<Model, String> {
        #[derive(Deserialize)]
        struct File {
            model: ModelEntry,
        }
        let file: File =
            toml::from_str(&format!("model = {model}")).map_err(|error| with_suggestion(&error.to_string()))?;
        file.model.resolve(Path::new("results/own/experiment.toml"))
    }

    #[test]
    fn a_model_is_a_name_or_a_folder_beside_the_experiment() {
        assert_eq!(read("'all-minilm-l6-v2'"), Ok(Model::Catalogue(AssetId::AllMiniLmL6V2)));
        let folder = |path: &str, name: &str| Ok(Model::Folder { path: path.into(), name: name.to_owned() });
        assert_eq!(read("{ path = '../../models/tiny' }"), folder("results/own/../../models/tiny", "tiny"));
        assert_eq!(read("{ path = 'tiny/', name = 'Tiny' }"), folder("results/own/tiny/", "Tiny"));
        assert_eq!(read("{ path = '/models/tiny' }"), folder("/models/tiny", "tiny"));
    }

    #[test]
    fn malformed_models_are_refused_with_what_would_do() {
        for (model, says) in [
            ("'all-minilm-l6'", "unknown model \"all-minilm-l6\"; did you mean \"all-minilm-l6-v2\"?"),
            ("'llama'", "model = { path = \"FOLDER\" }"),
            // A data set is no model.
            ("'sst2'", "unknown model \"sst2\" (known: all-minilm-l6-v2, smollm2-135m)"),
            ("{ pth = 'tiny' }", "did you mean `path`?"),
            ("{ path = 'tiny', title = 'Tiny' }", "unknown field `title`, expected `path` or `name`"),
            ("{ name = 'tiny' }", "missing field `path`"),
            ("{ path = 3 }", "invalid type: integer `3`"),
            ("3", "expected the name of a model, or { path = \"FOLDER\", name = \"NAME\" }"),
            ("{ path = '..' }", "model.path is \"..\", which ends in no name; add name"),
            ("{ path = '' }", "model.path is \"\", which ends in no name"),
            ("{ path = 'tiny', name = 'a | b' }", "model.name is \"a | b\""),
        ] {
            let refused = read(model).unwrap_err();
            assert!(refused.contains(says), "{model}: {refused}");
        }
    }
}
