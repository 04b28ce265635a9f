//! T1, T2: one mask per token against one mask per sequence, behind mean pooling and behind attention.

use ndarray::{Array1, Array2, Axis};

use super::moments::of_mean;
use super::{Claim, Grid, Law};
use crate::error::Result;
use crate::evidence::{Comparisons, Evidence};
use crate::layer::{Dropout, Layer, Site};
use crate::random::{normal, stream};

pub(super) const SCOPES: Claim = Claim {
    id: "T1",
    statement: "Of a mean over L tokens V is sum_t V(x_t) / L^2 with a mask for each token and V(mean x_t) with one for the sequence.",
    assumptions: "mean pooling; as M1",
    bearing: "With a mask for each token V falls with the length of the text. With one mask for the sequence only the distance of the mean \
              token counts: parts outside S_X of opposite sign cancel",
    wrong: &["the scopes agree: V(mean x_t) for both", "per sequence the mean of V(x_t)"],
    quantitative: true,
    examine: scopes,
};

pub(super) const ATTENTION: Claim = Claim {
    id: "T2",
    statement: "Behind softmax attention over values with dropout, V is sum_t alpha_t^2 V(x_t) with a mask for each token and V(sum_t alpha_t x_t) \
                with one for the sequence. As a token moves along u, V tends to delta^2 u'Qu where its logit rises, and to V of the other tokens \
                where it falls.",
    assumptions: "one head; queries and keys without dropout, the query another token's; as M1",
    bearing: "Attention decides whether a distant token is seen at all: V grows with its distance only where the query attends to it",
    wrong: &[
        "alpha_t instead of its square",
        "as mean pooling: 1 / L^2",
        "attention stays as it was while the token moves",
    ],
    quantitative: true,
    examine: attention,
};

/// The increment under given multipliers: `[d_in]`, `[r]` or `[r, d_in]`, flat.
fn masked(layer: &Layer, z: &[f64], x: ndarray::ArrayView1<'_, f64>) -> Array1<f64> {
    let z = ndarray::ArrayView1::from(z);
    let core = match layer.site {
        Site::Input => layer.a.dot(&(&z * &x)),
        Site::Rank => &z * &layer.a.dot(&x),
        Site::Weight => {
            let rows = layer.a.rows().into_iter().zip(z.exact_chunks(x.len()));
            rows.map(|(a, z)| (&a * &z).dot(&x)).collect()
        }
    };
    layer.b.dot(&core) * layer.scale
}

fn scopes(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let samples = grid.pick(1_000, 10_000);
    let points = grid.pick(vec![(8, 3, 5, 0.3)], vec![(8, 3, 5, 0.3), (12, 4, 1, 0.1), (16, 2, 24, 0.5)]);
    let mut comparisons = Comparisons::default();
    let mut ratios = Vec::new();
    for (number, &(d, rank, tokens, p)) in points.iter().enumerate() {
        for site in Site::ALL {
            let mut random = stream(seed, (number * 3 + site as usize) as u64);
            let (a, b) = (normal((rank, d), 1.0, &mut random), normal((3, rank), 1.0, &mut random));
            let layer = Layer::new(a, b, 1.5, site, Dropout::new(p)?)?;
            // Tokens share a part, as those of one text do.
            let x = normal((tokens, d), 1.0, &mut random) + normal((1, d), 0.7, &mut random);
            let mean_token = x.sum_axis(Axis(0)) / tokens as f64;
            let pooled = layer.mean(mean_token.view());
            let sum = layer.variances(x.view()).sum();
            let shared = layer.variance(mean_token.view());
            let per_token = if law.is_wrong(0) { shared } else { sum / (tokens * tokens) as f64 };
            let per_sequence = if law.is_wrong(1) { sum / tokens as f64 } else { shared };
            let width = match site {
                Site::Input => d,
                Site::Rank => rank,
                Site::Weight => rank * d,
            };
            let mut deviations = |per_token: bool| -> Vec<f64> {
                (0..samples)
                    .map(|_| {
                        let rows = if per_token { tokens } else { 1 };
                        let z: Array2<f64> = layer.dropout.mask((rows, width), &mut random);
                        let h = x.rows().into_iter().enumerate().fold(-&pooled, |sum, (t, x)| {
                            let row = z.row(t.min(rows - 1)).to_vec();
                            sum + masked(&layer, &row, x) / tokens as f64
                        });
                        h.dot(&h)
                    })
                    .collect()
            };
            for (scope, predicted) in [(true, per_token), (false, per_sequence)] {
                let values = deviations(scope);
                let (mean, predicted, error) = of_mean(values.iter().copied(), predicted * law.factor());
                comparisons.add_independent(mean, predicted, error);
            }
            if site == Site::Rank {
                ratios.push(format!("{:.1} at L = {tokens}", shared * (tokens * tokens) as f64 / sum));
            }
        }
    }
    let note =
        format!("{samples} samples a point. V per sequence over V per token at the rank site: {}", ratios.join("; "));
    Ok(comparisons.evidence(points.len() * 3, note))
}

/// Squared deviations of `sum_t weights_t h_t`, with a mask for each token or one for all.
fn deviations(
    layer: &Layer,
    (x, weights): (&Array2<f64>, &Array1<f64>),
    (per_token, samples): (bool, usize),
    random: &mut impl rand::Rng,
) -> Vec<f64> {
    let width = match layer.site {
        Site::Input => x.ncols(),
        Site::Rank => layer.a.nrows(),
        Site::Weight => layer.a.len(),
    };
    let mean = layer.mean(x.t().dot(weights).view());
    (0..samples)
        .map(|_| {
            let rows = if per_token { x.nrows() } else { 1 };
            let z: Array2<f64> = layer.dropout.mask((rows, width), random);
            let h = x.rows().into_iter().enumerate().fold(-&mean, |sum, (t, x)| {
                let row = z.row(t.min(rows - 1)).to_vec();
                sum + masked(layer, &row, x) * weights[t]
            });
            h.dot(&h)
        })
        .collect()
}

fn attention(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let samples = grid.pick(1_200, 20_000);
    let points = grid.pick(vec![(6, 2, 4, 0.3)], vec![(6, 2, 4, 0.3), (12, 4, 3, 0.1), (8, 2, 12, 0.5)]);
    let mut comparisons = Comparisons::default();
    for (number, &(d, rank, tokens, p)) in points.iter().enumerate() {
        let mut random = stream(seed, number as u64);
        let (a, b) = (normal((rank, d), 1.0, &mut random), normal((3, rank), 1.0, &mut random));
        let layer = Layer::new(a, b, 1.5, Site::ALL[number % 3], Dropout::new(p)?)?;
        let x = normal((tokens, d), 1.0, &mut random);
        // The first token's query times the keys' map.
        let key = normal((d, d), 1.0 / d as f64, &mut random).dot(&x.row(0));
        let weights = |x: &Array2<f64>| -> Array1<f64> {
            let logits = x.dot(&key);
            let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights = logits.mapv(|logit| (logit - highest).exp());
            &weights / weights.sum()
        };
        let variance_of = |x: &Array2<f64>, alpha: &Array1<f64>, skipped: Option<usize>| -> f64 {
            let v = layer.variances(x.view());
            let weight = |t: usize| match law {
                Law::Wrong(0) => alpha[t],
                Law::Wrong(1) => (tokens * tokens) as f64 / (tokens as f64).powi(4),
                _ => alpha[t] * alpha[t],
            };
            (0..tokens).filter(|&t| Some(t) != skipped).map(|t| weight(t) * v[t]).sum()
        };
        let alpha = weights(&x);
        let shared = layer.variance(x.t().dot(&alpha).view());
        for (per_token, predicted) in [(true, variance_of(&x, &alpha, None)), (false, shared)] {
            let found = deviations(&layer, (&x, &alpha), (per_token, samples), &mut random);
            let (mean, predicted, error) = of_mean(found.iter().copied(), predicted * law.factor());
            comparisons.add_independent(mean, predicted, error);
        }
        // The second token moves along u, to where the query looks and away from it.
        let raw = crate::random::direction(d, &mut random);
        let u = &raw * raw.dot(&key).signum();
        let delta = 1e4 / u.dot(&key);
        for sign in [1.0, -1.0] {
            let mut moved = x.clone();
            moved.row_mut(1).scaled_add(sign * delta, &u);
            let stays = law.is_wrong(2);
            let predicted = if stays {
                variance_of(&moved, &alpha, None)
            } else if sign > 0.0 {
                delta * delta * layer.variance(u.view()) * if law.is_wrong(1) { (tokens as f64).powi(-2) } else { 1.0 }
            } else {
                // The others share what the moved token had.
                let others: Array1<f64> =
                    alpha.iter().enumerate().map(|(t, &w)| if t == 1 { 0.0 } else { w }).collect();
                variance_of(&x, &(&others / others.sum()), Some(1))
            };
            let found = deviations(&layer, (&moved, &weights(&moved)), (true, samples), &mut random);
            let (mean, predicted, error) = of_mean(found.iter().copied(), predicted * law.factor());
            comparisons.add_independent(mean, predicted, error);
        }
    }
    Ok(comparisons.evidence(4 * points.len(), format!("{samples} samples a point, at every site")))
}
