//! Log-likelihoods of tokens under a language head: `log softmax(W x)` at a few tokens of each row.
//!
//! A vocabulary is long, so its logits are never held for all rows: blocks of rows meet blocks of tokens, and the logarithm of the sum of
//! exponentials grows block by block (Milakov and Gimelshein, arXiv 1805.02867). The way back computes the blocks again.

use std::ops::Range;
use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Shape, Tensor};

use crate::math::{exp, largest, sum, tanh};
use crate::product::{Onto, Threads, product, product_with_rows};
use crate::storage::{borrow, is_fast, values};
use crate::vectorised::vectorised;

/// Rows of one block.
const ROWS: usize = 256;
/// Tokens of one block.
const TOKENS: usize = 2048;

/// A token that is scored at a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The row that predicts it.
    pub row: u32,
    /// Its number in the vocabulary.
    pub token: u32,
}

/// A frozen language head on a processor: logits `l = W x`, or `c tanh(l / c)` with a cap `c` (arXiv 2408.00118).
#[derive(Debug, Clone, Copy)]
pub struct LanguageMap<'a> {
    /// `W [vocabulary, width]`, row after row.
    pub weight: &'a [f32],
    /// Width of the rows.
    pub width: usize,
    /// The cap, where there is one.
    pub cap: Option<f32>,
}

impl LanguageMap<'_> {
    /// Entries of the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.weight.len() / self.width.max(1)
    }

    /// Logits of `rows` at the tokens of a range, written over `out [rows, tokens]`.
    ///
    /// # Panics
    /// When extents do not go together.
    pub fn logits(&self, rows: &[f32], tokens: Range<usize>, out: &mut [f32], threads: Threads) {
        let shape = (rows.len() / self.width, self.width, tokens.len());
        let weight = &self.weight[tokens.start * self.width..tokens.end * self.width];
        product(out, Onto::Nothing, 1.0, rows, weight, shape, threads);
        if let Some(cap) = self.cap {
            vectorised(
                #[inline(always)]
                || {
                    for logit in out.iter_mut() {
                        *logit = cap * tanh(*logit / cap);
                    }
                },
            );
        }
    }

    /// The vocabulary in blocks.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let all = self.vocabulary();
        (0..all).step_by(TOKENS).map(move |start| start..(start + TOKENS).min(all))
    }

    /// Log-likelihoods of the targets in every sample, on the caller's thread or on all; also `log sum exp` of each row.
    ///
    /// # Shapes
    /// `x: [samples, rows, width]` to `[samples, targets]` and `[samples, rows]`.
    ///
    /// # Panics
    /// When extents do not go together, or a target is beyond the rows or the vocabulary.
    pub fn log_likelihoods(
        &self,
        x: &[f32],
        rows: usize,
        targets: &[Target],
        threads: Threads,
    ) -> (Vec<f32>, Vec<f32>) {
        let places = Places::new(targets, rows);
        let total = x.len() / self.width.max(1);
        let (mut found, mut normalisers) = (vec![0.0; total / rows.max(1) * targets.len()], vec![0.0; total]);
        let mut block = vec![0.0; ROWS.min(total) * TOKENS.min(self.vocabulary())];
        for first in (0..total).step_by(ROWS) {
            let count = ROWS.min(total - first);
            let own = &x[first * self.width..(first + count) * self.width];
            let mut sums = vec![LogSum::default(); count];
            for tokens in self.blocks() {
                let width = tokens.len();
                let logits = &mut block[..count * width];
                self.logits(own, tokens.clone(), logits, threads);
                for (offset, (row, sum)) in logits.chunks_exact(width).zip(&mut sums).enumerate() {
                    sum.add(row);
                    let (sample, targets) = places.of(first + offset);
                    for &(index, token) in targets.iter().filter(|(_, token)| tokens.contains(token)) {
                        found[sample * places.count + index] = row[token - tokens.start];
                    }
                }
            }
            for (offset, sum) in sums.iter().enumerate() {
                let normaliser = sum.value();
                normalisers[first + offset] = normaliser;
                let (sample, targets) = places.of(first + offset);
                for &(index, _) in targets {
                    found[sample * places.count + index] -= normaliser;
                }
            }
        }
        (found, normalisers)
    }

    /// Gradient by `x` of the log-likelihoods' sum weighted by `gradient`, given the rows' normalisers: `sum_t g_t (W_t - sum_v p_v W_v)`,
    /// with the slope of the cap before `W`.
    fn back(&self, x: &[f32], rows: usize, targets: &[Target], gradient: &[f32], normalisers: &[f32]) -> Vec<f32> {
        let places = Places::new(targets, rows);
        let total = x.len() / self.width.max(1);
        let mut out = vec![0.0; x.len()];
        let mut block = vec![0.0; ROWS.min(total) * TOKENS.min(self.vocabulary())];
        for first in (0..total).step_by(ROWS) {
            let count = ROWS.min(total - first);
            let span = first * self.width..(first + count) * self.width;
            for tokens in self.blocks() {
                let width = tokens.len();
                let slopes = &mut block[..count * width];
                self.logits(&x[span.clone()], tokens.clone(), slopes, Threads::All);
                for (offset, row) in slopes.chunks_exact_mut(width).enumerate() {
                    let (sample, targets) = places.of(first + offset);
                    let own = &gradient[sample * places.count..][..places.count];
                    let all: f32 = targets.iter().map(|&(index, _)| own[index]).sum();
                    let kept: Vec<(usize, f32)> = targets
                        .iter()
                        .filter(|(_, token)| tokens.contains(token))
                        .map(|&(index, token)| {
                            let at = token - tokens.start;
                            (at, own[index] * self.slope(row[at]))
                        })
                        .collect();
                    self.probability_slopes(row, normalisers[first + offset], -all);
                    for (at, slope) in kept {
                        row[at] += slope;
                    }
                }
                let weight = &self.weight[tokens.start * self.width..tokens.end * self.width];
                let shape = (count, width, self.width);
                product_with_rows(&mut out[span.clone()], Onto::Values, 1.0, slopes, weight, shape, Threads::All);
            }
        }
        out
    }

    /// Derivative of a logit by what it was before the cap.
    fn slope(&self, logit: f32) -> f32 {
        self.cap.map_or(1.0, |cap| 1.0 - (logit / cap).powi(2))
    }

    /// Logits to `factor` times their probabilities, with the slope of the cap.
    fn probability_slopes(&self, logits: &mut [f32], normaliser: f32, factor: f32) {
        vectorised(
            #[inline(always)]
            || match self.cap {
                None => logits.iter_mut().for_each(|l| *l = factor * exp(*l - normaliser)),
                Some(cap) => logits.iter_mut().for_each(|l| {
                    let t = *l / cap;
                    *l = factor * exp(*l - normaliser) * (1.0 - t * t);
                }),
            },
        );
    }
}

/// The logarithm of a sum of exponentials, as it grows.
#[derive(Debug, Clone, Copy)]
struct LogSum {
    largest: f32,
    /// Sum of exponentials of differences from the largest.
    sum: f64,
}

impl Default for LogSum {
    fn default() -> Self {
        Self { largest: f32::NEG_INFINITY, sum: 0.0 }
    }
}

impl LogSum {
    fn add(&mut self, logits: &[f32]) {
        vectorised(
            #[inline(always)]
            || {
                let top = largest(logits).max(self.largest);
                // What was summed so far is measured from another number now; there may be nothing yet.
                if self.sum > 0.0 {
                    self.sum *= f64::from(self.largest - top).exp();
                }
                self.sum += f64::from(sum(logits, |l| exp(l - top)));
                self.largest = top;
            },
        );
    }

    #[expect(clippy::cast_possible_truncation, reason = "logits are f32")]
    fn value(self) -> f32 {
        (f64::from(self.largest) + self.sum.ln()) as f32
    }
}

/// The targets of each row.
struct Places {
    /// Number and token of every target, row after row.
    targets: Vec<(usize, usize)>,
    /// Where the targets of each row begin, then their number.
    starts: Vec<usize>,
    rows: usize,
    count: usize,
}

impl Places {
    fn new(targets: &[Target], rows: usize) -> Self {
        let mut order: Vec<usize> = (0..targets.len()).collect();
        order.sort_by_key(|&index| targets[index].row);
        let starts =
            (0..=rows).map(|row| order.partition_point(|&index| (targets[index].row as usize) < row)).collect();
        let targets = order.into_iter().map(|index| (index, targets[index].token as usize)).collect::<Vec<_>>();
        Self { count: targets.len(), targets, starts, rows }
    }

    /// The sample of a row, counted through all samples, and the row's targets.
    fn of(&self, row: usize) -> (usize, &[(usize, usize)]) {
        let (sample, row) = (row / self.rows, row % self.rows);
        (sample, &self.targets[self.starts[row]..self.starts[row + 1]])
    }
}

/// `log softmax(W x)` at the targets, capped where there is a cap; the gradient goes to `x` alone.
///
/// # Shapes
/// `x: [samples, rows, width]`, `weight: [vocabulary, width]` to `[samples, targets]`.
///
/// # Errors
/// When shapes do not go together, or a target is beyond the rows or the vocabulary.
pub fn log_likelihoods(
    x: &Tensor,
    weight: &Tensor,
    cap: Option<f64>,
    targets: &[Target],
) -> candle_core::Result<Tensor> {
    let ((_, rows, width), (vocabulary, d_in)) = (x.dims3()?, weight.dims2()?);
    if width != d_in || vocabulary == 0 {
        candle_core::bail!("log-likelihoods: rows of {width} under a head of {:?}", weight.dims());
    }
    let beyond = |target: &&Target| target.row as usize >= rows || target.token as usize >= vocabulary;
    if let Some(Target { row, token }) = targets.iter().find(beyond) {
        candle_core::bail!(
            "log-likelihoods: token {token} at row {row}; expected one of {vocabulary} at one of {rows}"
        );
    }
    if is_fast(x) && is_fast(weight) {
        let op = Op { weight: weight.contiguous()?, cap, targets: targets.to_vec(), normalisers: OnceLock::new() };
        x.contiguous()?.apply_op1(op)
    } else {
        plain(x, weight, cap, targets)
    }
}

/// The same, composed of tensor operations.
fn plain(x: &Tensor, weight: &Tensor, cap: Option<f64>, targets: &[Target]) -> candle_core::Result<Tensor> {
    let mut logits = x.broadcast_matmul(&weight.to_dtype(x.dtype())?.t()?)?.to_dtype(DType::F32)?;
    if let Some(cap) = cap {
        logits = ((logits / cap)?.tanh()? * cap)?;
    }
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let all = shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)?;
    let rows: Vec<u32> = targets.iter().map(|target| target.row).collect();
    let tokens: Vec<u32> = targets.iter().map(|target| target.token).collect();
    let (samples, count) = (x.dim(0)?, targets.len());
    let tokens = Tensor::from_vec(tokens, (1, count, 1), x.device())?.broadcast_as((samples, count, 1))?;
    let rows = Tensor::from_vec(rows, count, x.device())?;
    all.index_select(&rows, 1)?.gather(&tokens.contiguous()?, 2)?.squeeze(2)
}

struct Op {
    weight: Tensor,
    cap: Option<f64>,
    targets: Vec<Target>,
    /// Of every row of every sample, kept for the way back.
    normalisers: OnceLock<Vec<f32>>,
}

impl Op {
    fn with_map<T>(&self, f: impl FnOnce(LanguageMap<'_>) -> T) -> candle_core::Result<T> {
        let guard = self.weight.storage_and_layout();
        #[expect(clippy::cast_possible_truncation, reason = "logits are f32")]
        let cap = self.cap.map(|cap| cap as f32);
        Ok(f(LanguageMap { weight: borrow(&guard)?, width: self.weight.dim(1)?, cap }))
    }
}

impl CustomOp1 for Op {
    fn name(&self) -> &'static str {
        "log-likelihoods"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (samples, rows, _) = layout.shape().dims3()?;
        let x = values(x, layout)?;
        let (found, normalisers) = self.with_map(|map| map.log_likelihoods(x, rows, &self.targets, Threads::All))?;
        self.normalisers.get_or_init(|| normalisers);
        Ok((CpuStorage::F32(found), Shape::from((samples, self.targets.len()))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let Some(normalisers) = self.normalisers.get() else {
            candle_core::bail!("log-likelihoods: a way back without a way forth");
        };
        let gradient = gradient.contiguous()?;
        let guards = [x, &gradient].map(|t| t.storage_and_layout());
        let (values, gradient) = (borrow(&guards[0])?, borrow(&guards[1])?);
        let back =
            self.with_map(|map| map.back(values, x.dim(1).unwrap_or(1), &self.targets, gradient, normalisers))?;
        Ok(Some(Tensor::from_vec(back, x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient, assert_twins, flat, normal};

    fn targets(rows: u32, vocabulary: u32) -> Vec<Target> {
        // In no order of rows; two at row 0, none at the last.
        let of = |row: u32, token: u32| Target { row: row % (rows - 1).max(1), token: token % vocabulary };
        vec![of(2, 7), of(0, vocabulary - 1), of(1, 2500), of(0, 3), of(5, 2047), of(4, 2048)]
    }

    #[test]
    fn agrees_with_its_plain_twin_and_finite_differences() {
        // More tokens than a block, and more rows of all samples.
        for (samples, rows, vocabulary, cap) in [(1, 7, 5000, None), (3, 100, 2100, Some(1.5)), (2, 1, 9, Some(4.0))] {
            let weight = (normal(1, (vocabulary as usize, 6)).as_detached_tensor() * 0.7).unwrap();
            let x = normal(2, (samples, rows as usize, 6));
            let targets = targets(rows, vocabulary);
            let fast = || log_likelihoods(&x, &weight, cap, &targets).unwrap();
            assert_twins(std::slice::from_ref(&x), &fast(), &plain(&x, &weight, cap, &targets).unwrap(), 2e-6);
            assert_gradient(&x, fast, 2e-3);
            assert_eq!(fast().dims(), [samples, targets.len()]);
        }
    }

    /// In f64, with logits whose exponentials overflow f32.
    #[test]
    fn large_logits_are_no_infinity() {
        let weight = Tensor::new(&[[1.0_f32], [-1.0], [0.5]], &candle_core::Device::Cpu).unwrap();
        let x = Tensor::new(&[[[200.0_f32], [-300.0]]], &candle_core::Device::Cpu).unwrap();
        let all: Vec<Target> = (0..2).flat_map(|row| (0..3).map(move |token| Target { row, token })).collect();
        let found = flat(&log_likelihoods(&x, &weight, None, &all).unwrap());
        for (index, found) in found.into_iter().enumerate() {
            let logits = [1.0, -1.0, 0.5].map(|w| w * [200.0, -300.0][index / 3]);
            let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let expected = logits[index % 3] - top - logits.iter().map(|l| (l - top).exp()).sum::<f64>().ln();
            assert!((f64::from(found) - expected).abs() < 1e-4, "{found} against {expected}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (x, weight) = (normal(1, (1, 2, 3)), normal(2, (4, 3)));
        let refused = |targets: &[Target]| log_likelihoods(&x, &weight, None, targets).unwrap_err().to_string();
        assert!(refused(&[Target { row: 2, token: 0 }]).contains("token 0 at row 2; expected one of 4 at one of 2"));
        assert!(refused(&[Target { row: 0, token: 4 }]).contains("token 4"));
        assert!(log_likelihoods(&x, &normal(2, (4, 2)), None, &[]).is_err());
        assert_eq!(log_likelihoods(&x, &weight, None, &[]).unwrap().dims(), [1, 0]);
    }
}
