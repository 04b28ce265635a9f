//! Experiments on a model in a folder of one's own, through the real binary: a tiny DistilBERT, or RoBERTa.
//!
//! More than 400 lines: every test here needs the stage that stands between them.
#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use bayeslora_records::{FitRecord, Outcome, RowRecord, UnitRecord, key_of};
use tempfile::TempDir;

const EXPERIMENT: &str = r#"
name = "own-model"
title = "A model of one's own"
analysis = "Tiny."
model = { path = "../../models/tiny-distilbert" }
task = "vader-movies"
reference = "mle"
max-tokens = 32
data = { max-train = 48, max-validation = 24, max-test = 24, max-examples-per-shifted-domain = 12 }
adapter = { rank = 2, alpha = 4.0, target-maps = ["query", "attention-output", "output"], target-blocks = [1] }
training = { epochs = 1, batch-size = 16 }
prediction = { samples = 3 }
bootstrap = { resamples = 20, level = 0.95, seed = 0 }
tuning = { trials = 1 }
curve = { axis = "training sentences", metrics = ["accuracy"] }

[[methods]]
id = "mle"
label = "MLE"
kind = "mle"

[[methods]]
id = "mc-dropout"
label = "MC-dropout"
kind = "mc-dropout"
parameters = { site = "rank", scope = "token", dropout = 0.2, linearised = true }

[profiles.quick]
seeds = [1]
at = 48

[profiles.few]
seeds = [1]
folder = "few"
max-train = 16
at = 16
"#;

#[test]
fn a_failed_fit_is_told_by_every_run_and_stops_nothing_else() {
    let stage = Stage::new();
    stage.runs(2, 0);
    let table = |page: &str| fs::read_to_string(stage.results().join("own-model").join(page)).unwrap();
    stage.spoil("mle");
    let said = stage.fails(&["run"]);
    assert!(
        said.contains("0 units computed, 1 found finished") && said.contains("failed: MLE, seed 1: made up"),
        "{said}"
    );
    assert!(table("table.md").contains("**Failed:** mle at seed 1: made up"));
    // MLE has no dropout: what asks for adapters with dropout does not miss its adapter.
    stage.succeeds(&["geometry", "--texts", "12", "--resamples", "20"]);
    stage.spoil("mc-dropout");
    let said = stage.fails(&["geometry", "--texts", "12"]);
    assert!(said.contains("no finished fit of this experiment was trained with dropout"), "{said}");
}

/// A results folder with one experiment, and the model it names.
struct Stage(TempDir);

impl Stage {
    fn new() -> Self {
        Self::of("distilbert")
    }

    /// The same on another golden model, in the same folder.
    fn of(model: &str) -> Self {
        let stage = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(stage.model()).unwrap();
        fs::create_dir_all(stage.results().join("own-model")).unwrap();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden").join(model);
        for file in ["config.json", "tokenizer.json", "model.safetensors"] {
            fs::copy(golden.join(file), stage.model().join(file)).unwrap();
        }
        fs::write(stage.experiment(), EXPERIMENT).unwrap();
        stage
    }

    fn results(&self) -> PathBuf {
        self.0.path().join("results")
    }

    fn experiment(&self) -> PathBuf {
        self.results().join("own-model/experiment.toml")
    }

    fn model(&self) -> PathBuf {
        self.0.path().join("models/tiny-distilbert")
    }

    fn edit(&self, from: &str, to: &str) {
        change(&self.experiment(), from, to);
    }

    fn bayeslora(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bayeslora"));
        command.args(arguments);
        let last = if arguments[0] == "overview" { self.results() } else { self.experiment() };
        command.arg(last).output().unwrap()
    }

    /// What a command that succeeds says on standard error.
    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.bayeslora(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    }

    /// What a command that fails says: without panicking.
    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.bayeslora(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        said
    }

    /// Makes the finished fit of `method` one that failed, and removes its adapter.
    fn spoil(&self, method: &str) {
        let folder = self.results().join("own-model");
        let mut units = fs::read_dir(folder.join("units")).unwrap().map(|entry| entry.unwrap().path());
        let path = units.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(method)).unwrap();
        let mut record: UnitRecord = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        record.outcome = Outcome::Failed { reason: "made up".to_owned() };
        fs::write(&path, serde_json::to_string(&record).unwrap()).unwrap();
        fs::remove_dir_all(folder.join("fits").join(&fit_key(&record)[..16])).unwrap();
    }

    /// Every unit record, by key.
    fn units(&self) -> BTreeMap<String, UnitRecord> {
        let units = files(&self.results().join("own-model/units"));
        let units = units.iter().map(|path| serde_json::from_slice::<UnitRecord>(&fs::read(path).unwrap()).unwrap());
        units.map(|unit| (unit.key.clone(), unit)).collect()
    }

    /// Runs the experiment, which must compute and find so many units; what it says.
    fn runs(&self, computed: usize, found: usize) -> String {
        let said = self.succeeds(&["run"]);
        let expected = format!("{computed} units computed, {found} found finished");
        assert!(said.contains(&expected), "expected {expected:?} in: {said}");
        said
    }
}

/// The key of a record's fit: of its settings without those of predictions and readings.
fn fit_key(record: &UnitRecord) -> String {
    let mut settings = record.settings.clone().unwrap();
    settings.as_object_mut().unwrap().remove("prediction");
    if let Some(parameters) = settings["method"]["parameters"].as_object_mut() {
        parameters.remove("linearised");
    }
    key_of(&settings)
}

fn change(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from:?} is not in {}", path.display());
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Every file below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn units_belong_to_the_bytes_of_the_model_and_reports_need_none() {
    let stage = Stage::new();
    stage.runs(2, 0);
    stage.runs(0, 2);
    let table = stage.results().join("own-model/table.md");
    assert!(fs::read_to_string(&table).unwrap().contains("MC-dropout, linearised"));
    stage.succeeds(&["run", "--profile", "few"]);
    stage.succeeds(&["tune"]);
    stage.succeeds(&["geometry", "--texts", "10", "--resamples", "5"]);
    stage.succeeds(&["paper"]);
    let protocol = fs::read_to_string(stage.results().join("own-model/protocol/table.md")).unwrap();
    let expected = [
        "trained on 48 texts of `vader-movies`, with 24 for validation and 24 to test",
        "rank 2,",
        "T = 3;",
        "One seed.",
    ];
    assert!(expected.iter().all(|part| protocol.contains(part)), "{protocol}");
    for file in ["geometry/table.md", "protocol/table.md"] {
        let text = fs::read_to_string(stage.results().join("own-model").join(file)).unwrap();
        assert!(text.contains("tiny-distilbert"), "{file}: {text}");
    }
    // Nothing tells where the model lay: neither records and reports, nor the adapters.
    let written: Vec<PathBuf> =
        files(&stage.results()).into_iter().filter(|path| *path != stage.experiment()).collect();
    assert!(written.len() > 20, "{written:?}");
    for path in written {
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        for place in ["models/tiny-distilbert", &*stage.0.path().to_string_lossy()] {
            assert!(!text.contains(place), "{} names {place}", path.display());
        }
    }

    // The same bytes elsewhere, under another name, are the same model.
    let moved = stage.0.path().join("moved");
    fs::rename(stage.model(), &moved).unwrap();
    stage.edit("path = \"../../models/tiny-distilbert\"", "path = \"../../moved\", name = \"Tiny\"");
    stage.runs(0, 2);

    // One bit of one weight makes another.
    let weights = moved.join("model.safetensors");
    let before = fs::read(&weights).unwrap();
    let mut after = before.clone();
    let last = after.len() - 4;
    after[last] ^= 1;
    fs::write(&weights, after).unwrap();
    stage.runs(2, 0);
    let said = stage.fails(&["report"]);
    assert!(said.contains("different weights") && said.contains("delete"), "{said}");
    fs::write(&weights, before).unwrap();
    stage.runs(0, 2);

    // Without the changed model's records, and without the model, everything that reads records works.
    let digest = |path: &Path| -> String {
        let record: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        record["provenance"]["model_digest"].as_str().unwrap().to_owned()
    };
    let kept = digest(&files(&stage.results().join("own-model/tuning/trials"))[0]);
    let units = files(&stage.results().join("own-model/units"));
    assert_eq!(units.len(), 4);
    for path in units.iter().filter(|path| digest(path) != kept) {
        fs::remove_file(path).unwrap();
    }
    fs::remove_dir_all(&moved).unwrap();
    for arguments in [
        &["report"][..],
        &["report", "--check"],
        &["tune", "--check"],
        &["curve"],
        &["curve", "--check"],
        &["overview"],
    ] {
        stage.succeeds(arguments);
    }
    let said = stage.fails(&["run"]);
    assert!(said.contains("moved: no such folder") && said.contains("relative to the experiment file"), "{said}");
}

/// The last positions of a RoBERTa are no text's, and adapters fitted on it are answered by `predict`.
#[test]
fn an_experiment_on_a_roberta_reads_texts_of_the_positions_after_its_padding() {
    let stage = Stage::of("roberta");
    stage.edit("max-tokens = 32", "max-tokens = 25");
    let said = stage.fails(&["run"]);
    assert!(said.contains("max-tokens is 25; tiny-distilbert reads texts of 24 at most"), "{said}");
    stage.edit("max-tokens = 25", "max-tokens = 24");
    stage.runs(2, 0);
    let adapters = files(&stage.results()).into_iter().filter(|path| path.ends_with("adapter/adapter_config.json"));
    let adapters: Vec<PathBuf> = adapters.collect();
    assert_eq!(adapters.len(), 2);
    for adapter in adapters {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bayeslora"));
        command
            .args(["predict", "--format", "text", "--model"])
            .arg(stage.model())
            .arg("--adapter")
            .arg(adapter.parent().unwrap());
        let output = command.stdin(fs::File::open(stage.experiment()).unwrap()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// One of every kind that the experiment has not, and a second reader of one fit.
const FURTHER: &str = r#"
[[methods]]
id = "mc-dropout-more"
label = "MC-dropout, more samples"
kind = "mc-dropout"
parameters = { site = "rank", scope = "token", dropout = 0.2 }
prediction = { samples = 4 }

[[methods]]
id = "ensemble"
label = "Ensemble"
kind = "ensemble"
parameters = { members = 2 }

[[methods]]
id = "checkpoints"
label = "Checkpoints"
kind = "checkpoint-ensemble"
parameters = { members = 2 }

[[methods]]
id = "swag"
label = "SWAG"
kind = "swag"
parameters = { epochs = 1, snapshots = 3, columns = 2, members = 2 }
"#;

#[test]
fn another_number_of_samples_reads_the_fits_that_are_kept_as_a_fresh_run_reads_its_own() {
    let stage = || {
        let stage = Stage::new();
        let plain = ["map", "laplace", "tfb", "blob", "scalabl", "lrvd", "c-lora"];
        let plain = plain.map(|kind| format!("[[methods]]\nid = \"{kind}\"\nlabel = \"{kind}\"\nkind = \"{kind}\"\n"));
        let frozen = "[[methods]]\nid = \"frozen\"\nlabel = \"Frozen head\"\nkind = \"laplace\"\nadapter = { train-head = false }\n";
        stage.edit("[profiles.quick]", &format!("{FURTHER}\n{}\n{frozen}\n[profiles.quick]", plain.concat()));
        stage
    };
    let resampled = |stage: &Stage| {
        stage.edit("samples = 3", "samples = 5");
        stage.edit(", linearised = true", "");
    };
    let (kept, fresh) = (stage(), stage());
    let written = |stage: &Stage| -> BTreeMap<PathBuf, SystemTime> {
        let files = files(&stage.results().join("own-model/fits"));
        files.into_iter().map(|path| (path.clone(), fs::metadata(&path).unwrap().modified().unwrap())).collect()
    };
    // Two units of one run share a fit as well.
    let reads = |said: &str| said.matches("read from a fit that is kept").count();
    assert_eq!(reads(&kept.runs(14, 0)), 1);
    let before = (kept.units(), written(&kept));
    resampled(&kept);
    assert_eq!(reads(&kept.runs(13, 1)), 13);
    assert_eq!(written(&kept), before.1, "something was trained again");

    resampled(&fresh);
    fresh.runs(14, 0);
    let read = kept.units();
    for (key, own) in &fresh.units() {
        let (read, method) = (&read[key], &own.method);
        assert_eq!(&key_of(read.settings.as_ref().unwrap()), key, "{method}");
        let predictions = |stage: &Stage| {
            let run = stage.results().join("own-model/runs").join(&key[..16]);
            fs::read(run.join("predictions.safetensors")).unwrap()
        };
        assert!(predictions(&kept) == predictions(&fresh), "{method} predicts otherwise from the fit that was kept");
        let ((read, rows), (fit, own_rows)) = (finished(read), finished(own));
        assert_eq!((&read.chosen, &read.validation_nll), (&fit.chosen, &fit.validation_nll), "{method}");
        for (row, own) in rows.iter().zip(own_rows) {
            assert_eq!((&row.row, &row.domains), (&own.row, &own.domains), "{method}");
        }
        // How the fit went is told as it went.
        let first = before.0.values().find(|first| first.method == *method).unwrap();
        assert_eq!((finished(first).0.seconds, finished(first).0.steps), (read.seconds, read.steps), "{method}");
    }
}

fn finished(record: &UnitRecord) -> (&FitRecord, &[RowRecord]) {
    match &record.outcome {
        Outcome::Finished { fit, rows } => (fit, rows),
        Outcome::Failed { reason } => panic!("{} failed: {reason}", record.method),
    }
}

#[test]
fn a_model_that_will_not_do_is_refused_with_file_and_value() {
    /// Damages a stage.
    type Damage<'a> = &'a dyn Fn(&Stage);
    let file = |stage: &Stage, name: &str| stage.model().join(name);
    let remove = |name: &'static str| move |stage: &Stage| fs::remove_file(file(stage, name)).unwrap();
    let edit = |from: &'static str, to: &'static str| move |stage: &Stage| stage.edit(from, to);
    let path = "path = \"../../models/tiny-distilbert\"";
    let truncate = |stage: &Stage| {
        let bytes = fs::read(file(stage, "model.safetensors")).unwrap();
        fs::write(file(stage, "model.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    };
    let another_family = |stage: &Stage| change(&file(stage, "config.json"), "\"distilbert\"", "\"gpt2\"");
    let more_tokens = |stage: &Stage| change(&file(stage, "tokenizer.json"), "\":\": 76", "\":\": 76, \"extra\": 77");
    let cases: [(Damage<'_>, &[&str]); 13] = [
        (&edit(path, "path = \"~/models\""), &["~/models: no such folder", "`~` is not expanded"]),
        (&remove("config.json"), &["tiny-distilbert/config.json: not found", "save_pretrained"]),
        (&remove("tokenizer.json"), &["tiny-distilbert/tokenizer.json: not found", "save_pretrained"]),
        (&remove("model.safetensors"), &["tiny-distilbert/model.safetensors: not found", "save_pretrained"]),
        (&truncate, &["model.safetensors", "not a complete safetensors file", "copy or download it again"]),
        (
            &another_family,
            &["config.json", "model_type is \"gpt2\"", "\"distilbert\", \"roberta\", \"xlm-roberta\", and"],
        ),
        (&more_tokens, &["tokenizer.json", "reach 77", "vocab_size in config.json is 77"]),
        (
            &edit("{ path = \"../../models/tiny-distilbert\" }", "\"distilbert\""),
            &["experiment.toml", "unknown model \"distilbert\"", "all-minilm-l6-v2", "{ path = \"FOLDER\" }"],
        ),
        (&edit("{ path =", "{ paht ="), &["experiment.toml", "unknown field `paht`", "did you mean `path`?"]),
        (
            &edit("{ path = \"../../models/tiny-distilbert\" }", "7"),
            &["experiment.toml", "expected the name of a model"],
        ),
        (
            &edit("target-blocks = [1]", "target-blocks = [2]"),
            &["experiment.toml", "adapter.target-blocks of method \"mle\"", "no block 2", "0 to 1"],
        ),
        (
            &edit("[\"query\", ", "[\"pooler\", "),
            &["experiment.toml", "adapter.target-maps of method \"mle\"", "no pooler", "leave it out"],
        ),
        (&edit("max-tokens = 32", "max-tokens = 65"), &["experiment.toml", "max-tokens is 65", "64"]),
    ];
    for (damage, says) in cases {
        let stage = Stage::new();
        damage(&stage);
        let said = stage.fails(&["run"]);
        for part in says {
            assert!(said.contains(part), "expected {part:?} in: {said}");
        }
        assert!(!stage.results().join("own-model/units").exists(), "records were written");
    }
}
