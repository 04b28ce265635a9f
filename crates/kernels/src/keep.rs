//! Inverted Bernoulli multipliers that random words decide.

use crate::turn::Turn;
use crate::vectorised::vectorised;

/// A multiplier is `value` where its 32-bit word is below `threshold`, else 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Keep {
    /// `q 2^32` for the probability `q` that a component is kept.
    pub threshold: u64,
    /// `1 / q`.
    pub value: f32,
}

impl Keep {
    /// The multipliers that `words` decide.
    pub fn fill(self, words: &[u32], out: &mut [f32]) {
        let Self { threshold, value } = self;
        vectorised(
            #[inline(always)]
            || {
                for (z, &word) in out.iter_mut().zip(words) {
                    *z = if u64::from(word) < threshold { value } else { 0.0 };
                }
            },
        );
    }

    /// `out = x * z`, component by component, with the multipliers that `words` decide after their turn.
    pub fn multiply(self, words: &[u32], turn: Turn, x: &[f32], out: &mut [f32]) {
        let Self { threshold, value } = self;
        // The largest word that keeps: a comparison of 32-bit numbers fills vector registers, one with the threshold does not.
        let Some(largest) = threshold.checked_sub(1).and_then(|largest| u32::try_from(largest).ok()) else {
            return out.fill(0.0);
        };
        #[cfg(target_arch = "x86_64")]
        let done = match crate::wide::Wide::detect() {
            Some(wide) if out.len() >= 16 => wide.multiply(words, turn, (largest, value), x, out),
            _ => 0,
        };
        #[cfg(not(target_arch = "x86_64"))]
        let done = 0;
        let (words, x, out) = (&words[done..], &x[done..], &mut out[done..]);
        vectorised(
            #[inline(always)]
            || {
                for ((out, &word), &x) in out.iter_mut().zip(words).zip(x) {
                    *out = if turn.of(word) <= largest { value * x } else { 0.0 };
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Counter;

    /// Products with multipliers that are stored, at every remainder of the registers' widths.
    #[test]
    fn products_are_those_of_the_multipliers() {
        let keep = Keep { threshold: (1 << 32) / 10 * 7, value: 1.0 / 0.7 };
        for length in 0..70_u16 {
            let mut words = vec![0; usize::from(length)];
            Counter { key: [1, 2], upper: [3, 4, 5] }.fill(&mut words);
            let x: Vec<f32> = (0..length).map(|i| f32::from(i) - 30.5).collect();
            for turn in [Turn::NONE, Turn { factor: u32::MAX, shift: u32::MAX }, Turn { factor: 5, shift: 1 << 30 }] {
                let (mut turned, mut z) = (words.clone(), vec![f32::NAN; x.len()]);
                turn.apply(&mut turned);
                keep.fill(&turned, &mut z);
                let mut out = vec![f32::NAN; x.len()];
                keep.multiply(&words, turn, &x, &mut out);
                let stored: Vec<f32> = x.iter().zip(&z).map(|(x, z)| x * z).collect();
                assert_eq!(out, stored, "{length} {turn:?}");
            }
        }
        let mut out = [1.0; 3];
        Keep { threshold: 0, value: 1.0 }.multiply(&[0; 3], Turn::NONE, &[1.0; 3], &mut out);
        assert!(out.iter().all(|&out| out == 0.0));
    }
}
