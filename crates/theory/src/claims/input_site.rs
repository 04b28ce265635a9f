//! F5, F6, F7: rho where dropout acts at the input of A, as PEFT's `lora_dropout` does.

use ndarray::{Array1, Array2, Axis, s};
use ndarray_linalg::Inverse as _;
use rayon::prelude::*;

use super::training::{Size, column_norms, descend, norm, start};
use super::{Claim, Grid, Law};
use crate::descent::descend_on;
use crate::dynamics::{Optimiser, Problem};
use crate::error::Result;
use crate::evidence::{Comparisons, Evidence, Values, mean_and_error};
use crate::layer::{Dropout, Layer, Site};
use crate::random::{normal, stream};
use crate::subspace::Subspace;

pub(super) const UNTOUCHED: Claim = Claim {
    id: "F5",
    statement: "At the input site V per energy is s^2 kappa (a (d - k) + c (1 + 2 / k)) / (d + 2) inside and s^2 kappa (a (d - k + 2) + c) / \
                (d + 2) outside, a = sigma_A^2 |B|_F^2 and c = |B A P|_F^2, in the mean over orientations of S_X. So rho lies between \
                k / (k + 2) and 1 + 2 / (d - k), whatever was learnt.",
    assumptions: "S_X uniform; A outside S_X as at the start, so not trained under input dropout; A_0 normal",
    bearing: "PEFT's dropout hardly tells inside from outside at fixed norm. Where S_X is spanned by coordinate axes it does: rho is k a / c there",
    wrong: &[
        "rho = 1",
        "without 2 / k",
        "as at the rank site: a outside and c / k inside",
        "inside and outside exchanged",
    ],
    quantitative: true,
    examine: untouched,
};

pub(super) const TRAINED: Claim = Claim {
    id: "F6",
    statement: "Training on the expected loss of input dropout tends to s B A = T P (P + kappa diag P)^-1 for targets T x, so A_0 leaves no trace \
                in V.",
    assumptions: "input site; squared loss; isotropic inputs; r at least the rank of T P; trained to the optimum",
    bearing: "The growth law outside does not survive training under PEFT's dropout: B A outside becomes what the coordinates of S_X dictate",
    wrong: &["A stays in S_X: s B A = T P / (1 + kappa k / d)", "p instead of p / q", "kappa k / d for kappa diag P"],
    quantitative: true,
    examine: trained,
};

pub(super) const TRAINED_RATIO: Claim = Claim {
    id: "F7",
    statement: "At that optimum rho, as a ratio of means over orientations, tends to k / (k - 2) where dropout is strong, at every d.",
    assumptions: "as F6; S_X uniform; k > 2; kappa large",
    bearing: "Coordinates that S_X hardly reads are penalised least, so they keep most. At moderate kappa rho is lower and tends to the same where d is large",
    wrong: &[
        "rho tends to 1",
        "rho tends to k / (k + 2), as without training under dropout",
        "rho tends to 1 + 2 / (d - k)",
    ],
    quantitative: true,
    examine: trained_ratio,
};

const BASE: Size = Size { d_in: 20, d_out: 4, rank: 4, k: 4, p: 0.2, sigma: 0.2, noise: 0.1, scale: 1.0 };

/// Inputs along the basis of a subspace with `X X' / n = P`, targets `T x` of the same map in its coordinates whatever its orientation.
fn oriented(size: Size, subspace: &Subspace, random: &mut impl rand::Rng) -> Problem {
    let root = (size.k as f64).sqrt();
    let y = normal((size.d_out, size.k), root * (size.d_in as f64).powf(-0.5), random);
    Problem { x: subspace.basis() * root, y }
}

/// The first `k` coordinate axes.
fn aligned(size: Size) -> Result<Subspace> {
    Subspace::span(&Array2::eye(size.d_in).slice(s![.., ..size.k]).to_owned())
}

fn untouched(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let replicas = grid.pick(200, 2000);
    let sizes = grid.pick(
        vec![BASE, Size { k: 2, sigma: 0.05, ..BASE }, Size { d_in: 8, k: 5, sigma: 1.0, ..BASE }],
        vec![
            BASE,
            Size { k: 2, sigma: 0.05, ..BASE },
            Size { d_in: 8, k: 5, sigma: 1.0, ..BASE },
            Size { d_in: 40, k: 8, rank: 8, p: 0.5, ..BASE },
            Size { d_in: 40, k: 4, sigma: 0.02, scale: 2.0, ..BASE },
            Size { d_in: 12, k: 9, sigma: 0.1, ..BASE },
        ],
    );
    let mut comparisons = Comparisons::default();
    let mut rows = Vec::new();
    for (number, &size) in sizes.iter().enumerate() {
        for axes in [false, true] {
            let found = (0..replicas)
                .into_par_iter()
                .map(|replica| {
                    let mut random = stream(seed, (2 * number as u64 + u64::from(axes)) << 32 | replica);
                    let subspace =
                        if axes { aligned(size)? } else { Subspace::random(size.d_in, size.k, &mut random)? };
                    let problem = oriented(size, &subspace, &mut random);
                    let pair = descend(size, &problem, start(size, &mut random), 0.05, grid.pick(30, 60))?;
                    let learnt = norm(&pair.b.dot(&pair.a.dot(subspace.basis()))).powi(2);
                    let a = size.sigma.powi(2) * column_norms(&pair.b).iter().sum::<f64>();
                    let layer = Layer::new(pair.a, pair.b, size.scale, Site::Input, Dropout::new(size.p)?)?;
                    let unit = size.scale.powi(2) * layer.dropout.variance();
                    let mean = |basis: &Array2<f64>| layer.variances(basis.t()).sum() / basis.ncols() as f64 / unit;
                    let (d, k) = (size.d_in as f64, size.k as f64);
                    let two = if law.is_wrong(1) { 0.0 } else { 2.0 / k };
                    let inside = (a * (d - k) + learnt * (1.0 + two)) / (d + 2.0);
                    let outside = (a * (d - k + 2.0) + learnt) / (d + 2.0);
                    let predicted = match law {
                        Law::Wrong(0) => [(a * (d - k) + learnt) / d; 2],
                        Law::Wrong(3) if axes => [a, learnt / k],
                        Law::Wrong(3) => [outside, inside],
                        _ if axes || law.is_wrong(2) => [learnt / k, a],
                        _ => [inside, outside],
                    };
                    Ok(([mean(subspace.basis()), mean(subspace.complement())], predicted))
                })
                .collect::<Result<Vec<([f64; 2], [f64; 2])>>>()?;
            for side in 0..2 {
                let ratios: Vec<f64> = found.iter().map(|(measured, said)| measured[side] / said[side]).collect();
                // Inside and outside share their adapters.
                if axes && side == 0 {
                    // Inside this is an identity.
                    if let [first, ..] = ratios[..] {
                        comparisons.add(first, law.factor(), 0.0);
                    }
                } else {
                    comparisons.add_mean(&ratios, law.factor(), side == 1);
                }
            }
            let ratio = |sides: Vec<[f64; 2]>| {
                let sum = |side: usize| sides.iter().map(|own| own[side]).sum::<f64>();
                sum(1) / sum(0)
            };
            let rho = ratio(found.iter().map(|found| found.0).collect());
            let said = ratio(found.iter().map(|found| found.1).collect());
            let (d, k) = (size.d_in as f64, size.k as f64);
            rows.push(vec![
                size.d_in.to_string(),
                size.k.to_string(),
                if axes { "coordinate axes" } else { "uniform" }.to_owned(),
                format!("{rho:.3}"),
                format!("{said:.3}"),
                if axes { "–".to_owned() } else { format!("{:.3} to {:.3}", k / (k + 2.0), 1.0 + 2.0 / (d - k)) },
            ]);
        }
    }
    let values = Some(Values {
        title: "rho at the input site",
        columns: &["d", "k", "S_X", "measured", "predicted", "bounds"],
        rows,
    });
    let points = 2 * sizes.len();
    Ok(Evidence { values, ..comparisons.evidence(points, format!("{replicas} trained adapters a point")) })
}

/// `T P (P + kappa diag P)^-1` from `T` times the basis `[d_out, k]`.
fn optimum(targets: &Array2<f64>, basis: &Array2<f64>, kappa: f64) -> Result<Array2<f64>> {
    let projector = basis.dot(&basis.t());
    let ridge = &projector + &(Array2::from_diag(&projector.diag()) * kappa);
    Ok(targets.dot(&basis.t()).dot(&ridge.inv()?))
}

/// `(inside, outside)`: mean squares of the columns of a map, as the input site weighs them.
fn sides(map: &Array2<f64>, basis: &Array2<f64>) -> (f64, f64) {
    let squares = map.mapv(|m| m * m).sum_axis(Axis(0));
    let shares: Array1<f64> = basis.mapv(|u| u * u).sum_axis(Axis(1));
    let (d, k) = (basis.nrows() as f64, basis.ncols() as f64);
    (squares.dot(&shares) / k, squares.dot(&shares.mapv(|share| 1.0 - share)) / (d - k))
}

/// What is left to converge after training, relative.
const UNCONVERGED: f64 = 0.01;

fn trained(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let (replicas, steps) = grid.pick((2, 6_000), (12, 40_000));
    // Two outputs: of more, the smallest singular value of the targets takes long to be learnt.
    let two = Size { d_out: 2, rank: 2, ..BASE };
    let sizes = grid.pick(
        vec![Size { p: 0.5, k: 6, d_in: 14, ..two }],
        vec![
            Size { p: 0.5, k: 6, d_in: 14, ..two },
            Size { p: 0.3, k: 8, ..two },
            Size { p: 0.5, k: 10, d_in: 30, scale: 2.0, ..two },
        ],
    );
    let (mut errors, mut paths) = (Vec::new(), Vec::new());
    for (number, &size) in sizes.iter().enumerate() {
        let found = (0..replicas)
            .into_par_iter()
            .map(|replica| {
                let mut random = stream(seed, (number as u64) << 32 | replica);
                let subspace = Subspace::random(size.d_in, size.k, &mut random)?;
                let (d, k) = (size.d_in as f64, size.k as f64);
                let problem = oriented(size, &subspace, &mut random);
                let first = start(Size { sigma: 0.4, ..size }, &mut random);
                let dropout = Dropout::new(size.p)?;
                let optimiser = Optimiser::Sgd { rate: 0.1 / size.scale.powi(2), momentum: 0.9, decay: 0.0 };
                let outside = |a: &Array2<f64>| norm(&a.dot(subspace.complement()));
                // Early, to see A decay outside before it grows again.
                let mut pair = first.clone();
                let mut path = vec![1.0];
                for _ in 0..30 {
                    pair = descend_on(&problem, pair, size.scale, (Site::Input, dropout), (optimiser, steps / 600));
                    path.push(outside(&pair.a) / outside(&first.a));
                }
                pair = descend_on(&problem, pair, size.scale, (Site::Input, dropout), (optimiser, steps));
                path.push(outside(&pair.a) / outside(&first.a));
                let map = pair.b.dot(&pair.a) * size.scale;
                let targets = &problem.y / k.sqrt();
                let claimed = match law {
                    Law::Wrong(0) => targets.dot(&subspace.basis().t()) / (1.0 + dropout.variance() * k / d),
                    Law::Wrong(1) => optimum(&targets, subspace.basis(), size.p)?,
                    Law::Wrong(_) => {
                        let ridge = subspace.basis().dot(&subspace.basis().t())
                            + Array2::<f64>::eye(size.d_in) * (dropout.variance() * k / d);
                        targets.dot(&subspace.basis().t()).dot(&ridge.inv()?)
                    }
                    _ => optimum(&targets, subspace.basis(), dropout.variance())? * law.factor(),
                };
                let error = norm(&(&map - &claimed)) / norm(&claimed);
                let rho = |map: &Array2<f64>| {
                    let (inside, outside) = sides(map, subspace.basis());
                    outside / inside
                };
                Ok((error / UNCONVERGED, path, rho(&map)))
            })
            .collect::<Result<Vec<_>>>()?;
        errors.extend(found.iter().map(|found| found.0));
        paths.extend(found.into_iter().map(|found| (found.1, found.2)));
    }
    let lowest = |path: &[f64]| path.iter().copied().fold(f64::INFINITY, f64::min);
    let last = |path: &[f64]| path.last().copied().unwrap_or(f64::NAN);
    let mean = |values: Vec<f64>| mean_and_error(&values).0;
    let note = format!(
        "{steps} steps. |A (I - P)| falls to {:.2} of its start on average. It grows again to {:.2}. Mean rho at the end is {:.2}",
        mean(paths.iter().map(|found| lowest(&found.0)).collect()),
        mean(paths.iter().map(|found| last(&found.0)).collect()),
        mean(paths.iter().map(|found| found.1).collect())
    );
    Ok(Evidence::identity(&errors, errors.len(), "largest relative error / 0.01", note))
}

fn trained_ratio(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let replicas = grid.pick(400, 2000);
    let points = grid.pick(vec![(16, 6)], vec![(12, 5), (16, 6), (24, 8), (40, 12)]);
    let mut comparisons = Comparisons::default();
    let mut rows = Vec::new();
    for (number, &(d, k)) in points.iter().enumerate() {
        let means = |kappa: f64, count: u64| -> Result<Vec<(f64, f64)>> {
            (0..count)
                .into_par_iter()
                .map(|replica| {
                    let mut random = stream(seed, (number as u64) << 32 | replica);
                    let subspace = Subspace::random(d, k, &mut random)?;
                    let targets = normal((3, k), 1.0, &mut random);
                    // The same up to a factor, which does not vanish as kappa grows.
                    let map = optimum(&targets, subspace.basis(), kappa)? * (1.0 + kappa);
                    Ok(sides(&map, subspace.basis()))
                })
                .collect()
        };
        let ratio = |found: &[(f64, f64)]| {
            found.iter().map(|found| found.1).sum::<f64>() / found.iter().map(|found| found.0).sum::<f64>()
        };
        let (size, dimension) = (d as f64, k as f64);
        let claimed = match law {
            Law::Wrong(0) => 1.0,
            Law::Wrong(1) => dimension / (dimension + 2.0),
            Law::Wrong(_) => 1.0 + 2.0 / (size - dimension),
            law => law.factor() * dimension / (dimension - 2.0),
        };
        let found = means(1e5, replicas)?;
        let inside = found.iter().map(|found| found.0).sum::<f64>() / replicas as f64;
        // A ratio of means: the mean of the numerator is that of the denominator times it.
        let values: Vec<f64> = found.iter().map(|(i, o)| (o - claimed * i) / (claimed * inside) + 1.0).collect();
        comparisons.add_mean(&values, 1.0, true);
        if grid == Grid::Full {
            let mut row = vec![d.to_string(), k.to_string(), format!("{:.3}", dimension / (dimension - 2.0))];
            row.push(format!("{:.3}", ratio(&found)));
            for kappa in [1.0, 0.25, 1.0 / 9.0] {
                row.push(format!("{:.3}", ratio(&means(kappa, replicas / 4)?)));
            }
            rows.push(row);
        }
    }
    let values = Some(Values {
        title: "rho at the optimum of the input-dropout loss",
        columns: &["d", "k", "k / (k - 2)", "kappa = 10^5", "p = 0.5", "p = 0.2", "p = 0.1"],
        rows,
    });
    let values = if grid == Grid::Full { values } else { None };
    Ok(Evidence { values, ..comparisons.evidence(points.len(), format!("{replicas} orientations a point")) })
}
