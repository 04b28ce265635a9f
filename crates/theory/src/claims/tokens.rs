//! T1: one mask per token against one mask per sequence, behind mean pooling.

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
    let samples = grid.pick(4_000, 40_000);
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
