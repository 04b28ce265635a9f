//! `bayeslora width`: is the fitted width of each posterior of a run the right one?

use std::path::PathBuf;
use std::process::ExitCode;

use bayeslora_compare::{Experiment, WidthOptions, measure_widths};
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
    /// Deviations, times the fitted ones, with commas between; 0 is the mean, and 1 is always among them.
    #[arg(long, default_value = "0,0.5,1,2,4,8", value_delimiter = ',')]
    widths: Vec<f64>,
    /// Validation texts, and texts of each test set, at most.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..))]
    texts: u32,
    /// Folder to write into, instead of `width` within the results of the profile.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    resources: ResourceArguments,
    #[command(flatten)]
    assets: AssetArguments,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { experiment, profile, widths, texts, out, resources, assets } = arguments;
    let plan = Experiment::load(&experiment)?.plan(&experiment, &profile)?;
    let assets = Assets::new(&assets.options())?;
    let out = out.unwrap_or_else(|| plan.folder.join("width"));
    let options = WidthOptions { widths, texts: texts as usize };
    let resources = resources.open()?;
    let terminal = Terminal::new();
    let written = measure_widths(&plan, &options, &out, &resources, &assets, &terminal);
    terminal.finish();
    super::print_paths(&written?)?;
    Ok(ExitCode::SUCCESS)
}
