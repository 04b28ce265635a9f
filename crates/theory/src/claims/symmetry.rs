//! N2, S4: any loss, and `AdamW`.

use ndarray::{Array1, Array2, Axis};
use rayon::prelude::*;

use super::depth::masks;
use super::invariance::sign_share;
use super::training::{Size, column_norms, energy, norm, problem, start};
use super::{Claim, Grid, Law};
use crate::dynamics::{ADAM_EPSILON, Optimiser, Pair, Trainer};
use crate::error::Result;
use crate::evidence::{Comparisons, Evidence};
use crate::layer::Dropout;
use crate::random::{normal, stream};
use crate::subspace::Subspace;

pub(super) const ANY_LOSS: Claim = Claim {
    id: "N2",
    statement: "Gradient flow of any loss of the products b_i a_i' conserves |a_i P|^2 - |b_i|^2, cross-entropy under dropout at the rank site \
                among them. So V inside is that of F1: sum b^2 (|a_0 P|^2 + b^2) / k.",
    assumptions: "rank site; any masks with their probabilities; B_0 = 0; isotropic inputs, for V",
    bearing: "F1 does not need squared loss: what it says of rho holds for classifiers trained by gradient descent",
    wrong: &[
        "A inside stays as it was",
        "|a_i P|^2 + |b_i|^2 is conserved",
        "all of P A' A P - B'B is conserved, as without dropout",
    ],
    quantitative: true,
    examine: any_loss,
};

pub(super) const ADAMW: Claim = Claim {
    id: "S4",
    statement: "Under AdamW and a constant gradient, A_t = c^t A_0 - (1 - c^t) / lambda sign(G), c = 1 - lr lambda. V per energy outside is \
                s^2 kappa |B|_F^2 (sigma_A^2 c^2t + ((1 - c^t) / lambda)^2 f d / (d - k)) in the mean, f the share of S2.",
    assumptions: "B held fixed; gradient rows normal and isotropic in S_X; A_0 normal",
    bearing: "AdamW does not empty the outside by decay: it replaces A_0 there by signs of size 1 / lambda at most",
    wrong: &["decay alone (L1): sigma_A^2 c^2t", "signs point anywhere: f = 1 - k / d", "steps do not decay: (lr t)^2"],
    quantitative: true,
    examine: adamw,
};

const BASE: Size = Size { d_in: 10, d_out: 3, rank: 2, k: 4, p: 0.3, sigma: 0.4, noise: 0.0, scale: 1.0 };

/// Gradient of the cross-entropy, expected over all masks of the rank site; `labels` are classes of the columns of `x`.
fn gradient(x: &Array2<f64>, labels: &[usize], pair: &Pair, scale: f64, dropout: Dropout) -> Pair {
    let n = x.ncols() as f64;
    let u = pair.a.dot(x);
    let mut sum = Pair { a: Array2::zeros(pair.a.dim()), b: Array2::zeros(pair.b.dim()) };
    for (z, share) in masks(pair.a.nrows(), dropout) {
        let z = z.insert_axis(Axis(1));
        let masked = &u * &z;
        // Softmax less the label, column by column.
        let mut error = (pair.b.dot(&masked) * scale).mapv(f64::exp);
        for (mut column, &label) in error.columns_mut().into_iter().zip(labels) {
            let total = column.sum();
            column.mapv_inplace(|p| p / total);
            column[label] -= 1.0;
        }
        error *= share * scale / n;
        sum.b += &error.dot(&masked.t());
        sum.a += &(pair.b.t().dot(&error) * &z).dot(&x.t());
    }
    sum
}

/// Gradient flow by Runge and Kutta's fourth-order method.
fn flow(mut pair: Pair, step: f64, steps: usize, slope: impl Fn(&Pair) -> Pair) -> Pair {
    let moved =
        |pair: &Pair, by: f64, along: &Pair| Pair { a: &pair.a - &(&along.a * by), b: &pair.b - &(&along.b * by) };
    for _ in 0..steps {
        let first = slope(&pair);
        let second = slope(&moved(&pair, step / 2.0, &first));
        let third = slope(&moved(&pair, step / 2.0, &second));
        let fourth = slope(&moved(&pair, step, &third));
        for (along, by) in [(first, 1.0), (second, 2.0), (third, 2.0), (fourth, 1.0)] {
            pair = moved(&pair, step * by / 6.0, &along);
        }
    }
    pair
}

fn any_loss(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let sizes =
        grid.pick(vec![BASE], vec![BASE, Size { rank: 4, k: 6, p: 0.5, ..BASE }, Size { p: 0.1, scale: 2.0, ..BASE }]);
    let replicas = grid.pick(2, 8);
    // What the method of integration leaves.
    let bound = 1e-5;
    let mut errors = Vec::new();
    for (number, &size) in sizes.iter().enumerate() {
        let found = (0..replicas)
            .into_par_iter()
            .map(|replica| {
                let mut random = stream(seed, (number as u64) << 32 | replica);
                let (subspace, problem) = problem(size, &mut random)?;
                let labels: Vec<usize> = (0..size.k).map(|column| column % size.d_out).collect();
                let first = start(size, &mut random);
                let dropout = Dropout::new(size.p)?;
                let slope = |pair: &Pair| gradient(&problem.x, &labels, pair, size.scale, dropout);
                let pair = flow(first.clone(), 0.05, 80, slope);
                let gram = |a: &Array2<f64>| {
                    let read = a.dot(subspace.basis());
                    read.dot(&read.t())
                };
                let (grown, columns) = (gram(&pair.a) - gram(&first.a), pair.b.t().dot(&pair.b));
                let size_of = norm(&columns);
                let factor = match law {
                    Law::Wrong(0) => 0.0,
                    Law::Wrong(1) => -1.0,
                    law => law.factor(),
                };
                let drift = grown - &columns * factor;
                let drift = if law.is_wrong(2) { norm(&drift) } else { norm(&Array2::from_diag(&drift.diag())) };
                let b = column_norms(&pair.b);
                let fourth = Array1::from(b).mapv(|b| b * b).sum() * factor / size.k as f64;
                let inside = energy(&first.a, &pair.b, subspace.basis()) + fourth;
                let measured = energy(&pair.a, &pair.b, subspace.basis());
                Ok([drift / (bound * size_of), (measured / inside - 1.0).abs() / bound])
            })
            .collect::<Result<Vec<[f64; 2]>>>()?;
        errors.extend(found.into_iter().flatten());
    }
    let note = "flow to the time 4 by the fourth-order method of Runge and Kutta".to_owned();
    Ok(Evidence::identity(&errors, errors.len() / 2, "largest relative error / 10^-5", note))
}

fn adamw(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let replicas = grid.pick(500, 3000);
    // (d, k, sigma_A, lr, lambda, steps)
    let points = grid.pick(
        vec![(12, 4, 0.1_f64, 0.01_f64, 0.5_f64, 40)],
        vec![(12, 4, 0.1, 0.01, 0.5, 40), (24, 8, 0.3, 0.02, 1.0, 100), (16, 12, 0.2, 0.01, 0.1, 20)],
    );
    let mut comparisons = Comparisons::default();
    for (number, &(d, k, sigma, rate, decay, steps)) in points.iter().enumerate() {
        let subspace = Subspace::random(d, k, &mut stream(seed, (number as u64) << 32))?;
        let share = sign_share(&subspace.basis().dot(&subspace.basis().t()));
        let kept = (1.0 - rate * decay).powi(steps);
        let signs = (1.0 - kept) / decay;
        let (size, dimension) = (d as f64, k as f64);
        let outside = |share: f64| share * size / (size - dimension);
        let predicted = match law {
            Law::Wrong(0) => (sigma * kept).powi(2),
            Law::Wrong(1) => (sigma * kept).powi(2) + signs * signs * outside(1.0 - dimension / size),
            Law::Wrong(_) => (sigma * kept).powi(2) + (rate * f64::from(steps)).powi(2) * outside(share),
            _ => ((sigma * kept).powi(2) + signs * signs * outside(share)) * law.factor(),
        };
        let found: Vec<(f64, f64)> = (1..=replicas)
            .into_par_iter()
            .map(|replica| {
                let mut random = stream(seed, (number as u64) << 32 | replica);
                let first = Pair { a: normal((3, d), sigma, &mut random), b: normal((2, 3), 1.0, &mut random) };
                let constant = Pair {
                    a: normal((3, k), 1.0, &mut random).dot(&subspace.basis().t()),
                    b: Array2::zeros(first.b.dim()),
                };
                let mut pair = first.clone();
                let mut trainer = Trainer::new(Optimiser::Adam { rate, decay }, &pair);
                for _ in 0..steps {
                    trainer.step(&mut pair, &constant);
                    pair.b.assign(&first.b);
                }
                // Signs, but for Adam's epsilon: with it the path is exact.
                let stated = &first.a * kept - &(constant.a.mapv(|g| g / (g.abs() + ADAM_EPSILON)) * signs);
                let total: f64 = column_norms(&first.b).iter().sum();
                let error = norm(&(&pair.a - &stated)) / norm(&stated);
                (energy(&pair.a, &first.b, subspace.complement()) / (predicted * total), error)
            })
            .collect();
        comparisons.add_mean(&found.iter().map(|found| found.0).collect::<Vec<_>>(), 1.0, true);
        let largest = found.iter().map(|found| found.1).fold(0.0, f64::max);
        comparisons.add(if largest < 1e-9 { 1.0 } else { 2.0 }, 1.0, 0.0);
    }
    Ok(comparisons.evidence(points.len(), format!("{replicas} gradients a point, steps of Adam itself")))
}
