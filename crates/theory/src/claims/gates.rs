//! B4: dropout beside Laplace, both over one gate on each rank component.

use ndarray::{Array1, Array2, ArrayView1, Axis, s};
use ndarray_linalg::Inverse as _;

use super::training::{Size, descend, problem, start};
use super::{Claim, Grid, Law};
use crate::error::Result;
use crate::evidence::{Evidence, Values};
use crate::layer::Dropout;
use crate::random::{normal, stream};
use crate::subspace::Subspace;

pub(super) const GATES: Claim = Claim {
    id: "B4",
    statement: "With J the derivative by a gate on each rank component, dropout's covariance is kappa J J', and Laplace's J (I / sigma_z^2 + n M / \
                sigma_y^2)^-1 J', M = s^2 (B'B o A P A'). In the mean V inside is kappa tr M, or tr (I / sigma_z^2 + n M / sigma_y^2)^-1 M.",
    assumptions: "squared loss with noise variance sigma_y^2; inputs isotropic in S_X with X X' / n = P; A and B fixed; o is the entrywise product; \
                  outside M has I - P for P where it is last",
    bearing: "Laplace's V inside tends to r sigma_y^2 / n, whatever was learnt. Dropout's stays what was learnt, however much data there is. So dropout is \
              no Laplace posterior: it has the derivatives, and nothing of the curvature",
    wrong: &[
        "Laplace's as dropout's: sigma_z^2 tr M on both sides",
        "gates apart: M without what is off its diagonal",
        "the product of B'B and A P A' in place of the entrywise one",
    ],
    quantitative: true,
    examine: gates,
};

/// Increment `s B (z * (A x))`.
fn increment(b: &Array2<f64>, a: &Array2<f64>, scale: f64, z: &Array1<f64>, x: ArrayView1<'_, f64>) -> Array1<f64> {
    b.dot(&(a.dot(&x) * z)) * scale
}

/// Derivatives of the increment by the gates, `[d_out, r]`, by differences: it is linear in them, so they are exact.
fn derivatives(b: &Array2<f64>, a: &Array2<f64>, scale: f64, x: ArrayView1<'_, f64>) -> Array2<f64> {
    let rank = a.nrows();
    let mut found = Array2::zeros((b.nrows(), rank));
    for gate in 0..rank {
        let at = |step: f64| {
            let z = Array1::from_shape_fn(rank, |own| if own == gate { 1.0 + step } else { 1.0 });
            increment(b, a, scale, &z, x)
        };
        found.column_mut(gate).assign(&((at(0.5) - at(-0.5)) / 1.0));
    }
    found
}

/// Variance of the increment under dropout, summed over outputs: every mask with its probability.
fn over_masks(b: &Array2<f64>, a: &Array2<f64>, scale: f64, dropout: Dropout, x: ArrayView1<'_, f64>) -> f64 {
    let rank = a.nrows();
    let (mut mean, mut squares) = (Array1::<f64>::zeros(b.nrows()), 0.0);
    for mask in 0..1_u32 << rank {
        let is_kept = |gate: usize| mask >> gate & 1 == 1;
        let probability: f64 =
            (0..rank).map(|gate| if is_kept(gate) { dropout.keep() } else { 1.0 - dropout.keep() }).product();
        let z = Array1::from_shape_fn(rank, |gate| if is_kept(gate) { 1.0 / dropout.keep() } else { 0.0 });
        let own = increment(b, a, scale, &z, x);
        squares += probability * own.dot(&own);
        mean += &(own * probability);
    }
    squares - mean.dot(&mean)
}

/// `N` inputs of `S_X` with `X X' = N P`, one a column: a rotation of the basis beside others of it, so that none is special.
fn inputs(subspace: &Subspace, copies: usize, random: &mut impl rand::Rng) -> Result<Array2<f64>> {
    let (basis, k) = (subspace.basis(), subspace.dimension());
    let mut all = Array2::zeros((basis.nrows(), copies * k));
    for copy in 0..copies {
        let turned = basis.dot(Subspace::random(k, k, random)?.basis()) * (k as f64).sqrt();
        all.slice_mut(s![.., copy * k..(copy + 1) * k]).assign(&turned);
    }
    Ok(all)
}

fn gates(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let sizes = [
        Size { d_in: 12, d_out: 4, rank: 3, k: 4, p: 0.2, sigma: 0.3, noise: 0.3, scale: 1.5 },
        Size { d_in: 20, d_out: 5, rank: 4, k: 6, p: 0.1, sigma: 0.2, noise: 0.3, scale: 2.0 },
    ];
    let copies = grid.pick(vec![2, 50], vec![2, 50, 1000]);
    let (prior, noise) = (0.5, 0.3_f64);
    let (mut errors, mut rows) = (Vec::new(), Vec::new());
    for (number, size) in sizes.into_iter().enumerate() {
        let mut random = stream(seed, number as u64);
        let (subspace, data) = problem(size, &mut random)?;
        let first = start(size, &mut random);
        let pair = descend(size, &data, first, 0.02, 500)?;
        // With some noise, so that nothing of what training balances is taken for a law.
        let (a, b) = (pair.a, &pair.b + &normal((size.d_out, size.rank), 0.2, &mut random));
        let dropout = Dropout::new(size.p)?;
        let projector = subspace.basis().dot(&subspace.basis().t());
        let rest = Array2::<f64>::eye(size.d_in) - &projector;
        let form = |inner: &Array2<f64>| {
            let (gram, inner) = (b.t().dot(&b), a.dot(inner).dot(&a.t()));
            let product = if law.is_wrong(2) { gram.dot(&inner) } else { &gram * &inner };
            let product = if law.is_wrong(1) { Array2::from_diag(&product.diag()) } else { product };
            product * size.scale.powi(2)
        };
        let forms = [form(&projector), form(&rest)];
        for &copies in &copies {
            let x = inputs(&subspace, copies, &mut random)?;
            let n = x.ncols() as f64;
            // Without any structure: outer products of derivatives of every input.
            let mut precision = Array2::<f64>::eye(size.rank) / prior;
            for x in x.axis_iter(Axis(1)) {
                let j = derivatives(&b, &a, size.scale, x);
                precision += &(j.t().dot(&j) / noise.powi(2));
            }
            let covariance = precision.inv()?;
            let laplace = |x: ArrayView1<'_, f64>| {
                let j = derivatives(&b, &a, size.scale, x);
                j.dot(&covariance).dot(&j.t()).diag().sum()
            };
            // Inputs of one unit of energy in each direction, inside and outside: sums are traces.
            let over = |basis: &Array2<f64>, of: &dyn Fn(ArrayView1<'_, f64>) -> f64| -> f64 {
                basis.axis_iter(Axis(1)).map(of).sum()
            };
            let kappa = dropout.variance();
            let assumed = (Array2::<f64>::eye(size.rank) / prior + &forms[0] * (n / noise.powi(2))).inv()?;
            let mut measured = [[0.0; 2]; 2];
            for (side, basis) in [subspace.basis(), subspace.complement()].into_iter().enumerate() {
                measured[side] = [over(basis, &|x| over_masks(&b, &a, size.scale, dropout, x)), over(basis, &laplace)];
                let of_laplace = if law.is_wrong(0) {
                    prior * forms[side].diag().sum()
                } else {
                    assumed.dot(&forms[side]).diag().sum()
                };
                for (measured, predicted) in
                    measured[side].into_iter().zip([kappa * forms[side].diag().sum(), of_laplace])
                {
                    errors.push((measured / (predicted * law.factor()) - 1.0).abs() / 1e-9);
                }
            }
            let [inside, outside] = measured;
            let (k, others) = (size.k as f64, (size.d_in - size.k) as f64);
            rows.push(vec![
                size.rank.to_string(),
                x.ncols().to_string(),
                format!("{:.3}", inside[0]),
                format!("{:.3}", outside[0] / others / (inside[0] / k)),
                format!("{:.5}", inside[1]),
                format!("{:.3}", inside[1] * n / (size.rank as f64 * noise.powi(2))),
                format!("{:.3}", outside[1] / others / (inside[1] / k)),
            ]);
        }
    }
    let note = "every mask counted, and outer products of every input's derivatives".to_owned();
    let values = Some(Values {
        title: "dropout and Laplace over the gates of one adapter",
        columns: &[
            "r",
            "n",
            "dropout: V inside",
            "dropout: rho",
            "Laplace: V inside",
            "in units of r sigma_y^2 / n",
            "Laplace: rho",
        ],
        rows,
    });
    Ok(Evidence { values, ..Evidence::identity(&errors, errors.len(), "largest relative error / 10^-9", note) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_isotropic_in_their_subspace() {
        let mut random = stream(1, 0);
        let subspace = Subspace::random(7, 3, &mut random).unwrap();
        let x = inputs(&subspace, 5, &mut random).unwrap();
        let second = x.dot(&x.t()) / 15.0;
        let projector = subspace.basis().dot(&subspace.basis().t());
        assert!((second - projector).iter().all(|entry| entry.abs() < 1e-12));
        assert!((&x.slice(s![.., ..3]) - &x.slice(s![.., 3..6])).iter().any(|entry| entry.abs() > 0.1));
    }
}
