//! M1, M2, M3: Monte-Carlo moments of a layer against the exact ones.

use ndarray::{Array1, Array2};
use rayon::prelude::*;

use super::{Claim, Grid, Law};
use crate::error::Result;
use crate::evidence::{Comparisons, Effect, Evidence, mean_and_error, smallest_corrected, two_sided};
use crate::layer::{Dropout, Layer, Site};
use crate::random::{normal, stream};

pub(super) const MEAN: Claim = Claim {
    id: "M1",
    statement: "The mean increment is s B A x at every site.",
    assumptions: "multipliers are inverted and independent",
    bearing: "Sampling is unbiased: the mean pass is the adapter without dropout",
    wrong: &["multipliers without 1/q: the mean is q s B A x"],
    quantitative: true,
    examine: mean,
};

pub(super) const COVARIANCE: Claim = Claim {
    id: "M2",
    statement: "The covariance is s^2 kappa F diag(w(x)) F^T, site by site.",
    assumptions: "as M1",
    bearing: "V(x) is a quadratic form of the input; everything below follows from it",
    wrong: &["kappa without 1/q: p instead of p / q", "s instead of s^2", "another site's covariance"],
    quantitative: true,
    examine: covariance,
};

pub(super) const RATE: Claim = Claim {
    id: "M3",
    statement: "The Monte-Carlo error of mean and variance falls as T^(-1/2).",
    assumptions: "independent samples",
    bearing: "This says how many samples an estimate of V needs",
    wrong: &["the error falls as T^(-1)", "the error falls as T^(-1/4)"],
    quantitative: true,
    examine: rate,
};

/// `(d_in, d_out, r, p, s)`.
type Point = (usize, usize, usize, f64, f64);

fn points(grid: Grid) -> Vec<(Point, Site)> {
    let quick: &[Point] = &[(8, 3, 2, 0.1, 2.0), (16, 4, 4, 0.5, 0.5)];
    let full: &[Point] = &[
        (8, 3, 2, 0.1, 2.0),
        (16, 4, 4, 0.5, 0.5),
        (16, 4, 1, 0.3, 1.0),
        (32, 6, 8, 0.15, 0.125),
        (12, 5, 20, 0.2, 1.0),
        (64, 4, 4, 0.05, 2.0),
    ];
    let points = grid.pick(quick, full);
    points.iter().flat_map(|&point| Site::ALL.map(|site| (point, site))).collect()
}

/// The layer and input of a grid point.
fn scene(seed: u64, number: usize, (point, site): (Point, Site)) -> Result<(Layer, Array1<f64>)> {
    let (d_in, d_out, rank, p, scale) = point;
    let mut random = stream(seed, number as u64);
    let (a, b) = (normal((rank, d_in), 1.0, &mut random), normal((d_out, rank), 1.0, &mut random));
    let x = normal((d_in, 1), 1.0, &mut random).column(0).to_owned();
    Ok((Layer::new(a, b, scale, site, Dropout::new(p)?)?, x))
}

/// Deviations from the true mean, `[samples, d_out]`.
fn deviations(seed: u64, number: usize, layer: &Layer, x: &Array1<f64>, samples: usize) -> Array2<f64> {
    let mut random = stream(seed, (number as u64) << 32 | 1);
    let mean = layer.mean(x.view());
    let mut all = Array2::zeros((samples, layer.b.nrows()));
    for mut row in all.rows_mut() {
        row.assign(&(layer.sample(x.view(), &mut random) - &mean));
    }
    all
}

/// A measured number, its prediction and its standard error.
pub(super) type Comparison = (f64, f64, f64);

/// What one grid point gives: a summary that is independent of the other points', and the single entries.
pub(super) type AtPoint = (Comparison, Vec<Comparison>);

/// Comparison of a sample mean: its standard error is that of the values.
pub(super) fn of_mean(values: impl Iterator<Item = f64> + Clone, predicted: f64) -> Comparison {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    let spread = values.map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    (mean, predicted, (spread / n).sqrt())
}

/// Runs `compare` on every grid point and collects.
fn on_points(
    grid: Grid,
    seed: u64,
    compare: impl Fn(&Layer, &Array1<f64>, &Array2<f64>) -> AtPoint + Sync,
) -> Result<Evidence> {
    let points = points(grid);
    let samples = grid.pick(4_000, 40_000);
    let found = points
        .par_iter()
        .enumerate()
        .map(|(number, &point)| {
            let (layer, x) = scene(seed, number, point)?;
            Ok(compare(&layer, &x, &deviations(seed, number, &layer, &x, samples)))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut comparisons = Comparisons::default();
    for ((measured, predicted, standard_error), entries) in found {
        comparisons.add_independent(measured, predicted, standard_error);
        for (measured, predicted, standard_error) in entries {
            comparisons.add(measured, predicted, standard_error);
        }
    }
    Ok(comparisons.evidence(points.len(), format!("{samples} samples a point, at the input, rank and weight sites")))
}

fn mean(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    on_points(grid, seed, |layer, x, deviations| {
        let exact = layer.mean(x.view());
        let factor = law.factor() * if law.is_wrong(0) { layer.dropout.keep() } else { 1.0 };
        let entries = exact.iter().zip(deviations.columns());
        let entries =
            entries.map(|(&exact, column)| of_mean(column.iter().map(|d| d + exact), exact * factor)).collect();
        // The mean along its own direction.
        let square = exact.dot(&exact);
        (of_mean(deviations.rows().into_iter().map(|d| d.dot(&exact) + square), square * factor), entries)
    })
}

fn covariance(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    on_points(grid, seed, |layer, x, deviations| {
        let mut claimed = layer.clone();
        let mut factor = law.factor();
        match law {
            Law::Wrong(0) => factor *= layer.dropout.keep(),
            Law::Wrong(1) => factor /= layer.scale,
            Law::Wrong(_) => {
                claimed.site = if layer.site == Site::Rank { Site::Weight } else { Site::Rank };
            }
            Law::Stated | Law::Scaled(_) => {}
        }
        let predicted = claimed.covariance(x.view());
        let mut entries = Vec::new();
        for i in 0..predicted.nrows() {
            for j in 0..=i {
                let products = deviations.rows().into_iter().map(|d| d[i] * d[j]);
                entries.push(of_mean(products, predicted[[i, j]] * factor));
            }
        }
        let total = predicted.diag().sum() * factor;
        (of_mean(deviations.rows().into_iter().map(|d| d.dot(&d)), total), entries)
    })
}

fn rate(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let exponent = match law {
        Law::Wrong(0) => -1.0,
        Law::Wrong(_) => -0.25,
        law => -0.5 * law.factor(),
    };
    let replicas = grid.pick(300, 800);
    let sizes = grid.pick(vec![8_u32, 256], vec![8, 32, 128, 512]);
    let mut slopes = Vec::new();
    for (number, site) in Site::ALL.into_iter().enumerate() {
        let (layer, x) = scene(seed, number, ((8, 3, 4, 0.3, 1.0), site))?;
        let exact = layer.variance(x.view());
        let mean = layer.mean(x.view());
        // Squared errors of the estimated mean, and of the variance about the true mean, replica by replica.
        let errors: Vec<[Vec<f64>; 2]> = sizes
            .par_iter()
            .map(|&samples| {
                let mut random = stream(seed, (number as u64) << 32 | u64::from(samples));
                let mut all = [Vec::new(), Vec::new()];
                for _ in 0..replicas {
                    let (mut sum, mut squares) = (Array1::<f64>::zeros(mean.len()), 0.0);
                    for _ in 0..samples {
                        let deviation = layer.sample(x.view(), &mut random) - &mean;
                        squares += deviation.dot(&deviation);
                        sum += &deviation;
                    }
                    let n = f64::from(samples);
                    all[0].push(sum.dot(&sum) / (n * n));
                    all[1].push((squares / n - exact).powi(2));
                }
                all
            })
            .collect();
        for of in 0..2 {
            let logs: Vec<(f64, f64)> = errors.iter().map(|errors| log_root(&errors[of])).collect();
            slopes.push(weighted_slope(&sizes, &logs));
        }
    }
    let largest = slopes.iter().map(|(slope, se)| ((slope - exponent) / se).abs()).fold(0.0, f64::max);
    // Mean and variance share their samples; the sites do not, and twice their weight is too much.
    let weights: f64 = slopes.iter().map(|(_, se)| se.powi(-2)).sum();
    let pooled = slopes.iter().map(|(slope, se)| slope / (se * se)).sum::<f64>() / weights;
    let error = (2.0 / weights).sqrt();
    let mut p_values: Vec<f64> = slopes.iter().map(|(slope, se)| two_sided((slope - exponent) / se)).collect();
    p_values.push(two_sided((pooled - exponent) / error));
    let half = 1.96 * error;
    Ok(Evidence {
        p_value: smallest_corrected(&p_values),
        statistic: largest,
        comparisons: p_values.len(),
        points: 3 * sizes.len(),
        effect: Effect { name: "exponent of T", value: pooled, interval: Some((pooled - half, pooled + half)) },
        note: format!("T from 8 to {}, with {replicas} replicas each", sizes[sizes.len() - 1]),
        values: None,
        seen: Vec::new(),
    })
}

/// Logarithm of the root mean of these squares, with its standard error to first order.
fn log_root(squares: &[f64]) -> (f64, f64) {
    let (mean, error) = mean_and_error(squares);
    (mean.ln() / 2.0, error / (2.0 * mean))
}

/// Slope of logarithms with known errors on the logarithm of the size, with its standard error.
fn weighted_slope(sizes: &[u32], logs: &[(f64, f64)]) -> (f64, f64) {
    let total: f64 = logs.iter().map(|(_, error)| error.powi(-2)).sum();
    let x: Vec<f64> = sizes.iter().map(|&size| f64::from(size).ln()).collect();
    let mean = x.iter().zip(logs).map(|(x, (_, error))| x / (error * error)).sum::<f64>() / total;
    let spread: f64 = x.iter().zip(logs).map(|(x, (_, error))| ((x - mean) / error).powi(2)).sum();
    let along: f64 = x.iter().zip(logs).map(|(x, (log, error))| (x - mean) * log / (error * error)).sum();
    (along / spread, spread.powf(-0.5))
}
