//! `bayeslora posterior` through the real binary: a tiny BERT whose pooler alone has an adapter.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const EXPERIMENT: &str = r#"
name = "tiny"
title = "Tiny"
analysis = "Tiny."
model = { path = "../../model" }
task = "vader-movies"
reference = "mle"
max-tokens = 32
data = { train-per-seed = 24, max-validation = 16, max-test = 20, max-examples-per-shifted-domain = 10 }
adapter = { rank = 2, alpha = 4.0, target-maps = ["pooler"], target-blocks = [1], train-head = false }
training = { epochs = 2, batch-size = 8, learning-rate = 1e-2 }
prediction = { samples = 4 }
bootstrap = { resamples = 20, level = 0.95, seed = 0 }
profiles.quick.seeds = [1, 2]

[[methods]]
id = "mle"
label = "MLE"
kind = "mle"

[[methods]]
id = "mc-dropout"
label = "MC-dropout"
kind = "mc-dropout"
parameters = { site = "rank", dropout = 0.2 }
"#;

struct Stage(TempDir);

impl Stage {
    fn new(experiment: &str) -> Self {
        let stage = Self(tempfile::tempdir().unwrap());
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/tiny");
        fs::create_dir_all(stage.0.path().join("model")).unwrap();
        fs::create_dir_all(stage.folder()).unwrap();
        for file in ["config.json", "tokenizer.json", "model.safetensors"] {
            fs::copy(golden.join(file), stage.0.path().join("model").join(file)).unwrap();
        }
        fs::write(stage.folder().join("experiment.toml"), experiment).unwrap();
        stage
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("results/tiny")
    }

    fn bayeslora(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bayeslora"));
        command.args(arguments).arg(self.folder().join("experiment.toml")).output().unwrap()
    }

    fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.bayeslora(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

const FEW: [&str; 7] =
    ["posterior", "--prior-sds=0.3", "--temperatures=0.5", "--tune=40", "--draws=20", "--chains=2", "--texts=15"];

#[test]
fn every_row_stands_beside_the_posterior_at_every_seed() {
    let stage = Stage::new(EXPERIMENT);
    let said = stage.refusal(&FEW);
    assert!(said.contains("MLE, seed 1 is not there: run this profile here first"), "{said}");
    let ran = stage.bayeslora(&["run"]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let made = stage.bayeslora(&FEW);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (page, table) = ("posterior/table.md", "posterior/table.csv");
    let read = |file: &str| fs::read_to_string(stage.folder().join(file)).unwrap();
    for expected in [
        "128 entries of `A` and `B`, rank 2.",
        "## Have the chains mixed?",
        "| exact posterior |",
        "| MLE |",
        "| MC-dropout, sampled |",
        "Temperature of the posterior",
    ] {
        assert!(read(page).contains(expected), "{expected}\n{}", read(page));
    }
    // Two temperatures of the posterior itself, and three rows at that of 1: at two seeds, on every domain.
    let domains = read(table).lines().filter(|line| line.contains(",exact posterior,")).count() / 4;
    assert_eq!(read(table).lines().count(), 1 + domains * 2 * (2 + 3), "{}", read(table));
    // Another number of threads gives the same.
    let first = read(table);
    let alone: Vec<&str> = FEW.into_iter().chain(["--threads=1"]).collect();
    assert!(stage.bayeslora(&alone).status.success());
    assert_eq!(read(table), first);
}

#[test]
fn another_adapter_than_the_predictions_are_of_is_refused() {
    let stage = Stage::new(EXPERIMENT);
    assert!(stage.bayeslora(&["run"]).status.success());
    let fits = fs::read_dir(stage.folder().join("fits")).unwrap().map(|entry| entry.unwrap().path().join("adapter"));
    let weights: Vec<PathBuf> = fits.map(|adapter| adapter.join("adapter_model.safetensors")).collect();
    // Two methods at two seeds: all of them get the weights of one.
    assert_eq!(weights.len(), 4);
    for other in &weights[1..] {
        fs::copy(&weights[0], other).unwrap();
    }
    let said = stage.refusal(&FEW);
    assert!(said.contains("between the two networks; expected at most 1e-3"), "{said}");
}

#[test]
fn what_has_no_such_posterior_is_refused_by_name() {
    let head = Stage::new(&EXPERIMENT.replace("train-head = false", "train-head = true"));
    let said = head.refusal(&FEW);
    assert!(said.contains("method \"mle\" trains the head; expected train-head = false"), "{said}");
    let other = Stage::new(&EXPERIMENT.replace("[\"pooler\"]", "[\"query\", \"pooler\"]"));
    assert!(other.bayeslora(&["run"]).status.success());
    let said = other.refusal(&FEW);
    assert!(said.contains("adapts other maps than the pooler"), "{said}");
    let said = other.refusal(&["posterior", "--prior-sds=-1"]);
    assert!(said.contains("-1; expected a positive number"), "{said}");
}
