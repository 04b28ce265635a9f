//! A frozen linear map with a low-rank increment, in one operation.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Shape, Storage, Tensor};
use rayon::prelude::*;

use crate::affine::{Columns, Start, affine_within};
use crate::frozen::{Frozen, FrozenScratch};
use crate::packed::Packed;
use crate::product::{Onto, Threads};
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
    weight: Frozen,
    /// `[d_out]`.
    bias: Option<Tensor>,
}

/// An increment's parts on a processor.
#[derive(Debug, Clone, Copy)]
pub struct LowRankValues<'a> {
    /// The core `e [samples x rows, r]`.
    pub core: &'a [f32],
    /// The up-projection `B [d_out, r]`.
    pub up: &'a [f32],
    /// The scale `s`.
    pub scale: f32,
    /// The rank `r`.
    pub rank: usize,
}

impl FrozenLinear {
    /// The map of `weight [d_out, d_in]` and `bias [d_out]`, where there is one.
    pub fn new(weight: Frozen, bias: impl Into<Option<Tensor>>) -> Self {
        Self { weight, bias: bias.into() }
    }

    /// Its weight and its bias `[d_out]`, where there is one.
    pub fn parts(&self) -> (&Frozen, Option<&Tensor>) {
        (&self.weight, self.bias.as_ref())
    }

    /// `(d_out, d_in)`.
    pub fn shape(&self) -> (usize, usize) {
        self.weight.shape()
    }

    /// Bytes of its values.
    pub fn bytes(&self) -> usize {
        let bias = self.bias.as_ref().map_or(0, |bias| bias.elem_count() * bias.dtype().size_in_bytes());
        self.weight.bytes() + bias
    }

    /// `W0 x + bias + s B e`, forward only, on the caller's thread; the frozen product is computed once where `x` is shared by samples.
    ///
    /// # Shapes
    /// `x: [samples or 1, rows, d_in]`, core `[samples, rows, r]` to `out: [samples, rows, d_out]`.
    ///
    /// # Errors
    /// When the map is not on a processor.
    ///
    /// # Panics
    /// When extents do not go together.
    pub fn forward_into(
        &self,
        out: &mut [f32],
        x: &[f32],
        increment: Option<LowRankValues<'_>>,
        scratch: &mut FrozenScratch,
    ) -> candle_core::Result<()> {
        let (d_out, d_in) = self.shape();
        let (first, others) = out.split_at_mut(x.len() / d_in.max(1) * d_out);
        let bias = self.bias.as_ref().map(Tensor::storage_and_layout);
        let bias = bias.as_ref().map(borrow).transpose()?;
        self.weight.multiply(first, bias, x, Threads::One, scratch)?;
        let Some(LowRankValues { core, up, scale, rank }) = increment else {
            others.chunks_exact_mut(first.len().max(1)).for_each(|other| other.copy_from_slice(first));
            return Ok(());
        };
        if self.weight.plain().is_some() {
            // The order in which encoders have always added.
            others.chunks_exact_mut(first.len().max(1)).for_each(|other| other.copy_from_slice(first));
            let rows = out.len() / d_out.max(1);
            crate::product::product(out, Onto::Values, scale, core, up, (rows, rank, d_out), Threads::One);
            return Ok(());
        }
        scratch.up.fill(up, scale, (d_out, rank));
        let (outputs, inputs) = (Columns { width: d_out, first: 0 }, Columns { width: rank, first: 0 });
        let (own, further) = core.split_at(first.len() / d_out.max(1) * rank);
        affine_within((others, outputs), Start::Rows(first), (further, inputs), &scratch.up);
        affine_within((first, outputs), Start::Output, (own, inputs), &scratch.up);
        Ok(())
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
        let out = if is_fast(x) && self.weight.is_fast() {
            self.fast(&x.contiguous()?, increment)?
        } else {
            self.plain(x, increment)?
        };
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
        let mut frozen = self.weight.of_tensors(x)?;
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

    /// `W0 x`, with the bias unless it is added later.
    fn product(&self, x: &CpuStorage, layout: &Layout, bias: Option<&[f32]>) -> candle_core::Result<Vec<f32>> {
        let (d_out, d_in) = self.shape();
        let rows = layout.shape().elem_count() / d_in.max(1);
        let Some(weight) = self.weight.plain() else {
            let mut out = vec![0.0; rows * d_out];
            let scratch = &mut FrozenScratch::default();
            self.weight.multiply(&mut out, bias, values(x, layout)?, Threads::All, scratch)?;
            return Ok(out);
        };
        let transposed = weight.t()?;
        let (weight, weight_layout) = transposed.storage_and_layout();
        let Storage::Cpu(weight) = &*weight else {
            candle_core::bail!("expected weights on the processor");
        };
        let layout = Layout::contiguous_with_offset((rows, d_in), layout.start_offset());
        let CpuStorage::F32(mut out) = x.matmul(weight, (1, rows, d_out, d_in), &layout, weight_layout)? else {
            candle_core::bail!("expected an f32 product")
        };
        if let Some(bias) = bias {
            out.par_chunks_mut((ROWS_PER_TASK * bias.len()).max(1)).for_each(|chunk| {
                for row in chunk.chunks_exact_mut(bias.len()) {
                    for (y, b) in row.iter_mut().zip(bias) {
                        *y += b;
                    }
                }
            });
        }
        Ok(out)
    }

    fn bias(&self) -> candle_core::Result<Option<Vec<f32>>> {
        self.bias.as_ref().map(Tensor::to_vec1).transpose()
    }
}

/// `g W0`, summed over the samples where `x` is shared.
fn input_gradient(frozen: &FrozenLinear, x: &Tensor, gradient: &Tensor) -> candle_core::Result<Tensor> {
    let (d_out, _) = frozen.shape();
    let gradient = if x.dim(0)? == gradient.dim(0)? { gradient.clone() } else { gradient.sum_keepdim(0)? };
    let rows = gradient.elem_count() / d_out.max(1);
    if let Some(weight) = frozen.weight.plain() {
        return gradient.reshape((rows, d_out))?.matmul(weight)?.reshape(x.shape());
    }
    let gradient = gradient.contiguous()?;
    let mut out = vec![0.0; x.elem_count()];
    let scratch = &mut FrozenScratch::default();
    frozen.weight.multiply_back(&mut out, borrow(&gradient.storage_and_layout())?, Threads::All, scratch)?;
    Tensor::from_vec(out, x.shape(), x.device())
}

/// Rows that one task of the thread pool handles.
const ROWS_PER_TASK: usize = 32;

impl CustomOp1 for FrozenLinear {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (samples, rows, _) = layout.shape().dims3()?;
        let out = self.product(x, layout, self.bias()?.as_deref())?;
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

/// `frozen[i] + e[i] up'`, both over and over for `all` rows; what is shared by samples has `rows` rows.
fn increased(frozen: &[f32], core: &[f32], up: &Packed, all: usize, rows: usize) -> Vec<f32> {
    let (d_out, rank) = up.shape();
    let (outputs, inputs) = (Columns { width: d_out, first: 0 }, Columns { width: rank, first: 0 });
    let mut out = vec![0.0; all * d_out];
    let (own_frozen, own_core) = (frozen.len() == all * d_out, core.len() == all * rank);
    out.par_chunks_mut((rows * d_out).max(1)).enumerate().for_each(|(sample, out)| {
        let of = |x: &[f32], own: bool| if own { sample * rows * (x.len() / all.max(1)) } else { 0 };
        let frozen = &frozen[of(frozen, own_frozen)..];
        let core = &core[of(core, own_core)..];
        let parts =
            out.par_chunks_mut((ROWS_PER_TASK * d_out).max(1)).zip(frozen.par_chunks((ROWS_PER_TASK * d_out).max(1)));
        parts.zip(core.par_chunks((ROWS_PER_TASK * rank).max(1))).for_each(|((out, frozen), core)| {
            let count = out.len() / d_out.max(1);
            let start = Start::Rows(&frozen[..count * d_out]);
            affine_within((out, outputs), start, (&core[..count * rank], inputs), up);
        });
    });
    out
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
        let out = if self.frozen.weight.plain().is_none() {
            let frozen = self.frozen.product(x, x_layout, bias.as_deref())?;
            increased(&frozen, core, &Packed::new(up, scale, (d_out, rank)), samples * rows, rows)
        } else if x_samples == samples {
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
            let weight = self.frozen.weight.plain().map(Tensor::storage_and_layout);
            let weight = weight.as_ref().map_or(Ok(&[][..]), borrow)?;
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
            let mut frozen = self.frozen.product(x, x_layout, None)?;
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
mod tests;
