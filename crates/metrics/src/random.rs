//! Counter-based random numbers for resampling: `SplitMix64` (Steele, Lea and Flood 2014), keyed by seed, stream and
//! resample.
//!
//! The `i`-th output is `mix(key + (i + 1) g)` with the golden gamma `g`; a resample needs no other resample, so threads
//! cannot change a result.

const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// One stream of random numbers.
pub(crate) struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The stream of one resample; distinct keys give unrelated streams.
    pub(crate) fn keyed(seed: u64, stream: u64, resample: u32) -> Self {
        let key = mix(seed.wrapping_add(GOLDEN_GAMMA));
        let key = mix(key ^ mix(stream.wrapping_add(1)));
        Self { state: mix(key ^ mix(u64::from(resample).wrapping_add(1).wrapping_mul(GOLDEN_GAMMA))) }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        mix(self.state)
    }

    /// Uniform in the open unit interval: the middle of one of `2^53` cells.
    pub(crate) fn open_unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / 9_007_199_254_740_992.0
    }

    /// Uniform in `0..bound`, without the bias of a remainder: the upper half of a product, rejecting the few products
    /// that are too many (Lemire 2019). `bound` must be positive.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next()) * u128::from(bound);
            let [low, high] = halves(product);
            if low >= threshold {
                return high;
            }
        }
    }
}

fn halves(product: u128) -> [u64; 2] {
    #[allow(clippy::cast_possible_truncation, reason = "taking the lower and the upper 64 bits is the point")]
    [product as u64, (product >> 64) as u64]
}

fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_those_of_splitmix64() {
        let mut random = SplitMix64 { state: 1_234_567 };
        let published = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([random.next(), random.next(), random.next()], published);
    }

    #[test]
    fn draws_are_uniform() {
        // Chi-squared over 7 faces: 6 degrees of freedom, 27.9 is exceeded with probability 1e-4; the seed is fixed.
        let mut counts = [0u32; 7];
        let mut random = SplitMix64::keyed(3, 0, 0);
        for _ in 0..70_000 {
            counts[usize::try_from(random.below(7)).unwrap()] += 1;
        }
        let chi_squared: f64 = counts.iter().map(|&count| (f64::from(count) - 1e4).powi(2) / 1e4).sum();
        assert!(chi_squared < 27.9, "{counts:?}");
    }

    #[test]
    fn large_bounds_are_not_biased() {
        // Of 2^64 products with 3 * 2^62, those that are 0 modulo 3 come up twice unless one of them is rejected.
        let mut random = SplitMix64::keyed(0, 0, 0);
        let multiples = (0..10_000).filter(|_| random.below(3 << 62).is_multiple_of(3)).count() as f64;
        // Five standard errors of a binomial with p = 1/3.
        assert!((multiples - 1e4 / 3.0).abs() < 5.0 * (1e4 * 2.0 / 9.0f64).sqrt());
    }

    #[test]
    fn every_part_of_the_key_counts() {
        let first = |seed, stream, resample| SplitMix64::keyed(seed, stream, resample).next();
        let outputs = [first(0, 0, 0), first(1, 0, 0), first(0, 1, 0), first(0, 0, 1), first(1, 1, 1), first(1, 0, 1)];
        for (i, a) in outputs.iter().enumerate() {
            assert!(outputs[..i].iter().all(|b| a != b));
        }
    }
}
