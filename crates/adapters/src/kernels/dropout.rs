//! Inverted dropout whose multipliers are made where they are used, and made again in the backward pass: they are never stored.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::values;
use crate::coupling::Turn;
use crate::draw::{Rows, Sampling};
use crate::error::Result;
use crate::noise::{Address, Noise};
use crate::site::{KeepProbability, MaskScope, Slot};

/// `x * z`: `x [samples or 1, rows, width]` to `[samples, rows, width]`, `z` the multipliers of the draw.
pub(crate) fn dropout(
    x: &Tensor,
    slot: Slot,
    scope: MaskScope,
    keep: KeepProbability,
    sampling: &Sampling<'_>,
) -> Result<Tensor> {
    if x.device().is_cpu() && x.dtype() == candle_core::DType::F32 {
        let Sampling { noise, samples, rows, .. } = sampling;
        let op = Dropout { noise: *noise, samples: samples.clone(), rows: (*rows).clone(), slot, scope, keep };
        Ok(x.contiguous()?.apply_op1(op)?)
    } else {
        let (_, rows, width) = x.dims3()?;
        let z = sampling.multipliers(slot, scope, width, keep);
        let z = Tensor::from_vec(z, (sampling.count(), rows, width), x.device())?;
        Ok(x.broadcast_mul(&z.to_dtype(x.dtype())?)?)
    }
}

#[derive(Clone)]
struct Dropout {
    noise: Noise,
    samples: Range<u32>,
    rows: Rows,
    slot: Slot,
    scope: MaskScope,
    keep: KeepProbability,
}

/// Rows that one task of the thread pool handles.
const ROWS_PER_TASK: usize = 64;

/// The same rows in the samples of one group, whose words are drawn once.
struct Task<'a> {
    /// The samples' numbers.
    samples: Range<u32>,
    /// The first row.
    row: usize,
    /// The rows' results, sample by sample.
    out: Vec<&'a mut [f32]>,
}

impl Dropout {
    /// Cuts `out [samples, rows, width]` into tasks.
    fn tasks<'a>(&self, out: &'a mut [f32], width: usize) -> Vec<Task<'a>> {
        let coupling = self.noise.coupling();
        let mut outs = out.chunks_mut((self.rows.len() * width).max(1));
        let mut tasks: Vec<Task<'a>> = Vec::new();
        let mut start = self.samples.start;
        while start < self.samples.end {
            let end = coupling.first(start).saturating_add(coupling.group()).min(self.samples.end);
            let known = tasks.len();
            for out in outs.by_ref().take((start..end).len()) {
                for (block, out) in out.chunks_mut((ROWS_PER_TASK * width).max(1)).enumerate() {
                    if known + block == tasks.len() {
                        tasks.push(Task { samples: start..end, row: block * ROWS_PER_TASK, out: Vec::new() });
                    }
                    tasks[known + block].out.push(out);
                }
            }
            start = end;
        }
        tasks
    }

    /// Fills the rows of a task from `x [samples or 1, rows, width]`.
    fn fill(&self, mut task: Task<'_>, x: &[f32], x_samples: usize, width: usize) {
        let coupling = self.noise.coupling();
        let first = coupling.first(task.samples.start);
        // The part of x and the turn of each sample.
        let samples: Vec<(&[f32], Turn)> = (task.samples.clone())
            .map(|sample| {
                let place = (self.samples.start..sample).len() % x_samples;
                (&x[place * self.rows.len() * width..], coupling.turn(sample))
            })
            .collect();
        let mut words = vec![0; width];
        let mut previous: Option<Address> = None;
        for offset in 0..task.out[0].len() / width {
            let row = task.row + offset;
            let at = self.rows.address(self.slot, self.scope, first, row);
            // Neighbouring rows that share a draw share its words.
            if previous != Some(at) {
                self.noise.fill_lead_words(at, &mut words);
                previous = Some(at);
            }
            for (out, &(x, turn)) in task.out.iter_mut().zip(&samples) {
                self.keep.multiply(&words, turn, &x[row * width..][..width], &mut out[offset * width..][..width]);
            }
        }
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = values(storage, layout, self.name())?;
        let (x_samples, rows, width) = layout.shape().dims3()?;
        let samples = self.samples.len();
        if rows != self.rows.len() || ![1, samples].contains(&x_samples) {
            candle_core::bail!("dropout: {:?} for {samples} samples of {} rows", layout.dims(), self.rows.len());
        }
        let mut out = vec![0.0; samples * rows * width];
        self.tasks(&mut out, width).into_par_iter().for_each(|task| self.fill(task, x, x_samples, width));
        Ok((CpuStorage::F32(out), Shape::from((samples, rows, width))))
    }

    /// `g * z` with the same multipliers, summed over the samples where `x` is shared.
    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?.apply_op1_no_bwd(self)?;
        Ok(Some(if x.dim(0)? == gradient.dim(0)? { gradient } else { gradient.sum_keepdim(0)? }))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::*;
    use crate::noise::Stream;
    use crate::site::TargetMap;

    /// The fused kernel against multipliers that are stored, forward and backward, for shared and sampled activations.
    #[test]
    fn agrees_with_stored_multipliers() {
        let rows = Rows::of_sentences(&[4, 9], &[40, 37]);
        let (slot, keep) = (Slot::new(1, TargetMap::Key), KeepProbability::from_dropout(0.3).unwrap());
        let device = Device::Cpu;
        // Groups that begin before the first sample and end after the last.
        for coupling in ["independent", "antithetic", "balanced-2", "balanced-4"] {
            let noise = Noise::new(3, Stream::Predictive).coupled(coupling.parse().unwrap());
            let sampling = Sampling { noise, samples: 3..9, rows: &rows, with_divergence: false };
            for (scope, samples) in MaskScope::ALL.into_iter().flat_map(|scope| [(scope, 1), (scope, 6)]) {
                let of = format!("{coupling} {scope} {samples}");
                let x = Var::from_tensor(&Tensor::rand(-1.0_f32, 1.0, (samples, 77, 19), &device).unwrap()).unwrap();
                let weights = Tensor::rand(-1.0_f32, 1.0, (6, 77, 19), &device).unwrap();
                let z = Tensor::from_vec(sampling.multipliers(slot, scope, 19, keep), (6, 77, 19), &device).unwrap();
                let fused = dropout(&x, slot, scope, keep, &sampling).unwrap();
                let stored = x.broadcast_mul(&z).unwrap();
                let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert_eq!(flat(&fused), flat(&stored), "{of}");
                let gradient = |out: &Tensor| {
                    let loss = (out * &weights).unwrap().sum_all().unwrap();
                    flat(loss.backward().unwrap().get(&x).unwrap())
                };
                for (left, right) in gradient(&fused).iter().zip(gradient(&stored)) {
                    assert!((left - right).abs() < 1e-6 * samples.max(4) as f32, "{of}");
                }
                let double = dropout(&x.to_dtype(DType::F64).unwrap(), slot, scope, keep, &sampling).unwrap();
                let back = flat(&double.to_dtype(DType::F32).unwrap());
                assert!(back.iter().zip(flat(&fused)).all(|(left, right)| (left - right).abs() < 1e-6), "{of}");
            }
            let wrong = Tensor::zeros((1, 76, 19), DType::F32, &device).unwrap();
            assert!(dropout(&wrong, slot, MaskScope::Token, keep, &sampling).is_err());
            let empty = Sampling { samples: 3..3, ..sampling.clone() };
            let x = Tensor::zeros((1, 77, 19), DType::F32, &device).unwrap();
            assert_eq!(dropout(&x, slot, MaskScope::Token, keep, &empty).unwrap().dims(), [0, 77, 19]);
        }
    }
}
