//! One module per command, each with its arguments and one `run`.

pub(crate) mod couplings;
pub(crate) mod fetch;
pub(crate) mod geometry;
pub(crate) mod predict;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod theory;

/// Sizes the thread pool that every computation shares.
pub(crate) fn set_threads(threads: usize) -> anyhow::Result<()> {
    bayeslora_compare::set_threads(threads).map_err(|problem| anyhow::anyhow!("--threads {threads}: {problem}"))
}
