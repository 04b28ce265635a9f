//! `table.md` and `table.csv`.

use std::collections::BTreeSet;

use anyhow::Result;
use bayeslora_render::{Block, Cell, Column, Page, Section, Table};

use super::Records;
use super::bars::{Asked, all as all_bars};
use super::scaling::exponents;
use crate::contestants::label;
use crate::record::{Measurement, Record};
use crate::sets::SETS;

const METHODOLOGY: &str = include_str!("methodology.md");

/// Sweeps: set, name of the axis.
pub(super) const SWEEPS: [(&str, &str); 6] = [
    ("samples", "samples T"),
    ("batch", "texts per batch"),
    ("texts", "texts"),
    ("rank", "rank"),
    ("length", "tokens per text"),
    ("blocks", "blocks adapted"),
];

/// The whole page.
pub(super) fn page(records: &Records) -> Page {
    let mut opening = Vec::new();
    if records.0.iter().any(|record| record.is_quick) {
        opening.push(Block::text(
            "**Quick mode: this shows that everything works and measures nothing. T and texts are fewer than the bars say.**",
        ));
    }
    let disturbed: Vec<&str> = records.0.iter().filter(|r| r.was_disturbed()).map(|r| r.set.as_str()).collect();
    if !disturbed.is_empty() {
        opening.push(Block::text(format!(
            "**Other programs were computing while these sets were measured, so their times mean little: {}.**",
            disturbed.join(", ")
        )));
    }
    opening.extend(machines(records));
    let mut sections = vec![bars(records)];
    for (set, title) in [
        ("main", "Exact sampling"),
        ("variants", "Variants of PyTorch, on fewer texts"),
        ("forward", "Deterministic pass"),
        ("layer-768", "One map, 768 to 768, rank 8, 128 rows, T = 32"),
        ("layer-4096", "One map, 4096 to 4096, rank 16, 128 rows, T = 32"),
        ("training-8", "Training steps, rank 8, batch 16"),
        ("training-64", "Training steps, rank 64, batch 16"),
        ("decoder-forward", "Decoder: deterministic pass"),
        ("decoder-variants", "Decoder: variants of PyTorch, on fewer texts"),
        ("decoder-samples", "Decoder: exact sampling"),
        ("decoder-last-6", "Decoder: exact sampling, adapters in the last 6 of 30 blocks"),
        ("decoder-letters", "Decoder: 32 questions of ARC-Easy, answers are letters"),
        ("decoder-texts", "Decoder: 32 questions of ARC-Easy, answers are texts"),
        ("decoder-training", "Decoder: training steps, batch 8"),
        ("decoder-training-last-6", "Decoder: training steps of the last 6 blocks, batch 8"),
    ] {
        if let Some(record) = records.set(set) {
            let is_sampling =
                matches!(set, "main" | "variants" | "decoder-variants" | "decoder-samples" | "decoder-last-6");
            let one = record.measurements.first().filter(|_| is_sampling);
            let size = one.map(|one| format!(", T = {}, texts of {} tokens", one.at, one.tokens)).unwrap_or_default();
            sections.push(contestants(format!("{title}{size}"), record));
        }
    }
    sections.extend(precision(records));
    sections.push(sweeps(records));
    sections.extend([prefix(records), errors(records), kernels(records)].into_iter().flatten());
    sections.push(agreement(records));
    let methodology = METHODOLOGY.split("## ").filter_map(|section| section.split_once('\n'));
    sections.extend(methodology.map(|(heading, text)| Section::new(heading, [Block::text(text)])));
    Page {
        provenance: vec![
            "Generated from records/ by `make bench-peers` or `cargo run --release -p bayeslora-benches --bin peers -- report`."
                .to_owned(),
        ],
        title: "Time and memory beside PyTorch + PEFT".to_owned(),
        opening,
        sections,
    }
}

/// Three significant digits, more before the point.
fn digits(value: f64) -> String {
    let magnitude = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
    let places = (0..=6).find(|&places| f64::from(places) >= 2.0 - magnitude).unwrap_or(6);
    let text = format!("{value:.places$}", places = usize::try_from(places).unwrap_or(0));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A number with three significant digits, if there is one.
fn shown(value: Option<f64>) -> Cell {
    value.map_or(Cell::Missing, |value| Cell::Text(digits(value)))
}

fn megabytes(bytes: Option<u64>) -> Cell {
    Cell::maybe(bytes.map(|bytes| bytes as f64 / 1e6))
}

fn number(name: impl Into<String>) -> Column {
    Column::number(name, 0)
}

/// Where the numbers come from, by the records.
fn machines(records: &Records) -> Vec<Block> {
    let mut lines: Vec<String> = Vec::new();
    for record in &records.0 {
        let machine = &record.machine;
        let line = format!(
            "{} ({} cores), {} threads, {}, commit {}",
            machine.cpu, machine.cores, machine.threads, machine.date, machine.commit
        );
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let versions: BTreeSet<String> = records
        .0
        .iter()
        .flat_map(|record| &record.machine.versions)
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let missing: Vec<&str> = SETS.iter().map(|set| set.id).filter(|id| records.set(id).is_none()).collect();
    let versions = versions.into_iter().collect::<Vec<_>>().join(", ");
    let mut blocks =
        vec![Block::text("Measured on:"), Block::Points(lines), Block::text(format!("The peer has {versions}."))];
    if !missing.is_empty() {
        blocks.push(Block::text(format!("Not measured yet: {}.", missing.join(", "))));
    }
    blocks
}

fn bars(records: &Records) -> Section {
    let mut table = Table::new([Column::text("what"), number("asked"), number("measured"), Column::text("")]);
    for bar in all_bars(records) {
        let asked = match bar.asked {
            Some(Asked::AtLeast(bound)) => format!("at least {}", digits(bound)),
            Some(Asked::AtMost(bound)) => format!("at most {}", digits(bound)),
            None => String::new(),
        };
        let verdict = Cell::text(bar.verdict());
        table.push([Cell::Text(bar.what), Cell::Text(asked), shown(bar.measured), verdict]);
    }
    let said = "Set beforehand. A ratio above 1 is in our favour.";
    Section::new("Bars", [Block::text(said), Block::Table(table)])
}

/// One set with a row per contestant and point.
fn contestants(title: String, record: &Record) -> Section {
    let numbers = [
        "median, s",
        "least to largest",
        "runs",
        "tokens and samples/s",
        "with padding",
        "peak, MB",
        "loaded, MB",
        "first run, s",
    ];
    let mut table = Table::named("who", numbers.map(number));
    let points = record.measurements.iter().map(|one| one.at.to_bits()).collect::<BTreeSet<_>>().len();
    for one in &record.measurements {
        let mut who = label(&one.contestant).to_owned();
        if points > 1 {
            let axis = if one.contestant.contains("training") { "dropout" } else { "T =" };
            who = format!("{who}, {axis} {}", one.at);
        }
        let Some((median, (least, largest))) = one.median().zip(one.range()) else {
            let reason: String = one.failed.as_deref().unwrap_or("no runs").chars().take(160).collect();
            table.push_named(who, [Cell::Text(format!("failed: {reason}"))]);
            continue;
        };
        let samples = if one.contestant.contains("training") || one.at == 0.0 { 1.0 } else { one.at };
        let rate = |tokens: u64| shown((tokens > 0).then(|| tokens as f64 * samples / median));
        let cells = [
            shown(Some(median)),
            Cell::Text(format!("{} to {}", digits(least), digits(largest))),
            Cell::text(one.seconds.len().to_string()),
            rate(one.tokens),
            rate(one.padded),
            megabytes(one.peak_bytes),
            megabytes(one.ready_bytes),
            shown(Some(one.warm_seconds)),
        ];
        table.push_named(who, cells);
    }
    Section::new(title, [Block::Table(table)])
}

/// What reduced precision does to sampled uncertainty, by how long the adapter was trained.
fn precision(records: &Records) -> Option<Section> {
    let record = records.set("decoder-precision")?;
    let samples = record.settings.pointer("/0/entries/0/work/samples").and_then(serde_json::Value::as_u64);
    let said = format!(
        "Adapters of the decoder's last 6 blocks were trained for longer and longer. {} samples of each text are held against as many of \
         ours in f32. PyTorch in f32 shows what independent samples differ by. The variance is that of the class probability. \
         Distances of mean logits and deviations of logits are root mean squares over texts. Where the distance is not small beside the \
         deviation, samples in bf16 measure rounding.",
        samples.unwrap_or(0)
    );
    let numbers =
        ["steps", "variance, times ours", "rank correlation of variances", "distance of mean logits", "deviation"];
    let mut table = Table::named("who", numbers.map(number));
    for one in record.measurements.iter().filter(|one| one.contestant != "exact") {
        let Some(found) = one.precision else { continue };
        let values = [found.variance_ratio, found.rank_correlation, found.logit_distance, found.deviation];
        let steps = Cell::text(one.at.to_string());
        table.push_named(label(&one.contestant), [steps].into_iter().chain(values.map(|value| shown(Some(value)))));
    }
    Some(Section::new("What precision does to sampled uncertainty", [Block::text(said), Block::Table(table)]))
}

fn sweeps(records: &Records) -> Section {
    let said = "Seconds are medians. The exponent is the slope of log seconds on log size.";
    let mut blocks = vec![Block::text(said)];
    for (set, axis) in SWEEPS {
        let Some(record) = records.set(set) else { continue };
        let mut points: Vec<f64> = Vec::new();
        for one in &record.measurements {
            if !points.iter().any(|at| at.to_bits() == one.at.to_bits()) {
                points.push(one.at);
            }
        }
        let heads = points.iter().map(|at| number(at.to_string()));
        let mut table = Table::named(axis, heads.chain([number("exponent")]));
        for exponent in exponents(records, set) {
            let median = |at: &f64| shown(record.find(&exponent.contestant, *at).and_then(Measurement::median));
            let error = exponent.standard_error.map_or_else(String::new, |error| format!(" ± {error:.2}"));
            let slope = Cell::Text(format!("{:.2}{error}", exponent.slope));
            table.push_named(label(&exponent.contestant), points.iter().map(median).chain([slope]));
        }
        blocks.push(Block::Table(table));
    }
    blocks.push(Block::figure("Time against samples, batch, texts, rank, length and blocks", "time.svg"));
    Section::new("How time grows", blocks)
}

fn prefix(records: &Records) -> Option<Section> {
    let record = records.set("prefix")?;
    let said = "Three fits take one epoch each (rank 8, input site), with ten samples of every text. A sweep over seeds and methods makes such \
                fits. Activations below the first adapted block are computed once for all, or the whole network at every step.";
    let mut table = Table::new(["blocks adapted, of 6", "whole network, s", "prefix once, s", "ratio"].map(number));
    for one in record.measurements.iter().filter(|one| one.contestant == "prefix-recomputed") {
        let shared = record.find("prefix-shared", one.at).and_then(Measurement::median);
        if let (Some(whole), Some(shared)) = (one.median(), shared) {
            let blocks = Cell::text(one.at.to_string());
            table.push([blocks, Cell::Text(digits(whole)), Cell::Text(digits(shared)), shown(Some(whole / shared))]);
        }
    }
    Some(Section::new("What the frozen prefix saves", [Block::text(said), Block::Table(table)]))
}

fn errors(records: &Records) -> Option<Section> {
    let record = records.set("samples")?;
    let said = "Errors are distances from a reference of many samples (ours), as root mean squares over texts. That of the mean probability \
                stands as it is. Those of the variance of probabilities and of logits are shares of the reference's root mean square.";
    let numbers = ["T", "s", "mean probability", "variance", "logit variance"].map(number);
    let mut table = Table::named("who", numbers);
    for one in &record.measurements {
        let (Some(median), Some(errors)) = (one.median(), one.errors) else { continue };
        let [seconds, mean] = [median, errors.mean].map(|value| shown(Some(value)));
        let samples = Cell::text(one.at.to_string());
        let cells = [samples, seconds, mean, shown(errors.variance), shown(errors.logit_variance)];
        table.push_named(label(&one.contestant), cells);
    }
    let blocks = [Block::text(said), Block::Table(table), Block::figure("Error against time", "error.svg")];
    Some(Section::new("Error against time", blocks))
}

fn kernels(records: &Records) -> Option<Section> {
    let mut blocks = Vec::new();
    for one in &records.set("limits")?.measurements {
        let threads = if one.at > 1.0 { format!("{} threads", one.at) } else { "1 thread".to_owned() };
        let rates = ["ms", "GFLOP/s", "GB/s"].map(number);
        let mut table = Table::named(threads, rates);
        for part in &one.parts {
            let rate = |count: f64| shown((count > 0.0).then(|| count / part.seconds / 1e9));
            table.push_named(&part.name, [shown(Some(part.seconds * 1e3)), rate(part.flops), rate(part.bytes)]);
        }
        blocks.push(Block::Table(table));
    }
    blocks.push(Block::figure("Roofline", "roofline.svg"));
    Some(Section::new("Against the machine", blocks))
}

fn agreement(records: &Records) -> Section {
    let texts = ["set", "who", "what"].map(Column::text);
    let last = [number("statistic"), number("limit"), Column::text("")];
    let mut table = Table::new(texts.into_iter().chain(last));
    for record in &records.0 {
        for one in &record.agreement {
            let verdict = match (one.statistic <= one.limit, one.is_enforced) {
                (true, _) => "agrees",
                (false, true) => "**disagrees**",
                (false, false) => "differs; not held to agree",
            };
            table.push([
                Cell::text(&record.set),
                Cell::text(label(&one.contestant)),
                Cell::text(&one.of),
                Cell::Text(format!("{:.2e}", one.statistic)),
                Cell::Text(format!("{:.0e}", one.limit)),
                Cell::text(verdict),
            ]);
        }
    }
    Section::new("Agreement before the clock", [Block::Table(table)])
}

/// Every measurement, one line each.
pub(super) fn csv(records: &Records) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "set",
        "contestant",
        "at",
        "median_seconds",
        "least_seconds",
        "largest_seconds",
        "runs",
        "first_run_seconds",
        "loaded_bytes",
        "peak_bytes",
        "tokens",
        "padded_tokens",
        "flops",
        "bytes",
        "mean_error",
        "variance_error",
        "logit_variance_error",
        "failed",
    ])?;
    let text = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let count = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
    for record in &records.0 {
        for one in &record.measurements {
            let range = one.range();
            writer.write_record([
                record.set.clone(),
                one.contestant.clone(),
                one.at.to_string(),
                text(one.median()),
                text(range.map(|range| range.0)),
                text(range.map(|range| range.1)),
                one.seconds.len().to_string(),
                one.warm_seconds.to_string(),
                count(one.ready_bytes),
                count(one.peak_bytes),
                one.tokens.to_string(),
                one.padded.to_string(),
                one.flops.to_string(),
                one.bytes.to_string(),
                text(one.errors.map(|errors| errors.mean)),
                text(one.errors.and_then(|errors| errors.variance)),
                text(one.errors.and_then(|errors| errors.logit_variance)),
                one.failed.clone().unwrap_or_default(),
            ])?;
        }
    }
    Ok(writer.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::digits;

    #[test]
    fn three_significant_digits_without_trailing_zeros() {
        let cases = [(1234.5, "1234"), (12.345, "12.3"), (1.0, "1"), (0.004_567, "0.00457"), (0.0, "0"), (2.5, "2.5")];
        for (value, expected) in cases {
            assert_eq!(digits(value), expected);
        }
    }
}
