//! A unit of a plan.

use serde_json::Value;

use super::keys::{Sources, fit_key, unit_settings};
use crate::experiment::{Plan, PlannedMethod};
use bayeslora_records::key_of;

/// One method at one seed.
pub(crate) struct Unit<'a> {
    pub(crate) method: &'a PlannedMethod,
    pub(crate) seed: u64,
    /// Of its record.
    pub(crate) key: String,
    /// What `key` is the hash of.
    pub(crate) settings: Value,
    /// Of its fit, which other units may read too.
    pub(crate) fit: String,
}

impl<'a> Unit<'a> {
    /// The unit of a method of `plan`, or of a trial of it.
    pub(crate) fn new(plan: &Plan, method: &'a PlannedMethod, seed: u64, sources: Sources<'_>) -> Self {
        let settings = unit_settings(plan, method, seed, sources);
        Self { method, seed, key: key_of(&settings), settings, fit: fit_key(plan, method, seed, sources) }
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> String {
        format!("{}, seed {}", self.method.label, self.seed)
    }
}

/// Where the fit of a unit comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was trained just now.
    New,
    /// An earlier unit kept it.
    Kept,
}
