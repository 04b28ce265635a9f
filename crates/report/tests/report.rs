//! Reports are pure functions of records: what they say, what they leave out, and that nothing else moves them.
//!
//! More than 400 lines: every section of a page is tested on the same made-up records.
#![cfg(test)]

mod made_up;

use std::collections::BTreeMap;

use bayeslora_records::{
    Beyond, ComparisonRecord, DISTANCES, Difference, DomainRecord, FitRecord, Histogram, Outcome, Question,
    ReliabilityPoint, RiskPoint, RowRecord, SCHEMA, TEMPERED, Test, UnitRecord,
};

use bayeslora_render::File;
use bayeslora_report::{Comparison, Definition, Error, Report, RowDefinition, TestSet, splice};

use made_up::provenance;

/// As pages test records without columns of texts.
fn of_then(records: &[ComparisonRecord]) -> Vec<Comparison> {
    records.iter().map(Comparison::from).collect()
}

fn render(definition: &Definition, units: &[UnitRecord], comparisons: &[ComparisonRecord]) -> Result<Vec<File>, Error> {
    Report::new(definition, units, &of_then(comparisons))?.files()
}

fn readme_block(
    definition: &Definition,
    units: &[UnitRecord],
    comparisons: &[ComparisonRecord],
) -> Result<String, Error> {
    Report::new(definition, units, &of_then(comparisons))?.readme_block()
}

fn definition() -> Definition {
    let row = |id: &str, label: &str, method: &str| RowDefinition {
        id: id.to_owned(),
        label: label.to_owned(),
        method: method.to_owned(),
    };
    let domain = |id: &str, label: &str, in_distribution| TestSet {
        id: id.to_owned(),
        label: label.to_owned(),
        in_distribution,
        labelled: true,
        rated: true,
        corruption: None,
    };
    Definition {
        draws_training_set: false,
        bootstrap: bayeslora_metrics::Bootstrap::default(),
        margins: BTreeMap::new(),
        contrasts: vec![],
        name: "made-up".to_owned(),
        title: "A made-up comparison, 100 % of it".to_owned(),
        analysis: "What is measured.\n".to_owned(),
        seeds: vec![1, 2],
        rows: vec![row("mle", "MLE", "mle"), row("mc/sampled", "MC | p_0.1, sampled", "mc")],
        domains: vec![domain("in", "Inside", true), domain("out", "Outside", false)],
        reference: "mle".to_owned(),
        command: "make results".to_owned(),
        readme: None,
    }
}

fn unit(method: &str, row: &str, seed: u64, accuracy: f64) -> UnitRecord {
    let domain = |id: &str, in_distribution| DomainRecord {
        domain: id.to_owned(),
        in_distribution,
        examples: 10,
        scores: BTreeMap::from([
            ("accuracy".to_owned(), Some(accuracy)),
            ("nll".to_owned(), Some(1.0 - accuracy)),
            ("ece".to_owned(), None),
            ("variance_error_p".to_owned(), Some(1e-9 * accuracy)),
        ]),
        reliability: vec![
            ReliabilityPoint { lower: 0.0, upper: 0.5, count: 0, confidence: None, accuracy: None },
            ReliabilityPoint { lower: 0.5, upper: 1.0, count: 10, confidence: Some(0.8), accuracy: Some(accuracy) },
        ],
        risk_coverage: vec![RiskPoint { coverage: 0.5, risk: 0.1 }, RiskPoint { coverage: 1.0, risk: 1.0 - accuracy }],
        histograms: ["predictive_entropy", "log10_mutual_information"]
            .map(|name| (name.to_owned(), Histogram { lower: 0.0, upper: 0.7, counts: vec![4, 6] }))
            .into(),
        per_text: None,
    };
    UnitRecord {
        schema: SCHEMA,
        key: format!("{method}-{seed}"),
        settings: None,
        experiment: "made-up".to_owned(),
        profile: "quick".to_owned(),
        method: method.to_owned(),
        seed,
        outcome: Outcome::Finished {
            fit: FitRecord {
                trainable_parameters: 12,
                steps: 3,
                validation_nll: vec![vec![0.5]],
                best_epoch: vec![1],
                seconds: 2.0,
                tokens_per_second: 50.0,
                post_hoc_seconds: 1.5,
                peak_memory: Some(300 << 20),
                chosen: BTreeMap::new(),
            },
            rows: vec![RowRecord {
                row: row.to_owned(),
                temperature: None,
                samples: 10,
                seconds: 1.0,
                examples_per_second: 20.0,
                domains: vec![domain("in", true), domain("out", false)],
            }],
        },
        provenance: provenance(),
    }
}

fn units() -> Vec<UnitRecord> {
    vec![
        unit("mle", "mle", 1, 0.80),
        unit("mle", "mle", 2, 0.82),
        unit("mc", "mc/sampled", 1, 0.84),
        unit("mc", "mc/sampled", 2, 0.90),
    ]
}

/// A comparison whose p-value is 0.01 where the interval excludes 0, and 0.4 elsewhere.
fn comparison(metric: &str, lower: f64, upper: f64) -> ComparisonRecord {
    let p_value = if lower > 0.0 || upper < 0.0 { 0.01 } else { 0.4 };
    let test = Test { p_value, examples: 2000, error_over_examples: 0.01, error_over_seeds: Some(0.002) };
    let difference = |domain: &str| Difference {
        domain: domain.to_owned(),
        metric: metric.to_owned(),
        estimate: f64::midpoint(lower, upper),
        lower,
        upper,
        test: Some(test),
    };
    ComparisonRecord {
        schema: SCHEMA,
        key: "c".to_owned(),
        settings: None,
        row: "mc/sampled".to_owned(),
        reference: "mle".to_owned(),
        seeds: vec![1, 2],
        resamples: 100,
        level: 0.95,
        covers: bayeslora_records::Covers::ExamplesAndSeeds,
        differences: vec![difference("in")],
        beyond: vec![],
    }
}

fn files(units: &[UnitRecord], comparisons: &[ComparisonRecord]) -> BTreeMap<String, Vec<u8>> {
    render(&definition(), units, comparisons).unwrap().into_iter().collect()
}

fn text(files: &BTreeMap<String, Vec<u8>>, name: &str) -> String {
    String::from_utf8(files[name].clone()).unwrap()
}

#[test]
fn the_main_table_has_means_deviations_stars_and_gaps() {
    // Accuracy differs, by its interval; NLL does not. The deviation of 0.84 and 0.90 is 0.0424.
    let comparisons = [ComparisonRecord {
        differences: [comparison("accuracy", 0.02, 0.10), comparison("nll", -0.10, 0.02)]
            .into_iter()
            .flat_map(|record| record.differences)
            .collect(),
        ..comparison("accuracy", 0.0, 0.0)
    }];
    let block = readme_block(&definition(), &units(), &comparisons).unwrap();
    let expected = "\
| method | Accuracy ↑ | NLL ↓ | Brier ↓ | ECE ↓ | AURC ↓ | NLL against raters ↓ |
|---|---:|---:|---:|---:|---:|---:|
| MLE | 0.810 ± 0.014 | 0.190 ± 0.014 | – | – | – | – |
| MC \\| p_0.1, sampled | 0.870 ± 0.042* | 0.130 ± 0.042 | – | – | – | – |

Mean ± sample standard deviation over finished seeds (divisor n − 1); digits are those that the deviation justifies. `*`: differs from MLE \
at 0.05 (t-test over examples and seeds, over examples alone for one seed). Holm's correction is over the rows of one test set and metric, \
not over metrics and test sets.

![Differences from MLE, with their intervals](results/made-up/differences.svg)
";
    assert_eq!(block, expected);
    let files = files(&units(), &comparisons);
    let table = text(&files, "table.md");
    assert!(
        table.contains("| MC \\| p_0.1, sampled | Inside | Accuracy | +0.0600 [+0.0200, +0.1000] | 0.0100 |"),
        "{table}"
    );
    // Of NLL only the table of values speaks: its difference is not told apart from zero.
    assert!(table.contains("The 1 of 2 that are told apart") && !table.contains("| Inside | NLL | -0.0400"), "{table}");
    assert!(table.contains("| – | – | – | – | < 0.0001 |"), "{table}");
    // What one pays stands beside the quality: parameters, fit with what follows it, prediction.
    assert!(table.contains("| MLE | 0.810 ± 0.014 | 0.190 ± 0.014 | – | – | – | – | 12 | 3.5 | 1.0 |"), "{table}");
    let latex = text(&files, "table.tex");
    assert!(latex.contains("\\caption{A made-up comparison, 100 \\% of it: Inside."), "{latex}");
    assert!(latex.contains("MC | p\\_0.1, sampled & 0.870 $\\pm$ 0.042$^{*}$ & 0.130 $\\pm$ 0.042 & --"), "{latex}");
}

/// A definition and records with, beside the usual domains, one without labels and two corrupted copies.
fn of_many_kinds() -> (Definition, Vec<UnitRecord>) {
    let mut definition = definition();
    for domain in &mut definition.domains {
        domain.rated = false;
    }
    let outside = definition.domains[1].clone();
    let far = TestSet { id: "far".to_owned(), label: "Far".to_owned(), labelled: false, ..outside.clone() };
    definition.domains.push(far);
    for strength in [2, 5] {
        let (id, label) = (format!("typos-{strength}"), format!("Inside, typos, strength {strength}"));
        definition.domains.push(TestSet { id, label, corruption: Some(("Typos", strength)), ..outside.clone() });
    }
    let mut units = units();
    for unit in &mut units {
        let Outcome::Finished { rows, .. } = &mut unit.outcome else { unreachable!() };
        let outside = rows[0].domains[1].clone();
        let detected = |id: &str, auroc: f64| DomainRecord {
            domain: id.to_owned(),
            scores: BTreeMap::from([
                ("accuracy".to_owned(), None),
                ("auroc_predictive_entropy".to_owned(), Some(auroc)),
            ]),
            reliability: vec![],
            risk_coverage: vec![],
            ..outside.clone()
        };
        let corrupted = |id: &str, accuracy: f64| DomainRecord {
            domain: id.to_owned(),
            scores: BTreeMap::from([("accuracy".to_owned(), Some(accuracy))]),
            ..outside.clone()
        };
        rows[0].domains.extend([detected("far", 0.9), corrupted("typos-2", 0.75), corrupted("typos-5", 0.625)]);
    }
    (definition, units)
}

#[test]
fn domains_have_the_tables_that_they_have_data_for() {
    let (definition, units) = of_many_kinds();
    let files: BTreeMap<String, Vec<u8>> = render(&definition, &units, &[]).unwrap().into_iter().collect();
    let table = text(&files, "table.md");
    let headings: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(
        headings,
        [
            "What the numbers say",
            "Inside: predictive quality",
            "Inside: calibration",
            "Inside: selective prediction",
            "Outside: under shift",
            "Outside: detected against the in-distribution test set",
            "Far: detected against the in-distribution test set",
            "Typos: Accuracy ↑",
            "Typos: NLL ↓",
            "Typos: ECE ↓",
            "Typos: AUROC, predictive entropy ↑",
            "Cost",
            "What the columns mean",
        ]
    );
    let contents = table.lines().find(|line| line.starts_with("Contents: ")).unwrap();
    assert!(contents.contains("[Inside: predictive quality](#inside-predictive-quality) · "), "{contents}");
    assert!(
        contents.contains(" · [Typos: AUROC, predictive entropy ↑](#typos-auroc-predictive-entropy-) · "),
        "{contents}"
    );
    assert!(table.contains(" Examples: Inside 10, Outside 10, Far 10.\n"), "{table}");
    assert!(
        table.contains("- **AUROC, AUPR") && !table.contains("**10th neighbour**"),
        "only what is there is explained"
    );
    assert!(!table.contains("raters"), "nobody rated");
    assert!(table.contains(" | 12 | 2.0 | 1.5 | 50 | 10 | 1.0 | 20 | 300 |\n"), "{table}");
    assert!(
        table.contains("Examples: 10 as published, 10 strength 2, 10 strength 5.\n\n| method | as published |"),
        "{table}"
    );
    assert!(table.contains("| method | as published | strength 2 | strength 5 |"), "{table}");
    assert!(table.contains("| MC \\| p_0.1, sampled | 0.870 ± 0.042 | 0.7500 ± 0.0000 | 0.6250 ± 0.0000 |"), "{table}");
    let csv = text(&files, "table.csv");
    assert!(!csv.contains("far,accuracy") && csv.contains("far,auroc_predictive_entropy"), "{csv}");
    let latex = text(&files, "table.tex");
    assert!(!latex.contains(": Far.") && !latex.contains("strength"), "{latex}");
    for name in files.keys().filter(|name| name.contains(".svg")) {
        assert!(!text(&files, name).contains("NaN"), "{name}");
    }
    let block = readme_block(&definition, &units, &[]).unwrap();
    assert!(block.starts_with("| method | Accuracy ↑ | NLL ↓ | Brier ↓ | ECE ↓ | AURC ↓ |\n"), "{block}");
}

#[test]
fn scores_that_older_records_lack_have_tables_once_a_record_has_them() {
    let headings = |units: &[UnitRecord]| -> Vec<String> {
        let table = text(&files(units, &[]), "table.md");
        table.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect()
    };
    let mut units = units();
    let before = headings(&units);
    let Outcome::Finished { rows, .. } = &mut units[0].outcome else { unreachable!() };
    rows[0].domains[0].scores.insert("aurc_mahalanobis".to_owned(), Some(0.1));
    rows[0].domains[1].scores.insert("auroc_mahalanobis".to_owned(), Some(0.9));
    let mut after = headings(&units);
    let distances = "detected by the distance of the adapters' input, without any posterior";
    let new = ["Inside: selective prediction by other scores".to_owned(), format!("Outside: {distances}")];
    assert!(new.iter().all(|heading| after.contains(heading)), "{after:?}");
    after.retain(|heading| !new.contains(heading));
    assert_eq!(after, before);
}

#[test]
fn a_table_that_no_fit_enters_has_one_row() {
    let mut units = units();
    for unit in &mut units {
        let Outcome::Finished { rows, .. } = &mut unit.outcome else { unreachable!() };
        rows[0].domains[1].scores.insert("auroc_mahalanobis".to_owned(), Some(0.75));
    }
    let same = text(&files(&units, &[]), "table.md");
    assert!(same.contains("| every row | – | 0.750 ± 0.000 |"), "{same}");
    let Outcome::Finished { rows, .. } = &mut units[0].outcome else { unreachable!() };
    rows[0].domains[1].scores.insert("auroc_mahalanobis".to_owned(), Some(0.5));
    let other = text(&files(&units, &[]), "table.md");
    assert!(!other.contains("every row | – | 0.") && other.contains("| MLE | – | 0.62 ± 0.18 |"), "{other}");
}

#[test]
fn the_picture_of_differences_fills_what_stands_out_and_cuts_intervals_that_would_hide_the_others() {
    let drawing = |case: &Case| text(&case.files(), "differences.svg");
    let filled =
        |drawing: &str| drawing.matches("<path fill=\"#").count() - drawing.matches("<path fill=\"#ffffff").count();
    // What is not filled is white, as the ground is.
    let marks = |drawing: &str| drawing.matches("<path fill=\"#").count() - 1;
    // Two of the legend, and one each of three rows.
    let none = drawing(&Case::new(&[1, 2, 3]));
    assert_eq!((marks(&none), filled(&none)), (5, 2), "{none}");
    assert!(["SWAG", "TFB", "BLOB", "NLL − that of MLE"].iter().all(|name| none.contains(name)), "{none}");
    assert!(!none.contains("ECE") && !none.contains(">MLE<"), "{none}");
    let one = Case::new(&[1, 2, 3]).found("swag", "nll", -0.0012, 1e-6);
    assert_eq!(filled(&drawing(&one)), 3);
    // An interval of fifty times the others does not set the scale; a difference does.
    let mut long = Case::new(&[1, 2, 3]);
    for difference in &mut long.comparisons[0].differences {
        (difference.lower, difference.upper) = (-1.0, 1.0);
    }
    let (long, far) = (drawing(&long), drawing(&Case::new(&[1, 2, 3]).found("swag", "nll", 1.0, 0.5)));
    assert!(long.contains(">+0.04<"), "{long}");
    assert!(!long.contains(">+0.50<") && far.contains(">+0.50<"), "{far}");
    assert_eq!(marks(&far), 5, "every difference is shown");
    let table = text(&one.files(), "table.md");
    assert!(table.contains("\n![Differences from MLE, with their intervals](differences.svg)\n"), "{table}");
    assert!(!files(&units(), &[]).contains_key("differences.svg"), "nothing was compared");
}

#[test]
fn figures_and_the_readme_take_one_reading_of_each_fit() {
    let mut case = Case::new(&[1, 2]);
    let mean =
        RowDefinition { id: "swag/mean".to_owned(), label: "SWAG, at its mean".to_owned(), method: "swag".to_owned() };
    case.definition.rows.insert(1, mean);
    for unit in case.units.iter_mut().filter(|unit| unit.method == "swag") {
        let Outcome::Finished { rows, .. } = &mut unit.outcome else { unreachable!() };
        let mean = RowRecord { row: "swag/mean".to_owned(), ..rows[0].clone() };
        rows.insert(0, mean);
    }
    let files = case.files();
    for name in ["risk_coverage.svg", "reliability.svg"] {
        assert!(!text(&files, name).contains("SWAG, at its mean") && text(&files, name).contains("SWAG"), "{name}");
    }
    let table = text(&files, "table.md");
    assert!(table.contains("| SWAG, at its mean | 0.9000"), "the tables have every reading");
    let block = readme_block(&case.definition, &case.units, &[]).unwrap();
    assert!(block.contains("| SWAG | 0.9000") && !block.contains("at its mean"), "{block}");
}

#[test]
fn csv_and_json_hold_the_same_cells() {
    let files = files(&units(), &[comparison("accuracy", 1.0 / 30.0, 0.10)]);
    let csv = text(&files, "table.csv");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<BTreeMap<String, String>> = reader.deserialize().map(Result::unwrap).collect();
    let summary: serde_json::Value = serde_json::from_slice(&files["summary.json"]).unwrap();
    // Two rows, two domains, three metrics that are defined.
    let inner = |value: &serde_json::Value| -> Vec<serde_json::Value> {
        value.as_object().unwrap().values().cloned().collect()
    };
    let cells = inner(&summary).iter().flat_map(inner).collect::<Vec<_>>().iter().flat_map(inner).count();
    assert_eq!((rows.len(), cells), (12, 12));
    for row in &rows {
        let cell = &summary[&row["row"]][&row["domain"]][&row["metric"]];
        assert!(cell.as_object().unwrap().values().all(|value| !value.is_null()), "{cell}");
        assert_eq!(row["mean"].parse::<f64>().unwrap().to_bits(), cell["mean"].as_f64().unwrap().to_bits());
        assert_eq!(row["lower"].parse::<f64>().ok(), cell["lower"].as_f64());
    }
    let lower: Vec<&str> = rows.iter().map(|row| row["lower"].as_str()).filter(|lower| !lower.is_empty()).collect();
    assert_eq!(lower, ["0.03333333"], "seven significant digits");
}

#[test]
fn failures_and_missing_seeds_stand_above_the_tables() {
    let mut units = units();
    units[3].outcome = Outcome::Failed { reason: "the loss became NaN in step 7".to_owned() };
    let table = text(&files(&units, &[]), "table.md");
    let failed = table.find("> **Failed:** mc at seed 2: the loss became NaN in step 7").unwrap();
    let incomplete = table.find("> **Incomplete:** MC | p_0.1, sampled has 1 of 2 seeds.").unwrap();
    assert!(failed < incomplete && incomplete < table.find("\n## ").unwrap());
    // One seed has a mean and no deviation.
    assert!(table.contains("| MC \\| p_0.1, sampled | 0.8400 | 0.1600 |"), "{table}");
    assert!(!text(&files(&self::units(), &[]), "table.md").contains("> **"));
}

#[test]
fn files_do_not_depend_on_the_order_of_the_records() {
    let comparisons = [comparison("accuracy", 0.02, 0.10)];
    let mut reversed = units();
    reversed.reverse();
    let (one, other) = (files(&units(), &comparisons), files(&reversed, &comparisons));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, bytes) in &one {
        assert!(*bytes == other[name], "{name} differs");
    }
    // And they do depend on the records.
    let mut changed = units();
    changed[0] = unit("mle", "mle", 1, 0.81);
    let third = files(&changed, &comparisons);
    for name in ["table.md", "table.csv", "table.tex", "summary.json", "risk_coverage.svg", "reliability.svg"] {
        assert!(one[name] != third[name], "{name} did not change");
    }
}

#[test]
fn figures_are_drawings_with_their_labels() {
    let files = files(&units(), &[]);
    let figures: Vec<&String> = files.keys().filter(|name| name.contains(".svg")).collect();
    assert_eq!(
        figures,
        ["entropy_histograms.svg", "mutual_information_histograms.svg", "reliability.svg", "risk_coverage.svg"]
    );
    for name in figures {
        let drawing = text(&files, name);
        assert!(drawing.starts_with("<svg") && drawing.trim_end().ends_with("</svg>"), "{name}");
        assert!(drawing.contains("MC | p_0.1, sampled"), "{name} does not name its rows");
        assert!(!drawing.contains("NaN"), "{name}");
    }
}

#[test]
fn nothing_to_report_is_an_error_with_the_command() {
    let error = render(&definition(), &[], &[]).unwrap_err().to_string();
    assert_eq!(error, "made-up has no records yet; run `make results`");
}

#[test]
fn markers_that_are_missing_doubled_or_swapped_are_refused() {
    let (begin, end) = ("<!-- BEGIN generated: t -->\n", "<!-- END generated: t -->\n");
    let problem = |text: &str| splice(text, "t", "new\n").unwrap_err().to_string();
    assert!(problem(end).contains("<!-- BEGIN generated: t --> occurs 0 times"));
    assert!(problem(&format!("{begin}{begin}{end}")).contains("BEGIN generated: t --> occurs 2 times"));
    assert!(problem(&format!("{begin}{end}{end}")).contains("END generated: t --> occurs 2 times"));
    assert!(problem(&format!("{end}{begin}")).contains("wrong order"));
}

/// Made-up records of a reference and `rows` others, each with `scores` on two test sets, tempered where `temperature` says so.
struct Case {
    definition: Definition,
    units: Vec<UnitRecord>,
    comparisons: Vec<ComparisonRecord>,
}

impl Case {
    /// Three rows beside the reference, compared at `seeds` seeds with no difference anywhere.
    fn new(seeds: &[u64]) -> Self {
        let mut definition = definition();
        definition.seeds = seeds.to_vec();
        let row = |id: &str| RowDefinition { id: id.to_owned(), label: id.to_uppercase(), method: id.to_owned() };
        definition.rows = ["mle", "swag", "tfb", "blob"].map(row).into();
        let mut units = Vec::new();
        for &seed in seeds {
            for (row, accuracy) in [("mle", 0.8), ("swag", 0.9), ("tfb", 0.7), ("blob", 0.8)] {
                units.push(unit(row, row, seed, accuracy));
            }
        }
        let comparisons = ["swag", "tfb", "blob"].map(|row| {
            let differences = ["in", "out"]
                .into_iter()
                .flat_map(|domain| ["accuracy", "nll"].map(|metric| tested(domain, metric, 0.001, 0.5, seeds.len())));
            ComparisonRecord {
                row: row.to_owned(),
                seeds: seeds.to_vec(),
                differences: differences.collect(),
                ..comparison("", 0.0, 0.0)
            }
        });
        Self { definition, units, comparisons: comparisons.into() }
    }

    /// Sets the test of a row on the in-distribution test set.
    fn found(mut self, row: &str, metric: &str, estimate: f64, p: f64) -> Self {
        let comparison = self.comparisons.iter_mut().find(|c| c.row == row).unwrap();
        let here = comparison.differences.iter_mut().find(|d| d.domain == "in" && d.metric == metric).unwrap();
        *here = tested("in", metric, estimate, p, comparison.seeds.len());
        self
    }

    /// Gives every row a temperature with which accuracies stay and the NLL becomes `nll`.
    fn tempered(mut self, nll: f64) -> Self {
        for unit in &mut self.units {
            let Outcome::Finished { rows, .. } = &mut unit.outcome else { unreachable!() };
            let mut row =
                RowRecord { row: format!("{}{TEMPERED}", rows[0].row), temperature: Some(1.5), ..rows[0].clone() };
            for domain in &mut row.domains {
                domain.scores.insert("nll".to_owned(), Some(nll));
            }
            rows.push(row);
        }
        self
    }

    fn known(mut self, row: &str, question: Question, score: &str, estimate: f64, p_value: f64) -> Self {
        let domain = if question == Question::Shift { "out" } else { "in" }.to_owned();
        let baseline = (question != Question::ErrorsGivenEntropy).then_some(0.7);
        let (lower, upper, score) = (estimate - 0.01, estimate + 0.01, score.to_owned());
        let known = Beyond { domain, question, score, baseline, estimate, lower, upper, p_value };
        if let Some(comparison) = self.comparisons.iter_mut().find(|c| c.row == row) {
            comparison.beyond.push(known);
        } else {
            let beyond = vec![known];
            self.comparisons.push(ComparisonRecord {
                row: row.to_owned(),
                beyond,
                differences: vec![],
                ..self.comparisons[0].clone()
            });
        }
        self
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        render(&self.definition, &self.units, &self.comparisons).unwrap().into_iter().collect()
    }

    fn table(&self) -> String {
        text(&self.files(), "table.md")
    }

    /// The sentences of the summary.
    fn sentences(&self) -> Vec<String> {
        let table = self.table();
        let section = table.split("## What the numbers say\n").nth(1).unwrap();
        let above = section.lines().take_while(|line| !line.starts_with('#'));
        above.filter_map(|line| line.strip_prefix("- ")).map(str::to_owned).collect()
    }
}

/// A difference with a test whose standard error over examples is 0.01.
fn tested(domain: &str, metric: &str, estimate: f64, p_value: f64, seeds: usize) -> Difference {
    let error_over_seeds = (seeds > 1).then_some(0.002);
    Difference {
        domain: domain.to_owned(),
        metric: metric.to_owned(),
        estimate,
        lower: estimate - 0.02,
        upper: estimate + 0.02,
        test: Some(Test { p_value, examples: 2000, error_over_examples: 0.01, error_over_seeds }),
    }
}

#[test]
fn the_summary_names_winners_and_losers_and_what_could_have_been_seen() {
    let none = Case::new(&[1, 2, 3]);
    let said = none.sentences();
    assert!(said[0].starts_with("The tests are over examples and 3 seeds. A seed sets the initialisation"), "{said:?}");
    let mut drawn = Case::new(&[1, 2, 3]);
    drawn.definition.draws_training_set = true;
    assert!(drawn.sentences()[0].contains("A seed sets the training texts, drawn from all"), "{:?}", drawn.sentences());
    // Three rows, two test sets and two metrics.
    assert_eq!(said[1], "This page tests 12 differences. The tests behind bold come on top.");
    assert!(said[2].ends_with("The page has 0.") && said[3].ends_with("leaves 0."), "{said:?}");
    // Three rows, so at 0.05 / 3. By the test: errors of 0.01 and 0.002 add to 0.0102 at 832 degrees of freedom, of which 0.03305 is the
    // smallest difference with power 0.8. Over examples alone (2.394 + 0.842) of 0.01, about; over three seeds alone 9.816 of 0.002
    // (SciPy, by quadrature of the noncentral t).
    let table = none.table();
    for line in ["| Inside | Accuracy | none | none | 0.0331 |", "| Outside | NLL | none | none | 0.0331 |"] {
        assert!(table.contains(line), "{line} is not in\n{table}");
    }
    assert!(!table.contains("No row differs"), "what was not seen may exist");

    let both = Case::new(&[1, 2, 3]).found("swag", "accuracy", 0.1, 1e-4).found("tfb", "accuracy", -0.1, 1e-4);
    let both = both.found("blob", "nll", 0.1, 1e-4);
    let table = both.table();
    assert!(table.contains("| Inside | Accuracy | SWAG | TFB | 0.0331 |"), "{table}");
    assert!(table.contains("| Inside | NLL | none | BLOB | 0.0331 |"), "{table}");
    assert!(both.sentences()[3].ends_with("leaves 3."), "{:?}", both.sentences());
    // 0.02 alone is significant; as the smallest of three it is not, and one of 0.01 is a star that twelve tests do not leave.
    let star = |p: f64| Case::new(&[1, 2, 3]).found("swag", "accuracy", 0.1, p).sentences();
    assert!(star(0.02)[2].ends_with("has 0."), "{:?}", star(0.02));
    assert!(star(0.01)[2].ends_with("has 1.") && star(0.01)[3].ends_with("leaves 0."), "{:?}", star(0.01));
}

#[test]
fn the_summary_says_when_there_is_one_seed_or_nothing_was_compared() {
    let one = Case::new(&[1]).sentences();
    assert_eq!(
        one[0],
        "One seed: the tests are over examples, and say nothing about how another seed would have come out."
    );
    let mut missing = Case::new(&[1, 2]);
    missing.comparisons.retain(|comparison| comparison.row == "swag");
    assert_eq!(missing.sentences().last().unwrap(), "Not compared with MLE, for want of kept predictions: TFB; BLOB.");
    missing.comparisons.clear();
    assert_eq!(
        missing.sentences(),
        ["No row is compared with MLE. That takes three finished seeds, and records of every text."]
    );
    let table = missing.table();
    assert!(!table.contains("Holm") && !table.contains("What would have been seen"), "{table}");
}

/// Five seeds of accuracies about levels: the best, one within its spread, two far below.
fn levels() -> Case {
    let mut case = Case::new(&[1, 2, 3, 4, 5]);
    for unit in &mut case.units {
        let shift = [0.0, 0.01, -0.01, 0.005, -0.005][usize::try_from(unit.seed).unwrap() - 1];
        let level = match unit.method.as_str() {
            "swag" => 0.9 + shift,
            "blob" => 0.898 - shift,
            _ => 0.7 + shift / 10.0,
        };
        let Outcome::Finished { rows, .. } = &mut unit.outcome else { unreachable!() };
        rows[0].domains[0].scores.insert("accuracy".to_owned(), Some(level));
    }
    case
}

/// Whether `table.csv` says that the seeds do not tell a row's accuracy apart from the best.
fn alike(case: &Case, row: &str) -> bool {
    let csv = text(&case.files(), "table.csv");
    csv.lines().find(|line| line.starts_with(&format!("{row},in,accuracy,"))).unwrap().ends_with(",true")
}

#[test]
fn rows_that_seeds_do_not_tell_apart_from_the_best_are_bold() {
    let case = levels();
    let table = case.table();
    let quality = table.split("## Inside: predictive quality").nth(1).unwrap().split("\n## ").next().unwrap();
    assert!(quality.contains("| SWAG | **0.9000 ± 0.0079** |"), "{quality}");
    assert!(quality.contains("| BLOB | **0.8980 ± 0.0079** |"), "{quality}");
    assert!(quality.contains("| TFB | 0.7000 ± 0.0008 |"), "{quality}");
    assert!(table.contains("Bold: the best mean of its column"), "{table}");
    assert!(alike(&case, "swag") && alike(&case, "blob") && !alike(&case, "tfb"));
    // Four seeds say too little about their spread.
    let four = Case::new(&[1, 2, 3, 4]).table();
    assert!(!four.contains("**0.") && !four.contains("Bold:"), "{four}");
}

#[test]
fn no_row_is_bold_that_a_star_finds_worse_and_no_reference_where_one_finds_better() {
    let all_equal = || {
        let mut case = levels();
        for unit in &mut case.units {
            let Outcome::Finished { rows, .. } = &mut unit.outcome else { unreachable!() };
            let level = 0.8 + 0.01 * [0.0, 1.0, -1.0, 0.5, -0.5][usize::try_from(unit.seed).unwrap() - 1];
            rows[0].domains[0].scores.insert("accuracy".to_owned(), Some(level));
        }
        case
    };
    let equal = all_equal();
    assert!(["mle", "swag", "tfb", "blob"].iter().all(|row| alike(&equal, row)));
    let starred = all_equal().found("tfb", "accuracy", -0.1, 1e-4);
    assert!(!alike(&starred, "tfb") && alike(&starred, "mle") && alike(&starred, "swag"));
    let beaten = all_equal().found("swag", "accuracy", 0.1, 1e-4);
    assert!(!alike(&beaten, "mle") && alike(&beaten, "swag") && alike(&beaten, "blob"));
}

#[test]
fn rows_of_equal_numbers_stay_apart_where_a_fit_enters_them() {
    let mut case = Case::new(&[1]);
    for unit in &mut case.units {
        let Outcome::Finished { rows, fit } = &mut unit.outcome else { unreachable!() };
        fit.trainable_parameters = if unit.method == "mle" { 12 } else { 34 };
        for metric in ["accuracy", "nll"] {
            rows[0].domains[0].scores.insert(metric.to_owned(), Some(0.5));
        }
    }
    let table = case.table();
    let quality = table.split("## Inside: predictive quality").nth(1).unwrap().split("\n## ").next().unwrap();
    assert!(!quality.contains("every row"), "{quality}");
    assert!(quality.contains("| MLE | 0.5000 | 0.5000 | – | – | – | – | 12 |"), "{quality}");
    assert!(quality.contains("| TFB | 0.5000 | 0.5000 | – | – | – | – | 34 |"), "{quality}");
}

#[test]
fn a_star_is_corrected_where_there_are_p_values() {
    // Both intervals of `found` exclude 0.
    let case = |p: f64| Case::new(&[1, 2, 3]).found("swag", "accuracy", 0.1, p);
    let line = "| SWAG | 0.9000 ± 0.0000";
    assert!(case(0.01).table().contains(&format!("{line}* |")));
    assert!(case(0.02).table().contains(&format!("{line} |")));
    let table = case(0.01).table();
    assert!(table.contains("`*`: differs from MLE at 0.05 (t-test over examples and seeds"), "{table}");
    assert!(table.contains("| SWAG | Inside | Accuracy | +0.1000 [+0.0800, +0.1200] | 0.0300 |"), "{table}");
    let csv = text(&case(0.01).files(), "table.csv");
    assert!(csv.lines().any(|line| line.starts_with("swag,in,accuracy,") && line.ends_with(",0.01,0.03,")), "{csv}");
}

#[test]
fn temperatures_have_a_section_and_their_own_family() {
    assert!(!Case::new(&[1]).table().contains("temperature"), "none was fitted");
    let mut case = Case::new(&[1, 2, 3]).tempered(0.05);
    let own = case.comparisons[0].clone();
    let differences = vec![tested("in", "nll", -0.1, 0.03, 3)];
    let row = format!("swag{TEMPERED}");
    case.comparisons.push(ComparisonRecord { row, reference: format!("mle{TEMPERED}"), differences, ..own });
    let table = case.table();
    let section = table.split("## With a temperature fitted on validation").nth(1).unwrap();
    // Alone in its family, 0.03 stays; among the three untempered rows it would be 0.09.
    assert!(section.contains("| SWAG | 1.50 | 0.1000 → 0.0500* | – |"), "{section}");
    assert!(section.contains("| method | T | Outside, NLL ↓ | Outside, ECE ↓ |"), "{section}");
    assert!(section.contains("| TFB | 1.50 | 0.3000 → 0.0500 |"), "{section}");
    assert!(table.contains("| Inside | NLL | 4 of 4 | 0.2000 → 0.0500 |"), "{table}");
    assert!(table.contains("| Inside | NLL, with temperature | SWAG | none | – |"), "{table}");
    let csv = text(&case.files(), "table.csv");
    assert!(csv.contains("swag+temperature,validation,temperature,3,1.5,0.0,"), "{csv}");
    assert!(!table.contains("| SWAG | Inside | NLL | -0.1000"), "in table.csv only");
}

#[test]
fn scores_are_held_against_one_deterministic_pass() {
    let case = Case::new(&[1, 2]).known("swag", Question::Errors, "mutual_information", 0.02, 0.02);
    let case = case.known("swag", Question::Errors, "variance", -0.03, 1e-4);
    let case = case.known("tfb", Question::Errors, "mutual_information", 0.01, 0.4);
    let case = case.known("tfb", Question::ErrorsGivenEntropy, "mutual_information", 0.05, 0.01);
    let table = case.table();
    let section = table.split("## Inside: beyond one deterministic pass").nth(1).unwrap();
    assert!(
        section.contains("| method | entropy of one pass | mutual information | probability variance |"),
        "{section}"
    );
    // 0.02 is the second smallest of three: 0.04 corrected.
    assert!(section.contains("| SWAG | 0.700 | +0.020* [+0.010, +0.030] | -0.030* [-0.040, -0.020] |"), "{section}");
    assert!(section.contains("| TFB | 0.700 | +0.010 [0.000, +0.020] | – |"), "{section}");
    assert!(section.contains("| TFB | – | +0.050* [+0.040, +0.060] |"), "{section}");
    let winner =
        "| Inside | which answers are wrong? | 1 of 3 | mutual information of SWAG (+0.020 beside MLE's pass) |";
    assert!(table.contains(winner), "{table}");
    let given = "| Inside | which are wrong, given that entropy? | 1 of 1 | mutual information of TFB (+0.050 beside MLE's pass) |";
    assert!(table.contains(given), "{table}");

    let case = case.known(DISTANCES, Question::Shift, "mahalanobis", -0.2, 1e-4);
    let table = case.table();
    assert!(table.contains("| Outside | which texts are shifted? | 0 of 1 | none |"), "{table}");
    assert!(table.contains("| Mahalanobis of the adapters' input | 0.700 | -0.200* [-0.210, -0.190] |"), "{table}");
    let table = case.known("+other-fit", Question::Errors, "predictive_entropy", 0.03, 1e-4).table();
    for said in [
        "| without a posterior | entropy of one pass |",
        "| placebo: predictive entropy of another fit of MLE | 0.700 | +0.030* [+0.020, +0.040] |",
        "placebo: predictive entropy of another fit of MLE (+0.030)",
        "or MLE at the same seed where it has none.",
    ] {
        assert!(table.contains(said), "{said} is not in\n{table}");
    }
}

#[test]
fn power_is_that_of_the_test_beside_its_two_parts() {
    let three = Case::new(&[1, 2, 3]).table();
    let [both, examples] = ["0.0331", "0.0324"].map(|one| format!("{one} ({one} to {one})"));
    // Over seeds: noncentral t with 2 degrees of freedom at 0.05 / 3, standard error 0.002.
    let line = three.lines().find(|line| line.starts_with(&format!("| Inside | NLL | {both} | {examples} |"))).unwrap();
    let over_seeds: f64 = line.split('|').nth(5).unwrap().trim().split(' ').next().unwrap().parse().unwrap();
    // 4 million draws of the noncentral t give 0.01962.
    assert!((over_seeds - 0.0196).abs() < 2e-4, "{line}");
    let two = Case::new(&[1, 2]).table();
    assert!(two.contains(&format!("| Inside | NLL | {both} | {examples} | – |")), "{two}");
}
