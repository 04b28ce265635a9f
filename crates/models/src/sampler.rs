//! Predictive samples of a whole network, forward only: what [`classify`](crate::classify) and [`answer`](crate::answer()) compute. In f32
//! on a processor they are computed in buffers that are used again, elsewhere with tensors.
//!
//! The work is cut into passes of some sentences and some samples, a bounded number of rows each. A pass runs on one thread
//! from the first adapted block to the logits, so its activations stay in that core's cache and nothing waits for another
//! thread; passes run side by side. Within a pass samples are rows of the same products; what no noise has reached yet is
//! computed once for all samples. Noise belongs to its address, so samples do not depend on how the work is cut.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bayeslora_adapters::{AdapterSet, Draw, Noise, Rows, Sampling};
use bayeslora_kernels::{Context, Layout, Packing};
use candle_core::Tensor;
use rayon::prelude::*;

use crate::backbone::Backbone;
use crate::buffers::{Buffers, View, Work, affine};
use crate::classifier::{Dense, Head};
use crate::engine::At;
use crate::error::{Error, Result};
use crate::rows::Values;

/// Rows (tokens times samples) of one pass: enough to fill the matrix products, few enough for a core's cache.
const ROWS_PER_PASS: usize = 1024;
/// The same on an accelerator, which computes one pass after the other.
const ROWS_PER_PASS_THERE: usize = 8192;

/// Sentences as activations below the first adapted block.
#[derive(Debug, Clone, Copy)]
pub struct Hidden<'a> {
    /// `[rows, width]`, packed without padding.
    pub values: Values<'a>,
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
    pub(crate) fn gather(&self, places: &[usize], width: usize) -> Result<Vec<f32>> {
        let packing = Packing::from_lengths(self.lengths);
        let starts = packing.first_rows();
        let mut values = Vec::new();
        for &place in places {
            let start = starts[place] as usize;
            self.values.copy(start * width..(start + self.lengths[place]) * width, &mut values)?;
        }
        Ok(values)
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

/// A network to draw predictive samples from: in buffers where it is in f32 on a processor, elsewhere with tensors.
#[derive(Debug, Clone, Copy)]
pub struct Sampler<'a> {
    /// The frozen backbone.
    pub backbone: &'a Backbone,
    /// The classification head.
    pub head: &'a Head,
    /// The adapters.
    pub adapters: &'a AdapterSet,
    /// First block to compute; their number where activations above the last one are given.
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
        let classes = Classes { head: self.head, lengths: hidden.lengths, is_causal: self.backbone.is_causal() };
        self.asked(hidden, &classes, samples, advance)
    }

    /// What is asked of examples, `[samples, examples, outputs]`, row after row.
    pub(crate) fn asked(
        &self,
        hidden: Hidden<'_>,
        asked: &impl Asked,
        samples: &Samples,
        advance: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<f32>> {
        let (outputs, count) = (asked.outputs(), samples.count());
        let sentences = hidden.lengths.len();
        hidden.check(self.backbone.width())?;
        let place = self.backbone.place();
        let pool = Mutex::new(Vec::new());
        let one = |pass: &Pass| {
            let found = if place.is_plain() {
                let idle = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let mut work: Work = idle.unwrap_or_default();
                let found = self.pass(hidden, asked, samples, pass, &mut work);
                pool.lock().unwrap_or_else(PoisonError::into_inner).push(work);
                found
            } else {
                self.pass_on_tape(hidden, asked, samples, pass)
            };
            advance(pass.places.iter().map(|&place| (hidden.lengths[place] * pass.samples.len()) as u64).sum());
            found
        };
        let (passes, parts): (_, Result<Vec<_>>) = if place.device.is_cpu() {
            let passes = plan(hidden, count, (rayon::current_num_threads(), ROWS_PER_PASS));
            let parts = passes.par_iter().map(one).collect();
            (passes, parts)
        } else {
            let passes = plan(hidden, count, (1, ROWS_PER_PASS_THERE));
            let parts = passes.iter().map(one).collect();
            (passes, parts)
        };
        let parts = parts?;
        let mut all = vec![0.0; count * sentences * outputs];
        for (pass, values) in passes.iter().zip(parts) {
            // Where nothing was drawn, one sample stands for all.
            let drawn = values.len() / (pass.places.len() * outputs).max(1);
            for (index, sample) in pass.samples.clone().enumerate() {
                let values = &values[index % drawn.max(1) * pass.places.len() * outputs..];
                for (value, &place) in values.chunks_exact(outputs.max(1)).zip(&pass.places) {
                    all[(sample * sentences + place) * outputs..][..outputs].copy_from_slice(value);
                }
            }
        }
        Ok(all)
    }

    /// Outputs `[samples or 1, sentences of the pass, outputs]`.
    fn pass(
        &self,
        hidden: Hidden<'_>,
        asked: &impl Asked,
        samples: &Samples,
        pass: &Pass,
        work: &mut Work,
    ) -> Result<Vec<f32>> {
        let width = self.backbone.width();
        let Layouts { packing, rows, read: read_rows } = pass.layouts(hidden, asked);
        let read = rows.at(&read_rows);
        let all = Context::sentences(&packing)?;
        let at_read = all.at_rows(&read_rows)?;
        let mut engine = Buffers {
            adapters: self.adapters,
            all: View { context: all, draw: pass.draw(samples, &rows) },
            read: View { context: at_read, draw: pass.draw(samples, &read) },
            read_rows,
            work,
        };
        let given = hidden.gather(&pass.places, width)?;
        let last = self.backbone.blocks() - 1;
        let mut x;
        if self.from > last {
            x = engine.work.buffer(1, engine.read_rows.len(), width);
            for (row, &place) in x.values_mut().chunks_exact_mut(width).zip(&engine.read_rows) {
                row.copy_from_slice(&given[place as usize * width..][..width]);
            }
        } else {
            x = engine.work.buffer(1, packing.rows(), width);
            x.values_mut().copy_from_slice(&given);
            for block in &self.backbone.blocks[self.from..last] {
                x = block.run(&mut engine, x, At::All)?;
            }
            x = self.backbone.blocks[last].run(&mut engine, x, At::Read)?;
        }
        x = self.backbone.top.run(&mut engine, x, self.backbone.blocks())?;
        asked.answer(&pass.places, x.values())
    }

    /// [`Self::pass`] with tensors.
    fn pass_on_tape(&self, hidden: Hidden<'_>, asked: &impl Asked, samples: &Samples, pass: &Pass) -> Result<Vec<f32>> {
        let Self { backbone, adapters, from, .. } = *self;
        let Layouts { packing, rows, read } = pass.layouts(hidden, asked);
        let values = hidden.gather(&pass.places, backbone.width())?;
        let x = Tensor::from_vec(values, (1, packing.rows(), backbone.width()), backbone.device())?;
        let mut tape = crate::tape::Pass::new(adapters, pass.draw(samples, &rows));
        asked.answer_tensor(&pass.places, &backbone.pooled_at(from, &x, &packing, read, &mut tape)?)
    }
}

/// What is asked of examples, which are known by their places.
pub(crate) trait Asked: Sync {
    /// Numbers that are the answer for an example and a sample.
    fn outputs(&self) -> usize;

    /// How an example's rows lie.
    fn layout(&self, place: usize) -> Layout;

    /// The rows that are read, counted from the example's first.
    fn read(&self, place: usize) -> Range<usize>;

    /// The answers `[samples, places, outputs]`, from what stands above the last block at the rows that are read, `[samples, rows,
    /// width]`.
    fn answer(&self, places: &[usize], x: &[f32]) -> Result<Vec<f32>>;

    /// The same from a tensor, on whatever device.
    fn answer_tensor(&self, places: &[usize], x: &Tensor) -> Result<Vec<f32>>;
}

/// The logits of classes.
struct Classes<'a> {
    head: &'a Head,
    lengths: &'a [usize],
    is_causal: bool,
}

impl Asked for Classes<'_> {
    fn outputs(&self) -> usize {
        self.head.classes()
    }

    fn layout(&self, place: usize) -> Layout {
        Layout::text(self.lengths[place])
    }

    fn read(&self, place: usize) -> Range<usize> {
        let row = if self.is_causal { self.lengths[place] - 1 } else { 0 };
        row..row + 1
    }

    fn answer(&self, _: &[usize], x: &[f32]) -> Result<Vec<f32>> {
        let Head { weight, bias, dense, softcap, .. } = self.head;
        let mut logits = match dense {
            None => affine(x, weight, bias.as_ref())?,
            Some(Dense { weight: dense, bias: shift, activation }) => {
                let mut features = affine(x, dense, Some(shift))?;
                activation.apply_in_place(&mut features);
                affine(&features, weight, bias.as_ref())?
            }
        };
        #[expect(clippy::cast_possible_truncation, reason = "logits are f32")]
        if let Some(cap) = softcap.map(|cap| cap as f32) {
            for logit in &mut logits {
                *logit = cap * (*logit / cap).tanh();
            }
        }
        Ok(logits)
    }

    fn answer_tensor(&self, _: &[usize], x: &Tensor) -> Result<Vec<f32>> {
        Ok(self.head.logits(x)?.flatten_all()?.to_vec1()?)
    }
}

/// Some sentences and some samples of them.
#[derive(Debug, PartialEq, Eq)]
struct Pass {
    places: Vec<usize>,
    /// Counted from the first sample asked for.
    samples: Range<usize>,
}

/// How the rows of a pass lie, their addresses, and which of them are read.
struct Layouts {
    packing: Packing,
    rows: Rows,
    read: Vec<u32>,
}

impl Pass {
    fn layouts(&self, hidden: Hidden<'_>, asked: &impl Asked) -> Layouts {
        let examples: Vec<u64> = self.places.iter().map(|&place| hidden.examples[place]).collect();
        let packing = Packing::from_layouts(self.places.iter().map(|&place| asked.layout(place)));
        let rows = Rows::of_packing(&examples, &packing);
        let read = packing.sentences().zip(&self.places).flat_map(|(sentence, &place)| {
            asked.read(place).map(move |row| u32::try_from(sentence.start + row).unwrap_or(u32::MAX))
        });
        let read = read.collect();
        Layouts { packing, rows, read }
    }

    /// Its samples at `rows`.
    fn draw<'r>(&self, samples: &Samples, rows: &'r Rows) -> Draw<'r> {
        match samples {
            Samples::Mean => Draw::Mean,
            Samples::Drawn { noise, numbers } => {
                let number = |index: usize| numbers.clone().nth(index).unwrap_or(numbers.end);
                let samples = number(self.samples.start)..number(self.samples.end);
                Draw::Sampled(Sampling { noise: *noise, samples, rows, with_divergence: false })
            }
        }
    }
}

/// Cuts `count` samples of the sentences into passes of about `most` rows, or fewer, so that every thread has one.
fn plan(hidden: Hidden<'_>, count: usize, (threads, most): (usize, usize)) -> Vec<Pass> {
    if count == 0 {
        return Vec::new();
    }
    let rows = |places: &[usize]| places.iter().map(|&place| hidden.lengths[place]).sum::<usize>();
    let total = hidden.lengths.iter().sum::<usize>() * count;
    let budget = total.div_ceil(threads).clamp(1, most);
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
