//! D1, D2: behind a nonlinearity.

use ndarray::{Array1, Array2, Axis};

use super::{Claim, Grid, Law};
use crate::error::Result;
use crate::evidence::Evidence;
use crate::layer::Dropout;
use crate::random::{normal, stream};

pub(super) const LINEARISED: Claim = Claim {
    id: "D1",
    statement: "Behind a nonlinearity Cov = kappa J J' (1 + O(s)); as p -> 0 at fixed s it tends to kappa sum D_i D_i', not kappa J J'.",
    assumptions: "rank site; one tanh layer behind the adapter; all 2^r masks enumerated",
    bearing: "Sampling-free variances need a weak adapter, not a small dropout probability",
    wrong: &["the relative error of kappa J J' vanishes as p -> 0", "its order in s is 2"],
    quantitative: true,
    examine: linearised,
};

pub(super) const SOFTMAX: Claim = Claim {
    id: "D2",
    statement: "A class probability has Var P <= m (1 - m); along x_S + delta u it tends to w (1 - w), w the share of masks whose logit \
                rises along u, and is not monotone.",
    assumptions: "two classes; rank site; a linear network; all 2^r masks enumerated",
    bearing: "The variance of a probability does not grow with the distance. Far out each mask is certain; what is left is whether masks agree",
    wrong: &["monotone in delta", "it vanishes far out, as all probabilities saturate"],
    quantitative: true,
    examine: softmax,
};

/// `f(z) = W tanh(w + s B (z * u))`.
struct Network {
    head: Array2<f64>,
    frozen: Array1<f64>,
    b: Array2<f64>,
    u: Array1<f64>,
}

impl Network {
    fn logits(&self, scale: f64, z: &Array1<f64>) -> Array1<f64> {
        self.head.dot(&(&self.frozen + &(self.b.dot(&(z * &self.u)) * scale)).mapv(f64::tanh))
    }

    /// Covariance over all masks, exactly.
    fn covariance(&self, scale: f64, dropout: Dropout) -> Array2<f64> {
        let rank = self.u.len();
        let (mut mean, mut second) =
            (Array1::<f64>::zeros(self.head.nrows()), Array2::zeros((self.head.nrows(), self.head.nrows())));
        // Around the logits at the mean, so that small covariances do not cancel.
        let center = self.logits(scale, &Array1::ones(rank));
        for (z, probability) in masks(rank, dropout) {
            let f = self.logits(scale, &z) - &center;
            mean = mean + &f * probability;
            second += &(outer(&f) * probability);
        }
        second - outer(&mean)
    }

    /// `J J^T`.
    fn linear(&self, scale: f64) -> Array2<f64> {
        let at = (&self.frozen + &(self.b.dot(&self.u) * scale)).mapv(|h| 1.0 - h.tanh().powi(2));
        let jacobian = self.head.dot(&(&self.b * &self.u * scale * &at.insert_axis(Axis(1))));
        jacobian.dot(&jacobian.t())
    }

    /// `sum_i D_i D_i^T`.
    fn single_drops(&self, scale: f64) -> Array2<f64> {
        let rank = self.u.len();
        let center = self.logits(scale, &Array1::ones(rank));
        (0..rank).fold(Array2::zeros((self.head.nrows(), self.head.nrows())), |sum, dropped| {
            let mut z = Array1::ones(rank);
            z[dropped] = 0.0;
            sum + outer(&(self.logits(scale, &z) - &center))
        })
    }
}

/// All `2^rank` multipliers with their probabilities.
pub(super) fn masks(rank: usize, dropout: Dropout) -> impl Iterator<Item = (Array1<f64>, f64)> {
    (0_u32..1 << rank).map(move |mask| {
        let kept = |i: usize| mask >> i & 1 == 1;
        let z = Array1::from_shape_fn(rank, |i| if kept(i) { 1.0 / dropout.keep() } else { 0.0 });
        (z, (0..rank).map(|i| if kept(i) { dropout.keep() } else { 1.0 - dropout.keep() }).product())
    })
}

fn outer(vector: &Array1<f64>) -> Array2<f64> {
    let column = vector.view().insert_axis(Axis(1));
    column.dot(&column.t())
}

fn distance(left: &Array2<f64>, right: &Array2<f64>) -> f64 {
    let norm = |matrix: &Array2<f64>| matrix.iter().map(|entry| entry * entry).sum::<f64>().sqrt();
    norm(&(left - right)) / norm(right)
}

fn linearised(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let networks = grid.pick(4, 20);
    let (mut errors, mut left) = (Vec::new(), Vec::new());
    let order = if law.is_wrong(1) { 2.0 } else { law.factor() };
    for number in 0..networks {
        let mut random = stream(seed, number);
        let rank = 6;
        let network = Network {
            head: normal((3, 8), 1.0, &mut random),
            frozen: normal((8, 1), 0.7, &mut random).column(0).to_owned(),
            b: normal((8, rank), 0.5, &mut random),
            u: normal((rank, 1), 1.0, &mut random).column(0).to_owned(),
        };
        // (a) the order in s at p = 0.2, extrapolated to s -> 0.
        let dropout = Dropout::new(0.2)?;
        let error = |s: f64| distance(&network.covariance(s, dropout), &(network.linear(s) * dropout.variance()));
        let slope = |s: f64| (error(s) / error(s / 2.0)).log2();
        let measured = 2.0 * slope(0.002) - slope(0.004);
        errors.push((measured - order).abs() / 0.02);
        // (b) the limit p -> 0 at s = 1.
        let small = Dropout::new(1e-7)?;
        let covariance = network.covariance(1.0, small) / small.variance();
        let limit = if law.is_wrong(0) { network.linear(1.0) } else { network.single_drops(1.0) * law.factor() };
        errors.push(distance(&covariance, &limit) / 1e-4);
        left.push(distance(&network.linear(1.0), &network.single_drops(1.0)));
    }
    let (mean, _) = crate::evidence::mean_and_error(&left);
    let note =
        format!("{networks} networks. At s = 1 and p -> 0 the delta method is off by {:.0} % on average", 100.0 * mean);
    Ok(Evidence::identity(&errors, 2 * errors.len(), "largest error / bound", note))
}

/// Mean and variance of a class probability over all masks; `logit(z)`.
pub(super) fn probability_moments(rank: usize, dropout: Dropout, logit: impl Fn(&Array1<f64>) -> f64) -> (f64, f64) {
    moments(masks(rank, dropout).map(|(z, share)| (logit(&z), share)))
}

/// Mean and variance of the probability over logits with their shares.
fn moments(logits: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    let values: Vec<(f64, f64)> = logits.map(|(logit, share)| (1.0 / (1.0 + (-logit).exp()), share)).collect();
    let mean: f64 = values.iter().map(|(p, share)| p * share).sum();
    (mean, values.iter().map(|(p, share)| (p - mean).powi(2) * share).sum())
}

fn softmax(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let rays = grid.pick(20, 200);
    let (d, rank) = (12, 6);
    let (mut errors, mut turning, mut vanishing) = (Vec::new(), 0, 0);
    for number in 0..rays {
        let mut random = stream(seed, number);
        let dropout = Dropout::new(0.3)?;
        let (a, b) = (normal((rank, d), 1.0, &mut random), normal((1, rank), 0.7, &mut random));
        let (frozen, x, u) =
            (normal((1, d), 0.5, &mut random), normal((d, 1), 0.5, &mut random), normal((d, 1), 1.0, &mut random));
        // Logits are a + delta b, mask by mask.
        let of = |z: &Array1<f64>, x: &Array2<f64>| frozen.dot(x)[[0, 0]] + (&b * z).dot(&a.dot(x))[[0, 0]];
        let lines: Vec<(f64, f64, f64)> =
            masks(rank, dropout).map(|(z, share)| (of(&z, &x), of(&z, &u), share)).collect();
        let curve: Vec<f64> = (0..60)
            .map(|step| {
                let delta = 0.01 * 1.3_f64.powi(step);
                let (mean, variance) = moments(lines.iter().map(|&(a, b, share)| (a + delta * b, share)));
                errors.push((variance - mean * (1.0 - mean)) / 1e-14);
                variance
            })
            .collect();
        let falls = curve.windows(2).any(|pair| pair[1] < pair[0] * (1.0 - 1e-9));
        turning += usize::from(falls);
        if law.is_wrong(0) {
            errors.push(if falls { 2.0 } else { 0.0 });
        }
        // Far enough for the flattest mask.
        let slopes: Vec<(f64, f64)> = masks(rank, dropout).map(|(z, share)| (of(&z, &u), share)).collect();
        let flattest = slopes.iter().map(|(slope, _)| slope.abs()).fold(f64::INFINITY, f64::min);
        let (_, last) = probability_moments(rank, dropout, |z| of(z, &x) + of(z, &u) * 1e3 / flattest);
        let w: f64 = slopes.iter().filter(|(slope, _)| *slope > 0.0).map(|(_, share)| share).sum();
        let limit = if law.is_wrong(1) { 0.0 } else { w * (1.0 - w) * law.factor() };
        errors.push((last - limit).abs() / 1e-9);
        vanishing += usize::from(w * (1.0 - w) < 1e-9);
    }
    // A statement about some rays needs some.
    errors.push(if turning > 0 { 0.0 } else { 2.0 });
    let note =
        format!("{rays} rays. The variance falls somewhere on {turning} of them. It vanishes far out on {vanishing}");
    Ok(Evidence::identity(&errors, usize::try_from(rays).unwrap_or(0), "largest error / bound", note))
}
