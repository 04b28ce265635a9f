//! Files that are read whole and never written by half.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Beginning of the name of a file that is being written.
const PARTIAL: &str = ".partial-";

/// Age at which a file that was being written is taken to be left by a process that died.
const ABANDONED: Duration = Duration::from_hours(24);

/// Folders that this process has swept.
static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Writes `bytes` to `path` through a temporary file in the same folder and a rename.
///
/// Before a process writes to a folder for the first time, files that were left half-written there a day ago or earlier are removed.
///
/// # Errors
/// [`Error::Write`], with nothing changed at `path`.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    if SWEPT.lock().is_ok_and(|mut swept| swept.insert(folder.to_owned())) {
        sweep(folder, SystemTime::now());
    }
    let mut file = partial(folder).map_err(failed)?;
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
/// [`Error::Read`] naming the file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// Refuses a folder that cannot be written, before hours are spent on what would go there; makes it where it is missing.
///
/// Files that a process left half-written a day ago or earlier are removed.
///
/// # Errors
/// [`Error::Folder`] naming the folder.
pub fn check_writable(folder: &Path) -> Result<()> {
    let failed = |source| Error::Folder { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    // Each process has a probe of its own name: two that start on one folder do not see each other's.
    let mut probe = partial(folder).map_err(failed)?;
    probe.write_all(b"probe").and_then(|()| probe.as_file().sync_all()).map_err(failed)?;
    // Another process may sweep it; then it is gone, as wanted.
    drop(probe);
    sweep(folder, SystemTime::now());
    Ok(())
}

fn partial(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder)
}

/// Removes what was left half-written in `folder` a day before `now`; what cannot be removed stays.
fn sweep(folder: &Path, now: SystemTime) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let modified = entry.metadata().ok().filter(std::fs::Metadata::is_file).and_then(|found| found.modified().ok());
        let age = modified.and_then(|modified| now.duration_since(modified).ok());
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) && age.is_some_and(|age| age >= ABANDONED) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_processes_may_find_one_folder_writable_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let results = folder.path().join("results");
        std::thread::scope(|scope| {
            let checks: Vec<_> =
                (0..16).map(|_| scope.spawn(|| (0..20).try_for_each(|_| check_writable(&results)))).collect();
            for check in checks {
                check.join().unwrap().unwrap();
            }
        });
        assert_eq!(std::fs::read_dir(&results).unwrap().count(), 0, "no probe is left");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let message = check_writable(&file.join("results")).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{}: cannot be written (", file.join("results").display())), "{message}");
        assert!(message.ends_with("; choose a folder you may write to"), "{message}");
    }

    #[test]
    fn what_a_dead_process_left_half_written_goes_after_a_day_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".partial-left", "record.json"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let count = || std::fs::read_dir(folder.path()).unwrap().count();
        sweep(folder.path(), SystemTime::now());
        assert_eq!(count(), 2);
        sweep(folder.path(), SystemTime::now() + ABANDONED);
        assert_eq!(count(), 1);
        assert!(folder.path().join("record.json").exists());
    }

    #[test]
    fn a_folder_is_swept_when_it_is_first_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - 2 * ABANDONED;
        for (name, modified) in [(".partial-old", old), (".partial-new", SystemTime::now()), ("kept.json", old)] {
            let file = std::fs::File::create(folder.path().join(name)).unwrap();
            file.set_modified(modified).unwrap();
        }
        write_atomically(&folder.path().join("record.json"), b"{}").unwrap();
        let left = [".partial-old", ".partial-new", "kept.json", "record.json"];
        assert_eq!(left.map(|name| folder.path().join(name).exists()), [false, true, true, true]);
    }
}
