//! Moderated variances, the law of summed variances and whole families against `NumPy` and `SciPy`.
//!
//! `golden/moderation.py` writes `golden/moderation.json`, which records versions and seed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "reference values that cannot be read fail the test")]

use bayeslora_metrics::{Effect, Family, FamilyRow, Fits, Origin, Prior, Seeds};
use serde::Deserialize;

/// Relative; roots of the reference are found to 1e-13 of a logarithm, tails differ by two libraries' incomplete beta functions.
const TOLERANCE: f64 = 1e-8;

#[derive(Deserialize)]
struct Golden {
    moderation: Vec<ModerationCase>,
    families: Vec<FamilyCase>,
}

#[derive(Deserialize)]
struct ModerationCase {
    name: String,
    own: f64,
    variances: Vec<f64>,
    prior_degrees: Option<f64>,
    prior_variance: f64,
    posterior: Vec<f64>,
    degrees: Vec<f64>,
}

#[derive(Deserialize)]
struct FamilyCase {
    name: String,
    seeds: Vec<u64>,
    reference_seeds: Vec<u64>,
    rows: Vec<Vec<Vec<f64>>>,
    reference: Vec<Vec<f64>>,
    effects: Vec<EffectCase>,
}

#[derive(Deserialize)]
struct EffectCase {
    estimate: f64,
    error_over_texts: f64,
    error_over_seeds: f64,
    p_value: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/moderation.json")).expect("golden/moderation.json")
}

fn near(got: f64, expected: f64, what: &str) {
    assert!((got - expected).abs() <= TOLERANCE * expected.abs().max(1e-6), "{what}: {got} for {expected}");
}

#[test]
fn variances_are_those_of_limma() {
    for case in golden().moderation {
        let prior = Prior::fit(&case.variances, case.own).unwrap();
        match case.prior_degrees {
            Some(degrees) => near(prior.degrees_of_freedom, degrees, &case.name),
            None => assert!(prior.degrees_of_freedom.is_infinite(), "{}", case.name),
        }
        near(prior.variance, case.prior_variance, &case.name);
        let least = 1e-5 * bayeslora_metrics::median(case.variances.iter().copied());
        for ((&own, &posterior), &degrees) in case.variances.iter().zip(&case.posterior).zip(&case.degrees) {
            if own < least {
                continue;
            }
            let found = prior.posterior(own);
            near(found.variance, posterior, &case.name);
            near(found.degrees_of_freedom, degrees, &case.name);
            // What is used never lowers a row's own variance, and then borrows less.
            let used = prior.moderate(own);
            near(used.variance, posterior.max(own), &case.name);
            assert!(used.degrees_of_freedom <= found.degrees_of_freedom + 1e-9);
            assert!(used.degrees_of_freedom >= case.own - 1e-9, "{}", case.name);
        }
    }
}

fn compare(case: &FamilyCase, seeds: Seeds) -> Vec<Effect> {
    let rows: Vec<Fits> = case.rows.iter().map(|row| Fits::mean(&case.seeds, row).unwrap()).collect();
    let reference = Fits::mean(&case.reference_seeds, &case.reference).unwrap();
    let rows = rows.iter().map(|fits| FamilyRow { fits, origin: Origin::OwnFit }).collect();
    Family { reference: &reference, rows, seeds }.compare(0.95).unwrap()
}

#[test]
fn families_are_those_of_the_formulas() {
    for case in golden().families {
        let found = compare(&case, Seeds::Shared);
        for (effect, expected) in found.iter().zip(&case.effects) {
            near(effect.estimate, expected.estimate, &case.name);
            near(effect.error_over_texts, expected.error_over_texts, &case.name);
            near(effect.error_over_seeds, expected.error_over_seeds, &case.name);
            near(effect.p_value, expected.p_value, &case.name);
        }
        // Without what seeds share there is no slope.
        let apart = compare(&case, Seeds::Apart);
        assert!(apart.iter().zip(&found).all(|(apart, found)| (apart.p_value / found.p_value - 1.0).abs() > 1e-3));
    }
}
