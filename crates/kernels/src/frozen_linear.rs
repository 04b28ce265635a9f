//! A frozen linear map with a low-rank increment, in one operation.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Shape, Storage, Tensor};
use rayon::prelude::*;

use crate::storage::{borrow, is_fast, values};

/// What an adapter adds to a map's output: `s B e + o`.
#[derive(Debug, Clone, Copy)]
pub struct LowRankTerm<'a> {
    /// The core `e [samples or 1, rows, r]`.
    pub core: &'a Tensor,
    /// The up-projection `B [d_out, r]`.
    pub up: &'a Tensor,
    /// The scale `s`.
    pub scale: f64,
    /// The offset `o [samples or 1, rows, d_out]`, where there is one.
    pub offset: Option<&'a Tensor>,
}

/// `W0 x + bias`, or without bias, never trained: its gradient is passed on but none is formed for `W0`.
#[derive(Debug, Clone)]
pub struct FrozenLinear {
    /// `[d_out, d_in]`.
    weight: Tensor,
    /// `[d_out]`.
    bias: Option<Tensor>,
}

impl FrozenLinear {
    /// The map of `weight [d_out, d_in]` and `bias [d_out]`, where there is one.
    pub fn new(weight: Tensor, bias: impl Into<Option<Tensor>>) -> Self {
        Self { weight, bias: bias.into() }
    }

    /// `(d_out, d_in)`.
    pub fn shape(&self) -> (usize, usize) {
        (self.weight.dims()[0], self.weight.dims()[1])
    }

    /// Calls `f` with the values of `W0 [d_out, d_in]` and of the bias, where there is one, on a processor.
    ///
    /// # Errors
    /// When they are elsewhere.
    pub fn with_values<T>(&self, f: impl FnOnce(&[f32], Option<&[f32]>) -> T) -> candle_core::Result<T> {
        let weight = self.weight.storage_and_layout();
        let bias = self.bias.as_ref().map(Tensor::storage_and_layout);
        Ok(f(borrow(&weight)?, bias.as_ref().map(borrow).transpose()?))
    }

    /// `W0 x + bias + s B e + o` with the increment's core `e`, up-projection `B` and offset `o`.
    ///
    /// # Shapes
    /// `x: [samples or 1, rows, d_in]`, core `[samples or 1, rows, r]` to `[samples, rows, d_out]`; the frozen product
    /// is computed once where `x` is shared.
    ///
    /// # Errors
    /// When shapes do not go together.
    pub fn forward(&self, x: &Tensor, increment: Option<LowRankTerm<'_>>) -> candle_core::Result<Tensor> {
        let out = if is_fast(x) { self.fast(&x.contiguous()?, increment)? } else { self.plain(x, increment)? };
        match increment.and_then(|increment| increment.offset) {
            None => Ok(out),
            Some(offset) => out.broadcast_add(offset),
        }
    }

    /// The same without the offset, `x` contiguous on the processor.
    fn fast(&self, x: &Tensor, increment: Option<LowRankTerm<'_>>) -> candle_core::Result<Tensor> {
        match increment {
            None => x.apply_op1(self.clone()),
            Some(LowRankTerm { core, up, scale, .. }) => {
                x.apply_op3(&core.contiguous()?, &up.contiguous()?, Adapted { frozen: self.clone(), scale })
            }
        }
    }

    /// The same without the offset, composed of tensor operations.
    fn plain(&self, x: &Tensor, increment: Option<LowRankTerm<'_>>) -> candle_core::Result<Tensor> {
        let cast = |t: &Tensor| t.to_dtype(x.dtype());
        let mut frozen = x.broadcast_matmul(&cast(&self.weight)?.t()?)?;
        if let Some(bias) = &self.bias {
            frozen = frozen.broadcast_add(&cast(bias)?)?;
        }
        match increment {
            None => Ok(frozen),
            Some(LowRankTerm { core, up, scale, .. }) => {
                frozen.broadcast_add(&(core.broadcast_matmul(&cast(up)?.t()?)? * scale)?)
            }
        }
    }

    /// `W0 x` without bias.
    fn product(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<Vec<f32>> {
        let (d_out, d_in) = self.shape();
        let rows = layout.shape().elem_count() / d_in;
        let transposed = self.weight.t()?;
        let (weight, weight_layout) = transposed.storage_and_layout();
        let Storage::Cpu(weight) = &*weight else {
            candle_core::bail!("expected weights on the processor");
        };
        let layout = Layout::contiguous_with_offset((rows, d_in), layout.start_offset());
        match x.matmul(weight, (1, rows, d_out, d_in), &layout, weight_layout)? {
            CpuStorage::F32(product) => Ok(product),
            _ => candle_core::bail!("expected an f32 product"),
        }
    }

    fn bias(&self) -> candle_core::Result<Option<Vec<f32>>> {
        self.bias.as_ref().map(Tensor::to_vec1).transpose()
    }
}

/// `g W0`, summed over the samples where `x` is shared.
fn input_gradient(frozen: &FrozenLinear, x: &Tensor, gradient: &Tensor) -> candle_core::Result<Tensor> {
    let (d_out, _) = frozen.shape();
    let gradient = if x.dim(0)? == gradient.dim(0)? { gradient.clone() } else { gradient.sum_keepdim(0)? };
    let rows = gradient.elem_count() / d_out;
    gradient.reshape((rows, d_out))?.matmul(&frozen.weight)?.reshape(x.shape())
}

/// Rows that one task of the thread pool handles.
const ROWS_PER_TASK: usize = 32;

impl CustomOp1 for FrozenLinear {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (samples, rows, _) = layout.shape().dims3()?;
        let mut out = self.product(x, layout)?;
        if let Some(bias) = self.bias()? {
            out.par_chunks_mut(ROWS_PER_TASK * bias.len()).for_each(|chunk| {
                for row in chunk.chunks_exact_mut(bias.len()) {
                    for (y, b) in row.iter_mut().zip(&bias) {
                        *y += b;
                    }
                }
            });
        }
        Ok((CpuStorage::F32(out), Shape::from((samples, rows, self.shape().0))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(input_gradient(self, x, gradient)?))
    }
}

/// `left [m, k] right^T`, `right [n, k]`.
fn product(left: Vec<f32>, right: Vec<f32>, (m, k, n): (usize, usize, usize)) -> candle_core::Result<Vec<f32>> {
    let right_layout = Layout::contiguous((n, k)).transpose(0, 1)?;
    let (left, right) = (CpuStorage::F32(left), CpuStorage::F32(right));
    match left.matmul(&right, (1, m, n, k), &Layout::contiguous((m, k)), &right_layout)? {
        CpuStorage::F32(product) => Ok(product),
        _ => candle_core::bail!("expected an f32 product"),
    }
}

struct Adapted {
    frozen: FrozenLinear,
    scale: f64,
}

impl CustomOp3 for Adapted {
    fn name(&self) -> &'static str {
        "adapted-linear"
    }

    #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        core: &CpuStorage,
        core_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x_samples, rows, d_in) = x_layout.shape().dims3()?;
        let (core_samples, _, rank) = core_layout.shape().dims3()?;
        let d_out = self.frozen.shape().0;
        let samples = x_samples.max(core_samples);
        let bias = self.frozen.bias()?;
        let (core, up) = (values(core, core_layout)?, values(up, up_layout)?);
        let scale = self.scale as f32;
        let scaled = |up: &[f32], out: &mut [f32]| out.iter_mut().zip(up).for_each(|(out, up)| *out = scale * up);
        let out = if x_samples == samples {
            // One product: [x, e, 1] [W0, s B, bias]^T, or [x, e] [W0, s B]^T.
            let x = values(x, x_layout)?;
            let width = d_in + rank + usize::from(bias.is_some());
            let mut joined = vec![1.0; samples * rows * width];
            joined.par_chunks_mut(ROWS_PER_TASK * width).enumerate().for_each(|(task, chunk)| {
                for (offset, out) in chunk.chunks_exact_mut(width).enumerate() {
                    let row = task * ROWS_PER_TASK + offset;
                    out[..d_in].copy_from_slice(&x[row * d_in..][..d_in]);
                    out[d_in..d_in + rank].copy_from_slice(&core[row % (core_samples * rows) * rank..][..rank]);
                }
            });
            let (weight, weight_layout) = self.frozen.weight.storage_and_layout();
            let Storage::Cpu(weight) = &*weight else { candle_core::bail!("expected weights on the processor") };
            let weight = values(weight, weight_layout)?;
            let mut map = vec![0.0; d_out * width];
            for (output, out) in map.chunks_exact_mut(width).enumerate() {
                out[..d_in].copy_from_slice(&weight[output * d_in..][..d_in]);
                scaled(&up[output * rank..][..rank], &mut out[d_in..d_in + rank]);
                if let Some(bias) = &bias {
                    out[d_in + rank] = bias[output];
                }
            }
            product(joined, map, (samples * rows, width, d_out))?
        } else {
            let mut frozen = self.frozen.product(x, x_layout)?;
            if let Some(bias) = &bias {
                for row in frozen.chunks_exact_mut(d_out) {
                    for (w, b) in row.iter_mut().zip(bias) {
                        *w += b;
                    }
                }
            }
            let mut map = vec![0.0; d_out * rank];
            scaled(up, &mut map);
            let mut out = product(core.to_vec(), map, (samples * rows, rank, d_out))?;
            out.par_chunks_mut(ROWS_PER_TASK * d_out).enumerate().for_each(|(task, chunk)| {
                for (offset, out) in chunk.chunks_exact_mut(d_out).enumerate() {
                    let row = (task * ROWS_PER_TASK + offset) % rows;
                    for (y, w) in out.iter_mut().zip(&frozen[row * d_out..][..d_out]) {
                        *y += w;
                    }
                }
            });
            out
        };
        Ok((CpuStorage::F32(out), Shape::from((samples, rows, d_out))))
    }

    /// `(g W0, s g B, s g^T e)`, each summed over the samples its argument is shared by.
    fn bwd(
        &self,
        x: &Tensor,
        core: &Tensor,
        up: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let dx = if x.track_op() { Some(input_gradient(&self.frozen, x, &gradient)?) } else { None };
        let d_out = self.frozen.shape().0;
        let summed = if core.dim(0)? == gradient.dim(0)? { gradient } else { gradient.sum_keepdim(0)? };
        let (samples, rows, rank) = core.dims3()?;
        let flat = summed.reshape((samples * rows, d_out))?;
        let d_core = (flat.matmul(up)? * self.scale)?.reshape(core.shape())?;
        let d_up = if up.track_op() {
            Some((flat.t()?.matmul(&core.reshape((samples * rows, rank))?)? * self.scale)?)
        } else {
            None
        };
        Ok((dx, Some(d_core), d_up))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient, assert_twins, normal};

    #[test]
    fn agrees_with_its_plain_twin_and_finite_differences() {
        for (x_samples, core_samples, with_bias) in
            [(1, 1), (1, 4), (4, 4), (4, 1)].into_iter().flat_map(|(x, core)| [(x, core, true), (x, core, false)])
        {
            let (d_out, d_in, rows, rank) = (37, 21, 45, 3);
            let bias = with_bias.then(|| normal(2, d_out).as_detached_tensor());
            let frozen = FrozenLinear::new(normal(1, (d_out, d_in)).as_detached_tensor(), bias);
            let x = normal(3, (x_samples, rows, d_in));
            let core = normal(4, (core_samples, rows, rank));
            let up = normal(5, (d_out, rank));
            let increment = || LowRankTerm { core: core.as_tensor(), up: up.as_tensor(), scale: 1.7, offset: None };
            let fast = || frozen.forward(&x, Some(increment())).unwrap();
            let plain = frozen.plain(&x, Some(increment())).unwrap();
            assert_twins(&[x.clone(), core.clone(), up.clone()], &fast(), &plain, 1e-5);
            for var in [&x, &core, &up] {
                assert_gradient(var, fast, 2e-3);
            }
            assert_twins(
                std::slice::from_ref(&x),
                &frozen.forward(&x, None).unwrap(),
                &frozen.plain(&x, None).unwrap(),
                1e-5,
            );
        }
    }
}
