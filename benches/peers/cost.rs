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

/// Sizes of an adapted network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sizes {
    pub(crate) blocks: usize,
    pub(crate) width: f64,
    /// Width of all heads together.
    pub(crate) heads: f64,
    /// Width of all heads of keys together.
    pub(crate) keys: f64,
    pub(crate) inner: f64,
    /// Maps into the inner width: 2 with a gate.
    pub(crate) maps_to_inner: f64,
    /// Whether a token sees those before it only, and the last one is read without a pooler; else the first is, with one.
    pub(crate) is_causal: bool,
    /// Rank of the adapters of blocks `from..`.
    pub(crate) rank: f64,
    /// Whether all maps of a block have one, or those of queries and values only.
    pub(crate) adapts_all: bool,
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

/// One block at `rows` of the rows of a sentence of `length` tokens (all of them, or the one that is read).
pub(crate) fn block(sizes: &Sizes, length: f64, rows: f64, samples: f64, shared: bool, adapted: bool) -> Cost {
    let Sizes { width, heads, keys, inner, maps_to_inner, .. } = *sizes;
    let rank = if adapted { sizes.rank } else { 0.0 };
    let other_rank = if sizes.adapts_all { rank } else { 0.0 };
    // Above the first adapter everything is random.
    let shared_above = shared && !adapted;
    let above = if shared_above { 1.0 } else { samples };
    let into = |rank: f64| if shared && rank == 0.0 { 1.0 } else { samples };
    // Of the keys, those that the mask shows: half of them on average, or all to the last token.
    let seen = if sizes.is_causal && rows > 1.0 { f64::midpoint(length, 1.0) } else { length };
    let attention = product(rows, heads, seen) + product(rows, seen, heads);
    map(rows, into(rank), shared, (width, heads), rank)
        + map(length, into(other_rank), shared, (width, keys), other_rank)
        + map(length, into(rank), shared, (width, keys), rank)
        + attention * above
        + map(rows, above, false, (heads, width), other_rank)
        + map(rows, above, false, (width, inner), other_rank) * maps_to_inner
        + map(rows, above, false, (inner, width), other_rank)
}

/// Exact sampling of sentences of these lengths: blocks below the first adapter and the inputs of its block are shared by the samples,
/// the last block is computed at the token that is read only (keys and values at all), no padding. One sample and rank 0 is the plain forward.
pub(crate) fn predictive(sizes: &Sizes, lengths: &[usize], samples: f64) -> Cost {
    let sentence = |&length: &usize| {
        let length = length as f64;
        let blocks = (0..sizes.blocks).map(|index| {
            let rows = if index + 1 == sizes.blocks { 1.0 } else { length };
            block(sizes, length, rows, samples, index <= sizes.from, index >= sizes.from)
        });
        let pooled = if sizes.from < sizes.blocks { samples } else { 1.0 };
        let pooler = if sizes.is_causal { Cost::default() } else { product(1.0, sizes.width, sizes.width) * pooled };
        blocks.sum::<Cost>() + pooler
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

    /// Width 2, inner 4, rank 1 on every map of the blocks from `from` on.
    fn encoder(blocks: usize, from: usize) -> Sizes {
        Sizes {
            blocks,
            width: 2.0,
            heads: 2.0,
            keys: 2.0,
            inner: 4.0,
            maps_to_inner: 1.0,
            is_causal: false,
            rank: 1.0,
            adapts_all: true,
            from,
        }
    }

    #[test]
    fn a_small_decoder_by_hand() {
        // One block, width 4, heads 4, keys 2, inner 3 with a gate, rank 1 on queries and values; 3 tokens, 5 samples.
        let sizes = Sizes {
            blocks: 1,
            width: 4.0,
            heads: 4.0,
            keys: 2.0,
            inner: 3.0,
            maps_to_inner: 2.0,
            is_causal: true,
            rank: 1.0,
            adapts_all: false,
            from: 0,
        };
        // Queries at the last token, shared: 2*4*4, and 5 samples of 2*(4+4). Keys at 3 once: 2*3*4*2. Values: the same, and 5 of 2*3*(4+2).
        let inputs = 32.0 + 80.0 + 48.0 + 48.0 + 180.0;
        // Of each sample: attention to 3 keys 2 * 2*4*3, output 2*4*4, feed-forward 3 * 2*4*3.
        let above = 5.0 * (48.0 + 32.0 + 72.0);
        close(predictive(&sizes, &[3], 5.0).flops, inputs + above);
        // Below another block all 3 tokens are computed, and see 1, 2 and 3 keys: 2 * 2*4*6.
        let two = Sizes { blocks: 2, from: 2, ..sizes };
        let below = 3.0 * 32.0 + 96.0 + 96.0 + 3.0 * 32.0 + 3.0 * 72.0;
        let last = 32.0 + 96.0 + 48.0 + 32.0 + 72.0;
        close(predictive(&two, &[3], 5.0).flops, below + last);
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
        let sizes = encoder(2, 1);
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
        let sizes = encoder(1, 0);
        let with = predictive(&sizes, &[3], 1.0).flops;
        let without = predictive(&Sizes { rank: 0.0, ..sizes }, &[3], 1.0).flops;
        close(training_step(&sizes, &[3]).flops, 2.0 * without + 3.0 * (with - without));
    }
}
