//! S3, F2, F3, F4: what becomes of S1 and F1 without their simplest assumptions.

use ndarray::Axis;
use ndarray_linalg::SVD as _;
use rayon::prelude::*;

use super::training::{Size, column_norms, descend, descend_by, energy, problem, start};
use super::{Claim, Grid, Law};
use crate::dynamics::{Optimiser, Pair, Problem};
use crate::error::Result;
use crate::evidence::{Comparisons, Evidence, Values, mean_and_error};
use crate::layer::Dropout;
use crate::random::{normal, stream};
use crate::subspace::Subspace;

pub(super) const FEW_INPUTS: Claim = Claim {
    id: "S3",
    statement: "With n < k inputs V of a fresh input, per unit of energy, is n / k of V in their span and 1 - n / k of \
                s^2 kappa sigma_A^2 |B|_F^2 in the mean.",
    assumptions: "rank site; gradient descent; inputs isotropic in a k-dimensional S; A_0 normal",
    bearing: "S_X is the span of what training saw. Fresh inputs of the same distribution lie partly outside it; that part has V as outside",
    wrong: &["training determines V in all of S", "a share of n / d instead of n / k"],
    quantitative: true,
    examine: few_inputs,
};

pub(super) const ANY_START: Claim = Claim {
    id: "F2",
    statement: "With B_0 not 0 and any alpha, rho = sigma_A^2 sum b^2 / (sum b^2 (|a_0 P|^2 + b^2 - b_0^2) / k).",
    assumptions: "as F1 but for B_0; b_0 = |b_0i|",
    bearing: "A warm start raises rho: what B had before training buys no growth of A inside. Alpha enters through B alone",
    wrong: &["B_0 taken for 0", "s^2 with b^4"],
    quantitative: true,
    examine: any_start,
};

pub(super) const ANY_COVARIANCE: Claim = Claim {
    id: "F3",
    statement: "At the optimum, for inputs of any covariance Sigma, finite samples among them: rho = sigma_A^2 |B|_F^2 r tr Sigma / |M|_*^2, \
                M = B A Sigma^(1/2).",
    assumptions: "I1 and L1; Sigma = X X' / n",
    bearing: "At the optimum F1 needs no isotropy: rho falls with the squared nuclear norm of what was learnt",
    wrong: &["the Frobenius norm instead of the nuclear norm", "k lambda_1 instead of tr Sigma: as if isotropic"],
    quantitative: true,
    examine: any_covariance,
};

pub(super) const LITTLE_LEARNT: Claim = Claim {
    id: "F4",
    statement: "Where little is learnt (sigma_A large) the mean of rho tends to k / (k - 2), at every rank.",
    assumptions: "as F1; trained to the optimum; k > 2",
    bearing: "In the mean over A_0, an adapter that has hardly moved has more V per energy outside; much more only where k is small",
    wrong: &["rho tends to 1", "rho tends to (k - 2) / k"],
    quantitative: true,
    examine: little_learnt,
};

const BASE: Size = Size { d_in: 40, d_out: 4, rank: 8, k: 6, p: 0.2, sigma: 0.25, noise: 0.1, scale: 1.0 };

fn few_inputs(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let replicas = grid.pick(40, 200);
    let points = grid.pick(
        vec![(BASE, 3), (Size { k: 12, ..BASE }, 3)],
        vec![
            (BASE, 3),
            (Size { k: 12, ..BASE }, 3),
            (Size { k: 12, ..BASE }, 10),
            (Size { k: 30, rank: 4, ..BASE }, 8),
            (Size { k: 8, p: 0.5, sigma: 0.1, ..BASE }, 4),
        ],
    );
    let mut comparisons = Comparisons::default();
    let mut rows = Vec::new();
    for (number, &(size, n)) in points.iter().enumerate() {
        let found = (0..replicas)
            .into_par_iter()
            .map(|replica| {
                let mut random = stream(seed, (number as u64) << 32 | replica);
                let population = Subspace::random(size.d_in, size.k, &mut random)?;
                let x = population.basis().dot(&normal((size.k, n), 1.0, &mut random));
                let map = normal((size.d_out, size.d_in), (size.d_in as f64).powf(-0.5), &mut random);
                let y = map.dot(&x);
                let pair =
                    descend(size, &Problem { x: x.clone(), y }, start(size, &mut random), 0.02, grid.pick(150, 1000))?;
                let span = Subspace::span(&x)?;
                let inside = energy(&pair.a, &pair.b, span.basis());
                let outside = size.sigma.powi(2) * column_norms(&pair.b).iter().sum::<f64>();
                let share = n as f64 / if law.is_wrong(1) { size.d_in as f64 } else { size.k as f64 };
                let share = if law.is_wrong(0) { 1.0 } else { share };
                let fresh = energy(&pair.a, &pair.b, population.basis());
                Ok((fresh / (share * inside + (1.0 - share) * outside), fresh / inside))
            })
            .collect::<Result<Vec<(f64, f64)>>>()?;
        comparisons.add_mean(&found.iter().map(|found| found.0).collect::<Vec<_>>(), law.factor(), true);
        let (ratio, _) = mean_and_error(&found.iter().map(|found| found.1).collect::<Vec<_>>());
        rows.push(vec![n.to_string(), size.k.to_string(), format!("{ratio:.2}")]);
    }
    let values = Some(Values { title: "V of fresh inputs over V in the span", columns: &["n", "k", "ratio"], rows });
    Ok(Evidence { values, ..comparisons.evidence(points.len(), format!("{replicas} initialisations a point")) })
}

fn any_start(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let replicas = grid.pick(40, 100);
    let starts = grid.pick(vec![0.3], vec![0.1, 0.3, 0.6]);
    let mut comparisons = Comparisons::default();
    let (mut cold, mut warm, mut points) = (Vec::new(), Vec::new(), 0_usize);
    for before in starts {
        for scale in [0.5, 2.0] {
            points += 1;
            let size = Size { scale, noise: 1.0, ..BASE };
            let found = (0..replicas)
                .into_par_iter()
                .map(|replica| {
                    let mut random = stream(seed, (points as u64) << 32 | replica);
                    let (subspace, problem) = problem(size, &mut random)?;
                    let cold = start(size, &mut random);
                    let b = normal(cold.b.dim(), before, &mut random);
                    // N1's drift is of first order in the step, and larger where B starts large.
                    let (rate, steps) = grid.pick((0.02, 150), (0.0025, 2400));
                    let rate = rate / scale.powi(2).max(1.0);
                    let rho = |first: &Pair| -> Result<(Pair, f64)> {
                        let pair = descend(size, &problem, first.clone(), rate, steps)?;
                        let inside = energy(&pair.a, &pair.b, subspace.basis());
                        let rho = energy(&pair.a, &pair.b, subspace.complement()) / inside;
                        Ok((pair, rho))
                    };
                    let first = Pair { a: cold.a.clone(), b };
                    let (pair, measured) = rho(&first)?;
                    // Only the full grid says what a cold start would have given.
                    let from_zero = if grid == Grid::Full { rho(&cold)?.1 } else { f64::NAN };
                    let (now, before) = (column_norms(&pair.b), column_norms(&first.b));
                    let total: f64 = now.iter().sum();
                    let grown = |now: f64, before: f64| match law {
                        Law::Wrong(0) => now,
                        Law::Wrong(_) => size.scale.powi(2) * now - before,
                        _ => now - before,
                    };
                    let growth: f64 = now.iter().zip(&before).map(|(&now, &before)| now * grown(now, before)).sum();
                    let inside = energy(&first.a, &pair.b, subspace.basis()) + growth / size.k as f64;
                    Ok((measured / (size.sigma.powi(2) * total / inside), from_zero, measured))
                })
                .collect::<Result<Vec<(f64, f64, f64)>>>()?;
            comparisons.add_mean(&found.iter().map(|found| found.0).collect::<Vec<_>>(), law.factor(), true);
            cold.push(mean_and_error(&found.iter().map(|found| found.1).collect::<Vec<_>>()).0);
            warm.push(mean_and_error(&found.iter().map(|found| found.2).collect::<Vec<_>>()).0);
        }
    }
    let note = format!(
        "{replicas} initialisations a point; s = 0.5 and 2; mean rho {:.2} from B_0 = 0, {:.2} from B_0 normal",
        mean_and_error(&cold).0,
        mean_and_error(&warm).0
    );
    Ok(comparisons.evidence(points, note))
}

fn any_covariance(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let replicas = grid.pick(24, 60);
    // Half-life, in directions, of the falling eigenvalues of the population, and the sample's size.
    let points = grid.pick(vec![(2.0, 8)], vec![(2.0, 18), (2.0, 100), (1.0, 60), (4.0, 4), (1e9, 12), (1e9, 100)]);
    let steps = grid.pick(1000, 3000);
    let mut comparisons = Comparisons::default();
    let mut rows = Vec::new();
    for (number, &(life, n)) in points.iter().enumerate() {
        let found = (0..replicas)
            .into_par_iter()
            .map(|replica| {
                let mut random = stream(seed, (number as u64) << 32 | replica);
                let population = Subspace::random(BASE.d_in, BASE.k, &mut random)?;
                let energies = ndarray::Array1::from_shape_fn(BASE.k, |j| (-(j as f64) / life).exp2().sqrt());
                let latent = normal((BASE.k, n), 1.0, &mut random) * &energies.insert_axis(Axis(1));
                let x = population.basis().dot(&latent);
                let root = (n as f64).sqrt();
                let largest = (&x / root).svd(false, false)?.1[0];
                let x = x / largest;
                let map = normal((BASE.d_out, BASE.d_in), 1.0, &mut random);
                let problem = Problem { y: map.dot(&x), x };
                let optimiser = Optimiser::Sgd { rate: 0.05, momentum: 0.9, decay: 0.0 };
                let Pair { a, b } = descend_by(optimiser, BASE, &problem, start(BASE, &mut random), steps)?;
                let span = Subspace::span(&problem.x)?;
                let x = &problem.x / root;
                let trace: f64 = x.iter().map(|x| x * x).sum();
                let read = a.dot(&x).mapv(|u| u * u).sum_axis(Axis(1));
                let norms = column_norms(&b);
                let inside = read.iter().zip(&norms).map(|(read, norm)| read * norm).sum::<f64>() / trace;
                let measured = energy(&a, &b, span.complement()) / inside;
                let (_, values, _) = b.dot(&a).dot(&x).svd(false, false)?;
                let learnt = match law {
                    Law::Wrong(0) => values.mapv(|value| value * value).sum(),
                    _ => values.sum().powi(2),
                };
                // The largest eigenvalue is 1.
                let trace = if law.is_wrong(1) { span.dimension() as f64 } else { trace };
                let predicted = BASE.sigma.powi(2) * norms.iter().sum::<f64>() * BASE.rank as f64 * trace / learnt;
                Ok((measured / predicted, measured))
            })
            .collect::<Result<Vec<(f64, f64)>>>()?;
        comparisons.add_mean(&found.iter().map(|found| found.0).collect::<Vec<_>>(), law.factor(), true);
        let (rho, _) = mean_and_error(&found.iter().map(|found| found.1).collect::<Vec<_>>());
        let shape = if life > 1e6 { "isotropic".to_owned() } else { format!("half-life {life}") };
        rows.push(vec![shape, n.to_string(), format!("{rho:.3}")]);
    }
    let values = Some(Values { title: "Mean rho", columns: &["spectrum of the inputs", "n", "mean rho"], rows });
    let note = format!("{replicas} initialisations a point, k = {}", BASE.k);
    Ok(Evidence { values, ..comparisons.evidence(points.len(), note) })
}

fn little_learnt(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    // From 10 on single ratios have a third moment, which their mean needs to be nearly normal.
    let dimensions = grid.pick(vec![16], vec![10, 12, 16, 24]);
    let mut comparisons = Comparisons::default();
    let (mut rows, mut points) = (Vec::new(), 0);
    for (number, &k) in dimensions.iter().enumerate() {
        let rho = |rank: usize, steps: usize, count: u64| -> Result<Vec<f64>> {
            let size = Size { d_in: k + 12, d_out: 3, rank, k, sigma: 30.0, ..BASE };
            (0..count)
                .into_par_iter()
                .map(|replica| {
                    let mut random = stream(seed, ((number * 64 + rank) as u64) << 32 | replica);
                    let (subspace, problem) = problem(size, &mut random)?;
                    let first = start(size, &mut random);
                    // Below 2 over the largest curvature in B, which is all that moves.
                    let read = first.a.dot(&problem.x).mapv(|u| u * u).sum() / size.k as f64;
                    let rate = 1.0 / (read * (1.0 + Dropout::new(size.p)?.variance()));
                    let Pair { a, b } = descend(size, &problem, first.clone(), rate, steps)?;
                    Ok(energy(&a, &b, subspace.complement()) / energy(&a, &b, subspace.basis()))
                })
                .collect()
        };
        let k = k as f64;
        let predicted = match law {
            Law::Wrong(0) => 1.0,
            Law::Wrong(_) => (k - 2.0) / k,
            law => law.factor() * k / (k - 2.0),
        };
        for (rank, steps, count) in grid.pick(vec![(1, 20, 1200)], vec![(1, 30, 4000), (2, 300, 1000), (4, 600, 800)]) {
            points += 1;
            let found: Vec<f64> = rho(rank, steps, count)?.into_iter().map(|rho| rho / predicted).collect();
            comparisons.add_mean(&found, 1.0, true);
            let mean = format!("{:.3}", predicted * mean_and_error(&found).0);
            rows.push(vec![k.to_string(), rank.to_string(), mean]);
        }
    }
    let values = Some(Values { title: "Mean rho", columns: &["k", "r", "mean rho"], rows });
    let note = "sigma_A is 30; 800 initialisations a point or more".to_owned();
    Ok(Evidence { values, ..comparisons.evidence(points, note) })
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn the_charge_is_conserved_for_any_covariance_and_start() {
        let mut random = stream(5, 0);
        let x = normal((BASE.d_in, 5), 1.0, &mut random);
        let problem = Problem { y: normal((BASE.d_out, 5), 1.0, &mut random), x };
        let a = normal((BASE.rank, BASE.d_in), 0.2, &mut random);
        let first = Pair { a, b: normal((BASE.d_out, BASE.rank), 0.3, &mut random) };
        let charge = |pair: &Pair| -> Array2<f64> {
            let rows = pair.a.mapv(|a| a * a).sum_axis(Axis(1));
            (rows - ndarray::Array1::from(column_norms(&pair.b))).insert_axis(Axis(0))
        };
        let drift = |rate: f64, steps| {
            let pair = descend(BASE, &problem, first.clone(), rate, steps).unwrap();
            (charge(&pair) - charge(&first)).mapv(f64::abs).sum()
        };
        let (coarse, fine) = (drift(2e-3, 500), drift(1e-3, 1000));
        assert!(coarse < 0.05 && (coarse / fine - 2.0).abs() < 0.05, "{coarse} {fine}");
    }
}
