//! Computes what is missing of a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use bayeslora_data::Progress;
use bayeslora_data::assets::Assets;
use bayeslora_inference::Resources;
use bayeslora_records::{Outcome, Store, UnitRecord};

use super::opened::{OpenedPlan, Splits};
use super::side_by_side::side_by_side;
use super::unit::Unit;
use crate::error::{Error, Result};
use crate::experiment::Plan;

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct RunSummary {
    /// Units computed now.
    pub computed: usize,
    /// Units found.
    pub found: usize,
    /// Units that failed, with the reason.
    pub failed: Vec<String>,
    /// Digest of the backbone that the records are of.
    pub model_digest: String,
}

/// Computes what is missing of `plan`, `jobs` units at a time, and the distances of its test texts.
///
/// Units that share the threads are a little sooner done than one after another (317 s for 343 s with 19 methods, one
/// epoch and one seed on two cores); their seconds are then those of a busy machine, and their memory is not told apart.
///
/// # Errors
/// When an asset cannot be had, data or weights are damaged, or results cannot be written. A fit whose loss or predictions are
/// not finite is no error: it becomes a failed row.
pub fn run(
    plan: &Plan,
    (resources, jobs): (&Resources, NonZeroUsize),
    assets: &Assets,
    progress: &dyn Progress,
) -> Result<RunSummary> {
    let store = Store::new(&plan.folder);
    store.check_writable()?;
    let opened = OpenedPlan::open(plan, store, resources, assets, progress)?;
    opened.check_arithmetic()?;
    let examples = opened.data.trained_on();
    plan.check_steps(examples).map_err(|problem| Error::Experiment { path: plan.path.clone(), problem })?;
    let units = opened.units();
    let mut summary = RunSummary { model_digest: opened.model.digest().to_owned(), ..RunSummary::default() };
    let (mut missing, mut keep_texts) = (Vec::new(), false);
    for unit in &units {
        match opened.store.unit(&unit.method.id, unit.seed, &unit.key)? {
            Some(UnitRecord { outcome: Outcome::Failed { reason }, .. }) => {
                summary.failed.push(format!("{}: {reason}", unit.name()));
            }
            Some(record) => {
                summary.found += 1;
                keep_texts |= record.keeps_texts();
            }
            None => missing.push(unit),
        }
    }
    // Records of before columns have no page that would show distances.
    let lacks_distances = (keep_texts || !missing.is_empty()) && !opened.has_distances()?;
    if lacks_distances || !missing.is_empty() {
        for note in &opened.data.notes {
            progress.note(note);
        }
        let of_distances = lacks_distances.then(|| opened.reference_input());
        let inputs: BTreeSet<usize> =
            missing.iter().map(|unit| opened.first_adapted(unit.method)).chain(of_distances).collect();
        opened.announce(&missing, inputs.len())?;
        let splits = inputs.into_iter().map(|from| Ok((from, opened.splits(from)?)));
        let splits: BTreeMap<usize, Splits> = splits.collect::<Result<_>>()?;
        if let Some(from) = of_distances {
            opened.keep_distances(&splits[&from])?;
        }
        let begun = AtomicUsize::new(0);
        let failed = side_by_side(&by_fit(&missing), jobs, |_, units| {
            let mut failed = Vec::new();
            for unit in units {
                let (name, number) = (unit.name(), begun.fetch_add(1, Ordering::Relaxed) + 1);
                progress.stage(&format!("{name} ({number} of {})", missing.len()));
                let record = opened.compute(unit, &splits[&opened.first_adapted(unit.method)], jobs)?;
                opened.store.write_unit(&record)?;
                if let Outcome::Failed { reason } = record.outcome {
                    failed.push(format!("{name}: {reason}"));
                }
            }
            Ok(failed)
        })?;
        summary.computed = missing.len();
        summary.failed.extend(failed.into_iter().flatten());
    }
    Ok(summary)
}

/// Units of one fit one after another, by the first of each: two at a time would train it twice, in one folder.
fn by_fit<'u, 'p>(units: &[&'u Unit<'p>]) -> Vec<Vec<&'u Unit<'p>>> {
    let mut groups: Vec<Vec<&Unit<'_>>> = Vec::new();
    for &unit in units {
        match groups.iter_mut().find(|group| group[0].fit == unit.fit) {
            Some(group) => group.push(unit),
            None => groups.push(vec![unit]),
        }
    }
    groups
}
