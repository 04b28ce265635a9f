//! Processor and threads.

use crate::error::{Error, Result};

/// The system's name of its processor, or the architecture where it does not say.
pub fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// Largest number of threads that is accepted: more than the processors of any machine, and started in under a second.
pub const MOST_THREADS: usize = 1024;

/// Sizes the thread pool that every computation shares; to be called once, before any computation.
///
/// # Errors
/// [`Error::Threads`] when the pool already runs or cannot be started.
pub fn set_threads(threads: usize) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build_global().map_err(|error| Error::Threads(error.to_string()))
}
