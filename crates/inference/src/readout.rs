//! The logits of a batch, of classes or of answers: what training, validation and prediction share.

use bayeslora_adapters::Draw;
use bayeslora_models::{Backbone, Hidden, Normalisation, Output, Question, Sampler, Samples, answer, classify};

use crate::error::{Error, Result};
use crate::member::Member;
use crate::prefix::{Batch, Sentences};

/// How answers are read in experiments: sums of log-likelihoods favour short answers.
const NORMALISATION: Normalisation = Normalisation::Mean;

/// Logit of an answer that a question does not have, in what is predicted: its probability is 0 in f64, also at any temperature that
/// is fitted, and its logarithm is finite.
const MISSING: f32 = -1e5;

/// Logits of a batch with their gradients, and the divergence. Logits of answers that a question lacks are negative infinity.
///
/// # Errors
/// When shapes do not go together.
pub(crate) fn outputs(
    backbone: &Backbone,
    member: &Member,
    draw: Draw<'_>,
    from: usize,
    batch: &Batch,
) -> Result<Output> {
    let Member { adapters, head, .. } = member;
    if batch.questions.is_empty() {
        return Ok(classify(backbone, head, adapters, draw, from, &batch.hidden, &batch.packing)?);
    }
    let questions: Vec<&Question> = batch.questions.iter().collect();
    Ok(answer(backbone, head, adapters, draw, from, &batch.hidden, &questions, NORMALISATION)?)
}

/// Logits `[samples, places, classes]` of a sampler for sentences at some places, whose activations are `hidden`.
///
/// # Errors
/// When a tensor operation fails.
pub(crate) fn sampled(
    sampler: Sampler<'_>,
    sentences: &Sentences,
    places: &[usize],
    hidden: Hidden<'_>,
    samples: &Samples,
    advance: &(dyn Fn(u64) + Sync),
) -> Result<Vec<f32>> {
    if sentences.questions().is_empty() {
        return Ok(sampler.logits(hidden, samples, advance)?);
    }
    let questions: Vec<&Question> = places.iter().map(|&place| &sentences.questions()[place]).collect();
    let own = questions.iter().map(|question| question.answers.len()).max().unwrap_or(0);
    let found = sampler.answers(hidden, &questions, NORMALISATION, samples, advance)?;
    let classes = sentences.classes(sampler.head);
    let mut logits = vec![MISSING; found.len() / own.max(1) * classes];
    for (logits, found) in logits.chunks_exact_mut(classes.max(1)).zip(found.chunks_exact(own.max(1))) {
        for (logit, &found) in logits.iter_mut().zip(found) {
            *logit = found.max(MISSING);
        }
    }
    Ok(logits)
}

/// Refuses answers that are texts where the network is linearised.
///
/// # Errors
/// When the sentences are questions.
pub(crate) fn check_classes(sentences: &Sentences) -> Result<()> {
    if sentences.questions().is_empty() {
        return Ok(());
    }
    Err(Error::Parameter {
        what: "a linearised reading of answers to questions".to_owned(),
        expected: "it is of classes: leave out laplace, and linearised = true of other methods".to_owned(),
    })
}
