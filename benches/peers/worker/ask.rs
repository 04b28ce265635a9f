//! Our answers to questions: options scored by their mean log-likelihood per token after the prompt, which they share or repeat.

use anyhow::{Context as _, Result, bail};
use bayeslora_data::Silent;
use bayeslora_inference::{Budget, Fitted, Member, Predictor, Reading, Sentences};
use bayeslora_models::{Backbone, HeadOf, SavedAdapter};
use bayeslora_records::FitRecord;
use candle_core::Device;
use ndarray::Array3;

use super::Task;
use super::predict::{Moments, in_f32, moments};
use crate::inputs::Questions;
use crate::plan::BATCH;
use crate::protocol::{Job, Ran, Work};

/// A language model with an adapter, and questions.
pub(super) struct Ask {
    backbone: Backbone,
    fitted: Fitted,
    questions: Questions,
    from: usize,
    /// Whether every option is given the prompt again.
    is_repeated: bool,
    samples: u32,
    seed: u64,
    kept: Option<Moments>,
}

impl Ask {
    pub(super) fn load(job: &Job) -> Result<Self> {
        let Work::Ask { model, adapter, input, samples, .. } = &job.work else { bail!("not questions") };
        let is_repeated = match job.variant.as_str() {
            "shared" => false,
            "repeated" => true,
            other => bail!("unknown variant {other}; expected shared or repeated"),
        };
        let backbone = Backbone::load(model, &Device::Cpu)?;
        let SavedAdapter { adapters, head, posterior } =
            SavedAdapter::load_for(adapter, &backbone, model, HeadOf::Language)?;
        let from = adapters.first_block().unwrap_or(0);
        let members = vec![Member { adapters, head, posterior }];
        let fitted = Fitted { members, record: FitRecord::default(), laplace: None };
        let questions = Questions::read(input)?;
        Ok(Self { backbone, fitted, questions, from, is_repeated, samples: *samples, seed: job.seed, kept: None })
    }

    /// Mean log-likelihoods `[samples, questions, options]`.
    fn predict(&self, samples: u32, questions: &Questions) -> Result<Array3<f32>> {
        let options = questions.options();
        let asked = if self.is_repeated { questions.repeated() } else { questions.clone() };
        let each = if self.is_repeated { 1 } else { options };
        let labels = (Vec::new(), each);
        let budget = (&Budget::default(), &Silent as &dyn bayeslora_data::Progress);
        let sentences = Sentences::of_choices(&self.backbone, asked.to_questions(), labels, 0, self.from, budget)?;
        let predictor =
            Predictor { backbone: &self.backbone, from: self.from, samples, seed: self.seed, progress: &Silent };
        let reading = if samples == 0 { Reading::Mean } else { Reading::Sampled };
        let scores = predictor.logits(&self.fitted, reading, &sentences)?;
        let shape = (scores.len_of(ndarray::Axis(0)), questions.len(), options);
        scores.into_shape_with_order(shape).context("options of every question")
    }
}

impl Task for Ask {
    fn warm(&mut self) -> Result<()> {
        self.predict(self.samples.min(1), &self.questions)?;
        // All samples of some questions: memory is touched.
        self.predict(self.samples.min(20), &self.questions.first(BATCH)).map(|_| ())
    }

    fn run(&mut self) -> Result<Ran> {
        self.kept = Some(moments(&self.predict(self.samples, &self.questions)?));
        let tokens = self.questions.tokens(self.is_repeated);
        Ok(Ran { tokens, padded: tokens, ..Ran::default() })
    }

    fn outputs(&self) -> Result<Vec<f32>> {
        in_f32(&[self.kept.clone().context("nothing has run yet")?])
    }
}
