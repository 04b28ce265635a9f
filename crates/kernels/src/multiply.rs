//! Product with constant multipliers, shared activations broadcast over the sample axis.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;

use crate::storage::{is_fast, values};

/// `x * z` for constant `z`: `x [samples or 1, rows, width]`, `z [samples, rows, width]` to the shape of `z`.
///
/// The gradient of `z` is never formed; that of `x` is `sum over samples of g * z` where `x` is shared.
///
/// # Errors
/// When shapes do not go together.
pub fn multiply(x: &Tensor, z: &Tensor) -> candle_core::Result<Tensor> {
    if is_fast(x) {
        x.contiguous()?.apply_op1(Multiply { z: z.clone() })
    } else {
        x.broadcast_mul(&z.to_dtype(x.dtype())?)
    }
}

struct Multiply {
    z: Tensor,
}

/// Elements that one task of the thread pool handles.
const CHUNK: usize = 1 << 14;

impl CustomOp1 for Multiply {
    fn name(&self) -> &'static str {
        "multiply"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = values(storage, layout)?;
        let (z_storage, z_layout) = self.z.storage_and_layout();
        let candle_core::Storage::Cpu(z_storage) = &*z_storage else {
            candle_core::bail!("multiply: multipliers must be on the processor");
        };
        let z = values(z_storage, z_layout)?;
        if x.is_empty() || z.len() % x.len() != 0 {
            candle_core::bail!("multiply: {:?} does not broadcast to {:?}", layout.dims(), self.z.dims());
        }
        let mut out = z.to_vec();
        for sample in out.chunks_mut(x.len()) {
            sample.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(out, x)| {
                for (out, x) in out.iter_mut().zip(x) {
                    *out *= x;
                }
            });
        }
        Ok((CpuStorage::F32(out), self.z.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let gradient = gradient.mul(&self.z)?;
        Ok(Some(if x.dim(0)? == gradient.dim(0)? { gradient } else { gradient.sum_keepdim(0)? }))
    }
}
