//! One module per command, each with its arguments and one `run`.

mod checked;
pub(crate) mod couplings;
pub(crate) mod curve;
pub(crate) mod fetch;
pub(crate) mod geometry;
pub(crate) mod guard;
pub(crate) mod nulls;
pub(crate) mod overview;
pub(crate) mod paper;
pub(crate) mod posterior;
pub(crate) mod predict;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod theory;
pub(crate) mod tune;
pub(crate) mod width;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use bayeslora_terminal::say;

/// Names the files that differ from their records; success where there are none.
fn report_stale(stale: &[PathBuf]) -> ExitCode {
    for path in stale {
        say(format_args!("differs from the records: {}", path.display()));
    }
    if stale.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a line on standard output, and returns whether anybody still reads there.
fn print_line(line: impl Display) -> anyhow::Result<bool> {
    bayeslora_terminal::print(line).context("standard output cannot be written")
}

/// Names files and folders on standard output, one a line.
fn print_paths(paths: &[impl AsRef<Path>]) -> anyhow::Result<()> {
    for path in paths {
        print_line(path.as_ref().display())?;
    }
    Ok(())
}

/// Sizes the thread pool that every computation shares.
pub(crate) fn set_threads(threads: usize) -> anyhow::Result<()> {
    bayeslora_host::set_threads(threads).map_err(|problem| anyhow::anyhow!("--threads {threads}: {problem}"))
}
