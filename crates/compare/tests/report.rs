//! Reports are pure functions of records: what they say, what they leave out, and that nothing else moves them.
#![cfg(test)]

use std::collections::BTreeMap;

use bayeslora_compare::record::{
    ComparisonRecord, DecilePoint, Difference, DomainRecord, FitRecord, Histogram, Outcome, Provenance,
    ReliabilityPoint, RiskPoint, RowRecord, SCHEMA, UnitRecord,
};
use bayeslora_compare::report::{Definition, RowDefinition, readme_block, render, splice};
use bayeslora_compare::tasks::{Corruption, DomainInfo};

fn definition() -> Definition {
    let row = |id: &str, label: &str, method: &str| RowDefinition {
        id: id.to_owned(),
        label: label.to_owned(),
        method: method.to_owned(),
    };
    let domain = |id: &str, label: &str, in_distribution| DomainInfo {
        id: id.to_owned(),
        label: label.to_owned(),
        in_distribution,
        labelled: true,
        rated: true,
        corruption: None,
    };
    Definition {
        name: "made-up".to_owned(),
        title: "A made-up comparison, 100 % of it".to_owned(),
        analysis: "What is measured.\n".to_owned(),
        seeds: vec![1, 2],
        rows: vec![row("mle", "MLE", "mle"), row("mc/sampled", "MC | p_0.1, sampled", "mc")],
        domains: vec![domain("in", "Inside", true), domain("out", "Outside", false)],
        reference: "mle".to_owned(),
        command: "make results".to_owned(),
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
        deciles: vec![DecilePoint { variance: 0.1, error: 0.2, count: 10 }],
        histograms: ["predictive_entropy", "log10_mutual_information"]
            .map(|name| (name.to_owned(), Histogram { lower: 0.0, upper: 0.7, counts: vec![4, 6] }))
            .into(),
    };
    UnitRecord {
        schema: SCHEMA,
        key: format!("{method}-{seed}"),
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
                samples: 10,
                seconds: 1.0,
                examples_per_second: 20.0,
                domains: vec![domain("in", true), domain("out", false)],
            }],
        },
        provenance: Provenance {
            version: "0.1.0".to_owned(),
            commit: "abc".to_owned(),
            date: "2026-01-01".to_owned(),
            cpu: "a processor".to_owned(),
            threads: 2,
            device: "cpu".to_owned(),
            model_digest: "m".to_owned(),
            data_digest: "d".to_owned(),
        },
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

fn comparison(metric: &str, lower: f64, upper: f64) -> ComparisonRecord {
    let difference = |domain: &str| Difference {
        domain: domain.to_owned(),
        metric: metric.to_owned(),
        estimate: f64::midpoint(lower, upper),
        lower,
        upper,
    };
    ComparisonRecord {
        schema: SCHEMA,
        key: "c".to_owned(),
        row: "mc/sampled".to_owned(),
        reference: "mle".to_owned(),
        seeds: vec![1, 2],
        resamples: 100,
        level: 0.95,
        differences: vec![difference("in")],
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
| MLE | 0.8100 ± 0.0141 | 0.1900 ± 0.0141 | – | – | – | – |
| MC \\| p_0.1, sampled | 0.8700 ± 0.0424* | 0.1300 ± 0.0424 | – | – | – | – |

![Risk against coverage](results/made-up/risk_coverage.svg)
";
    assert_eq!(block, expected);
    let files = files(&units(), &comparisons);
    let table = text(&files, "table.md");
    assert!(table.contains("| MC \\| p_0.1, sampled | Inside | Accuracy | +0.0600 | [+0.0200, +0.1000] |"), "{table}");
    assert!(table.contains("| – | – | – | – | < 0.0001 |"), "{table}");
    let latex = text(&files, "table.tex");
    assert!(latex.contains("\\caption{A made-up comparison, 100 \\% of it: Inside."), "{latex}");
    assert!(
        latex.contains("MC | p\\_0.1, sampled & 0.8700 $\\pm$ 0.0424$^{*}$ & 0.1300 $\\pm$ 0.0424 & --"),
        "{latex}"
    );
}

/// A definition and records with, beside the usual domains, one without labels and two corrupted copies.
fn of_many_kinds() -> (Definition, Vec<UnitRecord>) {
    let mut definition = definition();
    for domain in &mut definition.domains {
        domain.rated = false;
    }
    let outside = definition.domains[1].clone();
    let far = DomainInfo { id: "far".to_owned(), label: "Far".to_owned(), labelled: false, ..outside.clone() };
    definition.domains.push(far);
    for strength in [2, 5] {
        let (id, label) = (format!("typos-{strength}"), format!("Inside, typos, strength {strength}"));
        definition.domains.push(DomainInfo {
            id,
            label,
            corruption: Some((Corruption::Typos, strength)),
            ..outside.clone()
        });
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
            deciles: vec![],
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
            "Paired differences from mle",
            "Cost",
        ]
    );
    assert!(!table.contains("raters"), "nobody rated");
    assert!(table.contains(" | 12 | 2.0 | 1.5 | 50 | 10 | 1.0 | 20 | 300 |\n"), "{table}");
    assert!(
        table.contains("Examples: 10 as published, 10 strength 2, 10 strength 5.\n\n| method | as published |"),
        "{table}"
    );
    assert!(table.contains("| method | as published | strength 2 | strength 5 |"), "{table}");
    assert!(
        table.contains("| MC \\| p_0.1, sampled | 0.8700 ± 0.0424 | 0.7500 ± 0.0000 | 0.6250 ± 0.0000 |"),
        "{table}"
    );
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
fn csv_and_json_hold_the_same_cells() {
    let files = files(&units(), &[comparison("accuracy", 0.02, 0.10)]);
    let csv = text(&files, "table.csv");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<BTreeMap<String, String>> = reader.deserialize().map(Result::unwrap).collect();
    let summary: serde_json::Value = serde_json::from_slice(&files["summary.json"]).unwrap();
    let cells = summary["cells"].as_array().unwrap();
    // Two rows, two domains, three metrics that are defined.
    assert_eq!((rows.len(), cells.len()), (12, 12));
    for (row, cell) in rows.iter().zip(cells) {
        for key in ["row", "domain", "metric"] {
            assert_eq!(row[key], cell[key].as_str().unwrap());
        }
        assert_eq!(row["mean"].parse::<f64>().unwrap().to_bits(), cell["mean"].as_f64().unwrap().to_bits());
        assert_eq!(row["lower"].parse::<f64>().ok(), cell["lower"].as_f64());
    }
    assert_eq!(rows.iter().filter(|row| !row["lower"].is_empty()).count(), 1);
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
    assert!(!text(&files(&self::units(), &[]), "table.md").contains("**"));
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
        let picture = &files[&name.replace(".svg", ".png")];
        assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n"), "{name}");
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
