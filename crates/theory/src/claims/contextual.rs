//! C1, C2: contextual noise on an `r x r` core (C-LoRA).

use ndarray::{Array1, Array2};

use super::moments::of_mean;
use super::{Claim, Grid, Law};
use crate::error::Result;
use crate::evidence::{Comparisons, Evidence, mean_and_error};
use crate::random::{normal, stream};
use crate::subspace::Subspace;

pub(super) const CONTEXTUAL: Claim = Claim {
    id: "C1",
    statement: "C-LoRA's conditional covariance is s^2 B diag(sum_j sigma_ij(u)^2 u_j^2) B', u = A x.",
    assumptions: "sigma = sigmoid(G(u))^2 from a ReLU network of u; noise independent of u",
    bearing: "V depends on x through u alone: orthogonal to the rows of A it does not grow, as at the rank site",
    wrong: &["sigma instead of sigma^2", "rows and columns of sigma exchanged"],
    quantitative: true,
    examine: covariance,
};

pub(super) const SATURATION: Claim = Claim {
    id: "C2",
    statement: "Far along w C-LoRA's V tends to delta^2 s^2 sum_i |b_i|^2 sum_(j: g_ij > 0) v_j^2, v = A w, g = G(v); where A w = 0 it stays.",
    assumptions: "as C1; a ReLU network without offsets",
    bearing: "Contextual noise grows with an added distance like dropout. At fixed norm it is bounded; outside the row space of A it is blind",
    wrong: &[
        "V stays the quadratic form that it is at x",
        "sigma saturates at 1 everywhere",
        "rows and columns of g exchanged",
    ],
    quantitative: true,
    examine: saturation,
};

/// Contextual noise on an `r x r` core.
pub(super) struct Contextual {
    b: Array2<f64>,
    scale: f64,
    first: Array2<f64>,
    second: Array2<f64>,
}

impl Contextual {
    pub(super) fn random(rank: usize, random: &mut impl rand::Rng) -> Self {
        Self {
            b: normal((4, rank), 1.0, random),
            scale: 2.0,
            first: normal((16, rank), 0.7, random),
            second: normal((rank * rank, 16), 0.5, random),
        }
    }

    /// `sigma(u) [r, r]`.
    fn sigma(&self, u: &Array1<f64>) -> Array2<f64> {
        let rank = u.len();
        let raw = self.second.dot(&self.first.dot(u).mapv(|h| h.max(0.0)));
        let sigma = raw.mapv(|g| (1.0 / (1.0 + (-g).exp())).powi(2));
        Array2::from_shape_fn((rank, rank), |(i, j)| sigma[i * rank + j])
    }

    pub(super) fn variance(&self, u: &Array1<f64>) -> f64 {
        let v = self.sigma(u).mapv(|s| s * s).dot(&u.mapv(|u| u * u));
        self.scale.powi(2) * self.b.mapv(|b| b * b).sum_axis(ndarray::Axis(0)).dot(&v)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every check may fail")]
fn covariance(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let samples = grid.pick(10_000, 60_000);
    let ranks = grid.pick(vec![2, 4], vec![1, 2, 4, 8]);
    let mut comparisons = Comparisons::default();
    let mut growth = Vec::new();
    for (number, &rank) in ranks.iter().enumerate() {
        let mut random = stream(seed, number as u64);
        let layer = Contextual::random(rank, &mut random);
        let u = normal((rank, 1), 1.0, &mut random).column(0).to_owned();
        let sigma = layer.sigma(&u);
        let claimed = match law {
            Law::Wrong(0) => sigma.clone(),
            Law::Wrong(_) => sigma.t().mapv(|s| s * s),
            _ => sigma.mapv(|s| s * s),
        };
        let v = claimed.dot(&u.mapv(|u| u * u));
        let predicted = (&layer.b * &v).dot(&layer.b.t()) * layer.scale.powi(2) * law.factor();
        let draws: Vec<Array1<f64>> = (0..samples)
            .map(|_| layer.b.dot(&(&sigma * &normal((rank, rank), 1.0, &mut random)).dot(&u)) * layer.scale)
            .collect();
        for i in 0..4 {
            for j in 0..=i {
                let (mean, predicted, error) = of_mean(draws.iter().map(|d| d[i] * d[j]), predicted[[i, j]]);
                comparisons.add(mean, predicted, error);
            }
        }
        let (mean, predicted, error) = of_mean(draws.iter().map(|d| d.dot(d)), predicted.diag().sum());
        comparisons.add_independent(mean, predicted, error);
        // A quadratic form would give the same ratio at every length.
        growth.push(format!("{:.2}", layer.variance(&(&u * 10.0)) / layer.variance(&u) / 100.0));
    }
    let note = format!(
        "{samples} samples a point. V(10 u) / (100 V(u)) is {}; a quadratic form would have 1",
        growth.join(", ")
    );
    Ok(comparisons.evidence(ranks.len(), note))
}

/// `g_ij > 0`, `g = G(v)`: entry by entry from the weights of the network, without its sigmoids.
fn gates(layer: &Contextual, v: &Array1<f64>) -> Array2<f64> {
    let rank = v.len();
    Array2::from_shape_fn((rank, rank), |(i, j)| {
        let open = |h: usize| (0..rank).map(|l| layer.first[[h, l]] * v[l]).sum::<f64>().max(0.0);
        let g: f64 = (0..layer.first.nrows()).map(|h| layer.second[[i * rank + j, h]] * open(h)).sum();
        if g > 0.0 { 1.0 } else { 0.0 }
    })
}

fn saturation(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let points = grid.pick(8, 60);
    let samples = grid.pick(1_000, 10_000);
    let (rank, d) = (4, 12);
    let mut comparisons = Comparisons::default();
    let mut growth = Vec::new();
    for number in 0..points {
        let mut random = stream(seed, number);
        let layer = Contextual::random(rank, &mut random);
        let a = normal((rank, d), 0.4, &mut random);
        let (x, w) = (normal((d, 1), 1.0, &mut random), normal((d, 1), 1.0, &mut random));
        let read = |x: &Array2<f64>| a.dot(x).column(0).to_owned();
        let (u, v) = (read(&x), read(&w));
        let claimed = match law {
            Law::Wrong(0) => layer.sigma(&u),
            Law::Wrong(1) => Array2::ones((rank, rank)),
            Law::Wrong(_) => gates(&layer, &v).t().to_owned(),
            _ => gates(&layer, &v),
        };
        let norms = layer.b.mapv(|b| b * b).sum_axis(ndarray::Axis(0));
        let predicted = layer.scale.powi(2) * norms.dot(&claimed.mapv(|s| s * s).dot(&v.mapv(|v| v * v)));
        // Samples of the increment far out, in units of the distance.
        let delta = 1e9;
        let far = &u + &(&v * delta);
        let sigma = layer.sigma(&far);
        let noise = (0..samples).map(|_| normal((rank, rank), 1.0, &mut random)).collect::<Vec<_>>();
        let increments = |sigma: &Array2<f64>, u: &Array1<f64>| -> Vec<f64> {
            let one = |noise: &Array2<f64>| layer.b.dot(&(sigma * noise).dot(u)) * layer.scale;
            noise.iter().map(|noise| one(noise).mapv(|h| h * h).sum()).collect()
        };
        let found = increments(&sigma, &(far / delta));
        let (mean, predicted, error) = of_mean(found.iter().copied(), predicted * law.factor());
        comparisons.add_independent(mean, predicted, error);
        growth.push(mean / (layer.scale.powi(2) * norms.sum() * v.dot(&v)));
        // Orthogonal to the rows of A the same noise gives the same increments.
        let rows = Subspace::span(&a.t().to_owned())?;
        let blind = read(&(&x + &rows.direction_outside(&mut random)?.insert_axis(ndarray::Axis(1)) * 1e3));
        let total = |u: &Array1<f64>| increments(&layer.sigma(u), u).iter().sum::<f64>();
        comparisons.add(total(&blind), total(&u), 0.0);
    }
    let (mean, _) = mean_and_error(&growth);
    let note = format!(
        "{points} rays with {samples} samples each; V / delta^2 tends to {:.0} % of its bound on average",
        100.0 * mean
    );
    Ok(comparisons.evidence(usize::try_from(points).unwrap_or(0), note))
}
