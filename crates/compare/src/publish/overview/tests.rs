//! More than 400 lines: both pages are tested on the same toy results.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use bayeslora_records::{
    DomainRecord, FitRecord, Outcome, PerText, Provenance, ReliabilityPoint, RiskPoint, RowRecord, SCHEMA, Store,
    UnitRecord, key_of,
};
use candle_core::{DType, Device};

use super::*;
use crate::experiment::{Experiment, Plan};
use crate::run::keys::{Arithmetic, Sources, unit_key, unit_settings};

const EXPERIMENT: &str = r#"
name = "NAME"
title = "Toy <experiment>"
analysis = "What <it> is."
question = "Who wins?"
answer = "A does."
findings = "A wins, and **only** on toys."
model = "all-minilm-l6-v2"
task = "vader-movies"
reference = "mle"
max-tokens = 16
adapter = { rank = 2, alpha = 4.0, target-maps = ["query"], target-blocks = [5] }

[profiles.quick]
seeds = [1]
folder = "quick"

[profiles.main]
seeds = [1]

[[methods]]
id = "mle"
label = "MLE"
kind = "mle"

[[methods]]
id = "blob"
label = "BLOB"
kind = "blob"

[[methods]]
id = "tfb"
label = "TFB"
kind = "tfb"

[[methods]]
id = "OWN"
label = "OWN"
kind = "swag"
"#;

/// An experiment file in a folder of its own; its fourth method is its own too.
fn experiment(results: &Path, name: &str, changes: &[(&str, &str)]) {
    let mut text = EXPERIMENT.replace("NAME", name).replace("OWN", name);
    for (old, new) in changes {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    fs::create_dir_all(results.join(name)).unwrap();
    fs::write(results.join(name).join("experiment.toml"), text).unwrap();
}

/// What ten texts were given by a fit, the better the lower `nll` is.
fn columns(nll: f64, seed: u64) -> PerText {
    let seed = u32::try_from(seed).unwrap();
    let of_text = |text: u32| 0.6 + 0.04 * f64::from(text) + 0.01 * f64::from((7 * text + 3 * seed) % 5) - 0.5 * nll;
    let own: Vec<f64> = (0..10).map(of_text).collect();
    let wrong = (0..own.len()).filter(|&text| own[text] < 0.5).collect();
    PerText { classes: 2, label_probability: own, wrong, ..PerText::default() }
}

/// Records of every method at the NLLs given, on the test set of the training domain; on the other sets they are the negative. With several
/// seeds they keep what every text was given.
fn run(results: &Path, name: &str, nll: [f64; 4]) {
    let path = results.join(name).join("experiment.toml");
    let plan = Experiment::load(&path).unwrap().plan(&path, "main").unwrap();
    plan.seeds.iter().for_each(|&seed| run_seed(&plan, name, seed, nll));
}

fn run_seed(plan: &Plan, name: &str, seed: u64, nll: [f64; 4]) {
    let domains = plan.task.domains();
    let store = Store::new(&plan.folder);
    for (method, nll) in plan.methods.iter().zip(nll) {
        let domain = |place: usize| DomainRecord {
            domain: domains[place].id.clone(),
            in_distribution: place == 0,
            examples: 10,
            scores: BTreeMap::from([("nll".to_owned(), Some(if place == 0 { nll } else { -nll }))]),
            reliability: vec![ReliabilityPoint {
                lower: 0.5,
                upper: 1.0,
                count: 10,
                confidence: Some(0.8),
                accuracy: Some(0.7),
            }],
            risk_coverage: vec![RiskPoint { coverage: 1.0, risk: 0.3 }],
            histograms: BTreeMap::new(),
            per_text: (plan.seeds.len() > 1).then(|| columns(nll, seed)),
        };
        let row = |row: &crate::experiment::Row| RowRecord {
            row: row.id.to_string(),
            temperature: None,
            samples: 1,
            seconds: 1.0,
            examples_per_second: 10.0,
            domains: (0..domains.len()).map(domain).collect(),
        };
        let rows = plan.rows.iter().filter(|row| plan.method_of(row).id == method.id).map(row).collect();
        let provenance = Provenance {
            version: "0.1.0".to_owned(),
            commit: "abc".to_owned(),
            date: "2026-01-02".to_owned(),
            cpu: "a processor".to_owned(),
            threads: 1,
            jobs: 1,
            device: "cpu".to_owned(),
            accelerator: None,
            precision: "f32".to_owned(),
            model_digest: "model".to_owned(),
            data_digest: "data".to_owned(),
        };
        let unit = UnitRecord {
            schema: SCHEMA,
            key: unit_key(plan, method, seed, "model", "data"),
            settings: None,
            experiment: name.to_owned(),
            profile: "main".to_owned(),
            method: method.id.clone(),
            seed,
            outcome: Outcome::Finished { fit: FitRecord::default(), rows },
            provenance,
        };
        store.write_unit(&unit).unwrap();
    }
}

/// A folder with one experiment that was run, one that was not, and one page without an experiment.
fn results() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    experiment(folder.path(), "toy", &[]);
    run(folder.path(), "toy", [0.5, 0.4, 0.3, 0.2]);
    experiment(folder.path(), "absent", &[("Toy <experiment>", "Not yet"), ("findings", "# findings")]);
    // What was searched is no finding.
    write("absent/tuning/table.md", "# Tuning\n");
    write("toy/differences.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"><text id=\"x\">5 % & more</text></svg>");
    write("theory/table.md", "# Claims\n");
    write("theory/about.toml", "title = \"Claims\"\nanswer = \"All hold.\"\nquestion = \"Do they hold?\"\norder = 1\n");
    write("notes/readme.txt", "no results");
    folder
}

fn text(results: &Path, name: &str) -> String {
    fs::read_to_string(results.join(name)).unwrap()
}

#[test]
fn the_index_names_everything_and_says_what_was_found() {
    let folder = results();
    write_overview(folder.path()).unwrap();
    let index = text(folder.path(), "README.md");
    let path = folder.path().join("absent/experiment.toml");
    let command = format!("Not run yet: `make results EXPERIMENT={} PROFILE=main`.", path.display());
    for expected in [
        "| [Toy <experiment>](toy/table.md) | Who wins? | A does. | 1 | 2026-01-02 |\n",
        "| [Not yet](absent/experiment.toml) | Who wins? | not run yet | – | – |\n",
        "| [Claims](theory/table.md) | Do they hold? | All hold. | – | – |\n",
        "A wins, and **only** on toys.",
        "- [What was compared, and how](toy/experiment.toml)\n- [All tables](toy/table.md)\n",
        &command,
    ] {
        assert!(index.contains(expected), "{expected:?} is not in\n{index}");
    }
    let place = |title: &str| index.find(title).unwrap();
    assert!(place("[Claims]") < place("[Toy") && place("[Toy") < place("[Not yet]"), "by order, what was not run last");
}

#[test]
fn records_of_other_settings_are_not_run_yet_and_stop_nothing() {
    let folder = results();
    experiment(folder.path(), "stale", &[("Toy <experiment>", "Stale")]);
    run(folder.path(), "stale", [0.5, 0.4, 0.3, 0.2]);
    let path = folder.path().join("stale/experiment.toml");
    let edited = fs::read_to_string(&path).unwrap().replace("max-tokens = 16", "max-tokens = 17");
    fs::write(&path, edited).unwrap();
    write_overview(folder.path()).unwrap();
    let index = text(folder.path(), "README.md");
    assert!(index.contains("| [Stale](stale/experiment.toml) | Who wins? | not run yet | – | – |\n"), "{index}");
    assert!(index.contains("| [Toy <experiment>](toy/table.md) |"), "{index}");
}

#[test]
fn records_of_another_arithmetic_belong_to_the_plan_and_are_not_mixed_with_plain_ones() {
    let folder = results();
    let path = folder.path().join("toy/experiment.toml");
    let plan = Experiment::load(&path).unwrap().plan(&path, "main").unwrap();
    let store = Store::new(&plan.folder);
    let plain = store.units().unwrap();
    fs::remove_dir_all(plan.folder.join("units")).unwrap();
    let arithmetic = Arithmetic::new(DType::BF16, &Device::Cpu);
    for unit in &plain {
        let method = plan.methods.iter().find(|method| method.id == unit.method).unwrap();
        let settings = unit_settings(&plan, method, 1, Sources { model: "model", data: "data", arithmetic });
        let (key, settings) = (key_of(&settings), Some(settings));
        assert_ne!(key, unit.key);
        store.write_unit(&UnitRecord { key, settings, ..unit.clone() }).unwrap();
    }
    write_overview(folder.path()).unwrap();
    let index = text(folder.path(), "README.md");
    assert!(index.contains("| [Toy <experiment>](toy/table.md) | Who wins? | A does. | 1 | 2026-01-02 |\n"), "{index}");
    store.write_unit(&plain[0]).unwrap();
    let message = write_overview(folder.path()).unwrap_err().to_string();
    assert!(message.contains("toy/units") && message.contains("differ in precision or device"), "{message}");
}

#[test]
fn the_report_has_answers_a_leaderboard_and_tables_and_obeys_no_html() {
    let folder = results();
    write_overview(folder.path()).unwrap();
    let page = text(folder.path(), "report.html");
    for expected in [
        "<li><a href=\"#toy\">Who wins?</a> A does.</li>",
        "<details class=\"experiment\" id=\"toy\">\n<summary>Toy &lt;experiment&gt;</summary>",
        "<td>toy</td><td>BLOB, sampled</td>",
        "<td class=\"n\">0.4000</td>",
        "<small>not run yet</small>",
        "<strong>only</strong>",
    ] {
        assert!(page.contains(expected), "{expected:?} is not in\n{page}");
    }
    // Nothing is fetched, and nothing in a title is obeyed.
    assert!(!page.contains("src=\"http") && !page.contains("<link") && !page.contains("<experiment>"));
}

#[test]
fn what_was_written_is_found_to_be_current_until_a_record_changes() {
    let folder = results();
    assert_eq!(check_overview(folder.path()).unwrap(), [folder.path().join("README.md")]);
    let written = write_overview(folder.path()).unwrap();
    assert_eq!(written, [folder.path().join("README.md"), folder.path().join("report.html")]);
    assert!(check_overview(folder.path()).unwrap().is_empty());
    fs::write(folder.path().join("theory/about.toml"), "title = \"Other claims\"\n").unwrap();
    assert_eq!(check_overview(folder.path()).unwrap(), [folder.path().join("README.md")]);
}

#[test]
fn half_a_comparison_is_told_and_not_shown() {
    let folder = results();
    let units = folder.path().join("toy/units");
    let mut records = fs::read_dir(&units).unwrap();
    fs::remove_file(records.next().unwrap().unwrap().path()).unwrap();
    write_overview(folder.path()).unwrap();
    let index = text(folder.path(), "README.md");
    assert!(index.contains("Unfinished, and not shown: main (3 of 4 units)."), "{index}");
    assert!(index.contains("not run yet") && !index.contains("A does."), "{index}");
}

#[test]
fn a_folder_without_results_and_a_damaged_file_are_named() {
    let empty = tempfile::tempdir().unwrap();
    let message = write_overview(empty.path()).unwrap_err().to_string();
    assert!(message.contains("holds no experiment.toml and no about.toml"), "{message}");
    let nowhere = empty.path().join("nowhere");
    assert!(write_overview(&nowhere).unwrap_err().to_string().contains("nowhere"));
    for (bytes, expected) in [(&[0xff, 0xfe][..], "not UTF-8"), (b"titel = \"x\"", "titel")] {
        let folder = results();
        fs::write(folder.path().join("theory/about.toml"), bytes).unwrap();
        let message = write_overview(folder.path()).unwrap_err().to_string();
        assert!(message.contains("theory/about.toml") && message.contains(expected), "{message}");
    }
}

#[test]
fn rows_that_all_tasks_share_are_ranked_over_them() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path();
    let task = |name: &str, nll: [f64; 4]| {
        let mut ranked = format!("name = \"{name}\"");
        let _ = write!(ranked, "\nranked-as = \"{name} task\"");
        experiment(results, name, &[(&format!("name = \"{name}\""), &ranked)]);
        run(results, name, nll);
    };
    task("one", [0.5, 0.4, 0.3, 0.1]);
    write_overview(results).unwrap();
    assert!(!results.join("ranks").exists(), "one task is no sample");
    task("two", [0.5, 0.3, 0.4, 0.1]);
    let written = write_overview(results).unwrap();
    assert_eq!(written[0], results.join("ranks/table.md"));
    let page = text(results, "ranks/table.md");
    assert!(
        page.contains("Average ranks of 3 methods over the 2 tasks that share them: one task, two task."),
        "{page}"
    );
    for line in ["| MLE | 3.00 |", "| BLOB, sampled | 1.50 |", "| TFB, sampled | 1.50 |"] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
    for other in ["ONE", "TWO", "BLOB, mean"] {
        assert!(!page.contains(other), "{other} is no reading that all tasks share\n{page}");
    }
    assert!(results.join("ranks/critical_difference.svg").is_file());
    assert!(check_overview(results).unwrap().is_empty());
    run(results, "two", [0.5, 0.3, 0.2, 0.1]);
    assert_eq!(check_overview(results).unwrap()[0], results.join("ranks/table.md"));
}

/// An experiment has one block in the README: of the profile without a folder of its own, whatever others were run.
#[test]
fn the_readme_shows_the_profile_without_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results");
    let shown =
        "[readme]\nrows = [\"mle\"]\ncolumns = [{ label = \"NLL\", metric = \"nll\", domain = \"movies\" }]\n\n";
    let other = "[profiles.other]\nseeds = [1]\nfolder = \"other\"\n\n";
    experiment(&results, "toy", &[("[profiles.quick]", &format!("{shown}{other}[profiles.quick]"))]);
    run(&results, "toy", [0.9, 0.4, 0.3, 0.2]);
    fs::create_dir_all(results.join("toy/other")).unwrap();
    fs::rename(results.join("toy/units"), results.join("toy/other/units")).unwrap();
    run(&results, "toy", [0.5, 0.4, 0.3, 0.2]);
    let readme = folder.path().join("README.md");
    fs::write(&readme, "Toys\n<!-- BEGIN generated: toy -->\n<!-- END generated: toy -->\n").unwrap();
    crate::publish::write_all(&results).unwrap();
    let text = fs::read_to_string(&readme).unwrap();
    assert!(text.contains("| MLE | 0.5") && !text.contains("0.9"), "{text}");
    assert!(fs::read_to_string(results.join("toy/other/table.md")).unwrap().contains("0.9"));
}

const ANSWERS: &str = r#"
[[answers]]
question = "Does <it> help?"
answer = "It does not."
figure = { file = "toy/differences.svg", shows = "What it does" }
holds = "toys."
overturned-by = "a better toy."
effects = []
"#;

#[test]
fn answers_open_the_index_the_report_and_the_readme() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results");
    fs::rename(results_with_answers(ANSWERS).keep(), &results).unwrap();
    let readme = folder.path().join("README.md");
    fs::write(&readme, "Toys\n<!-- BEGIN generated: answers -->\n<!-- END generated: answers -->\n").unwrap();
    crate::publish::write_all(&results).unwrap();
    let index = text(&results, "README.md");
    let place = |said: &str| index.find(said).unwrap_or_else(|| panic!("{said} is not in\n{index}"));
    let order = [
        "# Results",
        "## Does <it> help?\n\nIt does not.",
        "![What it does](toy/differences.svg)",
        "- It holds for: toys.\n- What would overturn it: a better toy.",
        "## Every experiment",
        "## Toy <experiment>",
    ];
    assert!(order.map(place).is_sorted(), "{index}");
    let page = text(&results, "report.html");
    assert!(page.contains("<h2>Does &lt;it&gt; help?</h2>") && page.contains("alt=\"What it does\""), "{page}");
    assert!(fs::read_to_string(&readme).unwrap().contains("-->\n**Does <it> help?** It does not.\n<!--"));
    assert!(crate::publish::check_all(&results).unwrap().is_empty());
}

/// Effects come from the records of the run that is named, here in the folder of a profile; links lead there from where they stand.
#[test]
fn effects_are_looked_up_and_lead_to_their_page() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results");
    let seeds = "[profiles.main]\nseeds = [1, 2, 3]\nfolder = \"own\"";
    experiment(&results, "toy", &[("[profiles.main]\nseeds = [1]", seeds)]);
    run(&results, "toy", [0.5, 0.4, 0.3, 0.2]);
    let effect = |row: &str, more: &str| {
        let effect = format!("{{ row = \"{row}\", domain = \"movies\", metric = \"nll\" }}");
        format!("{{ run = \"toy/own\", on = \"toys\", effect = {effect}{more} }}")
    };
    let effects = format!("effects = [{}, {}]", effect("tfb/sampled", ", readme = true"), effect("blob/sampled", ""));
    let answers = ANSWERS.replace("effects = []", &effects).replace("figure = {", "# figure = {");
    fs::write(
        results.join("answers.toml"),
        answers.replace("It does not.", "See [all](toy/own/table.md), [theirs](https://a.b/c) and [here](#x)."),
    )
    .unwrap();
    let readme = folder.path().join("README.md");
    fs::write(&readme, "<!-- BEGIN generated: answers -->\n<!-- END generated: answers -->\n").unwrap();
    // However the folder is written.
    crate::publish::write_all(&results.join("")).unwrap();
    let page = text(&results, "toy/own/table.md");
    let line = page.lines().find(|line| line.starts_with("| TFB, sampled | Movie reviews | NLL |")).unwrap();
    let told = line.split('|').nth(4).unwrap().trim();
    assert!(told.starts_with("-0."), "{page}");
    let told = told.replace('*', "");
    let index = text(&results, "README.md");
    let quoted = format!("](toy/own/table.md) | NLL ↓, Movie reviews | TFB, sampled | MLE | {told} | better |");
    assert!(index.contains(&format!("| [toys{quoted}")), "{quoted} is not in\n{index}");
    assert!(index.contains("| BLOB, sampled | MLE |") && index.contains("See [all](toy/own/table.md), "), "{index}");
    let readme = fs::read_to_string(&readme).unwrap();
    assert!(readme.contains(&quoted.replace("](", "](results/")) && !readme.contains("BLOB"), "{readme}");
    assert!(
        readme.contains("See [all](results/toy/own/table.md), [theirs](https://a.b/c) and [here](#x)."),
        "{readme}"
    );
    let html = text(&results, "report.html");
    assert!(html.contains("<td><a href=\"toy/own/table.md\">toys</a></td>"), "{html}");
}

fn results_with_answers(answers: &str) -> tempfile::TempDir {
    let folder = results();
    fs::write(folder.path().join("answers.toml"), answers).unwrap();
    folder
}

#[test]
fn an_answer_quotes_nothing_that_is_not_there() {
    let effect = |effect: &str| {
        let named = format!("effects = [{{ run = \"toy\", on = \"toys\", effect = {{ {effect} }} }}]");
        ("effects = []".to_owned(), named)
    };
    let figure = ("toy/differences.svg".to_owned(), "toy/none.svg".to_owned());
    let absent = ("run = \"toy\"".to_owned(), "run = \"absent\"".to_owned());
    let nll = effect(r#"row = "tfb/sampled", domain = "movies", metric = "nll""#);
    for (changes, said) in [
        (vec![figure], "there is no figure toy/none.svg"),
        (vec![nll.clone(), absent], "no run lies finished in absent"),
        // One seed: nothing is tested.
        (vec![nll], "toy has no test of nll by row \"tfb/sampled\" on \"movies\""),
        (vec![effect(r#"row = "tfb/sampled", domain = "movies""#)], "name a metric"),
        (vec![effect(r#"row = "tfb/sampled", domain = "movies", metrics = "nll""#)], "unknown field `metrics`"),
    ] {
        let replace = |text: String, (old, new): (String, String)| {
            assert!(text.contains(&old), "{old} is not in\n{text}");
            text.replace(&old, &new)
        };
        let folder = results_with_answers(&changes.into_iter().fold(ANSWERS.to_owned(), replace));
        let message = write_overview(folder.path()).unwrap_err().to_string();
        assert!(message.contains("answers.toml") && message.contains(said), "{message}");
        assert!(!folder.path().join("README.md").exists(), "nothing is half-written");
    }
}
