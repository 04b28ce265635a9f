//! What is measured: the sets, their points, and who takes part in each.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bayeslora_inference::linear_schedule;

use crate::contestants::{
    Contestant, EXACT, FORWARDS, LAYERS, LIMITS, SAMPLERS, SORTED_CHEAP, SWEEPERS, Side, TRAINERS, V1,
};
use crate::cost::{Cost, Sizes, layer, predictive, training_step};
use crate::inputs::{ALPHA, DROPOUT, Inputs, RANK, Texts};
use crate::protocol::Work;
use crate::record::{Measurement, Record};

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

/// A measurement set.
pub(crate) struct Set {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// Seconds it is expected to take, for the time left: in full, in quick mode.
    pub(crate) expected: (u64, u64),
    /// Rounds of alternating runs at most.
    pub(crate) rounds: usize,
    /// Seconds of runs at one point after which no further round begins.
    pub(crate) budget: f64,
    pub(crate) points: fn(&Plan<'_>) -> Result<Vec<Point>>,
}

/// What sets are planned from.
pub(crate) struct Plan<'a> {
    pub(crate) inputs: &'a Inputs,
    pub(crate) is_quick: bool,
    /// Where records are: the main comparison takes the fastest variants found.
    pub(crate) records: &'a Path,
    pub(crate) threads: usize,
}

/// Every set, in the order of measurement.
pub(crate) static SETS: &[Set] = &[
    Set { id: "limits", title: "limits of the machine", expected: (40, 10), rounds: 1, budget: 60.0, points: limits },
    Set { id: "forward", title: "deterministic forward", expected: (35, 8), rounds: 5, budget: 30.0, points: forward },
    Set { id: "layer-768", title: "one map, 768", expected: (15, 7), rounds: 15, budget: 10.0, points: layer_768 },
    Set { id: "layer-4096", title: "one map, 4096", expected: (35, 10), rounds: 7, budget: 20.0, points: layer_4096 },
    Set {
        id: "training-8",
        title: "training, rank 8",
        expected: (60, 16),
        rounds: 3,
        budget: 45.0,
        points: training_8,
    },
    Set {
        id: "training-64",
        title: "training, rank 64",
        expected: (60, 18),
        rounds: 3,
        budget: 45.0,
        points: training_64,
    },
    Set {
        id: "variants",
        title: "variants of PyTorch",
        expected: (350, 30),
        rounds: 2,
        budget: 200.0,
        points: variants,
    },
    Set { id: "main", title: "exact sampling, T = 20", expected: (330, 30), rounds: 3, budget: 250.0, points: main },
    Set {
        id: "reference",
        title: "reference, T = 2000",
        expected: (170, 6),
        rounds: 1,
        budget: 1.0,
        points: reference,
    },
    Set { id: "samples", title: "against T", expected: (210, 16), rounds: 3, budget: 30.0, points: samples },
    Set { id: "batch", title: "against batch", expected: (70, 12), rounds: 2, budget: 20.0, points: batch },
    Set { id: "texts", title: "against number of texts", expected: (80, 12), rounds: 2, budget: 20.0, points: texts },
    Set { id: "rank", title: "against rank", expected: (60, 12), rounds: 2, budget: 20.0, points: rank },
    Set { id: "length", title: "against sentence length", expected: (90, 12), rounds: 2, budget: 20.0, points: length },
    Set { id: "blocks", title: "against blocks adapted", expected: (60, 12), rounds: 2, budget: 20.0, points: blocks },
    Set { id: "prefix", title: "frozen prefix", expected: (90, 10), rounds: 2, budget: 30.0, points: prefix },
];

impl Plan<'_> {
    fn sizes(&self, rank: usize, from: usize) -> Sizes {
        let backbone = &self.inputs.backbone;
        Sizes {
            blocks: backbone.blocks(),
            width: backbone.width() as f64,
            inner: backbone.inner_width() as f64,
            rank: rank as f64,
            from,
        }
    }

    /// One of two sizes.
    fn size<T>(&self, full: T, quick: T) -> T {
        if self.is_quick { quick } else { full }
    }

    /// Predictions of the same texts by several contestants, with the trained adapter unless another is given.
    fn predictions(
        &self,
        at: f64,
        who: &[&'static Contestant],
        (input, texts): (PathBuf, Texts),
        (samples, batch): (u32, usize),
        adapter: Option<(PathBuf, Sizes)>,
    ) -> Point {
        let (adapter, sizes) = adapter.unwrap_or_else(|| (self.inputs.adapter.clone(), self.sizes(RANK, 0)));
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

    fn checked(point: Point, check: Check) -> Vec<Point> {
        vec![Point { check, ..point }]
    }

    /// The contestants of the sweeps: two of PyTorch, in a smoke test one, and all of ours.
    fn swept(&self) -> Vec<&'static Contestant> {
        let is_swept = |id: &str| id == V1.id || id == SORTED_CHEAP.id && !self.is_quick;
        let all = SAMPLERS.iter().copied();
        all.filter(|contestant| contestant.side == Side::Ours || is_swept(contestant.id)).collect()
    }
}

fn limits(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let (input, _) = plan.inputs.test(plan.size(32, 16))?;
    let mut threads = vec![1, plan.threads];
    threads.dedup();
    let point = |threads: usize| {
        let (model, adapter) = (plan.inputs.model.clone(), plan.inputs.adapter.clone());
        let work = Work::Limits { model, adapter, input: input.clone(), samples: 20 };
        let entries = vec![Entry { contestant: &LIMITS, work, cost: Cost::default() }];
        Point { at: threads as f64, entries, check: Check::Nothing, threads }
    };
    Ok(threads.into_iter().map(point).collect())
}

fn forward(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let texts = plan.inputs.test(plan.size(256, 64))?;
    Ok(Plan::checked(plan.predictions(0.0, FORWARDS, texts, (0, BATCH), None), Check::Equal))
}

fn layer_768(plan: &Plan<'_>) -> Result<Vec<Point>> {
    one_layer(plan, 768, 8)
}

fn layer_4096(plan: &Plan<'_>) -> Result<Vec<Point>> {
    one_layer(plan, 4096, 16)
}

fn one_layer(plan: &Plan<'_>, d: usize, rank: usize) -> Result<Vec<Point>> {
    let (rows, samples) = (128, 32);
    let input = plan.inputs.layer(d, rank, rows)?;
    let entry = |&contestant: &&'static Contestant| Entry {
        contestant,
        work: Work::Layer { input: input.clone(), scale: ALPHA / rank as f64, dropout: DROPOUT, samples },
        cost: layer(rows as f64, f64::from(samples), (d as f64, d as f64), rank as f64, contestant.variant == "rank"),
    };
    let entries = LAYERS.iter().map(entry).collect();
    Ok(vec![Point { at: d as f64, entries, check: Check::Layer(samples), threads: plan.threads }])
}

fn training_8(plan: &Plan<'_>) -> Result<Vec<Point>> {
    training(plan, 8)
}

fn training_64(plan: &Plan<'_>) -> Result<Vec<Point>> {
    training(plan, RANK)
}

/// Without dropout, where both sides must end at the same parameters; then with it.
fn training(plan: &Plan<'_>, rank: usize) -> Result<Vec<Point>> {
    let steps = plan.size(14, 5);
    let texts = plan.inputs.train(steps * BATCH);
    let order = crate::worker::order(SEED, texts.labels.len());
    let shuffled = texts.at(&order);
    let input = plan.inputs.write(&format!("train-{steps}"), &texts)?;
    let in_order = plan.inputs.write(&format!("train-{steps}-in-order"), &shuffled)?;
    let total = u32::try_from(steps).unwrap_or(u32::MAX);
    let factors: Vec<f64> = (0..total).map(|step| linear_schedule(step, total, 0.0)).collect();
    // The clock starts with the third step.
    let batches = shuffled.lengths();
    let timed = batches.chunks(BATCH).skip(2).map(|lengths| training_step(&plan.sizes(rank, 0), lengths)).sum();
    let mut points = Vec::new();
    for dropout in [0.0, DROPOUT] {
        let adapter = plan.inputs.initial_adapter(rank, dropout, SEED)?;
        let entry = |&contestant: &&'static Contestant| Entry {
            contestant,
            work: Work::Train {
                model: plan.inputs.model.clone(),
                adapter: adapter.clone(),
                // The peer is given the order that our loop draws.
                input: if contestant.side == Side::Ours { input.clone() } else { in_order.clone() },
                rank,
                alpha: ALPHA,
                dropout,
                batch: BATCH,
                rate: 1e-3,
                clip: 1.0,
                factors: factors.clone(),
            },
            cost: timed,
        };
        let check = if dropout > 0.0 { Check::Nothing } else { Check::Equal };
        let entries = TRAINERS.iter().map(entry).collect();
        points.push(Point { at: dropout, entries, check, threads: plan.threads });
    }
    Ok(points)
}

fn variants(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let (texts, samples) = (plan.inputs.test(plan.size(48, 16))?, plan.size(20, 8));
    // Compiling is most of a quick measurement: one of three is enough to show that it works.
    let is_left_out = |id: &str| plan.is_quick && matches!(id, "torch-sorted-compiled" | "torch-bf16-compiled");
    let who: Vec<_> = SAMPLERS.iter().copied().filter(|contestant| !is_left_out(contestant.id)).collect();
    let point = plan.predictions(f64::from(samples), &who, texts, (samples, BATCH), None);
    Ok(Plan::checked(point, Check::Samples(samples)))
}

/// v1's loop, the fastest PyTorch variant found in full and in reduced precision, and all of ours.
fn main(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let record = Record::read(plan.records, "variants")?.context("measure the set variants first")?;
    let time = |contestant: &Contestant| {
        record.measurements.iter().find(|one| one.contestant == contestant.id).and_then(Measurement::median)
    };
    let fastest = |must_agree: bool| {
        let timed = SAMPLERS.iter().copied().filter(|c| c.side == Side::Peer && c.id != V1.id && time(c).is_some());
        let eligible = timed.filter(|contestant| contestant.must_agree == must_agree);
        eligible.min_by(|&a, &b| time(a).unwrap_or(f64::INFINITY).total_cmp(&time(b).unwrap_or(f64::INFINITY)))
    };
    let own = SAMPLERS.iter().copied().filter(|contestant| contestant.side == Side::Ours);
    let who: Vec<_> = std::iter::once(&V1).chain(fastest(true)).chain(fastest(false)).chain(own).collect();
    let (texts, samples) = (plan.inputs.test(plan.size(256, 32))?, plan.size(20, 8));
    let point = plan.predictions(f64::from(samples), &who, texts, (samples, BATCH), None);
    Ok(Plan::checked(point, Check::Samples(samples)))
}

/// Texts whose errors are measured.
fn swept_texts(plan: &Plan<'_>) -> Result<(PathBuf, Texts)> {
    plan.inputs.test(plan.size(32, 8))
}

fn reference(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let samples = plan.size(REFERENCE_SAMPLES, 200);
    Ok(vec![plan.predictions(f64::from(samples), &[&EXACT], swept_texts(plan)?, (samples, BATCH), None)])
}

fn samples(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let counts = plan.size(&[1_u32, 5, 10, 20, 50, 100][..], &[1, 5, 10]);
    let texts = swept_texts(plan)?;
    let point =
        |&samples: &u32| plan.predictions(f64::from(samples), &plan.swept(), texts.clone(), (samples, BATCH), None);
    Ok(counts.iter().map(point).collect())
}

fn batch(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let texts = plan.inputs.test(plan.size(64, 16))?;
    let point = |&batch: &usize| {
        let mut point = plan.predictions(batch as f64, &plan.swept(), texts.clone(), (plan.size(5, 2), batch), None);
        for entry in &mut point.entries {
            if let Work::Predict { batch: own, .. } = &mut entry.work {
                *own = batch;
            }
        }
        point
    };
    Ok(plan.size(&[1_usize, 4, 16, 64][..], &[4, 16]).iter().map(point).collect())
}

fn texts(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let point = |&count: &usize| {
        let texts = plan.inputs.test(count)?;
        Ok(plan.predictions(count as f64, &plan.swept(), texts, (plan.size(5, 2), BATCH), None))
    };
    plan.size(&[16_usize, 32, 64, 128, 256][..], &[8, 16]).iter().map(point).collect()
}

fn rank(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let texts = plan.inputs.test(plan.size(32, 8))?;
    let point = |&rank: &usize| {
        let adapter = (plan.inputs.random_adapter(rank, plan.inputs.backbone.blocks())?, plan.sizes(rank, 0));
        Ok(plan.predictions(rank as f64, &plan.swept(), texts.clone(), (plan.size(5, 2), BATCH), Some(adapter)))
    };
    plan.size(&[4_usize, 16, 64, 128][..], &[4, 64]).iter().map(point).collect()
}

fn length(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let point = |&length: &usize| {
        let texts = plan.inputs.of_length(plan.size(16, 4), length)?;
        Ok(plan.predictions(length as f64, &plan.swept(), texts, (plan.size(5, 2), BATCH), None))
    };
    plan.size(&[16_usize, 32, 64, 128, 256][..], &[16, 64]).iter().map(point).collect()
}

fn blocks(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let texts = plan.inputs.test(plan.size(32, 8))?;
    let all = plan.inputs.backbone.blocks();
    let point = |&blocks: &usize| {
        let adapter = (plan.inputs.random_adapter(RANK, blocks)?, plan.sizes(RANK, all - blocks));
        Ok(plan.predictions(blocks as f64, &plan.swept(), texts.clone(), (plan.size(5, 2), BATCH), Some(adapter)))
    };
    plan.size(&[1_usize, 2, 4, 6][..], &[2, 6]).iter().map(point).collect()
}

/// A sweep of several fits, by the blocks that are adapted.
fn prefix(plan: &Plan<'_>) -> Result<Vec<Point>> {
    let texts = plan.inputs.train(plan.size(192, 32));
    let input = plan.inputs.write("sweep", &texts)?;
    let (fits, samples, rank) = (plan.size(3, 2), plan.size(10, 3), 8);
    let point = |&blocks: &usize| {
        let entry = |&contestant: &&'static Contestant| Entry {
            contestant,
            work: Work::Sweep { model: plan.inputs.model.clone(), input: input.clone(), blocks, rank, fits, samples },
            cost: Cost::default(),
        };
        let entries = SWEEPERS.iter().map(entry).collect();
        Point { at: blocks as f64, entries, check: Check::Nothing, threads: plan.threads }
    };
    Ok(plan.size(&[1_usize, 2, 4][..], &[2]).iter().map(point).collect())
}
