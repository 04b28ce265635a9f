//! The cache folder: `<cache>/<asset>/<file>`, filled so that no reader ever sees half a file.
//!
//! A download lands in a temporary folder inside the cache, is verified there, and each file is then renamed into
//! place. A lock file keeps two processes from fetching the same asset twice. An installation that is interrupted
//! leaves at most a `.partial-` folder, which the next one sweeps.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::archive::extract;
use super::asset::Asset;
use super::event::{Event, Notify};
use super::file_state::FileState;
use super::source::{Failure, Fetched, Request, Source};
use super::state::{examine, is_whole};
use crate::error::Error;
use bayeslora_host::sha256_of;

/// Attempts at a download whose checksum is wrong.
const ATTEMPTS: u32 = 2;

/// The folder that downloads are installed into.
#[derive(Debug)]
pub(crate) struct Cache {
    pub(crate) root: PathBuf,
}

impl Cache {
    pub(crate) fn folder(&self, asset: &Asset) -> PathBuf {
        self.root.join(asset.name)
    }

    /// Installs `asset` from the first of `sources` that has it.
    ///
    /// The inner `Err` is what each source said, in order.
    pub(crate) fn install(
        &self,
        asset: &'static Asset,
        sources: &[&dyn Source],
        notify: Notify<'_>,
    ) -> Result<Result<(), Vec<(String, String)>>, Error> {
        fs::create_dir_all(&self.root).map_err(|source| unwritable(&self.root, source))?;
        let _lock = self.lock(asset, notify)?;
        let states = examine(&self.folder(asset), asset)?;
        if is_whole(&states) {
            // The process that held the lock before us has installed it.
            return Ok(Ok(()));
        }
        self.sweep(asset)?;
        for (file, state) in states {
            if let FileState::Broken { got } = state {
                let reason = format!("its sha256 is {got}, expected {}", file.sha256);
                remove(self.folder(asset).join(file.name), reason, notify)?;
            }
        }
        let mut reasons = Vec::new();
        for source in sources {
            let Some(name) = source.offer(asset) else { continue };
            notify(Event::Trying { asset: asset.name, source: name.clone() });
            match self.take(asset, *source, notify)? {
                Ok(()) => {
                    notify(Event::Installed { asset: asset.name, source: name, path: self.folder(asset) });
                    return Ok(Ok(()));
                }
                Err(reason) => {
                    notify(Event::SourceFailed { asset: asset.name, source: name.clone(), reason: reason.clone() });
                    reasons.push((name, reason));
                }
            }
        }
        Ok(Err(reasons))
    }

    /// Takes the asset from one source; the inner `Err` is why it could not be.
    fn take(
        &self,
        asset: &'static Asset,
        source: &dyn Source,
        notify: Notify<'_>,
    ) -> Result<Result<(), String>, Error> {
        let mut last = String::new();
        for attempt in 1..=ATTEMPTS {
            let partial = tempfile::Builder::new()
                .prefix(&partial_prefix(asset))
                .tempdir_in(&self.root)
                .map_err(|source| unwritable(&self.root, source))?;
            match download(asset, source, &partial, attempt, notify) {
                Ok(()) => return self.move_in(asset, &partial).map(Ok),
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Unavailable(reason)) => return Ok(Err(reason)),
                Err(Failure::Mismatch { path, expected, got }) => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    let reason = format!("its sha256 is {got}, expected {expected}");
                    last = format!("{name}: {reason} (downloaded {ATTEMPTS} times)");
                    notify(Event::Removed { path, reason });
                }
            }
        }
        Ok(Err(last))
    }

    /// Renames the verified files into place, one by one: each is atomic, and a reader checks them all.
    fn move_in(&self, asset: &Asset, partial: &TempDir) -> Result<(), Error> {
        let folder = self.folder(asset);
        fs::create_dir_all(&folder).map_err(|source| unwritable(&folder, source))?;
        for file in asset.files {
            let target = folder.join(file.name);
            fs::rename(partial.path().join(file.name), &target).map_err(|source| unwritable(&target, source))?;
        }
        Ok(())
    }

    /// Waits for the asset's lock; it is released when the file is closed, also by a crash.
    fn lock(&self, asset: &Asset, notify: Notify<'_>) -> Result<File, Error> {
        let path = self.root.join(format!(".{}.lock", asset.name));
        let file = File::create(&path).map_err(|source| unwritable(&path, source))?;
        let locked = match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => {
                notify(Event::Waiting { path: path.clone() });
                file.lock()
            }
            Err(TryLockError::Error(error)) => Err(error),
        };
        match locked {
            // Without locks (some network file systems) two processes may both download; renames stay atomic.
            Err(source) if source.kind() != io::ErrorKind::Unsupported => Err(unwritable(&path, source)),
            _ => Ok(file),
        }
    }

    /// Removes what interrupted installations of this asset left; the caller holds its lock.
    fn sweep(&self, asset: &Asset) -> Result<(), Error> {
        let entries = fs::read_dir(&self.root).map_err(|source| unwritable(&self.root, source))?;
        for entry in entries.filter_map(Result::ok) {
            if entry.file_name().to_string_lossy().starts_with(&partial_prefix(asset)) {
                fs::remove_dir_all(entry.path()).map_err(|source| unwritable(&entry.path(), source))?;
            }
        }
        Ok(())
    }
}

/// Fetches, unpacks and verifies into the temporary folder.
fn download(
    asset: &'static Asset,
    source: &dyn Source,
    partial: &TempDir,
    attempt: u32,
    notify: Notify<'_>,
) -> Result<(), Failure> {
    let into = partial.path();
    if let Fetched::Archive(archive) = source.fetch(&Request { asset, into, attempt }, notify)? {
        if let Some(package) = asset.package() {
            verify(&archive, package.sha256)?;
        }
        extract(&archive, asset, into)?;
    }
    asset.files.iter().try_for_each(|file| verify(&into.join(file.name), file.sha256))
}

fn verify(path: &Path, expected: &'static str) -> Result<(), Failure> {
    match sha256_of(path) {
        Ok(got) if got == expected => Ok(()),
        Ok(got) => Err(Failure::Mismatch { path: path.to_owned(), expected, got }),
        Err(error) => Err(Failure::Unavailable(format!("{}: {error}", path.display()))),
    }
}

fn remove(path: PathBuf, reason: String, notify: Notify<'_>) -> Result<(), Error> {
    fs::remove_file(&path).map_err(|source| unwritable(&path, source))?;
    notify(Event::Removed { path, reason });
    Ok(())
}

fn partial_prefix(asset: &Asset) -> String {
    format!(".partial-{}-", asset.name)
}

fn unwritable(path: &Path, source: io::Error) -> Error {
    Error::AssetCache { path: path.to_owned(), source }
}
