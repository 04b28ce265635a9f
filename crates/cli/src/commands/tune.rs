//! `bayeslora tune`: searches every method's settings on the validation set, by the same number of trials.

use std::path::PathBuf;
use std::process::ExitCode;

use bayeslora_compare::{Experiment, check_tuning, tune};
use bayeslora_data::assets::Assets;
use bayeslora_terminal::Terminal;

use crate::AssetArguments;
use crate::resources::ResourceArguments;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The experiment file.
    experiment: PathBuf,
    /// The profile whose data and sizes the trials have.
    #[arg(long, default_value = "quick")]
    profile: String,
    /// Run nothing; fail if the files on disk differ from what the trials on record give.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    resources: ResourceArguments,
    #[command(flatten)]
    assets: AssetArguments,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let plan = Experiment::load(&arguments.experiment)?.plan_untuned(&arguments.experiment, &arguments.profile)?;
    if arguments.check {
        return Ok(super::report_stale(&check_tuning(&plan)?));
    }
    let assets = Assets::new(&arguments.assets.options())?;
    let resources = arguments.resources.open()?;
    let terminal = Terminal::new();
    let written = tune(&plan, &resources, &assets, &terminal);
    terminal.finish();
    super::print_paths(&written?)?;
    Ok(ExitCode::SUCCESS)
}
