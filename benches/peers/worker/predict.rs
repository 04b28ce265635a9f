//! Our predictives of a saved adapter: embedding, sampling, probabilities, all inside the clock.

use std::path::Path;

use anyhow::{Result, bail};
use bayeslora_data::Silent;
use bayeslora_inference::Reading;
use bayeslora_inference::{Fitted, Member, Predictor, Sentences};
use bayeslora_models::{Backbone, SavedAdapter};
use bayeslora_records::FitRecord;
use candle_core::Device;
use ndarray::{Array3, Axis};

use super::Task;
use crate::inputs::Texts;
use crate::plan::BATCH;
use crate::protocol::{Job, Ran, Work};

/// Our ways to a predictive: the words of contestants.rs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// Independent samples.
    Exact,
    /// Samples that share out the masks: one balanced group, as large as the next power of two.
    Balanced,
    /// No samples of the network: Gaussian logits, and probabilities by draws from them.
    Linearised,
}

/// Draws from Gaussian logits, in as many dimensions as classes.
const DRAWS: usize = 1000;

/// A backbone with an adapter, and how it is read.
pub(super) struct Predict {
    backbone: Backbone,
    fitted: Fitted,
    texts: Texts,
    from: usize,
    way: Way,
    samples: u32,
    batch: usize,
    seed: u64,
    kept: Option<Vec<Moments>>,
}

/// Mean and variance of probabilities and logits of some texts, `[4, texts, classes]`.
pub(super) type Moments = Array3<f64>;

/// A saved adapter as a fit, and the first block it adapts.
pub(super) fn load_fit(backbone: &Backbone, model: &Path, adapter: &Path) -> Result<(Fitted, usize)> {
    let SavedAdapter { adapters, head, posterior } = SavedAdapter::load(adapter, backbone, model, Ok)?;
    let from = adapters.first_block().unwrap_or(0);
    let members = vec![Member { adapters, head, posterior }];
    Ok((Fitted { members, record: FitRecord::default(), laplace: None }, from))
}

impl Predict {
    pub(super) fn load(job: &Job) -> Result<Self> {
        let Work::Predict { model, adapter, input, samples, batch } = &job.work else { bail!("not a prediction") };
        let way = match job.variant.as_str() {
            "exact" => Way::Exact,
            "balanced" => Way::Balanced,
            "linearised" => Way::Linearised,
            other => bail!("unknown variant {other}; expected exact, balanced or linearised"),
        };
        let backbone = Backbone::load(model, &Device::Cpu)?;
        let (fitted, from) = load_fit(&backbone, model, adapter)?;
        let texts = Texts::read(input)?;
        Ok(Self { backbone, fitted, texts, from, way, samples: *samples, batch: *batch, seed: job.seed, kept: None })
    }

    /// What is known of the texts, `batch` of them offered at a time.
    fn predict(&self, samples: u32, texts: &[Vec<u32>]) -> Result<Vec<Moments>> {
        let predictor =
            Predictor { backbone: &self.backbone, from: self.from, samples, seed: self.seed, progress: &Silent };
        let member = &self.fitted.members[0];
        let of_texts = |tokens: &[Vec<u32>]| {
            let labels = vec![0; tokens.len()];
            let sentences = Sentences::of_tokens(&self.backbone, tokens, labels, 0, self.from, &Silent)?;
            let logits = match self.way {
                Way::Linearised => {
                    let gaussian = predictor.linearised(&self.fitted, &sentences)?;
                    let mut moments = moments(&gaussian.samples(DRAWS, self.seed));
                    moments.index_axis_mut(Axis(0), 2).assign(&gaussian.mean());
                    for ((text, class), variance) in moments.index_axis_mut(Axis(0), 3).indexed_iter_mut() {
                        *variance = gaussian.covariance()[[text, class, class]];
                    }
                    return Ok(moments);
                }
                _ if samples == 0 => predictor.logits(&self.fitted, Reading::Mean, &sentences)?,
                Way::Exact => predictor.logits(&self.fitted, Reading::Sampled, &sentences)?,
                Way::Balanced => {
                    let group = samples.next_power_of_two().max(2);
                    let places: Vec<usize> = (0..tokens.len()).collect();
                    let coupling = format!("balanced-{group}").parse()?;
                    predictor.draws(member, coupling, 0..samples, &sentences, &places)?
                }
            };
            Ok(moments(&logits))
        };
        texts.chunks(self.batch).map(of_texts).collect()
    }
}

/// Moments over samples of logits `[samples, texts, classes]`; the variance of one sample is 0.
pub(super) fn moments(logits: &Array3<f32>) -> Moments {
    let (count, texts, classes) = logits.dim();
    let mut moments = Array3::zeros((4, texts, classes));
    let logits = logits.mapv(f64::from);
    for (first, values) in [(0, softmax(&logits)), (2, logits)] {
        let mean = values.mean_axis(Axis(0)).unwrap_or_default();
        if count > 1 {
            let squares = (&values - &mean).mapv(|d| d * d).sum_axis(Axis(0));
            moments.index_axis_mut(Axis(0), first + 1).assign(&(squares / (count - 1) as f64));
        }
        moments.index_axis_mut(Axis(0), first).assign(&mean);
    }
    moments
}

/// The moments of all parts one after another, as they are written.
pub(super) fn in_f32(parts: &[Moments]) -> Result<Vec<f32>> {
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    Ok(ndarray::concatenate(Axis(1), &views)?.iter().map(|&value| narrow(value)).collect())
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

    fn outputs(&self) -> Result<Vec<f32>> {
        let Some(parts) = &self.kept else { bail!("nothing has run yet") };
        in_f32(parts)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the nearest f32 is what the peer writes")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// Probabilities in f64, over the last axis.
fn softmax(logits: &Array3<f64>) -> Array3<f64> {
    let mut values = logits.clone();
    for mut row in values.lanes_mut(Axis(2)) {
        let probabilities = bayeslora_metrics::softmax(&row.to_vec());
        row.assign(&ndarray::Array1::from(probabilities));
    }
    values
}
