//! Multi-head softmax attention within sentences packed without padding.
//!
//! `O_i = sum_j softmax_j(q_i k_j / sqrt(d_head)) v_j` (Vaswani et al., arXiv 1706.03762), `j` over the sentence of `i`.
//!
//! More than 400 lines: the plain form, the fast form and the backward pass of one operation, with the tests that hold them together.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp3, D, Layout, Shape, Tensor};
use rayon::prelude::*;

use crate::math::{axpy, dot, exp, largest, sum};
use crate::packing::Packing;
use crate::storage::{borrow, is_fast, values};
use crate::vectorised::vectorised;

/// Attention of the queries of each sentence over its own keys.
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
pub struct AttentionScratch {
    /// Keys of one head, as [`columns`].
    keys: Vec<[f32; LANES]>,
    /// Values of one head, as [`columns`].
    values: Vec<[f32; LANES]>,
    /// Weights of `QUERIES` queries, by blocks of keys.
    scores: Vec<[f32; LANES]>,
    /// Their slopes.
    slopes: Vec<[f32; LANES]>,
}

impl AttentionScratch {
    fn fit(&mut self, keys: usize, size: usize) {
        let blocks = keys.div_ceil(LANES);
        self.keys.resize(size * blocks, [0.0; LANES]);
        self.values.resize(size * blocks, [0.0; LANES]);
        self.scores.resize(QUERIES * blocks, [0.0; LANES]);
        self.slopes.resize(QUERIES * blocks, [0.0; LANES]);
    }
}

/// Attention of the queries of one sentence over its keys, forward only, on the caller's thread.
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
    let size = width / heads;
    scratch.fit(k.len() / width, size);
    vectorised(
        #[inline(always)]
        || {
            for head in (0..heads).map(|head| (width, head * size, size)) {
                attend_head(q, k, v, out, head, scratch);
            }
        },
    );
}

/// Where a head lies in its rows: width of a row, first component, components.
type Head = (usize, usize, usize);

/// Rows of one head by blocks of `LANES` of them, within a block by component: products with them are then sums down the
/// lanes' own columns, not across a register.
#[inline(always)]
fn columns(rows: &[f32], (width, at, size): Head, out: &mut [[f32; LANES]]) {
    for (j, row) in rows.chunks_exact(width).enumerate() {
        let row = &row[at..at + size];
        let block = &mut out[j / LANES * size..][..size];
        for d in 0..size {
            block[d][j % LANES] = row[d];
        }
    }
}

/// `out[i, j] = scale * rows[starts[i]..] . columns[j]`, by blocks of `j`.
#[inline(always)]
fn dots(
    rows: &[f32],
    starts: [usize; QUERIES],
    columns: &[[f32; LANES]],
    size: usize,
    scale: f32,
    out: &mut [[f32; LANES]],
) {
    let blocks = columns.len() / size;
    for block in 0..blocks {
        let columns = &columns[block * size..][..size];
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
                out[i * blocks + block][lane] = scale * sums[i][lane];
            }
        }
    }
}

/// `out[starts[i]..] = sum_j weights[i, j] rows[j]` over the head's components.
#[inline(always)]
fn blend(weights: &[[f32; LANES]], rows: &[f32], (width, at, size): Head, starts: [usize; QUERIES], out: &mut [f32]) {
    let (blocks, count) = (weights.len() / QUERIES, rows.len() / width);
    for part in (0..size).step_by(LANES) {
        let mut sums = [[0.0_f32; LANES]; QUERIES];
        let present = LANES.min(size - part);
        for j in 0..count {
            let row = &rows[j * width + at + part..][..present];
            if let Ok(row) = <&[f32; LANES]>::try_from(row) {
                for i in 0..QUERIES {
                    let p = weights[i * blocks + j / LANES][j % LANES];
                    for lane in 0..LANES {
                        sums[i][lane] = p.mul_add(row[lane], sums[i][lane]);
                    }
                }
            } else {
                for i in 0..QUERIES {
                    axpy(weights[i * blocks + j / LANES][j % LANES], row, &mut sums[i][..present]);
                }
            }
        }
        for i in 0..QUERIES {
            out[starts[i] + part..][..present].copy_from_slice(&sums[i][..present]);
        }
    }
}

/// Softmax of each row of `scores` over the first `count` columns; the others become 0.
#[inline(always)]
fn softmax_rows(scores: &mut [[f32; LANES]], count: usize) {
    let blocks = scores.len() / QUERIES;
    for i in 0..QUERIES {
        let row = scores[i * blocks..][..blocks].as_flattened_mut();
        row[count..].fill(f32::NEG_INFINITY);
        softmax(row);
    }
}

/// First components of `QUERIES` rows from `first` on; the last row stands in for those beyond it.
#[inline(always)]
fn starts(first: usize, rows: usize, (width, at, _): Head) -> [usize; QUERIES] {
    let mut starts = [0; QUERIES];
    for (row, start) in (first..).zip(&mut starts) {
        *start = row.min(rows - 1) * width + at;
    }
    starts
}

#[inline(always)]
fn attend_head(q: &[f32], k: &[f32], v: &[f32], out: &mut [f32], head: Head, scratch: &mut AttentionScratch) {
    let (width, _, size) = head;
    let AttentionScratch { keys, scores, .. } = scratch;
    columns(k, head, keys);
    let queries = q.len() / width;
    for first in (0..queries).step_by(QUERIES) {
        let starts = starts(first, queries, head);
        dots(q, starts, keys, size, scale(size), scores);
        softmax_rows(scores, k.len() / width);
        blend(scores, v, head, starts, out);
    }
}

/// Gradients of [`attend`] with respect to `q`, `k` and `v`, which start at 0.
///
/// With `P` the weights and `dP_ij = g_i v_j`: `dS = P (dP - sum_j P dP)`, `dq = dS k`, `dk = dS^T q`, `dv = P^T g`.
fn attend_back(
    [q, k, v, g]: [&[f32]; 4],
    [dq, dk, dv]: [&mut [f32]; 3],
    (width, heads): (usize, usize),
    scratch: &mut AttentionScratch,
) {
    let size = width / heads;
    scratch.fit(k.len() / width, size);
    vectorised(
        #[inline(always)]
        || {
            for head in (0..heads).map(|head| (width, head * size, size)) {
                attend_back_head([q, k, v, g], [dq, dk, dv], head, scratch);
            }
        },
    );
}

#[inline(always)]
fn attend_back_head(
    [q, k, v, g]: [&[f32]; 4],
    [dq, dk, dv]: [&mut [f32]; 3],
    head: Head,
    scratch: &mut AttentionScratch,
) {
    let (width, at, size) = head;
    let scale = scale(size);
    let AttentionScratch { keys, values, scores, slopes } = scratch;
    columns(k, head, keys);
    columns(v, head, values);
    let (queries, count) = (q.len() / width, k.len() / width);
    let blocks = count.div_ceil(LANES);
    for first in (0..queries).step_by(QUERIES) {
        let starts = starts(first, queries, head);
        dots(q, starts, keys, size, scale, scores);
        softmax_rows(scores, count);
        dots(g, starts, values, size, 1.0, slopes);
        for i in 0..QUERIES {
            let p = scores[i * blocks..][..blocks].as_flattened();
            let ds = slopes[i * blocks..][..blocks].as_flattened_mut();
            // Weights beyond the last key are 0.
            let mean = dot(p, ds);
            for (ds, p) in ds.iter_mut().zip(p) {
                *ds = scale * p * (*ds - mean);
            }
        }
        blend(slopes, k, head, starts, dq);
        // Queries that stand in are not counted twice.
        for i in 0..QUERIES.min(queries - first) {
            let (q, g) = (&q[starts[i]..][..size], &g[starts[i]..][..size]);
            for j in 0..count {
                let own = j * width + at..j * width + at + size;
                axpy(slopes[i * blocks + j / LANES][j % LANES], q, &mut dk[own.clone()]);
                axpy(scores[i * blocks + j / LANES][j % LANES], g, &mut dv[own]);
            }
        }
    }
}

impl Attention {
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
            let scores = (q.matmul(&k.t()?)? * f64::from(scale(width / self.heads)))?;
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
        let parts: Vec<_> = self
            .pairs(samples)
            .into_par_iter()
            .map_init(AttentionScratch::default, |scratch, (sample, query, key)| {
                let at_q = block(q_values, query_rows, width, sample, &query);
                let at_k = block(k_values, key_rows, width, sample, &key);
                let at_v = block(v_values, key_rows, width, sample, &key);
                let at_g = block(gradient, query_rows, width, sample, &query);
                let (q, k, v, g) =
                    (&q_values[at_q.clone()], &k_values[at_k.clone()], &v_values[at_v.clone()], &gradient[at_g]);
                let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
                attend_back([q, k, v, g], [&mut dq, &mut dk, &mut dv], (width, self.heads), scratch);
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
    use super::*;
    use crate::testing::{assert_gradient, assert_twins, normal};

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
