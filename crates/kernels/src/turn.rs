//! Bijections of the 32-bit words: how coupled samples read the words they share.

use crate::vectorised::vectorised;

/// A bijection `w -> factor w + shift` of the 32-bit words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Odd, so that the map is a bijection.
    pub factor: u32,
    /// Added after the product.
    pub shift: u32,
}

impl Turn {
    /// The words as they are.
    pub const NONE: Self = Self { factor: 1, shift: 0 };

    /// The turned word.
    #[inline(always)]
    pub fn of(self, word: u32) -> u32 {
        word.wrapping_mul(self.factor).wrapping_add(self.shift)
    }

    /// Turns all of `words`.
    pub fn apply(self, words: &mut [u32]) {
        if self != Self::NONE {
            vectorised(
                #[inline(always)]
                || {
                    for word in words.iter_mut() {
                        *word = self.of(*word);
                    }
                },
            );
        }
    }
}
