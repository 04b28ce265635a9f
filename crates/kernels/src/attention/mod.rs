//! Multi-head softmax attention within contexts packed without padding.
//!
//! `O_i = sum_j softmax_j(q_i k_j / sqrt(d_head)) v_j` (Vaswani et al., arXiv 1706.03762), `j` over the keys that `i` sees. Several heads
//! of queries may share one of keys (Ainslie et al., arXiv 2305.13245), and scores may be capped (arXiv 2408.00118).

use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Shape, Tensor};
use rayon::prelude::*;

use crate::math::axpy;
use crate::packing::Packing;
use crate::storage::{borrow, is_fast, values};

mod attend;
mod back;
mod context;
mod heads;
mod plan;
mod products;

use attend::attend_family;
pub use attend::{attend, attend_within};
use back::attend_back_family;
pub use context::{Context, Mask};
use context::{Family, Segment};
pub use heads::Heads;
pub use plan::AttentionScratch;
use plan::extents;

/// Attention of the queries of each sentence over its own keys, all of them.
///
/// # Shapes
/// `q: [samples or 1, query rows, width]`, `k, v: [samples or 1, key rows, width]` to `[samples, query rows, width]`;
/// `queries` and `keys` say which rows belong to which sentence.
///
/// # Errors
/// When shapes do not go together.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    queries: &Packing,
    keys: &Packing,
    heads: usize,
) -> candle_core::Result<Tensor> {
    let size = q.dim(D::Minus1)? / heads.max(1);
    attention_within(q, k, v, &Context::across(queries, keys), &Heads::new(heads, heads, size, Mask::Full))
}

/// Attention of the queries of a context over the keys that each sees.
///
/// Half-precision values are multiplied as they are; scores and their softmax are f32.
///
/// # Shapes
/// `q: [samples or 1, query rows, query heads * size]`, `k, v: [samples or 1, key rows, key heads * size]` to
/// `[samples, query rows, query heads * size]`.
///
/// # Errors
/// When shapes, or the parts of `heads`, do not go together.
pub fn attention_within(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    context: &Context,
    heads: &Heads,
) -> candle_core::Result<Tensor> {
    heads.check()?;
    let samples = q.dim(0)?.max(k.dim(0)?).max(v.dim(0)?);
    let rows = (context.query_rows(), context.key_rows(), context.key_rows());
    let widths = (heads.queries * heads.size, heads.keys * heads.size, heads.keys * heads.size);
    for (x, rows, width) in [(q, rows.0, widths.0), (k, rows.1, widths.1), (v, rows.2, widths.2)] {
        if x.dims() != [x.dim(0)?, rows, width] || ![1, samples].contains(&x.dim(0)?) {
            candle_core::bail!("attention: {:?}; expected 1 or {samples} samples of {rows} rows of {width}", x.dims());
        }
    }
    let op = Attention { context: context.clone(), heads: *heads };
    if is_fast(q) { q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, op) } else { op.plain(q, k, v) }
}

struct Attention {
    context: Context,
    heads: Heads,
}

/// Values of one sample of a flattened `[samples or 1, ..]` tensor, `length` a sample.
fn sample(values: &[f32], length: usize, index: usize) -> &[f32] {
    &values[index * length % values.len().max(1)..][..length]
}

impl Attention {
    /// The same, composed of tensor operations, one segment after the other.
    fn plain(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> candle_core::Result<Tensor> {
        let samples = q.dim(0)?.max(k.dim(0)?).max(v.dim(0)?);
        let Heads { queries: heads, keys: key_heads, size, scale, cap, .. } = self.heads;
        let wide = if q.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let mut segments = Vec::new();
        for segment in self.context.segments() {
            let split = |x: &Tensor, ranges: &[std::ops::Range<usize>], heads: usize| {
                let parts = ranges.iter().map(|range| x.narrow(1, range.start, range.len()));
                let x = Tensor::cat(&parts.collect::<candle_core::Result<Vec<_>>>()?, 1)?;
                let rows = x.dim(1)?;
                let x = x.broadcast_as((samples, rows, heads * size))?.contiguous()?;
                x.reshape((samples, rows, heads, size))?.transpose(1, 2)?.contiguous()
            };
            let rows = segment.queries.len();
            // Heads that share keys are further rows before them.
            let shared = (samples, key_heads, heads / key_heads * rows, ());
            let q = split(q, std::slice::from_ref(&segment.queries), heads)?.reshape(shared)?;
            let (k, v) = (split(k, &segment.keys, key_heads)?, split(v, &segment.keys, key_heads)?);
            let mut scores = (q.matmul(&k.t()?)?.to_dtype(wide)? * f64::from(scale))?;
            if let Some(cap) = cap.map(f64::from) {
                scores = ((scores / cap)?.tanh()? * cap)?;
            }
            if let Some(hidden) = self.hidden(segment, q.device())? {
                let apart = scores.reshape((samples, heads, rows, ()))?;
                scores = apart.broadcast_add(&hidden.to_dtype(wide)?)?.reshape(scores.shape())?;
            }
            let scores = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
            let weights = scores.broadcast_div(&scores.sum_keepdim(D::Minus1)?)?.to_dtype(v.dtype())?;
            let out = weights.matmul(&v)?.reshape((samples, heads, rows, size))?.transpose(1, 2)?.contiguous()?;
            segments.push(out.reshape((samples, rows, heads * size))?);
        }
        Tensor::cat(&segments, 1)
    }

    /// Negative infinity where a query does not see a key, else 0, `[queries, keys]`; nothing where all see all.
    fn hidden(&self, segment: &Segment, device: &candle_core::Device) -> candle_core::Result<Option<Tensor>> {
        let count: usize = segment.keys.iter().map(ExactSizeIterator::len).sum();
        let positions = &self.context.positions()[segment.queries.clone()];
        let seen: Vec<_> = positions.iter().map(|&at| self.heads.mask.seen(at as usize, count)).collect();
        if seen.iter().all(|seen| seen.len() == count) {
            return Ok(None);
        }
        let value = |hidden: bool| if hidden { f32::NEG_INFINITY } else { 0.0 };
        let values: Vec<f32> =
            seen.iter().flat_map(|seen| (0..count).map(move |key| value(!seen.contains(&key)))).collect();
        Tensor::from_vec(values, (positions.len(), count), device).map(Some)
    }

    /// Every family of every sample.
    fn families(&self, samples: usize) -> Vec<(usize, &Family)> {
        (0..samples).flat_map(|sample| self.context.families().iter().map(move |family| (sample, family))).collect()
    }

    /// Values of a sample of queries and of keys.
    fn lengths(&self) -> (usize, usize) {
        let Heads { queries, keys, size, .. } = self.heads;
        (self.context.query_rows() * queries * size, self.context.key_rows() * keys * size)
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "packed-attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (_, rows, width) = q_layout.shape().dims3()?;
        let samples = [q_layout, k_layout, v_layout].map(|l| l.dims()[0]).into_iter().max().unwrap_or(1);
        let (q, k, v) = (values(q, q_layout)?, values(k, k_layout)?, values(v, v_layout)?);
        let (own, others) = self.lengths();
        let mut out = vec![0.0; samples * own];
        let mut rest = out.as_mut_slice();
        let mut tasks = Vec::new();
        for (index, family) in self.families(samples) {
            let (out, tail) = rest.split_at_mut(family.queries.len() * width);
            rest = tail;
            tasks.push((out, index, family));
        }
        tasks.into_par_iter().for_each_init(AttentionScratch::default, |scratch, (out, index, family)| {
            let (at_q, at_k) = extents(family, &self.heads);
            let (q, k, v) = (sample(q, own, index), sample(k, others, index), sample(v, others, index));
            attend_family([&q[at_q], &k[at_k.clone()], &v[at_k]], out, (&self.context, family), &self.heads, scratch);
        });
        Ok((CpuStorage::F32(out), Shape::from((samples, rows, width))))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let guards = [q, k, v, &gradient].map(|t| t.storage_and_layout());
        let all = [borrow(&guards[0])?, borrow(&guards[1])?, borrow(&guards[2])?, borrow(&guards[3])?];
        let (own, others) = self.lengths();
        let lengths = [own, others, others, own];
        let parts: Vec<_> = self
            .families(result.dim(0)?)
            .into_par_iter()
            .map_init(AttentionScratch::default, |scratch, (index, family)| {
                let (at_q, at_k) = extents(family, &self.heads);
                let ranges = [at_q.clone(), at_k.clone(), at_k, at_q];
                let part = |i: usize| &sample(all[i], lengths[i], index)[ranges[i].clone()];
                let qkvg = [part(0), part(1), part(2), part(3)];
                let [mut dq, mut dk, mut dv] = [0, 1, 2].map(|i| vec![0.0; qkvg[i].len()]);
                let slopes = [&mut dq[..], &mut dk, &mut dv];
                attend_back_family(qkvg, slopes, (&self.context, family), &self.heads, scratch);
                let start = |i: usize| index * lengths[i] % all[i].len() + ranges[i].start;
                [(start(0), dq), (start(1), dk), (start(2), dv)]
            })
            .collect();
        // Samples that share an argument add up in their fixed order, whatever the threads did.
        let mut totals = [0, 1, 2].map(|i| vec![0.0; all[i].len()]);
        for part in parts {
            for (total, (start, values)) in totals.iter_mut().zip(part) {
                axpy(1.0, &values, &mut total[start..start + values.len()]);
            }
        }
        let [dq, dk, dv] = totals;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device()).map(Some);
        Ok((tensor(dq, q)?, tensor(dk, k)?, tensor(dv, v)?))
    }
}

#[cfg(test)]
mod tests;
