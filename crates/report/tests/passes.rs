//! What scores know beyond one pass, from columns over texts: held against the same statistics of the values themselves.
#![cfg(test)]

mod made_up;

use std::collections::BTreeMap;

use bayeslora_metrics::{Bootstrap, FitScores, association, auroc};
use bayeslora_records::{
    Beyond, DISTANCES, DistancesRecord, DomainRecord, FitRecord, Outcome, PerText, Question, RowRecord, SCHEMA,
    TextDistances, UnitRecord,
};
use bayeslora_report::{Comparison, Definition, Report, RowDefinition, TestSet, compared};

use made_up::provenance;

const TEXTS: u64 = 120;
const SEEDS: [u64; 3] = [1, 2, 3];

/// A number between 0 and 1 that `what`, the seed and the text determine.
fn number(what: u64, seed: u64, text: u64) -> f64 {
    let mixed = (what * 7919 + seed * 104_729 + text * 1_299_709 + what * text * 31 + seed * text * 17) % 9973;
    (mixed as f64 + 0.5) / 9973.0
}

/// Columns of one fit on the texts inside, or on shifted ones, which have no labels.
fn columns(what: u64, seed: u64, is_shifted: bool, has_samples: bool) -> PerText {
    let of = |what: u64| (0..TEXTS).map(|text| number(what, seed, text)).collect::<Vec<f64>>();
    let entropy: Vec<f64> = of(what).iter().map(|u| 0.9 * u + if is_shifted { 0.15 } else { 0.0 }).collect();
    let disagreement = entropy.iter().zip(of(what + 50)).map(|(entropy, u)| entropy * u * 0.5).collect();
    let mut own = PerText { classes: 3, predictive_entropy: entropy, ..PerText::default() };
    if has_samples {
        own.mutual_information = disagreement;
    }
    if !is_shifted {
        own.label_probability = of(what + 90).iter().map(|u| 0.34 + 0.6 * u).collect();
        own.wrong = (0..own.label_probability.len())
            .filter(|&text| (text as u64 * 7 + what + seed).is_multiple_of(4))
            .collect();
        own.wrong_class = vec![1; own.wrong.len()];
        own.wrong_probability = own.wrong.iter().map(|&text| number(3, seed, text as u64)).collect();
    }
    own
}

fn unit(method: &str, seed: u64, rows: Vec<(&str, [PerText; 2])>) -> UnitRecord {
    let domain = |(id, columns): (&str, PerText)| DomainRecord {
        domain: id.to_owned(),
        in_distribution: id == "in",
        examples: TEXTS,
        scores: BTreeMap::from([("nll".to_owned(), Some(0.5))]),
        reliability: vec![],
        risk_coverage: vec![],
        histograms: BTreeMap::new(),
        per_text: Some(columns),
    };
    let row = |(id, columns): (&str, [PerText; 2])| RowRecord {
        row: id.to_owned(),
        temperature: None,
        samples: if columns[0].mutual_information.is_empty() { 1 } else { 5 },
        seconds: 1.0,
        examples_per_second: 1.0,
        domains: ["in", "out"].into_iter().zip(columns).map(domain).collect(),
    };
    UnitRecord {
        schema: SCHEMA,
        key: format!("{method}-{seed}"),
        settings: None,
        experiment: "toy".to_owned(),
        profile: "quick".to_owned(),
        method: method.to_owned(),
        seed,
        outcome: Outcome::Finished {
            fit: FitRecord { best_epoch: vec![1; if method == "ensemble" { 5 } else { 1 }], ..FitRecord::default() },
            rows: rows.into_iter().map(row).collect(),
        },
        provenance: provenance(),
    }
}

fn both(what: u64, seed: u64, has_samples: bool) -> [PerText; 2] {
    [false, true].map(|is_shifted| columns(what, seed, is_shifted, has_samples))
}

/// The pass of an ensemble's first member has columns of its own. Its members disagree where it errs.
fn ensemble(seed: u64) -> [PerText; 2] {
    let mut of = both(7, seed, true);
    for text in of[0].wrong.clone() {
        of[0].mutual_information[text] += 0.3;
    }
    for (own, pass) in of.iter_mut().zip(both(8, seed, false)) {
        own.pass_entropy = pass.predictive_entropy;
    }
    of
}

fn definition() -> Definition {
    let row = |(id, method): (&str, &str)| RowDefinition {
        id: id.to_owned(),
        label: id.to_uppercase(),
        method: method.to_owned(),
    };
    let test_set = |id: &str| TestSet {
        id: id.to_owned(),
        label: id.to_owned(),
        in_distribution: id == "in",
        labelled: id == "in",
        rated: false,
        corruption: None,
    };
    Definition {
        name: "toy".to_owned(),
        title: "Toy".to_owned(),
        analysis: String::new(),
        seeds: SEEDS.to_vec(),
        draws_training_set: false,
        rows: [("mle", "mle"), ("mc/mean", "mc"), ("mc/sampled", "mc"), ("ensemble", "ensemble"), ("old", "old")]
            .map(row)
            .into(),
        domains: ["in", "out"].map(test_set).into(),
        reference: "mle".to_owned(),
        command: "make results".to_owned(),
        bootstrap: Bootstrap { resamples: 20, ..Bootstrap::default() },
        margins: BTreeMap::new(),
        contrasts: vec![],
        readme: None,
    }
}

fn units() -> Vec<UnitRecord> {
    let mut units = Vec::new();
    for seed in SEEDS {
        units.push(unit("mle", seed, vec![("mle", both(1, seed, false))]));
        units.push(unit("mc", seed, vec![("mc/mean", both(4, seed, false)), ("mc/sampled", both(5, seed, true))]));
        units.push(unit("ensemble", seed, vec![("ensemble", ensemble(seed))]));
        // Samples without any pass to hold them against.
        units.push(unit("old", seed, vec![("old", both(6, seed, true))]));
    }
    // A further fit of the reference.
    units.push(unit("mle", 4, vec![("mle", both(1, 4, false))]));
    units
}

fn distances() -> DistancesRecord {
    let of = |domain: &str, far: f64| TextDistances {
        domain: domain.to_owned(),
        input_norm: (0..TEXTS).map(|text| number(20, 1, text)).collect(),
        mahalanobis: (0..TEXTS).map(|text| number(21, 1, text) + far).collect(),
        nearest_neighbours: (0..TEXTS).map(|text| number(22, 1, text)).collect(),
    };
    DistancesRecord {
        schema: SCHEMA,
        key: String::new(),
        settings: serde_json::Value::Null,
        domains: vec![of("in", 0.0), of("out", 0.4)],
        provenance: provenance(),
    }
}

fn found(comparisons: &[Comparison], row: &str, question: Question, score: &str) -> Option<Beyond> {
    let own = comparisons.iter().find(|own| own.row == row).unwrap();
    own.beyond.iter().find(|one| one.question == question && one.score == score).cloned()
}

fn mean(of: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = of.collect();
    values.iter().sum::<f64>() / values.len() as f64
}

/// AUROC of errors by `score`.
fn of_errors(fit: &PerText, score: &[f64]) -> f64 {
    let side = |right: bool| -> Vec<f64> {
        score.iter().zip(fit.correct()).filter(|(_, correct)| *correct == right).map(|(&value, _)| value).collect()
    };
    auroc(&side(true), &side(false)).unwrap()
}

#[test]
fn a_sampled_row_is_held_against_its_own_pass() {
    let comparisons = compared(&definition(), &units(), (&[], Some(&distances()))).unwrap();
    let fits = SEEDS.map(|seed| (both(4, seed, false), both(5, seed, true)));
    let gain = found(&comparisons, "mc/sampled", Question::Errors, "mutual_information").unwrap();
    let baseline = mean(fits.iter().map(|(pass, own)| of_errors(&own[0], &pass[0].entropy())));
    let own = mean(fits.iter().map(|(_, own)| of_errors(&own[0], &own[0].mutual_information)));
    assert!((gain.baseline.unwrap() - baseline).abs() < 1e-12 && (gain.estimate - (own - baseline)).abs() < 1e-12);
    assert!(gain.lower < gain.estimate && gain.estimate < gain.upper);

    let shift = found(&comparisons, "mc/sampled", Question::Shift, "expected_entropy").unwrap();
    let told = |sets: &[PerText; 2], of: fn(&PerText) -> Vec<f64>| auroc(&of(&sets[0]), &of(&sets[1])).unwrap();
    let baseline = mean(fits.iter().map(|(pass, _)| told(pass, PerText::entropy)));
    let own = mean(fits.iter().map(|(_, own)| told(own, PerText::expected_entropy)));
    assert!((shift.baseline.unwrap() - baseline).abs() < 1e-12 && (shift.estimate - (own - baseline)).abs() < 1e-12);

    let given = found(&comparisons, "mc/sampled", Question::ErrorsGivenEntropy, "max_probability").unwrap();
    let columns: Vec<(Vec<f64>, Vec<bool>, Vec<f64>)> = fits
        .iter()
        .map(|(pass, own)| {
            let uncertain = own[0].top_probability().iter().map(|p| 1.0 - p).collect();
            (uncertain, own[0].correct().iter().map(|right| !right).collect(), pass[0].entropy())
        })
        .collect();
    let scores = columns.iter().map(|(score, errors, given)| FitScores { score, errors, given });
    let expected = association(&scores.collect::<Vec<_>>(), 20).unwrap().over_texts_and_fits(0.95).unwrap();
    assert!((given.estimate - expected.estimate).abs() < 1e-12 && (given.p_value - expected.p_value).abs() < 1e-12);
    assert!((given.lower - expected.lower).abs() < 1e-12 && given.baseline.is_none());
    // Texts without labels have no top probability on record.
    assert_eq!(found(&comparisons, "mc/sampled", Question::Shift, "max_probability"), None);
}

#[test]
fn an_ensemble_is_held_against_its_first_member_and_what_has_no_pass_against_nothing() {
    let comparisons = compared(&definition(), &units(), (&[], None)).unwrap();
    let gain = found(&comparisons, "ensemble", Question::Errors, "predictive_entropy").unwrap();
    let baseline = mean(SEEDS.iter().map(|&seed| of_errors(&ensemble(seed)[0], &ensemble(seed)[0].pass_entropy)));
    assert!((gain.baseline.unwrap() - baseline).abs() < 1e-12);
    let beside_a_member = |row: &str| comparisons.iter().find(|own| own.row == row).unwrap().beside_a_member;
    assert!(beside_a_member("ensemble") && !beside_a_member("mc/sampled"));
    let old = comparisons.iter().find(|own| own.row == "old").unwrap();
    assert!(old.beyond.is_empty() && !old.differences.is_empty());
    assert!(comparisons.iter().all(|own| own.row != DISTANCES), "there are none");
}

#[test]
fn distances_and_the_placebo_are_held_against_every_fit_of_the_reference() {
    let comparisons = compared(&definition(), &units(), (&[], Some(&distances()))).unwrap();
    let fits: Vec<[PerText; 2]> = (1..=4).map(|seed| both(1, seed, false)).collect();
    let far = found(&comparisons, DISTANCES, Question::Shift, "mahalanobis").unwrap();
    let baseline = mean(fits.iter().map(|fit| auroc(&fit[0].entropy(), &fit[1].entropy()).unwrap()));
    let record = distances();
    let own = auroc(&record.domains[0].mahalanobis, &record.domains[1].mahalanobis).unwrap();
    assert!((far.baseline.unwrap() - baseline).abs() < 1e-12 && (far.estimate - (own - baseline)).abs() < 1e-12);

    let next = |fit: usize| (fit + 1) % 4;
    let own = mean(fits.iter().map(|fit| of_errors(&fit[0], &fit[0].entropy())));
    let others = mean((0..4).map(|fit| of_errors(&fits[fit][0], &fits[next(fit)][0].entropy())));
    let control = |row: &str, score: &str| found(&comparisons, row, Question::Errors, score).unwrap();
    let close = |found: &Beyond, baseline: f64, value: f64| {
        (found.baseline.unwrap() - baseline).abs() < 1e-12 && (found.estimate - (value - baseline)).abs() < 1e-12
    };
    // Another fit's entropy beside the own pass, and the own scores beside another fit's.
    assert!(close(&control("+other-fit", "predictive_entropy"), own, others));
    assert!(close(&control("+other-pass", "predictive_entropy"), others, own));
    assert!((others - own).abs() > 0.005, "{others} {own}");
    let top = |fit: &PerText| fit.top_probability().iter().map(|p| 1.0 - p).collect::<Vec<f64>>();
    let of_top = mean(fits.iter().map(|fit| of_errors(&fit[0], &top(&fit[0]))));
    assert!(close(&control("+other-pass", "max_probability"), others, of_top));
    assert!(close(&control("+same-pass", "max_probability"), own, of_top));
    for row in ["+other-fit", "+other-pass"] {
        assert_eq!(found(&comparisons, row, Question::Shift, "predictive_entropy"), None);
    }
}

#[test]
fn half_a_reference_has_no_controls_and_a_test_set_without_a_pass_is_left_out_alone() {
    let mut half = units();
    half.retain(|unit| (unit.method.as_str(), unit.seed) != ("mle", 2));
    assert_eq!(compared(&definition(), &half, (&[], Some(&distances()))).unwrap(), vec![]);
    let mut partly = units();
    for unit in partly.iter_mut().filter(|unit| unit.method == "ensemble") {
        let Outcome::Finished { rows, .. } = &mut unit.outcome else { unreachable!() };
        rows[0].domains[1].per_text.as_mut().unwrap().pass_entropy.clear();
    }
    let comparisons = compared(&definition(), &partly, (&[], None)).unwrap();
    assert!(found(&comparisons, "ensemble", Question::Errors, "predictive_entropy").is_some());
    assert_eq!(found(&comparisons, "ensemble", Question::Shift, "predictive_entropy"), None);
}

#[test]
fn columns_of_other_texts_are_told_and_too_few_texts_are_left_out() {
    let mut short = distances();
    short.domains[0].mahalanobis.pop();
    let told = compared(&definition(), &units(), (&[], Some(&short))).unwrap_err().to_string();
    assert!(told.contains("119") && told.contains("120"), "{told}");
    let mut few = units();
    for unit in &mut few {
        let Outcome::Finished { rows, .. } = &mut unit.outcome else { unreachable!() };
        for columns in rows.iter_mut().map(|row| row.domains[0].per_text.as_mut().unwrap()) {
            for column in [
                &mut columns.label_probability,
                &mut columns.predictive_entropy,
                &mut columns.mutual_information,
                &mut columns.pass_entropy,
            ] {
                column.truncate(39);
            }
            let wrong = columns.wrong.iter().filter(|&&text| text < 39).count();
            columns.wrong.truncate(wrong);
            columns.wrong_class.truncate(wrong);
            columns.wrong_probability.truncate(wrong);
        }
    }
    let comparisons = compared(&definition(), &few, (&[], None)).unwrap();
    assert!(found(&comparisons, "mc/sampled", Question::Errors, "mutual_information").is_some());
    assert_eq!(found(&comparisons, "mc/sampled", Question::ErrorsGivenEntropy, "mutual_information"), None);
}

#[test]
fn of_two_classes_the_top_probability_is_no_score_of_its_own() {
    let mut two = units();
    for unit in &mut two {
        let Outcome::Finished { rows, .. } = &mut unit.outcome else { unreachable!() };
        for columns in rows.iter_mut().flat_map(|row| &mut row.domains).filter_map(|own| own.per_text.as_mut()) {
            columns.classes = 2;
            columns.wrong_class.clear();
            columns.wrong_probability.clear();
        }
    }
    let comparisons = compared(&definition(), &two, (&[], None)).unwrap();
    let scores: Vec<&str> = comparisons.iter().flat_map(|own| &own.beyond).map(|one| one.score.as_str()).collect();
    assert!(scores.contains(&"predictive_entropy") && !scores.contains(&"max_probability"), "{scores:?}");
}

#[test]
fn the_page_says_what_the_pass_is_and_how_the_correlation_is_tested() {
    let (definition, units) = (definition(), units());
    let comparisons = compared(&definition, &units, (&[], Some(&distances()))).unwrap();
    let page = Report::new(&definition, &units, &comparisons).unwrap().page().markdown();
    for said in [
        "The pass is the fit's own reading at its mean, or that of one of its members.",
        "Held against no pass, as their records have none: OLD.",
        "permutations within strata",
        "of ranks, within strata of about 20 texts",
        "| placebo: predictive entropy of another fit of MLE |",
        "| placebo: predictive entropy of MLE beside another fit's pass |",
        "| 1 − max p of the same pass of MLE |",
        "the gain is a rank correlation within strata of it.",
        " beside a member's pass)",
    ] {
        assert!(page.contains(said), "{said} is not in\n{page}");
    }
}
