//! The machine of a record: processor, cores, threads, versions; no host, user or path.

use crate::record::Machine;

impl Machine {
    /// This machine, now.
    pub(crate) fn here(threads: usize) -> Self {
        Self {
            cpu: bayeslora_compare::cpu_model(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads,
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            commit: bayeslora_compare::COMMIT.to_owned(),
            versions: std::collections::BTreeMap::new(),
        }
    }
}
