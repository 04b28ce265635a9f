//! S1, S2: what training leaves of the initial A outside the fine-tuning subspace.

use ndarray::{Array2, Axis};
use rayon::prelude::*;

use super::training::{STEPS, Size, Trained, column_norms, norm, problem, sizes, start, train_sampled};
use super::{Claim, Grid, Law};
use crate::dynamics::{Optimiser, Pair, Problem, Trainer, expected_gradient, sampled_gradient};
use crate::error::Result;
use crate::evidence::{Comparisons, Evidence, mean_and_error};
use crate::layer::{Dropout, Site};
use crate::random::{normal, stream};
use crate::subspace::Subspace;

pub(super) const INVARIANCE: Claim = Claim {
    id: "S1",
    statement: "A_t (I - P) = prod_t (1 - lr lambda) A_0 (I - P): training never touches A outside S_X, decay apart.",
    assumptions: "rank site; inputs in S_X; gradient descent, with or without momentum; decoupled decay lambda",
    bearing: "Outside S_X the adapter reads with its random initial weights",
    wrong: &["decay leaves A_0 (I - P) as it was", "the projector of another subspace"],
    quantitative: true,
    examine: invariance,
};

pub(super) const LEAK: Claim = Claim {
    id: "S2",
    statement: "S1 fails. Adam's first step leaves S_X with the share (2 / pi) tr((I - P) arcsin R) / d of its energy, R the correlations of P. \
                Expected gradients leave with s^2 kappa B'B A Delta (I - P) at the input site, and with s^2 kappa |b_i|^2 A_ij Delta_j at the \
                weight site, Delta_j the mean of x_j^2.",
    assumptions: "rows of the gradient normal and isotropic in S_X, for the share; dropout on, for the others",
    bearing: "With Adam, or at PEFT's input site, training moves A outside S_X: the invariance behind the growth law fails by these amounts",
    wrong: &[
        "there is no leak",
        "Adam's step is a random direction: the share is 1 - k / d",
        "p instead of p / q at the input and weight sites",
    ],
    quantitative: true,
    examine: leak,
};

fn invariance(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let decay = 0.05;
    let optimisers = [
        Optimiser::Sgd { rate: 0.05, momentum: 0.0, decay: 0.0 },
        Optimiser::Sgd { rate: 0.02, momentum: 0.9, decay: 0.0 },
        Optimiser::Sgd { rate: 0.05, momentum: 0.0, decay },
    ];
    let (mut errors, mut points) = (Vec::new(), 0);
    for size in sizes(grid) {
        for optimiser in optimisers {
            points += 1;
            let Trained { subspace, start, pair } =
                train_sampled(size, Site::Rank, optimiser, STEPS, (seed, points as u64))?;
            let kept = match optimiser {
                Optimiser::Sgd { rate, decay, .. } if !law.is_wrong(0) => (1.0 - rate * decay).powi(STEPS),
                _ => 1.0,
            };
            let other = Subspace::random(size.d_in, size.k, &mut stream(seed, u64::MAX))?;
            let complement = if law.is_wrong(1) { other.complement().clone() } else { subspace.complement().clone() };
            let before = start.dot(&complement) * (kept * law.factor());
            let difference = norm(&(pair.a.dot(&complement) - &before)) / norm(&start.dot(&complement));
            // Each step adds rounding of the size of the projected gradient, at most of the size of A itself.
            errors.push(difference / (f64::EPSILON * 16.0 * f64::from(STEPS)));
        }
    }
    let note = format!("{STEPS} steps; plain gradient descent, momentum 0.9, decay {decay}");
    Ok(Evidence::identity(&errors, points, "largest error / rounding", note))
}

/// `(2 / pi) tr((I - P) arcsin R) / d`. For a normal vector `g` with covariance `P` the mean of `sign(g) sign(g)'` is
/// `(2 / pi) arcsin R`, entry by entry (Sheppard); its trace against `I - P` is the energy outside, and `d` is all of it.
pub(super) fn sign_share(projector: &Array2<f64>) -> f64 {
    let d = projector.nrows();
    let mut outside = 0.0;
    for ((i, j), &p) in projector.indexed_iter() {
        let correlation = p / (projector[[i, i]] * projector[[j, j]]).sqrt();
        let identity = f64::from(u8::from(i == j));
        outside += (identity - p) * if i == j { std::f64::consts::FRAC_PI_2 } else { correlation.asin() };
    }
    outside * std::f64::consts::FRAC_2_PI / d as f64
}

/// The energy share outside of Adam's first step, draw by draw, with its prediction.
fn first_steps(size: Size, draws: u64, seed: (u64, u64)) -> Result<(Vec<f64>, f64, f64)> {
    let subspace = Subspace::random(size.d_in, size.k, &mut stream(seed.0, seed.1 << 32))?;
    let shares = (1..=draws)
        .into_par_iter()
        .map(|draw| {
            let mut random = stream(seed.0, seed.1 << 32 | draw);
            let x = subspace.basis() * (size.k as f64).sqrt();
            let y = normal((size.d_out, size.k), 1.0, &mut random);
            let before = Pair { b: normal((size.d_out, size.rank), 0.3, &mut random), ..start(size, &mut random) };
            let mut pair = before.clone();
            let gradient = expected_gradient(&Problem { x, y }, &pair, size.scale, Dropout::new(0.0)?);
            Trainer::new(Optimiser::Adam { rate: 0.005, decay: 0.0 }, &pair).step(&mut pair, &gradient);
            let moved = pair.a - before.a;
            Ok((norm(&moved.dot(subspace.complement())) / norm(&moved)).powi(2))
        })
        .collect::<Result<Vec<f64>>>()?;
    let projector = subspace.basis().dot(&subspace.basis().t());
    Ok((shares, sign_share(&projector), 1.0 - size.k as f64 / size.d_in as f64))
}

/// Components of sampled gradients outside `S_X` along the predicted one, in units of it.
fn sampled_leaks(size: Size, site: Site, draws: u64, seed: (u64, u64)) -> Result<Vec<f64>> {
    let mut random = stream(seed.0, seed.1 << 32);
    let (subspace, problem) = problem(size, &mut random)?;
    let pair = Pair { b: normal((size.d_out, size.rank), 0.5, &mut random), ..start(size, &mut random) };
    let dropout = Dropout::new(size.p)?;
    let energies = problem.x.mapv(|x| x * x).sum_axis(Axis(1)) / problem.x.ncols() as f64;
    let shrunk = if site == Site::Input {
        pair.b.t().dot(&pair.b).dot(&pair.a)
    } else {
        &pair.a * &ndarray::Array1::from(column_norms(&pair.b)).insert_axis(Axis(1))
    };
    let outside = subspace.complement();
    let predicted = (shrunk * &energies * (size.scale.powi(2) * dropout.variance())).dot(outside);
    let unit = norm(&predicted).powi(2);
    (1..=draws)
        .into_par_iter()
        .map(|draw| {
            let mut random = stream(seed.0, seed.1 << 32 | draw);
            let gradient = sampled_gradient(&problem, &pair, size.scale, (site, dropout), &mut random).a;
            Ok((gradient.dot(outside) * &predicted).sum() / unit)
        })
        .collect()
}

fn leak(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let mut comparisons = Comparisons::default();
    let mut points = 0_usize;
    for size in sizes(grid) {
        points += 3;
        let (shares, claimed, random_direction) = first_steps(size, grid.pick(200, 2000), (seed, points as u64))?;
        let claimed = match law {
            Law::Wrong(0) => 0.0,
            Law::Wrong(1) => random_direction,
            _ => claimed,
        };
        comparisons.add_mean(&shares, claimed * law.factor(), true);
        for (place, site) in [Site::Input, Site::Weight].into_iter().enumerate() {
            let found = sampled_leaks(size, site, grid.pick(400, 10_000), (seed, 100 + points as u64 + place as u64))?;
            let claimed = match law {
                Law::Wrong(0) => 0.0,
                Law::Wrong(2) => 1.0 - size.p,
                _ => law.factor(),
            };
            comparisons.add_mean(&found, claimed, true);
        }
    }
    let note = if grid == Grid::Full { trained_leaks(seed)? } else { String::new() };
    Ok(comparisons.evidence(points, note))
}

/// How far A has left `A_0` outside after training, in words.
fn trained_leaks(seed: u64) -> Result<String> {
    let adam = |decay| Optimiser::Adam { rate: 0.005, decay };
    let sgd = Optimiser::Sgd { rate: 0.05, momentum: 0.0, decay: 0.0 };
    let cases = [
        ("Rank site, Adam", Site::Rank, adam(0.0)),
        ("rank site, AdamW", Site::Rank, adam(0.01)),
        ("input site, SGD", Site::Input, sgd),
        ("weight site, SGD", Site::Weight, sgd),
    ];
    let mut note = Vec::new();
    for (name, site, optimiser) in cases {
        let mut leaks = Vec::new();
        for (number, size) in sizes(Grid::Full).into_iter().enumerate() {
            let Trained { subspace, start, pair } =
                train_sampled(size, site, optimiser, STEPS, (seed, 100 + number as u64))?;
            // Decay alone is no leak: what counts is the part not along A_0.
            let (before, after) = (start.dot(subspace.complement()), pair.a.dot(subspace.complement()));
            let along = (&before * &after).sum() / (&before * &before).sum();
            leaks.push(norm(&(after - &before * along)) / norm(&before));
        }
        let (mean, _) = mean_and_error(&leaks);
        note.push(format!("{name}: {mean:.3}"));
    }
    Ok(format!("{STEPS} steps move A outside by |A_t - A_0| / |A_0|. {}", note.join("; ")))
}
