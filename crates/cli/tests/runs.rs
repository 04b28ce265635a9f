//! Runs of the real binary on a small part of the real data: reproducible, independent of threads, resumable.
//!
//! Products of a real model are large enough to be shared out by threads; what does not depend on that is tried on a tiny one.
#![cfg(test)]

mod experiments;
mod small;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tempfile::TempDir;

use experiments::{bayeslora, command, cut_down, files_of, run, small_experiment_with, tiny_model};

/// The tests' experiment on a real model, cut down to seconds.
fn small_experiment() -> (TempDir, PathBuf) {
    small_experiment_with(&[])
}

/// The same on a tiny model.
fn tiny_experiment() -> (TempDir, PathBuf) {
    small_experiment_with(&tiny_model())
}

/// The text of an experiment of the repository.
fn committed(name: &str) -> String {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results");
    fs::read_to_string(results.join(name).join("experiment.toml")).unwrap()
}

/// Every score of every unit, by name.
fn scores(folder: &Path) -> BTreeMap<String, f64> {
    let mut scores = BTreeMap::new();
    for path in files_of(&folder.join("quick/units")).into_keys().chain(files_of(&folder.join("units")).into_keys()) {
        let record: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
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

#[test]
fn the_same_seed_gives_the_same_scores_on_one_thread_and_on_two() {
    let (two, path) = small_experiment();
    run(&path, "2");
    let expected = scores(two.path());
    assert!(expected.len() > 100, "{} scores", expected.len());
    let (one, path) = small_experiment();
    run(&path, "1");
    for (name, value) in &scores(one.path()) {
        assert!((value - expected[name]).abs() < 1e-5, "{name}: {value} on one thread, {} on two", expected[name]);
    }
}

#[test]
fn two_runs_of_one_seed_are_the_same_and_what_is_finished_is_not_computed_again() {
    let (first, path) = tiny_experiment();
    run(&path, "2");
    let expected = scores(first.path());
    let finished = || files_of(&first.path().join("quick/units"));
    let before = finished();
    run(&path, "2");
    assert_eq!(before, finished(), "a finished unit was computed again");

    let (again, path) = tiny_experiment();
    run(&path, "2");
    assert_eq!(expected, scores(again.path()), "two runs of one seed differ");
    for file in ["table.csv", "summary.json", "reliability.svg"] {
        let read = |folder: &TempDir| fs::read(folder.path().join("quick").join(file)).unwrap();
        assert_eq!(read(&first), read(&again), "{file}");
    }
}

#[test]
fn units_computed_two_at_a_time_have_the_scores_of_one_thread() {
    let (single, path) = tiny_experiment();
    run(&path, "1");
    let (shared, path) = tiny_experiment();
    assert!(command(&path, "2").args(["--jobs", "2"]).status().unwrap().success());
    assert_eq!(scores(single.path()), scores(shared.path()), "two units at a time, each on one thread");
    let table = fs::read_to_string(shared.path().join("quick/table.md")).unwrap();
    assert!(table.contains("1 (each of 2 at a time) threads"), "{table}");
}

#[test]
fn studies_of_the_adapters_of_a_run_do_not_depend_on_threads() {
    let (run_before, path) = tiny_experiment();
    run(&path, "2");
    couplings_are_reproducible(&path, run_before.path());
    the_paper_is_reproducible(&path, run_before.path());
    widths_reach_from_the_mean_to_the_run(&path, run_before.path());
    geometry_is_reproducible(&path, run_before.path());
}

/// `bayeslora couplings` on the adapters of a finished run: the same files on one thread and on two.
fn couplings_are_reproducible(path: &Path, folder: &Path) {
    let files = ["table.md", "table.csv", "errors.svg"];
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

/// `bayeslora width` on the adapters of a finished run: on one thread and on two the same files, with the mean row's scores at 0 and the
/// sampled row's at 1.
fn widths_reach_from_the_mean_to_the_run(path: &Path, folder: &Path) {
    let files = ["table.md", "table.csv", "width.svg"];
    let found = ["2", "1"].map(|threads| {
        let out = folder.join(format!("width-{threads}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_bayeslora"));
        command.args(["width", "--widths", "3,0"]).arg(path).arg("--out").arg(&out);
        let output = command.env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        files.map(|file| fs::read(out.join(file)).unwrap())
    });
    assert!(found[0] == found[1], "threads change the tables");
    let table = String::from_utf8(found[0][1].clone()).unwrap();
    let mut lines = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let rows: Vec<Vec<&str>> = lines.collect();
    let recorded = scores(folder);
    let mut compared = [0; 2];
    for (at, column) in head.iter().enumerate().filter(|(_, column)| column.contains('/') && !column.contains('+')) {
        let (domain, metric) = column.split_once('/').unwrap();
        for (place, (width, reading)) in [("0", "mean"), ("1", "sampled")].into_iter().enumerate() {
            let row = rows.iter().find(|row| row[0] == "mc-dropout-input/sampled" && row[2] == width).unwrap();
            let Some(expected) = recorded.get(&format!("\"mc-dropout-input/{reading}\" \"{domain}\" {metric}")) else {
                continue;
            };
            let got: f64 = row[at].parse().unwrap_or_else(|_| panic!("{column} at {width} in {table}"));
            // Five digits.
            assert!((got - expected).abs() < 2e-5, "{column} at {width}: {got} and {expected}");
            compared[place] += 1;
        }
    }
    assert!(compared[0] > 8 && compared[1] > 10, "{compared:?} scores in {table}");

    // Without the fits nothing is computed and nothing written.
    let (fits, away) = (folder.join("quick/fits"), folder.join("away"));
    fs::rename(&fits, &away).unwrap();
    let out = folder.join("width-of-nothing");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bayeslora"));
    let output = command.arg("width").arg(path).arg("--out").arg(&out).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("is not there: adapters are not kept with the records"),
        "{said}"
    );
    assert!(said.contains("`bayeslora run`") && !out.join("table.md").exists(), "{said}");
    fs::rename(&away, &fits).unwrap();
}

/// `bayeslora paper` on the adapters of a finished run: the same files on one thread and on two, with the accuracy of the records.
fn the_paper_is_reproducible(path: &Path, folder: &Path) {
    let read = |file: &str| fs::read(folder.join("quick/protocol").join(file)).unwrap();
    let files = ["table.md", "table.csv", "cls_states.svg", "deciles.svg"];
    let mut found = Vec::new();
    for threads in ["2", "1"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bayeslora"));
        let output = command.arg("paper").arg(path).env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        found.push(files.map(read));
    }
    assert!(found[0][0] == found[1][0], "threads change the table");
    // Products are shared out by threads: sums end in other last digits.
    let numbers = |bytes: &[u8]| -> Vec<f64> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.split([',', '\n']).filter_map(|cell| cell.parse().ok()).collect()
    };
    let (two, one) = (numbers(&found[0][1]), numbers(&found[1][1]));
    assert!(two.len() > 100 && two.len() == one.len(), "{} and {}", two.len(), one.len());
    assert!(two.iter().zip(&one).all(|(two, one)| (two - one).abs() < 1e-6), "threads change the numbers");
    let table = String::from_utf8(read("table.csv")).unwrap();
    let accuracy =
        table.lines().find_map(|line| line.strip_prefix("\"MC-dropout, input site\",1,test accuracy,")).unwrap();
    let accuracy: f64 = accuracy.trim_end_matches(',').parse().unwrap();
    let recorded = scores(folder)["\"mc-dropout-input/sampled\" \"movies\" accuracy"];
    // Records keep seven digits.
    assert!((accuracy - recorded).abs() < 1e-6, "{accuracy} and {recorded}");
}

/// `bayeslora geometry` on the adapters of a finished run: the same files on one thread and on two, and words where there are none.
fn geometry_is_reproducible(path: &Path, folder: &Path) {
    let measure = |threads: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bayeslora"));
        command.args(["geometry", "--texts", "12", "--resamples", "5"]).arg(path).env("RAYON_NUM_THREADS", threads);
        command.output().unwrap()
    };
    let read = |file: &str| fs::read(folder.join("quick/geometry").join(file)).unwrap();
    let files = ["table.md", "table.csv", "predictions.csv", "correlations.svg"];
    let mut found = Vec::new();
    for threads in ["2", "1"] {
        let output = measure(threads);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        found.push(files.map(read));
    }
    assert!(found[0] == found[1], "threads change the tables");
    let table = String::from_utf8(read("table.md")).unwrap();
    assert!(table.contains("## What it says") && table.contains("block 2 output"), "{table}");
    let predictions = table.split_once("## Does it reach the prediction?").unwrap().1;
    assert!(predictions.contains("T = 3 | variance of the probability |"), "{predictions}");
    for run in fs::read_dir(folder.join("quick/runs")).unwrap() {
        fs::remove_file(run.unwrap().path().join("predictions.safetensors")).unwrap();
    }
    let output = measure("2");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && message.contains("has no predictions here"), "{message}");
    // Adapters do not travel with the records.
    fs::remove_dir_all(folder.join("quick/fits")).unwrap();
    let output = measure("2");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("adapter") && message.contains("`bayeslora run`"), "{message}");
}

#[test]
fn a_curve_is_drawn_from_the_records_of_its_profiles() {
    let few = "\nmethods = [\"mle\", \"mc-dropout-input\"]\nsamples = 2";
    let (folder, path) = cut_down(
        committed("small-data"),
        &[
            ("seeds = [1, 2, 3, 4, 5]\nfolder = \"n50\"", &format!("seeds = [1, 2]\nfolder = \"n50\"{few}")),
            ("seeds = [1, 2, 3, 4, 5]\nfolder = \"n200\"", &format!("seeds = [1]\nfolder = \"n200\"{few}")),
            ("at = 1000\n", ""),
            ("max-train = 50\nmax-test = 1000\nmax-shifted = 200", "max-train = 50\nmax-test = 40\nmax-shifted = 10"),
            ("max-train = 200\nmax-test = 1000\nmax-shifted = 200", "max-train = 200\nmax-test = 40\nmax-shifted = 10"),
            ("epochs = 40", "epochs = 2"),
            ("epochs = 11", "epochs = 1"),
            ("resamples = 1000", "resamples = 20"),
        ],
    );
    let curve = |arguments: &[&str]| bayeslora(arguments, &path);
    let early = curve(&["curve"]);
    let message = String::from_utf8_lossy(&early.stderr).into_owned();
    assert!(!early.status.success() && message.contains("no records yet"), "{message}");
    for profile in ["n50", "n200"] {
        let output = bayeslora(&["run", "--profile", profile], &path);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(curve(&["curve"]).status.success() && curve(&["curve", "--check"]).status.success());
    let table = fs::read_to_string(folder.path().join("curve.csv")).unwrap();
    // Two places, three rows (one of MLE, two of MC-dropout), four metrics, and the head.
    assert_eq!(table.lines().count(), 1 + 2 * 3 * 4, "{table}");
    assert!(table.contains("50.0,mle,accuracy,2,") && table.contains("200.0,mle,accuracy,1,"), "{table}");
    fs::write(folder.path().join("curve.md"), "").unwrap();
    assert!(!curve(&["curve", "--check"]).status.success());
}

/// Every method of the large comparison, tuned by two trials, on the tiny model, cut down to seconds.
fn every_method() -> (TempDir, PathBuf) {
    let small = [
        ("split-seed = 0", "split-seed = 0\nmax-validation = 24"),
        ("max-train = 2400", "max-train = 64\nmax-test = 16\nepochs = 1\nsamples = 3"),
        ("max-shifted = 300\n", "max-shifted = 6\n"),
        ("seeds = [1, 2, 3, 4, 5]", "seeds = [1]"),
        ("resamples = 1000", "resamples = 20"),
        ("batch-size = 32", "batch-size = 16"),
        ("trials = 6", "trials = 2"),
        ("\"training.batch-size\" = [16, 32]", "\"training.batch-size\" = [8, 16]"),
        ("kind = \"swag\"", "kind = \"swag\"\nparameters = { epochs = 1, snapshots = 4, columns = 2, members = 2 }"),
        ("blocks = [5]", "blocks = [2]"),
        ("id = \"checkpoint-ensemble\"", "id = \"checkpoint-ensemble\"\nparameters = { members = 2 }"),
    ];
    cut_down(committed("every-method"), &[&small[..], &tiny_model()].concat())
}

/// Starts a command again and again, killed each of `times` after a random time within `longest`; `finished` must only grow and keep the
/// times of its files.
fn kill_at_random(
    mut start: impl FnMut() -> Command,
    (times, longest): (u32, Duration),
    finished: impl Fn() -> BTreeMap<PathBuf, SystemTime>,
) {
    let mut random = ChaCha8Rng::seed_from_u64(20);
    let mut kept: BTreeMap<PathBuf, SystemTime> = BTreeMap::new();
    for _ in 0..times {
        let mut child = start().spawn().unwrap();
        let moment = longest.mul_f64(random.random());
        let started = Instant::now();
        while started.elapsed() < moment && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let now = finished();
        for (record, time) in &kept {
            assert_eq!(now.get(record), Some(time), "{} was lost or written again", record.display());
        }
        kept = now;
    }
}

#[test]
fn tuning_and_a_run_of_every_method_killed_at_twenty_moments_come_to_the_same_results() {
    let (whole, path) = every_method();
    let refused = bayeslora(&["run", "--profile", "main"], &path);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && message.contains("chosen.toml") && message.contains("bayeslora tune"),
        "{message}"
    );
    let timed = |arguments: &[&str]| {
        let started = Instant::now();
        let output = bayeslora(arguments, &path);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        started.elapsed()
    };
    let tuning = timed(&["tune", "--profile", "main", "--threads", "2"]);
    let running = timed(&["run", "--profile", "main", "--threads", "2"]);
    assert!(bayeslora(&["tune", "--profile", "main", "--check"], &path).status.success());
    let expected = scores(whole.path());
    assert!(expected.keys().any(|name| name.contains("laplace")) && expected.keys().any(|name| name.contains("tfb")));

    let (interrupted, path) = every_method();
    let command = |word: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bayeslora"));
        command.args([word, "--profile", "main", "--threads", "2"]).arg(&path);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    // A part of the work between two kills: before the first unit, within fits, between units, and after the last.
    kill_at_random(
        || command("tune"),
        (8, tuning.mul_f64(0.1)),
        || files_of(&interrupted.path().join("tuning/trials")),
    );
    assert!(command("tune").status().unwrap().success());
    let chosen = |folder: &TempDir| fs::read(folder.path().join("tuning/chosen.toml")).unwrap();
    assert_eq!(chosen(&whole), chosen(&interrupted));
    kill_at_random(|| command("run"), (20, running.mul_f64(0.08)), || files_of(&interrupted.path().join("units")));
    assert!(command("run").status().unwrap().success());
    assert_eq!(expected, scores(interrupted.path()));
}

#[test]
fn trials_do_not_depend_on_the_blocks_that_other_methods_adapt() {
    let trials = |other: &str| -> BTreeMap<String, serde_json::Value> {
        let (folder, path) = every_method();
        let text = fs::read_to_string(&path).unwrap();
        let (start, end) = (text.find("[[methods]]\nid = \"map\"").unwrap(), text.find("[profiles.quick]").unwrap());
        fs::write(&path, format!("{}{other}\n{}", &text[..start], &text[end..])).unwrap();
        let output = bayeslora(&["tune", "--profile", "main"], &path);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let records = files_of(&folder.path().join("tuning/trials")).into_keys().map(|path| {
            let record: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            (record["changes"].to_string(), record)
        });
        let of_mle = records.filter(|(_, record)| record["method"] == "mle");
        of_mle.map(|(changes, record)| (changes, record["outcome"]["nll"].clone())).collect()
    };
    let alone = trials("");
    assert!(alone.len() == 2 && alone.values().all(serde_json::Value::is_f64), "{alone:?}");
    let lower = "[[methods]]\nid = \"lower\"\nlabel = \"Lower\"\nkind = \"mle\"\nadapter = { target-blocks = [0] }\n";
    let beside = trials(lower);
    for (changes, nll) in &alone {
        // The frozen blocks are computed with other batches, which round otherwise.
        let (alone, beside) = (nll.as_f64().unwrap(), beside[changes].as_f64().unwrap());
        assert!((alone - beside).abs() < 1e-3, "{changes}: {alone} alone, {beside} beside a method of lower blocks");
    }
}
