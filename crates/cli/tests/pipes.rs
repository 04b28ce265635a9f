//! Readers that go away and devices that are full, on the real binary: no command panics.
#![cfg(test)]
#![cfg(unix)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const COMMANDS: [&str; 15] = [
    "run",
    "tune",
    "report",
    "curve",
    "overview",
    "predict",
    "theory",
    "nulls",
    "geometry",
    "couplings",
    "width",
    "posterior",
    "paper",
    "guard",
    "fetch",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn bayeslora(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bayeslora"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn predict() -> Command {
    let tiny = repository().join("crates/models/tests/golden/tiny");
    let mut command = bayeslora(&["predict", "--format", "text"]);
    command.arg("--model").arg(&tiny).arg("--adapter").arg(tiny.join("query-value"));
    command.stdin(File::open(repository().join("Cargo.toml")).unwrap());
    command
}

/// A command that prints paths: the report of committed records, in a folder of its own.
fn report() -> (TempDir, Command) {
    let results = repository().join("results/paper");
    let folder = tempfile::tempdir().unwrap();
    fs::copy(results.join("experiment.toml"), folder.path().join("experiment.toml")).unwrap();
    fs::create_dir(folder.path().join("units")).unwrap();
    for entry in fs::read_dir(results.join("units")).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), folder.path().join("units").join(entry.file_name())).unwrap();
    }
    let mut command = bayeslora(&["report", "--profile", "full"]);
    command.arg(folder.path().join("experiment.toml"));
    (folder, command)
}

#[test]
fn predictions_that_nobody_reads_end_quietly() {
    let output = predict().stdout(closed()).output().unwrap();
    assert_eq!((output.status.code(), message(&output)), (Some(0), String::new()));
}

#[test]
fn predictions_on_a_full_device_fail_with_one_message() {
    let output = predict().stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = message(&output);
    assert!(message.starts_with("error: standard output cannot be written: No space left"), "{message}");
    assert_eq!(message.lines().count(), 1);
}

#[test]
fn a_report_whose_paths_nobody_reads_is_written() {
    let (folder, mut command) = report();
    let output = command.stdout(closed()).output().unwrap();
    assert_eq!((output.status.code(), message(&output)), (Some(0), String::new()));
    assert!(folder.path().join("table.md").exists());
}

#[test]
fn messages_that_nobody_reads_change_no_exit_code() {
    for stderr in [closed(), full()] {
        let status = bayeslora(&["run", "nowhere.toml"]).stderr(stderr).status().unwrap();
        assert_eq!(status.code(), Some(1));
    }
}

#[test]
fn notes_that_nobody_reads_stop_no_predictions() {
    let mut command = predict();
    // Says a note, as the adapter is deterministic without dropout.
    let output = command.args(["--dropout", "0"]).stderr(closed()).output().unwrap();
    assert!(output.status.success() && !output.stdout.is_empty());
}

#[test]
fn help_has_an_example_for_every_command() {
    for name in COMMANDS {
        let output = bayeslora(&[name, "--help"]).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && help.contains("Example"), "{name}: {help}");
    }
}

#[test]
fn help_that_nobody_reads_ends_quietly() {
    for name in COMMANDS {
        let status = bayeslora(&[name, "--help"]).stdout(closed()).status().unwrap();
        assert_eq!(status.code(), Some(0), "{name}");
    }
}

#[test]
fn help_on_a_full_device_fails() {
    let output = bayeslora(&["--help"]).stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", message(&output));
}

#[test]
fn wrong_usage_has_a_code_of_its_own() {
    for stderr in [Stdio::piped(), closed(), full()] {
        let output = bayeslora(&["predict", "--nonsense"]).stderr(stderr).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
    }
}
