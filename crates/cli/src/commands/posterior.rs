//! `bayeslora posterior`: every method of a run beside the exact posterior of its adapters.

use std::path::PathBuf;
use std::process::ExitCode;

use bayeslora_compare::{Experiment, PosteriorOptions, measure_posterior};
use bayeslora_data::assets::Assets;
use bayeslora_terminal::Terminal;

use crate::AssetArguments;
use crate::resources::ResourceArguments;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The experiment file, whose run is finished here; it adapts the pooler alone and does not train the head.
    experiment: PathBuf,
    /// Which of its profiles.
    #[arg(long, default_value = "quick")]
    profile: String,
    /// Standard deviations of the prior of every entry of A and B.
    #[arg(long, value_delimiter = ',', default_value = "0.05,0.1", value_parser = positive)]
    prior_sds: Vec<f64>,
    /// Temperatures of the posterior; methods are held against that of 1.
    #[arg(long, value_delimiter = ',', default_value = "1,0.3,0.1", value_parser = positive)]
    temperatures: Vec<f64>,
    /// Chains.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    chains: u32,
    /// Draws of each chain before the kept ones, which tune the sampler.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(20..))]
    tune: u32,
    /// Draws kept of each chain.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(4..))]
    draws: u32,
    /// Texts of each test domain at most.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..))]
    texts: u32,
    #[command(flatten)]
    resources: ResourceArguments,
    #[command(flatten)]
    assets: AssetArguments,
}

fn positive(text: &str) -> Result<f64, String> {
    let value: f64 = text.trim().parse().map_err(|_| format!("{text:?} is no number"))?;
    if value > 0.0 && value.is_finite() { Ok(value) } else { Err(format!("{value}; expected a positive number")) }
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let plan = Experiment::load(&arguments.experiment)?.plan(&arguments.experiment, &arguments.profile)?;
    let assets = Assets::new(&arguments.assets.options())?;
    let options = PosteriorOptions {
        prior_sds: arguments.prior_sds,
        temperatures: arguments.temperatures,
        chains: arguments.chains as usize,
        tune: u64::from(arguments.tune),
        draws: u64::from(arguments.draws),
        texts: arguments.texts as usize,
    };
    let resources = arguments.resources.open()?;
    let terminal = Terminal::new();
    let written = measure_posterior(&plan, &options, &resources, &assets, &terminal);
    terminal.finish();
    super::print_paths(&written?)?;
    Ok(ExitCode::SUCCESS)
}
