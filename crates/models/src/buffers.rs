//! The engine of buffers: `f32` on a processor, forward only, in memory that is used again.

use std::sync::{Arc, Mutex, PoisonError};

use bayeslora_adapters::{Activations, AdapterSet, Draw, Scratch, Slot};
use bayeslora_kernels::{
    Activation, AttentionScratch, FrozenLinear, Onto, Packing, Threads, add_and_normalise, attend, borrow, product,
};
use candle_core::Tensor;

use crate::block::Norm;
use crate::engine::{At, Engine};
use crate::error::Result;

/// The memory of one pass after another.
#[derive(Debug, Default)]
pub(crate) struct Work {
    free: Arc<Mutex<Vec<Vec<f32>>>>,
    core: Vec<f32>,
    adapter: Scratch,
    attention: AttentionScratch,
}

/// Activations `[samples, rows, width]`, whose memory goes back to where it came from.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: Vec<f32>,
    samples: usize,
    rows: usize,
    width: usize,
    home: Arc<Mutex<Vec<Vec<f32>>>>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        self.home.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}

impl Work {
    /// Activations whose values are whatever was there.
    pub(crate) fn buffer(&self, samples: usize, rows: usize, width: usize) -> Buffer {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut memory = free.unwrap_or_default();
        let length = samples * rows * width;
        if memory.len() < length {
            memory.resize(length, 0.0);
        }
        Buffer { memory, samples, rows, width, home: Arc::clone(&self.free) }
    }
}

impl Buffer {
    pub(crate) fn values(&self) -> &[f32] {
        &self.memory[..self.samples * self.rows * self.width]
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.memory[..self.samples * self.rows * self.width]
    }

    /// Values of sample `index`, or of the one that stands for all.
    fn sample(&self, index: usize) -> &[f32] {
        let length = self.rows * self.width;
        &self.memory[index % self.samples * length..][..length]
    }
}

/// Some rows of a pass and what is drawn at them.
pub(crate) struct View<'a> {
    pub(crate) packing: Packing,
    pub(crate) draw: Draw<'a>,
}

/// A pass at all rows of some texts and at those that are read, on the caller's thread.
pub(crate) struct Buffers<'p, 'a> {
    pub(crate) adapters: &'p AdapterSet,
    pub(crate) all: View<'a>,
    pub(crate) read: View<'a>,
    /// Where the rows that are read lie among all, one a text.
    pub(crate) read_rows: Vec<u32>,
    pub(crate) work: &'p mut Work,
}

impl Engine for Buffers<'_, '_> {
    type X = Buffer;

    fn linear(&mut self, slot: Slot, frozen: &FrozenLinear, x: &Buffer, at: At) -> Result<Buffer> {
        let adapter = self.adapters.get(slot);
        let activations = Activations { values: x.values(), samples: x.samples, rows: x.rows };
        let draw = match at {
            At::All => &self.all.draw,
            At::Read => &self.read.draw,
        };
        let Work { core, adapter: scratch, .. } = &mut *self.work;
        let samples = match adapter {
            None => x.samples,
            Some(adapter) => adapter.core(slot, activations, draw, scratch, core)?,
        };
        let (d_out, d_in) = frozen.shape();
        let mut out = self.work.buffer(samples, x.rows, d_out);
        let values = out.values_mut();
        // The frozen product of shared rows once, then a copy for each further sample.
        let (first, others) = values.split_at_mut(x.samples * x.rows * d_out);
        frozen.with_values(|weight, bias| {
            for row in first.chunks_exact_mut(d_out) {
                row.copy_from_slice(bias);
            }
            product(first, Onto::Values, 1.0, x.values(), weight, (x.samples * x.rows, d_in, d_out), Threads::One);
        })?;
        if !others.is_empty() {
            for other in others.chunks_exact_mut(first.len()) {
                other.copy_from_slice(first);
            }
        }
        if let Some(adapter) = adapter {
            let Work { core, adapter: scratch, .. } = &mut *self.work;
            let lora = adapter.low_rank();
            #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
            let scale = lora.scale() as f32;
            let shape = (samples * x.rows, lora.rank(), d_out);
            lora.with_values(|_, b| product(values, Onto::Values, scale, core, b, shape, Threads::One))?;
            adapter.add_offset(slot, activations, draw, scratch, core, values)?;
        }
        Ok(out)
    }

    fn attend(&mut self, query: &Buffer, key: &Buffer, value: &Buffer, heads: usize, at: At) -> Result<Buffer> {
        let (samples, width) = (query.samples.max(key.samples).max(value.samples), query.width);
        let mut out = self.work.buffer(samples, query.rows, width);
        let own = match at {
            At::All => &self.all.packing,
            At::Read => &self.read.packing,
        };
        for (sample, out) in out.values_mut().chunks_exact_mut(query.rows * width).enumerate() {
            let (q, k, v) = (query.sample(sample), key.sample(sample), value.sample(sample));
            for (own, all) in own.sentences().zip(self.all.packing.sentences()) {
                let (own, all) = (own.start * width..own.end * width, all.start * width..all.end * width);
                let out = &mut out[own.clone()];
                attend(&q[own], &k[all.clone()], &v[all], out, (width, heads), &mut self.work.attention);
            }
        }
        Ok(out)
    }

    fn norm_of_sum(&mut self, x: &Buffer, mut update: Buffer, norm: &Norm) -> Result<Buffer> {
        let (weight, bias) = (norm.weight.storage_and_layout(), norm.bias.storage_and_layout());
        let weights = (borrow(&weight)?, borrow(&bias)?);
        add_and_normalise(update.values_mut(), x.values(), 0, weights, norm.epsilon);
        Ok(update)
    }

    fn activate(&mut self, mut x: Buffer, activation: Activation) -> Result<Buffer> {
        activation.apply_in_place(x.values_mut());
        Ok(x)
    }

    fn read(&mut self, x: &Buffer) -> Result<Buffer> {
        let width = x.width;
        let mut out = self.work.buffer(x.samples, self.read_rows.len(), width);
        let samples = out.values_mut().chunks_exact_mut(self.read_rows.len() * width);
        for (sample, out) in x.values().chunks_exact(x.rows * width).zip(samples) {
            for (&row, out) in self.read_rows.iter().zip(out.chunks_exact_mut(width)) {
                out.copy_from_slice(&sample[row as usize * width..][..width]);
            }
        }
        Ok(out)
    }
}

/// `W x + b` of every row.
pub(crate) fn affine(x: &[f32], weight: &Tensor, bias: &Tensor) -> Result<Vec<f32>> {
    let (d_out, d_in) = weight.dims2()?;
    let rows = x.len() / d_in;
    let (weight, bias) = (weight.storage_and_layout(), bias.storage_and_layout());
    let mut out: Vec<f32> = borrow(&bias)?.repeat(rows);
    product(&mut out, Onto::Values, 1.0, x, borrow(&weight)?, (rows, d_in, d_out), Threads::One);
    Ok(out)
}
