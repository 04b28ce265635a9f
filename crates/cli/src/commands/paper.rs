//! `bayeslora paper`: what BayesLoRA v1 reports, beside the same quantities of a run of its protocol.

use std::path::PathBuf;
use std::process::ExitCode;

use bayeslora_compare::{Experiment, measure_paper};
use bayeslora_data::assets::Assets;
use bayeslora_terminal::Terminal;

use crate::AssetArguments;
use crate::resources::ResourceArguments;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The experiment file, whose run is finished here.
    experiment: PathBuf,
    /// Which of its profiles.
    #[arg(long, default_value = "quick")]
    profile: String,
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
    let written = measure_paper(&plan, &resources, &assets, &terminal);
    terminal.finish();
    super::print_paths(&written?)?;
    Ok(ExitCode::SUCCESS)
}
