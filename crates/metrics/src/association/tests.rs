use statrs::distribution::{ContinuousCDF, StudentsT};

use super::*;
use crate::random::SplitMix64;

/// Texts whose score and errors are a pseudo-random function of their number.
fn example(texts: usize) -> (Vec<f64>, Vec<bool>, Vec<f64>) {
    let mut random = SplitMix64::keyed(11, 0, 0);
    let mut list = || -> Vec<f64> { (0..texts).map(|_| random.open_unit()).collect() };
    let (score, errors, given) = (list(), list(), list());
    (score, errors.into_iter().map(|value| value < 0.3).collect(), given)
}

#[test]
fn the_error_is_that_of_all_permutations_with_a_degree_of_freedom_for_the_line() {
    // Two strata of four texts: 576 permutations, all of them counted here.
    let (score, errors, given) = (
        [0.9, 0.4, 0.7, 0.1, 0.8, 0.2, 0.6, 0.3],
        [true, false, true, false, true, false, false, false],
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
    );
    // The second fit has other scores and errors, and entropies that put two texts into other strata than those of the mean.
    let (other_score, other_errors, other_given) = (
        [0.1, 0.5, 0.2, 0.9, 0.3, 0.8, 0.7, 0.4],
        [false, true, true, false, false, true, false, true],
        [2.0, 1.0, 3.5, 6.0, 3.0, 5.0, 7.0, 8.0],
    );
    let fits = [
        FitScores { score: &score, errors: &errors, given: &given },
        FitScores { score: &other_score, errors: &other_errors, given: &other_given },
    ];
    let found = association(&fits, 4).unwrap();
    let residuals: Vec<(Vec<f64>, Vec<f64>)> = fits
        .iter()
        .map(|fit| {
            let ranks = midranks(fit.given);
            let strata = Strata { texts: cut(&ranks, 2), ranks: &ranks };
            let errors: Vec<f64> = fit.errors.iter().map(|&error| f64::from(u8::from(error))).collect();
            (strata.residuals_of(&midranks(fit.score)).unwrap(), strata.residuals_of(&errors).unwrap())
        })
        .collect();
    let mut orders = Vec::new();
    for a in 0..4 {
        for b in (0..4).filter(|b| *b != a) {
            for c in (0..4).filter(|c| ![a, b].contains(c)) {
                orders.push([a, b, c, 6 - a - b - c]);
            }
        }
    }
    // Strata of the mean rank, by hand.
    let common = [[0, 1, 2, 4], [3, 5, 6, 7]];
    let value = |first: &[usize; 4], second: &[usize; 4]| -> f64 {
        let of_fit = |(own, others): &(Vec<f64>, Vec<f64>)| -> f64 {
            let pairs = [first, second].into_iter().zip(common);
            pairs.flat_map(|(order, texts)| (0..4).map(move |n| others[texts[n]] * own[texts[order[n]]])).sum()
        };
        residuals.iter().map(of_fit).sum::<f64>() / 2.0
    };
    let all: Vec<f64> = orders.iter().flat_map(|first| orders.iter().map(|second| value(first, second))).collect();
    let mean = all.iter().sum::<f64>() / 576.0;
    let variance = all.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 576.0;
    assert!(mean.abs() > 1e-3, "it would not be seen: {mean}");
    // Four texts a stratum: three degrees of freedom under permutation, two beside the line.
    let expected = (variance * 3.0 / 2.0 + mean * mean).sqrt();
    assert!((found.coefficient - value(&[0, 1, 2, 3], &[0, 1, 2, 3])).abs() < 1e-14);
    assert!((found.error_over_texts - expected).abs() < 1e-14, "{found:?} {expected}");
}

#[test]
fn only_the_order_of_scores_counts() {
    let (score, errors, given) = example(100);
    let fit = FitScores { score: &score, errors: &errors, given: &given };
    let cubes: Vec<f64> = score.iter().map(|value| value.powi(3) - 2.0).collect();
    assert_eq!(association(&[FitScores { score: &cubes, ..fit }], 20).unwrap(), association(&[fit], 20).unwrap());
}

#[test]
fn fits_that_share_texts_are_not_as_many_samples() {
    let (score, errors, given) = example(400);
    let fit = FitScores { score: &score, errors: &errors, given: &given };
    let (one, copies) = (association(&[fit], 20).unwrap(), association(&[fit; 5], 20).unwrap());
    assert!((one.error_over_texts - copies.error_over_texts).abs() < 1e-14);
    assert_eq!(copies.per_fit.len(), 5);
}

#[test]
fn what_follows_the_entropy_alone_is_not_found_and_what_follows_errors_is() {
    let (noise, errors, given) = example(2000);
    // A curve of the entropy, which a straight line of ranks does not take off; and the same with a part that errors raise.
    let curve: Vec<f64> = given.iter().zip(&noise).map(|(g, e)| (g - 0.4).abs() + 0.05 * e).collect();
    let raised: Vec<f64> = curve.iter().zip(&errors).map(|(c, &error)| c + 0.02 * f64::from(u8::from(error))).collect();
    let found = |score: &[f64]| {
        let found = association(&[FitScores { score, errors: &errors, given: &given }], TEXTS_A_STRATUM).unwrap();
        found.over_texts_and_fits(0.95).unwrap()
    };
    assert!(found(&curve).p_value > 0.05, "{:?}", found(&curve));
    assert!(found(&raised).p_value < 0.01 && found(&raised).estimate > 0.0, "{:?}", found(&raised));
}

/// By numpy: `np.polyfit` in each stratum, and the correlation of what is left.
#[test]
fn a_line_is_taken_off_in_every_stratum() {
    // rank = np.arange(1., 9); score = np.array([2, 4, 3, 6, 9, 1, 5, 8.]); errors = np.array([0, 1, 0, 1, 1, 0, 0, 1.])
    // left = lambda v: np.concatenate([v[s] - np.polyval(np.polyfit(rank[s], v[s], 1), rank[s]) for s in (slice(0, 4), slice(4, 8))])
    // np.corrcoef(left(scipy.stats.rankdata(score)), left(errors))[0, 1]
    let (score, given) = ([2.0, 4.0, 3.0, 6.0, 9.0, 1.0, 5.0, 8.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let errors = [false, true, false, true, true, false, false, true];
    let found = association(&[FitScores { score: &score, errors: &errors, given: &given }], 4).unwrap();
    assert!((found.coefficient - 0.784_785_436_393_161_7).abs() < 1e-12, "{}", found.coefficient);
    // A score that is a line in the rank within every stratum has nothing left.
    let line = [1.0, 2.0, 3.0, 4.0, 8.0, 7.0, 6.0, 5.0];
    let refused = association(&[FitScores { score: &line, errors: &errors, given: &given }], 4).unwrap_err();
    assert_eq!(refused.to_string(), "score within strata is constant, so its ranks correlate with nothing");
}

#[test]
fn over_fits_the_errors_add_up() {
    let (score, errors, given) = example(400);
    let (other, ..) = example(800);
    let fits = [
        FitScores { score: &score, errors: &errors, given: &given },
        FitScores { score: &other[400..], errors: &errors, given: &given },
    ];
    let found = association(&fits, 20).unwrap();
    let all = found.over_texts_and_fits(0.95).unwrap();
    let apart = (found.per_fit[0] - found.per_fit[1]).abs() / 2.0;
    assert!((all.error_over_seeds.unwrap() - apart).abs() < 1e-14);
    assert!((all.estimate - found.coefficient).abs() < 1e-14);
    assert!((all.error_over_examples - found.error_over_texts).abs() < 1e-14);
    let one = association(&fits[..1], 20).unwrap();
    let alone = one.over_texts_and_fits(0.95).unwrap();
    // scipy: 2 * stats.t.sf(|coefficient / error|, 400 - 2 * 20).
    let student = StudentsT::new(0.0, 1.0, 360.0).unwrap();
    let expected = 2.0 * student.sf((one.coefficient / one.error_over_texts).abs());
    assert!((alone.p_value - expected).abs() < 1e-12 && alone.error_over_seeds.is_none(), "{alone:?} {one:?}");
}

#[test]
fn bad_inputs_are_refused() {
    let (score, errors, given) = example(40);
    let fit = FitScores { score: &score, errors: &errors, given: &given };
    let message = |fits: &[FitScores<'_>], texts| association(fits, texts).unwrap_err().to_string();
    assert_eq!(message(&[], 20), "fits: got 0, expected at least 1");
    assert_eq!(message(&[fit], 2), "texts a stratum: got 2, expected at least 3");
    assert_eq!(message(&[fit], 30), "strata of texts: got 1, expected at least 2");
    assert_eq!(
        message(&[fit, FitScores { errors: &errors[1..], ..fit }], 20),
        "errors has 39 entries, the score of the first fit has 40"
    );
    let none = vec![false; 40];
    assert_eq!(
        message(&[FitScores { errors: &none, ..fit }], 20),
        "errors within strata is constant, so its ranks correlate with nothing"
    );
}
