//! I1: the variance inside the fine-tuning subspace at the optimum.

use ndarray_linalg::SVD as _;
use rayon::prelude::*;

use super::training::{Size, column_norms, descend_by, problem, sizes, start};
use super::{Claim, Grid, Law};
use crate::dynamics::Optimiser;
use crate::error::Result;
use crate::evidence::Evidence;
use crate::layer::Dropout;
use crate::random::stream;

pub(super) const INSIDE: Claim = Claim {
    id: "I1",
    statement: "At the optimum of the dropout loss the mean variance inside is s^2 kappa |M|_*^2 / r, M = B A X / sqrt n.",
    assumptions: "rank site; squared loss; expected dropout loss; r at least the rank of M; trained to the optimum",
    bearing: "Inside S_X dropout training fixes V by the fitted map alone",
    wrong: &["the Frobenius norm instead of the nuclear norm", "without the division by r"],
    quantitative: true,
    examine: inside,
};

/// What is left to converge after training, relative.
const UNCONVERGED: f64 = 0.005;

fn inside(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let all: Vec<Size> = sizes(grid);
    let replicas = grid.pick(2, 8);
    let steps = grid.pick(2_500, 10_000);
    let errors = (0..all.len() * replicas)
        .into_par_iter()
        .map(|number| {
            let size = all[number % all.len()];
            let mut random = stream(seed, number as u64);
            let (_, problem) = problem(size, &mut random)?;
            let optimiser = Optimiser::Sgd { rate: 0.05, momentum: 0.9, decay: 0.0 };
            let pair = descend_by(optimiser, size, &problem, start(size, &mut random), steps)?;
            let n = problem.x.ncols() as f64;
            let u = pair.a.dot(&problem.x);
            let factor = size.scale.powi(2) * Dropout::new(size.p)?.variance();
            let energies = u.rows().into_iter().map(|row| row.dot(&row) / n);
            let measured = factor * column_norms(&pair.b).iter().zip(energies).map(|(b, e)| b * e).sum::<f64>();
            let (_, values, _) = (pair.b.dot(&u) / n.sqrt()).svd(false, false)?;
            let norm = if law.is_wrong(0) { values.dot(&values) } else { values.sum().powi(2) };
            let rank = if law.is_wrong(1) { 1.0 } else { size.rank as f64 };
            let predicted = factor * norm / rank * law.factor();
            Ok((measured / predicted - 1.0).abs() / UNCONVERGED)
        })
        .collect::<Result<Vec<f64>>>()?;
    let note = format!("{steps} steps with momentum 0.9; the bound {UNCONVERGED} allows for what is left to converge");
    Ok(Evidence::identity(&errors, errors.len(), "largest relative error / 0.005", note))
}
