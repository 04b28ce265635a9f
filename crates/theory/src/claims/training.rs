//! The training problems that the checks share.

use ndarray::{Array2, Axis};

use super::Grid;
use crate::descent::descend_on;
use crate::dynamics::{Optimiser, Pair, Problem, Trainer, sampled_gradient};
use crate::error::Result;
use crate::layer::{Dropout, Site};
use crate::random::{normal, stream};
use crate::subspace::Subspace;

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
pub(super) struct Trained {
    pub(super) subspace: Subspace,
    pub(super) start: Array2<f64>,
    pub(super) pair: Pair,
}

/// Inputs `[d_in, k]` in a random subspace with `X X^T / n = P`, targets of a random linear map with noise.
pub(super) fn problem(size: Size, random: &mut impl rand::Rng) -> Result<(Subspace, Problem)> {
    let subspace = Subspace::random(size.d_in, size.k, random)?;
    let x = subspace.basis() * (size.k as f64).sqrt();
    let map = normal((size.d_out, size.d_in), (size.d_in as f64).powf(-0.5), random);
    let y = map.dot(&x) + normal((size.d_out, size.k), size.noise, random);
    Ok((subspace, Problem { x, y }))
}

/// Normal `A_0` with entry deviation `sigma`, `B_0 = 0`.
pub(super) fn start(size: Size, random: &mut impl rand::Rng) -> Pair {
    Pair { a: normal((size.rank, size.d_in), size.sigma, random), b: Array2::zeros((size.d_out, size.rank)) }
}

/// Trains with sampled dropout at `site`; another `stream` gives another everything.
pub(super) fn train_sampled(
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
pub(super) fn train_expected(size: Size, rate: f64, steps: usize, random: &mut impl rand::Rng) -> Result<Trained> {
    let (subspace, problem) = problem(size, random)?;
    let pair = start(size, random);
    let start = pair.a.clone();
    Ok(Trained { pair: descend(size, &problem, pair, rate, steps)?, subspace, start })
}

/// Gradient descent on the expected dropout loss of the rank site.
pub(super) fn descend(size: Size, problem: &Problem, pair: Pair, rate: f64, steps: usize) -> Result<Pair> {
    let optimiser = Optimiser::Sgd { rate, momentum: 0.0, decay: 0.0 };
    descend_by(optimiser, size, problem, pair, steps)
}

/// [`descend`] by any optimiser.
pub(super) fn descend_by(
    optimiser: Optimiser,
    size: Size,
    problem: &Problem,
    pair: Pair,
    steps: usize,
) -> Result<Pair> {
    Ok(descend_on(problem, pair, size.scale, (Site::Rank, Dropout::new(size.p)?), (optimiser, steps)))
}

/// Frobenius norm.
pub(super) fn norm(matrix: &Array2<f64>) -> f64 {
    matrix.iter().map(|entry| entry * entry).sum::<f64>().sqrt()
}

/// `|b_i|^2`.
pub(super) fn column_norms(b: &Array2<f64>) -> Vec<f64> {
    b.mapv(|b| b * b).sum_axis(Axis(0)).to_vec()
}

/// The sizes most checks run on.
pub(super) fn sizes(grid: Grid) -> Vec<Size> {
    let base = Size { d_in: 24, d_out: 4, rank: 4, k: 8, p: 0.2, sigma: 0.3, noise: 0.1, scale: 1.0 };
    let mut sizes = vec![base, Size { rank: 8, k: 4, p: 0.5, sigma: 0.15, ..base }];
    if grid == Grid::Full {
        sizes.push(Size { d_in: 48, k: 24, p: 0.1, noise: 0.5, ..base });
        sizes.push(Size { d_in: 16, rank: 2, k: 12, scale: 2.0, ..base });
    }
    sizes
}

/// `sum_i |b_i|^2 |a_i basis|^2 / columns`: V per unit of energy within the span of an orthonormal basis, but for `s^2 kappa`.
pub(super) fn energy(a: &Array2<f64>, b: &Array2<f64>, basis: &Array2<f64>) -> f64 {
    let read = a.dot(basis).mapv(|c| c * c).sum_axis(Axis(1));
    read.iter().zip(column_norms(b)).map(|(read, norm)| read * norm).sum::<f64>() / basis.ncols() as f64
}

/// Steps of the checks that sample masks.
pub(super) const STEPS: i32 = 200;
