//! The quick grid decides every claim, the same way each time; degenerate cases have their limits or their errors.
#![cfg(test)]

use bayeslora_theory::{
    CLAIMS, Claim, Comparisons, Dropout, Error, Evidence, Grid, Heading, Law, Layer, Pair, Problem, Site, Subspace,
    Verdict, csv, decide, expected_gradient, holm, latex, markdown, normal, run, sampled_gradient, stream,
};
use ndarray::{Array1, Array2, array};

#[test]
fn the_quick_grid_decides_every_claim_and_refutes_every_wrong_variant() {
    let report = run(Grid::Quick, 0, 2, &|_| {}).unwrap();
    assert_eq!(report.decisions.len(), CLAIMS.len());
    for decision in &report.decisions {
        let id = decision.claim.id;
        assert_eq!(decision.verdict, Verdict::Holds, "{id}: p {}, {:?}", decision.evidence.p_value, decision.power);
        assert_eq!(decision.refutations.len(), decision.claim.wrong.len(), "{id}");
        for refutation in &decision.refutations {
            assert!(refutation.refuted, "{id}: {} has p {}", refutation.variant, refutation.p_value);
        }
        assert_eq!(decision.power.is_some(), decision.claim.quantitative, "{id}");
    }
    let heading = Heading { grid: Grid::Quick, seed: 0, command: "a command".to_owned() };
    let table = markdown(&heading, &report);
    for claim in CLAIMS {
        assert!(table.contains(&format!("| {} | **holds** |", claim.id)), "{}", claim.id);
    }
    // The same seed gives the same bytes, whatever it took.
    let again = run(Grid::Quick, 0, 2, &|_| {}).unwrap();
    assert_eq!(table, markdown(&heading, &again));
    assert_eq!(csv(&report).unwrap(), csv(&again).unwrap());
    assert_eq!(latex(&heading, &report), latex(&heading, &again));
    // Another seed gives other numbers.
    let other = run(Grid::Quick, 1, 0, &|_| {}).unwrap();
    assert_ne!(csv(&report).unwrap(), csv(&other).unwrap());
}

/// A claim about the mean of ten thousand numbers around 2, as far as `law` says; `blind` does not look.
fn mean_is(mean: f64, blind: bool, law: Law) -> Evidence {
    let law = match law {
        Law::Stated => mean,
        Law::Scaled(factor) => mean * factor,
        Law::Wrong(_) => -mean,
    };
    let values: Vec<f64> = normal((1, 10_000), 1.0, &mut stream(7, 0)).iter().map(|z| z + 2.0).collect();
    let mut comparisons = Comparisons::default();
    comparisons.add_mean(&values, if blind { values.iter().sum::<f64>() / 1e4 } else { law }, true);
    comparisons.evidence(1, String::new())
}

const TRUE: Claim = Claim {
    id: "true",
    statement: "the mean is 2",
    assumptions: "",
    bearing: "",
    wrong: &["the mean is -2"],
    quantitative: true,
    examine: |_, _, law| Ok(mean_is(2.0, false, law)),
};

static MIXED: [Claim; 3] = [
    TRUE,
    Claim { id: "false", examine: |_, _, law| Ok(mean_is(2.2, false, law)), ..TRUE },
    Claim { id: "blind", examine: |_, _, law| Ok(mean_is(2.0, true, law)), ..TRUE },
];

static EMPTY: [Claim; 1] =
    [Claim { id: "empty", examine: |_, _, _| Ok(Comparisons::default().evidence(0, String::new())), ..TRUE }];

#[test]
fn a_true_claim_holds_a_false_one_fails_and_a_check_that_does_not_look_decides_nothing() {
    let report = decide(&MIXED, Grid::Quick, 0, 3, &|_| {}).unwrap();
    let verdicts: Vec<Verdict> = report.decisions.iter().map(|decision| decision.verdict).collect();
    assert_eq!(verdicts, [Verdict::Holds, Verdict::Fails, Verdict::Undecided]);
    assert_eq!(report.false_alarms, 3, "the false claim is rejected on every seed");
    assert_eq!(report.decisions[2].power, Some(0.0));
    assert!(!report.decisions[2].refutations[0].refuted);
    let heading = Heading { grid: Grid::Quick, seed: 0, command: "a command".to_owned() };
    let table = markdown(&heading, &report);
    assert!(table.contains("| false | **fails** |") && table.contains("| **no** |"), "{table}");
    assert!(!table.contains("In plain words"), "an answer without the claims it stands on");
}

/// Sees what is wrong with a p-value of 0.006, whatever it is.
const MARGINAL: Claim = Claim {
    id: "marginal",
    examine: |_, _, law| {
        let p_value = if law == Law::Stated { 1.0 } else { 0.006 };
        Ok(Evidence { p_value, ..mean_is(2.0, false, Law::Stated) })
    },
    ..TRUE
};

static ONE: [Claim; 1] = [MARGINAL];
static TWO: [Claim; 2] = [MARGINAL, MARGINAL];

#[test]
fn errors_count_as_seen_at_the_level_of_the_table() {
    let decided = |claims| {
        let report = decide(claims, Grid::Quick, 0, 3, &|_| {}).unwrap();
        let decision = &report.decisions[0];
        (decision.verdict, decision.refutations[0].p_value, decision.refutations[0].refuted, decision.power)
    };
    assert_eq!(decided(&ONE), (Verdict::Holds, 0.006, true, Some(1.0)));
    // With a second claim beside it the same p-values are too large.
    assert_eq!(decided(&TWO), (Verdict::Undecided, 0.012, false, Some(0.0)));
}

#[test]
fn an_empty_grid_is_refused() {
    let error = decide(&EMPTY, Grid::Quick, 0, 0, &|_| {}).unwrap_err().to_string();
    assert_eq!(error, "the grid of empty has no points; nothing would be decided");
}

#[test]
fn holm_is_that_of_the_textbook() {
    // R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm").
    let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
    for (got, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
        assert!((got - expected).abs() < 1e-15, "{adjusted:?}");
    }
    assert!(holm(&[]).is_empty());
    assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    assert_eq!(holm(&[0.9, f64::NAN]), [0.9, 0.0], "what is not a number shows nothing");
}

fn layer(site: Site, p: f64, rank: usize) -> Layer {
    let mut random = stream(3, 0);
    let (a, b) = (normal((rank, 4), 1.0, &mut random), normal((3, rank), 1.0, &mut random));
    Layer::new(a, b, 2.0, site, Dropout::new(p).unwrap()).unwrap()
}

#[test]
fn degenerate_layers_have_their_limits() {
    let x = array![1.0, -2.0, 0.5, 3.0];
    for site in Site::ALL {
        // p = 0: nothing is random.
        let still = layer(site, 0.0, 2);
        assert!(still.variance(x.view()).abs() < 1e-300, "{site:?}");
        let difference = still.sample(x.view(), &mut stream(1, 1)) - still.mean(x.view());
        assert!(difference.iter().all(|d| d.abs() < 1e-12), "{site:?}");
        // B = 0: no adapter.
        let mut none = layer(site, 0.3, 2);
        none.b.fill(0.0);
        assert!(none.variance(x.view()).abs() < 1e-300 && none.mean(x.view()).iter().all(|m| m.abs() < 1e-300));
        // r > min(d_in, d_out) is an adapter like any other: the trace is that of the covariance.
        let wide = layer(site, 0.3, 9);
        let trace = wide.covariance(x.view()).diag().sum();
        assert!((wide.variance(x.view()) - trace).abs() < 1e-12 * trace, "{site:?}");
        assert!(wide.variance(Array1::zeros(4).view()).abs() < 1e-300, "{site:?}");
    }
}

#[test]
fn impossible_layers_are_refused_with_the_number() {
    let message = |result: Result<Dropout, Error>| result.unwrap_err().to_string();
    assert_eq!(message(Dropout::new(1.0)), "dropout probability is 1; expected 0 <= p < 1");
    assert_eq!(message(Dropout::new(f64::NAN)), "dropout probability is NaN; expected 0 <= p < 1");
    let p = Dropout::new(0.1).unwrap();
    let refused =
        |a: Array2<f64>, b: Array2<f64>, scale| Layer::new(a, b, scale, Site::Rank, p).unwrap_err().to_string();
    assert_eq!(refused(Array2::zeros((2, 4)), Array2::zeros((3, 5)), 1.0), "B has shape [3, 5]; expected [3, 2]");
    assert!(refused(Array2::from_elem((2, 4), f64::NAN), Array2::zeros((3, 2)), 1.0).contains("A has an entry"));
    assert!(refused(Array2::zeros((2, 4)), Array2::zeros((3, 2)), f64::INFINITY).contains("scale is inf"));
    assert!(refused(Array2::zeros((0, 4)), Array2::zeros((3, 0)), 1.0).contains("shape"));
}

#[test]
fn subspaces_of_degenerate_inputs() {
    // Duplicates and dependent columns span what the others span.
    let x = array![[1.0, 1.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]];
    let span = Subspace::span(&x).unwrap();
    assert_eq!((span.ambient(), span.dimension(), span.complement().ncols()), (3, 2, 1));
    let outside = array![0.0, 1.0, -1.0];
    assert!((span.distance(outside.view()) - 2.0_f64.sqrt()).abs() < 1e-14);
    assert!(span.project(outside.view()).iter().all(|entry| entry.abs() < 1e-14));
    // k = d: there is no outside.
    let whole = Subspace::random(4, 4, &mut stream(1, 1)).unwrap();
    assert!(whole.distance(array![1.0, 2.0, 3.0, 4.0].view()) < 1e-14);
    let error = whole.direction_outside(&mut stream(1, 1)).unwrap_err().to_string();
    assert_eq!(error, "the inputs span 4 of 4 directions; there is no outside");
    assert!(Subspace::span(&Array2::zeros((3, 2))).unwrap_err().to_string().contains("not all zero"));
    assert!(Subspace::span(&array![[f64::NAN]]).unwrap_err().to_string().contains("not finite"));
    assert!(Subspace::random(3, 4, &mut stream(1, 1)).is_err() && Subspace::random(3, 0, &mut stream(1, 1)).is_err());
}

/// The expected gradient at the rank site is the average of the sampled one over all masks, and the derivative of the loss.
#[test]
fn expected_gradients_are_averages_and_derivatives() {
    let mut random = stream(5, 0);
    let (x, y) = (normal((3, 1), 1.0, &mut random), normal((2, 1), 1.0, &mut random));
    let problem = Problem { x, y };
    let pair = Pair { a: normal((2, 3), 1.0, &mut random), b: normal((2, 2), 1.0, &mut random) };
    let (scale, dropout) = (1.5, Dropout::new(0.3).unwrap());
    let exact = expected_gradient(&problem, &pair, scale, dropout);
    // The expected loss by enumeration of the four masks of the single column.
    let loss = |pair: &Pair| -> f64 {
        let u = pair.a.dot(&problem.x);
        (0..4)
            .map(|mask: usize| {
                let z = [0, 1].map(|i| if mask >> i & 1 == 1 { 1.0 / dropout.keep() } else { 0.0 });
                let weight: f64 =
                    [0, 1].map(|i| if mask >> i & 1 == 1 { dropout.keep() } else { 0.3 }).iter().product();
                let masked = array![[u[[0, 0]] * z[0]], [u[[1, 0]] * z[1]]];
                let error = pair.b.dot(&masked) * scale - &problem.y;
                weight * error.iter().map(|e| e * e).sum::<f64>() / 2.0
            })
            .sum()
    };
    let step = 1e-6;
    for (matrix, gradient) in [(0, &exact.a), (1, &exact.b)] {
        for (index, &gradient) in gradient.indexed_iter() {
            let at = |step: f64| {
                let mut moved = pair.clone();
                let entries = if matrix == 0 { &mut moved.a } else { &mut moved.b };
                entries[index] += step;
                loss(&moved)
            };
            let difference = (at(step) - at(-step)) / (2.0 * step);
            assert!((difference - gradient).abs() < 1e-8, "{matrix} {index:?}: {difference} against {gradient}");
        }
    }
    // Sampled gradients average to it: 40,000 of them, five standard errors.
    let samples = 40_000;
    let (mut sum, mut squares) = (Array2::<f64>::zeros(pair.a.dim()), Array2::<f64>::zeros(pair.a.dim()));
    for _ in 0..samples {
        let one = sampled_gradient(&problem, &pair, scale, (Site::Rank, dropout), &mut random).a;
        sum += &one;
        squares += &(&one * &one);
    }
    let n = f64::from(samples);
    for (index, &expected) in exact.a.indexed_iter() {
        let mean = sum[index] / n;
        let error = ((squares[index] / n - mean * mean) / n).sqrt();
        assert!((mean - expected).abs() < 5.0 * error, "{index:?}: {mean} against {expected}, error {error}");
    }
}

/// Without dropout all sites have the same gradient: that of the plain loss.
#[test]
fn sampled_gradients_without_dropout_agree() {
    let mut random = stream(6, 0);
    let problem = Problem { x: normal((5, 7), 1.0, &mut random), y: normal((3, 7), 1.0, &mut random) };
    let pair = Pair { a: normal((2, 5), 1.0, &mut random), b: normal((3, 2), 1.0, &mut random) };
    let none = Dropout::new(0.0).unwrap();
    let plain = expected_gradient(&problem, &pair, 0.7, none);
    for site in Site::ALL {
        let sampled = sampled_gradient(&problem, &pair, 0.7, (site, none), &mut random);
        let close = |left: &Array2<f64>, right: &Array2<f64>| (left - right).iter().all(|d| d.abs() < 1e-13);
        assert!(close(&sampled.a, &plain.a) && close(&sampled.b, &plain.b), "{site:?}");
    }
}
