//! The bars set beforehand, each with what was measured: met or not, never left out.

use super::{Limits, Records};
use crate::contestants::{is_peer, label};
use crate::record::{Measurement, Record};

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    pub(super) what: String,
    /// Least (or, for memory and errors, largest) value asked for; none where only the value is of interest.
    pub(super) asked: Option<Asked>,
    /// None where there is no record.
    pub(super) measured: Option<f64>,
}

/// A bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Asked {
    AtLeast(f64),
    AtMost(f64),
}

impl Bar {
    /// The last column.
    pub(super) fn verdict(&self) -> &'static str {
        match (self.asked, self.measured) {
            (_, None) => "not measured",
            (None, Some(_)) => "for information",
            (Some(Asked::AtLeast(bound)), Some(value)) if value >= bound => "met",
            (Some(Asked::AtMost(bound)), Some(value)) if value <= bound => "met",
            _ => "**not met**",
        }
    }
}

fn at_least(what: impl Into<String>, bound: f64, measured: Option<f64>) -> Bar {
    Bar { what: what.into(), asked: Some(Asked::AtLeast(bound)), measured }
}

fn at_most(what: impl Into<String>, bound: f64, measured: Option<f64>) -> Bar {
    Bar { what: what.into(), asked: Some(Asked::AtMost(bound)), measured }
}

fn information(what: impl Into<String>, measured: Option<f64>) -> Bar {
    Bar { what: what.into(), asked: None, measured }
}

/// Every bar.
pub(super) fn all(records: &Records) -> Vec<Bar> {
    let mut bars = sampling(records);
    bars.extend(linearised(records));
    for (set, d) in [("layer-768", 768.0), ("layer-4096", 4096.0)] {
        bars.extend(layer(records, set, d));
    }
    for (set, rank) in [("training-8", 8), ("training-64", 64)] {
        bars.extend(training(records, set, rank));
    }
    bars.extend(decoder(records));
    let peak = |samples: f64| records.set("samples")?.find("exact", samples)?.peak_bytes;
    let growth = peak(20.0).zip(peak(100.0)).map(|(few, many)| many as f64 / few as f64);
    bars.push(at_most("Peak memory of exact sampling at T = 100, as a multiple of T = 20's", 1.2, growth));
    bars
}

fn median(record: Option<&Record>, contestant: &str) -> Option<f64> {
    of(record, contestant)?.median()
}

/// The measurement of a contestant at the last point: with dropout, for training.
fn of<'a>(record: Option<&'a Record>, contestant: &str) -> Option<&'a Measurement> {
    record?.measurements.iter().rev().find(|one| one.contestant == contestant)
}

/// What the machine of a record reached at most with as many threads.
fn of_machine(records: &Records, record: &Record) -> Option<Limits> {
    records.limits(&record.machine, record.machine.threads)
}

/// How many times faster `ours` is than `theirs`.
fn ratio(theirs: Option<f64>, ours: Option<f64>) -> Option<f64> {
    theirs.zip(ours).map(|(theirs, ours)| theirs / ours)
}

/// Identifier and time of the fastest PyTorch contestant at the last point of a record.
fn fastest(record: Option<&Record>, full_precision: bool) -> Option<(&str, f64)> {
    let all = &record?.measurements;
    let last = all.last()?.at.to_bits();
    let peers = all.iter().filter(|one| one.at.to_bits() == last).filter(|one| {
        let is_reduced = one.contestant.contains("bf16");
        if full_precision { is_peer(&one.contestant) } else { is_reduced }
    });
    let timed = peers.filter_map(|one| Some((one.contestant.as_str(), one.median()?)));
    timed.min_by(|a, b| a.1.total_cmp(&b.1))
}

fn sampling(records: &Records) -> Vec<Bar> {
    let main = records.set("main");
    let ours = median(main, "exact");
    let named = |found: Option<(&str, f64)>| found.map_or("none found", |(id, _)| label(id)).to_owned();
    let (full, reduced) = (fastest(main, true), fastest(main, false));
    let forward = |name: &str, theirs: &str| {
        let record = records.set("forward");
        information(name, ratio(median(record, theirs), median(record, "forward")))
    };
    let reached = of(main, "exact").and_then(|one| {
        let limits = of_machine(records, main?)?;
        Some(one.flops / one.median()? / limits.flops)
    });
    vec![
        at_least("Exact sampling, T = 20: times the v1 loop", 4.0, ratio(median(main, "v1-loop"), ours)),
        at_least(
            format!("Exact sampling, T = 20: times the fastest PyTorch variant ({})", named(full)),
            2.5,
            ratio(full.map(|found| found.1), ours),
        ),
        information(
            format!("The same in reduced precision, bf16 against our f32 ({})", named(reduced)),
            ratio(reduced.map(|found| found.1), ours),
        ),
        information("Share of the measured matrix-product limit that exact sampling reaches", reached),
        forward("Deterministic forward: times PyTorch's", "torch-forward"),
        forward("Deterministic forward: times PyTorch's on texts sorted by length", "torch-forward-sorted"),
    ]
}

fn linearised(records: &Records) -> Vec<Bar> {
    let main = records.set("main");
    let error = |id: &str| records.set("samples")?.find(id, 20.0)?.errors?.logit_variance;
    vec![
        at_least(
            "Linearised (no sampling): times the v1 loop at T = 20",
            15.0,
            ratio(median(main, "v1-loop"), median(main, "linearised")),
        ),
        at_most(
            "Linearised: error of the logit variance, as a multiple of exact sampling's at T = 20",
            1.0,
            ratio(error("linearised"), error("exact")),
        ),
    ]
}

fn layer(records: &Records, set: &str, d: f64) -> Vec<Bar> {
    let record = records.set(set);
    let time = |id: &str| median(record, id);
    let name = format!("One map {d} x {d}, T = 32");
    let mut bars = vec![
        at_least(
            format!("{name}, input site: times PEFT's loop"),
            10.0,
            ratio(time("torch-layer"), time("layer-input")),
        ),
        at_least(
            format!("{name}, input site: times PyTorch with W0 x once"),
            4.0,
            ratio(time("torch-layer-hoisted"), time("layer-input")),
        ),
        information(
            format!("{name}, input site: times the same with cheap dropout"),
            ratio(time("torch-layer-hoisted-cheap"), time("layer-input")),
        ),
    ];
    for (id, site) in [("layer-input", "input"), ("layer-rank", "rank"), ("layer-weight", "weight")] {
        let share = of(record, id).and_then(|one| {
            let limits = of_machine(records, record?)?;
            Some(limits.seconds(one.flops, one.bytes) / one.median()?)
        });
        let what = format!("{name}, {site} site: share of the nearer of the two limits");
        bars.push(if site == "input" { at_least(what, 0.7, share) } else { information(what, share) });
    }
    for (id, site) in [("layer-rank", "rank"), ("layer-weight", "weight")] {
        let what = format!("{name}, {site} site against PEFT's loop (input site)");
        bars.push(information(what, ratio(time("torch-layer"), time(id))));
    }
    bars
}

fn training(records: &Records, set: &str, rank: usize) -> Vec<Bar> {
    let record = records.set(set);
    let (theirs, ours) = (of(record, "torch-training"), of(record, "training"));
    let rate = |one: Option<&Measurement>, padded: bool| {
        let one = one?;
        Some((if padded { one.padded } else { one.tokens }) as f64 / one.median()?)
    };
    let memory = |of: fn(&Measurement) -> Option<u64>| Some(ours.and_then(of)? as f64 / theirs.and_then(of)? as f64);
    let grown = |one: &Measurement| one.peak_bytes?.checked_sub(one.ready_bytes?);
    vec![
        at_least(
            format!("Training step, rank {rank}, batch 16, dropout 0.15: times PyTorch's tokens/s on the same texts"),
            1.2,
            ratio(rate(ours, false), rate(theirs, false)),
        ),
        information(format!("The same, rank {rank}, without dropout"), {
            let without = |id: &str| rate(record?.find(id, 0.0), false);
            ratio(without("training"), without("torch-training"))
        }),
        information(
            format!("The same, rank {rank}, with PyTorch's padding counted as tokens of its own"),
            ratio(rate(ours, false), rate(theirs, true)),
        ),
        at_most(
            format!("Training, rank {rank}: peak memory as a multiple of PyTorch's"),
            1.0,
            memory(|one| one.peak_bytes),
        ),
        information(format!("The same, rank {rank}, beyond what each had once loaded"), memory(grown)),
    ]
}

/// A decoder of 135 million parameters with adapters of rank 8 on queries and values.
fn decoder(records: &Records) -> Vec<Bar> {
    let mut bars = Vec::new();
    let sampling = [
        ("decoder-forward", "forward", "torch-forward", "Decoder, deterministic forward", 2.0),
        ("decoder-samples", "exact", "v1-loop", "Decoder, exact sampling, T = 10", 2.5),
        ("decoder-last-6", "exact", "v1-loop", "Decoder, the same with adapters in the last 6 of 30 blocks", 7.0),
    ];
    for (set, ours, usual, what, floor) in sampling {
        let record = records.set(set);
        let time = median(record, ours);
        bars.push(at_least(
            format!("{what}: times PyTorch's, texts not sorted"),
            floor,
            ratio(median(record, usual), time),
        ));
        let fastest_ratio = |full| ratio(fastest(record, full).map(|found| found.1), time);
        bars.push(at_least(format!("{what}: times the fastest PyTorch variant in f32"), 1.0, fastest_ratio(true)));
        bars.push(information(format!("{what}: PyTorch in bf16 against our f32"), fastest_ratio(false)));
    }
    for (set, what, floor) in [
        ("decoder-letters", "Decoder, letters of 32 questions, T = 10", Some(2.5)),
        ("decoder-texts", "Decoder, answer texts of 32 questions, T = 10", None),
    ] {
        let record = records.set(set);
        let time = median(record, "answers");
        let usual = ratio(median(record, "torch-answers"), time);
        bars.push(Bar { asked: floor.map(Asked::AtLeast), ..information(format!("{what}: times PyTorch's"), usual) });
        let found = fastest(record, true).map(|found| found.1);
        bars.push(at_least(format!("{what}: times the fastest PyTorch variant in f32"), 1.0, ratio(found, time)));
    }
    let record = records.set("decoder-texts");
    let shared = ratio(median(record, "answers-repeated"), median(record, "answers"));
    bars.push(at_least("Decoder, answer texts: times our own with the prompt repeated for each", 2.0, shared));
    let record = records.set("decoder-samples");
    let reached = of(record, "exact").and_then(|one| {
        let limits = of_machine(records, record?)?;
        Some(one.flops / one.median()? / limits.flops)
    });
    bars.push(at_least("Decoder, exact sampling, T = 10: share of the measured product limit", 0.7, reached));
    for (set, theirs, what) in [
        ("decoder-training", "torch-training", "Decoder, training step"),
        (
            "decoder-training-last-6",
            "torch-training-cached",
            "Decoder, training step of the last 6 blocks, prefix cached by both",
        ),
    ] {
        let record = records.set(set);
        let rate = |id: &str| of(record, id).and_then(|one| Some(one.tokens as f64 / one.median()?));
        let what = format!("{what}, batch 8, dropout 0.15: times PyTorch's tokens/s");
        bars.push(at_least(what, 1.5, ratio(rate("training"), rate(theirs))));
    }
    let peak = |id: &str| {
        records.set("decoder-forward").and_then(|record| Some(of(Some(record), id)?.peak_bytes? as f64 / 1e6))
    };
    bars.push(at_most("Decoder, prediction: peak memory in f32, MB", 1074.0, peak("forward")));
    bars.push(at_most("Decoder, prediction: peak memory from GGUF, MB", 537.0, peak("exact-gguf")));
    bars
}
