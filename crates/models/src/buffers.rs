//! The engine of buffers: `f32` on a processor, forward only, in memory that is used again.

use std::sync::{Arc, Mutex, PoisonError};

use bayeslora_adapters::{Activations, AdapterSet, Draw, Scratch, Slot};
use bayeslora_kernels::{
    Activation, AttentionScratch, Context, FrozenLinear, FrozenScratch, Heads, LowRankValues, Onto, Rotary, Threads,
    add_and_normalise, attend_within, borrow, gate_into, product, rms_normalise,
};
use candle_core::{Tensor, Var};

use crate::engine::{At, Engine};
use crate::error::Result;
use crate::norm::Norm;

/// The memory of one pass after another.
#[derive(Debug, Default)]
pub(crate) struct Work {
    free: Arc<Mutex<Vec<Vec<f32>>>>,
    core: Vec<f32>,
    adapter: Scratch,
    attention: AttentionScratch,
    frozen: FrozenScratch,
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
    pub(crate) context: Context,
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

/// The view of `at`. No method, which would borrow the memory as well.
fn view<'v, 'a>(all: &'v View<'a>, read: &'v View<'a>, at: At) -> &'v View<'a> {
    match at {
        At::All => all,
        At::Read => read,
    }
}

impl Engine for Buffers<'_, '_> {
    type X = Buffer;

    fn linear(&mut self, slot: Slot, frozen: &FrozenLinear, x: &Buffer, at: At) -> Result<Buffer> {
        let adapter = self.adapters.get(slot);
        let activations = Activations { values: x.values(), samples: x.samples, rows: x.rows };
        let draw = &view(&self.all, &self.read, at).draw;
        let Work { core, adapter: scratch, .. } = &mut *self.work;
        let samples = match adapter {
            None => x.samples,
            Some(adapter) => adapter.core(slot, activations, draw, scratch, core)?,
        };
        let (d_out, _) = frozen.shape();
        let mut out = self.work.buffer(samples, x.rows, d_out);
        let values = out.values_mut();
        let Work { core, adapter: scratch, frozen: memory, .. } = &mut *self.work;
        let Some(adapter) = adapter else {
            frozen.forward_into(values, x.values(), None, memory)?;
            return Ok(out);
        };
        let lora = adapter.low_rank();
        #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
        let (scale, rank) = (lora.scale() as f32, lora.rank());
        lora.with_values(|_, up| {
            frozen.forward_into(values, x.values(), Some(LowRankValues { core, up, scale, rank }), memory)
        })??;
        adapter.add_offset(slot, activations, draw, scratch, core, values)?;
        Ok(out)
    }

    fn attend(&mut self, query: &Buffer, key: &Buffer, value: &Buffer, heads: &Heads, at: At) -> Result<Buffer> {
        let samples = query.samples.max(key.samples).max(value.samples);
        let mut out = self.work.buffer(samples, query.rows, query.width);
        let context = &view(&self.all, &self.read, at).context;
        for (sample, out) in out.values_mut().chunks_exact_mut(query.rows * query.width).enumerate() {
            let parts = [query.sample(sample), key.sample(sample), value.sample(sample)];
            attend_within(parts, out, context, heads, &mut self.work.attention);
        }
        Ok(out)
    }

    fn turn(&mut self, mut x: Buffer, rotary: &Rotary, at: At) -> Result<Buffer> {
        let positions = view(&self.all, &self.read, at).context.positions();
        rotary.check(positions)?;
        let length = x.rows * x.width;
        for sample in x.values_mut().chunks_exact_mut(length) {
            rotary.turn(sample, positions);
        }
        Ok(x)
    }

    fn norm(&mut self, x: &Buffer, norm: &Norm) -> Result<Buffer> {
        let mut out = self.work.buffer(x.samples, x.rows, x.width);
        out.values_mut().copy_from_slice(x.values());
        match norm {
            Norm::Rms { weight, epsilon } => {
                rms_normalise(out.values_mut(), borrow(&weight.storage_and_layout())?, *epsilon);
            }
            Norm::Layer { weight, bias, epsilon } => {
                let (weight, bias) = (weight.storage_and_layout(), bias.storage_and_layout());
                let zeros = vec![0.0; x.width];
                add_and_normalise(out.values_mut(), &zeros, 0, (borrow(&weight)?, borrow(&bias)?), *epsilon);
            }
        }
        Ok(out)
    }

    fn norm_of_sum(&mut self, x: &Buffer, mut update: Buffer, norm: &Norm) -> Result<Buffer> {
        match norm {
            Norm::Layer { weight, bias, epsilon } => {
                let (weight, bias) = (weight.storage_and_layout(), bias.storage_and_layout());
                add_and_normalise(update.values_mut(), x.values(), 0, (borrow(&weight)?, borrow(&bias)?), *epsilon);
                Ok(update)
            }
            Norm::Rms { .. } => {
                let sum = self.add(x, update)?;
                self.norm(&sum, norm)
            }
        }
    }

    fn add(&mut self, x: &Buffer, update: Buffer) -> Result<Buffer> {
        // What no noise has reached is shorter: it is added to every sample of the other.
        let (mut long, short) = if update.values().len() >= x.values().len() {
            (update, x.values())
        } else {
            let mut copy = self.work.buffer(x.samples, x.rows, x.width);
            copy.values_mut().copy_from_slice(x.values());
            return self.add(&update, copy);
        };
        for part in long.values_mut().chunks_exact_mut(short.len()) {
            part.iter_mut().zip(short).for_each(|(sum, value)| *sum += value);
        }
        Ok(long)
    }

    fn gated(&mut self, activation: Activation, gate: &Buffer, inner: Buffer) -> Result<Buffer> {
        let mut out = self.work.buffer(gate.samples.max(inner.samples), inner.rows, inner.width);
        gate_into(activation, gate.values(), inner.values(), out.values_mut());
        Ok(out)
    }

    fn tanh(&mut self, mut x: Buffer) -> Result<Buffer> {
        for value in x.values_mut() {
            *value = value.tanh();
        }
        Ok(x)
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
pub(crate) fn affine(x: &[f32], weight: &Tensor, bias: Option<&Var>) -> Result<Vec<f32>> {
    let (d_out, d_in) = weight.dims2()?;
    let rows = x.len() / d_in;
    let weight = weight.storage_and_layout();
    let mut out = match bias {
        None => vec![0.0; rows * d_out],
        Some(bias) => borrow(&bias.storage_and_layout())?.repeat(rows),
    };
    product(&mut out, Onto::Values, 1.0, x, borrow(&weight)?, (rows, d_in, d_out), Threads::One);
    Ok(out)
}
