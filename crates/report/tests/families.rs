//! Tests from what every text was given: the families of a page, held against the same tests of the values themselves.
#![cfg(test)]

use std::collections::BTreeMap;

use bayeslora_metrics::{Bootstrap, Family, FamilyRow, Fits, Origin, Seeds};
use bayeslora_records::{
    ComparisonRecord, Covers, DomainRecord, FitRecord, Outcome, PerText, Provenance, RowRecord, SCHEMA, UnitRecord,
};
use bayeslora_report::{Definition, Report, RowDefinition, TestSet, compared};

const TEXTS: u32 = 60;
const SEEDS: [u64; 4] = [1, 2, 3, 4];

/// Probability of the label of a text, some below one half.
fn probability(row: u32, seed: u64, text: u32) -> f64 {
    let seed = u32::try_from(seed).unwrap();
    let mixed = (text * 7919 + seed * 104_729 + row * 1_299_709 + text * seed * 31 + row * text * 17) % 997;
    let own = f64::from((text * 37) % 60) / 60.0;
    let value = 0.25 + 0.6 * own + 0.1 * f64::from(mixed) / 997.0;
    // Row 1 is better everywhere.
    if row == 1 { value + 0.03 } else { value }
}

fn columns(row: u32, seed: u64, shifted: bool) -> PerText {
    let own: Vec<f64> = (0..TEXTS).map(|text| probability(row, seed, text) * if shifted { 0.8 } else { 1.0 }).collect();
    let wrong = (0..own.len()).filter(|&text| own[text] < 0.5).collect();
    PerText { classes: 2, label_probability: own, wrong, ..PerText::default() }
}

fn unit(method: &str, seed: u64, readings: &[(&str, u32)]) -> UnitRecord {
    let domain = |id: &str, row: u32, is_shifted: bool| DomainRecord {
        domain: id.to_owned(),
        in_distribution: !is_shifted,
        examples: u64::from(TEXTS),
        scores: ["accuracy", "nll", "brier", "ece", "aurc"].map(|key| (key.to_owned(), Some(0.5))).into(),
        reliability: vec![],
        risk_coverage: vec![],
        histograms: BTreeMap::new(),
        per_text: Some(columns(row, seed, is_shifted)),
    };
    let row = |(id, row): &(&str, u32)| RowRecord {
        row: (*id).to_owned(),
        temperature: None,
        samples: 1,
        seconds: 1.0,
        examples_per_second: 1.0,
        domains: vec![domain("in", *row, false), domain("out", *row, true)],
    };
    UnitRecord {
        schema: SCHEMA,
        key: format!("{method}-{seed}"),
        settings: None,
        experiment: "made-up".to_owned(),
        profile: "main".to_owned(),
        method: method.to_owned(),
        seed,
        outcome: Outcome::Finished { fit: FitRecord::default(), rows: readings.iter().map(row).collect() },
        provenance: Provenance {
            version: "0".to_owned(),
            commit: "abc".to_owned(),
            date: "2026-01-01".to_owned(),
            cpu: "a processor".to_owned(),
            threads: 1,
            jobs: 1,
            device: "cpu".to_owned(),
            accelerator: None,
            precision: "f32".to_owned(),
            model_digest: "m".to_owned(),
            data_digest: "d".to_owned(),
        },
    }
}

fn definition() -> Definition {
    let row = |id: &str, method: &str| RowDefinition {
        id: id.to_owned(),
        label: id.to_uppercase(),
        method: method.to_owned(),
    };
    let set = |id: &str, in_distribution| TestSet {
        id: id.to_owned(),
        label: id.to_owned(),
        in_distribution,
        labelled: true,
        rated: false,
        corruption: None,
    };
    Definition {
        name: "made-up".to_owned(),
        title: "Made up".to_owned(),
        analysis: String::new(),
        seeds: SEEDS.to_vec(),
        draws_training_set: true,
        rows: vec![row("mle", "mle"), row("better", "better"), row("tfb/mean", "tfb"), row("tfb/sampled", "tfb")],
        domains: vec![set("in", true), set("out", false)],
        reference: "mle".to_owned(),
        command: "make".to_owned(),
        bootstrap: Bootstrap { resamples: 50, ..Bootstrap::default() },
        margins: BTreeMap::from([("nll".to_owned(), 0.5)]),
        readme: None,
    }
}

/// A reference, a row that is better, and a fit whose mean is the reference's.
fn units() -> Vec<UnitRecord> {
    let of = |seed| {
        [
            unit("mle", seed, &[("mle", 0)]),
            unit("better", seed, &[("better", 1)]),
            unit("tfb", seed, &[("tfb/mean", 0), ("tfb/sampled", 3)]),
        ]
    };
    SEEDS.into_iter().flat_map(of).collect()
}

fn found<'a>(records: &'a [ComparisonRecord], row: &str) -> &'a ComparisonRecord {
    records.iter().find(|record| record.row == row).unwrap()
}

#[test]
fn the_tests_of_a_page_are_those_of_the_values_themselves() {
    let definition = definition();
    let records = compared(&definition, &units(), vec![]).unwrap();
    let rows: Vec<&str> = records.iter().map(|record| record.row.as_str()).collect();
    assert_eq!(rows, ["better", "tfb/sampled"], "one reading of each fit, and never the reference");
    let keys: Vec<(&str, &str)> =
        records[0].differences.iter().map(|own| (own.domain.as_str(), own.metric.as_str())).collect();
    let labelled = ["accuracy", "nll", "brier", "ece"];
    let inside = labelled.into_iter().chain(["aurc"]).map(|key| ("in", key));
    let outside = labelled.into_iter().chain(["auroc_predictive_entropy"]).map(|key| ("out", key));
    assert_eq!(keys, inside.chain(outside).collect::<Vec<_>>());
    // NLL by hand, with the fit that reads the reference's weights in a group of its own.
    let losses = |row: u32| -> Fits {
        let of = |seed| (0..TEXTS).map(|text| -probability(row, seed, text).ln()).collect();
        Fits::mean(&SEEDS, &SEEDS.map(of)).unwrap()
    };
    let (reference, better, sampled) = (losses(0), losses(1), losses(3));
    let compare = |origin| {
        let rows = vec![FamilyRow { fits: &better, origin: Origin::OwnFit }, FamilyRow { fits: &sampled, origin }];
        Family { reference: &reference, rows, seeds: Seeds::Shared }.compare(0.95).unwrap()
    };
    let (expected, other) = (compare(Origin::ReferenceFit), compare(Origin::OwnFit));
    for (row, effect) in ["better", "tfb/sampled"].into_iter().zip(&expected) {
        let nll =
            found(&records, row).differences.iter().find(|own| own.domain == "in" && own.metric == "nll").unwrap();
        let test = nll.test.unwrap();
        for (own, expected) in [
            (nll.estimate, effect.estimate),
            (nll.lower, effect.lower),
            (nll.upper, effect.upper),
            (test.p_value, effect.p_value),
            (nll.equivalent_p.unwrap(), effect.equivalence(0.5, 0.05).unwrap().p_value),
        ] {
            assert!((own - expected).abs() < 1e-12, "{row}: {nll:?} {effect:?}");
        }
        assert_eq!(found(&records, row).covers, Covers::PersistentAndSeeds);
    }
    assert!((expected[1].p_value - other[1].p_value).abs() > 1e-9, "groups must matter here");
    let report = Report::new(&definition, &units(), &records).map(|report| report.page().markdown()).unwrap();
    for said in [
        "variances over seeds are moderated over the rows",
        "Of a fit that is read in several ways one reading is tested",
        "## What is shown to make no difference",
        "| in | NLL | 0.5 | BETTER |",
    ] {
        assert!(report.contains(said), "{said} is not in\n{report}");
    }
}

#[test]
fn what_has_no_columns_keeps_the_tests_of_its_time_and_what_is_unfinished_has_none() {
    let definition = definition();
    let kept = ComparisonRecord {
        schema: SCHEMA,
        key: "k".to_owned(),
        settings: None,
        row: "better".to_owned(),
        reference: "mle".to_owned(),
        seeds: SEEDS.to_vec(),
        resamples: 10,
        level: 0.95,
        covers: Covers::ExamplesAndSeeds,
        differences: vec![],
        beyond: vec![],
    };
    let mut old = units();
    let Outcome::Finished { rows, .. } = &mut old[0].outcome else { unreachable!() };
    rows[0].domains[0].per_text = None;
    assert_eq!(compared(&definition, &old, vec![kept.clone()]).unwrap(), vec![kept]);
    // One seed of a row is missing: the others of it are not compared.
    let mut unfinished = units();
    unfinished.retain(|unit| (unit.method.as_str(), unit.seed) != ("better", 3));
    let records = compared(&definition, &unfinished, vec![]).unwrap();
    assert_eq!(records.iter().map(|record| record.row.as_str()).collect::<Vec<_>>(), ["tfb/sampled"]);
    let page = Report::new(&definition, &unfinished, &records).map(|report| report.page().markdown()).unwrap();
    assert!(page.contains("Not compared with MLE, for want of finished seeds: BETTER."), "{page}");
    // Two seeds have no spread that could be tested.
    let two = Definition { seeds: vec![1, 2], ..definition };
    assert_eq!(compared(&two, &units(), vec![]).unwrap(), vec![]);
}
