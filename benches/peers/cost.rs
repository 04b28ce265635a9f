//! Arithmetic and memory traffic, counted: what a computation needs at least, whoever does it.
//!
//! A product of `[m, k]` and `[k, n]` is `2 m k n` operations. Traffic is one read of every operand and one write of every result
//! of a map, in f32; masks, normalisation and activations are not counted. Work that samples share is counted once.

use std::iter::Sum;
use std::ops::{Add, Mul};

/// Operations and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cost {
    pub(crate) flops: f64,
    pub(crate) bytes: f64,
}

impl Add for Cost {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { flops: self.flops + other.flops, bytes: self.bytes + other.bytes }
    }
}

impl Mul<f64> for Cost {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        Self { flops: self.flops * factor, bytes: self.bytes * factor }
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), Add::add)
    }
}

/// `[m, k] x [k, n]`.
pub(crate) fn product(m: f64, k: f64, n: f64) -> Cost {
    Cost { flops: 2.0 * m * k * n, bytes: 4.0 * (m * k + k * n + m * n) }
}

/// Sizes of an adapted encoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sizes {
    pub(crate) blocks: usize,
    pub(crate) width: f64,
    pub(crate) inner: f64,
    /// Rank of the adapters, on all six maps of blocks `from..`.
    pub(crate) rank: f64,
    pub(crate) from: usize,
}

/// Samples of one map: `samples` outputs for each of `rows` inputs. `shared`: the inputs are the same for all samples, so the frozen
/// product is computed once; masks act on the inputs, so `A` is applied for each sample.
pub(crate) fn map(rows: f64, samples: f64, shared: bool, (d_in, d_out): (f64, f64), rank: f64) -> Cost {
    let inputs = if shared { rows } else { rows * samples };
    let frozen = 2.0 * inputs * d_in * d_out;
    let adapter = 2.0 * samples * rows * rank * (d_in + d_out);
    let values = inputs * d_in + samples * rows * d_out + d_in * d_out + rank * (d_in + d_out);
    Cost { flops: frozen + adapter, bytes: 4.0 * values }
}

/// One block at `rows` of the rows of a sentence of `length` tokens (all of them, or the first).
pub(crate) fn block(sizes: &Sizes, length: f64, rows: f64, samples: f64, shared: bool, adapted: bool) -> Cost {
    let Sizes { width, inner, rank, .. } = *sizes;
    let rank = if adapted { rank } else { 0.0 };
    // Above the first adapter everything is random.
    let shared_above = shared && !adapted;
    let above = if shared_above { 1.0 } else { samples };
    let into = if shared && !adapted { 1.0 } else { samples };
    let square = (width, width);
    let attention = product(rows, width, length) + product(rows, length, width);
    map(rows, into, shared, square, rank)
        + map(length, into, shared, square, rank) * 2.0
        + attention * above
        + map(rows, above, false, square, rank)
        + map(rows, above, false, (width, inner), rank)
        + map(rows, above, false, (inner, width), rank)
}

/// Exact sampling of sentences of these lengths: blocks below the first adapter and the inputs of its block are shared by the samples,
/// the last block is computed at the first token only (keys and values at all), no padding. One sample and rank 0 is the plain forward.
pub(crate) fn predictive(sizes: &Sizes, lengths: &[usize], samples: f64) -> Cost {
    let sentence = |&length: &usize| {
        let length = length as f64;
        let blocks = (0..sizes.blocks).map(|index| {
            let rows = if index + 1 == sizes.blocks { 1.0 } else { length };
            block(sizes, length, rows, samples, index <= sizes.from, index >= sizes.from)
        });
        let pooled = if sizes.from < sizes.blocks { samples } else { 1.0 };
        blocks.sum::<Cost>() + product(1.0, sizes.width, sizes.width) * pooled
    };
    lengths.iter().map(sentence).sum()
}

/// A training step on sentences of these lengths: the forward pass of one sample, the gradient of every activation above the first adapter's
/// inputs (another product with each frozen map), and for `A` and `B` the gradients of weights and inputs.
pub(crate) fn training_step(sizes: &Sizes, lengths: &[usize]) -> Cost {
    let frozen = Sizes { rank: 0.0, ..*sizes };
    let forward = predictive(&frozen, lengths, 1.0);
    let adapters = Cost {
        flops: predictive(sizes, lengths, 1.0).flops - forward.flops,
        bytes: predictive(sizes, lengths, 1.0).bytes - forward.bytes,
    };
    forward * 2.0 + adapters * 3.0
}

/// `samples` outputs of one adapted map at `rows` inputs; at the rank site `A x` too is shared.
pub(crate) fn layer(rows: f64, samples: f64, shape: (f64, f64), rank: f64, is_rank_site: bool) -> Cost {
    let whole = map(rows, samples, true, shape, rank);
    let saved = if is_rank_site { 2.0 * (samples - 1.0) * rows * rank * shape.0 } else { 0.0 };
    Cost { flops: whole.flops - saved, bytes: whole.bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() <= 1e-9 * expected.abs(), "{got} instead of {expected}");
    }

    #[test]
    fn a_product_and_a_map_by_hand() {
        assert_eq!(product(2.0, 3.0, 5.0), Cost { flops: 60.0, bytes: 4.0 * 31.0 });
        // 3 inputs of width 4 to 5 outputs each, rank 2, 7 samples: frozen 2*3*4*5, adapter 2*7*3*2*(4+5).
        let cost = map(3.0, 7.0, true, (4.0, 5.0), 2.0);
        close(cost.flops, 120.0 + 756.0);
        close(cost.bytes, 4.0 * (12.0 + 105.0 + 20.0 + 18.0));
        close(map(3.0, 7.0, false, (4.0, 5.0), 2.0).flops, 840.0 + 756.0);
        // The rank site applies A once: 2*3*2*4 instead of seven times that.
        close(layer(3.0, 7.0, (4.0, 5.0), 2.0, true).flops, 120.0 + 48.0 + 2.0 * 7.0 * 3.0 * 2.0 * 5.0);
    }

    #[test]
    fn a_small_encoder_by_hand() {
        // Two blocks, width 2, inner 4, rank 1 on the last only; one sentence of 3 tokens, 5 samples.
        let sizes = Sizes { blocks: 2, width: 2.0, inner: 4.0, rank: 1.0, from: 1 };
        // Block 0, once: q k v and output 4 * 2*3*2*2, feed-forward 2 * 2*3*2*4, attention 2 * 2*3*2*3.
        let below = 4.0 * 24.0 + 2.0 * 48.0 + 2.0 * 36.0;
        // Block 1: q at 1 row, k and v at 3, shared: frozen 8 + 2*24; adapters 5 samples * 2*rows*(2+2): 40 + 2*120.
        let inputs = 8.0 + 48.0 + 40.0 + 240.0;
        // Attention 5 * (2*1*2*3 * 2); output map 5 * (8 + 8); feed-forward 5 * 2 * (16 + 12).
        let above = 120.0 + 80.0 + 280.0;
        let pooler = 5.0 * 8.0;
        close(predictive(&sizes, &[3], 5.0).flops, below + inputs + above + pooler);
        close(predictive(&sizes, &[3, 3], 5.0).flops, 2.0 * (below + inputs + above + pooler));
    }

    #[test]
    fn a_training_step_is_two_frozen_and_three_adapter_passes() {
        let sizes = Sizes { blocks: 1, width: 2.0, inner: 4.0, rank: 1.0, from: 0 };
        let with = predictive(&sizes, &[3], 1.0).flops;
        let without = predictive(&Sizes { rank: 0.0, ..sizes }, &[3], 1.0).flops;
        close(training_step(&sizes, &[3]).flops, 2.0 * without + 3.0 * (with - without));
    }
}
