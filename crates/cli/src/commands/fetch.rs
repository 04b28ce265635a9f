//! `bayeslora fetch`: downloads and verifies models and data sets.

use std::process::ExitCode;

use bayeslora_data::assets::{AssetId, Assets};
use bayeslora_terminal::{Terminal, say};

use crate::AssetArguments;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Assets to download [default: all that can be downloaded].
    names: Vec<AssetId>,
    #[command(flatten)]
    assets: AssetArguments,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let assets = Assets::new(&arguments.assets.options())?;
    let terminal = Terminal::new();
    let downloaded = AssetId::ALL.into_iter().filter(|id| id.asset().is_downloaded());
    let names = if arguments.names.is_empty() { downloaded.collect() } else { arguments.names };
    // One that is missing does not keep the others from being fetched, or told.
    let mut code = ExitCode::SUCCESS;
    for name in names {
        match assets.open(name, &mut |event| event.tell(&terminal)) {
            Ok(folder) => super::print_paths(&[folder.path()])?,
            Err(error) => {
                say(format_args!("error: {error}"));
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
