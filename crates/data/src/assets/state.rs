//! What a folder has of an asset.

use std::io;
use std::path::Path;

use bayeslora_host::sha256_of;

use super::asset::{Asset, AssetFile};
use super::file_state::FileState;
use crate::error::Error;

/// Looks at each declared file in a folder, reading and hashing those that exist.
pub(crate) fn examine<'a>(folder: &Path, asset: &'a Asset) -> Result<Vec<(&'a AssetFile, FileState)>, Error> {
    let state = |file: &AssetFile| {
        let path = folder.join(file.name);
        match sha256_of(&path) {
            Ok(got) if got == file.sha256 => Ok(FileState::Good),
            Ok(got) => Ok(FileState::Broken { got }),
            // NotADirectory: the folder's own name is taken by a file, so nothing is in it.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(FileState::Missing)
            }
            Err(source) => Err(Error::AssetRead { path, source }),
        }
    };
    asset.files.iter().map(|file| Ok((file, state(file)?))).collect()
}

/// Whether nothing is missing or broken.
pub(crate) fn is_whole(states: &[(&AssetFile, FileState)]) -> bool {
    states.iter().all(|(_, state)| *state == FileState::Good)
}
