//! What the machine can do at most, matrix products and memory, and what single kernels reach of it.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, bail};
use bayeslora_adapters::{
    Draw, DropoutLora, DropoutSettings, DropoutSite, KeepProbability, LoraShape, LowRank, MaskScope, Noise, Rows,
    Sampling, Slot, StochasticAdapter as _, Stream, TargetMap,
};
use bayeslora_inference::Fitted;
use bayeslora_models::{Backbone, Packing, Pass};
use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::Task;
use super::predict::load_fit;
use crate::cost::{Cost, block, product};
use crate::inputs::{ALPHA, DROPOUT, RANK, Texts, encoder_sizes};
use crate::protocol::{Job, Part, Ran, Work};

/// Shapes `[m, k] x [k, n]` of the product limit: the encoder's at the rows of a pass, a square, an adapter's two halves.
const PRODUCTS: [(usize, usize, usize); 6] =
    [(1280, 384, 1536), (4096, 384, 384), (4096, 1536, 384), (2048, 2048, 2048), (4096, 384, 64), (4096, 64, 384)];
/// Floats of an array of the memory limit: larger than a core's own caches by far.
const FLOATS: usize = 1 << 25;
/// Runs of each part; the least counts.
const RUNS: usize = 7;

pub(super) struct Limits {
    backbone: Backbone,
    fitted: Fitted,
    texts: Texts,
    samples: u32,
}

impl Limits {
    pub(super) fn load(job: &Job) -> Result<Self> {
        let Work::Limits { model, adapter, input, samples } = &job.work else { bail!("not limits") };
        let backbone = Backbone::load(model, &Device::Cpu)?;
        let (fitted, _) = load_fit(&backbone, model, adapter)?;
        Ok(Self { backbone, fitted, texts: Texts::read(input)?, samples: *samples })
    }

    /// One block of the encoder, with samples and without.
    fn blocks(&self, parts: &mut Vec<Part>) -> Result<()> {
        let lengths = self.texts.lengths();
        let packing = Packing::from_lengths(&lengths);
        let sentences: Vec<&[u32]> = self.texts.tokens.iter().map(Vec::as_slice).collect();
        let x = self.backbone.embed(&sentences)?;
        let examples: Vec<u64> = (0..).take(lengths.len()).collect();
        let rows = Rows::of_sentences(&examples, &lengths);
        let noise = Noise::new(1, Stream::Predictive);
        let few = 0..self.samples.min(4);
        let sampling = Sampling { noise, samples: few.clone(), rows: &rows, with_divergence: false };
        let sizes = encoder_sizes(&self.backbone, RANK, 0);
        let adapters = &self.fitted.members[0].adapters;
        for (name, draw, samples) in
            [("block, at the mean", Draw::Mean, 1.0), ("block, sampled", Draw::Sampled(sampling), few.len() as f64)]
        {
            // Activations that differ by sample already, as in every block but the first.
            let x = Tensor::cat(&vec![&x; if samples > 1.0 { few.len() } else { 1 }], 0)?;
            let cost: Cost =
                lengths.iter().map(|&length| block(&sizes, length as f64, length as f64, samples, false, true)).sum();
            parts.push(timed(name, cost, || {
                let pass = &mut Pass::new(adapters, draw.clone());
                black_box(self.backbone.run_blocks(1..2, &x, &packing, pass)?);
                Ok(())
            })?);
        }
        Ok(())
    }
}

/// The least of several runs.
fn timed(name: impl Into<String>, cost: Cost, mut run: impl FnMut() -> Result<()>) -> Result<Part> {
    let mut least = f64::INFINITY;
    for _ in 0..RUNS {
        let started = Instant::now();
        run()?;
        least = least.min(started.elapsed().as_secs_f64());
    }
    Ok(Part { name: name.into(), seconds: least, flops: cost.flops, bytes: cost.bytes })
}

fn products(parts: &mut Vec<Part>) -> Result<()> {
    for (m, k, n) in PRODUCTS {
        let (a, b) = (Tensor::ones((m, k), DType::F32, &Device::Cpu)?, Tensor::ones((n, k), DType::F32, &Device::Cpu)?);
        let cost = product(m as f64, k as f64, n as f64);
        parts.push(timed(format!("product {m} x {k} x {n}"), cost, || {
            black_box(a.matmul(&b.t()?)?);
            Ok(())
        })?);
    }
    Ok(())
}

/// `a = b` and `a = b + s c` on arrays that no cache of a core holds.
fn memory(parts: &mut Vec<Part>) -> Result<()> {
    let (mut a, b, c) = (vec![0.0_f32; FLOATS], vec![1.0_f32; FLOATS], vec![2.0_f32; FLOATS]);
    let chunk = FLOATS.div_ceil(rayon::current_num_threads());
    let bytes = 4.0 * FLOATS as f64;
    parts.push(timed("memory, copy", Cost { flops: 0.0, bytes: 2.0 * bytes }, || {
        a.par_chunks_mut(chunk).zip(b.par_chunks(chunk)).for_each(|(a, b)| a.copy_from_slice(b));
        black_box(&a);
        Ok(())
    })?);
    let cost = Cost { flops: 2.0 * FLOATS as f64, bytes: 3.0 * bytes };
    parts.push(timed("memory, triad", cost, || {
        a.par_chunks_mut(chunk).zip(b.par_chunks(chunk)).zip(c.par_chunks(chunk)).for_each(|((a, b), c)| {
            for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
                *a = *b + 3.0 * *c;
            }
        });
        black_box(&a);
        Ok(())
    })?);
    Ok(())
}

/// The random core of one adapter, at each site, on activations that differ by sample.
fn cores(parts: &mut Vec<Part>) -> Result<()> {
    let (samples, rows, width, rank) = (20_u32, 400, 384, RANK);
    let slot = Slot::new(0, TargetMap::Query);
    let noise = Noise::new(3, Stream::Initial);
    let x = Tensor::ones((samples as usize, rows, width), DType::F32, &Device::Cpu)?;
    let own = Rows::of_sentences(&(0..16).collect::<Vec<u64>>(), &[rows / 16; 16]);
    for site in DropoutSite::ALL {
        let lora = LowRank::initial(slot, (width, width), LoraShape::new(rank, ALPHA)?, &noise, &Device::Cpu)?;
        let settings = DropoutSettings { site, scope: MaskScope::Token, keep: KeepProbability::from_dropout(DROPOUT)? };
        let adapter = DropoutLora::new(lora, settings);
        let cost = product(f64::from(samples) * rows as f64, width as f64, rank as f64);
        parts.push(timed(format!("masks and A x, {site} site"), cost, || {
            let noise = Noise::new(1, Stream::Predictive);
            let sampling = Sampling { noise, samples: 0..samples, rows: &own, with_divergence: false };
            black_box(adapter.increment(slot, &x, &Draw::Sampled(sampling))?.core);
            Ok(())
        })?);
    }
    Ok(())
}

impl Task for Limits {
    fn warm(&mut self) -> Result<()> {
        Ok(())
    }

    fn run(&mut self) -> Result<Ran> {
        let mut parts = Vec::new();
        products(&mut parts)?;
        memory(&mut parts)?;
        cores(&mut parts)?;
        self.blocks(&mut parts)?;
        Ok(Ran { parts, ..Ran::default() })
    }

    fn outputs(&self) -> Result<Vec<f32>> {
        Ok(Vec::new())
    }
}
