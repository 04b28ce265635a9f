//! Seeds of all methods and further ones of the reference: what is fitted, what is held against what, and what is refused.
#![cfg(test)]

mod experiments;
mod small;

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use experiments::{bayeslora, files_of, run, small_experiment_with, tiny_model};

/// The tiny experiment at three seeds of three methods, with two further seeds of the reference and a margin.
fn seeds_apart(further: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let seeds = "seeds = [1, 2, 3]\nreference-seeds = [4, 5]\nmethods = [\"mle\", \"mc-dropout-rank\", \"ensemble\"]";
    let own = [("seeds = [1]", seeds), ("[[methods]]", "[margins]\nnll = 0.05\n\n[[methods]]")];
    small_experiment_with(&[&tiny_model()[..], &own, further].concat())
}

#[test]
fn the_reference_has_further_fits_and_ensembles_and_placebos_their_own_pass() {
    let (folder, path) = seeds_apart(&[]);
    run(&path, "2");
    let of = |method: &str| {
        let units = files_of(&folder.path().join("quick/units")).into_keys();
        units.filter(|unit| unit.file_name().unwrap().to_string_lossy().starts_with(&format!("{method}-seed"))).count()
    };
    assert_eq!([of("mle"), of("mc-dropout-rank"), of("ensemble")], [5, 3, 3]);
    let lines = fs::read_to_string(folder.path().join("quick/beyond.csv")).unwrap();
    let asked = |row: &str, question: &str| -> Option<Vec<String>> {
        let mut all = lines.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        all.find(|cells| cells[0] == row && cells[2] == question)
    };
    // Another fit's entropy is not this one's, so seeds differ. Over all of them it detects a shift just as well: that is not asked.
    let placebo = asked("+other-fit", "errors").unwrap();
    assert!(placebo[6].parse::<f64>().unwrap() < -1e-6, "{placebo:?}");
    assert_eq!(asked("+other-fit", "shift"), None);
    // An ensemble's pass is not the reference's, which that of the distances is.
    let pass = |row: &str| asked(row, "shift").unwrap()[4].parse::<f64>().unwrap();
    assert!((pass("ensemble") - pass("+distances")).abs() > 1e-6);
    // A fit without a row at its mean keeps the entropy of a pass, and no other does.
    let kept = |method: &str| {
        let mut units = files_of(&folder.path().join("quick/units")).into_keys();
        let unit = units.find(|path| path.to_string_lossy().contains(&format!("{method}-seed1"))).unwrap();
        fs::read_to_string(unit).unwrap().contains("\"pass_entropy\":[")
    };
    assert_eq!(["mle", "mc-dropout-rank", "ensemble"].map(kept), [false, false, true]);
    // Distances that are lost are made again, and nothing else.
    let units = files_of(&folder.path().join("quick/units"));
    let distances = || -> Vec<String> {
        let paths = files_of(&folder.path().join("quick/distances")).into_keys();
        paths.map(|path| fs::read_to_string(path).unwrap()).collect()
    };
    let before = distances();
    fs::remove_dir_all(folder.path().join("quick/distances")).unwrap();
    run(&path, "2");
    assert_eq!((distances(), before.len()), (before, 1));
    assert_eq!(files_of(&folder.path().join("quick/units")), units);
    // Tempered rows keep what scores and tests need, and no uncertainty of a text.
    let mut units = files_of(&folder.path().join("quick/units")).into_keys();
    let dropout = units.find(|unit| unit.to_string_lossy().contains("mc-dropout-rank-seed1")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&fs::read(dropout).unwrap()).unwrap();
    let columns = |row: &str| {
        let rows = record["outcome"]["rows"].as_array().unwrap();
        rows.iter().find(|own| own["row"] == row).unwrap()["domains"][0]["per_text"].clone()
    };
    let (plain, tempered) = (columns("mc-dropout-rank/sampled"), columns("mc-dropout-rank/sampled+temperature"));
    assert_eq!(
        plain["label_probability"].as_array().unwrap().len(),
        tempered["label_probability"].as_array().unwrap().len()
    );
    assert!(plain["mutual_information"].is_array() && tempered["mutual_information"].is_null());
    let table = fs::read_to_string(folder.path().join("quick/table.md")).unwrap();
    for said in [
        "MLE has 5 fits, and every row is held against all of them.",
        "| placebo: predictive entropy of another fit of MLE |",
        "## What is shown to make no difference",
        "variances over seeds are moderated over the rows",
    ] {
        assert!(table.contains(said), "{said} is not in\n{table}");
    }
}

#[test]
fn seeds_named_twice_margins_of_what_is_not_tested_and_contrasts_of_no_rows_are_refused() {
    let refused = |from: &str, to: &str, said: &str| {
        let (_folder, path) = seeds_apart(&[(from, to)]);
        let output = bayeslora(&["run"], &path);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && message.contains(said), "{message}");
    };
    refused("reference-seeds = [4, 5]", "reference-seeds = [4, 3]", "has the seed 3 twice; name every seed once");
    refused("nll = 0.05", "mnll = 0.05", "margins.mnll: no such metric is tested; expected one of accuracy, nll");
    refused("nll = 0.05", "nll = -1.0", "margins.nll is -1");
    let contrast = |row: &str, beside: &str, said: &str| {
        let named = format!("{{ row = \"{row}\", beside = \"{beside}\" }}");
        let first = "{ row = \"mc-dropout-rank/sampled\", beside = \"ensemble\" }";
        refused("reference = \"mle\"", &format!("reference = \"mle\"\ncontrasts = [{first}, {named}]"), said);
    };
    contrast("ensembles", "mc-dropout-rank/mean", "did you mean \"ensemble\"?");
    contrast("ensemble", "mc-dropout-rank", "unknown row of contrasts \"mc-dropout-rank\"");
    contrast("mle", "ensemble", "one of them the reference");
    contrast("ensemble", "mc-dropout-rank/sampled", "are named twice; each pair is one test");
    contrast("ensemble", "ensemble", "\"ensemble\" stands beside itself; name two rows");
    contrast("ensemble", "mle", "one of them the reference; every row is compared with it already");
}
