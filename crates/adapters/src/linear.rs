//! First-order noise: the covariance that an adapter's noise gives to whatever depends on its core.
//!
//! An output `f` changes with a multiplier `z_k` at `z = 1` by `J_k = df/dz_k`, and `Cov f = kappa J J'` to first order in
//! the noise (the delta method; `DERIVATIONS.md`, D1, says when that is close). Multipliers of different examples are not
//! correlated here: of each example the covariance of its own outputs is asked for.

use std::ops::Range;

use bayeslora_kernels::{borrow, vectorised};
use candle_core::{DType, Device, Tensor};

use crate::error::Result;
use crate::site::MaskScope;

/// What depends on the core of one map: outputs of some sentences, each with the rows it has at that map.
#[derive(Debug, Clone, Copy)]
pub struct Dependence<'a> {
    /// Inputs of the map `[rows, d_in]`.
    pub x: &'a Tensor,
    /// Gradients of the outputs with respect to the core, `[outputs, rows, r]`; output `c` of a sentence depends on the rows
    /// of that sentence only.
    pub gradients: &'a Tensor,
    /// Rows of each sentence.
    pub sentences: &'a [Range<usize>],
}

impl Dependence<'_> {
    /// `sum_k J_k J_k'` of each sentence, `[sentences, outputs, outputs]`, for derivatives by `width` multipliers a row that
    /// reach as far as `scope` says. `derive` turns the gradients `[rows, r]` of one output at some rows into its derivatives
    /// `[rows, width]`.
    pub(crate) fn covariance(
        &self,
        scope: MaskScope,
        width: usize,
        mut derive: impl FnMut(&[f32], Range<usize>, &mut [f32]),
    ) -> Result<Vec<f64>> {
        let (outputs, rows, rank) = self.gradients.dims3()?;
        let gradients = self.gradients.to_device(&Device::Cpu)?;
        let guard = gradients.storage_and_layout();
        let gradients = borrow(&guard)?;
        let mut covariance = Vec::with_capacity(self.sentences.len() * outputs * outputs);
        let mut own: Vec<Vec<f32>> = vec![Vec::new(); outputs];
        for sentence in self.sentences {
            for (output, own) in own.iter_mut().enumerate() {
                own.resize(sentence.len() * width, 0.0);
                let start = (output * rows + sentence.start) * rank;
                derive(&gradients[start..][..sentence.len() * rank], sentence.clone(), own);
                if scope != MaskScope::Token {
                    // One multiplier for all of the sentence's rows: its derivatives add up before they are squared.
                    let (sum, others) = own.split_at_mut(width);
                    for other in others.chunks_exact(width.max(1)) {
                        for (sum, value) in sum.iter_mut().zip(other) {
                            *sum += value;
                        }
                    }
                    own.truncate(width);
                }
            }
            covariance.extend(inner_products(&own));
        }
        Ok(covariance)
    }

    /// `sum_i g_ci g_c'i v_i` over the sentence's rows and the core's components, for component variances `v [rows, r]`
    /// that are independent from row to row.
    pub(crate) fn component_covariance(&self, variances: &Tensor) -> Result<Vec<f64>> {
        let rank = variances.dim(1)?;
        let deviations = variances.sqrt()?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        self.covariance(MaskScope::Token, rank, |gradients, rows, out| {
            multiply(gradients, &deviations[rows.start * rank..rows.end * rank], out);
        })
    }

    /// `sum_ij J_ij J_ij'` for derivatives `J_ij = sum_rows g_i w_ij y_j` by the entries of a matrix that a sentence's rows
    /// share: `weigh(row)` gives `w y`, `[r, width]`, of a row.
    pub(crate) fn entry_covariance(&self, weigh: impl Fn(usize) -> Vec<f32>) -> Result<Vec<f64>> {
        let (outputs, rows, rank) = self.gradients.dims3()?;
        let gradients = self.gradients.flatten_all()?.to_vec1::<f32>()?;
        let mut covariance = Vec::with_capacity(self.sentences.len() * outputs * outputs);
        for sentence in self.sentences {
            let mut own: Vec<Vec<f32>> = vec![Vec::new(); outputs];
            for row in sentence.clone() {
                let entries = weigh(row);
                let width = entries.len() / rank;
                for (output, own) in own.iter_mut().enumerate() {
                    own.resize(entries.len(), 0.0);
                    let gradient = &gradients[(output * rows + row) * rank..][..rank];
                    for (entry, (own, value)) in own.iter_mut().zip(&entries).enumerate() {
                        *own += gradient[entry / width] * value;
                    }
                }
            }
            covariance.extend(inner_products(&own));
        }
        Ok(covariance)
    }
}

/// `out = left * right`.
pub(crate) fn multiply(left: &[f32], right: &[f32], out: &mut [f32]) {
    for ((out, left), right) in out.iter_mut().zip(left).zip(right) {
        *out = left * right;
    }
}

/// Inner products of all pairs: in f32 over a few numbers, in f64 over those sums.
fn inner_products(vectors: &[Vec<f32>]) -> Vec<f64> {
    const LANES: usize = 16;
    let dot = |left: &[f32], right: &[f32]| {
        let mut total = 0.0;
        vectorised(
            #[inline(always)]
            || {
                for (left, right) in left.chunks(8 * LANES).zip(right.chunks(8 * LANES)) {
                    let mut sums = [0.0_f32; LANES];
                    for (left, right) in left.chunks(LANES).zip(right.chunks(LANES)) {
                        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
                            *sum += left * right;
                        }
                    }
                    total += sums.iter().map(|&sum| f64::from(sum)).sum::<f64>();
                }
            },
        );
        total
    };
    let mut products = vec![0.0; vectors.len() * vectors.len()];
    for (row, left) in vectors.iter().enumerate() {
        for (column, right) in vectors.iter().enumerate().skip(row) {
            products[row * vectors.len() + column] = dot(left, right);
            products[column * vectors.len() + row] = products[row * vectors.len() + column];
        }
    }
    products
}
