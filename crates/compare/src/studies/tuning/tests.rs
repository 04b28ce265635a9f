use std::path::Path;

use super::files::chosen;
use super::table;
use super::trial::{Trial, TrialOutcome, TrialRecord, search, trials};
use crate::error::Result;
use crate::experiment::{Changes, Chosen, Experiment, Plan, TUNING_FOLDER};
use bayeslora_records::SCHEMA;

const EXPERIMENT: &str = r#"
name = "toy"
title = "Toy"
analysis = ""
model = "all-minilm-l6-v2"
task = "vader-movies"
reference = "mle"
max-tokens = 16
adapter = { rank = 2, alpha = 4.0, target-maps = ["query"], target-blocks = [5] }
tuning = { trials = 4, seeds = [7, 8], search = { "training.learning-rate" = [1e-3, 2e-3, 4e-3] } }

[[methods]]
id = "mle"
label = "MLE"
kind = "mle"

[[methods]]
id = "map"
label = "MAP"
kind = "map"
search = { prior-sd = [0.5, 1.0] }

[[methods]]
id = "swag"
label = "SWAG"
kind = "swag"
tuned-like = "mle"
search = { scale = [0.5, 1.0] }

[profiles.quick]
seeds = [1]
tuned = true
"#;

fn plan(text: &str) -> Result<Plan> {
    let experiment: Experiment = toml::from_str(text).unwrap();
    experiment.plan_untuned(Path::new("results/toy/experiment.toml"), "quick")
}

fn record(trial: &Trial, seed: u64, outcome: TrialOutcome) -> TrialRecord {
    TrialRecord {
        schema: SCHEMA,
        key: String::new(),
        experiment: "toy".to_owned(),
        method: trial.method.id.clone(),
        seed,
        changes: std::collections::BTreeMap::new(),
        outcome,
        provenance: crate::run::provenance::current(&bayeslora_inference::Place::default(), "model", "data"),
    }
}

/// A world in which the best rate is 4e-3, the best prior deviation 0.5, and the best scale 1.
fn toy(trial: &Trial, seed: u64) -> TrialRecord {
    let settings = trial.method.method.settings();
    let parameter =
        |name: &str, best: f64| settings["parameters"][name].as_f64().map_or(0.0, |value| (value - best).abs());
    let rate = trial.method.training.learning_rate;
    let nll = (rate - 4e-3).abs() + parameter("prior_sd", 0.5) + parameter("prior-sd", 0.5) + parameter("scale", 1.0);
    let noise = if seed == 7 { 1e-6 } else { -1e-6 };
    record(trial, seed, TrialOutcome::Finished { nll: nll + noise, accuracy: 0.5, seconds: 1.0 })
}

#[test]
fn trials_are_few_distinct_and_start_with_the_method_as_written() {
    let plan = plan(EXPERIMENT).unwrap();
    let of = |id: &str, start: &Changes| {
        let entry = plan.experiment.methods.iter().find(|entry| entry.id == id).unwrap();
        trials(&plan, entry, start).unwrap().into_iter().map(|trial| trial.changes.to_string()).collect::<Vec<_>>()
    };
    // 1e-3 is the default, so three of the grid's points are different settings.
    let mle = of("mle", &Changes::default());
    assert_eq!(mle.len(), 3, "{mle:?}");
    assert_eq!(mle[0], "as written");
    let map = of("map", &Changes::default());
    assert_eq!(map.len(), 4, "{map:?}");
    assert!((1..4).all(|place| map[place].contains("prior-sd")), "{map:?}");
    let start: Changes = toml::from_str("'training.learning-rate' = 4e-3").unwrap();
    let swag = of("swag", &start);
    assert_eq!(swag, ["training.learning-rate = 0.004", "scale = 1.0, training.learning-rate = 0.004"]);
}

#[test]
fn the_lowest_mean_nll_is_chosen_and_handed_on() {
    let plan = plan(&EXPERIMENT.replace("trials = 4", "trials = 10")).unwrap();
    let searched = search(&plan, |trial, seed| Ok(toy(trial, seed))).unwrap();
    let chosen = chosen(&searched);
    let words = |id: &str| chosen.of(id).to_string();
    assert_eq!(words("mle"), "training.learning-rate = 0.004");
    assert_eq!(words("map"), "prior-sd = 0.5, training.learning-rate = 0.004");
    assert_eq!(words("swag"), "scale = 1.0, training.learning-rate = 0.004");
    assert!(searched.iter().all(|one| one.trials.iter().all(|(_, records)| records.len() == 2)));

    let text = chosen.to_toml("bayeslora tune").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(TUNING_FOLDER).join("chosen.toml");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, &text).unwrap();
    let load = || Chosen::load(folder.path(), Path::new("experiment.toml"), "main");
    assert_eq!(load().unwrap(), chosen);
    assert_eq!(chosen.check(["mle", "map"].into_iter()), Ok(()));
    let missing = chosen.check(["mle", "blob"].into_iter()).unwrap_err();
    assert!(missing.starts_with("method \"blob\" was not tuned; run `bayeslora tune`"), "{missing}");
    std::fs::write(&path, "mle = 3").unwrap();
    let damaged = load().unwrap_err().to_string();
    assert!(
        damaged.contains("chosen.toml") && damaged.contains("bayeslora tune experiment.toml --profile main"),
        "{damaged}"
    );
}

#[test]
fn a_trial_that_failed_is_not_chosen_and_shows_in_the_table() {
    let plan = plan(EXPERIMENT).unwrap();
    let failing = |trial: &Trial, seed: u64| {
        let failed = trial.method.training.learning_rate > 3e-3;
        let outcome = TrialOutcome::Failed { reason: "the loss is NaN at step 3".to_owned() };
        Ok(if failed { record(trial, seed, outcome) } else { toy(trial, seed) })
    };
    let searched = search(&plan, failing).unwrap();
    assert_eq!(searched[0].chosen().changes.to_string(), "training.learning-rate = 0.002");
    let table = table::page(&plan, &searched).markdown();
    assert!(table.contains("| MLE | **training.learning-rate = 0.002** | **0.0020** |"), "{table}");
    assert!(
        table.contains("| MLE | training.learning-rate = 0.004 | failed: the loss is NaN at step 3 | – | – |"),
        "{table}"
    );
    // 0.0013 and 0.0009 above the chosen one: mean 0.0011, standard error 0.0002.
    let apart = |trial: &Trial, seed: u64| {
        let TrialRecord { outcome, .. } = toy(trial, seed);
        let TrialOutcome::Finished { nll, accuracy, seconds } = outcome else { unreachable!() };
        let more = if trial.changes.0.is_empty() && seed == 7 { 0.0003 } else { -0.0001 };
        let more = if trial.changes.0.is_empty() { more } else { 0.0 };
        Ok(record(trial, seed, TrialOutcome::Finished { nll: nll + more, accuracy, seconds }))
    };
    let small = |trial: &Trial, seed: u64| {
        if trial.method.training.learning_rate > 3e-3 { failing(trial, seed) } else { apart(trial, seed) }
    };
    let apart = table::page(&plan, &search(&plan, small).unwrap()).markdown();
    assert!(apart.contains("| MLE | as written | 0.0031 | 0.5000 | 1.0 | 0.0011 ± 0.0002 |"), "{apart}");
    let csv = String::from_utf8(table::csv(&searched).unwrap()).unwrap();
    assert!(csv.contains("mle,training.learning-rate = 0.002,7,true,"), "{csv}");
}

#[test]
fn what_cannot_be_searched_is_refused_by_name() {
    let refusal = |from: &str, to: &str| {
        assert!(EXPERIMENT.contains(from));
        let found = plan(&EXPERIMENT.replace(from, to))
            .and_then(|plan| search(&plan, |trial, seed| Ok(toy(trial, seed))).map(|_| ()));
        found.unwrap_err().to_string()
    };
    let unknown = refusal("search = { scale = [0.5, 1.0] }", "search = { scael = [0.5] }");
    assert!(unknown.contains("swag") && unknown.contains("did you mean `scale`?"), "{unknown}");
    let range = refusal("scale = [0.5, 1.0]", "scale = [-1.0]");
    assert!(range.contains("scale is -1; expected at least 0"), "{range}");
    let empty = refusal("scale = [0.5, 1.0]", "scale = []");
    assert!(empty.contains("search.\"scale\" has no values"), "{empty}");
    let later = refusal("tuned-like = \"mle\"", "tuned-like = \"mel\"");
    assert!(later.contains("did you mean \"mle\"?"), "{later}");
    assert!(refusal("trials = 4", "trials = 0").contains("tuning.trials is 0; expected at least 1"));
    assert!(refusal("seeds = [7, 8]", "seeds = []").contains("tuning.seeds"));
}
