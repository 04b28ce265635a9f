//! Answers as texts: the log-likelihood of each answer's tokens after its prompt, under the model's own language head.
//!
//! The answers of a question share their prompt's activations and, position by position, its noise: they differ by what they say. The
//! logit of an answer is the sum of its tokens' log-likelihoods, their mean, or the sum over its characters ([`Normalisation`]); a softmax
//! over the answers makes probabilities of them.

use std::ops::Range;

use bayeslora_adapters::{AdapterSet, Draw};
use bayeslora_kernels::{LanguageMap, Layout, Threads, borrow, log_likelihoods};
use candle_core::{DType, Tensor};

use crate::backbone::Backbone;
use crate::classifier::{Head, Output};
use crate::error::{Error, Result};
use crate::question::{Normalisation, Question, joint_targets, most_answers};
use crate::sampler::{Asked, Hidden, Sampler, Samples};
use crate::tape::Pass;

/// Logits of the questions' answers, with gradients, from activations `x [1, rows, width]` below block `from`, packed as
/// [`Question::packing`] says; the draw's rows are those of that packing.
///
/// # Shapes
/// `[samples or 1, questions, most answers of one]`. A question with fewer answers has negative infinity for the others: their
/// probability is 0, and so is every gradient by it.
///
/// # Errors
/// [`Error::Slot`] for a question without prompt or answers and for a head that is no [language head](Head::language); when shapes do not
/// go together.
#[expect(clippy::too_many_arguments, reason = "those of `classify`, with questions in place of their packing")]
pub fn answer(
    backbone: &Backbone,
    head: &Head,
    adapters: &AdapterSet,
    draw: Draw<'_>,
    from: usize,
    x: &Tensor,
    questions: &[&Question],
    normalisation: Normalisation,
) -> Result<Output> {
    questions.iter().try_for_each(|question| question.check())?;
    head.check_language()?;
    let packing = Question::packing(questions.iter().copied());
    let rows = packing.sentences().zip(questions).flat_map(|(rows, question)| {
        question.read().map(move |row| u32::try_from(rows.start + row).unwrap_or(u32::MAX))
    });
    let mut pass = Pass::new(adapters, draw);
    let read = backbone.pooled_at(from, x, &packing, rows.collect(), &mut pass)?;
    Ok(Output { logits: logits_of(&read, head, questions, normalisation)?, divergence: pass.divergence()? })
}

/// Logits `[samples or 1, questions, most answers of one]` of the questions' answers, from what a language head reads, `[samples or 1, rows,
/// width]`.
fn logits_of(read: &Tensor, head: &Head, questions: &[&Question], normalisation: Normalisation) -> Result<Tensor> {
    let found = log_likelihoods(read, &head.weight, head.softcap, &joint_targets(questions))?;
    let (samples, count) = found.dims2()?;
    let most = most_answers(questions.iter().copied());
    // A sum of shares is a product with few columns.
    let mut shares = vec![0.0_f32; count * questions.len() * most];
    let mut missing = vec![f32::NEG_INFINITY; questions.len() * most];
    let mut target = 0;
    for (place, question) in questions.iter().enumerate() {
        for (answer, share) in question.shares(normalisation) {
            shares[target * questions.len() * most + place * most + answer] = share;
            missing[place * most + answer] = 0.0;
            target += 1;
        }
    }
    let shares = Tensor::from_vec(shares, (count, questions.len() * most), read.device())?;
    let missing = Tensor::from_vec(missing, (1, questions.len(), most), read.device())?;
    let logits = found.to_dtype(DType::F32)?.matmul(&shares)?.reshape((samples, questions.len(), most))?;
    Ok(logits.broadcast_add(&missing)?)
}

impl Sampler<'_> {
    /// Logits of the questions' answers as [`answer`] gives them, forward only; `hidden` has the rows of each question. The logits of
    /// the vocabulary are never in memory for all rows.
    ///
    /// # Shapes
    /// `[samples, questions, most answers of one]`, negative infinity where a question has fewer.
    ///
    /// # Errors
    /// As [`answer`], and as [`Sampler::logits`].
    pub fn answers(
        &self,
        hidden: Hidden<'_>,
        questions: &[&Question],
        normalisation: Normalisation,
        samples: &Samples,
        advance: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<f32>> {
        self.check_questions(hidden, questions)?;
        let most = most_answers(questions.iter().copied());
        self.asked(hidden, &Texts { head: self.head, questions, normalisation, most }, samples, advance)
    }

    /// Refuses questions that are none, or not those of the activations.
    pub(crate) fn check_questions(&self, hidden: Hidden<'_>, questions: &[&Question]) -> Result<()> {
        questions.iter().try_for_each(|question| question.check())?;
        self.head.check_language()?;
        let lengths: Vec<usize> = questions.iter().map(|question| question.layout().rows()).collect();
        if lengths != hidden.lengths {
            return Err(Error::Slot {
                what: format!("rows {:?} for the questions", hidden.lengths),
                expected: format!(
                    "expected {lengths:?}: those of each prompt and of its answers without their last tokens"
                ),
            });
        }
        Ok(())
    }
}

impl Head {
    /// Calls `f` with the language head on a processor.
    pub(crate) fn with_language<T>(&self, f: impl FnOnce(LanguageMap<'_>) -> T) -> Result<T> {
        let guard = self.weight.storage_and_layout();
        #[expect(clippy::cast_possible_truncation, reason = "logits are f32")]
        let cap = self.softcap.map(|cap| cap as f32);
        Ok(f(LanguageMap { weight: borrow(&guard)?, width: self.weight.dim(1)?, cap }))
    }
}

/// The logits of answers.
struct Texts<'a> {
    head: &'a Head,
    questions: &'a [&'a Question],
    normalisation: Normalisation,
    most: usize,
}

impl Asked for Texts<'_> {
    fn outputs(&self) -> usize {
        self.most
    }

    fn layout(&self, place: usize) -> Layout {
        self.questions[place].layout()
    }

    fn read(&self, place: usize) -> Range<usize> {
        self.questions[place].read()
    }

    fn answer(&self, places: &[usize], x: &[f32]) -> Result<Vec<f32>> {
        let questions: Vec<&Question> = places.iter().map(|&place| self.questions[place]).collect();
        let targets = joint_targets(&questions);
        let rows = questions.iter().map(|question| question.read().len()).sum();
        let (found, _) = self.head.with_language(|map| map.log_likelihoods(x, rows, &targets, Threads::One))?;
        let mut logits = Vec::new();
        for sample in found.chunks_exact(targets.len().max(1)) {
            let mut sample = sample;
            for question in &questions {
                let shares = question.shares(self.normalisation);
                let (own, rest) = sample.split_at(shares.len());
                sample = rest;
                let start = logits.len();
                logits.resize(start + question.answers.len(), 0.0);
                for ((answer, share), value) in shares.into_iter().zip(own) {
                    logits[start + answer] += share * value;
                }
                logits.resize(start + self.most, f32::NEG_INFINITY);
            }
        }
        Ok(logits)
    }

    fn answer_tensor(&self, places: &[usize], x: &Tensor) -> Result<Vec<f32>> {
        let questions: Vec<&Question> = places.iter().map(|&place| self.questions[place]).collect();
        let found = logits_of(x, self.head, &questions, self.normalisation)?;
        let own = found.dim(2)?;
        let mut logits = Vec::new();
        for found in found.flatten_all()?.to_vec1::<f32>()?.chunks_exact(own.max(1)) {
            logits.extend_from_slice(found);
            logits.resize(logits.len() + self.most - own, f32::NEG_INFINITY);
        }
        Ok(logits)
    }
}
