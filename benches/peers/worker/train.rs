//! Our training step: the loop that `bayeslora run` trains with, its clock read at every step.

use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Result, bail};
use bayeslora_adapters::{DropoutSite, LoraShape, MaskScope, Noise, PosteriorSettings, Slot, Stream, derive_seed};
use bayeslora_data::{Progress, Silent};
use bayeslora_inference::Reading;
use bayeslora_inference::train as train_loop;
use bayeslora_inference::{FitContext, Fitted, Predictor, Recipe, Sentences, TrainingSettings};
use bayeslora_models::Backbone;
use candle_core::Device;

use super::Task;
use super::predict::load_fit;
use crate::inputs::Texts;
use crate::protocol::{Job, Ran, Work};

/// Steps before the clock starts: memory is being touched for the first time.
const WARM: usize = 2;

/// Texts to train on, and how.
pub(super) struct Training {
    backbone: Backbone,
    texts: Texts,
    sentences: Sentences,
    slots: Vec<Slot>,
    /// The first block with an adapter.
    from: usize,
    lora: LoraShape,
    posterior: PosteriorSettings,
    settings: TrainingSettings,
    seed: u64,
    fitted: Option<Fitted>,
}

/// Hears of every step; the loop counts three passes per token.
struct StepClock(Mutex<Vec<(Instant, u64)>>);

impl Progress for StepClock {
    fn expect(&self, _: u64) {}
    fn advance(&self, work: u64) {
        if let Ok(mut steps) = self.0.lock() {
            steps.push((Instant::now(), work / 3));
        }
    }
    fn stage(&self, _: &str) {}
    fn note(&self, _: &str) {}
}

impl Training {
    pub(super) fn load(job: &Job) -> Result<Self> {
        let Work::Train { model, adapter, input, rank, alpha, dropout, batch, rate, clip, .. } = &job.work else {
            bail!("not training")
        };
        if job.variant != "exact" {
            bail!("unknown variant {}; expected exact", job.variant);
        }
        let backbone = Backbone::load(model, &Device::Cpu)?;
        let texts = Texts::read(input)?;
        let (start, from) = load_fit(&backbone, model, adapter)?;
        let slots = start.members[0].adapters.iter().map(|(slot, _)| slot).collect();
        let sentences = texts.sentences(&backbone, from)?;
        let settings = TrainingSettings {
            epochs: 1,
            batch_size: *batch,
            learning_rate: *rate,
            warmup: 0.0,
            clip_norm: *clip,
            ..TrainingSettings::default()
        };
        let posterior =
            PosteriorSettings::Dropout { site: DropoutSite::Input, scope: MaskScope::Token, dropout: *dropout };
        let lora = LoraShape::new(*rank, *alpha)?;
        Ok(Self { backbone, texts, sentences, slots, from, lora, posterior, settings, seed: job.seed, fitted: None })
    }

    fn train(&self, sentences: &Sentences, progress: &dyn Progress) -> Result<Fitted> {
        let folder = tempfile::tempdir()?;
        let validation = self.texts.first(1).sentences(&self.backbone, self.from)?;
        let bench = FitContext {
            backbone: &self.backbone,
            from: self.from,
            slots: &self.slots,
            lora: self.lora,
            train_head: true,
            training: &self.settings,
            train: sentences,
            validation: &validation,
            classes: 2,
            language: None,
            seed: self.seed,
            folder: folder.path(),
            progress,
        };
        Ok(train_loop(&bench, &Recipe::plain(self.posterior), 0)?)
    }
}

/// The order in which the loop takes `count` texts in its first epoch.
pub(crate) fn order(seed: u64, count: usize) -> Vec<usize> {
    Noise::new(derive_seed(seed, 0), Stream::Order).permutation(count, 0)
}

impl Task for Training {
    fn warm(&mut self) -> Result<()> {
        let few = self.texts.first(WARM * self.settings.batch_size).sentences(&self.backbone, self.from)?;
        self.train(&few, &Silent).map(|_| ())
    }

    fn run(&mut self) -> Result<Ran> {
        let clock = StepClock(Mutex::default());
        self.fitted = Some(self.train(&self.sentences, &clock)?);
        let steps = clock.0.into_inner().unwrap_or_default();
        let steps = &steps[..self.sentences.len().div_ceil(self.settings.batch_size).min(steps.len())];
        let (Some(first), Some(last)) = (steps.get(WARM - 1), steps.last()) else { bail!("no step was heard of") };
        let tokens = steps[WARM..].iter().map(|step| step.1).sum();
        let seconds = last.0.duration_since(first.0).as_secs_f64();
        Ok(Ran { seconds, tokens, padded: tokens, ..Ran::default() })
    }

    /// Logits of the first batch at the mean of the posterior, after training.
    fn outputs(&self) -> Result<Vec<f32>> {
        let Some(fitted) = &self.fitted else { bail!("nothing has run yet") };
        let predictor = Predictor { backbone: &self.backbone, from: self.from, samples: 0, seed: 0, progress: &Silent };
        let logits = predictor.logits(fitted, Reading::Mean, &self.sentences)?;
        let first = order(self.seed, self.sentences.len());
        let first = &first[..self.settings.batch_size.min(first.len())];
        Ok(first.iter().flat_map(|&place| [logits[[0, place, 0]], logits[[0, place, 1]]]).collect())
    }
}
