//! `bayeslora report`: tables and figures from records alone.

use std::path::PathBuf;
use std::process::ExitCode;

use bayeslora_compare::{Experiment, check_report, write_report};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The experiment file.
    experiment: PathBuf,
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
    let plan = Experiment::load(&arguments.experiment)?.plan(&arguments.experiment, &arguments.profile)?;
    if arguments.check {
        return Ok(super::report_stale(&check_report(&plan, arguments.readme.as_deref())?));
    }
    super::print_paths(&write_report(&plan, arguments.readme.as_deref())?)?;
    Ok(ExitCode::SUCCESS)
}
