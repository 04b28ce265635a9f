//! Runs an experiment: what is missing is fitted, predicted and scored; what is there is kept.

mod couplings;
mod geometry;
mod kept;
mod keys;
mod paired;
mod paper;
mod tune;
mod workshop;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;

pub(crate) use couplings::MethodCouplings;
pub use couplings::{CouplingsOptions, measure_couplings};
pub use geometry::{GeometryOptions, measure_geometry};
pub(crate) use keys::{comparison_key, comparison_over_examples_key, unit_key};
pub use paper::measure_paper;
pub use tune::tune;

use self::workshop::Workshop;
use crate::Result;
use crate::assets::Assets;
use crate::experiment::{Plan, PlannedMethod};
use crate::progress::Progress;
use crate::record::Outcome;
use crate::store::Store;

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct RunSummary {
    /// Units computed now.
    pub computed: usize,
    /// Units found.
    pub found: usize,
    /// Units that failed, with the reason.
    pub failed: Vec<String>,
    /// Files of the report.
    pub report: Vec<PathBuf>,
}

/// A unit of the plan: one method at one seed.
struct Unit<'a> {
    method: &'a PlannedMethod,
    seed: u64,
    key: String,
}

impl Unit<'_> {
    fn name(&self) -> String {
        format!("{}, seed {}", self.method.label, self.seed)
    }
}

/// Computes what is missing of `plan`, then writes its report.
///
/// # Errors
/// When an asset cannot be had, data or weights are damaged, or results cannot be written. A fit that diverges is no
/// error: it becomes a failed row.
pub fn run(plan: &Plan, assets: &Assets, progress: &dyn Progress) -> Result<RunSummary> {
    let store = Store::new(&plan.folder);
    store.check_writable()?;
    let workshop = Workshop::open(plan, store, assets, progress)?;
    let units = workshop.units();
    let mut summary = RunSummary::default();
    let mut missing = Vec::new();
    for unit in &units {
        match workshop.store.unit(&unit.method.id, unit.seed, &unit.key)? {
            Some(_) => summary.found += 1,
            None => missing.push(unit),
        }
    }
    if !missing.is_empty() {
        for note in &workshop.data.notes {
            progress.note(note);
        }
        workshop.announce(&missing)?;
        let mut splits = BTreeMap::new();
        for (number, unit) in missing.iter().enumerate() {
            let name = unit.name();
            let splits = match splits.entry(workshop.first_adapted(unit.method)) {
                Entry::Occupied(found) => found.into_mut(),
                Entry::Vacant(place) => {
                    let computed = workshop.splits(*place.key())?;
                    place.insert(computed)
                }
            };
            progress.stage(&format!("{name} ({} of {})", number + 1, missing.len()));
            let record = workshop.compute(unit, splits)?;
            if let Outcome::Failed { reason } = &record.outcome {
                summary.failed.push(format!("{name}: {reason}"));
            }
            workshop.store.write_unit(&record)?;
            summary.computed += 1;
        }
    }
    workshop.compare(&units)?;
    summary.report = crate::report_files::write_report_of(plan, workshop.model.digest())?;
    Ok(summary)
}
