//! The tests' experiment in a folder of its own, and the binary that runs it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::SystemTime;

use tempfile::TempDir;

use crate::small::{SMALL, replaced};

/// The tests' experiment cut down to seconds, with further replacements.
pub(crate) fn small_experiment_with(further: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let batch = [("batch-size = 32", "batch-size = 16")];
    cut_down(include_str!("../movies.toml").to_owned(), &[&SMALL[..], &batch, further].concat())
}

/// What puts the tiny golden model, of three blocks, in place of the real one.
pub(crate) fn tiny_model() -> [(&'static str, &'static str); 2] {
    const PATH: &str = concat!("model = { path = \"", env!("CARGO_MANIFEST_DIR"), "/../models/tests/golden/tiny\" }");
    [("model = \"all-minilm-l6-v2\"", PATH), ("target-blocks = [4, 5]", "target-blocks = [1, 2]")]
}

/// An experiment with some of its text replaced, in a folder of its own.
pub(crate) fn cut_down(text: String, replacements: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let text = replaced(text, replacements);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("experiment.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

pub(crate) fn command(path: &Path, threads: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bayeslora"));
    command.args(["run", "--threads", threads]).arg(path).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

pub(crate) fn run(path: &Path, threads: &str) {
    assert!(command(path, threads).status().unwrap().success());
}

pub(crate) fn bayeslora(arguments: &[&str], path: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bayeslora")).args(arguments).arg(path).output().unwrap()
}

/// The records in a folder with the times they were written.
pub(crate) fn files_of(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
    let records = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "json"));
    records.map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap())).collect()
}
