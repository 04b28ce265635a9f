//! `bayeslora couplings`: how many samples do coupled masks and adaptive T save on the trained adapters of a run?

use std::path::PathBuf;
use std::process::ExitCode;

use bayeslora_compare::{CouplingsOptions, Experiment, measure_couplings};
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
    /// Test texts at most.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..))]
    texts: u32,
    /// Replicates of every number of samples for every text.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(4..10_000))]
    replicates: u32,
    /// Samples at most of an adaptive decision, and of its reference.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(2..1_000_000))]
    most: u32,
    /// Resamples of each interval.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..))]
    resamples: u32,
    /// Folder to write into, instead of `couplings` within the results of the profile.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    resources: ResourceArguments,
    #[command(flatten)]
    assets: AssetArguments,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        arguments.most.is_multiple_of(2),
        "--most is {}; expected an even number: antithetic samples come in pairs",
        arguments.most
    );
    let plan = Experiment::load(&arguments.experiment)?.plan(&arguments.experiment, &arguments.profile)?;
    let assets = Assets::new(&arguments.assets.options())?;
    let options = CouplingsOptions {
        texts: arguments.texts as usize,
        replicates: arguments.replicates,
        most: arguments.most,
        resamples: arguments.resamples,
    };
    let out = arguments.out.unwrap_or_else(|| plan.folder.join("couplings"));
    let resources = arguments.resources.open()?;
    let terminal = Terminal::new();
    let written = measure_couplings(&plan, options, &out, &resources, &assets, &terminal);
    terminal.finish();
    super::print_paths(&written?)?;
    Ok(ExitCode::SUCCESS)
}
