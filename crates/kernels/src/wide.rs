//! Noise in 512-bit registers, where the processor has them: the values of [`fill_plain`](crate::words::fill_plain) and
//! [`Keep::multiply`](crate::keep::Keep::multiply), three times as fast as the compiler's own vectors.
//!
//! A 32-bit word of the counter lives in the lower half of a 64-bit lane, where the widening product wants it; what a product leaves
//! in the upper half is never read.

use std::arch::x86_64::__m512i;

use pulp::x86::V4;

use crate::turn::Turn;
use crate::words::{MULTIPLIERS, ROUNDS, WEYL};

/// Registers of eight counters each: products of one fill the wait for those of the other.
const REGISTERS: usize = 2;
const WORDS: usize = 32 * REGISTERS;

/// Leave to use the registers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wide(V4);

impl Wide {
    /// None where the processor lacks them.
    #[inline(always)]
    pub(crate) fn detect() -> Option<Self> {
        match pulp::x86::Arch::new() {
            pulp::x86::Arch::V4(simd) => Some(Self(simd)),
            _ => None,
        }
    }

    /// Words of Philox at `counter`, whose first word counts blocks of four.
    pub(crate) fn fill_words(self, counter: [u32; 4], key: [u32; 2], words: &mut [u32]) {
        self.0.vectorize(
            #[inline(always)]
            || {
                for (first, chunk) in (0u32..).step_by(8 * REGISTERS).zip(words.chunks_mut(WORDS)) {
                    let block = self.block(first, counter, key);
                    if let Ok(chunk) = <&mut [u32; WORDS]>::try_from(&mut *chunk) {
                        *chunk = block;
                    } else {
                        chunk.copy_from_slice(&block[..chunk.len()]);
                    }
                }
            },
        );
    }

    #[inline(always)]
    fn block(self, first: u32, counter: [u32; 4], key: [u32; 2]) -> [u32; WORDS] {
        let simd = self.0.avx512f;
        let all = |word: u32| simd._mm512_set1_epi64(i64::from(word));
        let mut counters = [[all(0); 4]; REGISTERS];
        for (base, c) in (first..).step_by(8).zip(&mut counters) {
            let mut lanes = [0; 8];
            for (lane, out) in (0..).zip(&mut lanes) {
                *out = u64::from(base.wrapping_add(lane));
            }
            *c = [pulp::cast(lanes), all(counter[1]), all(counter[2]), all(counter[3])];
        }
        let multipliers = [all(MULTIPLIERS[0]), all(MULTIPLIERS[1])];
        let [mut k0, mut k1] = key;
        for _ in 0..ROUNDS {
            let keys = [all(k0), all(k1)];
            for [c0, c1, c2, c3] in &mut counters {
                let product0 = simd._mm512_mul_epu32(multipliers[0], *c0);
                let product1 = simd._mm512_mul_epu32(multipliers[1], *c2);
                let high0 = simd._mm512_srli_epi64::<32>(product0);
                let high1 = simd._mm512_srli_epi64::<32>(product1);
                *c0 = simd._mm512_xor_si512(simd._mm512_xor_si512(high1, *c1), keys[0]);
                *c2 = simd._mm512_xor_si512(simd._mm512_xor_si512(high0, *c3), keys[1]);
                (*c1, *c3) = (product1, product0);
            }
            k0 = k0.wrapping_add(WEYL[0]);
            k1 = k1.wrapping_add(WEYL[1]);
        }
        // Counter after counter, its four words together.
        let lower: __m512i = pulp::cast([0_u64, 8, 1, 9, 2, 10, 3, 11]);
        let upper: __m512i = pulp::cast([4_u64, 12, 5, 13, 6, 14, 7, 15]);
        // Loops, not `map`: what is called from here has to be part of this function to have its registers.
        let mut words = [all(0); 2 * REGISTERS];
        for (words, [c0, c1, c2, c3]) in words.chunks_exact_mut(2).zip(counters) {
            let front = simd._mm512_mask_blend_epi32(0xAAAA, c0, simd._mm512_slli_epi64::<32>(c1));
            let back = simd._mm512_mask_blend_epi32(0xAAAA, c2, simd._mm512_slli_epi64::<32>(c3));
            words[0] = simd._mm512_permutex2var_epi64(front, lower, back);
            words[1] = simd._mm512_permutex2var_epi64(front, upper, back);
        }
        pulp::cast(words)
    }

    /// `out = value * x` where the turned word is at most `largest`, else 0, for as many components as fill registers; returns
    /// their number.
    pub(crate) fn multiply(
        self,
        words: &[u32],
        turn: Turn,
        (largest, value): (u32, f32),
        x: &[f32],
        out: &mut [f32],
    ) -> usize {
        self.0.vectorize(
            #[inline(always)]
            || {
                let simd = self.0.avx512f;
                let (value, largest) = (simd._mm512_set1_ps(value), simd._mm512_set1_epi32(largest.cast_signed()));
                let factor = simd._mm512_set1_epi32(turn.factor.cast_signed());
                let shift = simd._mm512_set1_epi32(turn.shift.cast_signed());
                let ((out, _), (words, _), (x, _)) =
                    (out.as_chunks_mut::<16>(), words.as_chunks::<16>(), x.as_chunks::<16>());
                for ((out, &word), &x) in out.iter_mut().zip(words).zip(x) {
                    let mut word: __m512i = pulp::cast(word);
                    if turn != Turn::NONE {
                        word = simd._mm512_add_epi32(simd._mm512_mullo_epi32(word, factor), shift);
                    }
                    let kept = simd._mm512_cmple_epu32_mask(word, largest);
                    *out = pulp::cast(simd._mm512_maskz_mul_ps(kept, pulp::cast(x), value));
                }
                16 * out.len()
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::fill_plain;

    #[test]
    fn words_are_those_of_the_plain_twin() {
        let Some(wide) = Wide::detect() else { return };
        for length in [0, 1, 7, 8, 63, 64, 65, 384, 385] {
            let (mut fast, mut plain) = (vec![0; length], vec![0; length]);
            let (counter, key) = ([0, 0xffff_0102, 5, 0xdead_beef], [0x89ab_cdef, u32::MAX]);
            wide.fill_words(counter, key, &mut fast);
            fill_plain(counter, key, &mut plain);
            assert_eq!(fast, plain, "{length} words");
        }
    }
}
