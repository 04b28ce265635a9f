//! S1, S2: what training leaves of the initial A outside the fine-tuning subspace.

use super::training::{STEPS, Trained, norm, sizes, train_sampled};
use super::{Claim, Grid, Law};
use crate::dynamics::Optimiser;
use crate::error::Result;
use crate::evidence::{Effect, Evidence, mean_and_error};
use crate::layer::Site;
use crate::random::stream;
use crate::subspace::Subspace;

pub(super) const INVARIANCE: Claim = Claim {
    id: "S1",
    statement: "A_t (I - P) = prod_t (1 - lr lambda) A_0 (I - P): training never touches A outside S_X, decay apart.",
    assumptions: "rank site; inputs in S_X; gradient descent, with or without momentum; decoupled decay lambda",
    bearing: "Outside S_X the adapter reads with its random initial weights",
    wrong: &["decay leaves A_0 (I - P) as it was", "the projector of another subspace"],
    quantitative: true,
    examine: invariance,
};

pub(super) const LEAK: Claim = Claim {
    id: "S2",
    statement: "S1 fails under Adam and AdamW, and at the input and weight sites: A leaks out of S_X.",
    assumptions: "S_X in general position; dropout on",
    bearing: "With AdamW, or at PEFT's input site, the invariance behind the growth law is only approximate",
    wrong: &["there is no leak"],
    quantitative: false,
    examine: leak,
};

fn invariance(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let decay = 0.05;
    let optimisers = [
        Optimiser::Sgd { rate: 0.05, momentum: 0.0, decay: 0.0 },
        Optimiser::Sgd { rate: 0.02, momentum: 0.9, decay: 0.0 },
        Optimiser::Sgd { rate: 0.05, momentum: 0.0, decay },
    ];
    let (mut errors, mut points) = (Vec::new(), 0);
    for size in sizes(grid) {
        for optimiser in optimisers {
            points += 1;
            let Trained { subspace, start, pair } =
                train_sampled(size, Site::Rank, optimiser, STEPS, (seed, points as u64))?;
            let kept = match optimiser {
                Optimiser::Sgd { rate, decay, .. } if !law.is_wrong(0) => (1.0 - rate * decay).powi(STEPS),
                _ => 1.0,
            };
            let other = Subspace::random(size.d_in, size.k, &mut stream(seed, u64::MAX))?;
            let complement = if law.is_wrong(1) { other.complement().clone() } else { subspace.complement().clone() };
            let before = start.dot(&complement) * (kept * law.factor());
            let difference = norm(&(pair.a.dot(&complement) - &before)) / norm(&start.dot(&complement));
            // Each step adds rounding of the size of the projected gradient, at most of the size of A itself.
            errors.push(difference / (f64::EPSILON * 16.0 * f64::from(STEPS)));
        }
    }
    let note = format!("{STEPS} steps; plain gradient descent, momentum 0.9, decay {decay}");
    Ok(Evidence::identity(&errors, points, "largest error / rounding", note))
}

fn leak(grid: Grid, seed: u64, law: Law) -> Result<Evidence> {
    let adam = |decay| Optimiser::Adam { rate: 0.005, decay };
    let sgd = Optimiser::Sgd { rate: 0.05, momentum: 0.0, decay: 0.0 };
    let cases = [
        ("Rank site, Adam", Site::Rank, adam(0.0)),
        ("rank site, AdamW", Site::Rank, adam(0.01)),
        ("input site, SGD", Site::Input, sgd),
        ("weight site, SGD", Site::Weight, sgd),
    ];
    let (mut errors, mut note) = (Vec::new(), Vec::new());
    let mut overall = f64::INFINITY;
    for (name, site, optimiser) in cases {
        let mut leaks = Vec::new();
        for (number, size) in sizes(grid).into_iter().enumerate() {
            let Trained { subspace, start, pair } =
                train_sampled(size, site, optimiser, STEPS, (seed, 100 + number as u64))?;
            // Decay alone is no leak: what counts is the part not along A_0.
            let (before, after) = (start.dot(subspace.complement()), pair.a.dot(subspace.complement()));
            let along = (&before * &after).sum() / (&before * &before).sum();
            leaks.push(norm(&(after - &before * along)) / norm(&before));
        }
        let smallest = leaks.iter().copied().fold(f64::INFINITY, f64::min);
        overall = overall.min(smallest);
        let rounding = f64::EPSILON * 16.0 * f64::from(STEPS);
        let is_leak = smallest > 1e3 * rounding;
        errors.push(if is_leak == law.is_wrong(0) { 2.0 } else { 0.0 });
        let (mean, _) = mean_and_error(&leaks);
        note.push(format!("{name}: {mean:.3}"));
    }
    let points = sizes(grid).len() * cases.len();
    let note = format!("the mean leak outside S_X is |A_t - A_0| / |A_0|. {}", note.join("; "));
    let effect = Effect { name: "smallest leak", value: overall, interval: None };
    Ok(Evidence { effect, ..Evidence::identity(&errors, points, "", note) })
}
