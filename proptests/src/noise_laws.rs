//! Laws of the counter-based noise: moments of what it yields, and independence of what different addresses yield.

use bayeslora_adapters::{Address, KeepProbability, Noise, Slot, Stream, TargetMap};
use proptest::prelude::*;

const N: usize = 20_000;

/// |z| > 5.5 has probability 4e-8 under the normal limit: 1e-5 over the comparisons of a run.
const BOUND: f64 = 5.5;

fn address() -> impl Strategy<Value = Address> {
    let map = proptest::sample::select(TargetMap::ALL.to_vec());
    (0..12_u8, map, 0..1_u32 << 20, 0..1_u32 << 20, 0..512_u16).prop_map(|(block, map, sample, example, position)| {
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
}
