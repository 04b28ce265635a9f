//! D4, D5, D6: gains, a residual stream, several layers.

use ndarray::{Array1, Array2, Axis, concatenate};
use rayon::prelude::*;

use super::moments::of_mean;
use super::normalised::layer_norm;
use super::training::{Size, column_norms, descend, start};
use super::{Claim, Grid, Law};
use crate::dynamics::{Pair, Problem};
use crate::error::Result;
use crate::evidence::{Comparisons, Evidence};
use crate::layer::{Dropout, Layer, Site};
use crate::random::{direction, normal, stream};
use crate::subspace::Subspace;

pub(super) const GAIN: Claim = Claim {
    id: "D4",
    statement: "Behind a LayerNorm with gain G = diag(g), V of x_S + delta u tends to d (V(P G u) + s^2 kappa sigma_A^2 |B|_F^2 |(I - P) G u|^2), \
                in the mean over initialisations and signs of u, P the projector of G S_X.",
    assumptions: "rank site; gradient descent; A_0 normal; S_X and u orthogonal to the ones",
    bearing: "A gain turns part of an outside direction back into what training saw. V far out stays bounded, by other numbers in every direction",
    wrong: &[
        "no gain: sigma_A^2 |B|_F^2 for every u",
        "nothing turns back: |G u|^2 outside",
        "what turns back has no V: (I - P) G u alone",
    ],
    quantitative: true,
    examine: gain,
};

pub(super) const RESIDUAL: Claim = Claim {
    id: "D5",
    statement: "Of a residual stream h = x + dW LN(x) the next LayerNorm passes on the variance d tr(Pi C) / |h|^2, Pi the projector orthogonal to \
                h and to the ones: it falls as delta^-2 along x + delta u.",
    assumptions: "rank site; C, the covariance of the increment, small beside |h|^2",
    bearing: "In a pre-norm transformer an input far out is less uncertain to the next layer, at every dropout site and whatever rho",
    wrong: &["C passes as it is", "without Pi", "it falls as 1 / delta"],
    quantitative: true,
    examine: residual,
};

pub(super) const LAYERS: Claim = Claim {
    id: "D6",
    statement: "Through linear layers the second moment follows M -> W M W' + s^2 kappa B diag(A M A') B', W the mean map: V of several layers is \
                a quadratic form of the input.",
    assumptions: "rank site; masks independent between layers; no nonlinearity",
    bearing: "G1 holds at any depth. First-order terms alone miss what later layers do to earlier noise",
    wrong: &[
        "first-order terms alone: kappa J J'",
        "the last layer's variance alone",
        "variances added without passing later layers",
    ],
    quantitative: true,
    examine: layers,
};

const BASE: Size = Size { d_in: 16, d_out: 4, rank: 4, k: 4, p: 0.2, sigma: 0.1, noise: 0.0, scale: 1.0 };

fn centred(d: usize, columns: usize, random: &mut impl rand::Rng) -> Array2<f64> {
    let raw = normal((d, columns), 1.0, random);
    &raw - &(raw.sum_axis(Axis(0)) / d as f64)
}

fn gain(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let replicas = grid.pick(100, 600);
    let sizes = grid.pick(
        vec![BASE, Size { sigma: 0.4, ..BASE }],
        vec![BASE, Size { d_in: 24, k: 8, p: 0.4, ..BASE }, Size { sigma: 0.4, ..BASE }],
    );
    let mut comparisons = Comparisons::default();
    for (number, &size) in sizes.iter().enumerate() {
        let ratios = (0..replicas)
            .into_par_iter()
            .map(|replica| {
                let mut random = stream(seed, (number as u64) << 32 | replica);
                let d = size.d_in as f64;
                let gain = Array1::from_shape_fn(size.d_in, |j| 0.2 * 15.0_f64.powf(j as f64 / d));
                let span = Subspace::span(&centred(size.d_in, size.k, &mut random))?;
                // What the adapter reads of x_S.
                let x = (span.basis() * d.sqrt()).t().to_owned() * &gain;
                let x = x.reversed_axes();
                let read = Subspace::span(&x)?;
                let problem = Problem { y: normal((size.d_out, size.k), 1.0, &mut random), x };
                let pair = descend(size, &problem, start(size, &mut random), 0.01, 100)?;
                let total: f64 = column_norms(&pair.b).iter().sum();
                let layer = Layer::new(pair.a, pair.b, size.scale, Site::Rank, Dropout::new(size.p)?)?;
                let unit = size.scale.powi(2) * layer.dropout.variance() * size.sigma.powi(2) * total;
                let start = span.basis().column(0).to_owned() * d.sqrt();
                let ones = Array2::ones((size.d_in, 1));
                let others = Subspace::span(&concatenate![Axis(1), *span.basis(), ones])?;
                // Both are summed over directions orthogonal to S_X and to the ones.
                let (mut measured, mut predicted) = (0.0, 0.0);
                for u in others.complement().columns() {
                    let turned = &u * &gain;
                    let back = read.project(turned.view());
                    let away = &turned - &back;
                    predicted += d * match law {
                        Law::Wrong(0) => unit,
                        Law::Wrong(1) => unit * turned.dot(&turned),
                        Law::Wrong(2) => unit * away.dot(&away),
                        _ => layer.variance(back.view()) + unit * away.dot(&away),
                    };
                    // Through the LayerNorm itself, from both sides, far out.
                    let far = 1e6 * d.sqrt();
                    let at = |delta: f64| layer.variance((layer_norm(&(&start + &(&u * delta))) * &gain).view());
                    measured += f64::midpoint(at(far), at(-far));
                }
                Ok(measured / predicted)
            })
            .collect::<Result<Vec<f64>>>()?;
        comparisons.add_mean(&ratios, law.factor(), true);
    }
    Ok(comparisons.evidence(sizes.len(), format!("{replicas} initialisations a point, gains from 0.2 to 3")))
}

fn residual(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let samples = grid.pick(3_000, 20_000);
    let scenes = grid.pick(1, 4);
    let mut comparisons = Comparisons::default();
    let (d, rank) = (8_usize, 3);
    let first = 300.0;
    for number in 0..scenes {
        let mut random = stream(seed, number);
        let (a, b) = (normal((rank, d), 0.5, &mut random), normal((d, rank), 0.5, &mut random));
        let layer = Layer::new(a, b, 1.0, Site::ALL[usize::try_from(number).unwrap_or(0) % 3], Dropout::new(0.2)?)?;
        let (x, u) = (direction(d, &mut random) * (d as f64).sqrt(), direction(d, &mut random));
        let mut nearest = f64::NAN;
        for delta in [first, 10.0 * first] {
            let x = &x + &(&u * delta);
            let normal_x = layer_norm(&x);
            let h = &x + &layer.mean(normal_x.view());
            let h = &h - h.sum() / d as f64;
            let square = h.dot(&h);
            let covariance = layer.covariance(normal_x.view());
            let ones = Array1::from_elem(d, (d as f64).powf(-0.5));
            let along = |v: &Array1<f64>| v.dot(&covariance.dot(v));
            let total = covariance.diag().sum();
            let passed = total - along(&ones) - along(&h) / square;
            let stated = d as f64 * passed / square;
            if nearest.is_nan() {
                nearest = stated;
            }
            let predicted = match law {
                Law::Wrong(0) => total,
                Law::Wrong(1) => d as f64 * total / square,
                Law::Wrong(_) => nearest * first / delta,
                _ => stated * law.factor(),
            };
            let center = layer_norm(&h);
            let outputs: Vec<Array1<f64>> = (0..samples)
                .map(|_| layer_norm(&(&x + &layer.sample(normal_x.view(), &mut random))) - &center)
                .collect();
            let mean = outputs.iter().fold(Array1::<f64>::zeros(d), |sum, output| sum + output) / f64::from(samples);
            let squares = outputs.iter().map(|output| (output - &mean).mapv(|d| d * d).sum());
            let (mean, predicted, error) = of_mean(squares, predicted);
            comparisons.add_independent(mean, predicted, error);
        }
    }
    let note = format!("{samples} samples a point, at distances {first} and {}", 10.0 * first);
    Ok(comparisons.evidence(2 * usize::try_from(scenes).unwrap_or(0), note))
}

fn layers(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let samples = grid.pick(1_500, 20_000);
    let points = grid.pick(vec![(3, 0.3)], vec![(2, 0.1), (3, 0.3), (6, 0.2), (4, 0.5)]);
    let (d, rank) = (6_usize, 2);
    let mut comparisons = Comparisons::default();
    for (number, &(depth, p)) in points.iter().enumerate() {
        let mut random = stream(seed, number as u64);
        let dropout = Dropout::new(p)?;
        // A residual stream: each layer adds its frozen map and its adapter.
        let all = (0..depth)
            .map(|_| {
                let frozen = Array2::eye(d) + normal((d, d), 0.2, &mut random);
                let pair = Pair { a: normal((rank, d), 0.6, &mut random), b: normal((d, rank), 0.6, &mut random) };
                Ok((frozen, Layer::new(pair.a, pair.b, 1.0, Site::Rank, dropout)?))
            })
            .collect::<Result<Vec<(Array2<f64>, Layer)>>>()?;
        let (x, u) = (direction(d, &mut random), direction(d, &mut random));
        for delta in [0.0, 5.0] {
            let x = &x + &(&u * delta);
            let (mut mean, mut moment) = (x.clone(), outer(&x));
            // First-order terms, and variances that are only added up.
            let (mut first, mut added, mut last) = (Array2::<f64>::zeros((d, d)), 0.0, 0.0);
            for (frozen, layer) in &all {
                let map = frozen + &layer.b.dot(&layer.a);
                let read = layer.a.dot(&moment).dot(&layer.a.t()).diag().to_owned();
                let noise = (&layer.b * &read).dot(&layer.b.t()) * dropout.variance();
                moment = map.dot(&moment).dot(&map.t()) + noise;
                let own = layer.a.dot(&mean).mapv(|u| u * u);
                let own = (&layer.b * &own).dot(&layer.b.t()) * dropout.variance();
                last = own.diag().sum();
                added += last;
                first = map.dot(&first).dot(&map.t()) + own;
                mean = map.dot(&mean);
            }
            let predicted = match law {
                Law::Wrong(0) => first.diag().sum(),
                Law::Wrong(1) => last,
                Law::Wrong(_) => added,
                _ => (moment.diag().sum() - mean.dot(&mean)) * law.factor(),
            };
            let squares: Vec<f64> = (0..samples)
                .map(|_| {
                    let h = all
                        .iter()
                        .fold(x.clone(), |h, (frozen, layer)| frozen.dot(&h) + layer.sample(h.view(), &mut random));
                    (h - &mean).mapv(|h| h * h).sum()
                })
                .collect();
            let (mean, predicted, error) = of_mean(squares.iter().copied(), predicted);
            comparisons.add_independent(mean, predicted, error);
        }
    }
    Ok(comparisons.evidence(2 * points.len(), format!("{samples} samples a point, two to six layers")))
}

fn outer(vector: &Array1<f64>) -> Array2<f64> {
    let column = vector.view().insert_axis(Axis(1));
    column.dot(&column.t())
}
