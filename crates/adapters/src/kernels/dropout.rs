//! Inverted dropout whose multipliers are made where they are used, and made again in the backward pass: they are never stored.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::values;
use crate::Result;
use crate::draw::{Rows, Sampling};
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
    samples: std::ops::Range<u32>,
    rows: Rows,
    slot: Slot,
    scope: MaskScope,
    keep: KeepProbability,
}

/// Rows that one task of the thread pool handles.
const ROWS_PER_TASK: usize = 64;

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
        let rows_of_noise =
            Sampling { noise: self.noise, samples: self.samples.clone(), rows: &self.rows, with_divergence: false };
        let mut out = vec![0.0; samples * rows * width];
        out.par_chunks_mut((ROWS_PER_TASK * width).max(1)).enumerate().for_each(|(task, chunk)| {
            let mut words = vec![0; width];
            let mut previous: Option<Address> = None;
            for (offset, out) in chunk.chunks_exact_mut(width.max(1)).enumerate() {
                let row = task * ROWS_PER_TASK + offset;
                let at = rows_of_noise.address(self.slot, self.scope, row);
                // Neighbouring rows that share a draw share its words.
                if previous != Some(at) {
                    self.noise.fill_words(at, &mut words);
                    previous = Some(at);
                }
                self.keep.multiply(&words, &x[row % (x_samples * rows) * width..][..width], out);
            }
        });
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
        let noise = Noise::new(3, Stream::Predictive);
        let sampling = Sampling { noise, samples: 2..5, rows: &rows, with_divergence: false };
        let (slot, keep) = (Slot::new(1, TargetMap::Key), KeepProbability::from_dropout(0.3).unwrap());
        let device = Device::Cpu;
        for scope in MaskScope::ALL {
            for samples in [1, 3] {
                let x = Var::from_tensor(&Tensor::rand(-1.0_f32, 1.0, (samples, 77, 19), &device).unwrap()).unwrap();
                let weights = Tensor::rand(-1.0_f32, 1.0, (3, 77, 19), &device).unwrap();
                let z = Tensor::from_vec(sampling.multipliers(slot, scope, 19, keep), (3, 77, 19), &device).unwrap();
                let fused = dropout(&x, slot, scope, keep, &sampling).unwrap();
                let stored = x.broadcast_mul(&z).unwrap();
                let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert_eq!(flat(&fused), flat(&stored), "{scope:?}");
                let gradient = |out: &Tensor| {
                    let loss = (out * &weights).unwrap().sum_all().unwrap();
                    flat(loss.backward().unwrap().get(&x).unwrap())
                };
                for (left, right) in gradient(&fused).iter().zip(gradient(&stored)) {
                    assert!((left - right).abs() < 1e-6, "{scope:?}");
                }
                let double = dropout(&x.to_dtype(DType::F64).unwrap(), slot, scope, keep, &sampling).unwrap();
                let back = flat(&double.to_dtype(DType::F32).unwrap());
                assert!(back.iter().zip(flat(&fused)).all(|(left, right)| (left - right).abs() < 1e-6));
            }
        }
        let wrong = Tensor::zeros((1, 76, 19), DType::F32, &device).unwrap();
        assert!(dropout(&wrong, slot, MaskScope::Token, keep, &sampling).is_err());
    }
}
