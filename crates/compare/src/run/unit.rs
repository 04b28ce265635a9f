//! A unit of a plan.

use crate::experiment::PlannedMethod;

/// One method at one seed.
pub(crate) struct Unit<'a> {
    pub(crate) method: &'a PlannedMethod,
    pub(crate) seed: u64,
    /// Of its record.
    pub(crate) key: String,
}

impl Unit<'_> {
    /// What messages call it.
    pub(crate) fn name(&self) -> String {
        format!("{}, seed {}", self.method.label, self.seed)
    }
}
