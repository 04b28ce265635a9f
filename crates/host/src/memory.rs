//! The machine's memory, and the largest resident memory of this process over a stretch of time, as Linux counts them.

/// Sets the system's mark to what is resident now; `false` where there is no such mark.
pub fn reset_peak() -> bool {
    // proc(5): 5 resets VmHWM, the high-water mark.
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// The mark since it was last reset, in bytes.
pub fn peak() -> Option<u64> {
    high_water(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// The memory that this process may use, in bytes: the machine's, or less where a control group says so.
pub fn total() -> Option<u64> {
    let whole = field(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limits = limits.iter().filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
    Some(limits.fold(whole, u64::min))
}

/// `VmHWM` of the text of `/proc/self/status`, in bytes.
fn high_water(status: &str) -> Option<u64> {
    field(status, "VmHWM:")
}

/// The field `name` of a file of kibibytes, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than other tests of this process hold at a time.
    const BYTES: usize = 512 << 20;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_large_allocation_is_seen_and_then_forgotten() {
        if !std::path::Path::new("/proc/self/clear_refs").exists() {
            eprintln!("SKIPPED: this kernel keeps no mark of memory");
            return;
        }
        assert!(reset_peak());
        let before = peak().unwrap();
        let touched = std::hint::black_box(vec![1_u8; BYTES]);
        let during = peak().unwrap();
        assert!(during >= before.max(touched.len() as u64), "{before} {during}");
        drop(touched);
        // The system counts pages in batches, so a mark is a few off.
        assert!(peak().unwrap() > during - BYTES as u64 / 8, "the mark fell with what was freed");
        assert!(reset_peak());
        let after = peak().unwrap();
        assert!(after + BYTES as u64 / 2 < during, "{during} {after}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_machine_has_more_than_this_process_uses() {
        assert!(total().unwrap() > peak().unwrap_or(1));
    }

    #[test]
    fn the_mark_is_read_in_its_unit_or_not_at_all() {
        assert_eq!(high_water("Name:\tx\nVmPeak:\t 9 kB\nVmHWM:\t   12 kB\nVmRSS:\t 3 kB\n"), Some(12 * 1024));
        for other in ["", "VmHWM:\t12 MB\n", "VmHWM:\t-1 kB\n"] {
            assert_eq!(high_water(other), None, "{other}");
        }
    }
}
