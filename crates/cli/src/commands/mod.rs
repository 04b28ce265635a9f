//! One module per command, each with its arguments and one `run`.

pub(crate) mod couplings;
pub(crate) mod curve;
pub(crate) mod fetch;
pub(crate) mod geometry;
pub(crate) mod overview;
pub(crate) mod paper;
pub(crate) mod predict;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod theory;
pub(crate) mod tune;

use std::path::PathBuf;
use std::process::ExitCode;

/// Names the files that differ from their records; success where there are none.
fn report_stale(stale: &[PathBuf]) -> ExitCode {
    for path in stale {
        eprintln!("differs from the records: {}", path.display());
    }
    if stale.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Sizes the thread pool that every computation shares.
pub(crate) fn set_threads(threads: usize) -> anyhow::Result<()> {
    bayeslora_host::set_threads(threads).map_err(|problem| anyhow::anyhow!("--threads {threads}: {problem}"))
}
