//! L1, E1: the variance outside the fine-tuning subspace, of dropout and of an ensemble.
//!
//! **L1.** Training reads `A_0` through `A_0 P` only, so the trained `B` is independent of `A_0 (I - P)`; with `u` outside,
//! `a_i u` is normal with variance `sigma_A^2` given `B`, and `u'Qu = s^2 kappa sum_i |b_i|^2 (a_i u)^2`.

use ndarray::Array2;
use rayon::prelude::*;

use super::training::{STEPS, column_norms, descend, energy, norm, problem, sizes, start, train_sampled};
use super::{Claim, Grid, Law};
use crate::Result;
use crate::dynamics::{Optimiser, Pair};
use crate::evidence::{Comparisons, Evidence};
use crate::layer::{Dropout, Site};
use crate::random::stream;

pub(super) const OUTSIDE: Claim = Claim {
    id: "L1",
    statement: "Outside S_X the mean growth u'Qu is s^2 kappa sigma_A^2 |B|_F^2 prod (1 - lr lambda)^2.",
    assumptions: "S1; A_0 normal with entry variance sigma_A^2; u independent of A_0",
    bearing: "the rate of the growth is set by the initialisation; long training with decay removes it",
    wrong: &["|B|_F instead of its square", "p instead of p / q", "decay without its square"],
    quantitative: true,
    examine: outside,
};

pub(super) const ENSEMBLE: Claim = Claim {
    id: "E1",
    statement: "Outside S_X the variance of dW u over independent A_0 is s^2 sigma_A^2 |B|_F^2; MC-dropout's is kappa times it.",
    assumptions: "as L1, no decay; members share the data and differ in A_0",
    bearing: "dropout outside S_X is a scaled-down ensemble of initialisations; inside it is not",
    wrong: &["equal variances: kappa left out"],
    quantitative: true,
    examine: ensemble,
};

fn outside(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let replicas = grid.pick(48, 200);
    let mut comparisons = Comparisons::default();
    let mut points = 0;
    let rate = 0.05;
    for size in sizes(grid) {
        for decay in [0.0, 0.1] {
            points += 1;
            let ratios = (0..replicas)
                .into_par_iter()
                .map(|replica| {
                    let number = (points as u64) << 32 | replica;
                    let optimiser = Optimiser::Sgd { rate, momentum: 0.0, decay };
                    let trained = train_sampled(size, Site::Rank, optimiser, STEPS, (seed, number))?;
                    let Pair { a, b } = &trained.pair;
                    let kappa = Dropout::new(size.p)?.variance();
                    let shrink = (1.0 - rate * decay).powi(STEPS);
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
    Ok(comparisons.evidence(points, format!("{replicas} initialisations a point; decay 0 and 0.1")))
}

fn ensemble(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let members = grid.pick(64, 400);
    let steps = grid.pick(1000, 4000);
    let mut comparisons = Comparisons::default();
    let mut note = Vec::new();
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
        let claimed = if law.is_wrong(0) { 1.0 } else { kappa };
        let (mut ensemble, mut dropout) = (Vec::new(), Vec::new());
        let (mut dropout_outside, mut dropout_inside) = (0.0, 0.0);
        for Pair { a, b } in &pairs {
            let energy = |basis| square * energy(a, b, basis);
            let outside = b.dot(&a.dot(subspace.complement()));
            let law = square * size.sigma.powi(2) * column_norms(b).iter().sum::<f64>();
            ensemble.push(square * norm(&outside).powi(2) / subspace.complement().ncols() as f64 / law);
            dropout.push(kappa * energy(subspace.complement()) / (claimed * law));
            dropout_outside += kappa * energy(subspace.complement()) / members as f64;
            dropout_inside += kappa * energy(subspace.basis()) / members as f64;
        }
        // Both read the same members, so one of them alone counts towards the slope.
        comparisons.add_mean(&ensemble, law.factor(), false);
        comparisons.add_mean(&dropout, law.factor(), true);
        // Variance of dW over members, per unit of energy, in a subspace.
        let spread = |basis: &Array2<f64>| {
            let updates: Vec<Array2<f64>> =
                pairs.iter().map(|pair| pair.b.dot(&pair.a.dot(basis)) * size.scale).collect();
            let mean = updates.iter().fold(Array2::<f64>::zeros(updates[0].dim()), |sum, update| sum + update)
                / members as f64;
            let squares: f64 = updates.iter().map(|update| norm(&(update - &mean)).powi(2)).sum();
            squares / (members as f64 - 1.0) / basis.ncols() as f64
        };
        note.push(format!(
            "outside over inside {:.3} for the ensemble, {:.3} for MC-dropout (p = {}, r = {}, k = {})",
            spread(subspace.complement()) / spread(subspace.basis()),
            dropout_outside / dropout_inside,
            size.p,
            size.rank,
            size.k
        ));
    }
    Ok(comparisons.evidence(all.len(), format!("{members} members a point; {}", note.join("; "))))
}
