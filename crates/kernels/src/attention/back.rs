//! Gradients of attention within one thread.

use pulp::{Arch, Simd, WithSimd};

use super::attend::{hide, softmax_rows};
use super::context::{Context, Family};
use super::heads::Heads;
use super::plan::{AttentionScratch, QUERIES, Tile, touched};
use super::products::{blend, columns, dots, spread};
use crate::math::{dot, tanh};

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
    scratch.fit_back(heads.size);
    Arch::new().dispatch(Back { qkvg, slopes: [dq, dk, dv], heads, scratch });
}

struct Back<'a> {
    qkvg: [&'a [f32]; 4],
    slopes: [&'a mut [f32]; 3],
    heads: &'a Heads,
    scratch: &'a mut AttentionScratch,
}

impl WithSimd for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for key_head in 0..self.heads.keys {
            self.head(simd, key_head);
        }
    }
}

impl Back<'_> {
    /// One head of the keys, and the heads of the queries that it serves.
    #[inline(always)]
    fn head<S: Simd>(&mut self, simd: S, key_head: usize) {
        let Self { qkvg: [q, k, v, g], slopes: [ref mut dq, ref mut dk, ref mut dv], heads, ref mut scratch } = *self;
        let size = heads.size;
        let head = (heads.keys * size, key_head * size, size);
        let AttentionScratch { plan, keys, values, scores, slopes, bends } = &mut **scratch;
        let (keys, values) = (keys.blocks(), values.blocks());
        let (all_scores, all_slopes, bends) = (scores.blocks(), slopes.blocks(), bends.blocks());
        columns(k, head, &plan.columns, keys);
        columns(v, head, &plan.columns, values);
        for part in &plan.parts {
            for first in (0..part.queries.len() * heads.group()).step_by(QUERIES) {
                let tile = Tile::new(first, part, &plan.positions, heads, key_head);
                let (starts, span) = (tile.starts, tile.span());
                let blocks = touched(&plan.blocks[part.blocks.clone()], &span);
                let count = blocks.len();
                let (scores, slopes) = (&mut all_scores[..QUERIES * count], &mut all_slopes[..QUERIES * count]);
                dots(simd, q, starts, (keys, blocks), (size, heads.scale), scores);
                if let Some(cap) = heads.cap {
                    for (score, bend) in scores.as_flattened_mut().iter_mut().zip(bends.as_flattened_mut()) {
                        let bent = tanh(*score / cap);
                        (*score, *bend) = (cap * bent, 1.0 - bent * bent);
                    }
                }
                hide(scores, blocks, &tile.seen, f32::NEG_INFINITY);
                softmax_rows(scores);
                dots(simd, g, starts, (values, blocks), (size, 1.0), slopes);
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
                blend(simd, slopes, k, head, (blocks, &span), starts, dq);
                // Queries that stand in are not counted twice.
                let own = (starts, tile.own);
                spread(simd, slopes, q, own, head, (blocks, &span), dk);
                spread(simd, scores, g, own, head, (blocks, &span), dv);
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
    fn narrower_registers_give_the_same_gradients() {
        let (context, heads, [q, k, v]) = case();
        let run = |back: &dyn Fn(Back<'_>)| {
            let [mut dq, mut dk, mut dv] = [&q, &k, &v].map(|x| vec![0.0; x.len()]);
            let mut scratch = AttentionScratch::default();
            scratch.plan.family(&context, &context.families()[0]);
            scratch.fit_back(heads.size);
            let slopes = [&mut dq[..], &mut dk, &mut dv];
            back(Back { qkvg: [&q, &k, &v, &q], slopes, heads: &heads, scratch: &mut scratch });
            [dq, dk, dv].concat()
        };
        let widest = run(&|back| Arch::new().dispatch(back));
        assert_eq!(widest, run(&|back| pulp::Scalar::new().vectorize(back)));
        if let Some(simd) = narrower() {
            assert_eq!(widest, run(&|back| Simd::vectorize(simd, back)));
        }
    }
}
