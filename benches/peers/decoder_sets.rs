//! The points of the sets on a decoder: SmolLM2-135M, adapters of rank 8 on queries and values, sentences of SST-2.

use anyhow::Result;

use crate::contestants::{
    ANSWERERS, ANSWERS_REPEATED, Contestant, DECODER_FORWARDS, DECODER_GGUF, DECODER_SAMPLERS, DECODER_TRAINERS,
    PRECISIONS, PREFIX_TRAINERS, V1,
};
use crate::cost::Cost;
use crate::decoder_inputs::SHAPE;
use crate::inputs::{DROPOUT, Texts};
use crate::plan::{BATCH, Check, Entry, Plan, Point, SEED, Training};
use crate::protocol::Work;

/// Texts of a training step.
const TRAINING_BATCH: usize = 8;
/// Samples.
const SAMPLES: u32 = 10;
/// Blocks with adapters where not all have one.
const LAST: usize = 6;

/// Predictions of the first `count` test sentences with adapters on the last `blocks` blocks.
fn predictions(
    plan: &Plan<'_>,
    who: &[&'static Contestant],
    (count, samples, blocks): (usize, u32, usize),
) -> Result<Point> {
    let inputs = plan.decoder()?;
    let texts = inputs.texts.first(count);
    let input = plan.inputs.write(&format!("decoder-test-{count}"), &texts)?;
    let adapter = (inputs.random_adapter(blocks)?, inputs.sizes(blocks));
    let at = f64::from(samples);
    let mut point = plan.predictions(at, who, (input, texts), (samples, BATCH), Some(adapter));
    for entry in &mut point.entries {
        if let Work::Predict { model, .. } = &mut entry.work {
            let is_gguf = entry.contestant.id == DECODER_GGUF.id;
            model.clone_from(if is_gguf { &inputs.gguf } else { &inputs.model });
        }
    }
    point.check = if samples == 0 { Check::Equal } else { Check::Samples(samples) };
    Ok(point)
}

pub(crate) fn forward(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let blocks = plan.decoder()?.blocks();
    Ok(vec![predictions(plan, DECODER_FORWARDS, (plan.size(64, 16), 0, blocks))?])
}

/// On fewer texts: which of PyTorch's ways is the fastest.
pub(crate) fn variants(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let blocks = plan.decoder()?.blocks();
    let is_left_out = |id: &str| plan.is_quick && id.contains("compiled");
    let who: Vec<_> = DECODER_SAMPLERS.iter().copied().filter(|contestant| !is_left_out(contestant.id)).collect();
    Ok(vec![predictions(plan, &who, (plan.size(16, 16), plan.size(SAMPLES, 4), blocks))?])
}

/// v1's loop, the fastest of PyTorch's ways without compiling, in full and in reduced precision, and ours.
fn main_contestants() -> Vec<&'static Contestant> {
    let is_main =
        |id: &str| id == V1.id || !id.starts_with("torch") || matches!(id, "torch-sorted-cheap" | "torch-all-bf16");
    DECODER_SAMPLERS.iter().copied().filter(|contestant| is_main(contestant.id)).collect()
}

pub(crate) fn samples(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let blocks = plan.decoder()?.blocks();
    Ok(vec![predictions(plan, &main_contestants(), (plan.size(64, 16), plan.size(SAMPLES, 4), blocks))?])
}

pub(crate) fn last_six(plan: &Plan<'_>) -> Result<Vec<Point>> {
    Ok(vec![predictions(plan, &main_contestants(), (plan.size(64, 16), plan.size(SAMPLES, 4), LAST))?])
}

/// Sampled uncertainty in f32 and in bf16, of adapters that were trained for longer and longer.
pub(crate) fn precision(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let (count, samples) = (plan.size(32, 8), plan.size(50, 8));
    let point = |&epochs: &u32| {
        let mut point = predictions(plan, PRECISIONS, (count, samples, LAST))?;
        let inputs = plan.decoder()?;
        let (trained, steps) = inputs.trained_adapter(LAST, epochs, SEED)?;
        for entry in &mut point.entries {
            if let Work::Predict { adapter, .. } = &mut entry.work {
                adapter.clone_from(&trained);
            }
        }
        Ok(Point { at: f64::from(steps), check: Check::Precision, ..point })
    };
    plan.size(&[1, 4, 16, 64][..], &[1]).iter().map(point).collect()
}

/// The options of test questions, with adapters on all blocks.
fn asked(plan: &Plan<'_>, who: &[&'static Contestant], answers: &str, samples: u32) -> Result<Point> {
    let inputs = plan.decoder()?;
    let count = plan.size(32, 8);
    let input = plan.inputs.write(&format!("decoder-{answers}-{count}"), &inputs.questions(answers, count)?)?;
    let (model, adapter) = (inputs.model.clone(), inputs.language_adapter()?);
    let work = Work::Ask { model, adapter, input, samples, batch: BATCH };
    // The work of a language head is not counted.
    let entry = |&contestant: &&'static Contestant| Entry { contestant, work: work.clone(), cost: Cost::default() };
    let entries = who.iter().map(entry).collect();
    let check = if samples == 0 { Check::Equal } else { Check::Samples(samples) };
    Ok(Point { at: f64::from(samples), entries, check, threads: plan.threads })
}

pub(crate) fn letters(plan: &Plan<'_>) -> Result<Vec<Point>> {
    [0, plan.size(SAMPLES, 4)].into_iter().map(|samples| asked(plan, ANSWERERS, "letters", samples)).collect()
}

/// Samples are compared without the clock's sides having to agree: PyTorch's options have noise of their own, ours share it.
pub(crate) fn answer_texts(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let who: Vec<_> = ANSWERERS.iter().copied().chain([&ANSWERS_REPEATED]).collect();
    let point = asked(plan, &who, "texts", 0)?;
    Ok(vec![point, Point { check: Check::Nothing, ..asked(plan, &who, "texts", plan.size(SAMPLES, 4))? }])
}

/// Without dropout, where both sides must end at the same logits; then with it.
fn trained(plan: &Plan<'_>, who: &[&'static Contestant], blocks: usize) -> Result<Vec<Point>> {
    let inputs = plan.decoder()?;
    let steps = plan.size(14, 5);
    let texts: Texts = inputs.train.first(steps * TRAINING_BATCH);
    let (rank, alpha) = SHAPE;
    let training = Training {
        name: "decoder-train",
        texts: &texts,
        steps,
        batch: TRAINING_BATCH,
        rank,
        alpha,
        model: &inputs.model,
    };
    let of = |dropout: f64| {
        let adapter = inputs.initial_adapter(blocks, dropout, SEED)?;
        plan.training(&training, &inputs.sizes(blocks), who, (&adapter, dropout))
    };
    [0.0, DROPOUT].into_iter().map(of).collect()
}

pub(crate) fn training(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let blocks = plan.decoder()?.blocks();
    trained(plan, DECODER_TRAINERS, blocks)
}

/// Both sides compute what lies below the first adapter once, before the clock.
pub(crate) fn training_last_six(plan: &Plan<'_>) -> Result<Vec<Point>> {
    trained(plan, PREFIX_TRAINERS, LAST)
}
