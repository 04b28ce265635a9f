//! Our samples of one adapted map, `[samples, rows, d_out]`.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use bayeslora_adapters::files::read_tensors;
use bayeslora_adapters::{
    DropoutLora, DropoutSettings, DropoutSite, KeepProbability, LowRank, MaskScope, Noise, Rows, Sampling, Slot,
    Stream, TargetMap,
};
use bayeslora_models::{rows_alone, sample_layer};
use candle_core::{Device, Tensor};

use super::Task;
use crate::protocol::{Job, Ran, Work};

/// Calls of a run, whose mean is reported, on both sides: one call takes milliseconds, and the first after a wait also wakes
/// the threads and fills the caches.
const CALLS: u32 = 5;

const SLOT: Slot = Slot::new(0, TargetMap::Query);

/// A frozen map with its adapter.
pub(super) struct Layer {
    x: Tensor,
    /// `W0` and the bias.
    frozen: (Tensor, Tensor),
    adapter: DropoutLora,
    rows: Rows,
    samples: u32,
    seed: u64,
    kept: Vec<f32>,
}

impl Layer {
    pub(super) fn load(job: &Job) -> Result<Self> {
        let Work::Layer { input, scale, dropout, samples } = &job.work else { bail!("not a layer") };
        let tensors = read_tensors(input, &Device::Cpu)?;
        let tensor = |name: &str| tensors.get(name).with_context(|| format!("{} has no {name}", input.display()));
        let (x, w) = (tensor("x")?, tensor("w")?);
        let site: DropoutSite = job.variant.parse()?;
        let lora = LowRank::from_tensors(SLOT, w.dims2()?, tensor("a")?, tensor("b")?, *scale)?;
        let keep = KeepProbability::from_dropout(*dropout)?;
        let adapter = DropoutLora::new(lora, DropoutSettings { site, scope: MaskScope::Token, keep });
        let rows = x.dim(0)?;
        Ok(Self {
            x: x.clone(),
            frozen: (w.clone(), tensor("bias")?.clone()),
            adapter,
            rows: rows_alone(rows),
            samples: *samples,
            seed: job.seed,
            kept: Vec::new(),
        })
    }

    /// What is timed; from the second call on into memory that is there.
    fn sample(&mut self) -> Result<()> {
        let noise = Noise::new(self.seed, Stream::Predictive);
        let sampling = Sampling { noise, samples: 0..self.samples, rows: &self.rows, with_divergence: false };
        let (weight, bias) = &self.frozen;
        Ok(sample_layer((weight, bias), &self.adapter, SLOT, &self.x, &sampling, &mut self.kept)?)
    }
}

impl Task for Layer {
    fn warm(&mut self) -> Result<()> {
        self.sample()
    }

    fn run(&mut self) -> Result<Ran> {
        let started = Instant::now();
        for _ in 0..CALLS {
            self.sample()?;
        }
        Ok(Ran { seconds: (started.elapsed() / CALLS).as_secs_f64(), ..Ran::default() })
    }

    /// Mean and variance over samples, `[2, rows, d_out]`.
    fn outputs(&self) -> Result<Vec<f32>> {
        let shape = (self.samples as usize, self.rows.len(), self.frozen.0.dim(0)?);
        let kept = Tensor::from_slice(&self.kept, shape, &Device::Cpu)?.to_dtype(candle_core::DType::F64)?;
        let mean = kept.mean(0)?;
        let squares = kept.broadcast_sub(&mean.unsqueeze(0)?)?.sqr()?.sum(0)?;
        let variance = (squares / f64::from(self.samples - 1))?;
        Ok(Tensor::cat(&[mean.flatten_all()?, variance.flatten_all()?], 0)?
            .to_dtype(candle_core::DType::F32)?
            .to_vec1()?)
    }
}
