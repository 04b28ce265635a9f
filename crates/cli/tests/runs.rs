//! Runs of the real binary on a small part of the real data: reproducible, independent of threads, resumable.
#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;

/// The repository's experiment, cut down to seconds, in a folder of its own.
fn small_experiment() -> (TempDir, PathBuf) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results/movies-minilm/experiment.toml");
    let mut text = fs::read_to_string(source).unwrap();
    for (from, to) in [
        ("split-seed = 0", "split-seed = 0\nmax-validation = 40"),
        ("max-train = 2400", "max-train = 96"),
        ("max-test = 800", "max-test = 60"),
        ("max-shifted = 300", "max-shifted = 30"),
        ("\nsamples = 10\n", "\nsamples = 3\n"),
        ("members = 5", "members = 2"),
        ("resamples = 1000", "resamples = 50"),
        ("batch-size = 32", "batch-size = 16"),
    ] {
        assert!(text.contains(from), "{from:?} is not in the experiment");
        text = text.replacen(from, to, 1);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("experiment.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn command(path: &Path, threads: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bayeslora"));
    command.args(["run", "--threads", threads]).arg(path).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn run(path: &Path, threads: &str) {
    assert!(command(path, threads).status().unwrap().success());
}

/// Every score of every unit, by name.
fn scores(folder: &Path) -> BTreeMap<String, f64> {
    let mut scores = BTreeMap::new();
    for entry in fs::read_dir(folder.join("quick/units")).unwrap() {
        let record: serde_json::Value = serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
        for row in record["outcome"]["rows"].as_array().unwrap() {
            for domain in row["domains"].as_array().unwrap() {
                for (metric, value) in domain["scores"].as_object().unwrap() {
                    let name = format!("{} {} {metric}", row["row"], domain["domain"]);
                    scores.extend(value.as_f64().map(|value| (name, value)));
                }
            }
        }
    }
    scores
}

fn written(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let entries = fs::read_dir(folder.join("quick/units")).into_iter().flatten().map(Result::unwrap);
    let records = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "json"));
    records.map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap())).collect()
}

#[test]
fn the_same_seed_gives_the_same_scores_on_one_thread_and_on_two() {
    let (first, path) = small_experiment();
    run(&path, "2");
    let expected = scores(first.path());
    assert!(expected.len() > 100, "{} scores", expected.len());
    let finished = written(first.path());
    run(&path, "2");
    assert_eq!(finished, written(first.path()), "a finished unit was computed again");

    let (again, path) = small_experiment();
    run(&path, "2");
    assert_eq!(expected, scores(again.path()), "two runs of one seed differ");
    for file in ["table.csv", "summary.json", "reliability.svg"] {
        let read = |folder: &TempDir| fs::read(folder.path().join("quick").join(file)).unwrap();
        assert_eq!(read(&first), read(&again), "{file}");
    }

    couplings_are_reproducible(&path, again.path());
    geometry_is_reproducible(&path, again.path());

    let (single, path) = small_experiment();
    run(&path, "1");
    for (name, value) in scores(single.path()) {
        assert!((value - expected[&name]).abs() < 1e-5, "{name}: {value} on one thread, {} on two", expected[&name]);
    }
}

/// `bayeslora couplings` on the adapters of a finished run: the same files on one thread and on two.
fn couplings_are_reproducible(path: &Path, folder: &Path) {
    let files = ["table.md", "table.csv", "errors.svg", "errors.png"];
    let found = ["2", "1"].map(|threads| {
        let out = folder.join(format!("couplings-{threads}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_bayeslora"));
        command.args(["couplings", "--texts", "10", "--replicates", "4", "--most", "40", "--resamples", "5"]);
        let output = command.arg(path).arg("--out").arg(&out).env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        files.map(|file| fs::read(out.join(file)).unwrap())
    });
    assert!(found[0] == found[1], "threads change the tables");
    let table = String::from_utf8_lossy(&found[0][0]);
    assert!(table.contains("## What it says") && table.contains("| 32 | balanced, one group |"), "{table}");
}

/// `bayeslora geometry` on the adapters of a finished run: the same files on one thread and on two, and words where there are none.
fn geometry_is_reproducible(path: &Path, folder: &Path) {
    let measure = |threads: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bayeslora"));
        command.args(["geometry", "--texts", "12", "--resamples", "5"]).arg(path).env("RAYON_NUM_THREADS", threads);
        command.output().unwrap()
    };
    let read = |file: &str| fs::read(folder.join("quick/geometry").join(file)).unwrap();
    let files = ["table.md", "table.csv", "correlations.svg", "correlations.png"];
    let mut found = Vec::new();
    for threads in ["2", "1"] {
        let output = measure(threads);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        found.push(files.map(read));
    }
    assert!(found[0] == found[1], "threads change the tables");
    let table = String::from_utf8(read("table.md")).unwrap();
    assert!(table.contains("## What it says") && table.contains("block 5 output"), "{table}");
    // Adapters do not travel with the records.
    fs::remove_dir_all(folder.join("quick/runs")).unwrap();
    let output = measure("2");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("adapter") && message.contains("`bayeslora run`"), "{message}");
}

#[test]
fn a_run_killed_at_any_moment_continues_to_the_same_scores() {
    let (whole, path) = small_experiment();
    run(&path, "2");
    let expected = scores(whole.path());

    let (interrupted, path) = small_experiment();
    let mut kept: BTreeMap<PathBuf, SystemTime> = BTreeMap::new();
    // Killed ever later: before the first unit, within fits, between units.
    for milliseconds in [400, 900, 1500, 2200, 3000] {
        let mut child = command(&path, "2").spawn().unwrap();
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(milliseconds) && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let now = written(interrupted.path());
        for (record, time) in &kept {
            assert_eq!(now.get(record), Some(time), "{} was lost or written again", record.display());
        }
        kept = now;
    }
    run(&path, "2");
    assert_eq!(expected, scores(interrupted.path()));
}
