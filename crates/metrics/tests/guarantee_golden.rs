//! Tails, intervals and evidence against mpmath, ranks and powers against `SciPy`, sets against MAPIE, p-values against crepes.
//!
//! `golden/guarantee.py` writes `golden/guarantee.json`, which records versions.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "reference values that cannot be read fail the test")]

use bayeslora_metrics::guarantee::{
    Cutoff, Outlier, Promise, RiskWatch, SetScore, allowed_above, answered_for_power, binomial_cdf, clopper_pearson,
};
use ndarray::Array2;
use serde::Deserialize;

/// Relative to the value, or to 1 for logarithms.
const TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
struct Golden {
    tails: Vec<(usize, usize, f64, f64)>,
    intervals: Vec<(usize, usize, f64, f64)>,
    ranks: Vec<(usize, f64, f64, usize)>,
    powers: Vec<(f64, f64, usize)>,
    evidence: Vec<(u64, u64, f64, f64, f64)>,
    sets: Vec<(f64, Vec<Vec<usize>>)>,
    p_values: Vec<(f64, f64)>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/guarantee.json")).unwrap()
}

#[test]
fn tails_are_exact() {
    for (k, n, p, expected) in golden().tails {
        let found = binomial_cdf(k, n, p).unwrap();
        assert!((found - expected).abs() <= TOLERANCE * expected.max(1e-300), "{k}, {n}, {p}: {found} for {expected}");
    }
}

#[test]
fn intervals_are_exact() {
    for (k, n, lower, upper) in golden().intervals {
        let found = clopper_pearson(k, n, 0.95).unwrap();
        for (found, expected) in [(found.lower, lower), (found.upper, upper)] {
            assert!((found - expected).abs() <= TOLERANCE * expected, "{k} of {n}: {found} for {expected}");
        }
    }
}

#[test]
fn ranks_are_exact() {
    for (n, alpha, delta, expected) in golden().ranks {
        // None is refused here, and 0 there.
        assert_eq!(allowed_above(n, alpha, Promise::Pac { delta }).unwrap_or(0), expected, "{n}, {alpha}, {delta}");
    }
}

#[test]
fn powers_are_those_of_scipy() {
    for (risk, delta, expected) in golden().powers {
        assert_eq!(answered_for_power(risk, delta, risk / 2.0, 0.8).unwrap(), expected, "{risk}, {delta}");
    }
}

#[test]
fn evidence_is_exact() {
    for (wrong, labels, a, b, expected) in golden().evidence {
        let watch = RiskWatch::with_prior(0.05, 0.05, [a, b]).unwrap().resumed(wrong, labels).unwrap();
        let found = watch.log_e_value();
        assert!(
            (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0),
            "{wrong} of {labels}: {found} for {expected}"
        );
    }
}

/// As the script has them.
fn rows(examples: std::ops::Range<u32>) -> Array2<f64> {
    let count = |i: u32, c: u32| f64::from(1 + (7 * i + 13 * c + i * i % 5) % 11);
    let row = |i: u32| (0..4).map(move |c| count(i, c) / (0..4).map(|c| count(i, c)).sum::<f64>());
    Array2::from_shape_vec((examples.len(), 4), examples.flat_map(row).collect()).unwrap()
}

#[test]
fn sets_are_those_of_mapie() {
    let labels: Vec<usize> = (0..60).map(|i| (5 * i + i / 7) % 4).collect();
    let scores = SetScore::Lac.of_labels(rows(0..60).view(), &labels, &[0.5; 60]).unwrap();
    for (alpha, expected) in golden().sets {
        let cutoff = Cutoff::fit(&scores, alpha, Promise::Average).unwrap();
        for (row, expected) in rows(100..140).outer_iter().zip(expected) {
            let found = cutoff.set(&SetScore::Lac.of_classes(row, 0.5).unwrap()).unwrap();
            let classes = if found.is_forced { Vec::new() } else { found.classes };
            assert_eq!(classes, expected, "{alpha}: {row}");
        }
    }
}

#[test]
fn p_values_are_those_of_crepes() {
    let scores: Vec<f64> = (0..40).map(|i| f64::from(37 * i % 23)).collect();
    let rule = Outlier::fit(&scores, 0.1).unwrap();
    for (score, expected) in golden().p_values {
        assert!((rule.p_value(score) - expected).abs() < 1e-15, "{score}");
    }
}
