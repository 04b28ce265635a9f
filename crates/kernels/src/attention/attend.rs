//! Attention within one thread: the scores of a few queries with blocks of keys side by side, their softmax and sums of values.
//!
//! Keys lie as columns in blocks of `LANES`, each range of rows beginning a block of its own, so that ranges which several
//! continuations share are laid out once. Heads that share keys are queries of the same columns. Blocks that no query of a tile
//! sees are passed over.

use std::ops::Range;

use super::context::{Context, Family, Mask};
use super::heads::Heads;
use super::plan::{AttentionScratch, Block, LANES, QUERIES, Tile, extents, touched};
use crate::math::{axpy, exp, largest, sum, tanh};
use crate::vectorised::vectorised;

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
    vectorised(
        #[inline(always)]
        || {
            for head in 0..heads.keys {
                attend_head(qkv, out, heads, head, scratch);
            }
        },
    );
}

/// Where a head lies in its rows: width of a row, first component, components.
type Head = (usize, usize, usize);

/// Rows of one head by blocks of `LANES` of them, within a block by component: products with them are then sums down the
/// lanes' own columns, not across a register.
#[inline(always)]
pub(super) fn columns(
    rows: &[f32],
    (width, at, size): Head,
    ranges: &[(Range<usize>, usize)],
    out: &mut [[f32; LANES]],
) {
    for (range, first) in ranges {
        for (j, row) in rows[range.start * width..range.end * width].chunks_exact(width).enumerate() {
            let row = &row[at..at + size];
            let block = &mut out[(first + j / LANES) * size..][..size];
            for d in 0..size {
                block[d][j % LANES] = row[d];
            }
        }
    }
}

/// `out[i, j] = scale * rows[starts[i]..] . columns[j]`, by blocks of `j`.
#[inline(always)]
pub(super) fn dots(
    rows: &[f32],
    starts: [usize; QUERIES],
    (columns, blocks): (&[[f32; LANES]], &[Block]),
    size: usize,
    scale: f32,
    out: &mut [[f32; LANES]],
) {
    for (at, block) in blocks.iter().enumerate() {
        let columns = &columns[block.column * size..][..size];
        let mut sums = [[0.0_f32; LANES]; QUERIES];
        for d in 0..size {
            for i in 0..QUERIES {
                let row = rows[starts[i] + d];
                for lane in 0..LANES {
                    sums[i][lane] = row.mul_add(columns[d][lane], sums[i][lane]);
                }
            }
        }
        for i in 0..QUERIES {
            for lane in 0..LANES {
                out[i * blocks.len() + at][lane] = scale * sums[i][lane];
            }
        }
    }
}

/// `out[starts[i]..] = sum_j weights[i, j] rows[j]` over the head's components and the positions in `span`.
#[inline(always)]
pub(super) fn blend(
    weights: &[[f32; LANES]],
    rows: &[f32],
    (width, at, size): Head,
    (blocks, span): (&[Block], &Range<usize>),
    starts: [usize; QUERIES],
    out: &mut [f32],
) {
    for part in (0..size).step_by(LANES) {
        let mut sums = [[0.0_f32; LANES]; QUERIES];
        let present = LANES.min(size - part);
        for (b, block) in blocks.iter().enumerate() {
            for j in block.lanes(span) {
                let row = &rows[(block.row + j) * width + at + part..][..present];
                if let Ok(row) = <&[f32; LANES]>::try_from(row) {
                    for i in 0..QUERIES {
                        let p = weights[i * blocks.len() + b][j];
                        for lane in 0..LANES {
                            sums[i][lane] = p.mul_add(row[lane], sums[i][lane]);
                        }
                    }
                } else {
                    for i in 0..QUERIES {
                        axpy(weights[i * blocks.len() + b][j], row, &mut sums[i][..present]);
                    }
                }
            }
        }
        for i in 0..QUERIES {
            out[starts[i] + part..][..present].copy_from_slice(&sums[i][..present]);
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

#[inline(always)]
fn attend_head(
    [q, k, v]: [&[f32]; 3],
    out: &mut [f32],
    heads: &Heads,
    key_head: usize,
    scratch: &mut AttentionScratch,
) {
    let size = heads.size;
    let head = (heads.keys * size, key_head * size, size);
    let AttentionScratch { plan, keys, scores, .. } = scratch;
    columns(k, head, &plan.columns, keys);
    for part in &plan.parts {
        for first in (0..part.queries.len() * heads.group()).step_by(QUERIES) {
            let tile = Tile::new(first, part, &plan.positions, heads, key_head);
            let span = tile.span();
            let blocks = touched(&plan.blocks[part.blocks.clone()], &span);
            let scores = &mut scores[..QUERIES * blocks.len()];
            dots(q, tile.starts, (keys, blocks), size, heads.scale, scores);
            if let Some(cap) = heads.cap {
                for score in scores.as_flattened_mut() {
                    *score = cap * tanh(*score / cap);
                }
            }
            hide(scores, blocks, &tile.seen, f32::NEG_INFINITY);
            softmax_rows(scores);
            blend(scores, v, head, (blocks, &span), tile.starts, out);
        }
    }
}
