//! `bayeslora guard`: rules with guarantees on a classifier's predictions: fitted, checked on fresh data, watched in use.

mod check;
mod fit;
mod watch;

use std::path::Path;
use std::process::ExitCode;

use bayeslora_guard::{Example, ScoreName, Subject, examples_of, subject_of};
use bayeslora_records::predictions;

pub(crate) const EXAMPLES: &str = "\
Examples:
  bayeslora guard fit --predictions cal.jsonl --answer 0.05 --delta 0.05 -o guard.json
  bayeslora guard fit --predictions DIR --sets 0.95 --pac --per class -o guard.json
  bayeslora guard check guard.json --predictions test.jsonl
  bayeslora guard watch guard.json --state watch.json < feedback.jsonl

A line of predictions: {\"id\": \"a\", \"label\": 1, \"probs\": [0.2, 0.8]}; `logits`, samples as a list of lists, `correct`, `score`
and `group` are read too. A line of feedback: {\"id\": \"a\", \"correct\": true} or {\"id\": \"a\", \"score\": 0.3}.";

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Calibrate rules on labelled predictions that served nothing else, and write them to a file.
    Fit(fit::Arguments),
    /// Check a guard on labelled predictions that it has not seen. Exit code 1 where a promise is refuted.
    Check(check::Arguments),
    /// Watch a guard in use, from lines of feedback on standard input. Exit code 3 once there was an alarm.
    Watch(watch::Arguments),
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Fit(arguments) => fit::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Watch(arguments) => watch::run(arguments),
    }
}

/// Examples with a score, and what they are predictions of.
fn examples(path: &Path, score: &ScoreName, distance: Option<&str>) -> anyhow::Result<(Vec<Example>, Subject)> {
    let predictions = predictions::open(path)?;
    let named = |error: bayeslora_guard::Error| anyhow::anyhow!("{}: {error}", path.display());
    Ok((examples_of(&predictions, score, distance).map_err(named)?, subject_of(&predictions, score, distance)))
}
