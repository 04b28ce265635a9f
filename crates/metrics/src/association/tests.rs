use super::*;

/// Texts whose score and errors are a pseudo-random function of their number.
fn example(texts: usize) -> (Vec<f64>, Vec<bool>, Vec<f64>) {
    let mut random = SplitMix64::keyed(11, 0, 0);
    let mut list = || -> Vec<f64> { (0..texts).map(|_| random.open_unit()).collect() };
    let (score, errors, given) = (list(), list(), list());
    (score, errors.into_iter().map(|value| value < 0.3).collect(), given)
}

fn few(permutations: u32, texts_a_stratum: usize) -> Permutations {
    Permutations { permutations, texts_a_stratum, seed: 3 }
}

#[test]
fn the_p_value_is_that_of_all_permutations() {
    // Two strata of four texts: 576 permutations, all of them counted here.
    let (score, errors, given) = (
        [0.9, 0.4, 0.7, 0.1, 0.8, 0.2, 0.6, 0.3],
        [true, false, true, false, true, false, false, false],
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
    );
    let fit = FitScores { score: &score, errors: &errors, given: &given };
    let found = few(40_000, 4).association(&[fit]).unwrap();
    let strata = [vec![0, 1, 2, 3], vec![4, 5, 6, 7]];
    let own = centred(&midranks(&score), &strata).unwrap();
    let others = centred(&errors.map(|error| f64::from(u8::from(error))), &strata).unwrap();
    let mut orders = Vec::new();
    for a in 0..4 {
        for b in (0..4).filter(|b| *b != a) {
            for c in (0..4).filter(|c| ![a, b].contains(c)) {
                orders.push([a, b, c, 6 - a - b - c]);
            }
        }
    }
    let value = |first: &[usize; 4], second: &[usize; 4]| -> f64 {
        (0..4).map(|n| others[n] * own[first[n]] + others[4 + n] * own[4 + second[n]]).sum()
    };
    let (mut as_large, mut squares) = (0.0, 0.0);
    for first in &orders {
        for second in &orders {
            let value = value(first, second);
            squares += value * value / 576.0;
            as_large += f64::from(u8::from(value.abs() >= found.coefficient.abs() - 1e-12)) / 576.0;
        }
    }
    assert!((found.coefficient - value(&[0, 1, 2, 3], &[0, 1, 2, 3])).abs() < 1e-14);
    // Five standard errors of a share in 40,000.
    assert!((found.p_value - as_large).abs() < 5.0 * (as_large / 40_000.0).sqrt(), "{found:?} {as_large}");
    assert!((found.error_over_texts / squares.sqrt() - 1.0).abs() < 0.02);
}

#[test]
fn it_depends_on_the_seed_and_on_nothing_else() {
    let (score, errors, given) = example(100);
    let fit = FitScores { score: &score, errors: &errors, given: &given };
    let run = |seed, threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Permutations { seed, ..few(200, 20) }.association(&[fit]).unwrap())
    };
    assert_eq!(run(1, 1), run(1, 3));
    assert_ne!(run(1, 1).error_over_texts.to_bits(), run(2, 1).error_over_texts.to_bits());
    // Only order counts.
    let cubes: Vec<f64> = score.iter().map(|value| value.powi(3) - 2.0).collect();
    let same = few(200, 20).association(&[FitScores { score: &cubes, ..fit }]).unwrap();
    assert_eq!(same, few(200, 20).association(&[fit]).unwrap());
}

#[test]
fn fits_that_share_texts_are_not_as_many_samples() {
    let (score, errors, given) = example(400);
    let fit = FitScores { score: &score, errors: &errors, given: &given };
    let (one, copies) = (few(999, 20).association(&[fit]).unwrap(), few(999, 20).association(&[fit; 5]).unwrap());
    assert!(
        (one.p_value - copies.p_value).abs() < 1e-12 && (one.error_over_texts - copies.error_over_texts).abs() < 1e-12
    );
    assert_eq!(copies.per_fit.len(), 5);
}

#[test]
fn what_follows_the_entropy_alone_is_not_found_and_what_follows_errors_is() {
    let (noise, errors, given) = example(2000);
    // A curve of the entropy, which a straight line of ranks does not take off; and the same with a part that errors raise.
    let curve: Vec<f64> = given.iter().zip(&noise).map(|(g, e)| (g - 0.4).abs() + 0.05 * e).collect();
    let raised: Vec<f64> = curve.iter().zip(&errors).map(|(c, &error)| c + 0.02 * f64::from(u8::from(error))).collect();
    let p = |score: &[f64]| few(999, 20).association(&[FitScores { score, errors: &errors, given: &given }]).unwrap();
    assert!(p(&curve).p_value > 0.05, "{:?}", p(&curve));
    assert!(p(&raised).p_value < 0.01 && p(&raised).coefficient > 0.0, "{:?}", p(&raised));
}

#[test]
fn bad_inputs_are_refused() {
    let (score, errors, given) = example(40);
    let fit = FitScores { score: &score, errors: &errors, given: &given };
    let message = |settings: Permutations, fits: &[FitScores<'_>]| settings.association(fits).unwrap_err().to_string();
    assert_eq!(message(few(9, 20), &[]), "fits: got 0, expected at least 1");
    assert_eq!(message(few(0, 20), &[fit]), "permutations: got 0, expected at least 1");
    assert_eq!(message(few(9, 1), &[fit]), "texts a stratum: got 1, expected at least 2");
    assert_eq!(message(few(9, 30), &[fit]), "strata of texts: got 1, expected at least 2");
    assert_eq!(
        message(few(9, 20), &[fit, FitScores { errors: &errors[1..], ..fit }]),
        "errors has 39 entries, the score of the first fit has 40"
    );
    let none = vec![false; 40];
    assert_eq!(
        message(few(9, 20), &[FitScores { errors: &none, ..fit }]),
        "errors within strata is constant, so its ranks correlate with nothing"
    );
}
