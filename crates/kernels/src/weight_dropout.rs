//! `u_i = sum_j Z_ij A_ij x_j` with a fresh mask `Z [r, d_in]` per draw, never stored.

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Shape, Tensor};
use rayon::prelude::*;

use crate::draws::{Draws, ROWS_PER_TASK};
use crate::keep::Keep;
use crate::storage::values;

/// The weight-site core `(Z * A) x`.
///
/// # Shapes
/// `x: [samples or 1, rows, d_in]`, `a: [r, d_in]` to `[samples, rows, r]`.
///
/// # Errors
/// When `x` has other rows or samples than the draws.
pub fn weight_dropout(x: &Tensor, a: &Tensor, draws: Draws, keep: Keep) -> candle_core::Result<Tensor> {
    let (x_samples, rows, _) = x.dims3()?;
    if rows != draws.rows() || ![1, draws.samples()].contains(&x_samples) {
        candle_core::bail!("weight dropout: {:?} for {} samples of {} rows", x.dims(), draws.samples(), draws.rows());
    }
    let op = WeightDropout { draws, keep };
    if x.device().is_cpu() { x.contiguous()?.apply_op2(a, op) } else { op.plain(x, a) }
}

struct WeightDropout {
    draws: Draws,
    keep: Keep,
}

impl WeightDropout {
    /// The same by tensor operations, masks stored.
    fn plain(&self, x: &Tensor, a: &Tensor) -> candle_core::Result<Tensor> {
        let (rank, d_in) = a.dims2()?;
        let masks = self.draws.multipliers(rank * d_in, self.keep);
        let masks = Tensor::from_vec(masks, (self.draws.samples(), self.draws.rows(), rank, d_in), &Device::Cpu)?;
        masks.to_device(x.device())?.broadcast_mul(a)?.broadcast_mul(&x.unsqueeze(2)?)?.sum(3)
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
        let (x, a) = (values(x, x_layout)?, values(a, a_layout)?);
        let shared_rows = x.len() / d_in;
        let (samples, rows) = (self.draws.samples(), self.draws.rows());
        let mut out = vec![0.0; samples * rows * rank];
        out.par_chunks_mut(ROWS_PER_TASK * rank).zip(self.draws.tasks()).for_each(|(out, range)| {
            let first = range.start;
            self.draws.for_each_mask(range, rank * d_in, self.keep, |index, mask| {
                let x = &x[index % shared_rows * d_in..][..d_in];
                let out = &mut out[(index - first) * rank..][..rank];
                for ((out, a), z) in out.iter_mut().zip(a.chunks_exact(d_in)).zip(mask.chunks_exact(d_in)) {
                    *out = x.iter().zip(a).zip(z).map(|((x, a), z)| x * a * z).sum();
                }
            });
        });
        Ok((CpuStorage::F32(out), Shape::from((samples, rows, rank))))
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
            .draws
            .tasks()
            .into_par_iter()
            .map(|range| {
                let first = range.start;
                let mut dx = vec![0.0; range.len() * d_in];
                let mut da = vec![0.0; rank * d_in];
                self.draws.for_each_mask(range, rank * d_in, self.keep, |index, mask| {
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
    use crate::draws::tests::six_samples;
    use crate::testing::normal;

    #[test]
    fn agrees_with_its_plain_twin_values_and_gradients() {
        let keep = Keep { threshold: (1 << 32) / 10 * 7, value: 1.0 / 0.7 };
        for (group, shared) in [1, 2, 4].into_iter().flat_map(|group| [(group, true), (group, false)]) {
            for samples in [1, 6] {
                let (x, a) = (normal(1, (samples, 67, 7)), normal(2, (3, 7)));
                let draws = || six_samples(67, group, shared);
                let fast = weight_dropout(&x, &a, draws(), keep).unwrap();
                let plain = WeightDropout { draws: draws(), keep }.plain(&x, &a).unwrap();
                let fast_gradients = fast.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                let plain_gradients = plain.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                let close = |left: &Tensor, right: &Tensor| {
                    assert_eq!(left.dims(), right.dims());
                    let difference = (left - right).unwrap().abs().unwrap().max_all().unwrap();
                    let size = right.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
                    // Sums of at most 67 x 7 x 6 f32 products.
                    assert!(difference.to_scalar::<f32>().unwrap() < 2e-5 * size, "{group} {shared} {samples}");
                };
                close(&fast, &plain);
                close(fast_gradients.get(&x).unwrap(), plain_gradients.get(&x).unwrap());
                close(fast_gradients.get(&a).unwrap(), plain_gradients.get(&a).unwrap());
            }
        }
        let short = normal(1, (1, 66, 7));
        assert!(weight_dropout(&short, &normal(2, (3, 7)), six_samples(67, 1, false), keep).is_err());
    }
}
