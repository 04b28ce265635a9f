//! `bayeslora guard check`.

use std::path::PathBuf;
use std::process::ExitCode;

use bayeslora_guard::{Checked, Guard, Rate, distance_of};

use super::examples;
use crate::commands::print_line;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// File of the guard.
    guard: PathBuf,
    /// Labelled predictions that the guard has not seen: a folder or a file of JSON lines.
    #[arg(long, value_name = "PATH")]
    predictions: PathBuf,
    /// Level of each test, and one less the level of the intervals.
    #[arg(long, default_value_t = 0.05)]
    delta: f64,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    // Which scores the guard reads is known from its file; then it must be of the same predictions.
    let known = Guard::read_for_any(&arguments.guard)?;
    let score = known.subject().score.name.parse()?;
    let (fresh, subject) = examples(&arguments.predictions, &score, distance_of(known.subject()))?;
    let guard = Guard::read(&arguments.guard, &subject)?;
    let named = |error: bayeslora_guard::Error| anyhow::anyhow!("{}: {error}", arguments.predictions.display());
    let checked = guard.check(fresh, arguments.delta).map_err(named)?;
    if arguments.json {
        print_line(serde_json::to_string_pretty(&checked)?)?;
    } else {
        say(&checked, arguments.delta)?;
    }
    Ok(if checked.is_refuted() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn say(checked: &Checked, delta: f64) -> anyhow::Result<()> {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let rate = |name: &str, rate: Option<Rate>| {
        rate.map(|Rate { count, of, interval: [lower, upper] }| {
            let share = percent(count as f64 / of as f64);
            format!("{name}: {count} of {of}, {share} [{}, {}]", percent(lower), percent(upper))
        })
    };
    let Checked { given, kept, asked, escalated, .. } = checked;
    print_line(format!("examples: {kept} of {given}, one a group; intervals at {}", percent(1.0 - delta)))?;
    for line in [rate("answered", checked.coverage), rate("wrong among answers", checked.risk)].into_iter().flatten() {
        print_line(line)?;
    }
    print_line(format!("asked about: {asked}; escalated: {escalated}"))?;
    for verdict in &checked.verdicts {
        let said = if verdict.refuted { "refuted" } else { "not refuted" };
        print_line(format!(
            "{}: at most {} promised, {} of {} found; p = {:.4}, {said}",
            verdict.rule,
            percent(verdict.promised),
            verdict.count,
            verdict.of,
            verdict.p_value
        ))?;
    }
    Ok(())
}
