use bayeslora_adapters::{Address, Noise, Slot, Stream, TargetMap};

use super::*;

/// Probabilities `[samples, texts, 2]` whose first is `base + sum of three multipliers` with dropout 1/4.
fn pool(coupling: Coupling, samples: u32) -> Pool {
    let keep = bayeslora_adapters::KeepProbability::from_dropout(0.25).unwrap();
    let noise = Noise::new(3, Stream::Predictive).coupled(coupling);
    let mut probabilities = Array3::zeros((samples as usize, 40, 2));
    for sample in 0..samples {
        for (text, example) in (0..40).zip(0_u64..) {
            let at = Address { slot: Slot::new(0, TargetMap::Query), sample, example, position: 0 };
            let mut z = [0.0; 3];
            noise.fill_multipliers(at, keep, &mut Vec::new(), &mut z);
            let p = 0.2 + 0.1 * f64::from(z.iter().sum::<f32>());
            probabilities[[sample as usize, text, 0]] = p;
            probabilities[[sample as usize, text, 1]] = 1.0 - p;
        }
    }
    Pool { coupling, probabilities }
}

fn pools() -> Vec<Pool> {
    let mut pools = vec![pool(Coupling::Independent, 50 * 32), pool(Coupling::Antithetic, 50 * 32)];
    pools.extend(SAMPLES.map(|samples| pool(Coupling::Balanced(GroupSize::new(samples).unwrap()), 50 * samples)));
    pools
}

/// A sum of multipliers is additive: a group of `G` with `p G` whole has no error at all, and pairs gain `1 / (1 - kappa)`.
#[test]
fn sums_of_multipliers_gain_what_they_should() {
    let bootstrap = Bootstrap { resamples: 200, ..Bootstrap::default() };
    let findings = findings(&pools(), &bootstrap).unwrap();
    let of = |scheme, samples| {
        findings.iter().find(|finding| finding.scheme == scheme && finding.samples == samples).unwrap()
    };
    // Variance of a multiplier is 1/3, of the two probabilities together 2 * 3 * 0.01 / 3.
    let independent = of(Scheme::Independent, 8);
    assert!((independent.mean_error - (0.02_f64 / 8.0).sqrt()).abs() < 0.03 * independent.mean_error);
    assert!(independent.variance.bias.lower < 0.0 && independent.variance.bias.upper > 0.0);
    assert!(independent.corrected.is_none());
    let antithetic = of(Scheme::Antithetic, 16);
    assert!((antithetic.mean_factor.estimate - 1.5).abs() < 0.1, "{:?}", antithetic.mean_factor);
    // s^2 is too large by Var(pair mean deviation): 1 + kappa / (T - 1).
    let bias = antithetic.variance.bias;
    assert!((bias.estimate - (1.0 / 3.0) / 15.0).abs() < 0.02, "{bias:?}");
    let corrected = antithetic.corrected.clone().unwrap().bias;
    assert!(corrected.estimate.abs() < 0.015, "{corrected:?}");
    let balanced = of(Scheme::Balanced, 16);
    assert!(balanced.mean_error < 1e-7 && balanced.corrected.is_none());
    assert!((balanced.variance.bias.estimate - 1.0 / 15.0).abs() < 0.01, "{:?}", balanced.variance.bias);
    let two = of(Scheme::TwoGroups, 16).corrected.clone().unwrap().bias;
    assert!(two.estimate.abs() < 0.01, "{two:?}");
    assert!(findings.iter().all(|finding| finding.replicates >= 50 || finding.scheme == Scheme::TwoGroups));
}

#[test]
fn a_missing_pool_is_named() {
    let only = [pool(Coupling::Independent, 64)];
    let message = findings(&only, &Bootstrap::default()).unwrap_err().to_string();
    assert_eq!(message, "couplings: no samples of antithetic masks");
}
