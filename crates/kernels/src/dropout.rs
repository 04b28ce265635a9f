//! Inverted dropout whose multipliers are made where they are used, and made again in the backward pass: they are never stored.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;

use crate::draws::{Draws, ROWS_PER_TASK};
use crate::keep::Keep;
use crate::storage::{is_fast, values};
use crate::turn::Turn;

/// `x * z` with the multipliers `z` of the draws.
///
/// # Shapes
/// `x: [samples or 1, rows, width]` to `[samples, rows, width]`.
///
/// # Errors
/// When `x` has other rows or samples than the draws.
pub fn dropout(x: &Tensor, draws: Draws, keep: Keep) -> candle_core::Result<Tensor> {
    let (x_samples, rows, width) = x.dims3()?;
    if rows != draws.rows() || ![1, draws.samples()].contains(&x_samples) {
        candle_core::bail!("dropout: {:?} for {} samples of {} rows", x.dims(), draws.samples(), draws.rows());
    }
    if is_fast(x) {
        x.contiguous()?.apply_op1(Dropout { draws, keep })
    } else {
        let z = draws.multipliers(width, keep);
        let z = Tensor::from_vec(z, (draws.samples(), rows, width), x.device())?;
        x.broadcast_mul(&z.to_dtype(x.dtype())?)
    }
}

#[derive(Clone)]
struct Dropout {
    draws: Draws,
    keep: Keep,
}

/// The same rows in the samples of one group, whose words are drawn once.
struct Task<'a> {
    /// Places of the samples.
    samples: Range<usize>,
    /// The first row.
    row: usize,
    /// The rows' results, sample by sample.
    out: Vec<&'a mut [f32]>,
}

impl Dropout {
    /// Cuts `out [samples, rows, width]` into tasks.
    fn tasks<'a>(&self, out: &'a mut [f32], width: usize) -> Vec<Task<'a>> {
        let mut outs = out.chunks_mut((self.draws.rows() * width).max(1));
        let mut tasks: Vec<Task<'a>> = Vec::new();
        for samples in self.draws.groups() {
            let known = tasks.len();
            for out in outs.by_ref().take(samples.len()) {
                for (block, out) in out.chunks_mut((ROWS_PER_TASK * width).max(1)).enumerate() {
                    if known + block == tasks.len() {
                        tasks.push(Task { samples: samples.clone(), row: block * ROWS_PER_TASK, out: Vec::new() });
                    }
                    tasks[known + block].out.push(out);
                }
            }
        }
        tasks
    }

    /// Fills the rows of a task from `x [samples or 1, rows, width]`.
    fn fill(&self, mut task: Task<'_>, x: &[f32], x_samples: usize, width: usize) {
        let rows = self.draws.rows();
        // The part of x and the turn of each sample.
        let samples: Vec<(&[f32], Turn)> = (task.samples.clone())
            .map(|sample| (&x[sample % x_samples * rows * width..], self.draws.turn(sample)))
            .collect();
        let mut words = vec![0; width];
        let mut previous = None;
        for offset in 0..task.out[0].len() / width {
            let row = task.row + offset;
            let at = self.draws.counter(task.samples.start, row);
            // Neighbouring rows that share a draw share its words.
            if previous != Some(at) {
                at.fill(&mut words);
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
        let x = values(storage, layout)?;
        let (x_samples, rows, width) = layout.shape().dims3()?;
        let samples = self.draws.samples();
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
    use crate::draws::tests::six_samples;

    /// The fused kernel against multipliers that are stored, forward and backward, for shared and sampled activations.
    #[test]
    fn agrees_with_stored_multipliers() {
        let keep = Keep { threshold: (1 << 32) / 10 * 7, value: 1.0 / 0.7 };
        let device = Device::Cpu;
        for (group, shared, samples) in [1, 2, 4]
            .into_iter()
            .flat_map(|group| [(group, false, 1), (group, false, 6), (group, true, 1), (group, true, 6)])
        {
            let of = format!("{group} {shared} {samples}");
            let draws = || six_samples(77, group, shared);
            let x = Var::from_tensor(&Tensor::rand(-1.0_f32, 1.0, (samples, 77, 19), &device).unwrap()).unwrap();
            let weights = Tensor::rand(-1.0_f32, 1.0, (6, 77, 19), &device).unwrap();
            let z = Tensor::from_vec(draws().multipliers(19, keep), (6, 77, 19), &device).unwrap();
            let fused = dropout(&x, draws(), keep).unwrap();
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
            let double = dropout(&x.to_dtype(DType::F64).unwrap(), draws(), keep).unwrap();
            let back = flat(&double.to_dtype(DType::F32).unwrap());
            assert!(back.iter().zip(flat(&fused)).all(|(left, right)| (left - right).abs() < 1e-6), "{of}");
        }
    }

    #[test]
    fn other_rows_are_refused_and_no_sample_is_none() {
        let keep = Keep { threshold: 1 << 31, value: 2.0 };
        let zeros = |rows: usize| Tensor::zeros((1, rows, 19), DType::F32, &Device::Cpu).unwrap();
        let message = dropout(&zeros(76), six_samples(77, 1, false), keep).unwrap_err().to_string();
        assert!(message.contains("dropout: [1, 76, 19] for 6 samples of 77 rows"), "{message}");
        assert_eq!(dropout(&zeros(77), Draws::of_rows(77), keep).unwrap().dims(), [0, 77, 19]);
    }
}
