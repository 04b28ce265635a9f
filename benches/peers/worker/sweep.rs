//! Several fits and their samples, as a sweep over seeds and methods makes them: with the frozen prefix computed once for all, or with
//! the whole network at every step.

use anyhow::{Result, bail};
use bayeslora_adapters::{DropoutSite, LoraShape, MaskScope, PosteriorSettings};
use bayeslora_data::Silent;
use bayeslora_inference::Reading;
use bayeslora_inference::{FitContext, Predictor, Recipe, Sentences, TrainingSettings, train};
use bayeslora_models::{Backbone, target_slots};
use candle_core::Device;

use super::Task;
use crate::inputs::{ALPHA, DROPOUT, Texts, six_maps};
use crate::plan::BATCH;
use crate::protocol::{Job, Ran, Work};

/// Texts, how often they are fitted and sampled, and which blocks are adapted.
pub(super) struct Sweep {
    backbone: Backbone,
    texts: Texts,
    blocks: usize,
    rank: usize,
    fits: u32,
    samples: u32,
    seed: u64,
    is_shared: bool,
    /// Logits of the last fit.
    kept: Vec<f32>,
}

impl Sweep {
    pub(super) fn load(job: &Job) -> Result<Self> {
        let Work::Sweep { model, input, blocks, rank, fits, samples } = &job.work else { bail!("not a sweep") };
        let is_shared = match job.variant.as_str() {
            "shared" => true,
            "recomputed" => false,
            other => bail!("unknown variant {other}; expected shared or recomputed"),
        };
        let backbone = Backbone::load(model, &Device::Cpu)?;
        let texts = Texts::read(input)?;
        let (blocks, rank, fits, samples, seed) = (*blocks, *rank, *fits, *samples, job.seed);
        Ok(Self { backbone, texts, blocks, rank, fits, samples, seed, is_shared, kept: Vec::new() })
    }

    /// One fit of `sentences`, whose activations are those below block `from`, and its samples of them.
    fn fit(&self, sentences: &Sentences, from: usize, seed: u64) -> Result<Vec<f32>> {
        let folder = tempfile::tempdir()?;
        let all = self.backbone.blocks();
        let adapted: Vec<usize> = (all - self.blocks..all).collect();
        let slots = target_slots(&self.backbone, &adapted, &six_maps(&self.backbone))?;
        let training = TrainingSettings { epochs: 1, batch_size: BATCH, ..TrainingSettings::default() };
        let bench = FitContext {
            backbone: &self.backbone,
            from,
            slots: &slots,
            lora: LoraShape::new(self.rank, ALPHA)?,
            train_head: true,
            training: &training,
            train: sentences,
            validation: sentences,
            classes: 2,
            language: None,
            seed,
            folder: folder.path(),
            progress: &Silent,
        };
        let (site, scope) = (DropoutSite::Input, MaskScope::Token);
        let posterior = PosteriorSettings::Dropout { site, scope, dropout: DROPOUT };
        let fitted = train(&bench, &Recipe::plain(posterior), 0)?;
        let predictor = Predictor { backbone: &self.backbone, from, samples: self.samples, seed, progress: &Silent };
        Ok(predictor.logits(&fitted, Reading::Sampled, sentences)?.into_iter().collect())
    }

    fn sweep(&self, texts: &Texts, fits: u32) -> Result<Vec<f32>> {
        let from = if self.is_shared { self.backbone.blocks() - self.blocks } else { 0 };
        let sentences = texts.sentences(&self.backbone, from)?;
        let mut logits = Vec::new();
        for fit in 0..u64::from(fits) {
            logits = self.fit(&sentences, from, self.seed + fit)?;
        }
        Ok(logits)
    }
}

impl Task for Sweep {
    fn warm(&mut self) -> Result<()> {
        self.sweep(&self.texts.first(2 * BATCH), 1).map(|_| ())
    }

    fn run(&mut self) -> Result<Ran> {
        self.kept = self.sweep(&self.texts, self.fits)?;
        let tokens = self.texts.count() * u64::from(self.fits);
        Ok(Ran { tokens, padded: tokens, ..Ran::default() })
    }

    fn outputs(&self) -> Result<Vec<f32>> {
        if self.kept.is_empty() {
            bail!("nothing has run yet");
        }
        Ok(self.kept.clone())
    }
}
