//! S1, S2, L1, N1, F1, E1: what training leaves of the initial A outside the fine-tuning subspace, and what follows for V.
//!
//! **S1.** The gradient with respect to `A` is `(...) X^T`, also under any mask at the rank site, and the columns of `X` lie in
//! `S_X`: its rows stay in `S_X`, so `A (I - P)` changes by decay alone. Masked inputs `z * x` leave `S_X`; Adam divides entry by
//! entry, which turns the update out of it (S2).
//!
//! **L1.** Training reads `A_0` through `A_0 P` only, so the trained `B` is independent of `A_0 (I - P)`; with `u` outside,
//! `a_i u` is normal with variance `sigma_A^2` given `B`, and `u'Qu = s^2 kappa sum_i |b_i|^2 (a_i u)^2`.
//!
//! **N1.** With `e` the error, `d a_i / dt = -(s / n) b_i' e X^T - (s^2 kappa / n) |b_i|^2 a_i X X^T` and
//! `d b_i / dt = -(s / n) e (a_i X)^T - (s^2 kappa / n) |a_i X|^2 b_i`: the products `a_i . d a_i / dt` and `b_i . d b_i / dt` are
//! equal, so `|a_i|^2 - |b_i|^2` is conserved, and by S1 the part of `|a_i|^2` that changes is `|a_i P|^2`.
//!
//! **F1.** Per unit of energy V is `s^2 kappa` times `sum |b_i|^2 |a_i (I - P)|^2 / (d - k)` outside, by L1 `sigma_A^2 sum |b_i|^2` in
//! the mean, and `sum |b_i|^2 |a_i P|^2 / k` inside, by N1 `sum |b_i|^2 (|a_0i P|^2 + |b_i|^2) / k`. If `B` were independent of
//! `A_0 P` too, `|a_0i P|^2 / k` could be replaced by `sigma_A^2` and the ratio would be at most 1. It is not: dropout's optimum
//! has equal `|b_i| |a_i X|` (I1), so rows that read little inside get the larger `b_i`. Where training has moved `A` little,
//! `|b_i|^2` is proportional to `1 / |a_0i P|^2` and the ratio approaches `E[k / chi^2_k] = k / (k - 2)`, above 1.

use ndarray::{Array2, Axis};
use rayon::prelude::*;

use super::{Claim, Grid, Law};
use crate::Result;
use crate::dynamics::{Optimiser, Pair, Problem, Trainer, expected_gradient, sampled_gradient};
use crate::evidence::{Comparisons, Evidence, mean_and_error};
use crate::layer::{Dropout, Site};
use crate::random::{normal, stream};
use crate::subspace::Subspace;

pub(super) const INVARIANCE: Claim = Claim {
    id: "S1",
    statement: "A_t (I - P) = prod_t (1 - lr lambda) A_0 (I - P): training never touches A outside S_X, decay apart.",
    assumptions: "rank site; inputs in S_X; gradient descent, with or without momentum; decoupled decay lambda",
    bearing: "outside S_X the adapter reads with its random initial weights",
    wrong: &["decay leaves A_0 (I - P) as it was", "the projector of another subspace"],
    quantitative: true,
    examine: invariance,
};

pub(super) const LEAK: Claim = Claim {
    id: "S2",
    statement: "S1 fails under Adam and AdamW, and at the input and weight sites: A leaks out of S_X.",
    assumptions: "S_X in general position; dropout on",
    bearing: "with the optimisers and the site in use (AdamW, PEFT's input site) the invariance behind the growth law is only approximate",
    wrong: &["there is no leak"],
    quantitative: false,
    examine: leak,
};

pub(super) const OUTSIDE: Claim = Claim {
    id: "L1",
    statement: "Outside S_X the mean growth u'Qu is s^2 kappa sigma_A^2 |B|_F^2 prod (1 - lr lambda)^2.",
    assumptions: "S1; A_0 normal with entry variance sigma_A^2; u independent of A_0",
    bearing: "the rate of the growth is set by the initialisation; long training with decay removes it",
    wrong: &["|B|_F instead of its square", "p instead of p / q", "decay without its square"],
    quantitative: true,
    examine: outside,
};

pub(super) const CHARGE: Claim = Claim {
    id: "N1",
    statement: "Gradient flow conserves |a_i P|^2 - |b_i|^2; the drift of gradient descent is of first order in the step.",
    assumptions: "rank site; expected dropout loss; B_0 = 0",
    bearing: "inside S_X the rows of A grow with B, outside they do not: this decides F1",
    wrong: &["the drift is of second order", "there is no conservation: the drift does not fall"],
    quantitative: true,
    examine: charge,
};

pub(super) const FIXED_NORM: Claim = Claim {
    id: "F1",
    statement: "Variance per unit of input energy, outside over inside S_X: rho = sigma_A^2 sum b^2 / (sum b^2 |a_0 P|^2 / k + sum b^4 / k), \
                b_i = |b_i|.",
    assumptions: "rank site; expected dropout loss, small steps; inputs isotropic in S_X; B_0 = 0",
    bearing: "at fixed norm, which LayerNorm enforces, moving energy out of S_X changes V by the factor rho, which no distance enters",
    wrong: &["no growth inside: rho = 1", "rows and columns exchanged: sum b^4 without 1 / k"],
    quantitative: true,
    examine: fixed_norm,
};

pub(super) const ENSEMBLE: Claim = Claim {
    id: "E1",
    statement: "Outside S_X the variance of dW u over independent A_0 is s^2 sigma_A^2 |B|_F^2; MC-dropout's is kappa times it.",
    assumptions: "as L1, no decay; members share the data and differ in A_0",
    bearing: "dropout outside S_X is a scaled-down ensemble of initialisations; inside it is not",
    wrong: &["equal variances: kappa left out"],
    quantitative: true,
    examine: ensemble,
};

/// Sizes of a training problem.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) d_in: usize,
    pub(super) d_out: usize,
    pub(super) rank: usize,
    pub(super) k: usize,
    pub(super) p: f64,
    pub(super) sigma: f64,
    pub(super) noise: f64,
    pub(super) scale: f64,
}

/// A trained adapter and where it started.
struct Trained {
    subspace: Subspace,
    start: Array2<f64>,
    pair: Pair,
}

/// Inputs `[d_in, k]` in a random subspace with `X X^T / n = P`, targets of a random linear map with noise.
pub(super) fn problem(size: Size, random: &mut impl rand::Rng) -> Result<(Subspace, Problem)> {
    let subspace = Subspace::random(size.d_in, size.k, random)?;
    let x = subspace.basis() * (size.k as f64).sqrt();
    let map = normal((size.d_out, size.d_in), (size.d_in as f64).powf(-0.5), random);
    let y = map.dot(&x) + normal((size.d_out, size.k), size.noise, random);
    Ok((subspace, Problem { x, y }))
}

pub(super) fn start(size: Size, random: &mut impl rand::Rng) -> Pair {
    Pair { a: normal((size.rank, size.d_in), size.sigma, random), b: Array2::zeros((size.d_out, size.rank)) }
}

/// Trains with sampled dropout at `site`; another `stream` gives another everything.
fn train_sampled(
    size: Size,
    site: Site,
    optimiser: Optimiser,
    steps: i32,
    (seed, number): (u64, u64),
) -> Result<Trained> {
    let mut random = stream(seed, number);
    let (subspace, problem) = problem(size, &mut random)?;
    let mut pair = start(size, &mut random);
    let start = pair.a.clone();
    let mut trainer = Trainer::new(optimiser, &pair);
    let dropout = Dropout::new(size.p)?;
    for _ in 0..steps {
        let gradient = sampled_gradient(&problem, &pair, size.scale, (site, dropout), &mut random);
        trainer.step(&mut pair, &gradient);
    }
    Ok(Trained { subspace, start, pair })
}

/// Trains on the expected dropout loss of the rank site by gradient descent.
fn train_expected(size: Size, rate: f64, steps: usize, random: &mut impl rand::Rng) -> Result<Trained> {
    let (subspace, problem) = problem(size, random)?;
    let pair = start(size, random);
    let start = pair.a.clone();
    Ok(Trained { pair: descend(size, &problem, pair, rate, steps)?, subspace, start })
}

/// Gradient descent on the expected dropout loss of the rank site.
pub(super) fn descend(size: Size, problem: &Problem, mut pair: Pair, rate: f64, steps: usize) -> Result<Pair> {
    let dropout = Dropout::new(size.p)?;
    let mut trainer = Trainer::new(Optimiser::Sgd { rate, momentum: 0.0, decay: 0.0 }, &pair);
    for _ in 0..steps {
        let gradient = expected_gradient(problem, &pair, size.scale, dropout);
        trainer.step(&mut pair, &gradient);
    }
    Ok(pair)
}

fn norm(matrix: &Array2<f64>) -> f64 {
    matrix.iter().map(|entry| entry * entry).sum::<f64>().sqrt()
}

/// `|b_i|^2`.
pub(super) fn column_norms(b: &Array2<f64>) -> Vec<f64> {
    b.mapv(|b| b * b).sum_axis(Axis(0)).to_vec()
}

pub(super) fn sizes(grid: Grid) -> Vec<Size> {
    let base = Size { d_in: 24, d_out: 4, rank: 4, k: 8, p: 0.2, sigma: 0.3, noise: 0.1, scale: 1.0 };
    let mut sizes = vec![base, Size { rank: 8, k: 4, p: 0.5, sigma: 0.15, ..base }];
    if grid == Grid::Full {
        sizes.push(Size { d_in: 48, k: 24, p: 0.1, noise: 0.5, ..base });
        sizes.push(Size { d_in: 16, rank: 2, k: 12, scale: 2.0, ..base });
    }
    sizes
}

const STEPS: i32 = 200;

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
    let note = format!("{STEPS} steps; plain, momentum 0.9, decay {decay}");
    Ok(Evidence::identity(&errors, points, "largest error / rounding", note))
}

fn leak(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let adam = |decay| Optimiser::Adam { rate: 0.005, decay };
    let sgd = Optimiser::Sgd { rate: 0.05, momentum: 0.0, decay: 0.0 };
    let cases = [
        ("rank site, Adam", Site::Rank, adam(0.0)),
        ("rank site, AdamW", Site::Rank, adam(0.01)),
        ("input site, SGD", Site::Input, sgd),
        ("weight site, SGD", Site::Weight, sgd),
    ];
    let (mut errors, mut note) = (Vec::new(), Vec::new());
    for (name, site, optimiser) in cases {
        let mut leaks = Vec::new();
        for (number, size) in sizes(grid).into_iter().enumerate() {
            let Trained { subspace, start, pair } =
                train_sampled(size, site, optimiser, STEPS, (seed, 100 + number as u64))?;
            // Decay alone is no leak: what counts is the part not along A_0.
            let (before, after) = (start.dot(subspace.complement()), pair.a.dot(subspace.complement()));
            let along = (&before * &after).sum() / (&before * &before).sum();
            leaks.push(norm(&(after - &before * along)) / norm(&before));
        }
        let smallest = leaks.iter().copied().fold(f64::INFINITY, f64::min);
        let rounding = f64::EPSILON * 16.0 * f64::from(STEPS);
        let is_leak = smallest > 1e3 * rounding;
        errors.push(if is_leak == law.is_wrong(0) { 2.0 } else { 0.0 });
        let (mean, _) = mean_and_error(&leaks);
        note.push(format!("{name}: {mean:.3}"));
    }
    let points = sizes(grid).len() * cases.len();
    Ok(Evidence::identity(
        &errors,
        points,
        "verdict",
        format!("mean leak |A_t - A_0| / |A_0| outside: {}", note.join("; ")),
    ))
}

fn outside(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let replicas = grid.pick(48, 200);
    let mut comparisons = Comparisons::default();
    let mut points = 0;
    let rate = 0.05;
    for size in sizes(grid) {
        for decay in [0.0, 0.1] {
            points += 1;
            let ratios = (0..replicas)
                .into_par_iter()
                .map(|replica| {
                    let number = (points as u64) << 32 | replica;
                    let optimiser = Optimiser::Sgd { rate, momentum: 0.0, decay };
                    let trained = train_sampled(size, Site::Rank, optimiser, STEPS, (seed, number))?;
                    let norms = column_norms(&trained.pair.b);
                    let kappa = Dropout::new(size.p)?.variance();
                    let shrink = (1.0 - rate * decay).powi(STEPS);
                    // The mean over an orthonormal basis of the complement is that over u on its sphere.
                    let read = trained.pair.a.dot(trained.subspace.complement()).mapv(|c| c * c);
                    let codimension = (size.d_in - size.k) as f64;
                    let growth = size.scale.powi(2)
                        * kappa
                        * read.sum_axis(Axis(1)).iter().zip(&norms).map(|(read, norm)| read * norm).sum::<f64>()
                        / codimension;
                    let total: f64 = norms.iter().sum();
                    let total = if law.is_wrong(0) { total.sqrt() } else { total };
                    let kappa = if law.is_wrong(1) { size.p } else { kappa };
                    let shrink = if law.is_wrong(2) { shrink } else { shrink * shrink };
                    Ok(growth / (size.scale.powi(2) * kappa * size.sigma.powi(2) * total * shrink))
                })
                .collect::<Result<Vec<f64>>>()?;
            comparisons.add_mean(&ratios, law.factor(), true);
        }
    }
    Ok(comparisons.evidence(points, format!("{replicas} initialisations a point; decay 0 and 0.1")))
}

fn charge(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let order = match law {
        Law::Wrong(0) => 2.0,
        Law::Wrong(_) => 0.0,
        law => law.factor(),
    };
    let (mut errors, mut orders) = (Vec::new(), Vec::new());
    let all = sizes(grid);
    for (number, &size) in all.iter().enumerate() {
        // The same problem and time with ever smaller steps.
        let drift = |halvings: u32| -> Result<f64> {
            let (rate, steps) = (0.02 / f64::from(1 << halvings), 500_usize << halvings);
            let trained = train_expected(size, rate, steps, &mut stream(seed, number as u64))?;
            let charges = |a: &Array2<f64>, b: &Array2<f64>| {
                let inside = a.dot(trained.subspace.basis()).mapv(|c| c * c).sum_axis(Axis(1));
                inside - ndarray::Array1::from(column_norms(b))
            };
            let before = charges(&trained.start, &Array2::zeros(trained.pair.b.dim()));
            let after = charges(&trained.pair.a, &trained.pair.b);
            Ok((after - before).mapv(f64::abs).sum())
        };
        let slope = |halvings: u32| -> Result<f64> { Ok((drift(halvings)? / drift(halvings + 1)?).log2()) };
        // The order at step h is 1 + O(h); Richardson's combination removes that.
        let measured = 2.0 * slope(2)? - slope(1)?;
        errors.push((measured - order).abs() / 0.02);
        orders.push(measured);
    }
    let note = format!("orders {}", orders.iter().map(|order| format!("{order:.4}")).collect::<Vec<_>>().join(", "));
    Ok(Evidence::identity(&errors, all.len(), "largest error of the order / 0.02", note))
}

fn fixed_norm(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let replicas = grid.pick(40, 60);
    let base = Size { d_in: 40, d_out: 5, rank: 4, k: 8, p: 0.2, sigma: 0.2, noise: 0.1, scale: 1.0 };
    let mut sizes = vec![base, Size { rank: 8, k: 4, p: 0.4, ..base }, Size { sigma: 0.4, noise: 1.0, ..base }];
    if grid == Grid::Full {
        sizes.clear();
        for (d_in, rank, k) in [(24, 4, 8), (40, 4, 8), (40, 8, 4), (64, 2, 16), (64, 8, 16)] {
            for p in [0.05, 0.2, 0.35, 0.5] {
                for sigma in [0.1, 0.3, 0.6] {
                    for noise in [0.1, 1.0] {
                        sizes.push(Size { d_in, rank, k, p, sigma, noise, ..base });
                    }
                }
            }
        }
    }
    // Learning rates with steps to the time 20.
    let rates = grid.pick(vec![(0.02, 1000)], vec![(0.02, 1000), (0.01, 2000)]);
    let mut comparisons = Comparisons::default();
    let (mut simple, mut rhos, mut points) = (Vec::new(), Vec::new(), 0_usize);
    for &size in &sizes {
        for &(rate, steps) in &rates {
            points += 1;
            let found = (0..replicas)
                .into_par_iter()
                .map(|replica| {
                    let mut random = stream(seed, (points as u64) << 32 | replica);
                    let Trained { subspace, start, pair } = train_expected(size, rate, steps, &mut random)?;
                    let k = size.k as f64;
                    let b = column_norms(&pair.b);
                    let energy = |a: &Array2<f64>, basis: &Array2<f64>| {
                        a.dot(basis).mapv(|c| c * c).sum_axis(Axis(1)).iter().zip(&b).map(|(e, b)| e * b).sum::<f64>()
                    };
                    let measured = energy(&pair.a, subspace.complement())
                        / (size.d_in - size.k) as f64
                        / (energy(&pair.a, subspace.basis()) / k);
                    let total: f64 = b.iter().sum();
                    let fourth: f64 = b.iter().map(|b| b * b).sum();
                    let inside = energy(&start, subspace.basis()) / k;
                    let sigma = size.sigma.powi(2);
                    let predicted = match law {
                        Law::Wrong(0) => 1.0,
                        Law::Wrong(_) => sigma * total / (inside + fourth),
                        _ => sigma * total / (inside + fourth / k),
                    };
                    let independent = 1.0 / (1.0 + fourth / (k * sigma * total));
                    Ok((measured / predicted, measured / independent, measured))
                })
                .collect::<Result<Vec<_>>>()?;
            comparisons.add_mean(&found.iter().map(|found| found.0).collect::<Vec<_>>(), law.factor(), true);
            simple.push(mean_and_error(&found.iter().map(|found| found.1).collect::<Vec<_>>()).0);
            rhos.push((mean_and_error(&found.iter().map(|found| found.2).collect::<Vec<_>>()).0, size.k));
        }
    }
    let (mean, _) = mean_and_error(&simple);
    let (highest, k) = rhos.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::NAN, 0));
    let above = rhos.iter().filter(|(rho, _)| *rho > 1.0).count();
    let note = format!(
        "{replicas} initialisations a point; mean rho is above 1 on {above} points, at most {highest:.3} (k = {k}); over the form that \
         takes B as independent of A_0 P, which says at most 1, it is {mean:.3} on average"
    );
    Ok(comparisons.evidence(points, note))
}

fn ensemble(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let members = grid.pick(64, 400);
    let steps = grid.pick(1000, 4000);
    let mut comparisons = Comparisons::default();
    let mut note = Vec::new();
    let all = sizes(grid);
    for (number, &size) in all.iter().enumerate() {
        let (subspace, problem) = problem(size, &mut stream(seed, number as u64))?;
        let pairs = (0..members)
            .into_par_iter()
            .map(|member| {
                let mut random = stream(seed, (number as u64 + 1) << 32 | member);
                descend(size, &problem, start(size, &mut random), 0.05, steps)
            })
            .collect::<Result<Vec<Pair>>>()?;
        let (kappa, square) = (Dropout::new(size.p)?.variance(), size.scale.powi(2));
        let claimed = if law.is_wrong(0) { 1.0 } else { kappa };
        let (mut ensemble, mut dropout) = (Vec::new(), Vec::new());
        let (mut dropout_outside, mut dropout_inside) = (0.0, 0.0);
        for Pair { a, b } in &pairs {
            let norms = column_norms(b);
            let energy = |basis: &Array2<f64>| {
                let read = a.dot(basis).mapv(|c| c * c).sum_axis(Axis(1));
                square * read.iter().zip(&norms).map(|(read, norm)| read * norm).sum::<f64>() / basis.ncols() as f64
            };
            let outside = b.dot(&a.dot(subspace.complement()));
            let law = square * size.sigma.powi(2) * norms.iter().sum::<f64>();
            ensemble.push(square * norm(&outside).powi(2) / subspace.complement().ncols() as f64 / law);
            dropout.push(kappa * energy(subspace.complement()) / (claimed * law));
            dropout_outside += kappa * energy(subspace.complement()) / members as f64;
            dropout_inside += kappa * energy(subspace.basis()) / members as f64;
        }
        // Both read the same members, so one of them alone counts towards the slope.
        comparisons.add_mean(&ensemble, law.factor(), false);
        comparisons.add_mean(&dropout, law.factor(), true);
        // Variance of dW over members, per unit of energy, in a subspace.
        let spread = |basis: &Array2<f64>| {
            let updates: Vec<Array2<f64>> =
                pairs.iter().map(|pair| pair.b.dot(&pair.a.dot(basis)) * size.scale).collect();
            let mean = updates.iter().fold(Array2::<f64>::zeros(updates[0].dim()), |sum, update| sum + update)
                / members as f64;
            let squares: f64 = updates.iter().map(|update| norm(&(update - &mean)).powi(2)).sum();
            squares / (members as f64 - 1.0) / basis.ncols() as f64
        };
        note.push(format!(
            "outside over inside {:.3} for the ensemble, {:.3} for MC-dropout (p = {}, r = {}, k = {})",
            spread(subspace.complement()) / spread(subspace.basis()),
            dropout_outside / dropout_inside,
            size.p,
            size.rank,
            size.k
        ));
    }
    Ok(comparisons.evidence(all.len(), format!("{members} members a point; {}", note.join("; "))))
}
