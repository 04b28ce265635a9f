//! G1, G2: growth of V along rays that leave the fine-tuning subspace, and where there is none.

use ndarray_linalg::Eigh as _;
use ndarray_linalg::UPLO;

use super::{Claim, Grid, Law};
use crate::error::Result;
use crate::evidence::Evidence;
use crate::layer::{Dropout, Layer, Site};
use crate::random::{normal, stream};
use crate::subspace::Subspace;

pub(super) const RAY: Claim = Claim {
    id: "G1",
    statement: "V(x_S + delta u) = V(x_S) + 2 delta x_S'Qu + delta^2 u'Qu, strictly increasing beyond max(0, -x_S'Qu / u'Qu).",
    assumptions: "u'Qu > 0; u orthogonal to S_X; the off-subspace part is added to x_S",
    bearing: "True in this sense: adding a component outside S_X raises V quadratically, after a possible dip",
    wrong: &["the cross term counted once", "growth from delta = 0 on, without the dip"],
    quantitative: true,
    examine: ray,
};

pub(super) const NO_GROWTH: Claim = Claim {
    id: "G2",
    statement: "For u orthogonal to the row space of A, V does not grow at the rank site, and does at the input and weight sites.",
    assumptions: "r < d_in; B and the columns of A not zero",
    bearing: "With the row space of A as the subspace, the paper's claim is false at the rank site",
    wrong: &["V grows there at the rank site too, at the average rate tr Q / d"],
    quantitative: false,
    examine: no_growth,
};

/// (d, r, k, p).
fn points(grid: Grid) -> Vec<(usize, usize, usize, f64)> {
    grid.pick(
        vec![(12, 3, 4, 0.1), (24, 4, 8, 0.3), (24, 8, 2, 0.5)],
        vec![
            (12, 3, 4, 0.1),
            (24, 4, 8, 0.3),
            (24, 8, 2, 0.5),
            (64, 8, 16, 0.15),
            (96, 1, 32, 0.05),
            (48, 16, 40, 0.2),
        ],
    )
}

fn layer(seed: u64, number: usize, d: usize, rank: usize, p: f64, site: Site) -> Result<Layer> {
    let mut random = stream(seed, number as u64);
    let (a, b) = (normal((rank, d), 1.0, &mut random), normal((5, rank), 1.0, &mut random));
    Layer::new(a, b, 2.0, site, Dropout::new(p)?)
}

/// Rounding of sums of `d` products relative to the sum of their sizes, with room for the products' own rounding.
fn rounding(d: usize) -> f64 {
    8.0 * f64::EPSILON * d as f64
}

fn ray(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let mut errors = Vec::new();
    let (mut dips, mut rays) = (0, 0);
    for (number, (d, rank, k, p)) in points(grid).into_iter().enumerate() {
        let mut random = stream(seed, (number as u64) << 32 | 1);
        let subspace = Subspace::random(d, k, &mut random)?;
        for site in Site::ALL {
            let layer = layer(seed, number, d, rank, p, site)?;
            let form = layer.quadratic_form();
            let trace = form.diag().sum();
            for _ in 0..grid.pick(4, 20) {
                let x = subspace.basis().dot(&crate::random::direction(k, &mut random)) * (d as f64).sqrt();
                let u = subspace.direction_outside(&mut random)?;
                let (start, cross, growth) = (x.dot(&form.dot(&x)), x.dot(&form.dot(&u)), u.dot(&form.dot(&u)));
                let turn = (-cross / growth).max(0.0);
                rays += 1;
                dips += usize::from(turn > 0.0);
                let along = |delta: f64| layer.covariance((&x + &(&u * delta)).view()).diag().sum();
                for step in 0..8 {
                    let delta = turn.max(0.1) * 0.5 * f64::from(step);
                    let cross = if law.is_wrong(0) { cross } else { 2.0 * cross };
                    let predicted = (start + delta * cross + delta * delta * growth) * law.factor();
                    errors.push((along(delta) - predicted).abs() / (rounding(d) * trace * (x.dot(&x) + delta * delta)));
                }
                // Strictly increasing beyond the turn: an error of 2 refutes.
                let from = if law.is_wrong(1) { 0.0 } else { turn };
                let step = turn.max(1.0) / 16.0;
                for number in 0..32 {
                    let delta = from + step * f64::from(number);
                    errors.push(if along(delta + step) > along(delta) { 0.0 } else { 2.0 });
                }
            }
        }
    }
    let note = format!("{rays} rays; V first falls on {dips} of them");
    Ok(Evidence::identity(&errors, points(grid).len() * 3, "largest error / rounding", note))
}

fn no_growth(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let mut errors = Vec::new();
    let mut example = String::new();
    for (number, (d, rank, _, p)) in points(grid).into_iter().enumerate() {
        for site in Site::ALL {
            let layer = layer(seed, number, d, rank, p, site)?;
            let form = layer.quadratic_form();
            let (eigenvalues, _) = form.eigh(UPLO::Lower)?;
            let largest = eigenvalues.iter().copied().fold(0.0, f64::max);
            // PSD, and at the rank site of rank at most r.
            errors.extend(eigenvalues.iter().map(|&value| -value / (rounding(d) * largest)));
            let positive = eigenvalues.iter().filter(|&&value| value > rounding(d) * largest).count();
            let expected = if site == Site::Rank { rank } else { d };
            errors.push(if positive == expected { 0.0 } else { 2.0 });
            let rows = Subspace::span(&layer.a.t().to_owned())?;
            let mut random = stream(seed, (number as u64) << 32 | 2);
            for _ in 0..grid.pick(8, 40) {
                let u = rows.direction_outside(&mut random)?;
                let growth = u.dot(&form.dot(&u));
                if site == Site::Rank {
                    let claimed = if law.is_wrong(0) { form.diag().sum() / d as f64 } else { 0.0 };
                    errors.push((growth - claimed).abs() / (rounding(d) * largest));
                    if example.is_empty() {
                        let x = rows.basis().column(0).to_owned();
                        let far = &x + &(&u * 1e3);
                        example = format!(
                            "for d = {d} and r = {rank}, V is {:.6} at x in S_A; at distance 1000 from it V is {:.6}",
                            layer.variance(x.view()),
                            layer.variance(far.view())
                        );
                    }
                } else {
                    errors.push(if growth > rounding(d) * largest { 0.0 } else { 2.0 });
                }
            }
        }
    }
    Ok(Evidence::identity(&errors, points(grid).len() * 3, "largest error / rounding", example))
}
