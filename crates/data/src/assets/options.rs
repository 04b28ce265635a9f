//! Where assets are looked for, and whether they may be downloaded.

use std::ffi::OsString;
use std::path::PathBuf;

use etcetera::BaseStrategy;

use crate::error::Error;

/// Where assets are looked for.
///
/// | field | environment | default |
/// |---|---|---|
/// | `local` | `BAYESLORA_ASSETS` | none |
/// | `data` | `BAYESLORA_DATA` | none |
/// | `cache` | `BAYESLORA_CACHE` | the platform's cache folder, then `bayeslora` |
/// | `offline` | `BAYESLORA_OFFLINE` or `HF_HUB_OFFLINE` set to `1`, `true`, `yes` or `on` | downloads are allowed |
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssetOptions {
    /// The user's own folder: `<local>/<asset>/<file>`, or a package's archive lying in it. Never written to.
    pub local: Option<PathBuf>,
    /// The user's folder of data sets: `<data>/<asset>/<file>`. Never written to.
    pub data: Option<PathBuf>,
    /// Folder that downloads are installed into.
    pub cache: Option<PathBuf>,
    /// Whether downloads are switched off.
    pub offline: bool,
}

impl AssetOptions {
    /// The options that the environment gives.
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let folder = |name| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let switch = |name| {
            lookup(name).is_some_and(|value| {
                matches!(value.to_string_lossy().trim().to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on")
            })
        };
        Self {
            local: folder("BAYESLORA_ASSETS"),
            data: folder("BAYESLORA_DATA"),
            cache: folder("BAYESLORA_CACHE"),
            offline: switch("BAYESLORA_OFFLINE") || switch("HF_HUB_OFFLINE"),
        }
    }

    /// The cache folder: the one given, or the platform's.
    pub(crate) fn cache_folder(&self) -> Result<PathBuf, Error> {
        match &self.cache {
            Some(folder) => Ok(folder.clone()),
            None => etcetera::base_strategy::choose_native_strategy()
                .map(|strategy| strategy.cache_dir().join("bayeslora"))
                .map_err(|error| Error::AssetNoCache { reason: error.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> AssetOptions {
        AssetOptions::from_lookup(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn an_empty_environment_gives_the_default() {
        assert_eq!(with(&[]), AssetOptions::default());
        assert_eq!(with(&[("BAYESLORA_CACHE", ""), ("BAYESLORA_OFFLINE", "0")]), AssetOptions::default());
    }

    #[test]
    fn variables_set_folders_and_either_switch_goes_offline() {
        let folders = [("BAYESLORA_ASSETS", "a"), ("BAYESLORA_DATA", "d"), ("BAYESLORA_CACHE", "c")];
        let options = with(&[&folders[..], &[("BAYESLORA_OFFLINE", "1")]].concat());
        let [local, data, cache] = ["a", "d", "c"].map(|folder| Some(folder.into()));
        assert_eq!(options, AssetOptions { local, data, cache, offline: true });
        assert!(with(&[("HF_HUB_OFFLINE", "TRUE")]).offline);
    }
}
