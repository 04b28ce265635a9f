//! `--device`, `--precision` and `--memory` on the real binary.
#![cfg(test)]

mod small;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

use small::{SMALL, replaced};

const TEXTS: &str = "a gorgeous, witty film\nthe worst two hours of my life\na film\n";

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/tiny")
}

fn bayeslora() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bayeslora"))
}

/// `predict` with the tiny encoder and an adapter that has dropout.
fn predict(arguments: &[&str]) -> std::process::Output {
    let mut command = bayeslora();
    command.arg("predict").arg("--model").arg(tiny()).arg("--adapter").arg(tiny().join("query-value"));
    command.args(["--dropout", "0.2"]).args(arguments).write_stdin(TEXTS).output().unwrap()
}

fn answers(arguments: &[&str]) -> Vec<Value> {
    let output = predict(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a command says that fails with `code`, in how many lines.
fn refusal(output: &std::process::Output, code: i32) -> (String, usize) {
    let message = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(output.stdout.is_empty() && !message.contains("panicked"), "{message}");
    let lines = message.trim().lines().count();
    (message, lines)
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

/// The tests' experiment on the tiny model, with the methods of these kinds alone, cut down to seconds.
fn experiment(kinds: &[&str]) -> (TempDir, PathBuf) {
    let model = format!("model = {{ path = \"{}\" }}", tiny().display());
    let place =
        [("model = \"all-minilm-l6-v2\"", model.as_str()), ("target-blocks = [4, 5]", "target-blocks = [1, 2]")];
    let text = replaced(include_str!("movies.toml").to_owned(), &[&SMALL[..], &place].concat());
    let mut parts = text.split("[[methods]]");
    let head = parts.next().unwrap().to_owned();
    let is_wanted = |part: &&str| kinds.iter().any(|kind| part.contains(&format!("kind = \"{kind}\"")));
    let (methods, profiles): (Vec<&str>, Vec<&str>) = parts
        .map(|part| part.split_once("\n[profiles").map_or((part, ""), |(method, profiles)| (method, profiles)))
        .unzip();
    let methods = methods.iter().filter(|part| is_wanted(part)).map(|part| format!("[[methods]]{part}\n"));
    let profiles = profiles.iter().filter(|part| !part.is_empty()).map(|part| format!("[profiles{part}"));
    let text: String = std::iter::once(head).chain(methods).chain(profiles).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("experiment.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn run(path: &Path, arguments: &[&str]) -> std::process::Output {
    bayeslora().arg("run").arg(path).args(["--threads", "2"]).args(arguments).output().unwrap()
}

/// The records of a run by method, without what the clock decides.
fn records(folder: &Path) -> BTreeMap<String, Value> {
    let entries = fs::read_dir(folder.join("quick/units")).unwrap().map(Result::unwrap);
    let records = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "json"));
    let read = |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    records
        .map(|entry| read(entry.path()))
        .map(|record| (record["method"].as_str().unwrap().to_owned(), record))
        .collect()
}

fn scores(record: &Value) -> Vec<Value> {
    record["outcome"]["rows"].as_array().unwrap().iter().map(|row| row["domains"].clone()).collect()
}

#[test]
fn words_that_are_no_device_precision_or_size_are_refused_with_those_that_are() {
    for (option, value, says) in [
        ("--device", "gpu", "expected cpu, cuda, cuda:NUMBER (the first is 0) or metal"),
        ("--device", "cuda:x", "expected cpu, cuda, cuda:NUMBER (the first is 0) or metal"),
        ("--precision", "f16", "expected f32 or bf16"),
        ("--memory", "4", "as in 512M or 4G"),
    ] {
        let (message, _) = refusal(&predict(&[option, value]), 2);
        assert_says(&message, &[option, value, says]);
        for command in ["run", "tune", "geometry", "couplings", "width", "posterior", "paper"] {
            let output = bayeslora().args([command, "no.toml", option, value]).output().unwrap();
            assert_says(&refusal(&output, 2).0, &[option, says]);
        }
    }
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_build_for_processors_says_which_build_has_the_device() {
    for device in ["cuda", "cuda:7"] {
        let (message, lines) = refusal(&predict(&["--device", device]), 1);
        assert_says(&message, &["error: --device cuda:", "built without it", "--features cuda", "leave out --device"]);
        assert_eq!(lines, 1, "{message}");
    }
    let (folder, path) = experiment(&["mle"]);
    let (message, lines) = refusal(&run(&path, &["--device", "cuda:1"]), 1);
    assert_says(&message, &["--device cuda:1: this program was built without it"]);
    assert_eq!(lines, 1, "{message}");
    assert!(!folder.path().join("quick").exists(), "nothing is written");
}

#[test]
fn bf16_is_for_what_is_not_sampled() {
    let (message, lines) = refusal(&predict(&["--precision", "bf16", "--samples", "8"]), 1);
    assert_says(&message, &["--precision bf16 for samples", "of rounding", "choose --precision f32"]);
    assert_eq!(lines, 1, "{message}");
    for further in [&["--deterministic"][..], &["--linearised", "--samples", "200"]] {
        let exact = answers(further);
        let half = answers(&[&["--precision", "bf16"], further].concat());
        let numbers = |answers: &[Value]| -> Vec<f64> {
            answers.iter().flat_map(|a| a["probabilities"].as_array().unwrap()).map(|p| p.as_f64().unwrap()).collect()
        };
        let (exact, half) = (numbers(&exact), numbers(&half));
        assert_eq!(exact.len(), 6);
        let apart = exact.iter().zip(&half).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(apart > 1e-7 && apart < 2e-2, "{further:?}: {apart}");
    }
    let (folder, path) = experiment(&["mle", "mc-dropout"]);
    let (message, _) = refusal(&run(&path, &["--precision", "bf16"]), 1);
    assert_says(&message, &["--precision bf16 for the samples of MC-dropout", "choose --precision f32"]);
    assert!(!folder.path().join("quick/units").exists(), "nothing is written");
}

#[test]
fn a_run_in_bf16_is_recorded_as_one_and_has_keys_of_its_own() {
    let (folder, path) = experiment(&["mle", "ensemble"]);
    let output = run(&path, &["--precision", "bf16"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let half = records(folder.path());
    let (other, path) = experiment(&["mle", "ensemble"]);
    assert!(run(&path, &["--device", "cpu", "--precision", "f32"]).status.success());
    let exact = records(other.path());
    assert_eq!(half.keys().collect::<Vec<_>>(), ["ensemble", "mle"]);
    for (method, half) in &half {
        let exact = &exact[method];
        assert_eq!(
            (&half["provenance"]["precision"], &half["settings"]["precision"]),
            (&"bf16".into(), &"bf16".into())
        );
        assert_eq!((&exact["provenance"]["precision"], &exact["settings"]["precision"]), (&Value::Null, &Value::Null));
        assert_eq!((&half["provenance"]["device"], &half["provenance"]["accelerator"]), (&"cpu".into(), &Value::Null));
        assert_ne!(half["key"], exact["key"]);
        assert_ne!(scores(half), scores(exact), "nothing was in bf16");
    }
    let page = fs::read_to_string(folder.path().join("quick/table.md")).unwrap();
    assert!(page.contains("cpu, bf16"), "{page}");
    // A page cannot show both, which is said before anything is computed.
    let before = records(other.path());
    let (message, _) = refusal(&run(&path, &["--precision", "bf16"]), 1);
    assert_says(
        &message,
        &["\nerror: ", "quick/units", "at seed 1 was computed in another precision", "a folder of its own"],
    );
    assert!(records(other.path()) == before && !message.contains("MLE, seed 1"), "{message}");
}

#[test]
fn memory_changes_no_score() {
    let (message, lines) = refusal(&predict(&["--memory", "1K"]), 1);
    assert_says(&message, &["--memory of 0 MiB is less than one pass through this model takes; give at least"]);
    assert_eq!(lines, 1, "{message}");
    let (message, _) = refusal(&predict(&["--memory", "9000T"]), 1);
    assert_says(&message, &["error: --memory is", "and there are", "leave it out"]);
    let least = refusal(&predict(&["--memory", "1K"]), 1).0;
    let least = least.split("at least ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().to_owned() + "M";
    assert_eq!(answers(&["--memory", &least]), answers(&[]));
    let (ample, path) = experiment(&["mle", "mc-dropout"]);
    assert!(run(&path, &[]).status.success());
    let (tight, path) = experiment(&["mle", "mc-dropout"]);
    let output = run(&path, &["--memory", &least]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (ample, tight) = (records(ample.path()), records(tight.path()));
    assert!(ample.len() > 2);
    for (method, ample) in &ample {
        assert_eq!(ample["key"], tight[method]["key"]);
        assert_eq!(scores(ample), scores(&tight[method]), "{method}");
    }
}
