//! Gradients of attention within one thread.

use super::attend::{blend, columns, dots, hide, softmax_rows};
use super::context::{Context, Family};
use super::heads::Heads;
use super::plan::{AttentionScratch, QUERIES, Tile, touched};
use crate::math::{axpy, dot, tanh};
use crate::vectorised::vectorised;

/// Gradients of [`attend_family`] with respect to `q`, `k` and `v`, which start at 0.
///
/// With `P` the weights and `dP_ij = g_i v_j`: `dS = P (dP - sum_j P dP)`, `dq = dS k`, `dk = dS^T q`, `dv = P^T g`; a cap turns `dS` into
/// `dS (1 - tanh^2)`.
pub(super) fn attend_back_family(
    qkvg: [&[f32]; 4],
    [dq, dk, dv]: [&mut [f32]; 3],
    (context, family): (&Context, &Family),
    heads: &Heads,
    scratch: &mut AttentionScratch,
) {
    scratch.plan.family(context, family);
    scratch.fit(heads.size);
    vectorised(
        #[inline(always)]
        || {
            for head in 0..heads.keys {
                attend_back_head(qkvg, [dq, dk, dv], heads, head, scratch);
            }
        },
    );
}

#[inline(always)]
fn attend_back_head(
    [q, k, v, g]: [&[f32]; 4],
    [dq, dk, dv]: [&mut [f32]; 3],
    heads: &Heads,
    key_head: usize,
    scratch: &mut AttentionScratch,
) {
    let size = heads.size;
    let head = (heads.keys * size, key_head * size, size);
    let AttentionScratch { plan, keys, values, scores, slopes, bends } = scratch;
    columns(k, head, &plan.columns, keys);
    columns(v, head, &plan.columns, values);
    for part in &plan.parts {
        for first in (0..part.queries.len() * heads.group()).step_by(QUERIES) {
            let tile = Tile::new(first, part, &plan.positions, heads, key_head);
            let (starts, span) = (tile.starts, tile.span());
            let blocks = touched(&plan.blocks[part.blocks.clone()], &span);
            let count = blocks.len();
            let (scores, slopes) = (&mut scores[..QUERIES * count], &mut slopes[..QUERIES * count]);
            dots(q, starts, (keys, blocks), size, heads.scale, scores);
            if let Some(cap) = heads.cap {
                for (score, bend) in scores.as_flattened_mut().iter_mut().zip(bends.as_flattened_mut()) {
                    let bent = tanh(*score / cap);
                    (*score, *bend) = (cap * bent, 1.0 - bent * bent);
                }
            }
            hide(scores, blocks, &tile.seen, f32::NEG_INFINITY);
            softmax_rows(scores);
            dots(g, starts, (values, blocks), size, 1.0, slopes);
            // What is not seen may be anything, and 0 times anything is not always 0.
            hide(slopes, blocks, &tile.seen, 0.0);
            for i in 0..QUERIES {
                let p = scores[i * count..][..count].as_flattened();
                let ds = slopes[i * count..][..count].as_flattened_mut();
                let mean = dot(p, ds);
                for (ds, p) in ds.iter_mut().zip(p) {
                    *ds = heads.scale * p * (*ds - mean);
                }
            }
            if heads.cap.is_some() {
                for (ds, bend) in slopes.as_flattened_mut().iter_mut().zip(bends.as_flattened()) {
                    *ds *= bend;
                }
            }
            blend(slopes, k, head, (blocks, &span), starts, dq);
            // Queries that stand in are not counted twice.
            for i in 0..tile.own {
                let (q, g) = (&q[starts[i]..][..size], &g[starts[i]..][..size]);
                for (b, block) in blocks.iter().enumerate() {
                    for j in block.lanes(&tile.seen[i]) {
                        let own = (block.row + j) * head.0 + head.1..(block.row + j) * head.0 + head.1 + size;
                        axpy(slopes[i * count + b][j], q, &mut dk[own.clone()]);
                        axpy(scores[i * count + b][j], g, &mut dv[own]);
                    }
                }
            }
        }
    }
}
