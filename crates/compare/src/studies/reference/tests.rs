use bayeslora_metrics::{Averaging, Predictive};
use bayeslora_posterior::Chain;
use ndarray::{Array2, Array3, arr2};

use super::figure;
use super::findings::{Beside, Distance, Mixing, PosteriorOptions, Quality, Which, samples};
use super::table::{csv, page};
use crate::studies::toy;

const WHICH: Which = Which { prior_sd: 0.1, temperature: 1.0, seed: 1 };

fn predictive(log_p: &[[f32; 2]]) -> Predictive {
    let logits = Array3::from_shape_fn((log_p.len(), 1, 2), |(sample, _, class)| log_p[sample][class]);
    Predictive::from_logits(logits.view(), Averaging::Probabilities).unwrap()
}

#[test]
fn distances_by_hand() {
    let (row, posterior) = (predictive(&[[0.5_f32.ln(), 0.5_f32.ln()]]), predictive(&[[0.8_f32.ln(), 0.2_f32.ln()]]));
    let found = Distance::of(&row, &posterior);
    assert!((found.total_variation - 0.3).abs() < 1e-7, "{found:?}");
    let expected = 0.8 * (0.8_f64 / 0.5).ln() + 0.2 * (0.2_f64 / 0.5).ln();
    assert!((found.divergence - expected).abs() < 1e-7, "{found:?}");
    // One pass has no disagreement to rank by.
    assert_eq!((found.information, found.variance), (None, None));
    let same = Distance::of(&posterior, &posterior);
    assert!(same.total_variation == 0.0 && same.divergence == 0.0);
}

/// Chains whose draws say of two texts that class 1 has these probabilities.
fn chains(of: impl Fn(usize, usize) -> [f32; 2]) -> Vec<Chain<Array2<f32>>> {
    let draw = |p: [f32; 2]| arr2(&p.map(|p| [(1.0 - p).ln(), p.ln()]));
    let chain = |number: usize| Chain {
        read: (0..40).map(|step| draw(of(number, step))).collect(),
        divergences: 1,
        deepest: 2,
        gradients: 300,
        step_size: 0.1,
    };
    (0..3).map(chain).collect()
}

#[test]
fn mixing_is_that_of_the_worst_text() {
    let noise = |number: usize, step: usize| ((number * 31 + step * 17) % 40) as f32 / 100.0;
    let mixed = chains(|number, step| [0.3 + noise(number, step), 0.5]);
    let found = Mixing::of(WHICH, 6, &mixed, 10).unwrap();
    assert!(found.r_hat < 1.1 && found.ess > 60.0, "{found:?}");
    assert_eq!((found.divergences, found.deepest, found.gradients), (3, 6, 900));
    // One chain that says something else of the second text.
    let apart =
        chains(|number, step| [0.3 + noise(number, step), if number == 2 { 0.9 } else { 0.2 + noise(number, step) }]);
    assert!(Mixing::of(WHICH, 6, &apart, 10).unwrap().r_hat > 1.5);
    assert!(Mixing::of(WHICH, 6, &apart, 1).unwrap().r_hat < 1.1);
    let all = samples(&apart, 1..2);
    assert_eq!(all.dim(), (120, 1, 2));
    assert!((all[[119, 0, 1]].exp() - 0.9).abs() < 1e-6);
}

#[test]
fn the_page_has_methods_diagnostics_and_temperatures() {
    let quality = |nll| Some(Quality { accuracy: 0.9, nll, ece: 0.05 });
    let distance = Distance { total_variation: 0.1, divergence: 0.02, information: Some(0.5), variance: None };
    let posterior = |temperature, seed, nll| Beside {
        which: Which { temperature, seed, ..WHICH },
        domain: "movies".to_owned(),
        row: None,
        quality: quality(nll),
        information: 0.02,
        distance: None,
    };
    let row = |seed, information| Beside {
        row: Some("BLoB, sampled".to_owned()),
        information,
        distance: Some(distance),
        ..posterior(1.0, seed, 0.4)
    };
    let found = [posterior(1.0, 1, 0.3), row(1, 0.001), posterior(1.0, 2, 0.5), row(2, 0.003), posterior(0.1, 1, 0.6)];
    let mixing = |r_hat| Mixing {
        which: WHICH,
        parameters: 1536,
        r_hat,
        ess: 500.0,
        divergences: 0,
        deepest: 0,
        gradients: 1000,
        seconds: 2.0,
    };
    let mixed = [mixing(1.005), Mixing { which: Which { seed: 2, ..WHICH }, ..mixing(1.2) }];
    let options = PosteriorOptions {
        prior_sds: vec![0.1],
        temperatures: vec![1.0, 0.1],
        chains: 4,
        tune: 500,
        draws: 500,
        texts: 100,
    };
    let text = page(&toy::plan(), &options, (&mixed, &found), true).markdown();
    for expected in [
        "1536 entries of `A` and `B`, rank 2.",
        "(width.svg)",
        "1 of 2 posteriors have R-hat below 1.01",
        "## Methods beside the posterior: movies, prior of 0.1",
        // Means over the seeds: 0.1 of the posterior's information.
        "| BLoB, sampled | 0.100 | 0.0200 | 0.100 | 0.50 | – | 0.900 | 0.4000 | 0.0500 |",
        "| exact posterior | – | – | 1.000 | – | – | 0.900 | 0.4000 | 0.0500 |",
        "## Temperature of the posterior: movies",
        "| 0.10 | 0.10 | 0.900 | 0.6000 |",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let (name, figure) = figure::draw(&found, &options.prior_sds).unwrap().unwrap();
    let figure = String::from_utf8(figure).unwrap();
    assert!(name == "width.svg" && figure.contains("BLoB, sampled") && !figure.contains("NaN"), "{figure}");
    // One mark for each seed in each of two panels, and one in the legend.
    assert_eq!(figure.matches("<circle").count(), 5, "{figure}");
    let alone = [found[0].clone()];
    assert!(figure::draw(&alone, &[0.1]).unwrap().is_none(), "no row, no figure");
    let table = String::from_utf8(csv(&mixed, &found).unwrap()).unwrap();
    assert_eq!(table.lines().count(), 6);
    assert!(table.contains("0.1,1,2,movies,exact posterior,1.2,500,0,0.02,,,,,0.9,0.5,0.05"), "{table}");
}
