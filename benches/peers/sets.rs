//! What is measured: the sets, their points, and who takes part in each.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::contestants::{Contestant, EXACT, FORWARDS, LAYERS, LIMITS, SAMPLERS, SWEEPERS, Side, TRAINERS, V1};
use crate::cost::{Cost, layer};
use crate::decoder_sets as decoder;
use crate::inputs::{ALPHA, DROPOUT, RANK, Texts};
use crate::plan::{BATCH, Check, Entry, Plan, Point, REFERENCE_SAMPLES, SEED, Training};
use crate::protocol::Work;
use crate::record::{Measurement, Record};

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
    // Decoders may be measured on another machine.
    Set {
        id: "decoder-limits",
        title: "limits of the decoders' machine",
        expected: (40, 10),
        rounds: 1,
        budget: 60.0,
        points: limits,
    },
    Set {
        id: "decoder-forward",
        title: "decoder, deterministic forward",
        expected: (120, 40),
        rounds: 5,
        budget: 60.0,
        points: decoder::forward,
    },
    Set {
        id: "decoder-variants",
        title: "decoder, variants of PyTorch",
        expected: (500, 60),
        rounds: 1,
        budget: 200.0,
        points: decoder::variants,
    },
    Set {
        id: "decoder-samples",
        title: "decoder, exact sampling, T = 10",
        expected: (400, 60),
        rounds: 3,
        budget: 200.0,
        points: decoder::samples,
    },
    Set {
        id: "decoder-last-6",
        title: "decoder, exact sampling, adapters in the last 6 blocks",
        expected: (250, 60),
        rounds: 3,
        budget: 120.0,
        points: decoder::last_six,
    },
    Set {
        id: "decoder-letters",
        title: "decoder, questions with letters",
        expected: (500, 80),
        rounds: 3,
        budget: 150.0,
        points: decoder::letters,
    },
    Set {
        id: "decoder-texts",
        title: "decoder, questions with answer texts",
        expected: (600, 90),
        rounds: 3,
        budget: 150.0,
        points: decoder::answer_texts,
    },
    Set {
        id: "decoder-training",
        title: "decoder, training",
        expected: (240, 60),
        rounds: 3,
        budget: 120.0,
        points: decoder::training,
    },
    Set {
        id: "decoder-training-last-6",
        title: "decoder, training above a cached prefix",
        expected: (120, 40),
        rounds: 3,
        budget: 60.0,
        points: decoder::training_last_six,
    },
    Set {
        id: "decoder-precision",
        title: "decoder, precision against length of training",
        expected: (900, 120),
        rounds: 1,
        budget: 1.0,
        points: decoder::precision,
    },
];

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
    let inputs = plan.inputs;
    let texts = inputs.train(steps * BATCH);
    let work = Training { name: "train", texts: &texts, steps, batch: BATCH, rank, alpha: ALPHA, model: &inputs.model };
    let sizes = inputs.sizes(rank, 0);
    let of = |dropout: f64| {
        let adapter = inputs.initial_adapter(rank, dropout, SEED)?;
        plan.training(&work, &sizes, TRAINERS, (&adapter, dropout))
    };
    [0.0, DROPOUT].into_iter().map(of).collect()
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
        let adapter = (plan.inputs.random_adapter(rank, plan.inputs.backbone.blocks())?, plan.inputs.sizes(rank, 0));
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
        let adapter = (plan.inputs.random_adapter(RANK, blocks)?, plan.inputs.sizes(RANK, all - blocks));
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
