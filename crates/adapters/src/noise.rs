//! Counter-based noise: every random number is a pure function of what it belongs to.
//!
//! Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) maps a 128-bit counter and a
//! 64-bit key to 128 random bits. The key is the seed; the counter spells (stream, sample, example, position, slot,
//! element). What of an address does not fit the counter enters the key. So a draw does not depend on batch size, order of examples, number of threads, or on what was drawn before.

use bayeslora_kernels::{Counter, Turn, philox};

use crate::coupling::Coupling;
use crate::site::KeepProbability;
use crate::slot::Slot;

fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
fn low(word: u64) -> u32 {
    word as u32
}

/// What a stream of noise is for; streams never share a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// Initial values of parameters.
    Initial = 1,
    /// Noise of training steps.
    Training = 2,
    /// Noise of predictive samples.
    Predictive = 3,
    /// Order of training examples.
    Order = 4,
}

/// Address of a row of noise: the part of the counter that is not the element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// Adapted map the noise belongs to.
    pub slot: Slot,
    /// Monte-Carlo sample (in training: the step).
    pub sample: u32,
    /// Example; [`Address::SHARED`] when all examples share the draw.
    pub example: u64,
    /// Token position; [`Address::ANY`] when all positions share the draw.
    pub position: u32,
}

impl Address {
    /// Example of a draw that all examples share.
    pub const SHARED: u64 = u64::MAX;
    /// Position of a draw that all positions share.
    pub const ANY: u32 = u32::MAX;

    /// The 32 bits of the example that the counter holds, and the rest. All ones with no rest is [`SHARED`](Self::SHARED).
    fn split_example(self) -> (u32, u64) {
        match self.example {
            Self::SHARED => (u32::MAX, 0),
            example if example < u64::from(u32::MAX) => (low(example), 0),
            example => (low(example), u64::from(high(example)) + 1),
        }
    }

    /// The 16 bits of the position that the counter holds, and the rest. All ones with no rest is [`ANY`](Self::ANY).
    fn split_position(self) -> (u32, u32) {
        const LOW: u32 = u16::MAX as u32;
        match self.position {
            Self::ANY => (LOW, 0),
            position if position < LOW => (position, 0),
            position => (position & LOW, (position >> 16) + 1),
        }
    }
}

/// A seeded source of noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noise {
    key: [u32; 2],
    stream: Stream,
    coupling: Coupling,
}

impl Noise {
    /// The noise of `stream` under `seed`; samples are independent.
    pub fn new(seed: u64, stream: Stream) -> Self {
        Self { key: [low(seed), high(seed)], stream, coupling: Coupling::Independent }
    }

    /// The same noise with its samples coupled. The first sample of a group has the numbers that it has without coupling.
    #[must_use]
    pub fn coupled(self, coupling: Coupling) -> Self {
        Self { coupling, ..self }
    }

    /// What the noise is for.
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// How the samples are coupled.
    pub fn coupling(&self) -> Coupling {
        self.coupling
    }

    /// The address at which the words of the group of `at` are drawn, and what its sample makes of them.
    pub(crate) fn lead(&self, at: Address) -> (Address, Turn) {
        (Address { sample: self.coupling.first(at.sample), ..at }, self.coupling.turn(at.sample))
    }

    /// Where the words of the row at `at` are drawn, not coupled.
    ///
    /// The counter has 16 bits for the position, 32 for the example and 24 for the sample. Addresses beyond are drawn under a key
    /// of their own: two words of Philox, under the seed's key, at a counter that spells what was left over. No row of noise has
    /// that counter, because its stream would be 0.
    pub(crate) fn counter(&self, at: Address) -> Counter {
        let (example, example_rest) = at.split_example();
        let (position, position_rest) = at.split_position();
        let (sample, sample_rest) = (at.sample & 0x00FF_FFFF, at.sample >> 24);
        let upper = [position << 16 | u32::from(at.slot.code()), example, sample | (self.stream as u32) << 24];
        let rest = [low(example_rest), high(example_rest), position_rest, sample_rest];
        let key = if rest == [0; 4] {
            self.key
        } else {
            let [first, second, ..] = philox(rest, self.key);
            [first, second]
        };
        Counter { key, upper }
    }

    /// Random words of the row at `at`: `words[i]` depends on `at` and `i` only.
    pub fn fill_words(&self, at: Address, words: &mut [u32]) {
        let (lead, turn) = self.lead(at);
        self.counter(lead).fill(words);
        turn.apply(words);
    }

    /// Inverted-dropout multipliers `z = Bernoulli(q) / q` of the row at `at`; `scratch` is reused between calls.
    pub fn fill_multipliers(&self, at: Address, keep: KeepProbability, scratch: &mut Vec<u32>, out: &mut [f32]) {
        scratch.resize(out.len(), 0);
        self.fill_words(at, scratch);
        keep.keep().fill(scratch, out);
    }

    /// Standard normal numbers of the row at `at`, by Box and Muller's transform of pairs of 32-bit uniforms.
    ///
    /// The tails end at `sqrt(2 * 33 ln 2) = 6.76` standard deviations. The second of an antithetic pair has the numbers of the
    /// first with their signs changed; in a balanced group radius and angle are each spread evenly.
    pub fn fill_normal(&self, at: Address, scratch: &mut Vec<u32>, out: &mut [f32]) {
        scratch.resize(out.len().next_multiple_of(2), 0);
        let (lead, turn) = self.lead(at);
        if self.coupling == Coupling::Antithetic {
            self.counter(lead).fill(scratch);
        } else {
            self.fill_words(at, scratch);
        }
        let sign = if self.coupling == Coupling::Antithetic && turn != Turn::NONE { -1.0 } else { 1.0 };
        for (pair, words) in out.chunks_mut(2).zip(scratch.chunks_exact(2)) {
            let radius = (-2.0 * open_unit(words[0]).ln()).sqrt();
            let (sine, cosine) = (std::f64::consts::TAU * open_unit(words[1])).sin_cos();
            for (out, value) in pair.iter_mut().zip([radius * cosine, radius * sine]) {
                *out = narrow(sign * value);
            }
        }
    }

    /// Numbers uniform on `(-bound, bound)` of the row at `at`.
    pub fn fill_uniform(&self, at: Address, bound: f64, scratch: &mut Vec<u32>, out: &mut [f32]) {
        scratch.resize(out.len(), 0);
        self.fill_words(at, scratch);
        for (out, &word) in out.iter_mut().zip(scratch.iter()) {
            *out = narrow(bound * (2.0 * open_unit(word) - 1.0));
        }
    }

    /// A permutation of `0..n` that depends on the seed, the stream and `sample` only (Fisher and Yates).
    ///
    /// The bias of scaling 32-bit words to the range is below `n / 2^32`.
    pub fn permutation(&self, n: usize, sample: u32) -> Vec<usize> {
        let at = Address { slot: Slot::NONE, sample, example: Address::SHARED, position: Address::ANY };
        let mut words = vec![0; n];
        self.fill_words(at, &mut words);
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            let scaled = (u64::from(words[i]) * (i as u64 + 1)) >> 32;
            order.swap(i, usize::try_from(scaled).unwrap_or(i));
        }
        order
    }

    /// Numbers below `n`, as many, each drawn with replacement; the same for the same seed and stream.
    ///
    /// The bias of scaling 32-bit words to the range is below `n / 2^32`.
    pub fn with_replacement(&self, n: usize) -> Vec<usize> {
        // An address that no permutation has.
        let at = Address { slot: Slot::NONE, sample: 0, example: 0, position: Address::ANY };
        let mut words = vec![0; n];
        self.fill_words(at, &mut words);
        words.into_iter().map(|word| usize::try_from((u64::from(word) * n as u64) >> 32).unwrap_or(0)).collect()
    }
}

/// The middle of cell `word` of `2^32` equal cells of the unit interval: never 0, never 1.
pub(crate) fn open_unit(word: u32) -> f64 {
    (f64::from(word) + 0.5) / 4_294_967_296.0
}

#[expect(clippy::cast_possible_truncation, reason = "noise is stored in f32")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// Derives the seed of a part (a member, a purpose) from the seed of the whole.
///
/// Philox of (seed, part) under a fixed key, so that neighbouring seeds and parts give unrelated streams.
pub fn derive_seed(seed: u64, part: u64) -> u64 {
    let block = philox([low(seed), high(seed), low(part), high(part)], [0x6261_7965, 0x736c_6f72]);
    u64::from(block[1]) << 32 | u64::from(block[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::TargetMap;

    const AT: Address = Address { slot: Slot::new(2, TargetMap::Value), sample: 3, example: 5, position: 7 };

    #[test]
    fn every_part_of_the_address_matters() {
        let noise = Noise::new(1, Stream::Predictive);
        let row = |noise: &Noise, at| {
            let mut words = [0; 4];
            noise.fill_words(at, &mut words);
            words
        };
        let base = row(&noise, AT);
        let others = [
            row(&noise, Address { sample: 4, ..AT }),
            row(&noise, Address { example: 6, ..AT }),
            row(&noise, Address { position: 8, ..AT }),
            row(&noise, Address { slot: Slot::new(2, TargetMap::Key), ..AT }),
            row(&noise, Address { slot: Slot::new(3, TargetMap::Value), ..AT }),
            row(&Noise::new(1, Stream::Training), AT),
            row(&Noise::new(2, Stream::Predictive), AT),
            row(&Noise::new(1 << 32, Stream::Predictive), AT),
        ];
        for (index, other) in others.iter().enumerate() {
            assert_ne!(&base, other, "variant {index}");
        }
    }

    /// Words that committed results were drawn from: addresses that fit the counter keep them.
    #[test]
    fn addresses_within_the_counter_keep_their_words() {
        let noise = Noise::new(0x0123_4567_89ab_cdef, Stream::Predictive);
        let key = [0x89ab_cdef, 0x0123_4567];
        let largest = Address { sample: 0x00FF_FFFF, example: 0xFFFF_FFFE, position: 0xFFFE, ..AT };
        for (at, upper) in [
            (AT, [0x0007_0202, 5, 0x0300_0003]),
            (largest, [0xFFFE_0202, 0xFFFF_FFFE, 0x03FF_FFFF]),
            (Address { example: Address::SHARED, ..AT }, [0x0007_0202, 0xFFFF_FFFF, 0x0300_0003]),
            (Address { position: Address::ANY, ..AT }, [0xFFFF_0202, 5, 0x0300_0003]),
            (Address { slot: Slot::NONE, ..AT }, [0x0007_FF06, 5, 0x0300_0003]),
        ] {
            assert_eq!(noise.counter(at), Counter { key, upper }, "{at:?}");
        }
        let mut words = [0; 4];
        noise.fill_words(AT, &mut words);
        assert_eq!(words, philox([0, 0x0007_0202, 5, 0x0300_0003], key));
    }

    /// Addresses that would be one another's if their parts were cut to the counter's bits.
    #[test]
    fn addresses_beyond_the_counter_share_with_none() {
        let noise = Noise::new(7, Stream::Predictive);
        let positions = [0, 7, 0xFFFE, 0xFFFF, 0x1_0007, 0x1_FFFF, 0x2_0007, u32::MAX - 1, Address::ANY];
        let examples = [5, 0xFFFF_FFFF, 0x1_0000_0005, 0x1_FFFF_FFFF, u64::MAX - 1, Address::SHARED];
        let samples = [3, 0x0100_0003, 0x0200_0003, u32::MAX];
        let addresses: Vec<Address> = (positions.into_iter())
            .flat_map(|position| examples.map(|example| Address { example, position, ..AT }))
            .flat_map(|at| samples.map(|sample| Address { sample, ..at }))
            .collect();
        let mut seen = std::collections::BTreeSet::new();
        for &at in &addresses {
            let mut words = [0; 4];
            noise.fill_words(at, &mut words);
            assert!(seen.insert(words), "{at:?}");
        }
        assert_eq!(seen.len(), 9 * 6 * 4);
    }

    #[test]
    fn permutations_are_permutations_and_differ() {
        let noise = Noise::new(9, Stream::Order);
        let mut first = noise.permutation(1000, 0);
        assert_ne!(first, noise.permutation(1000, 1));
        first.sort_unstable();
        assert_eq!(first, (0..1000).collect::<Vec<_>>());
        assert!(noise.permutation(0, 0).is_empty());
    }
    #[test]
    fn resamples_leave_out_the_share_they_should() {
        let n = 20_000;
        let drawn = Noise::new(4, Stream::Order).with_replacement(n);
        let distinct = drawn.iter().collect::<std::collections::BTreeSet<_>>().len();
        // (1 - 1/n)^n of them are missing; their number has variance n (e^-1 - 2 e^-2), so 0.0022 is one standard error.
        let missing = 1.0 - distinct as f64 / n as f64;
        assert!((missing - (-1.0_f64).exp()).abs() < 4.0 * 0.0022, "{missing}");
        assert!(drawn.iter().all(|&place| place < n));
        assert_ne!(drawn, Noise::new(5, Stream::Order).with_replacement(n));
        assert!(Noise::new(4, Stream::Order).with_replacement(0).is_empty());
    }
}
