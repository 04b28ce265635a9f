//! Predictive samples of a whole network without tensors: what [`classify`](crate::classify) computes, forward only, in
//! buffers that are used again.
//!
//! The work is cut into passes of some sentences and some samples, a bounded number of rows each. A pass runs on one thread
//! from the first adapted block to the logits, so its activations stay in that core's cache and nothing waits for another
//! thread; passes run side by side. Within a pass samples are rows of the same products; what no noise has reached yet is
//! computed once for all samples. Noise belongs to its address, so samples do not depend on how the work is cut.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bayeslora_adapters::{Activations, AdapterSet, Draw, Noise, Rows, Sampling, Scratch, Slot, TargetMap};
use bayeslora_kernels::{
    AttentionScratch, FrozenLinear, Onto, Packing, Threads, add_and_normalise, attend, borrow, product,
};
use candle_core::Tensor;
use rayon::prelude::*;

use crate::bert::{Bert, Norm};
use crate::classifier::{Dense, Head};
use crate::error::{Error, Result};
use crate::slots::pooler_slot;

/// Rows (tokens times samples) of one pass: enough to fill the matrix products, few enough for a core's cache.
const ROWS_PER_PASS: usize = 1024;

/// Sentences as activations below the first adapted block.
#[derive(Debug, Clone, Copy)]
pub struct Hidden<'a> {
    /// `[rows, width]`, packed without padding.
    pub values: &'a [f32],
    /// Rows of each sentence.
    pub lengths: &'a [usize],
    /// Number of each sentence in noise addresses.
    pub examples: &'a [u64],
}

impl Hidden<'_> {
    /// Whether the parts go together.
    pub(crate) fn check(&self, width: usize) -> Result<()> {
        let (sentences, rows) = (self.lengths.len(), self.lengths.iter().sum::<usize>());
        if self.examples.len() != sentences || self.values.len() != rows * width || self.lengths.contains(&0) {
            return Err(Error::Slot {
                what: format!("{} activations for {sentences} sentences", self.values.len()),
                expected: format!("expected {rows} rows of {width} values and a number for every sentence, none empty"),
            });
        }
        Ok(())
    }

    /// Activations of the sentences at `places`, packed.
    pub(crate) fn gather(&self, places: &[usize], width: usize) -> Vec<f32> {
        let packing = Packing::from_lengths(self.lengths);
        let starts = packing.first_rows();
        let mut values = Vec::new();
        for &place in places {
            let start = starts[place] as usize;
            values.extend_from_slice(&self.values[start * width..][..self.lengths[place] * width]);
        }
        values
    }

    /// Places in batches of at most `rows` rows (or one sentence), similar lengths together, the longest first.
    pub(crate) fn batches(&self, rows: usize) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.lengths.len()).collect();
        order.sort_by_key(|&place| std::cmp::Reverse(self.lengths[place]));
        let mut batches = Vec::new();
        let mut rest = order.as_slice();
        while let Some(&longest) = rest.first() {
            let (batch, others) = rest.split_at((rows / self.lengths[longest].max(1)).clamp(1, rest.len()));
            batches.push(batch.to_vec());
            rest = others;
        }
        batches
    }
}

/// What to draw.
#[derive(Debug, Clone)]
pub enum Samples {
    /// Nothing: one pass at the mean.
    Mean,
    /// Samples of these numbers.
    Drawn {
        /// Source of the noise.
        noise: Noise,
        /// Numbers of the samples.
        numbers: Range<u32>,
    },
}

impl Samples {
    /// How many there are: 1 for the mean.
    pub fn count(&self) -> usize {
        match self {
            Self::Mean => 1,
            Self::Drawn { numbers, .. } => numbers.len(),
        }
    }
}

/// A network to draw predictive samples from, on a processor.
#[derive(Debug, Clone, Copy)]
pub struct Sampler<'a> {
    /// The frozen encoder.
    pub bert: &'a Bert,
    /// The classification head.
    pub head: &'a Head,
    /// The adapters.
    pub adapters: &'a AdapterSet,
    /// First block to compute.
    pub from: usize,
}

impl Sampler<'_> {
    /// Logits `[samples, sentences, classes]`, row after row.
    ///
    /// `advance` is called with the rows (tokens times samples) of each finished pass, from any thread.
    ///
    /// # Errors
    /// [`Error::Slot`] when lengths and values do not go together; else what an adapter or a tensor says.
    pub fn logits(&self, hidden: Hidden<'_>, samples: &Samples, advance: &(dyn Fn(u64) + Sync)) -> Result<Vec<f32>> {
        let (classes, count) = (self.head.classes(), samples.count());
        let sentences = hidden.lengths.len();
        hidden.check(self.bert.config().hidden_size)?;
        let pool = Mutex::new(Vec::new());
        let passes = plan(hidden, count, rayon::current_num_threads());
        let parts = passes
            .par_iter()
            .map(|pass| {
                let idle = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let mut work: Work = idle.unwrap_or_default();
                let logits = self.pass(hidden, samples, pass, &mut work);
                pool.lock().unwrap_or_else(PoisonError::into_inner).push(work);
                advance(pass.places.iter().map(|&place| (hidden.lengths[place] * pass.samples.len()) as u64).sum());
                logits
            })
            .collect::<Result<Vec<_>>>()?;
        let mut logits = vec![0.0; count * sentences * classes];
        for (pass, values) in passes.iter().zip(parts) {
            // Where nothing was drawn, one sample stands for all.
            let drawn = values.len() / (pass.places.len() * classes).max(1);
            for (index, sample) in pass.samples.clone().enumerate() {
                let values = &values[index % drawn.max(1) * pass.places.len() * classes..];
                for (value, &place) in values.chunks_exact(classes).zip(&pass.places) {
                    logits[(sample * sentences + place) * classes..][..classes].copy_from_slice(value);
                }
            }
        }
        Ok(logits)
    }

    /// Logits `[samples or 1, sentences of the pass, classes]`.
    fn pass(&self, hidden: Hidden<'_>, samples: &Samples, pass: &Pass, work: &mut Work) -> Result<Vec<f32>> {
        let width = self.bert.config().hidden_size;
        let lengths: Vec<usize> = pass.places.iter().map(|&place| hidden.lengths[place]).collect();
        let examples: Vec<u64> = pass.places.iter().map(|&place| hidden.examples[place]).collect();
        let rows = Rows::of_sentences(&examples, &lengths);
        let first_rows = rows.first_tokens();
        let packing = Packing::from_lengths(&lengths);
        let draw = |rows| match samples {
            Samples::Mean => Draw::Mean,
            Samples::Drawn { noise, numbers } => {
                let number = |index: usize| numbers.clone().nth(index).unwrap_or(numbers.end);
                let samples = number(pass.samples.start)..number(pass.samples.end);
                Draw::Sampled(Sampling { noise: *noise, samples, rows, with_divergence: false })
            }
        };
        let all = View { packing: packing.clone(), draw: draw(&rows) };
        let first = View { packing: Packing::single_rows(packing.len()), draw: draw(&first_rows) };
        work.x.reset(1, packing.rows(), width).copy_from_slice(&hidden.gather(&pass.places, width));
        let last = self.bert.blocks() - 1;
        for block in self.from.min(last)..last {
            self.block(block, &all, &all, work)?;
        }
        self.block(last, &first, &all, work)?;
        let Work { x, inner, linear, .. } = work;
        if let Some(pooler) = &self.bert.pooler {
            self.linear(pooler_slot(self.bert.blocks()), pooler, x, &first.draw, inner, linear)?;
            for value in inner.values_mut() {
                *value = value.tanh();
            }
        } else {
            std::mem::swap(x, inner);
        }
        let Head { weight, bias, dense, .. } = self.head;
        match dense {
            None => affine(inner.values(), weight, bias),
            Some(Dense { weight: dense, bias: shift, activation }) => {
                let mut features = affine(inner.values(), dense, shift)?;
                activation.apply_in_place(&mut features);
                affine(&features, weight, bias)
            }
        }
    }

    /// `work.x` above block `index`, at the rows of `own`, attending to all rows of `all`.
    fn block(&self, index: usize, own: &View<'_>, all: &View<'_>, work: &mut Work) -> Result<()> {
        let block = &self.bert.blocks[index];
        let slot = |map| Slot::new(block.number, map);
        let Work { x, residual, query, key, value, attended, inner, linear, attention } = work;
        self.linear(slot(TargetMap::Key), &block.key, x, &all.draw, key, linear)?;
        self.linear(slot(TargetMap::Value), &block.value, x, &all.draw, value, linear)?;
        if own.packing.rows() < x.rows {
            let width = x.width;
            let out = residual.reset(x.samples, own.packing.rows(), width);
            let first_rows = all.packing.first_rows();
            for (sample, out) in
                x.values().chunks_exact(x.rows * width).zip(out.chunks_exact_mut(first_rows.len() * width))
            {
                for (&row, out) in first_rows.iter().zip(out.chunks_exact_mut(width)) {
                    out.copy_from_slice(&sample[row as usize * width..][..width]);
                }
            }
            std::mem::swap(x, residual);
        }
        self.linear(slot(TargetMap::Query), &block.query, x, &own.draw, query, linear)?;
        let samples = query.samples.max(key.samples).max(value.samples);
        let width = query.width;
        let out = attended.reset(samples, own.packing.rows(), width);
        let heads = (width, self.bert.config().num_attention_heads);
        for (sample, out) in out.chunks_exact_mut(own.packing.rows() * width).enumerate() {
            let (q, k, v) = (query.sample(sample), key.sample(sample), value.sample(sample));
            for (own, all) in own.packing.sentences().zip(all.packing.sentences()) {
                let (own, all) = (own.start * width..own.end * width, all.start * width..all.end * width);
                attend(&q[own.clone()], &k[all.clone()], &v[all], &mut out[own], heads, attention);
            }
        }
        // `query` is free again: it takes the output of the attention.
        self.linear(slot(TargetMap::AttentionOutput), &block.attention_output, attended, &own.draw, query, linear)?;
        normalise(query, x, &block.attention_norm)?;
        self.linear(slot(TargetMap::Intermediate), &block.intermediate, query, &own.draw, inner, linear)?;
        self.bert.activation.apply_in_place(inner.values_mut());
        self.linear(slot(TargetMap::Output), &block.output, inner, &own.draw, x, linear)?;
        normalise(x, query, &block.output_norm)
    }

    /// `out = W0 x + bias + s B e + o`.
    fn linear(
        &self,
        slot: Slot,
        frozen: &FrozenLinear,
        x: &Buffer,
        draw: &Draw<'_>,
        out: &mut Buffer,
        scratch: &mut LinearScratch,
    ) -> Result<()> {
        let LinearScratch { core, adapter: adapter_scratch } = scratch;
        let adapter = self.adapters.get(slot);
        let activations = Activations { values: x.values(), samples: x.samples, rows: x.rows };
        let samples = match adapter {
            None => x.samples,
            Some(adapter) => adapter.core(slot, activations, draw, adapter_scratch, core)?,
        };
        let (d_out, d_in) = frozen.shape();
        let values = out.reset(samples, x.rows, d_out);
        // The frozen product of shared rows once, then a copy for each further sample.
        let (first, others) = values.split_at_mut(x.samples * x.rows * d_out);
        frozen.with_values(|weight, bias| {
            let onto = bias.map_or(Onto::Nothing, |bias| {
                for row in first.chunks_exact_mut(d_out) {
                    row.copy_from_slice(bias);
                }
                Onto::Values
            });
            product(first, onto, 1.0, x.values(), weight, (x.samples * x.rows, d_in, d_out), Threads::One);
        })?;
        if !others.is_empty() {
            for other in others.chunks_exact_mut(first.len()) {
                other.copy_from_slice(first);
            }
        }
        if let Some(adapter) = adapter {
            let lora = adapter.low_rank();
            #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
            let scale = lora.scale() as f32;
            let shape = (samples * x.rows, lora.rank(), d_out);
            lora.with_values(|_, b| product(values, Onto::Values, scale, core, b, shape, Threads::One))?;
            adapter.add_offset(slot, activations, draw, adapter_scratch, core, values)?;
        }
        Ok(())
    }
}

/// `W x + b` of every row.
fn affine(x: &[f32], weight: &Tensor, bias: &Tensor) -> Result<Vec<f32>> {
    let (d_out, d_in) = weight.dims2()?;
    let rows = x.len() / d_in;
    let (weight, bias) = (weight.storage_and_layout(), bias.storage_and_layout());
    let mut out: Vec<f32> = borrow(&bias)?.repeat(rows);
    product(&mut out, Onto::Values, 1.0, x, borrow(&weight)?, (rows, d_in, d_out), Threads::One);
    Ok(out)
}

fn normalise(x: &mut Buffer, residual: &Buffer, norm: &Norm) -> Result<()> {
    let with = |tensor: &Tensor, f: &mut dyn FnMut(&[f32])| -> Result<()> {
        let guard = tensor.storage_and_layout();
        f(borrow(&guard)?);
        Ok(())
    };
    let mut outcome = Ok(());
    with(&norm.weight, &mut |weight| {
        outcome = with(&norm.bias, &mut |bias| {
            add_and_normalise(x.values_mut(), residual.values(), 0, (weight, bias), norm.epsilon);
        });
    })?;
    outcome
}

/// Some rows of a pass and what is drawn at them.
struct View<'a> {
    packing: Packing,
    draw: Draw<'a>,
}

/// Activations `[samples, rows, width]` in memory that is kept.
#[derive(Debug, Default)]
struct Buffer {
    memory: Vec<f32>,
    samples: usize,
    rows: usize,
    width: usize,
}

impl Buffer {
    /// Gives the buffer a shape and returns its values, which are whatever was there.
    fn reset(&mut self, samples: usize, rows: usize, width: usize) -> &mut [f32] {
        (self.samples, self.rows, self.width) = (samples, rows, width);
        let length = samples * rows * width;
        if self.memory.len() < length {
            self.memory.resize(length, 0.0);
        }
        &mut self.memory[..length]
    }

    fn values(&self) -> &[f32] {
        &self.memory[..self.samples * self.rows * self.width]
    }

    fn values_mut(&mut self) -> &mut [f32] {
        &mut self.memory[..self.samples * self.rows * self.width]
    }

    /// Values of sample `index`, or of the one that stands for all.
    fn sample(&self, index: usize) -> &[f32] {
        let length = self.rows * self.width;
        &self.memory[index % self.samples * length..][..length]
    }
}

#[derive(Debug, Default)]
struct LinearScratch {
    core: Vec<f32>,
    adapter: Scratch,
}

/// The memory of one pass.
#[derive(Debug, Default)]
struct Work {
    x: Buffer,
    residual: Buffer,
    query: Buffer,
    key: Buffer,
    value: Buffer,
    attended: Buffer,
    inner: Buffer,
    linear: LinearScratch,
    attention: AttentionScratch,
}

/// Some sentences and some samples of them.
#[derive(Debug, PartialEq, Eq)]
struct Pass {
    places: Vec<usize>,
    /// Counted from the first sample asked for.
    samples: Range<usize>,
}

/// Cuts `count` samples of the sentences into passes of about [`ROWS_PER_PASS`] rows, or fewer, so that every thread has one.
fn plan(hidden: Hidden<'_>, count: usize, threads: usize) -> Vec<Pass> {
    if count == 0 {
        return Vec::new();
    }
    let rows = |places: &[usize]| places.iter().map(|&place| hidden.lengths[place]).sum::<usize>();
    let total = hidden.lengths.iter().sum::<usize>() * count;
    let budget = total.div_ceil(threads).clamp(1, ROWS_PER_PASS);
    let mut passes = Vec::new();
    for places in hidden.batches(budget / count) {
        // Parts of nearly equal size: a small remainder would waste its products.
        let parts = (rows(&places) * count).div_ceil(budget).clamp(1, count);
        for part in 0..parts {
            let samples = part * count / parts..(part + 1) * count / parts;
            passes.push(Pass { places: places.clone(), samples });
        }
    }
    passes
}
