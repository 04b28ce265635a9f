//! Tests from what every text was given: the families of a page, held against the same tests of the values themselves.
//!
//! More than 400 lines: contrasts and quoted effects are tested on the same made-up records.
#![cfg(test)]

mod made_up;

use std::collections::BTreeMap;

use bayeslora_metrics::{
    Bootstrap, ECE_BINS, Family, FamilyRow, Fits, Origin, RiskCoverage, Seeds, auroc, expected_calibration_error,
    reliability,
};
use bayeslora_records::{
    ComparisonRecord, Covers, DomainRecord, FitRecord, Outcome, PerText, RowRecord, SCHEMA, UnitRecord,
};
use bayeslora_report::{
    Comparison, Contrast, Definition, Difference, Effect, EffectName, Report, RowDefinition, StandardError, TestSet,
    compared,
};
use ndarray::Array2;
use serde_json::json;

use made_up::provenance;

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
        provenance: provenance(),
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
        contrasts: vec![Contrast { row: "better".to_owned(), beside: "tfb/sampled".to_owned() }],
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

fn found<'a>(records: &'a [Comparison], row: &str) -> &'a Comparison {
    records.iter().find(|record| record.row == row).unwrap()
}

#[test]
fn the_tests_of_a_page_are_those_of_the_values_themselves() {
    let definition = definition();
    let records = compared(&definition, &units(), (&[], None)).unwrap();
    let rows: Vec<&str> = records.iter().map(|record| record.row.as_str()).collect();
    assert_eq!(
        rows,
        ["better", "tfb/sampled", "+other-fit", "+other-pass", "+same-pass"],
        "one reading of each fit, never the reference, and its controls"
    );
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
        for (own, expected) in [
            (nll.estimate, effect.estimate),
            (nll.lower, effect.lower),
            (nll.upper, effect.upper),
            (nll.p_value, effect.p_value),
            (nll.equivalence_p.unwrap(), effect.equivalence(0.5, 0.05).unwrap().p_value),
        ] {
            assert!((own - expected).abs() < 1e-12, "{row}: {nll:?} {effect:?}");
        }
        assert!(found(&records, row).of_family);
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
fn a_contrast_is_a_family_of_one_row_beside_another_than_the_reference() {
    let (definition, units) = (definition(), units());
    let records = compared(&definition, &units, (&[], None)).unwrap();
    let report = Report::new(&definition, &units, &records).unwrap();
    let lines = |report: &Report<'_>| -> Vec<Vec<String>> {
        let files = report.files().unwrap();
        let Some((_, bytes)) = files.into_iter().find(|(name, _)| name == "contrasts.csv") else { return vec![] };
        let text = String::from_utf8(bytes).unwrap();
        text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
    };
    let found = lines(&report);
    // Five metrics inside, five outside; none of the made-up rows has a temperature.
    assert_eq!(found.len(), 10);
    let losses = |row: u32| -> Fits {
        let of = |seed| (0..TEXTS).map(|text| -probability(row, seed, text).ln()).collect();
        Fits::mean(&SEEDS, &SEEDS.map(of)).unwrap()
    };
    let (own, beside) = (losses(1), losses(3));
    let rows = vec![FamilyRow { fits: &own, origin: Origin::OwnFit }];
    let effect = Family { reference: &beside, rows, seeds: Seeds::Shared }.compare(0.95).unwrap().remove(0);
    assert!(!effect.moderated && effect.degrees_of_freedom_over_seeds.to_bits() == 3.0_f64.to_bits());
    let nll = found.iter().find(|cells| cells[2] == "in" && cells[3] == "nll").unwrap();
    assert_eq!(nll[..2], ["better", "tfb/sampled"]);
    for (cell, expected) in nll[4..8].iter().zip([effect.estimate, effect.lower, effect.upper, effect.p_value]) {
        assert!((cell.parse::<f64>().unwrap() - expected).abs() <= 1e-6 * expected.abs(), "{nll:?} {effect:?}");
    }
    // One contrast is corrected over itself alone; the other way round it is the same with the other sign, and two are corrected together.
    assert_eq!(nll[7], nll[8]);
    let turned = Contrast { row: "tfb/sampled".to_owned(), beside: "better".to_owned() };
    let both = Definition { contrasts: vec![definition.contrasts[0].clone(), turned], ..definition.clone() };
    let found = lines(&Report::new(&both, &units, &records).unwrap());
    let of: Vec<_> = found.iter().filter(|cells| cells[2] == "in" && cells[3] == "nll").collect();
    assert_eq!((of.len(), of[0][4].trim_start_matches('-')), (2, of[1][4].trim_start_matches('-')));
    let [p, corrected] = [7, 8].map(|place: usize| of[0][place].parse::<f64>().unwrap());
    assert!((corrected - (2.0 * p).min(1.0)).abs() < 1e-9, "{of:?}");
    // A profile without one of the rows has no such contrast, and no such file.
    let none = Definition { contrasts: vec![], ..definition.clone() };
    assert!(lines(&Report::new(&none, &units, &records).unwrap()).is_empty());
    assert!(report.page().markdown().contains("| BETTER | TFB/SAMPLED | in | NLL |"));
}

#[test]
fn an_effect_that_is_quoted_is_that_of_the_page() {
    let (definition, units) = (definition(), units());
    let records = compared(&definition, &units, (&[], None)).unwrap();
    let report = Report::new(&definition, &units, &records).unwrap();
    let effect = |name: serde_json::Value| report.effect(&serde_json::from_value::<EffectName>(name).unwrap());
    let quoted = |name| {
        let Effect { measure, of, less, verdict, difference } = effect(name).unwrap();
        ([measure, of, less, verdict], difference)
    };
    let page = report.page().markdown();
    let (told, difference) = quoted(json!({"row": "better", "domain": "in", "metric": "nll"}));
    assert_eq!(told, ["NLL ↓, in", "BETTER", "MLE", "within 0.5"]);
    assert!(page.contains(&format!("| in | NLL | 0.5 | BETTER | {difference} |")), "{difference} is not in\n{page}");
    let (told, difference) = quoted(json!({"row": "better", "domain": "in", "metric": "nll", "beside": "tfb/sampled"}));
    assert_eq!(told[..3], ["NLL ↓, in", "BETTER", "TFB/SAMPLED"]);
    let line = format!("| BETTER | TFB/SAMPLED | in | NLL | {}", difference.split(' ').next().unwrap());
    assert!(page.contains(&line), "{line} is not in\n{page}");
    let (told, difference) =
        quoted(json!({"row": "+other-fit", "domain": "in", "question": "errors", "score": "predictive_entropy"}));
    assert_eq!(told[0], "AUROC ↑ of errors, in");
    assert!(told[1].starts_with("placebo: ") && page.contains(&difference), "{told:?} {difference}");
    for (name, said) in [
        (json!({"row": "better", "domain": "far", "metric": "nll"}), "has no test of nll by row \"better\" on \"far\""),
        (json!({"row": "mle", "domain": "in", "metric": "nll"}), "has no test of nll by row \"mle\""),
        (json!({"row": "better", "domain": "in", "metric": "nll", "score": "variance"}), "name a metric"),
        (json!({"row": "better", "domain": "in", "score": "variance"}), "or a score and a question"),
        (
            json!({"row": "mle", "domain": "in", "score": "variance", "question": "errors", "beside": "x"}),
            "name a metric",
        ),
    ] {
        let message = effect(name).unwrap_err().to_string();
        assert!(message.contains(said), "{message}");
    }
}

/// Probabilities `[texts, 2]` of the label and the other class.
fn probabilities(row: u32, seed: u64, shifted: bool) -> Array2<f64> {
    let own = columns(row, seed, shifted).label_probability;
    Array2::from_shape_fn((own.len(), 2), |(text, class)| if class == 0 { own[text] } else { 1.0 - own[text] })
}

#[test]
fn differences_are_those_of_the_metrics_themselves() {
    let records = compared(&definition(), &units(), (&[], None)).unwrap();
    let labels = vec![0; TEXTS as usize];
    let ece = |row, seed| expected_calibration_error(probabilities(row, seed, true).view(), &labels, ECE_BINS).unwrap();
    let aurc = |row, seed| {
        let own = probabilities(row, seed, false);
        let top: Vec<f64> = own.outer_iter().map(|p| p[0].max(p[1])).collect();
        let correct: Vec<bool> = own.outer_iter().map(|p| p[0] >= p[1]).collect();
        RiskCoverage::from_confidence(&top, &correct).unwrap().aurc()
    };
    let detection = |row, seed| {
        let entropy = |shifted| -> Vec<f64> {
            let own = probabilities(row, seed, shifted);
            own.outer_iter().map(|p| -p.iter().map(|p| p * p.ln()).sum::<f64>()).collect()
        };
        auroc(&entropy(false), &entropy(true)).unwrap()
    };
    let check = |domain: &str, metric: &str, value: &dyn Fn(u32, u64) -> f64| {
        let own = &found(&records, "better").differences;
        let own = own.iter().find(|own| own.domain == domain && own.metric == metric).unwrap();
        let expected = SEEDS.iter().map(|&seed| value(1, seed) - value(0, seed)).sum::<f64>() / 4.0;
        assert!((own.estimate - expected).abs() < 1e-12 && expected.abs() > 1e-4, "{metric}: {own:?} {expected}");
    };
    check("out", "ece", &ece);
    check("in", "aurc", &aurc);
    check("out", "auroc_predictive_entropy", &detection);
}

#[test]
fn further_fits_of_the_reference_are_used_and_the_page_says_so() {
    let further = |seeds: std::ops::Range<u64>| -> Vec<UnitRecord> {
        units().into_iter().chain(seeds.map(|seed| unit("mle", seed, &[("mle", 0)]))).collect()
    };
    let error = |units: &[UnitRecord]| {
        let records = compared(&definition(), units, (&[], None)).unwrap();
        let nll = found(&records, "better").differences.iter().find(|own| own.metric == "nll").unwrap().clone();
        nll.over_seeds.unwrap().error
    };
    assert!((error(&further(5..13)) - error(&further(5..5))).abs() > 1e-6, "twelve fits are not four");
    let (definition, units) = (definition(), further(5..13));
    let records = compared(&definition, &units, (&[], None)).unwrap();
    let page = Report::new(&definition, &units, &records).map(|report| report.page().markdown()).unwrap();
    assert!(page.contains("MLE has 12 fits, and every row is held against all of them."), "{page}");
    assert!(page.contains("Seeds 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12;"), "{page}");
}

#[test]
fn a_row_without_a_persistent_error_still_has_a_detectable_difference() {
    let known = |error, degrees_of_freedom| StandardError { error, degrees_of_freedom };
    let nll = Difference {
        domain: "in".to_owned(),
        metric: "nll".to_owned(),
        estimate: 0.0,
        lower: -0.02,
        upper: 0.02,
        p_value: 1.0,
        over_examples: known(0.0, 59.0),
        over_seeds: Some(known(0.01, 4.0)),
        equivalence_p: None,
    };
    let page = |nll: Difference| {
        let comparison = Comparison {
            row: "better".to_owned(),
            seeds: 4,
            of_family: true,
            beside_a_member: false,
            differences: vec![nll],
            beyond: vec![],
        };
        let page = Report::new(&definition(), &units(), &[comparison]).map(|report| report.page().markdown()).unwrap();
        page.lines().find(|line| line.starts_with("| in | NLL | none | none |")).unwrap().to_owned()
    };
    // scipy: brentq of nct.sf(t.ppf(0.975, 4), 4, x) + nct.cdf(-t.ppf(0.975, 4), 4, x) = 0.8 gives 3.7611.
    assert_eq!(page(nll.clone()), "| in | NLL | none | none | 0.0376 |");
    // A row that predicts as the reference does has none.
    let alike = Difference { over_seeds: Some(known(0.0, 4.0)), ..nll };
    assert_eq!(page(alike), "| in | NLL | none | none | – |");
}

#[test]
fn curves_follow_from_columns() {
    let (definition, units) = (definition(), units());
    let records = compared(&definition, &units, (&[], None)).unwrap();
    let files: BTreeMap<String, Vec<u8>> =
        Report::new(&definition, &units, &records).unwrap().files().unwrap().into_iter().collect();
    // The same figures of records that hold the curves themselves, as records did before.
    let mut held = units;
    for unit in &mut held {
        let Outcome::Finished { rows, .. } = &mut unit.outcome else { unreachable!() };
        for row in rows {
            for domain in &mut row.domains {
                let own = domain.per_text.take().unwrap().label_probability;
                let probabilities =
                    Array2::from_shape_fn((own.len(), 2), |(n, c)| if c == 0 { own[n] } else { 1.0 - own[n] });
                let bins = reliability(probabilities.view(), &vec![0; own.len()], ECE_BINS).unwrap();
                let correct: Vec<bool> = own.iter().map(|&p| p >= 0.5).collect();
                let top: Vec<f64> = own.iter().map(|&p| p.max(1.0 - p)).collect();
                if domain.in_distribution {
                    domain.reliability = serde_json::from_value(serde_json::to_value(bins).unwrap()).unwrap();
                    let curve = RiskCoverage::from_confidence(&top, &correct).unwrap().curve(101);
                    let point = |(coverage, risk)| bayeslora_records::RiskPoint { coverage, risk };
                    domain.risk_coverage = curve.into_iter().map(point).collect();
                }
            }
        }
    }
    let before: BTreeMap<String, Vec<u8>> =
        Report::new(&definition, &held, &[]).unwrap().files().unwrap().into_iter().collect();
    for name in ["reliability.svg", "risk_coverage.svg"] {
        assert!(files[name] == before[name] && files[name].len() > 2000, "{name}");
    }
    let entropies = String::from_utf8(files["entropy_histograms.svg"].clone()).unwrap();
    assert!(!entropies.contains("NaN") && files["entropy_histograms.svg"] != before["entropy_histograms.svg"]);
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
    assert_eq!(
        compared(&definition, &old, (std::slice::from_ref(&kept), None)).unwrap(),
        vec![Comparison::from(&kept)]
    );
    // One seed of a row is missing: the others of it are not compared.
    let mut unfinished = units();
    unfinished.retain(|unit| (unit.method.as_str(), unit.seed) != ("better", 3));
    let records = compared(&definition, &unfinished, (&[], None)).unwrap();
    let rows: Vec<&str> = records.iter().map(|record| record.row.as_str()).collect();
    assert_eq!(rows, ["tfb/sampled", "+other-fit", "+other-pass", "+same-pass"]);
    let page = Report::new(&definition, &unfinished, &records).map(|report| report.page().markdown()).unwrap();
    assert!(page.contains("Not compared with MLE, for want of finished seeds: BETTER."), "{page}");
    // Two seeds have no spread that could be tested.
    let two = Definition { seeds: vec![1, 2], ..definition };
    assert_eq!(compared(&two, &units(), (&[], None)).unwrap(), vec![]);
}
