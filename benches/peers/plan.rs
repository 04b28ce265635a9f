//! What a measurement is made of: who does which work at which point, planned from the inputs.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use anyhow::Result;
use bayeslora_inference::linear_schedule;

use crate::contestants::{Contestant, SAMPLERS, SORTED_CHEAP, Side, V1};
use crate::cost::{Cost, Sizes, predictive, training_step};
use crate::decoder_inputs::DecoderInputs;
use crate::inputs::{Inputs, RANK, Texts};
use crate::protocol::Work;

/// Texts of PyTorch's padded batches where that is not varied.
pub(crate) const BATCH: usize = 16;
/// Samples of the reference that errors are measured against.
pub(crate) const REFERENCE_SAMPLES: u32 = 2000;
/// Seed of a training run.
pub(crate) const SEED: u64 = 1;

/// What is compared before the clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Check {
    Nothing,
    /// Deterministic outputs.
    Equal,
    /// Samples of predictives.
    Samples(u32),
    /// Samples of a layer, against exact moments.
    Layer(u32),
    /// How samples of others differ from ours; nobody is held to agree.
    Precision,
}

/// One contestant's work at a point, for our side and theirs.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) contestant: &'static Contestant,
    pub(crate) work: Work,
    /// Counted arithmetic of one run.
    pub(crate) cost: Cost,
}

/// Contestants that alternate.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) at: f64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) check: Check,
    /// Threads of every worker.
    pub(crate) threads: usize,
}

/// What sets are planned from.
pub(crate) struct Plan<'a> {
    pub(crate) inputs: &'a Inputs,
    pub(crate) is_quick: bool,
    /// Where records are: the main comparison takes the fastest variants found.
    pub(crate) records: &'a Path,
    pub(crate) threads: usize,
    /// What decoders are measured on, once a set asks for it.
    pub(crate) decoder: OnceCell<DecoderInputs>,
}

/// Training of adapters, one step a batch.
pub(crate) struct Training<'a> {
    /// Of the files of its texts.
    pub(crate) name: &'a str,
    /// As many as the steps take.
    pub(crate) texts: &'a Texts,
    pub(crate) steps: usize,
    /// Texts of a step.
    pub(crate) batch: usize,
    pub(crate) rank: usize,
    pub(crate) alpha: f64,
    pub(crate) model: &'a Path,
}

impl Plan<'_> {
    /// One of two sizes.
    pub(crate) fn size<T>(&self, full: T, quick: T) -> T {
        if self.is_quick { quick } else { full }
    }

    /// Predictions of the same texts by several contestants, with the trained adapter unless another is given.
    pub(crate) fn predictions(
        &self,
        at: f64,
        who: &[&'static Contestant],
        (input, texts): (PathBuf, Texts),
        (samples, batch): (u32, usize),
        adapter: Option<(PathBuf, Sizes)>,
    ) -> Point {
        let (adapter, sizes) = adapter.unwrap_or_else(|| (self.inputs.adapter.clone(), self.inputs.sizes(RANK, 0)));
        let cost = predictive(&sizes, &texts.lengths(), f64::from(samples.max(1)));
        let entry = |&contestant: &&'static Contestant| Entry {
            contestant,
            work: Work::Predict {
                model: self.inputs.model.clone(),
                adapter: adapter.clone(),
                input: input.clone(),
                samples,
                // Ours takes what it is offered: a batch is a choice of the peer's, except where it is varied.
                batch: if contestant.side == Side::Ours && batch == BATCH { texts.tokens.len() } else { batch },
            },
            // What cost.rs counts is sampling.
            cost: if contestant.variant == "linearised" { Cost::default() } else { cost },
        };
        Point { at, entries: who.iter().map(entry).collect(), check: Check::Nothing, threads: self.threads }
    }

    /// What decoders are measured on, made when it is first asked for.
    pub(crate) fn decoder(&self) -> Result<&DecoderInputs> {
        if let Some(inputs) = self.decoder.get() {
            return Ok(inputs);
        }
        let inputs = DecoderInputs::prepare(self.inputs.folder())?;
        Ok(self.decoder.get_or_init(|| inputs))
    }

    /// Training from the adapter in a folder with a dropout.
    pub(crate) fn training(
        &self,
        training: &Training<'_>,
        sizes: &Sizes,
        who: &[&'static Contestant],
        (adapter, dropout): (&Path, f64),
    ) -> Result<Point> {
        let &Training { name, texts, steps, batch, rank, alpha, model } = training;
        let order = crate::worker::order(SEED, texts.labels.len());
        let shuffled = texts.at(&order);
        let input = self.inputs.write(&format!("{name}-{steps}"), texts)?;
        let in_order = self.inputs.write(&format!("{name}-{steps}-in-order"), &shuffled)?;
        let total = u32::try_from(steps)?;
        let factors: Vec<f64> = (0..total).map(|step| linear_schedule(step, total, 0.0)).collect();
        // The clock starts with the third step.
        let cost: Cost = shuffled.lengths().chunks(batch).skip(2).map(|lengths| training_step(sizes, lengths)).sum();
        let entry = |&contestant: &&'static Contestant| Entry {
            contestant,
            work: Work::Train {
                model: model.to_owned(),
                adapter: adapter.to_owned(),
                // The peer is given the order that our loop draws.
                input: if contestant.side == Side::Ours { input.clone() } else { in_order.clone() },
                rank,
                alpha,
                dropout,
                batch,
                rate: 1e-3,
                clip: 1.0,
                factors: factors.clone(),
            },
            cost,
        };
        let check = if dropout > 0.0 { Check::Nothing } else { Check::Equal };
        let entries = who.iter().map(entry).collect();
        Ok(Point { at: dropout, entries, check, threads: self.threads })
    }

    pub(crate) fn checked(point: Point, check: Check) -> Vec<Point> {
        vec![Point { check, ..point }]
    }

    /// The contestants of the sweeps: two of PyTorch, in a smoke test one, and all of ours.
    pub(crate) fn swept(&self) -> Vec<&'static Contestant> {
        let is_swept = |id: &str| id == V1.id || id == SORTED_CHEAP.id && !self.is_quick;
        let all = SAMPLERS.iter().copied();
        all.filter(|contestant| contestant.side == Side::Ours || is_swept(contestant.id)).collect()
    }
}
