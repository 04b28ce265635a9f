//! L1, L2, E1: the variance outside the fine-tuning subspace, of dropout and of an ensemble.

use ndarray::Array2;
use ndarray_linalg::SVD as _;
use rayon::prelude::*;
use statrs::distribution::{ChiSquared, ContinuousCDF as _};

use super::training::{STEPS, column_norms, descend, energy, norm, problem, sizes, start, train_sampled};
use super::{Claim, Grid, Law};
use crate::dynamics::{Optimiser, Pair};
use crate::error::{Error, Result};
use crate::evidence::{Comparisons, Evidence, Seen, Values, mean_and_error};
use crate::layer::{Dropout, Site};
use crate::random::{normal, stream};

pub(super) const OUTSIDE: Claim = Claim {
    id: "L1",
    statement: "Outside S_X the mean growth u'Qu is s^2 kappa sigma_A^2 |B|_F^2 prod (1 - lr lambda)^2.",
    assumptions: "S1; A_0 normal with entry variance sigma_A^2; u independent of A_0",
    bearing: "The initialisation sets the rate of the growth; long training with decay removes it",
    wrong: &["|B|_F instead of its square", "p instead of p / q", "decay without its square"],
    quantitative: true,
    examine: outside,
};

pub(super) const ENSEMBLE: Claim = Claim {
    id: "E1",
    statement: "Outside S_X the variance of dW u over independent A_0 is s^2 sigma_A^2 |B|_F^2; MC-dropout's is kappa times it.",
    assumptions: "as L1, no decay; members share the data and differ in A_0",
    bearing: "Dropout outside S_X is a scaled-down ensemble of initialisations; inside it is not",
    wrong: &[
        "equal variances: kappa left out",
        "p instead of p / q",
        "the largest singular value of B instead of its Frobenius norm",
    ],
    quantitative: true,
    examine: ensemble,
};

pub(super) const CONCENTRATION: Claim = Claim {
    id: "L2",
    statement: "Given B, V over m orthogonal directions outside is s^2 kappa sigma_A^2 sum b^2 chi^2_m: its relative variance is \
                2 sum b^4 / (m (sum b^2)^2), and its tail the chance that one draw of A_0 contradicts the mean law.",
    assumptions: "L1",
    bearing: "One adapter is one draw of A_0: a single direction often contradicts the mean law, many do not",
    wrong: &["relative variance 2 / m, whatever the rank", "one common chi-square: r m degrees, equal weights"],
    quantitative: true,
    examine: concentration,
};

fn outside(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let replicas = grid.pick(48, 200);
    let mut comparisons = Comparisons::default();
    let mut points = 0;
    let (rate, steps) = (0.05, grid.pick(50, STEPS));
    for size in sizes(grid) {
        for decay in [0.0, 0.1] {
            points += 1;
            let ratios = (0..replicas)
                .into_par_iter()
                .map(|replica| {
                    let number = (points as u64) << 32 | replica;
                    let optimiser = Optimiser::Sgd { rate, momentum: 0.0, decay };
                    let trained = train_sampled(size, Site::Rank, optimiser, steps, (seed, number))?;
                    let Pair { a, b } = &trained.pair;
                    let kappa = Dropout::new(size.p)?.variance();
                    let shrink = (1.0 - rate * decay).powi(steps);
                    // The mean over an orthonormal basis of the complement is that over u on its sphere.
                    let growth = size.scale.powi(2) * kappa * energy(a, b, trained.subspace.complement());
                    let total: f64 = column_norms(b).iter().sum();
                    let total = if law.is_wrong(0) { total.sqrt() } else { total };
                    let kappa = if law.is_wrong(1) { size.p } else { kappa };
                    let shrink = if law.is_wrong(2) { shrink } else { shrink * shrink };
                    Ok(growth / (size.scale.powi(2) * kappa * size.sigma.powi(2) * total * shrink))
                })
                .collect::<Result<Vec<f64>>>()?;
            comparisons.add_mean(&ratios, law.factor(), true);
        }
    }
    Ok(comparisons.evidence(points, format!("{replicas} initialisations a point, without decay and with 0.1")))
}

fn ensemble(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let members = grid.pick(64, 400);
    let steps = grid.pick(150, 2000);
    let mut comparisons = Comparisons::default();
    let (mut rows, mut seen) = (Vec::new(), Vec::new());
    let all = sizes(grid);
    for (number, &size) in all.iter().enumerate() {
        let (subspace, problem) = problem(size, &mut stream(seed, number as u64))?;
        let pairs = (0..members)
            .into_par_iter()
            .map(|member| {
                let mut random = stream(seed, (number as u64 + 1) << 32 | member);
                descend(size, &problem, start(size, &mut random), 0.05, steps)
            })
            .collect::<Result<Vec<Pair>>>()?;
        let (kappa, square) = (Dropout::new(size.p)?.variance(), size.scale.powi(2));
        let claimed = match law {
            Law::Wrong(0) => 1.0,
            Law::Wrong(1) => size.p,
            _ => kappa,
        };
        let (mut ensemble, mut dropout) = (Vec::new(), Vec::new());
        let (mut by_dropout, mut predicted) = ([Vec::new(), Vec::new()], Vec::new());
        for Pair { a, b } in &pairs {
            let energy = |basis| kappa * square * energy(a, b, basis);
            let outside = b.dot(&a.dot(subspace.complement()));
            let total =
                if law.is_wrong(2) { b.svd(false, false)?.1[0].powi(2) } else { column_norms(b).iter().sum::<f64>() };
            let law = square * size.sigma.powi(2) * total;
            ensemble.push(square * norm(&outside).powi(2) / subspace.complement().ncols() as f64 / law);
            dropout.push(energy(subspace.complement()) / (claimed * law));
            by_dropout[0].push(energy(subspace.complement()));
            by_dropout[1].push(energy(subspace.basis()));
            predicted.push(law);
        }
        // Both read the same members, so one of them alone counts towards the slope.
        comparisons.add_mean(&ensemble, law.factor(), false);
        comparisons.add_mean(&dropout, law.factor(), true);
        // Squared deviations of dW from its mean over members, per unit of energy, in a subspace.
        let spread = |basis: &Array2<f64>| -> Vec<f64> {
            let updates: Vec<Array2<f64>> =
                pairs.iter().map(|pair| pair.b.dot(&pair.a.dot(basis)) * size.scale).collect();
            let mean = updates.iter().fold(Array2::<f64>::zeros(updates[0].dim()), |sum, update| sum + update)
                / members as f64;
            let unit = basis.ncols() as f64 * (1.0 - 1.0 / members as f64);
            updates.iter().map(|update| norm(&(update - &mean)).powi(2) / unit).collect()
        };
        let (law, _) = mean_and_error(&predicted);
        let [dropout_outside, dropout_inside] = by_dropout;
        let found = [
            ("ensemble, outside", Some(law), spread(subspace.complement())),
            ("ensemble, inside", None, spread(subspace.basis())),
            ("MC-dropout, outside", Some(kappa * law), dropout_outside),
            ("MC-dropout, inside", None, dropout_inside),
        ]
        .map(|(of, predicted, values)| {
            let (measured, standard_error) = mean_and_error(&values);
            Seen { of, predicted, measured, standard_error }
        });
        rows.push(vec![
            size.p.to_string(),
            size.rank.to_string(),
            size.k.to_string(),
            format!("{:.3}", found[0].measured / found[1].measured),
            format!("{:.3}", found[2].measured / found[3].measured),
        ]);
        seen.extend(found);
    }
    let values = Some(Values {
        title: "V outside S_X over V inside",
        columns: &["p", "r", "k", "ensemble", "MC-dropout"],
        rows,
    });
    Ok(Evidence { values, seen, ..comparisons.evidence(all.len(), format!("{members} members a point")) })
}

/// `P(sum_i weights_i chi^2_m > x)`, independent chi-squares with `m` degrees each, by Ruben's mixture of central ones.
///
/// # Errors
/// When the series has not converged within its bound: weights that differ by many orders of magnitude.
pub(super) fn tail(weights: &[f64], m: usize, x: f64) -> Result<f64> {
    // A ratio of 1000 of the weights takes 28,000.
    const TERMS: usize = 40_000;
    let refused = |got| Error::Setting { name: "largest over smallest weight", got, expected: "a ratio below 1000" };
    let smallest = weights.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = weights.iter().copied().fold(0.0, f64::max);
    let (degrees, half) = ((weights.len() * m) as f64, m as f64 / 2.0);
    // Shares of the mixture: `c_0`, and `c_k = sum_j g_(k-j) c_j / k`.
    let mut shares = vec![weights.iter().map(|weight| (smallest / weight).powf(half)).product::<f64>()];
    let rates: Vec<f64> = weights.iter().map(|weight| 1.0 - smallest / weight).collect();
    let mut powers = rates.clone();
    let (mut g, mut held, mut upper) = (Vec::new(), 0.0, 0.0);
    for k in 0..TERMS {
        held += shares[k];
        let chi = ChiSquared::new(degrees + 2.0 * k as f64).map_err(|_| refused(largest / smallest))?;
        upper += shares[k] * chi.sf(x / smallest);
        if 1.0 - held < 1e-12 {
            return Ok(upper);
        }
        g.push(half * powers.iter().sum::<f64>());
        powers.iter_mut().zip(&rates).for_each(|(power, rate)| *power *= rate);
        let next = (0..=k).map(|j| g[k - j] * shares[j]).sum::<f64>() / (k + 1) as f64;
        shares.push(next);
    }
    Err(refused(largest / smallest))
}

fn concentration(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let (adapters, steps) = grid.pick((500, 40), (1000, 300));
    let mut comparisons = Comparisons::default();
    let (mut rows, mut points) = (Vec::new(), 0);
    for (number, &size) in sizes(grid).iter().enumerate() {
        let mut random = stream(seed, number as u64);
        let (subspace, problem) = problem(size, &mut random)?;
        let first = start(size, &mut random);
        let pair = descend(size, &problem, first.clone(), 0.05, steps)?;
        // Adapters that read the same of A_0 inside and another draw of it outside, each trained anew. B is the same, to rounding.
        let inside = subspace.basis().dot(&subspace.basis().t());
        let trained = (0..adapters)
            .into_par_iter()
            .map(|replica| {
                let fresh = normal(first.a.dim(), size.sigma, &mut stream(seed, (number as u64 + 1) << 32 | replica));
                let a = &fresh - &(&fresh - &first.a).dot(&inside);
                let redrawn = descend(size, &problem, Pair { a, b: first.b.clone() }, 0.05, steps)?;
                // Column by column what the trained A reads along one direction outside.
                let read = redrawn.a.dot(subspace.complement()).mapv(|a| a * a);
                Ok((
                    norm(&(&redrawn.b - &pair.b)) / norm(&pair.b),
                    ndarray::Array1::from(column_norms(&redrawn.b)).dot(&read),
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        let moved = trained.iter().map(|(moved, _)| *moved).fold(0.0, f64::max);
        comparisons.add(moved + 1.0, 1.0, 0.0);
        let b = column_norms(&pair.b);
        let (total, fourth) = (b.iter().sum::<f64>(), b.iter().map(|b| b * b).sum::<f64>());
        let inside = energy(&pair.a, &pair.b, subspace.basis());
        let rho = size.sigma.powi(2) * total / inside;
        for m in [1_usize, 4] {
            points += 1;
            let means = |v: &ndarray::Array1<f64>| -> Vec<f64> {
                let groups = v.to_vec();
                groups.chunks_exact(m).map(|group| group.iter().sum::<f64>() / m as f64).collect()
            };
            let outside: Vec<f64> = trained.iter().flat_map(|(_, v)| means(v)).collect();
            let draws = outside.len() as f64;
            let mean = size.sigma.powi(2) * total;
            let claimed = match law {
                Law::Wrong(0) => 2.0 / m as f64,
                Law::Wrong(_) => 2.0 / (m * size.rank) as f64,
                _ => 2.0 * fourth / (m as f64 * total * total),
            };
            let squares: Vec<f64> = outside.iter().map(|v| (v / mean - 1.0).powi(2) / claimed).collect();
            comparisons.add_mean(&squares, law.factor(), false);
            // V outside over V inside on the other side of 1.
            let weights: Vec<f64> = match law {
                Law::Wrong(1) => vec![total / size.rank as f64; size.rank],
                _ => b.clone(),
            };
            let above = tail(&weights, m, m as f64 * inside / size.sigma.powi(2))?;
            let contradicts = |ratio: f64| (ratio > 1.0) != (rho > 1.0);
            let chance = if rho > 1.0 { 1.0 - above } else { above };
            let seen = outside.iter().filter(|v| contradicts(**v / inside)).count() as f64 / draws;
            let error = (chance * (1.0 - chance) / draws).sqrt();
            // Where counts are few their share is not normal.
            if chance * draws >= 30.0 {
                // All of a point read the same adapters: one comparison alone counts towards the slope.
                if m == 1 {
                    comparisons.add_independent(seen, chance * law.factor(), error);
                } else {
                    comparisons.add(seen, chance * law.factor(), error);
                }
            }
            rows.push(vec![
                size.d_in.to_string(),
                size.rank.to_string(),
                size.k.to_string(),
                m.to_string(),
                format!("{rho:.2}"),
                format!("{:.0} %", 100.0 * chance),
            ]);
        }
    }
    let values = Some(Values {
        title: "Chance that one draw of A_0 lies on the other side of 1 than rho, over m directions",
        columns: &["d", "r", "k", "m", "rho", "chance"],
        rows,
    });
    Ok(Evidence { values, ..comparisons.evidence(points, format!("{adapters} trained adapters a point")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_of_weighted_chi_squares_are_those_of_closed_forms() {
        // Equal weights: one chi-square; sf of chi2(6) at 7.3 / 1.7.
        let expected = ChiSquared::new(6.0).unwrap().sf(7.3 / 1.7);
        assert!((tail(&[1.7, 1.7, 1.7], 2, 7.3).unwrap() - expected).abs() < 1e-11);
        // Two exponentials: m = 2, weights 1 and 3, P(2 E_1 + 6 E_2 > x) = (3 exp(-x / 6) - exp(-x / 2)) / 2.
        let x: f64 = 5.0;
        let expected = 1.5 * (-x / 6.0).exp() - 0.5 * (-x / 2.0).exp();
        assert!((tail(&[1.0, 3.0], 2, x).unwrap() - expected).abs() < 1e-11);
        assert!(tail(&[1e-9, 1.0], 1, 1.0).is_err());
    }
}
