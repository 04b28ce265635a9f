//! `bayeslora guard watch`.

use std::io::BufRead as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use bayeslora_guard::{Feedback, Guard, Watch, WatchSettings};

use crate::commands::print_line;

/// Exit code once there was an alarm.
const ALARM: u8 = 3;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// File of the guard.
    guard: PathBuf,
    /// File of the watch, made where it is not there and brought up to date at the end.
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
    /// Probability that the watch of risk, or that of drift, ever gives a false alarm.
    #[arg(long, default_value_t = 0.05)]
    alpha: f64,
    /// Labels until the watch of change gives a false alarm, on average and at least.
    #[arg(long, default_value_t = 10_000.0)]
    run_length: f64,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let settings = WatchSettings { alpha: arguments.alpha, run_length: arguments.run_length };
    let guard = Guard::read_for_any(&arguments.guard)?;
    let mut watch = if arguments.state.exists() {
        Watch::read(&arguments.state, &guard, settings)?
    } else {
        Watch::new(&guard, settings)?
    };
    let read = lines(&mut watch);
    // What was read before a line that is refused counts, and is not given again.
    watch.write(&arguments.state)?;
    read?;
    if let Some([wrong, labels]) = watch.counts() {
        print_line(format!("labels: {labels}, wrong: {wrong}"))?;
    }
    print_line(format!("wealth against no drift: {:.3}", watch.drift()))?;
    Ok(if watch.alarms().is_empty() { ExitCode::SUCCESS } else { ExitCode::from(ALARM) })
}

/// Takes every line of standard input, and prints each alarm as a line of JSON when it comes.
fn lines(watch: &mut Watch) -> anyhow::Result<()> {
    for (number, line) in (1..).zip(std::io::stdin().lock().lines()) {
        let line = line.with_context(|| format!("line {number} of standard input cannot be read"))?;
        if line.trim().is_empty() {
            continue;
        }
        let wanted =
            || format!("line {number} of standard input: expected {{\"id\", \"correct\"}} or {{\"id\", \"score\"}}");
        let feedback: Feedback = serde_json::from_str(&line).with_context(wanted)?;
        for alarm in watch.observe(&feedback).with_context(|| format!("line {number} of standard input"))? {
            print_line(serde_json::to_string(&alarm)?)?;
        }
    }
    Ok(())
}
