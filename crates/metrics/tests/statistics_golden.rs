//! The statistics of comparisons against scipy, scikit-learn and statsmodels, or their definitions where none of them has it.
//!
//! `golden/statistics.py` writes `golden/statistics.json`, which records versions and seed. Where a neighbouring definition is
//! near, a test shows that it is told apart.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "reference values that cannot be read fail the test")]

use bayeslora_metrics as metrics;
use metrics::{Averaging, Detection, Mahalanobis, Measured, NearestNeighbours, Scaled, Temperature};
use ndarray::{Array2, Array3};
use serde::Deserialize;

/// Sums of at most a few hundred f64 terms of order 1.
const F64: f64 = 1e-12;
/// Relative, for tails of distributions: incomplete beta and gamma functions of two libraries.
const TAIL: f64 = 1e-9;
/// scipy's studentized range is itself an integral, good to about this; so is the noncentral t of statsmodels.
const INTEGRAL: f64 = 1e-6;
/// Relative: a minimum is found to the root of the rounding of the function.
const MINIMUM: f64 = 1e-6;

#[derive(Deserialize)]
struct Golden {
    delong: Vec<DelongCase>,
    holm: Vec<HolmCase>,
    partial: Vec<PartialCase>,
    friedman: Vec<FriedmanCase>,
    nemenyi: Vec<NemenyiCase>,
    power: Vec<PowerCase>,
    detectable: Vec<DetectableCase>,
    temperature: Vec<TemperatureCase>,
    distances: Vec<DistanceCase>,
}

#[derive(Deserialize)]
struct DelongCase {
    name: String,
    negatives: [Vec<f64>; 2],
    positives: [Vec<f64>; 2],
    areas: [f64; 2],
    standard_error: f64,
    unpaired_error: f64,
}

#[derive(Deserialize)]
struct HolmCase {
    p_values: Vec<f64>,
    adjusted: Vec<f64>,
}

#[derive(Deserialize)]
struct PartialCase {
    name: String,
    x: Vec<f64>,
    y: Vec<f64>,
    given: Vec<f64>,
    coefficient: f64,
    p_value: f64,
    plain: f64,
}

#[derive(Deserialize)]
struct FriedmanCase {
    name: String,
    shape: (usize, usize),
    losses: Vec<f64>,
    average_ranks: Vec<f64>,
    chi_squared: f64,
    chi_squared_p: f64,
    f: f64,
    f_p: f64,
}

#[derive(Deserialize)]
struct NemenyiCase {
    methods: usize,
    data_sets: usize,
    alpha: f64,
    critical: f64,
}

#[derive(Deserialize)]
struct PowerCase {
    effect: f64,
    pairs: usize,
    alpha: f64,
    power: f64,
}

#[derive(Deserialize)]
struct DetectableCase {
    differences: Vec<f64>,
    alpha: f64,
    power: f64,
    smallest: f64,
}

#[derive(Deserialize)]
struct TemperatureCase {
    name: String,
    shape: (usize, usize, usize),
    logits: Vec<f32>,
    labels: Vec<usize>,
    fits: Vec<TemperatureFit>,
}

#[derive(Deserialize)]
struct TemperatureFit {
    averaging: Averaging,
    scaled: Scaled,
    temperature: f64,
    before: f64,
    after: f64,
}

#[derive(Deserialize)]
struct DistanceCase {
    name: String,
    width: usize,
    train: Vec<f64>,
    labels: Vec<usize>,
    test: Vec<f64>,
    shrinkage: f64,
    k: usize,
    mahalanobis: Vec<f64>,
    neighbour: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/statistics.json")).expect("statistics.json matches these structs")
}

#[track_caller]
fn close(what: &str, got: f64, expected: f64, tolerance: f64) {
    assert!((got - expected).abs() <= tolerance, "{what}: got {got}, expected {expected}");
}

#[track_caller]
fn all_close<'a>(what: &str, got: impl IntoIterator<Item = &'a f64>, expected: &[f64], tolerance: f64) {
    let got: Vec<f64> = got.into_iter().copied().collect();
    assert_eq!(got.len(), expected.len(), "{what}");
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        close(&format!("{what}, entry {index}"), *got, *expected, tolerance * expected.abs().max(1.0));
    }
}

#[test]
fn differences_of_areas() {
    let mut refuted = false;
    for case in golden().delong {
        let name = &case.name;
        let detector = |n: usize| {
            let scores = [case.negatives[n].as_slice(), &case.positives[n]].concat();
            let positive: Vec<bool> = (0..scores.len()).map(|place| place >= case.negatives[n].len()).collect();
            Measured::auroc(&[Detection { scores: &scores, positive: &positive }]).unwrap()
        };
        let (one, two) = (detector(0), detector(1));
        close(name, one.value(), case.areas[0], F64);
        close(name, two.value(), case.areas[1], F64);
        let got = one.difference(&two, 0.95).unwrap();
        close(name, got.estimate, case.areas[0] - case.areas[1], F64);
        close(name, got.error_over_examples, case.standard_error, F64);
        refuted |= case.unpaired_error > 1.2 * got.error_over_examples;
    }
    assert!(refuted, "the error of two unpaired areas must be told apart");
}

#[test]
fn corrected_p_values() {
    for case in golden().holm {
        all_close("holm", &metrics::holm(&case.p_values).unwrap(), &case.adjusted, F64);
    }
}

#[test]
fn partial_rank_correlation() {
    let mut refuted = false;
    for case in golden().partial {
        let got = metrics::partial_spearman(&case.x, &case.y, &case.given).unwrap();
        close(&case.name, got.coefficient, case.coefficient, F64);
        close(&case.name, got.p_value, case.p_value, TAIL);
        refuted |= (got.coefficient - case.plain).abs() > 0.3;
    }
    assert!(refuted, "the plain correlation must be told apart");
}

#[test]
fn ranks_over_data_sets() {
    for case in golden().friedman {
        let name = &case.name;
        let losses = Array2::from_shape_vec(case.shape, case.losses).unwrap();
        let got = metrics::friedman(losses.view()).unwrap();
        all_close(name, &got.average_ranks, &case.average_ranks, F64);
        close(name, got.chi_squared, case.chi_squared, F64 * case.chi_squared.max(1.0));
        close(name, got.chi_squared_p, case.chi_squared_p, TAIL);
        close(name, got.f, case.f, 1e-10 * case.f.max(1.0));
        close(name, got.f_p, case.f_p, TAIL);
    }
}

#[test]
fn critical_differences() {
    for case in golden().nemenyi {
        let got = metrics::nemenyi_critical_difference(case.methods, case.data_sets, case.alpha).unwrap();
        close(&format!("{} methods", case.methods), got, case.critical, INTEGRAL * case.critical);
    }
}

#[test]
fn what_a_paired_test_detects() {
    // Solved the other way round: the effect that has the power of statsmodels.
    for case in golden().power.iter().filter(|case| case.effect > 0.0 && case.power > case.alpha && case.power < 0.999)
    {
        let (pairs, standard_errors) = (case.pairs as f64, case.effect * (case.pairs as f64).sqrt());
        let got = metrics::smallest_noncentrality(pairs - 1.0, case.alpha, case.power).unwrap();
        close(&format!("{} pairs", case.pairs), got, standard_errors, 10.0 * INTEGRAL * standard_errors);
    }
    for case in golden().detectable {
        let pairs = case.differences.len() as f64;
        let error = metrics::summarise(&case.differences).unwrap().sample_sd.unwrap() / pairs.sqrt();
        let got = error * metrics::smallest_noncentrality(pairs - 1.0, case.alpha, case.power).unwrap();
        close(&format!("{pairs} differences"), got, case.smallest, INTEGRAL * case.smallest);
    }
}

#[test]
fn temperatures() {
    let mut refuted = false;
    for case in golden().temperature {
        let logits = Array3::from_shape_vec(case.shape, case.logits).unwrap();
        let found: Vec<f64> = case.fits.iter().map(|fit| fit.temperature).collect();
        for expected in &case.fits {
            let name = format!("{}, {}, {}", case.name, expected.averaging, expected.scaled);
            let got = Temperature::fit(logits.view(), &case.labels, expected.averaging, expected.scaled).unwrap();
            close(&name, got.temperature, expected.temperature, MINIMUM * expected.temperature);
            close(&name, got.nll_before, expected.before, F64);
            close(&name, got.nll_after, expected.after, F64);
        }
        refuted |= (found[0] - found[1]).abs() > 0.01;
    }
    assert!(refuted, "scaling samples and scaling their mean must be told apart");
}

#[test]
fn distances_to_training_features() {
    for case in golden().distances {
        let matrix =
            |values: &[f64]| Array2::from_shape_vec((values.len() / case.width, case.width), values.to_vec()).unwrap();
        let (train, test) = (matrix(&case.train), matrix(&case.test));
        let classes = case.labels.iter().max().unwrap() + 1;
        let mahalanobis = Mahalanobis::fit(train.view(), &case.labels, classes, case.shrinkage).unwrap();
        all_close(&case.name, &mahalanobis.score(test.view()).unwrap(), &case.mahalanobis, 1e-10);
        let neighbour = NearestNeighbours::new(train.view(), case.k).unwrap();
        all_close(&case.name, &neighbour.score(test.view()).unwrap(), &case.neighbour, F64);
    }
}
