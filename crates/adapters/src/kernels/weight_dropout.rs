//! `u_i = sum_j Z_ij A_ij x_j` with a fresh mask `Z [r, d_in]` per draw, never stored.

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::values;
use crate::draw::{Rows, Sampling};
use crate::error::Result;
use crate::noise::{Address, Noise};
use crate::site::{KeepProbability, MaskScope, Slot};

/// The weight-site core `(Z * A) x`.
///
/// # Shapes
/// `x: [samples or 1, rows, d_in]`, `a: [r, d_in]` to `[samples, rows, r]`.
pub(crate) fn weight_dropout(
    x: &Tensor,
    a: &Tensor,
    slot: Slot,
    scope: MaskScope,
    keep: KeepProbability,
    sampling: &Sampling<'_>,
) -> Result<Tensor> {
    let op = WeightDropout {
        slot,
        scope,
        keep,
        noise: sampling.noise,
        samples: sampling.samples.clone(),
        rows: sampling.rows.clone(),
    };
    if x.device().is_cpu() { Ok(x.contiguous()?.apply_op2(a, op)?) } else { op.plain(x, a) }
}

struct WeightDropout {
    slot: Slot,
    scope: MaskScope,
    keep: KeepProbability,
    noise: Noise,
    samples: std::ops::Range<u32>,
    rows: Rows,
}

/// Rows that one task handles; fixed, so that the order of sums does not depend on the number of threads.
const ROWS_PER_TASK: usize = 64;

impl WeightDropout {
    fn sampling(&self) -> Sampling<'_> {
        Sampling { noise: self.noise, samples: self.samples.clone(), rows: &self.rows, with_divergence: false }
    }

    /// Calls `visit(index, mask)` for the rows `range` of all samples, drawing a mask where the draw changes.
    fn for_each_mask(&self, range: std::ops::Range<usize>, width: usize, mut visit: impl FnMut(usize, &[f32])) {
        let sampling = self.sampling();
        let mut mask = vec![0.0; width];
        let mut scratch = Vec::new();
        let mut previous: Option<Address> = None;
        for index in range {
            let at = sampling.address(self.slot, self.scope, index);
            if previous != Some(at) {
                self.noise.fill_multipliers(at, self.keep, &mut scratch, &mut mask);
                previous = Some(at);
            }
            visit(index, &mask);
        }
    }

    fn row_count(&self) -> usize {
        self.samples.len() * self.rows.len()
    }

    fn tasks(&self) -> Vec<std::ops::Range<usize>> {
        let total = self.row_count();
        (0..total).step_by(ROWS_PER_TASK).map(|start| start..(start + ROWS_PER_TASK).min(total)).collect()
    }

    /// The same by tensor operations, masks stored.
    fn plain(&self, x: &Tensor, a: &Tensor) -> Result<Tensor> {
        let (rank, d_in) = a.dims2()?;
        let (samples, rows) = (self.samples.len(), self.rows.len());
        let masks = self.sampling().multipliers(self.slot, self.scope, rank * d_in, self.keep);
        let masks = Tensor::from_vec(masks, (samples, rows, rank, d_in), &Device::Cpu)?.to_device(x.device())?;
        Ok(masks.broadcast_mul(a)?.broadcast_mul(&x.unsqueeze(2)?)?.sum(3)?)
    }
}

impl CustomOp2 for WeightDropout {
    fn name(&self) -> &'static str {
        "weight-dropout"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        a: &CpuStorage,
        a_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (rank, d_in) = a_layout.shape().dims2()?;
        let (x, a) = (values(x, x_layout, self.name())?, values(a, a_layout, self.name())?);
        let shared_rows = x.len() / d_in;
        let mut out = vec![0.0; self.row_count() * rank];
        out.par_chunks_mut(ROWS_PER_TASK * rank).zip(self.tasks()).for_each(|(out, range)| {
            let first = range.start;
            self.for_each_mask(range, rank * d_in, |index, mask| {
                let x = &x[index % shared_rows * d_in..][..d_in];
                let out = &mut out[(index - first) * rank..][..rank];
                for ((out, a), z) in out.iter_mut().zip(a.chunks_exact(d_in)).zip(mask.chunks_exact(d_in)) {
                    *out = x.iter().zip(a).zip(z).map(|((x, a), z)| x * a * z).sum();
                }
            });
        });
        Ok((CpuStorage::F32(out), Shape::from((self.samples.len(), self.rows.len(), rank))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (rank, d_in) = a.dims2()?;
        let (x_values, a_values) = (x.flatten_all()?.to_vec1::<f32>()?, a.flatten_all()?.to_vec1::<f32>()?);
        let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
        let shared_rows = x_values.len() / d_in;
        let parts: Vec<(Vec<f32>, Vec<f32>)> = self
            .tasks()
            .into_par_iter()
            .map(|range| {
                let first = range.start;
                let mut dx = vec![0.0; range.len() * d_in];
                let mut da = vec![0.0; rank * d_in];
                self.for_each_mask(range, rank * d_in, |index, mask| {
                    let x = &x_values[index % shared_rows * d_in..][..d_in];
                    let dx = &mut dx[(index - first) * d_in..][..d_in];
                    for (i, &g) in gradient[index * rank..][..rank].iter().enumerate() {
                        let entries = i * d_in..(i + 1) * d_in;
                        let (a, z, da) = (&a_values[entries.clone()], &mask[entries.clone()], &mut da[entries]);
                        for j in 0..d_in {
                            dx[j] += g * z[j] * a[j];
                            da[j] += g * z[j] * x[j];
                        }
                    }
                });
                (dx, da)
            })
            .collect();
        let mut dx = vec![0.0; x_values.len()];
        let mut da = vec![0.0; a_values.len()];
        for (task, (part_x, part_a)) in parts.iter().enumerate() {
            for (offset, row) in part_x.chunks_exact(d_in).enumerate() {
                let shared = (task * ROWS_PER_TASK + offset) % shared_rows;
                add(&mut dx[shared * d_in..][..d_in], row);
            }
            add(&mut da, part_a);
        }
        let dx = Tensor::from_vec(dx, x.shape(), &Device::Cpu)?;
        let da = Tensor::from_vec(da, a.shape(), &Device::Cpu)?;
        Ok((Some(dx), Some(da)))
    }
}

fn add(total: &mut [f32], part: &[f32]) {
    for (total, part) in total.iter_mut().zip(part) {
        *total += part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Stream;
    use crate::site::TargetMap;

    #[test]
    fn agrees_with_its_plain_twin_values_and_gradients() {
        let device = &Device::Cpu;
        let rows = Rows::of_sentences(&[3, 1, 8], &[2, 60, 5]);
        let couplings = ["independent", "antithetic", "balanced-4"];
        for (scope, coupling) in MaskScope::ALL.into_iter().flat_map(|scope| couplings.map(|word| (scope, word))) {
            for shared in [true, false] {
                let noise = Noise::new(5, Stream::Training).coupled(coupling.parse().unwrap());
                let sampling = Sampling { noise, samples: 4..6, rows: &rows, with_divergence: false };
                let slot = Slot::new(1, TargetMap::Value);
                let mut normal = vec![0.0; 2 * rows.len() * 7 + 21];
                let at = Address { slot, sample: 0, example: 0, position: 0 };
                noise.fill_normal(at, &mut Vec::new(), &mut normal);
                let samples = if shared { 1 } else { 2 };
                let size = samples * rows.len() * 7;
                let x = candle_core::Var::from_slice(&normal[..size], (samples, rows.len(), 7), device).unwrap();
                let a = candle_core::Var::from_slice(&normal[size..size + 21], (3, 7), device).unwrap();
                let keep = KeepProbability::from_dropout(0.3).unwrap();
                let fast = weight_dropout(&x, &a, slot, scope, keep, &sampling).unwrap();
                let op = WeightDropout { slot, scope, keep, noise, samples: 4..6, rows: rows.clone() };
                let plain = op.plain(&x, &a).unwrap();
                let fast_gradients = fast.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                let plain_gradients = plain.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                let close = |left: &Tensor, right: &Tensor| {
                    assert_eq!(left.dims(), right.dims());
                    let difference = (left - right).unwrap().abs().unwrap().max_all().unwrap();
                    let size = right.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
                    // Sums of at most 60 x 7 f32 products.
                    assert!(difference.to_scalar::<f32>().unwrap() < 2e-5 * size, "{scope} {coupling} shared={shared}");
                };
                close(&fast, &plain);
                close(fast_gradients.get(&x).unwrap(), plain_gradients.get(&x).unwrap());
                close(fast_gradients.get(&a).unwrap(), plain_gradients.get(&a).unwrap());
            }
        }
    }
}
