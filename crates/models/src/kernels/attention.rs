//! Multi-head softmax attention within sentences packed without padding.
//!
//! `O_i = sum_j softmax_j(q_i k_j / sqrt(d_head)) v_j` (Vaswani et al., arXiv 1706.03762), `j` over the sentence of `i`.

use bayeslora_adapters::vectorised;
use std::ops::Range;

use candle_core::{CpuStorage, CustomOp3, D, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::math::{axpy, dot, exp, largest, sum};
use super::{borrow, is_fast, values};
use crate::packing::Packing;

/// Attention of the queries of each sentence over its own keys.
///
/// # Shapes
/// `q: [samples or 1, query rows, width]`, `k, v: [samples or 1, key rows, width]` to `[samples, query rows, width]`;
/// `queries` and `keys` say which rows belong to which sentence.
pub(crate) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    queries: &Packing,
    keys: &Packing,
    heads: usize,
) -> candle_core::Result<Tensor> {
    let op = Attention { queries: queries.clone(), keys: keys.clone(), heads };
    if is_fast(q) { q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, op) } else { op.plain(q, k, v) }
}

struct Attention {
    queries: Packing,
    keys: Packing,
    heads: usize,
}

/// One (sample, sentence) pair of a flattened `[samples, rows, width]` tensor.
fn block(values: &[f32], rows: usize, width: usize, sample: usize, sentence: &Range<usize>) -> Range<usize> {
    let samples = values.len() / (rows * width);
    let start = sample % samples * rows;
    (start + sentence.start) * width..(start + sentence.end) * width
}

/// Softmax of the scaled scores of one query over the keys of its sentence.
#[inline(always)]
fn weights(q: &[f32], k: &[f32], head: &Range<usize>, width: usize, scale: f32, out: &mut [f32]) {
    for (p, k) in out.iter_mut().zip(k.chunks_exact(width)) {
        *p = scale * dot(q, &k[head.clone()]);
    }
    softmax(out);
}

#[inline(always)]
fn softmax(x: &mut [f32]) {
    let largest = largest(x);
    for p in x.iter_mut() {
        *p = exp(*p - largest);
    }
    let total = 1.0 / sum(x, |p| p);
    for p in x.iter_mut() {
        *p *= total;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
fn scale(head_width: usize) -> f32 {
    (1.0 / (head_width as f64).sqrt()) as f32
}

/// Keys that one step of the scores handles side by side, and queries that share them: eight vector registers of sums.
const LANES: usize = 32;
const QUERIES: usize = 4;

/// Buffers that calls of [`attend`] reuse.
#[derive(Debug, Default)]
pub(crate) struct AttentionScratch {
    /// Keys of one head by blocks of `LANES`, within a block by component.
    keys: Vec<[f32; LANES]>,
    /// Scores of `QUERIES` queries by blocks of keys.
    scores: Vec<[f32; LANES]>,
}

/// Attention of the queries of one sentence over its keys, forward only, on the caller's thread.
///
/// # Shapes
/// `q, out: [queries, width]`, `k, v: [keys, width]`.
pub(crate) fn attend(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &mut [f32],
    (width, heads): (usize, usize),
    scratch: &mut AttentionScratch,
) {
    let size = width / heads;
    let blocks = (k.len() / width).div_ceil(LANES);
    scratch.keys.resize(size * blocks, [0.0; LANES]);
    scratch.scores.resize(QUERIES * blocks, [0.0; LANES]);
    vectorised(
        #[inline(always)]
        || {
            for head in 0..heads {
                attend_head(q, k, v, out, (width, head * size, size), scratch);
            }
        },
    );
}

#[inline(always)]
fn attend_head(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &mut [f32],
    (width, at, size): (usize, usize, usize),
    AttentionScratch { keys, scores }: &mut AttentionScratch,
) {
    let (queries, count) = (q.len() / width, k.len() / width);
    let scale = scale(size);
    // Components first: a score is then a sum down the lanes' own columns, not across a register.
    for j in 0..count {
        let k = &k[j * width + at..][..size];
        let block = &mut keys[j / LANES * size..][..size];
        for d in 0..size {
            block[d][j % LANES] = k[d];
        }
    }
    let blocks = count.div_ceil(LANES);
    for first in (0..queries).step_by(QUERIES) {
        // The last query stands in for those beyond it.
        let rows: [usize; QUERIES] = std::array::from_fn(|i| (first + i).min(queries - 1) * width + at);
        for block in 0..blocks {
            let keys = &keys[block * size..][..size];
            let mut sums = [[0.0_f32; LANES]; QUERIES];
            for d in 0..size {
                for i in 0..QUERIES {
                    let q = q[rows[i] + d];
                    for lane in 0..LANES {
                        sums[i][lane] = q.mul_add(keys[d][lane], sums[i][lane]);
                    }
                }
            }
            for i in 0..QUERIES {
                for lane in 0..LANES {
                    let present = block * LANES + lane < count;
                    scores[i * blocks + block][lane] = if present { scale * sums[i][lane] } else { f32::NEG_INFINITY };
                }
            }
        }
        for i in 0..QUERIES {
            softmax(scores[i * blocks..][..blocks].as_flattened_mut());
        }
        for part in (0..size).step_by(LANES) {
            let mut sums = [[0.0_f32; LANES]; QUERIES];
            let present = LANES.min(size - part);
            for j in 0..count {
                let v = &v[j * width + at + part..][..present];
                let p: [f32; QUERIES] = std::array::from_fn(|i| scores[i * blocks + j / LANES][j % LANES]);
                if let Ok(v) = <&[f32; LANES]>::try_from(v) {
                    for i in 0..QUERIES {
                        for lane in 0..LANES {
                            sums[i][lane] = p[i].mul_add(v[lane], sums[i][lane]);
                        }
                    }
                } else {
                    for i in 0..QUERIES {
                        axpy(p[i], v, &mut sums[i][..present]);
                    }
                }
            }
            for i in 0..QUERIES {
                out[rows[i] + part..][..present].copy_from_slice(&sums[i][..present]);
            }
        }
    }
}

impl Attention {
    fn scale(&self, width: usize) -> f32 {
        scale(width / self.heads)
    }

    fn heads(&self, width: usize) -> impl Iterator<Item = Range<usize>> {
        let size = width / self.heads;
        (0..self.heads).map(move |head| head * size..(head + 1) * size)
    }

    /// The same, composed of tensor operations, one sentence after the other.
    fn plain(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> candle_core::Result<Tensor> {
        let samples = q.dim(0)?.max(k.dim(0)?).max(v.dim(0)?);
        let width = q.dim(2)?;
        let mut sentences = Vec::new();
        for (query, key) in self.queries.sentences().zip(self.keys.sentences()) {
            let split = |x: &Tensor, rows: &Range<usize>| {
                let x = x.narrow(1, rows.start, rows.len())?;
                let x = x.broadcast_as((samples, rows.len(), width))?.contiguous()?;
                x.reshape((samples, rows.len(), self.heads, width / self.heads))?.transpose(1, 2)?.contiguous()
            };
            let (q, k, v) = (split(q, &query)?, split(k, &key)?, split(v, &key)?);
            let scores = (q.matmul(&k.t()?)? * f64::from(self.scale(width)))?;
            let scores = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
            let weights = scores.broadcast_div(&scores.sum_keepdim(D::Minus1)?)?;
            let out = weights.matmul(&v)?.transpose(1, 2)?.contiguous()?;
            sentences.push(out.reshape((samples, query.len(), width))?);
        }
        Tensor::cat(&sentences, 1)
    }

    fn pairs(&self, samples: usize) -> Vec<(usize, Range<usize>, Range<usize>)> {
        let sentences: Vec<_> = self.queries.sentences().zip(self.keys.sentences()).collect();
        (0..samples).flat_map(|sample| sentences.iter().map(move |(q, k)| (sample, q.clone(), k.clone()))).collect()
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
        let width = q_layout.shape().dims3()?.2;
        let samples = [q_layout, k_layout, v_layout].map(|l| l.dims()[0]).into_iter().max().unwrap_or(1);
        let (q, k, v) = (values(q, q_layout)?, values(k, k_layout)?, values(v, v_layout)?);
        let (query_rows, key_rows) = (self.queries.rows(), self.keys.rows());
        let mut out = vec![0.0; samples * query_rows * width];
        let mut rest = out.as_mut_slice();
        let mut tasks = Vec::new();
        for (sample, query, key) in self.pairs(samples) {
            let (out, tail) = rest.split_at_mut(query.len() * width);
            rest = tail;
            tasks.push((out, sample, query, key));
        }
        tasks.into_par_iter().for_each_init(AttentionScratch::default, |scratch, (out, sample, query, key)| {
            let q = &q[block(q, query_rows, width, sample, &query)];
            let k = &k[block(k, key_rows, width, sample, &key)];
            let v = &v[block(v, key_rows, width, sample, &key)];
            attend(q, k, v, out, (width, self.heads), scratch);
        });
        Ok((CpuStorage::F32(out), Shape::from((samples, query_rows, width))))
    }

    /// With `P` the weights and `dP_ij = g_i v_j`: `dS = P (dP - sum_j P dP)`, `dq = dS k`, `dk = dS^T q`, `dv = P^T g`.
    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (samples, query_rows, width) = result.dims3()?;
        let key_rows = self.keys.rows();
        let gradient = gradient.contiguous()?;
        let guards = [q, k, v, &gradient].map(|t| t.storage_and_layout());
        let [q_values, k_values, v_values, gradient] =
            [borrow(&guards[0])?, borrow(&guards[1])?, borrow(&guards[2])?, borrow(&guards[3])?];
        let scale = self.scale(width);
        let parts: Vec<_> = self
            .pairs(samples)
            .into_par_iter()
            .map(|(sample, query, key)| {
                let at_q = block(q_values, query_rows, width, sample, &query);
                let at_k = block(k_values, key_rows, width, sample, &key);
                let at_v = block(v_values, key_rows, width, sample, &key);
                let at_g = block(gradient, query_rows, width, sample, &query);
                let (q, k, v, g) =
                    (&q_values[at_q.clone()], &k_values[at_k.clone()], &v_values[at_v.clone()], &gradient[at_g]);
                let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
                let (mut p, mut ds) = (vec![0.0; key.len()], vec![0.0; key.len()]);
                vectorised(
                    #[inline(always)]
                    || {
                        let queries = q.chunks_exact(width).zip(g.chunks_exact(width)).zip(dq.chunks_exact_mut(width));
                        for ((q, g), dq) in queries {
                            for head in self.heads(width) {
                                let (q, g, dq) = (&q[head.clone()], &g[head.clone()], &mut dq[head.clone()]);
                                weights(q, k, &head, width, scale, &mut p);
                                for (ds, v) in ds.iter_mut().zip(v.chunks_exact(width)) {
                                    *ds = dot(g, &v[head.clone()]);
                                }
                                let mean = dot(&p, &ds);
                                for (ds, &p) in ds.iter_mut().zip(&p) {
                                    *ds = scale * p * (*ds - mean);
                                }
                                let rows = k.chunks_exact(width).zip(dk.chunks_exact_mut(width));
                                for ((k, dk), &ds) in rows.zip(&ds) {
                                    axpy(ds, &k[head.clone()], dq);
                                    axpy(ds, q, &mut dk[head.clone()]);
                                }
                                for (dv, &p) in dv.chunks_exact_mut(width).zip(&p) {
                                    axpy(p, g, &mut dv[head.clone()]);
                                }
                            }
                        }
                    },
                );
                [(at_q, dq), (at_k, dk), (at_v, dv)]
            })
            .collect();
        // Samples that share an argument add up in their fixed order, whatever the threads did.
        let mut totals = [vec![0.0; q_values.len()], vec![0.0; k_values.len()], vec![0.0; v_values.len()]];
        for part in parts {
            for (total, (at, values)) in totals.iter_mut().zip(part) {
                axpy(1.0, &values, &mut total[at]);
            }
        }
        let [dq, dk, dv] = totals;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device()).map(Some);
        Ok((tensor(dq, q)?, tensor(dk, k)?, tensor(dv, v)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_gradient, assert_twins, normal};
    use super::*;

    #[test]
    fn agrees_with_its_plain_twin_and_finite_differences() {
        let keys = Packing::from_lengths(&[3, 1, 17, 40]);
        let first = Packing::from_lengths(&[1, 1, 1, 1]);
        for queries in [&keys, &first] {
            for [q_samples, kv_samples] in [[1, 1], [3, 1], [1, 3], [3, 3]] {
                let q = normal(1, (q_samples, queries.rows(), 24));
                let (k, v) = (normal(2, (kv_samples, keys.rows(), 24)), normal(3, (kv_samples, keys.rows(), 24)));
                let op = Attention { queries: queries.clone(), keys: keys.clone(), heads: 2 };
                let fast = || attention(&q, &k, &v, queries, &keys, 2).unwrap();
                assert_twins(&[q.clone(), k.clone(), v.clone()], &fast(), &op.plain(&q, &k, &v).unwrap(), 1e-5);
                for var in [&q, &k, &v] {
                    assert_gradient(var, fast, 5e-3);
                }
            }
        }
    }

    #[test]
    fn large_scores_do_not_overflow() {
        let keys = Packing::from_lengths(&[5]);
        let q = (normal(1, (1, 5, 8)).as_tensor() * 1e3).unwrap();
        let out = attention(&q, &q, &q, &keys, &keys, 1).unwrap();
        assert!(out.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().all(|x| x.is_finite()));
    }
}
