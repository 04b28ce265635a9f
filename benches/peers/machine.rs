//! The machine of a record: processor, cores, threads, versions; no host, user or path.

use std::time::Duration;

use crate::record::Machine;

/// Share of the machine that programs use while every worker waits: 0 on a quiet one, whose times alone mean anything. Where cores are
/// shared, the threads of PyTorch's loops wait for each other and its times grow several-fold. None where the system does not tell.
pub(crate) fn others() -> Option<f64> {
    // Threads of a worker may spin for a while after its last loop.
    std::thread::sleep(Duration::from_millis(200));
    let before = ticks(&std::fs::read_to_string("/proc/stat").ok()?)?;
    std::thread::sleep(Duration::from_millis(300));
    let after = ticks(&std::fs::read_to_string("/proc/stat").ok()?)?;
    let (all, idle) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    (all > 0).then(|| 1.0 - idle as f64 / all as f64)
}

/// Ticks of all cores since the start, and those without work, from `/proc/stat`.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are counted in user already.
    let counts: Vec<u64> = fields.take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    Some((counts.iter().sum(), counts.get(3)? + counts.get(4)?))
}

impl Machine {
    /// This machine, now.
    pub(crate) fn here(threads: usize) -> Self {
        Self {
            cpu: bayeslora_host::cpu_model(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads,
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            commit: bayeslora_compare::COMMIT.to_owned(),
            versions: std::collections::BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ticks;

    #[test]
    fn idle_and_waiting_are_not_work() {
        assert_eq!(ticks("cpu  10 1 5 100 20 0 2 3 7 0\ncpu0 1 1 1 1\n"), Some((141, 120)));
        assert_eq!(ticks("cpu  10 1\n"), None);
        assert_eq!(ticks("intr 5\n"), None);
    }
}
