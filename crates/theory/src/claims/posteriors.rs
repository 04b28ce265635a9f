//! B1, B2, B3: Gaussian posteriors over A (`BLoB`, `TFB`, Laplace) beside dropout.

use ndarray::{Array1, Array2, Axis};
use ndarray_linalg::{Inverse as _, SVD as _};
use rayon::prelude::*;
use statrs::function::gamma::ln_gamma;

use super::moments::of_mean;
use super::training::{Size, column_norms, descend, energy, problem, start};
use super::{Claim, Grid, Law};
use crate::error::Result;
use crate::evidence::{Comparisons, Evidence, Values};
use crate::random::{normal, stream};
use crate::subspace::Subspace;

pub(super) const ISOTROPIC: Claim = Claim {
    id: "B1",
    statement: "With noise of one deviation omega on the entries of A, V(x) = s^2 omega^2 |B|_F^2 |x|^2; with TFB's, omega / d_i on row i of A \
                after B A = U diag(d) A', V(x) = s^2 r omega^2 |x|^2. So rho is 1 exactly.",
    assumptions: "Gaussian noise on A, none on B; equal deviations, as TFB sets them and BLoB starts with them",
    bearing: "Such a posterior sees the length of an input and no direction: behind a LayerNorm V is constant",
    wrong: &[
        "|x| instead of its square",
        "rho as at the rank site (F1)",
        "TFB's V as BLoB's: s^2 omega^2 |B|_F^2 |x|^2",
    ],
    quantitative: true,
    examine: isotropic,
};

pub(super) const MEAN_FIELD: Claim = Claim {
    id: "B2",
    statement: "At the optimum of a mean-field Gaussian posterior of A the variance of A_ij is 1 / (1 / sigma_p^2 + c_i P_jj). In the mean over \
                orientations V outside and inside are Beta integrals, and rho at most k / (k - 2).",
    assumptions: "squared loss; inputs isotropic in S_X, S_X uniform; B fixed, c_i = s^2 |b_i|^2 n / sigma_y^2; k > 2",
    bearing: "BLoB's entries cannot follow directions: however much data it sees, rho stays below k / (k - 2)",
    wrong: &[
        "rho = 1",
        "rho without bound: the prior outside, 1 / (1 / sigma_p^2 + c_i) inside",
        "P_jj taken as k / d for all entries",
    ],
    quantitative: true,
    examine: mean_field,
};

pub(super) const LAPLACE: Claim = Claim {
    id: "B3",
    statement: "Laplace over A with all covariances has V = s^2 sigma_p^2 |B|_F^2 per energy outside and s^2 sum_l beta_l / (1 / sigma_p^2 + s^2 \
                beta_l n / sigma_y^2) inside, beta_l the eigenvalues of B'B.",
    assumptions: "squared loss; inputs isotropic in S_X with X X' / n = P; B fixed; prior variance sigma_p^2",
    bearing: "A full posterior does tell inside from outside: rho grows with the data, where dropout's is fixed by what was learnt (F1)",
    wrong: &[
        "as dropout: sigma_p^2 |B|_F^2 on both sides",
        "|B|_F^2 for every beta_l",
        "without the square of s in the precision",
    ],
    quantitative: true,
    examine: laplace,
};

const BASE: Size = Size { d_in: 20, d_out: 4, rank: 4, k: 5, p: 0.2, sigma: 0.2, noise: 0.3, scale: 1.5 };

/// Squares of sampled increments `s B N x`, `N` normal with deviation `omega_i` in row `i`.
fn squares(
    b: &Array2<f64>,
    omega: &Array1<f64>,
    scale: f64,
    x: &Array1<f64>,
    count: usize,
    random: &mut impl rand::Rng,
) -> Vec<f64> {
    (0..count)
        .map(|_| {
            let noise = normal((omega.len(), x.len()), 1.0, random).dot(x) * omega;
            b.dot(&noise).mapv(|h| h * h).sum() * scale * scale
        })
        .collect()
}

fn isotropic(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let samples = grid.pick(800, 10_000);
    let sizes = grid.pick(vec![BASE], vec![BASE, Size { sigma: 0.05, k: 10, ..BASE }, Size { rank: 2, k: 2, ..BASE }]);
    let omega = 0.3;
    let mut comparisons = Comparisons::default();
    for (number, &size) in sizes.iter().enumerate() {
        let mut random = stream(seed, number as u64);
        let (subspace, problem) = problem(size, &mut random)?;
        let first = start(size, &mut random);
        let pair = descend(size, &problem, first.clone(), 0.02, 500)?;
        let total: f64 = column_norms(&pair.b).iter().sum();
        let rho = energy(&pair.a, &pair.b, subspace.complement()) / energy(&pair.a, &pair.b, subspace.basis());
        // TFB: the columns of B become orthogonal, row i of A gets noise over the singular value.
        let (left, values, _) = pair.b.dot(&pair.a).svd(true, false)?;
        let values = values.slice(ndarray::s![..size.rank]).to_owned();
        let left = left.unwrap_or_else(|| Array2::zeros((size.d_out, size.d_out)));
        let orthogonal = &left.slice(ndarray::s![.., ..size.rank]) * &values;
        for tfb in [false, true] {
            let (b, deviations, unit) = if tfb {
                (&orthogonal, values.mapv(|value| omega / value), size.rank as f64)
            } else {
                (&pair.b, Array1::from_elem(size.rank, omega), total)
            };
            for outside in [false, true] {
                let basis = if outside { subspace.complement() } else { subspace.basis() };
                let x = basis.dot(&crate::random::direction(basis.ncols(), &mut random)) * 2.0;
                let length = if law.is_wrong(0) { 2.0 } else { 4.0 };
                let unit = if law.is_wrong(2) { total } else { unit };
                let factor = law.factor() * if law.is_wrong(1) && outside { rho } else { 1.0 };
                let predicted = size.scale.powi(2) * omega * omega * unit * length * factor;
                let found = squares(b, &deviations, size.scale, &x, samples, &mut random);
                let (mean, predicted, error) = of_mean(found.iter().copied(), predicted);
                comparisons.add_independent(mean, predicted, error);
            }
        }
    }
    Ok(comparisons.evidence(4 * sizes.len(), format!("{samples} samples a point, of trained adapters")))
}

/// `E f(w)`, `w` of the law Beta(k / 2, (d - k) / 2): the share of a coordinate axis that a uniform `S_X` reads. With
/// `w = sin^2(t)` the integrand is smooth and the midpoint rule converges fast.
fn over_shares(d: usize, k: usize, f: impl Fn(f64) -> f64) -> f64 {
    let (a, b) = (k as f64 / 2.0, (d - k) as f64 / 2.0);
    let constant = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)).exp();
    let count = 4000;
    let step = std::f64::consts::FRAC_PI_2 / f64::from(count);
    let at = |place: i32| {
        let (sin, cos) = ((f64::from(place) + 0.5) * step).sin_cos();
        2.0 * constant * sin.powf(2.0 * a - 1.0) * cos.powf(2.0 * b - 1.0) * f(sin * sin)
    };
    (0..count).map(at).sum::<f64>() * step
}

/// Variances of the entries of one row that maximise the evidence bound, by ascent on their logarithms.
fn ascend(precisions: &Array1<f64>) -> Array1<f64> {
    let mut logarithms = Array1::<f64>::zeros(precisions.len());
    for _ in 0..200 {
        // The bound is (log v - precision v) / 2 for each entry; a step of 0.8 along its gradient, divided by the curvature.
        logarithms.zip_mut_with(precisions, |log, &precision| {
            let v = log.exp() * precision;
            *log += 0.8 * (1.0 - v) / v.max(1.0);
        });
    }
    logarithms.mapv(f64::exp)
}

fn mean_field(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let replicas = grid.pick(100, 1000);
    let points = grid.pick(
        vec![(16, 4, 30.0), (24, 8, 1e5)],
        vec![(16, 4, 30.0), (24, 8, 1e5), (16, 4, 1e5), (40, 6, 300.0), (12, 8, 10.0)],
    );
    let mut comparisons = Comparisons::default();
    let mut rows = Vec::new();
    for (number, &(d, k, data)) in points.iter().enumerate() {
        // Two rows, with columns of B of these squared lengths; the prior has variance 1.
        let b = [0.3, 1.0];
        let found = (0..replicas)
            .into_par_iter()
            .map(|replica| {
                let mut random = stream(seed, (number as u64) << 32 | replica);
                let subspace = Subspace::random(d, k, &mut random)?;
                let shares: Array1<f64> = subspace.basis().mapv(|u| u * u).sum_axis(Axis(1));
                let mut form = Array1::<f64>::zeros(d);
                for b in b {
                    form += &(ascend(&shares.mapv(|share| 1.0 + data * b * share)) * b);
                }
                let inside = form.dot(&shares) / k as f64;
                let outside = form.dot(&shares.mapv(|share| 1.0 - share)) / (d - k) as f64;
                Ok([inside, outside])
            })
            .collect::<Result<Vec<[f64; 2]>>>()?;
        let (size, dimension) = (d as f64, k as f64);
        let v = |share: f64| b.iter().map(|b| b / (1.0 + data * b * share)).sum::<f64>();
        let inside = over_shares(d, k, |share| share * v(share)) * size / dimension;
        let outside = over_shares(d, k, |share| (1.0 - share) * v(share)) * size / (size - dimension);
        let predicted = match law {
            Law::Wrong(0) => [(inside * dimension + outside * (size - dimension)) / size; 2],
            Law::Wrong(1) => [v(1.0), v(0.0)],
            Law::Wrong(_) => [v(dimension / size); 2],
            _ => [inside, outside],
        };
        for (side, predicted) in predicted.into_iter().enumerate() {
            let ratios: Vec<f64> = found.iter().map(|found| found[side] / predicted).collect();
            comparisons.add_mean(&ratios, law.factor(), side == 1);
        }
        let sum = |side: usize| found.iter().map(|found| found[side]).sum::<f64>();
        rows.push(vec![
            d.to_string(),
            k.to_string(),
            format!("{data}"),
            format!("{:.3}", sum(1) / sum(0)),
            format!("{:.3}", outside / inside),
            format!("{:.3}", dimension / (dimension - 2.0)),
            format!("{:.1}", v(0.0) / v(1.0)),
        ]);
    }
    let values = Some(Values {
        title: "rho of a mean-field posterior, and of one with all covariances",
        columns: &["d", "k", "n / sigma_y^2", "measured", "predicted", "k / (k - 2)", "all covariances (B3)"],
        rows,
    });
    Ok(Evidence { values, ..comparisons.evidence(points.len(), format!("{replicas} orientations a point")) })
}

fn laplace(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let replicas = grid.pick(2, 10);
    let mut errors = Vec::new();
    let mut ratios = Vec::new();
    for replica in 0..replicas {
        let mut random = stream(seed, replica);
        let (d, k, rank, scale, prior) = (8_usize, 3, 3, 1.5_f64, 0.4_f64);
        let data = 20.0 * (replica + 1) as f64;
        let subspace = Subspace::random(d, k, &mut random)?;
        let b = normal((4, rank), 1.0, &mut random);
        // The whole precision of the entries of A, `A_ij` at place `i d + j`, and its inverse: no structure is used.
        let (gram, projector) = (b.t().dot(&b), subspace.basis().dot(&subspace.basis().t()));
        let precision = Array2::from_shape_fn((rank * d, rank * d), |(one, other)| {
            let fit = scale * scale * data * gram[[one / d, other / d]] * projector[[one % d, other % d]];
            fit + if one == other { 1.0 / prior } else { 0.0 }
        });
        let covariance = precision.inv()?;
        let measured = |x: &Array1<f64>| -> f64 {
            // Output o has the derivative s b_oi x_j by A_ij.
            b.rows()
                .into_iter()
                .map(|row| {
                    let j = Array1::from_shape_fn(rank * d, |place| scale * row[place / d] * x[place % d]);
                    j.dot(&covariance.dot(&j))
                })
                .sum()
        };
        let values = b.svd(false, false)?.1.mapv(|value| value * value);
        let total = values.sum();
        let square = if law.is_wrong(2) { 1.0 } else { scale * scale };
        let outside = scale * scale * prior * total;
        let inside = match law {
            Law::Wrong(0) => outside,
            Law::Wrong(1) => scale * scale * values.len() as f64 * total / (1.0 / prior + square * total * data),
            _ => scale * scale * values.mapv(|beta| beta / (1.0 / prior + square * beta * data)).sum(),
        };
        let within = subspace.basis().dot(&crate::random::direction(k, &mut random));
        let away = subspace.direction_outside(&mut random)?;
        for (x, predicted) in [(within, inside), (away, outside)] {
            errors.push((measured(&x) / (predicted * law.factor()) - 1.0).abs() / 1e-9);
        }
        ratios.push(format!("{:.0}", outside / inside));
    }
    let note = format!(
        "all entries of A at once; rho is {}, as n / sigma_y^2 grows from 20 in steps of 20",
        ratios.join(", ")
    );
    Ok(Evidence::identity(&errors, errors.len(), "largest relative error / 10^-9", note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_the_moments_of_a_beta_law() {
        let (d, k) = (9, 4);
        assert!((over_shares(d, k, |_| 1.0) - 1.0).abs() < 1e-6);
        assert!((over_shares(d, k, |w| w) - 4.0 / 9.0).abs() < 1e-6);
        // E w^2 = k (k + 2) / (d (d + 2)).
        assert!((over_shares(d, k, |w| w * w) - 24.0 / 99.0).abs() < 1e-6);
    }

    #[test]
    fn ascent_finds_the_maximum() {
        let precisions = Array1::from(vec![0.5, 1.0, 300.0, 1e5]);
        let found = ascend(&precisions);
        assert!(found.iter().zip(&precisions).all(|(v, precision)| (v * precision - 1.0).abs() < 1e-9), "{found}");
    }
}
