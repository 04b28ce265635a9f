//! D3: V behind a `LayerNorm`.

use ndarray::{Array1, Array2, Axis, concatenate};
use rayon::prelude::*;

use super::training::{Size, column_norms, descend, energy, start};
use super::{Claim, Grid, Law};
use crate::dynamics::{Pair, Problem};
use crate::error::Result;
use crate::evidence::{Comparisons, Evidence, mean_and_error};
use crate::layer::{Dropout, Layer, Site};
use crate::random::{normal, stream};
use crate::subspace::Subspace;

pub(super) const NORMALISED: Claim = Claim {
    id: "D3",
    statement: "Behind a LayerNorm the mean of V(x_S + delta u) over directions and initialisations is d v_in (1 + (rho - 1) sin^2 theta), \
                tan theta = delta / |x_S|, rho as in F1.",
    assumptions: "F1; S_X and u orthogonal to the ones; no gain",
    bearing: "In the mean no distance raises V beyond rho v_in; a single direction or adapter may (L2). Mean V falls with the distance wherever rho is below 1",
    wrong: &["V grows as without the LayerNorm", "sin theta instead of its square"],
    quantitative: true,
    examine: normalised,
};

/// Zero mean, unit variance.
pub(super) fn layer_norm(x: &Array1<f64>) -> Array1<f64> {
    let d = x.len() as f64;
    let centred = x - x.sum() / d;
    let deviation = (centred.dot(&centred) / d).sqrt();
    centred / deviation
}

/// An adapter trained behind a `LayerNorm`: its matrices before and after, with bases of `S_X` and of what else a `LayerNorm` puts out.
pub(super) struct Behind {
    pub(super) start: Pair,
    pub(super) pair: Pair,
    pub(super) inside: Array2<f64>,
    pub(super) outside: Array2<f64>,
}

/// Trains one.
pub(super) fn behind(size: Size, (rate, steps): (f64, usize), random: &mut impl rand::Rng) -> Result<Behind> {
    let raw = normal((size.d_in, size.k), 1.0, random);
    let centred = &raw - &(raw.sum_axis(Axis(0)) / size.d_in as f64);
    let inside = Subspace::span(&centred)?.basis().clone();
    let ones = Array2::ones((size.d_in, 1));
    let outside = Subspace::span(&concatenate![Axis(1), inside, ones])?.complement().clone();
    // Outputs of a LayerNorm: of norm sqrt d, orthogonal, so isotropic in S_X.
    let x = &inside * (size.d_in as f64).sqrt();
    let map = normal((size.d_out, size.d_in), (size.d_in as f64).powf(-0.5), random);
    let problem = Problem { y: map.dot(&x), x };
    let start = start(size, random);
    let pair = descend(size, &problem, start.clone(), rate, steps)?;
    Ok(Behind { start, pair, inside, outside })
}

/// F1's ratio.
pub(super) fn rho(size: Size, behind: &Behind) -> f64 {
    let norms = column_norms(&behind.pair.b);
    let fourth: f64 = norms.iter().map(|b| b * b).sum();
    let inside = energy(&behind.start.a, &behind.pair.b, &behind.inside) + fourth / size.k as f64;
    size.sigma.powi(2) * norms.iter().sum::<f64>() / inside
}

/// Mean of V over `layer_norm(x_S + delta u)`, `x_S` of norm `sqrt d` and `u` along the bases, with both signs of `u`.
pub(super) fn mean_variance(layer: &Layer, behind: &Behind, delta: f64) -> f64 {
    let root = (behind.inside.nrows() as f64).sqrt();
    let mut all = Vec::new();
    for x in behind.inside.columns() {
        for u in behind.outside.columns() {
            for sign in [-1.0, 1.0] {
                all.push(layer.variance(layer_norm(&(&x * root + &u * (sign * delta))).view()));
            }
        }
    }
    mean_and_error(&all).0
}

fn normalised(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let base = Size { d_in: 20, d_out: 4, rank: 4, k: 5, p: 0.2, sigma: 0.2, noise: 0.0, scale: 1.0 };
    let sizes = grid.pick(vec![base], vec![base, Size { k: 10, p: 0.4, ..base }, Size { sigma: 0.5, rank: 2, ..base }]);
    let replicas = grid.pick(64, 200);
    let mut comparisons = Comparisons::default();
    let (mut points, mut far) = (0_usize, Vec::new());
    for (number, &size) in sizes.iter().enumerate() {
        let root = (size.d_in as f64).sqrt();
        let found = (0..replicas)
            .into_par_iter()
            .map(|replica| {
                let mut random = stream(seed, (number as u64) << 32 | replica);
                let rate = 0.02 * size.k as f64 / size.d_in as f64;
                let behind = behind(size, (rate, grid.pick(150, 1000)), &mut random)?;
                let Pair { a, b } = &behind.pair;
                let dropout = Dropout::new(size.p)?;
                let layer = Layer::new(a.clone(), b.clone(), size.scale, Site::Rank, dropout)?;
                let norms = column_norms(b);
                let fourth: f64 = norms.iter().map(|b| b * b).sum();
                let inside = energy(&behind.start.a, b, &behind.inside) + fourth / size.k as f64;
                let rho = size.sigma.powi(2) * norms.iter().sum::<f64>() / inside;
                let at = |delta: f64| -> (f64, f64) {
                    let theta = (delta / root).atan();
                    let share = match law {
                        Law::Wrong(0) => (delta / root).powi(2),
                        Law::Wrong(_) => theta.sin(),
                        _ => theta.sin().powi(2),
                    };
                    let unit = size.scale.powi(2) * dropout.variance() * inside * size.d_in as f64;
                    let predicted = if law.is_wrong(0) { 1.0 + rho * share } else { 1.0 + (rho - 1.0) * share };
                    (mean_variance(&layer, &behind, delta), unit * predicted)
                };
                Ok([root, 100.0 * root].map(at))
            })
            .collect::<Result<Vec<[(f64, f64); 2]>>>()?;
        for place in 0..2 {
            points += 1;
            let ratios: Vec<f64> = found.iter().map(|found| found[place].0 / found[place].1).collect();
            // Both places read the same adapters.
            comparisons.add_mean(&ratios, law.factor(), place == 1);
        }
        let mean = |place: usize| mean_and_error(&found.iter().map(|found| found[place].0).collect::<Vec<_>>()).0;
        far.push(format!("{:.2}", mean(1) / mean(0)));
    }
    let note = format!(
        "{replicas} initialisations a point. V at distance 100 |x_S| over V at distance |x_S|: {}. Without the LayerNorm the ratio is 10000 and more",
        far.join(", ")
    );
    Ok(comparisons.evidence(points, note))
}
