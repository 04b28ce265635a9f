//! `table.md` and `table.csv`.

use std::fmt::Write as _;

use anyhow::Result;

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
pub(super) fn markdown(records: &Records) -> String {
    let mut page = String::from(
        "<!-- Generated from records/ by `make bench-peers` or `cargo run --release -p bayeslora-benches --bin peers -- report`. -->\n\n\
         # Time and memory beside PyTorch + PEFT\n\n",
    );
    if records.0.iter().any(|record| record.is_quick) {
        page += "**Quick mode: this shows that everything works and measures nothing. T and texts are fewer than the bars say.**\n\n";
    }
    let disturbed: Vec<&str> = records.0.iter().filter(|r| r.was_disturbed()).map(|r| r.set.as_str()).collect();
    if !disturbed.is_empty() {
        let _ = writeln!(
            page,
            "**Other programs were computing while these sets were measured, so their times mean little: {}.**\n",
            disturbed.join(", ")
        );
    }
    page += &machines(records);
    page += "\n## Bars\n\nSet beforehand. A ratio above 1 is in our favour.\n\n| what | asked | measured | |\n|---|---:|---:|---|\n";
    for bar in all_bars(records) {
        let asked = match bar.asked {
            Some(Asked::AtLeast(bound)) => format!("at least {}", digits(bound)),
            Some(Asked::AtMost(bound)) => format!("at most {}", digits(bound)),
            None => String::new(),
        };
        let measured = bar.measured.map_or_else(|| "-".to_owned(), digits);
        let _ = writeln!(page, "| {} | {asked} | {measured} | {} |", bar.what, bar.verdict());
    }
    for (set, title) in [
        ("main", "Exact sampling"),
        ("variants", "Variants of PyTorch, on fewer texts"),
        ("forward", "Deterministic pass"),
        ("layer-768", "One map, 768 to 768, rank 8, 128 rows, T = 32"),
        ("layer-4096", "One map, 4096 to 4096, rank 16, 128 rows, T = 32"),
        ("training-8", "Training steps, rank 8, batch 16"),
        ("training-64", "Training steps, rank 64, batch 16"),
    ] {
        if let Some(record) = records.set(set) {
            let one = record.measurements.first().filter(|_| matches!(set, "main" | "variants"));
            let size = one.map(|one| format!(", T = {}, texts of {} tokens", one.at, one.tokens)).unwrap_or_default();
            page += &contestants(&format!("{title}{size}"), record);
        }
    }
    page += &sweeps(records);
    page += &prefix(records);
    page += &errors(records);
    page += &kernels(records);
    page += &agreement(records);
    let _ = write!(page, "\n{METHODOLOGY}");
    page
}

/// Three significant digits, more before the point.
fn digits(value: f64) -> String {
    let magnitude = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
    let places = (0..=6).find(|&places| f64::from(places) >= 2.0 - magnitude).unwrap_or(6);
    let text = format!("{value:.places$}", places = usize::try_from(places).unwrap_or(0));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn megabytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{:.0}", bytes as f64 / 1e6))
}

/// Where the numbers come from, by the records.
fn machines(records: &Records) -> String {
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
    let versions: std::collections::BTreeSet<String> = records
        .0
        .iter()
        .flat_map(|record| &record.machine.versions)
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let missing: Vec<&str> = SETS.iter().map(|set| set.id).filter(|id| records.set(id).is_none()).collect();
    let mut text = "Measured on:\n\n".to_owned();
    for line in &lines {
        let _ = writeln!(text, "- {line}");
    }
    let _ = writeln!(text, "\nThe peer has {}.", versions.into_iter().collect::<Vec<_>>().join(", "));
    if !missing.is_empty() {
        let _ = writeln!(text, "\nNot measured yet: {}.", missing.join(", "));
    }
    text
}

/// One set with a row per contestant and point.
fn contestants(title: &str, record: &Record) -> String {
    let mut text = format!(
        "\n## {title}\n\n| who | median, s | least to largest | runs | tokens and samples/s | with padding | peak, MB | loaded, MB | first run, s |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    );
    let points =
        record.measurements.iter().map(|one| one.at.to_bits()).collect::<std::collections::BTreeSet<_>>().len();
    for one in &record.measurements {
        let mut who = label(&one.contestant).to_owned();
        if points > 1 {
            let _ = write!(who, ", dropout {}", one.at);
        }
        let Some((median, (least, largest))) = one.median().zip(one.range()) else {
            let reason = one.failed.as_deref().unwrap_or("no runs");
            let reason: String = reason.replace(['\n', '|'], " ").chars().take(160).collect();
            let _ = writeln!(text, "| {who} | failed: {reason} | | | | | | | |");
            continue;
        };
        let samples = if one.contestant.contains("training") || one.at == 0.0 { 1.0 } else { one.at };
        let rate = |tokens: u64| if tokens == 0 { "-".to_owned() } else { digits(tokens as f64 * samples / median) };
        let _ = writeln!(
            text,
            "| {who} | {} | {} to {} | {} | {} | {} | {} | {} | {} |",
            digits(median),
            digits(least),
            digits(largest),
            one.seconds.len(),
            rate(one.tokens),
            rate(one.padded),
            megabytes(one.peak_bytes),
            megabytes(one.ready_bytes),
            digits(one.warm_seconds),
        );
    }
    text
}

fn sweeps(records: &Records) -> String {
    let mut text = String::from(
        "\n## How time grows\n\nSeconds are medians. The exponent is the slope of log seconds on log size.\n",
    );
    for (set, axis) in SWEEPS {
        let Some(record) = records.set(set) else { continue };
        let mut points: Vec<f64> = Vec::new();
        for one in &record.measurements {
            if !points.iter().any(|at| at.to_bits() == one.at.to_bits()) {
                points.push(one.at);
            }
        }
        let heads: Vec<String> = points.iter().map(f64::to_string).collect();
        let heads = heads.join(" | ");
        let _ = write!(text, "\n| {axis} | {heads} | exponent |\n|---|{}---:|\n", "---:|".repeat(points.len()));
        for exponent in exponents(records, set) {
            let median = |at: f64| record.find(&exponent.contestant, at).and_then(Measurement::median);
            let cells: Vec<String> =
                points.iter().map(|&at| median(at).map_or_else(|| "-".to_owned(), digits)).collect();
            let cells = cells.join(" | ");
            let error = exponent.standard_error.map_or_else(String::new, |error| format!(" ± {error:.2}"));
            let _ = writeln!(text, "| {} | {cells} | {:.2}{error} |", label(&exponent.contestant), exponent.slope);
        }
    }
    text += "\n![Time against samples, batch, texts, rank, length and blocks](time.svg)\n";
    text
}

fn prefix(records: &Records) -> String {
    let Some(record) = records.set("prefix") else { return String::new() };
    let mut text = String::from(
        "\n## What the frozen prefix saves\n\nThree fits take one epoch each (rank 8, input site), with ten samples of every text. A sweep over seeds and \
         methods makes such fits. Activations below the first adapted block are computed once for all, or the whole network at every step.\n\n\
         | blocks adapted, of 6 | whole network, s | prefix once, s | ratio |\n|---:|---:|---:|---:|\n",
    );
    for one in record.measurements.iter().filter(|one| one.contestant == "prefix-recomputed") {
        let shared = record.find("prefix-shared", one.at).and_then(Measurement::median);
        if let (Some(whole), Some(shared)) = (one.median(), shared) {
            let (ratio, whole, shared) = (digits(whole / shared), digits(whole), digits(shared));
            let _ = writeln!(text, "| {} | {whole} | {shared} | {ratio} |", one.at);
        }
    }
    text
}

fn errors(records: &Records) -> String {
    let Some(record) = records.set("samples") else { return String::new() };
    let mut text = String::from(
        "\n## Error against time\n\nErrors are distances from a reference of many samples (ours), as root mean squares over texts. That of the mean \
         probability stands as it is. Those of the variance of probabilities and of logits are shares of the reference's root mean square.\n\n\
         | who | T | s | mean probability | variance | logit variance |\n|---|---:|---:|---:|---:|---:|\n",
    );
    for one in &record.measurements {
        let (Some(median), Some(errors)) = (one.median(), one.errors) else { continue };
        let share = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), digits);
        let (variance, logits) = (share(errors.variance), share(errors.logit_variance));
        let (who, seconds, mean) = (label(&one.contestant), digits(median), digits(errors.mean));
        let _ = writeln!(text, "| {who} | {} | {seconds} | {mean} | {variance} | {logits} |", one.at);
    }
    text += "\n![Error against time](error.svg)\n";
    text
}

fn kernels(records: &Records) -> String {
    let Some(record) = records.set("limits") else { return String::new() };
    let mut text = String::from("\n## Against the machine\n");
    for one in &record.measurements {
        let threads = if one.at > 1.0 { format!("{} threads", one.at) } else { "1 thread".to_owned() };
        let _ = write!(text, "\n| {threads} | ms | GFLOP/s | GB/s |\n|---|---:|---:|---:|\n");
        for part in &one.parts {
            let rate = |count: f64| if count > 0.0 { digits(count / part.seconds / 1e9) } else { "-".to_owned() };
            let (ms, flops, bytes) = (digits(part.seconds * 1e3), rate(part.flops), rate(part.bytes));
            let _ = writeln!(text, "| {} | {ms} | {flops} | {bytes} |", part.name);
        }
    }
    text += "\n![Roofline](roofline.svg)\n";
    text
}

fn agreement(records: &Records) -> String {
    let mut text = String::from(
        "\n## Agreement before the clock\n\n| set | who | what | statistic | limit | |\n|---|---|---|---:|---:|---|\n",
    );
    for record in &records.0 {
        for one in &record.agreement {
            let verdict = match (one.statistic <= one.limit, one.is_enforced) {
                (true, _) => "agrees",
                (false, true) => "**disagrees**",
                (false, false) => "differs; not held to agree",
            };
            let statistic = format!("{:.2e}", one.statistic);
            let (who, what) = (label(&one.contestant), &one.of);
            let _ = writeln!(text, "| {} | {who} | {what} | {statistic} | {:.0e} | {verdict} |", record.set, one.limit);
        }
    }
    text
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
