//! `bayeslora report`: tables and figures from records alone.

use std::path::PathBuf;
use std::process::ExitCode;

use bayeslora_compare::{Experiment, check_all, check_report, write_all, write_report};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The experiment file.
    #[arg(required_unless_present = "all")]
    experiment: Option<PathBuf>,
    /// Folder of which everything is made: every experiment's report, curve and tuning tables, the README's block and the overview.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "results", conflicts_with_all = ["experiment", "readme"])]
    all: Option<PathBuf>,
    /// Which of its profiles.
    #[arg(long, default_value = "quick")]
    profile: String,
    /// Write nothing; fail if the files on disk differ from what the records give.
    #[arg(long)]
    check: bool,
    /// Also put the main table and figure between their markers in this Markdown file.
    #[arg(long, value_name = "FILE")]
    readme: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(results) = &arguments.all {
        if arguments.check {
            return Ok(super::report_stale(&check_all(results)?));
        }
        super::print_paths(&write_all(results)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(experiment) = &arguments.experiment else { return Ok(ExitCode::SUCCESS) };
    let plan = Experiment::load(experiment)?.plan(experiment, &arguments.profile)?;
    if arguments.check {
        return Ok(super::report_stale(&check_report(&plan, arguments.readme.as_deref())?));
    }
    super::print_paths(&write_report(&plan, arguments.readme.as_deref())?)?;
    Ok(ExitCode::SUCCESS)
}
