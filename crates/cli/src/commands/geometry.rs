//! `bayeslora geometry`: does V follow the distance from the fine-tuning subspace inside the trained adapters of a run?

use std::path::PathBuf;
use std::process::ExitCode;

use bayeslora_compare::{Experiment, GeometryOptions, measure_geometry};
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
    /// Texts of each test domain at most.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..))]
    texts: u32,
    /// Resamples of each interval.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..))]
    resamples: u32,
    #[command(flatten)]
    resources: ResourceArguments,
    #[command(flatten)]
    assets: AssetArguments,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let plan = Experiment::load(&arguments.experiment)?.plan(&arguments.experiment, &arguments.profile)?;
    let assets = Assets::new(&arguments.assets.options())?;
    let options = GeometryOptions { texts: arguments.texts as usize, resamples: arguments.resamples };
    let resources = arguments.resources.open()?;
    let terminal = Terminal::new();
    let written = measure_geometry(&plan, options, &resources, &assets, &terminal);
    terminal.finish();
    super::print_paths(&written?)?;
    Ok(ExitCode::SUCCESS)
}
