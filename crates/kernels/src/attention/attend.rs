//! Attention within one thread: the scores of a few queries with blocks of keys side by side, their softmax and sums of values.
//!
//! Keys lie as columns in blocks of `LANES`, each range of rows beginning a block of its own, so that ranges which several
//! continuations share are laid out once. Heads that share keys are queries of the same columns. Blocks that no query of a tile
//! sees are passed over.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::context::{Context, Family, Mask};
use super::heads::Heads;
use super::plan::{AttentionScratch, Block, LANES, QUERIES, Tile, extents, touched};
use super::products::{blend, columns, dots};
use crate::math::{exp, largest, sum, tanh};

/// Attention of the queries of one sentence over all of its keys, forward only, on the caller's thread.
///
/// # Shapes
/// `q, out: [queries, width]`, `k, v: [keys, width]`.
pub fn attend(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &mut [f32],
    (width, heads): (usize, usize),
    scratch: &mut AttentionScratch,
) {
    let heads = Heads::new(heads, heads, width / heads, Mask::Full);
    let (queries, keys) = (q.len() / width, k.len() / width);
    scratch.plan.clear(&[]);
    scratch.plan.positions.resize(queries, 0);
    scratch.plan.part(0..queries, std::iter::once(0..keys));
    attend_planned([q, k, v], out, &heads, scratch);
}

/// Attention of all queries of a context, forward only, on the caller's thread.
///
/// # Shapes
/// `q, out: [query rows, query heads * size]`, `k, v: [key rows, key heads * size]`.
///
/// # Panics
/// When extents, or the parts of `heads`, do not go together.
pub fn attend_within(
    [q, k, v]: [&[f32]; 3],
    out: &mut [f32],
    context: &Context,
    heads: &Heads,
    scratch: &mut AttentionScratch,
) {
    let (width, key_width) = (heads.queries * heads.size, heads.keys * heads.size);
    let rows = (context.query_rows() * width, context.key_rows() * key_width);
    let fits = (q.len(), out.len(), k.len(), v.len()) == (rows.0, rows.0, rows.1, rows.1);
    assert!(fits && heads.check().is_ok(), "extents of attention");
    for family in context.families() {
        let (own, keys) = extents(family, heads);
        attend_family([&q[own.clone()], &k[keys.clone()], &v[keys]], &mut out[own], (context, family), heads, scratch);
    }
}

/// [`attend_within`] of one family's rows alone.
pub(super) fn attend_family(
    qkv: [&[f32]; 3],
    out: &mut [f32],
    (context, family): (&Context, &Family),
    heads: &Heads,
    scratch: &mut AttentionScratch,
) {
    scratch.plan.family(context, family);
    attend_planned(qkv, out, heads, scratch);
}

fn attend_planned(qkv: [&[f32]; 3], out: &mut [f32], heads: &Heads, scratch: &mut AttentionScratch) {
    scratch.fit(heads.size);
    Arch::new().dispatch(Attend { qkv, out, heads, scratch });
}

struct Attend<'a> {
    qkv: [&'a [f32]; 3],
    out: &'a mut [f32],
    heads: &'a Heads,
    scratch: &'a mut AttentionScratch,
}

impl WithSimd for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for key_head in 0..self.heads.keys {
            self.head(simd, key_head);
        }
    }
}

/// `value` where a key is not seen.
#[inline(always)]
pub(super) fn hide(scores: &mut [[f32; LANES]], blocks: &[Block], seen: &[Range<usize>; QUERIES], value: f32) {
    for i in 0..QUERIES {
        for (b, block) in blocks.iter().enumerate() {
            let lanes = block.lanes(&seen[i]);
            let row = &mut scores[i * blocks.len() + b];
            row[..lanes.start].fill(value);
            row[lanes.end..].fill(value);
        }
    }
}

/// Softmax of each row of `scores`; what is negative infinity becomes 0.
#[inline(always)]
pub(super) fn softmax_rows(scores: &mut [[f32; LANES]]) {
    let blocks = scores.len() / QUERIES;
    for i in 0..QUERIES {
        let x = scores[i * blocks..][..blocks].as_flattened_mut();
        let largest = largest(x);
        for p in x.iter_mut() {
            *p = exp(*p - largest);
        }
        let total = 1.0 / sum(x, |p| p);
        for p in x.iter_mut() {
            *p *= total;
        }
    }
}

impl Attend<'_> {
    /// One head of the keys, and the heads of the queries that it serves.
    #[inline(always)]
    fn head<S: Simd>(&mut self, simd: S, key_head: usize) {
        let Self { qkv: [q, k, v], ref mut out, heads, ref mut scratch } = *self;
        let size = heads.size;
        let head = (heads.keys * size, key_head * size, size);
        let AttentionScratch { plan, keys, scores, .. } = &mut **scratch;
        let (keys, all) = (keys.blocks(), scores.blocks());
        columns(k, head, &plan.columns, keys);
        for part in &plan.parts {
            for first in (0..part.queries.len() * heads.group()).step_by(QUERIES) {
                let tile = Tile::new(first, part, &plan.positions, heads, key_head);
                let span = tile.span();
                let blocks = touched(&plan.blocks[part.blocks.clone()], &span);
                let scores = &mut all[..QUERIES * blocks.len()];
                dots(simd, q, tile.starts, (keys, blocks), (size, heads.scale), scores);
                if let Some(cap) = heads.cap {
                    for score in scores.as_flattened_mut() {
                        *score = cap * tanh(*score / cap);
                    }
                }
                hide(scores, blocks, &tile.seen, f32::NEG_INFINITY);
                softmax_rows(scores);
                blend(simd, scores, v, head, (blocks, &span), tile.starts, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::tests::{case, narrower};

    /// The same bits in registers of every width.
    #[test]
    fn narrower_registers_give_the_same_values() {
        let (context, heads, [q, k, v]) = case();
        let run = |attend: &dyn Fn(Attend<'_>)| {
            let mut out = vec![f32::NAN; q.len()];
            let mut scratch = AttentionScratch::default();
            scratch.plan.family(&context, &context.families()[0]);
            scratch.fit(heads.size);
            attend(Attend { qkv: [&q, &k, &v], out: &mut out, heads: &heads, scratch: &mut scratch });
            out
        };
        let widest = run(&|attend| Arch::new().dispatch(attend));
        assert_eq!(widest, run(&|attend| pulp::Scalar::new().vectorize(attend)));
        if let Some(simd) = narrower() {
            assert_eq!(widest, run(&|attend| Simd::vectorize(simd, attend)));
        }
    }
}
