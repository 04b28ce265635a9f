//! Laws of the counter-based noise: moments of what it yields, independence of what different addresses yield, and the
//! dependence of coupled samples.

use bayeslora_adapters::{Address, Coupling, GroupSize, KeepProbability, Noise, Slot, Stream, TargetMap};
use proptest::prelude::*;

const N: usize = 20_000;

/// |z| > 5.5 has probability 4e-8 under the normal limit: 1e-5 over the comparisons of a run.
const BOUND: f64 = 5.5;

fn address() -> impl Strategy<Value = Address> {
    let map = proptest::sample::select(TargetMap::ALL.to_vec());
    (0..12_u8, map, 0..1_u32 << 20, 0..1_u64 << 20, 0..512_u32).prop_map(|(block, map, sample, example, position)| {
        Address { slot: Slot::new(block, map), sample, example, position }
    })
}

/// An address that differs in one part only, and by as little as it can.
fn neighbour(at: Address, part: u8) -> Address {
    match part {
        0 => Address { sample: at.sample + 1, ..at },
        1 => Address { example: at.example + 1, ..at },
        2 => Address { position: at.position + 1, ..at },
        3 => Address { position: Address::ANY, ..at },
        4 => Address { example: Address::SHARED, ..at },
        _ => Address { slot: Slot::new(at.slot.block + 1, at.slot.map), ..at },
    }
}

fn balanced() -> impl Strategy<Value = Coupling> {
    (1..7_u32).prop_filter_map("a group", |log2| GroupSize::new(1 << log2).ok()).prop_map(Coupling::Balanced)
}

/// Multipliers `[samples][N]` of samples from the start of the group of `at` on.
fn group(noise: Noise, at: Address, keep: KeepProbability, samples: u32) -> Vec<Vec<f64>> {
    let first = at.sample - at.sample % noise.coupling().group();
    let of = |sample| {
        let mut z = vec![0.0; N];
        noise.fill_multipliers(Address { sample, ..at }, keep, &mut Vec::new(), &mut z);
        z.into_iter().map(f64::from).collect()
    };
    (first..first + samples).map(of).collect()
}

/// Standardised mean of independent numbers of mean 0 and variance `variance`.
fn deviation(values: impl Iterator<Item = f64>, variance: f64) -> f64 {
    values.sum::<f64>() / (variance * N as f64).sqrt()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Mean 1, variance kappa, and no correlation between neighbours in a row.
    #[test]
    fn multipliers_have_their_moments(seed: u64, at in address(), p in 0.02_f64..0.95) {
        let keep = KeepProbability::from_dropout(p).unwrap();
        let mut z = vec![0.0; N + 1];
        Noise::new(seed, Stream::Predictive).fill_multipliers(at, keep, &mut Vec::new(), &mut z);
        let (q, kappa) = (1.0 - p, p / (1.0 - p));
        let z: Vec<f64> = z.into_iter().map(|z| f64::from(z) - 1.0).collect();
        prop_assert!(deviation(z[..N].iter().copied(), kappa).abs() < BOUND);
        // Var (z - 1)^2 = q (1/q - 1)^4 + p - kappa^2.
        let fourth = q * (1.0 / q - 1.0).powi(4) + p - kappa * kappa;
        let spread = z[..N].iter().map(|z| z * z - kappa);
        // At p = 1/2 the square is constant: rounding of 1/q to f32 is what is left.
        prop_assert!(deviation(spread, fourth.max(1e-6)).abs() < BOUND);
        prop_assert!(deviation(z.windows(2).map(|pair| pair[0] * pair[1]), kappa * kappa).abs() < BOUND);
    }

    /// Moments one to four of the normal numbers, and no correlation between the two of a pair or with the next pair.
    #[test]
    fn normal_numbers_have_their_moments(seed: u64, at in address()) {
        let mut z = vec![0.0; N + 2];
        Noise::new(seed, Stream::Predictive).fill_normal(at, &mut Vec::new(), &mut z);
        let z: Vec<f64> = z.into_iter().map(f64::from).collect();
        // Variances of z, z^2, z^3, z^4: 1, 2, 15, 96.
        for (power, mean, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let values = z[..N].iter().map(|z| z.powi(power) - mean);
            prop_assert!(deviation(values, variance).abs() < BOUND, "power {power}");
        }
        for lag in [1, 2] {
            prop_assert!(deviation(z[..N].iter().zip(&z[lag..]).map(|(a, b)| a * b), 1.0).abs() < BOUND, "lag {lag}");
        }
    }

    /// Neighbouring addresses, other streams and other seeds: no correlation, of the numbers or of their squares.
    #[test]
    fn rows_of_different_addresses_are_independent(seed in 0..u64::MAX, at in address(), part in 0..8_u8) {
        let row = |seed, stream, at| {
            let mut z = vec![0.0; N];
            Noise::new(seed, stream).fill_normal(at, &mut Vec::new(), &mut z);
            z
        };
        let one = row(seed, Stream::Predictive, at);
        let other = match part {
            6 => row(seed, Stream::Training, at),
            7 => row(seed + 1, Stream::Predictive, at),
            part => row(seed, Stream::Predictive, neighbour(at, part)),
        };
        let pairs = || one.iter().zip(&other).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        prop_assert!(deviation(pairs().map(|(a, b)| a * b), 1.0).abs() < BOUND);
        prop_assert!(deviation(pairs().map(|(a, b)| (a * a - 1.0) * (b * b - 1.0)), 4.0).abs() < BOUND);
    }

    /// The first of an antithetic pair has the numbers it has without coupling; multipliers of the pair have covariance
    /// `-(min(p, q) / q)^2`; normal numbers are opposite.
    #[test]
    fn antithetic_pairs_have_their_covariance(seed: u64, at in address(), p in 0.02_f64..0.95) {
        let keep = KeepProbability::from_dropout(p).unwrap();
        let plain = Noise::new(seed, Stream::Predictive);
        let noise = plain.coupled(Coupling::Antithetic);
        let pair = group(noise, at, keep, 2);
        let alone = group(plain, Address { sample: at.sample / 2 * 2, ..at }, keep, 1);
        prop_assert_eq!(&pair[0], &alone[0]);
        let (q, kappa) = (1.0 - p, p / (1.0 - p));
        prop_assert!(deviation(pair[1].iter().map(|z| z - 1.0), kappa).abs() < BOUND);
        let covariance = -(p.min(q) / q).powi(2);
        // (z - 1)(z' - 1) is 1 where both are dropped, -kappa where one is, kappa^2 where both are kept.
        let (both, one) = ((2.0 * p - 1.0).max(0.0), 2.0 * p.min(q));
        let second = both + one * kappa * kappa + (1.0 - both - one) * kappa.powi(4);
        let products = pair[0].iter().zip(&pair[1]).map(|(a, b)| (a - 1.0) * (b - 1.0) - covariance);
        prop_assert!(deviation(products, (second - covariance * covariance).max(1e-6)).abs() < BOUND);
        let mut normals = [vec![0.0; 7], vec![0.0; 7]];
        for (sample, normals) in (at.sample / 2 * 2..).zip(&mut normals) {
            noise.fill_normal(Address { sample, ..at }, &mut Vec::new(), normals);
        }
        prop_assert!(normals[0].iter().zip(&normals[1]).all(|(a, b)| a.to_bits() == (-b).to_bits()));
    }

    /// Every component is kept in `floor(q G)` or `ceil(q G)` samples of a group, in each sample with probability q, and the
    /// components of a sample are uncorrelated.
    #[test]
    fn balanced_groups_share_out_every_multiplier(seed: u64, at in address(), p in 0.1_f64..0.9, coupling in balanced()) {
        let keep = KeepProbability::from_dropout(p).unwrap();
        let samples = group(Noise::new(seed, Stream::Predictive).coupled(coupling), at, keep, coupling.group());
        let (kappa, expected) = (p / (1.0 - p), (1.0 - p) * f64::from(coupling.group()));
        for component in 0..N {
            let kept = samples.iter().filter(|sample| sample[component] > 0.0).count() as f64;
            // The threshold is q rounded to 32 bits.
            prop_assert!(kept >= (expected - 1e-6).floor() && kept <= (expected + 1e-6).ceil(), "{kept} of {expected}");
        }
        for sample in &samples {
            prop_assert!(deviation(sample.iter().map(|z| z - 1.0), kappa).abs() < BOUND);
            let neighbours = sample.windows(2).map(|pair| (pair[0] - 1.0) * (pair[1] - 1.0));
            prop_assert!(deviation(neighbours, kappa * kappa).abs() < BOUND);
        }
    }

    /// Averages of products of two multipliers over a group of 32 vary about as much as over independent samples: each component
    /// has an order of its own. (In one order for all, their variance would be three times as large at p = 0.15.)
    #[test]
    fn balanced_groups_do_not_line_up(seed: u64, at in address()) {
        const G: u32 = 32;
        let keep = KeepProbability::from_dropout(0.15).unwrap();
        let noise = Noise::new(seed, Stream::Predictive).coupled(Coupling::Balanced(GroupSize::new(G).unwrap()));
        let samples = group(noise, at, keep, G);
        let average = |first: usize| {
            samples.iter().map(|z| (z[first] - 1.0) * (z[first + 1] - 1.0)).sum::<f64>() / f64::from(G)
        };
        let variance = (0..N - 1).step_by(2).map(|first| average(first).powi(2)).sum::<f64>() / (N / 2) as f64;
        let independent = (0.15_f64 / 0.85).powi(2) / f64::from(G);
        prop_assert!(variance < 1.5 * independent, "{} of that of independent samples", variance / independent);
    }

    /// Different groups, and coupled samples of other examples, are uncorrelated.
    #[test]
    fn groups_are_independent(seed in 0..u64::MAX, at in address(), part in 1..8_u8, coupling in balanced()) {
        let coupling = if part == 7 { Coupling::Antithetic } else { coupling };
        let keep = KeepProbability::from_dropout(0.3).unwrap();
        let noise = Noise::new(seed, Stream::Predictive).coupled(coupling);
        let one = group(noise, at, keep, 2);
        let other = match part {
            6 | 7 => group(noise, Address { sample: at.sample + coupling.group(), ..at }, keep, 2),
            part => group(noise, neighbour(at, part), keep, 2),
        };
        let kappa = 0.3 / 0.7;
        for (one, other) in one.iter().flat_map(|one| other.iter().map(move |other| (one, other))) {
            let products = one.iter().zip(other).map(|(a, b)| (a - 1.0) * (b - 1.0));
            prop_assert!(deviation(products, kappa * kappa).abs() < BOUND);
        }
    }
}
