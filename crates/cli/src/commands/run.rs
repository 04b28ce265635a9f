//! `bayeslora run`: computes what is missing of an experiment, then writes its report.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use bayeslora_compare::{Experiment, publish, run as run_plan};
use bayeslora_data::Progress as _;
use bayeslora_data::assets::Assets;
use bayeslora_terminal::{Terminal, say};

use crate::AssetArguments;
use crate::resources::ResourceArguments;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The experiment file.
    experiment: PathBuf,
    /// Which of its profiles.
    #[arg(long, default_value = "quick")]
    profile: String,
    /// Units (a method at a seed) computed at a time, sharing the threads. Together they finish a little sooner. Their seconds are then
    /// those of a busy machine, and their memory is not measured.
    #[arg(long, default_value = "1", value_name = "COUNT")]
    jobs: NonZeroUsize,
    #[command(flatten)]
    resources: ResourceArguments,
    #[command(flatten)]
    assets: AssetArguments,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let plan = Experiment::load(&arguments.experiment)?.plan(&arguments.experiment, &arguments.profile)?;
    let assets = Assets::new(&arguments.assets.options())?;
    let resources = arguments.resources.open()?;
    let terminal = Terminal::new();
    let result = run_plan(&plan, (&resources, arguments.jobs), &assets, &terminal);
    terminal.finish();
    let summary = result?;
    terminal.note(&format!("{} units computed, {} found finished", summary.computed, summary.found));
    for failed in &summary.failed {
        say(format_args!("failed: {failed}"));
    }
    super::print_paths(&publish(&plan, &summary.model_digest)?)?;
    Ok(if summary.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
