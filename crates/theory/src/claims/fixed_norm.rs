//! N1, F1: the variance inside the fine-tuning subspace against that outside, at fixed norm.

use ndarray::{Array2, Axis};
use rayon::prelude::*;

use super::training::{Size, Trained, column_norms, energy, sizes, train_expected};
use super::{Claim, Grid, Law};
use crate::error::Result;
use crate::evidence::{Comparisons, Evidence, Seen, mean_and_error};
use crate::random::stream;

pub(super) const CHARGE: Claim = Claim {
    id: "N1",
    statement: "Gradient flow conserves |a_i P|^2 - |b_i|^2; the drift of gradient descent is of first order in the step.",
    assumptions: "rank site; expected dropout loss; B_0 = 0",
    bearing: "Inside S_X the rows of A grow with B, outside they do not; this decides F1",
    wrong: &["the drift is of second order", "there is no conservation: the drift does not fall"],
    quantitative: true,
    examine: charge,
};

pub(super) const FIXED_NORM: Claim = Claim {
    id: "F1",
    statement: "Variance per unit of input energy, outside over inside S_X: rho = sigma_A^2 sum b^2 / (sum b^2 |a_0 P|^2 / k + sum b^4 / k), \
                b_i = |b_i|.",
    assumptions: "rank site; expected dropout loss, small steps; inputs isotropic in S_X; B_0 = 0",
    bearing: "At fixed norm, which LayerNorm enforces, moving energy out of S_X changes V by the factor rho. No distance enters rho",
    wrong: &[
        "no growth inside: rho = 1",
        "rows and columns exchanged: sum b^4 without 1 / k",
        "B independent of A_0 P: rho = 1 / (1 + sum b^4 / (k sigma_A^2 sum b^2))",
    ],
    quantitative: true,
    examine: fixed_norm,
};

fn charge(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let order = match law {
        Law::Wrong(0) => 2.0,
        Law::Wrong(_) => 0.0,
        law => law.factor(),
    };
    let (mut errors, mut orders) = (Vec::new(), Vec::new());
    let all = sizes(grid);
    for (number, &size) in all.iter().enumerate() {
        // The same problem and time with ever smaller steps.
        let drift = |halvings: u32| -> Result<f64> {
            let (rate, steps) = (0.02 / f64::from(1 << halvings), 500_usize << halvings);
            let trained = train_expected(size, rate, steps, &mut stream(seed, number as u64))?;
            let charges = |a: &Array2<f64>, b: &Array2<f64>| {
                let inside = a.dot(trained.subspace.basis()).mapv(|c| c * c).sum_axis(Axis(1));
                inside - ndarray::Array1::from(column_norms(b))
            };
            let before = charges(&trained.start, &Array2::zeros(trained.pair.b.dim()));
            let after = charges(&trained.pair.a, &trained.pair.b);
            Ok((after - before).mapv(f64::abs).sum())
        };
        let slope = |halvings: u32| -> Result<f64> { Ok((drift(halvings)? / drift(halvings + 1)?).log2()) };
        // The order at step h is 1 + O(h); Richardson's combination removes that.
        let measured = 2.0 * slope(2)? - slope(1)?;
        errors.push((measured - order).abs() / 0.02);
        orders.push(measured);
    }
    let note =
        format!("the orders are {}", orders.iter().map(|order| format!("{order:.4}")).collect::<Vec<_>>().join(", "));
    Ok(Evidence::identity(&errors, all.len(), "largest error of the order / 0.02", note))
}

fn fixed_norm(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let replicas = grid.pick(40, 50);
    let base = Size { d_in: 40, d_out: 5, rank: 4, k: 8, p: 0.2, sigma: 0.2, noise: 0.1, scale: 1.0 };
    let mut sizes = vec![
        base,
        Size { rank: 8, k: 5, p: 0.4, sigma: 0.8, noise: 1.0, ..base },
        Size { sigma: 0.4, noise: 1.0, ..base },
    ];
    if grid == Grid::Full {
        sizes.clear();
        for (d_in, rank, k) in [(24, 4, 8), (40, 4, 8), (40, 8, 4), (64, 2, 16), (64, 8, 16)] {
            for p in [0.05, 0.2, 0.5] {
                for sigma in [0.1, 0.6] {
                    for noise in [0.1, 1.0] {
                        sizes.push(Size { d_in, rank, k, p, sigma, noise, ..base });
                    }
                }
            }
        }
    }
    // Learning rates with steps to the time 10, or 6.
    let rates = grid.pick(vec![(0.02, 300)], vec![(0.02, 500), (0.01, 1000)]);
    let mut comparisons = Comparisons::default();
    let (mut simple, mut rhos, mut seen, mut points) = (Vec::new(), Vec::new(), Vec::new(), 0_usize);
    for &size in &sizes {
        for &(rate, steps) in &rates {
            points += 1;
            let found = (0..replicas)
                .into_par_iter()
                .map(|replica| {
                    let mut random = stream(seed, (points as u64) << 32 | replica);
                    let Trained { subspace, start, pair } = train_expected(size, rate, steps, &mut random)?;
                    let k = size.k as f64;
                    let b = column_norms(&pair.b);
                    let measured =
                        energy(&pair.a, &pair.b, subspace.complement()) / energy(&pair.a, &pair.b, subspace.basis());
                    let total: f64 = b.iter().sum();
                    let fourth: f64 = b.iter().map(|b| b * b).sum();
                    let inside = energy(&start, &pair.b, subspace.basis());
                    let sigma = size.sigma.powi(2);
                    let independent = 1.0 / (1.0 + fourth / (k * sigma * total));
                    let predicted = match law {
                        Law::Wrong(0) => 1.0,
                        Law::Wrong(1) => sigma * total / (inside + fourth),
                        Law::Wrong(_) => independent,
                        _ => sigma * total / (inside + fourth / k),
                    };
                    Ok((measured / predicted, measured / independent, measured, predicted))
                })
                .collect::<Result<Vec<_>>>()?;
            comparisons.add_mean(&found.iter().map(|found| found.0).collect::<Vec<_>>(), law.factor(), true);
            simple.push(mean_and_error(&found.iter().map(|found| found.1).collect::<Vec<_>>()).0);
            let (rho, standard_error) = mean_and_error(&found.iter().map(|found| found.2).collect::<Vec<_>>());
            rhos.push((rho, size.k));
            let (predicted, _) = mean_and_error(&found.iter().map(|found| found.3).collect::<Vec<_>>());
            seen.push(Seen { of: "rho", predicted: Some(predicted), measured: rho, standard_error });
        }
    }
    let (mean, _) = mean_and_error(&simple);
    let (highest, k) = rhos.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::NAN, 0));
    let above = rhos.iter().filter(|(rho, _)| *rho > 1.0).count();
    let note = format!(
        "{replicas} initialisations a point. Mean rho is above 1 on {above} points, and at most {highest:.3} (k = {k}). A form that takes B \
         as independent of A_0 P says at most 1. Measured rho is {mean:.3} times that form on average"
    );
    Ok(Evidence { seen, ..comparisons.evidence(points, note) })
}
