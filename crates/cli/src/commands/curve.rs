//! `bayeslora curve`: metrics against what the profiles of an experiment vary, from records alone.

use std::path::PathBuf;
use std::process::ExitCode;

use bayeslora_compare::{check_curve, write_curve};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The experiment file, with a `[curve]` and profiles that say where they stand on it.
    experiment: PathBuf,
    /// Write nothing; fail if the files on disk differ from what the records give.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.check {
        return Ok(super::report_stale(&check_curve(&arguments.experiment)?));
    }
    super::print_paths(&write_curve(&arguments.experiment)?)?;
    Ok(ExitCode::SUCCESS)
}
