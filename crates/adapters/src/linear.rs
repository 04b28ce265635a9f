//! First-order noise: the covariance that an adapter's noise gives to whatever depends on its core.
//!
//! An output `f` changes with a multiplier `z_k` at `z = 1` by `J_k = df/dz_k`, and `Cov f = kappa J J'` to first order in
//! the noise (the delta method; `DERIVATIONS.md`, D1, says when that is close). Multipliers of different examples are not
//! correlated here: of each example the covariance of its own outputs is asked for.

use std::ops::Range;

use candle_core::{DType, Tensor};

use crate::Result;
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
    /// `sum_k J_k J_k'` of each sentence, `[sentences, outputs, outputs]`, for derivatives `[outputs, rows, k]` by
    /// multipliers that reach as far as `scope` says.
    pub(crate) fn covariance(&self, derivatives: &Tensor, scope: MaskScope) -> Result<Vec<f64>> {
        let (outputs, rows, width) = derivatives.dims3()?;
        let values = derivatives.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let of = |output: usize, row: usize| &values[(output * rows + row) * width..][..width];
        let mut covariance = Vec::with_capacity(self.sentences.len() * outputs * outputs);
        for sentence in self.sentences {
            let own: Vec<Vec<f64>> = (0..outputs)
                .map(|output| match scope {
                    MaskScope::Token => {
                        values[(output * rows + sentence.start) * width..][..sentence.len() * width].to_vec()
                    }
                    // One multiplier for all of the sentence's rows: its derivatives add up before they are squared.
                    MaskScope::Sequence | MaskScope::Sample => {
                        let mut sum = vec![0.0; width];
                        for row in sentence.clone() {
                            sum.iter_mut().zip(of(output, row)).for_each(|(sum, value)| *sum += value);
                        }
                        sum
                    }
                })
                .collect();
            covariance.extend(inner_products(&own));
        }
        Ok(covariance)
    }

    /// `sum_i g_ci g_c'i v_i` over the sentence's rows and the core's components, for component variances `v [rows, r]`
    /// that are independent from row to row.
    pub(crate) fn component_covariance(&self, variances: &Tensor) -> Result<Vec<f64>> {
        let deviations = variances.to_dtype(DType::F64)?.sqrt()?;
        let scaled = self.gradients.to_dtype(DType::F64)?.broadcast_mul(&deviations)?;
        self.covariance(&scaled, MaskScope::Token)
    }

    /// `sum_ij J_ij J_ij'` for derivatives `J_ij = sum_rows g_i w_ij y_j` by the entries of a matrix that a sentence's rows
    /// share: `weigh(row)` gives `w y`, `[r, width]`, of a row.
    pub(crate) fn entry_covariance(&self, weigh: impl Fn(usize) -> Vec<f64>) -> Result<Vec<f64>> {
        let (outputs, rows, rank) = self.gradients.dims3()?;
        let gradients = self.gradients.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let mut covariance = Vec::with_capacity(self.sentences.len() * outputs * outputs);
        for sentence in self.sentences {
            let mut own: Vec<Vec<f64>> = vec![Vec::new(); outputs];
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

/// Inner products of all pairs.
fn inner_products(vectors: &[Vec<f64>]) -> Vec<f64> {
    let dot = |left: &[f64], right: &[f64]| left.iter().zip(right).map(|(left, right)| left * right).sum();
    vectors.iter().flat_map(|left| vectors.iter().map(move |right| dot(left, right))).collect()
}
