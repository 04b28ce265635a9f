//! The memory that activations may take while they wait for their passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Memory of the machine that is taken by default.
const SHARE: u64 = 2;
/// Budget where the system does not say how much memory there is.
const UNKNOWN: u64 = 4 << 30;

/// Bytes of activations that may be in memory together. Copies share one account.
#[derive(Debug, Clone)]
pub struct Budget {
    limit: u64,
    account: Arc<Account>,
}

#[derive(Debug, Default)]
struct Account {
    held: AtomicU64,
    most: AtomicU64,
}

impl Budget {
    /// At most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { limit, account: Arc::default() }
    }

    /// The bytes that may be held.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The bytes that are held now.
    pub fn held(&self) -> u64 {
        self.account.held.load(Ordering::Relaxed)
    }

    /// The most bytes that were held together.
    pub fn most(&self) -> u64 {
        self.account.most.load(Ordering::Relaxed)
    }

    /// Takes `bytes` until the share is dropped; none where they do not fit any more.
    pub(crate) fn take(&self, bytes: u64) -> Option<Share> {
        let add = |held: u64| held.checked_add(bytes).filter(|&held| held <= self.limit);
        let before = self.account.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        self.account.most.fetch_max(before + bytes, Ordering::Relaxed);
        Some(Share { bytes, account: Arc::clone(&self.account) })
    }
}

impl Default for Budget {
    /// Half of the machine's memory.
    fn default() -> Self {
        Self::new(bayeslora_host::memory::total().map_or(UNKNOWN, |bytes| bytes / SHARE))
    }
}

/// Bytes taken from a budget, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    bytes: u64,
    account: Arc<Account>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.account.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_not_held_and_what_is_dropped_is_free_again() {
        let budget = Budget::new(100);
        let first = budget.clone().take(60);
        assert!(first.is_some() && budget.take(41).is_none() && budget.take(u64::MAX).is_none());
        let second = budget.take(40);
        assert_eq!((budget.held(), budget.most()), (100, 100));
        drop(first);
        assert_eq!((budget.held(), budget.most()), (40, 100));
        assert!(second.is_some() && budget.take(61).is_none() && budget.take(60).is_some());
        assert_eq!(budget.limit(), 100);
    }
}
