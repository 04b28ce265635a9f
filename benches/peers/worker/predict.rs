//! Our predictives of a saved adapter: embedding, sampling, probabilities, all inside the clock.

use std::path::Path;

use anyhow::{Result, bail};
use bayeslora_compare::methods::Reading;
use bayeslora_compare::record::FitRecord;
use bayeslora_compare::{Fitted, Member, Predictor, Sentences, Silent};
use bayeslora_models::{Bert, SavedAdapter};
use candle_core::Device;
use ndarray::{Array2, Array3, Axis};

use super::Task;
use crate::inputs::Texts;
use crate::protocol::{Job, Ran, Work};
use crate::sets::BATCH;

/// A backbone with an adapter, and how it is read.
pub(super) struct Predict {
    bert: Bert,
    fitted: Fitted,
    texts: Texts,
    from: usize,
    samples: u32,
    batch: usize,
    seed: u64,
    kept: Option<(Array3<f32>, Array2<f64>)>,
}

/// A saved adapter as a fit, and the first block it adapts.
pub(super) fn load_fit(bert: &Bert, model: &Path, adapter: &Path) -> Result<(Fitted, usize)> {
    let SavedAdapter { adapters, head, posterior } = SavedAdapter::load(adapter, bert, model, Ok)?;
    let from = adapters.first_block().unwrap_or(0);
    let record = FitRecord {
        trainable_parameters: 0,
        steps: 0,
        validation_nll: Vec::new(),
        best_epoch: Vec::new(),
        seconds: 0.0,
        tokens_per_second: 0.0,
    };
    Ok((Fitted { members: vec![Member { adapters, head, posterior }], record }, from))
}

impl Predict {
    pub(super) fn load(job: &Job) -> Result<Self> {
        let Work::Predict { model, adapter, input, samples, batch } = &job.work else { bail!("not a prediction") };
        // The words of contestants.rs; each is a way through `predict` below.
        if job.variant != "exact" {
            bail!("unknown variant {}; expected exact", job.variant);
        }
        let bert = Bert::load(model, &Device::Cpu)?;
        let (fitted, from) = load_fit(&bert, model, adapter)?;
        let texts = Texts::read(input)?;
        Ok(Self { bert, fitted, texts, from, samples: *samples, batch: *batch, seed: job.seed, kept: None })
    }

    /// Logits and mean probabilities of the texts, `batch` of them offered at a time.
    fn predict(&self, samples: u32, texts: &[Vec<u32>]) -> Result<(Array3<f32>, Array2<f64>)> {
        let predictor = Predictor { bert: &self.bert, from: self.from, samples, seed: self.seed, progress: &Silent };
        let reading = if samples == 0 { Reading::Mean } else { Reading::Sampled };
        let mut parts = Vec::new();
        for tokens in texts.chunks(self.batch) {
            let labels = vec![0; tokens.len()];
            let sentences = Sentences::of_tokens(&self.bert, tokens, labels, 0, self.from, &Silent)?;
            parts.push(predictor.logits(&self.fitted, reading, &sentences)?);
        }
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        let logits = ndarray::concatenate(Axis(1), &views)?;
        let probabilities = softmax(&logits).mean_axis(Axis(0)).unwrap_or_default();
        Ok((logits, probabilities))
    }
}

impl Task for Predict {
    fn warm(&mut self) -> Result<()> {
        self.predict(self.samples.min(1), &self.texts.tokens)?;
        // All samples of some texts: memory is touched.
        let few = &self.texts.tokens[..self.texts.tokens.len().min(BATCH)];
        self.predict(self.samples.min(20), few).map(|_| ())
    }

    fn run(&mut self) -> Result<Ran> {
        self.kept = Some(self.predict(self.samples, &self.texts.tokens)?);
        let tokens = self.texts.count();
        Ok(Ran { tokens, padded: tokens, ..Ran::default() })
    }

    /// Means and variances over samples of probabilities and logits, `[4, texts, classes]`; the variance of one is 0.
    fn outputs(&self) -> Result<Vec<f32>> {
        let Some((logits, _)) = &self.kept else { bail!("nothing has run yet") };
        let logits = logits.mapv(f64::from);
        let mut values = Vec::new();
        for values_of in [softmax(&logits), logits] {
            let count = values_of.len_of(Axis(0));
            let mean = values_of.mean_axis(Axis(0)).unwrap_or_default();
            let squares = (&values_of - &mean).mapv(|d| d * d).sum_axis(Axis(0));
            let variance = if count > 1 { squares / (count - 1) as f64 } else { squares * 0.0 };
            values.extend(mean.iter().chain(&variance).map(|&value| narrow(value)));
        }
        Ok(values)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the nearest f32 is what the peer writes")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// Probabilities in f64, over the last axis.
fn softmax<T: Copy + Into<f64>>(logits: &Array3<T>) -> Array3<f64> {
    let mut values = logits.mapv(Into::into);
    for mut row in values.lanes_mut(Axis(2)) {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        row.mapv_inplace(|logit: f64| (logit - largest).exp());
        let total = row.sum();
        row.mapv_inplace(|value| value / total);
    }
    values
}
