//! `bayeslora overview`: the results folder on two pages.

use std::path::PathBuf;
use std::process::ExitCode;

use bayeslora_compare::{check_overview, write_overview};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder with the results.
    #[arg(default_value = "results")]
    results: PathBuf,
    /// Write nothing; fail if README.md there differs from what the tables give.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.check {
        return Ok(super::report_stale(&check_overview(&arguments.results)?));
    }
    super::print_paths(&write_overview(&arguments.results)?)?;
    Ok(ExitCode::SUCCESS)
}
