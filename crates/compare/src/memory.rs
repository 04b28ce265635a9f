//! The largest resident memory of this process over a stretch of time, as Linux counts it.

/// A stretch of time that has begun.
#[derive(Debug)]
pub(crate) struct PeakMemory(());

impl PeakMemory {
    /// Begins: sets the system's mark to what is resident now. None where the system has no such mark.
    pub(crate) fn start() -> Option<Self> {
        // proc(5): 5 resets VmHWM, the high-water mark.
        std::fs::write("/proc/self/clear_refs", "5").ok()?;
        Some(Self(()))
    }

    /// The mark so far, in bytes.
    pub(crate) fn bytes(&self) -> Option<u64> {
        peak(&std::fs::read_to_string("/proc/self/status").ok()?)
    }
}

/// `VmHWM` of the text of `/proc/self/status`, in bytes.
fn peak(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
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
        let Some(memory) = PeakMemory::start() else { return };
        let before = memory.bytes().unwrap();
        let touched = std::hint::black_box(vec![1_u8; BYTES]);
        let during = memory.bytes().unwrap();
        assert!(during >= before.max(touched.len() as u64), "{before} {during}");
        drop(touched);
        // The system counts pages in batches, so a mark is a few off.
        assert!(memory.bytes().unwrap() > during - BYTES as u64 / 8, "the mark fell with what was freed");
        let after = PeakMemory::start().unwrap().bytes().unwrap();
        assert!(after + BYTES as u64 / 2 < during, "{during} {after}");
    }

    #[test]
    fn the_mark_is_read_in_its_unit_or_not_at_all() {
        assert_eq!(peak("Name:\tx\nVmPeak:\t 9 kB\nVmHWM:\t   12 kB\nVmRSS:\t 3 kB\n"), Some(12 * 1024));
        for other in ["", "VmHWM:\t12 MB\n", "VmHWM:\t-1 kB\n"] {
            assert_eq!(peak(other), None, "{other}");
        }
    }
}
