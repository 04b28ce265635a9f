//! Philox4x32-10: random words as a pure function of a counter and a key.
//!
//! Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), map a 128-bit counter and a 64-bit key to 128
//! random bits.

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
/// let block = bayeslora_kernels::philox([0; 4], [0; 2]);
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

/// Where a row of random words is drawn: the key, and the upper three words of the counter. The first word of the counter
/// numbers the blocks of four words along the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// Key of the generator.
    pub key: [u32; 2],
    /// Upper words of the counter.
    pub upper: [u32; 3],
}

impl Counter {
    /// The row's words: `words[i]` depends on the counter and on `i` only.
    pub fn fill(self, words: &mut [u32]) {
        let [c1, c2, c3] = self.upper;
        let counter = [0, c1, c2, c3];
        #[cfg(target_arch = "x86_64")]
        if let Some(wide) = crate::wide::Wide::detect() {
            return wide.fill_words(counter, self.key, words);
        }
        fill_plain(counter, self.key, words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let counter = Counter { key: [0x89ab_cdef, 0x0123_4567], upper: [0x0007_0202, 5, 0x0300_0003] };
        let [c1, c2, c3] = counter.upper;
        for length in [1, 3, 4, 63, 64, 65, 200] {
            let mut words = vec![0; length];
            counter.fill(&mut words);
            for (index, &word) in words.iter().enumerate() {
                let block = philox([u32::try_from(index / 4).unwrap(), c1, c2, c3], counter.key);
                assert_eq!(word, block[index % 4], "element {index} of {length}");
            }
            let mut plain = vec![0; length];
            fill_plain([0, c1, c2, c3], counter.key, &mut plain);
            assert_eq!(words, plain);
        }
    }
}
