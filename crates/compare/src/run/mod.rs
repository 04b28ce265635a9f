//! Runs an experiment: what is missing is fitted, predicted and scored; what is there is kept.

mod couplings;
mod geometry;
mod kept;
mod keys;
mod paired;
mod paper;
mod side_by_side;
mod tune;
mod workshop;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::num::NonZeroUsize;
use std::path::PathBuf;

pub(crate) use couplings::MethodCouplings;
pub use couplings::{CouplingsOptions, measure_couplings};
pub use geometry::{GeometryOptions, measure_geometry};
pub(crate) use keys::{comparison_key, comparison_over_examples_key, unit_key};
pub use paper::measure_paper;
pub use tune::tune;

use self::side_by_side::side_by_side;
use self::workshop::Workshop;
use crate::error::Result;
use crate::experiment::{Plan, PlannedMethod};
use bayeslora_data::Progress;
use bayeslora_data::assets::Assets;
use bayeslora_records::Store;
use bayeslora_records::{Outcome, UnitRecord};

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

/// Computes what is missing of `plan`, `jobs` units at a time, then writes its report.
///
/// Units that share the threads are a little sooner done than one after another (317 s for 343 s with the quick profile of
/// `results/every-method` on two cores); their seconds are then those of a busy machine, and their memory is not told apart.
///
/// # Errors
/// When an asset cannot be had, data or weights are damaged, or results cannot be written. A fit whose loss or predictions are
/// not finite is no error: it becomes a failed row.
pub fn run(plan: &Plan, assets: &Assets, jobs: NonZeroUsize, progress: &dyn Progress) -> Result<RunSummary> {
    let store = Store::new(&plan.folder);
    store.check_writable()?;
    let workshop = Workshop::open(plan, store, assets, progress)?;
    let units = workshop.units();
    let mut summary = RunSummary::default();
    let mut missing = Vec::new();
    for unit in &units {
        match workshop.store.unit(&unit.method.id, unit.seed, &unit.key)? {
            Some(UnitRecord { outcome: Outcome::Failed { reason }, .. }) => {
                summary.failed.push(format!("{}: {reason}", unit.name()));
            }
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
        for unit in &missing {
            if let Entry::Vacant(place) = splits.entry(workshop.first_adapted(unit.method)) {
                let computed = workshop.splits(*place.key())?;
                place.insert(computed);
            }
        }
        let failed = side_by_side(&missing, jobs, |number, unit| {
            let name = unit.name();
            progress.stage(&format!("{name} ({} of {})", number + 1, missing.len()));
            let record = workshop.compute(unit, &splits[&workshop.first_adapted(unit.method)], jobs)?;
            workshop.store.write_unit(&record)?;
            Ok(match record.outcome {
                Outcome::Failed { reason } => Some(format!("{name}: {reason}")),
                Outcome::Finished { .. } => None,
            })
        })?;
        summary.computed = missing.len();
        summary.failed.extend(failed.into_iter().flatten());
    }
    workshop.compare(&units)?;
    summary.report = crate::report_files::write_report_of(plan, workshop.model.digest())?;
    Ok(summary)
}
