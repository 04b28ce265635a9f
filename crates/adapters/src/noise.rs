//! Counter-based noise: every random number is a pure function of what it belongs to.
//!
//! Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) maps a 128-bit counter and a
//! 64-bit key to 128 random bits. The key is the seed; the counter spells (stream, sample, example, position, slot,
//! element). So a draw does not depend on batch size, order of examples, number of threads, or on what was drawn before.

use crate::coupling::{Coupling, Turn};
use crate::site::{KeepProbability, Slot};
use crate::vectorised::vectorised;

pub(crate) const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
pub(crate) const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
pub(crate) const ROUNDS: usize = 10;

/// Counters processed side by side, so that the compiler can use vector registers.
const LANES: usize = 16;

/// Ten rounds of Philox4x32 on one counter.
///
/// # Examples
/// ```
/// // Known answer published with the Random123 library.
/// let block = bayeslora_adapters::philox([0; 4], [0; 2]);
/// assert_eq!(block, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
/// ```
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..ROUNDS {
        let product0 = u64::from(MULTIPLIERS[0]) * u64::from(c0);
        let product1 = u64::from(MULTIPLIERS[1]) * u64::from(c2);
        (c0, c1, c2, c3) = (high(product1) ^ c1 ^ k0, low(product1), high(product0) ^ c3 ^ k1, low(product0));
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [c0, c1, c2, c3]
}

#[inline(always)]
fn high(product: u64) -> u32 {
    (product >> 32) as u32
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
fn low(product: u64) -> u32 {
    product as u32
}

/// [`philox`] on `LANES` counters that differ in their first word only; the words are the lower halves of the results.
///
/// In 64-bit lanes the compiler sees widening products and does not pack between them; what they leave in the upper halves is
/// never read.
#[inline(always)]
fn philox_lanes(first: u32, counter: [u32; 4], key: [u32; 2]) -> [[u64; LANES]; 4] {
    let mut c0 = [0; LANES];
    for (lane, c) in (0u32..).zip(c0.iter_mut()) {
        *c = u64::from(first.wrapping_add(lane));
    }
    let [mut c1, mut c2, mut c3] = [1, 2, 3].map(|word: usize| [u64::from(counter[word]); LANES]);
    let [mut k0, mut k1] = key;
    for _ in 0..ROUNDS {
        for lane in 0..LANES {
            let product0 = u64::from(MULTIPLIERS[0]) * u64::from(low(c0[lane]));
            let product1 = u64::from(MULTIPLIERS[1]) * u64::from(low(c2[lane]));
            c0[lane] = (product1 >> 32) ^ c1[lane] ^ u64::from(k0);
            c1[lane] = product1;
            c2[lane] = (product0 >> 32) ^ c3[lane] ^ u64::from(k1);
            c3[lane] = product0;
        }
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [c0, c1, c2, c3]
}

/// The words of Philox at `counter`, whose first word counts blocks of four.
pub(crate) fn fill_plain(counter: [u32; 4], key: [u32; 2], words: &mut [u32]) {
    vectorised(
        #[inline(always)]
        || {
            for (first, chunk) in (0u32..).step_by(LANES).zip(words.chunks_mut(4 * LANES)) {
                let block = philox_lanes(first, counter, key);
                // Element 4 i + j of a row is word j of counter i.
                if let Ok(chunk) = <&mut [u32; 4 * LANES]>::try_from(&mut *chunk) {
                    for lane in 0..LANES {
                        for word in 0..4 {
                            chunk[4 * lane + word] = low(block[word][lane]);
                        }
                    }
                } else {
                    for (index, out) in chunk.iter_mut().enumerate() {
                        *out = low(block[index % 4][index / 4]);
                    }
                }
            }
        },
    );
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
    /// Monte-Carlo sample (in training: the step); below 2^24.
    pub sample: u32,
    /// Example; [`Address::SHARED`] when all examples share the draw.
    pub example: u32,
    /// Token position; [`Address::ANY`] when all positions share the draw.
    pub position: u16,
}

impl Address {
    /// Example of a draw that all examples share.
    pub const SHARED: u32 = u32::MAX;
    /// Position of a draw that all positions share.
    pub const ANY: u16 = u16::MAX;
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

    /// How the samples are coupled.
    pub fn coupling(&self) -> Coupling {
        self.coupling
    }

    /// The address at which the words of the group of `at` are drawn, and what its sample makes of them.
    pub(crate) fn lead(&self, at: Address) -> (Address, Turn) {
        (Address { sample: self.coupling.first(at.sample), ..at }, self.coupling.turn(at.sample))
    }

    fn counter(&self, at: Address) -> [u32; 4] {
        [
            0,
            u32::from(at.position) << 16 | u32::from(at.slot.code()),
            at.example,
            (at.sample & 0x00FF_FFFF) | (self.stream as u32) << 24,
        ]
    }

    /// Random words of the row at `at`: `words[i]` depends on `at` and `i` only.
    pub fn fill_words(&self, at: Address, words: &mut [u32]) {
        let (lead, turn) = self.lead(at);
        self.fill_lead_words(lead, words);
        turn.apply(words);
    }

    /// Random words of the row at `at`, not coupled.
    pub(crate) fn fill_lead_words(&self, at: Address, words: &mut [u32]) {
        let counter = self.counter(at);
        #[cfg(target_arch = "x86_64")]
        if let Some(wide) = crate::wide::Wide::detect() {
            return wide.fill_words(counter, self.key, words);
        }
        fill_plain(counter, self.key, words);
    }

    /// Inverted-dropout multipliers `z = Bernoulli(q) / q` of the row at `at`; `scratch` is reused between calls.
    pub fn fill_multipliers(&self, at: Address, keep: KeepProbability, scratch: &mut Vec<u32>, out: &mut [f32]) {
        scratch.resize(out.len(), 0);
        self.fill_words(at, scratch);
        let (threshold, value) = (keep.threshold(), keep.multiplier());
        vectorised(
            #[inline(always)]
            || {
                for (z, &word) in out.iter_mut().zip(scratch.iter()) {
                    *z = if u64::from(word) < threshold { value } else { 0.0 };
                }
            },
        );
    }

    /// Standard normal numbers of the row at `at`, by Box and Muller's transform of pairs of 32-bit uniforms.
    ///
    /// The tails end at `sqrt(2 * 33 ln 2) = 6.76` standard deviations. The second of an antithetic pair has the numbers of the
    /// first with their signs changed; in a balanced group radius and angle are each spread evenly.
    pub fn fill_normal(&self, at: Address, scratch: &mut Vec<u32>, out: &mut [f32]) {
        scratch.resize(out.len().next_multiple_of(2), 0);
        let (lead, turn) = self.lead(at);
        if self.coupling == Coupling::Antithetic {
            self.fill_lead_words(lead, scratch);
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
fn open_unit(word: u32) -> f64 {
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
    use crate::site::TargetMap;

    const AT: Address = Address { slot: Slot::new(2, TargetMap::Value), sample: 3, example: 5, position: 7 };

    #[test]
    fn published_vectors() {
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn rows_are_philox_blocks_at_every_length() {
        let noise = Noise::new(0x0123_4567_89ab_cdef, Stream::Predictive);
        let counter = noise.counter(AT);
        for length in [1, 3, 4, 63, 64, 65, 200] {
            let mut words = vec![0; length];
            noise.fill_words(AT, &mut words);
            for (index, &word) in words.iter().enumerate() {
                let block = philox([u32::try_from(index / 4).unwrap(), counter[1], counter[2], counter[3]], noise.key);
                assert_eq!(word, block[index % 4], "element {index} of {length}");
            }
            let mut plain = vec![0; length];
            fill_plain(counter, noise.key, &mut plain);
            assert_eq!(words, plain);
        }
    }

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
