//! A frozen matrix, held as it is stored, and products with it and with its transpose.
//!
//! Values of half precision and quantised ones are widened a panel of rows at a time, into memory that stays in a core's cache, and
//! multiplied by f32 activations there. So products are those of the widened matrix to f32 rounding, and the widened matrix is never
//! there as a whole.

use std::ops::Range;
use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{CpuStorage, D, DType, Device, Storage, Tensor};
use rayon::prelude::*;

use crate::affine::{Columns, Start, affine_within};
use crate::half::{of_bf16, of_f16, widen_all};
use crate::packed::Packed;
use crate::product::{Onto, Threads, product};
use crate::storage::borrow;

/// A matrix `[d_out, d_in]` that is never trained, held as it is stored. Copies share its memory.
#[derive(Debug, Clone)]
pub struct Frozen {
    held: Held,
    d_out: usize,
    d_in: usize,
}

#[derive(Debug, Clone)]
enum Held {
    /// Row after row, on any device.
    Dense(Tensor),
    /// f32 on a processor, in the order in which its vector registers read it.
    Packed(Arc<Packed>),
    /// In blocks of a few bits a value.
    Quantised(Arc<QTensor>),
}

/// Memory of products with frozen matrices, used again from product to product.
#[derive(Debug, Default)]
pub struct FrozenScratch {
    panels: Vec<Panel>,
    pub(crate) up: Packed,
}

/// Some rows of a matrix, widened and in order.
#[derive(Debug, Default)]
struct Panel {
    rows: Range<usize>,
    wide: Vec<f32>,
    packed: Packed,
}

/// Values of a panel, about: 256 KiB each for the widened values and for those in order.
const VALUES_PER_PANEL: usize = 1 << 16;
/// Panels are of a multiple of so many rows: those of the widest registers.
const ROWS_OF_REGISTERS: usize = 48;
/// Panels that the threads of a pool share.
const PANELS_TOGETHER: usize = 8;
/// Rows of activations that one task of the thread pool multiplies.
const ROWS_PER_TASK: usize = 64;

impl Frozen {
    /// The matrix of a tensor of type f32, f16 or bf16, on any device.
    ///
    /// # Errors
    /// When it is no matrix.
    pub fn dense(weight: Tensor) -> candle_core::Result<Self> {
        let (d_out, d_in) = weight.dims2()?;
        let weight = if weight.is_contiguous() { weight } else { weight.contiguous()? };
        Ok(Self { held: Held::Dense(weight), d_out, d_in })
    }

    /// The matrix of a tensor in blocks of a few bits a value.
    ///
    /// # Errors
    /// When it is no matrix, or its rows are not whole blocks.
    pub fn quantised(weight: QTensor) -> candle_core::Result<Self> {
        let (d_out, d_in) = weight.shape().dims2()?;
        let block = weight.dtype().block_size();
        if !d_in.is_multiple_of(block) {
            candle_core::bail!("frozen matrix: rows of {d_in} values; expected a multiple of the block's {block}");
        }
        Ok(Self { held: Held::Quantised(Arc::new(weight)), d_out, d_in })
    }

    /// The same matrix in the order of the processor's vector registers, where it is one of f32 on a processor: products then need not
    /// put it into order. It takes the memory that it took before.
    ///
    /// # Errors
    /// When its values cannot be read.
    pub fn in_order(self) -> candle_core::Result<Self> {
        let Held::Dense(weight) = &self.held else { return Ok(self) };
        if !weight.device().is_cpu() || weight.dtype() != DType::F32 {
            return Ok(self);
        }
        let packed = Packed::new(borrow(&weight.storage_and_layout())?, 1.0, (self.d_out, self.d_in));
        Ok(Self { held: Held::Packed(Arc::new(packed)), ..self })
    }

    /// `(d_out, d_in)`.
    pub fn shape(&self) -> (usize, usize) {
        (self.d_out, self.d_in)
    }

    /// Bytes that its values take.
    pub fn bytes(&self) -> usize {
        match &self.held {
            Held::Dense(weight) => weight.elem_count() * weight.dtype().size_in_bytes(),
            Held::Packed(packed) => packed.bytes(),
            Held::Quantised(weight) => weight.storage_size_in_bytes(),
        }
    }

    /// Where it is.
    pub fn device(&self) -> Device {
        match &self.held {
            Held::Dense(weight) => weight.device().clone(),
            Held::Packed(_) => Device::Cpu,
            Held::Quantised(weight) => weight.device(),
        }
    }

    /// The rows of these numbers in f32, where the matrix is: nothing else is widened.
    ///
    /// # Shapes
    /// `[numbers, d_in]`.
    ///
    /// # Errors
    /// When there is no such row.
    pub fn rows(&self, numbers: &[u32]) -> candle_core::Result<Tensor> {
        if let Some(number) = numbers.iter().find(|&&number| number as usize >= self.d_out) {
            candle_core::bail!("frozen matrix: row {number} of {}", self.d_out);
        }
        match &self.held {
            Held::Dense(weight) => {
                weight.index_select(&Tensor::new(numbers, weight.device())?, 0)?.to_dtype(DType::F32)
            }
            Held::Quantised(weight) => weight.embedding(&Tensor::new(numbers, &Device::Cpu)?),
            Held::Packed(packed) => {
                let mut out = vec![0.0; numbers.len() * self.d_in];
                for (out, &number) in out.chunks_exact_mut(self.d_in.max(1)).zip(numbers) {
                    packed.unpack(number as usize..number as usize + 1, out);
                }
                Tensor::from_vec(out, (numbers.len(), self.d_in), &Device::Cpu)
            }
        }
    }

    /// The whole matrix as a tensor of type `dtype`, where it is.
    ///
    /// # Errors
    /// When it does not fit the memory of a device.
    pub fn tensor(&self, dtype: DType) -> candle_core::Result<Tensor> {
        match &self.held {
            Held::Dense(weight) => weight.to_dtype(dtype),
            Held::Quantised(weight) => weight.dequantize(&weight.device())?.to_dtype(dtype),
            Held::Packed(packed) => {
                let mut out = vec![0.0; self.d_out * self.d_in];
                packed.unpack(0..self.d_out, &mut out);
                Tensor::from_vec(out, (self.d_out, self.d_in), &Device::Cpu)?.to_dtype(dtype)
            }
        }
    }

    /// Whether products with f32 on a processor are computed here.
    pub(crate) fn is_fast(&self) -> bool {
        match &self.held {
            Held::Dense(weight) => {
                weight.device().is_cpu() && matches!(weight.dtype(), DType::F32 | DType::F16 | DType::BF16)
            }
            Held::Packed(_) => true,
            Held::Quantised(weight) => weight.device().is_cpu(),
        }
    }

    /// The matrix itself, where it is held row after row in f32 on a processor.
    pub(crate) fn plain(&self) -> Option<&Tensor> {
        match &self.held {
            Held::Dense(weight) if weight.device().is_cpu() && weight.dtype() == DType::F32 => Some(weight),
            _ => None,
        }
    }

    /// `out = start + x W'`, `start` one row or none.
    ///
    /// # Shapes
    /// `x: [rows, d_in]`, `start: [d_out]` to `out: [rows, d_out]`.
    pub(crate) fn multiply(
        &self,
        out: &mut [f32],
        start: Option<&[f32]>,
        x: &[f32],
        threads: Threads,
        scratch: &mut FrozenScratch,
    ) -> candle_core::Result<()> {
        let (d_out, d_in) = self.shape();
        let rows = out.len() / d_out.max(1);
        if let Some(weight) = self.plain() {
            let onto = if start.is_some() { Onto::Values } else { Onto::Nothing };
            if let Some(start) = start {
                out.chunks_exact_mut(d_out.max(1)).for_each(|row| row.copy_from_slice(start));
            }
            product(out, onto, 1.0, x, borrow(&weight.storage_and_layout())?, (rows, d_in, d_out), threads);
            return Ok(());
        }
        let start = Start::Rows(start.unwrap_or(&[]));
        let inputs = Columns { width: d_in, first: 0 };
        if let Held::Packed(packed) = &self.held {
            by_rows(threads, out, d_out, x, d_in, |out, x| {
                affine_within((out, Columns { width: d_out, first: 0 }), start, (x, inputs), packed);
            });
            return Ok(());
        }
        let order = |panel: &mut Panel| {
            self.widen(panel.rows.clone(), &mut panel.wide)?;
            panel.packed.fill(&panel.wide, 1.0, (panel.rows.len(), d_in));
            Ok(())
        };
        self.panels(threads, scratch, order, |panels| {
            by_rows(threads, out, d_out, x, d_in, |out, x| {
                for panel in panels {
                    let outputs = Columns { width: d_out, first: panel.rows.start };
                    affine_within((&mut *out, outputs), start, (x, inputs), &panel.packed);
                }
            });
        })
    }

    /// `out = g W`.
    ///
    /// # Shapes
    /// `g: [rows, d_out]` to `out: [rows, d_in]`.
    pub(crate) fn multiply_back(
        &self,
        out: &mut [f32],
        g: &[f32],
        threads: Threads,
        scratch: &mut FrozenScratch,
    ) -> candle_core::Result<()> {
        let (d_out, d_in) = self.shape();
        out.fill(0.0);
        let outputs = Columns { width: d_in, first: 0 };
        let order = |panel: &mut Panel| {
            if let Held::Packed(packed) = &self.held {
                panel.packed.fill_turned(packed, panel.rows.clone());
                return Ok(());
            }
            self.widen(panel.rows.clone(), &mut panel.wide)?;
            panel.packed.fill_transposed(&panel.wide, (d_in, panel.rows.len()));
            Ok(())
        };
        self.panels(threads, scratch, order, |panels| {
            by_rows(threads, out, d_in, g, d_out, |out, g| {
                for panel in panels {
                    let inputs = Columns { width: d_out, first: panel.rows.start };
                    affine_within((&mut *out, outputs), Start::Output, (g, inputs), &panel.packed);
                }
            });
        })
    }

    /// Does `work` with the rows of the matrix, some panels at a time, which `order` fills.
    fn panels(
        &self,
        threads: Threads,
        scratch: &mut FrozenScratch,
        order: impl Fn(&mut Panel) -> candle_core::Result<()> + Sync,
        mut work: impl FnMut(&[Panel]),
    ) -> candle_core::Result<()> {
        let (d_out, d_in) = self.shape();
        let rows = (VALUES_PER_PANEL / d_in.max(1) / ROWS_OF_REGISTERS).max(1) * ROWS_OF_REGISTERS;
        let together = if threads == Threads::One { 1 } else { PANELS_TOGETHER };
        scratch.panels.resize_with(together, Panel::default);
        for first in (0..d_out).step_by(rows * together) {
            let count = (d_out - first).div_ceil(rows).min(together);
            let panels = &mut scratch.panels[..count];
            let fill = |(number, panel): (usize, &mut Panel)| {
                let start = first + number * rows;
                panel.rows = start..(start + rows).min(d_out);
                order(panel)
            };
            match threads {
                Threads::One => panels.iter_mut().enumerate().try_for_each(fill)?,
                Threads::All => panels.par_iter_mut().enumerate().try_for_each(fill)?,
            }
            work(panels);
        }
        Ok(())
    }

    /// Some rows in f32, on a processor.
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "types of half precision have names in another crate only"
    )]
    fn widen(&self, rows: Range<usize>, out: &mut Vec<f32>) -> candle_core::Result<()> {
        let part = rows.start * self.d_in..rows.end * self.d_in;
        out.resize(part.len(), 0.0);
        match &self.held {
            Held::Packed(packed) => packed.unpack(rows, out),
            Held::Quantised(weight) => {
                let numbers: Vec<u32> = (0..).skip(rows.start).take(rows.len()).collect();
                let wide = weight.embedding(&Tensor::new(numbers, &Device::Cpu)?)?;
                out.copy_from_slice(borrow(&wide.storage_and_layout())?);
            }
            Held::Dense(weight) => {
                let (storage, layout) = weight.storage_and_layout();
                let Storage::Cpu(storage) = &*storage else { candle_core::bail!("expected a matrix on the processor") };
                let part = layout.start_offset() + part.start..layout.start_offset() + part.end;
                match storage {
                    CpuStorage::F32(values) => out.copy_from_slice(&values[part]),
                    CpuStorage::F16(values) => widen_all(&values[part], out, |value| value.to_bits(), of_f16),
                    CpuStorage::BF16(values) => widen_all(&values[part], out, |value| value.to_bits(), of_bf16),
                    _ => candle_core::bail!("frozen matrix of {:?}; expected f32, f16 or bf16", weight.dtype()),
                }
            }
        }
        Ok(())
    }

    /// `x W'` of tensors, on any device and of any type.
    pub(crate) fn of_tensors(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let width = x.dim(D::Minus1)?;
        if width != self.d_in {
            candle_core::bail!("frozen matrix of {} inputs for rows of {width}", self.d_in);
        }
        x.broadcast_matmul(&self.tensor(x.dtype())?.t()?)
    }
}

/// Does `work` with all rows, or with some at a time on all threads.
fn by_rows(
    threads: Threads,
    out: &mut [f32],
    out_width: usize,
    x: &[f32],
    x_width: usize,
    work: impl Fn(&mut [f32], &[f32]) + Sync,
) {
    match threads {
        Threads::One => work(out, x),
        Threads::All => {
            let parts = out.par_chunks_mut((ROWS_PER_TASK * out_width).max(1));
            parts.zip(x.par_chunks((ROWS_PER_TASK * x_width).max(1))).for_each(|(out, x)| work(out, x));
        }
    }
}
