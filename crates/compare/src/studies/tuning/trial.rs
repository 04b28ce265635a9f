//! Trials: which there are, how one is recorded, and which is chosen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Error, Result};
use crate::experiment::{Changes, MethodEntry, Plan, PlannedMethod, Space};
use bayeslora_records::Provenance;
use bayeslora_records::key_of;

/// Points of a grid at most.
const LARGEST_GRID: usize = 10_000;

/// One point of a method's space.
#[derive(Debug)]
pub(crate) struct Trial {
    /// What it changes of the method as written.
    pub(crate) changes: Changes,
    /// The method so changed.
    pub(crate) method: PlannedMethod,
}

/// A trial at one seed, as kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrialRecord {
    /// [`SCHEMA`](bayeslora_records::SCHEMA) of the writer.
    pub(crate) schema: u32,
    /// SHA-256 of everything that determines the fit, in hex, as of a unit.
    pub(crate) key: String,
    /// Name of the experiment.
    pub(crate) experiment: String,
    /// Identifier of the method.
    pub(crate) method: String,
    /// Seed of the fit.
    pub(crate) seed: u64,
    /// What it changes of the method as written.
    pub(crate) changes: BTreeMap<String, serde_json::Value>,
    /// What came of it.
    pub(crate) outcome: TrialOutcome,
    /// Where, when and with what it was computed.
    pub(crate) provenance: Provenance,
}

/// What came of a trial at one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "status", deny_unknown_fields)]
pub(crate) enum TrialOutcome {
    /// Fitted and judged.
    Finished {
        /// NLL of the main predictive on validation, nats.
        nll: f64,
        /// Its accuracy there.
        accuracy: f64,
        /// Wall-clock seconds of the trial.
        seconds: f64,
    },
    /// Did not finish, and why.
    Failed {
        /// One line.
        reason: String,
    },
}

/// A method's trials with their records, one for each of the tuning's seeds.
#[derive(Debug)]
pub(crate) struct Searched {
    /// Identifier of the method.
    pub(crate) id: String,
    /// Name in tables.
    pub(crate) label: String,
    /// At least one, the method as written first.
    pub(crate) trials: Vec<(Trial, Vec<TrialRecord>)>,
    /// Place of the trial that is chosen.
    pub(crate) best: usize,
}

impl Searched {
    /// The trial that is chosen.
    pub(crate) fn chosen(&self) -> &Trial {
        &self.trials[self.best].0
    }
}

/// Mean NLL over seeds; infinite where a fit failed.
pub(super) fn mean_nll(records: &[TrialRecord]) -> f64 {
    let nll = |record: &TrialRecord| match record.outcome {
        TrialOutcome::Finished { nll, .. } => nll,
        TrialOutcome::Failed { .. } => f64::INFINITY,
    };
    records.iter().map(nll).sum::<f64>() / records.len().max(1) as f64
}

/// Goes through the trials of every method of `plan` in order, `record` giving the record of each at each seed, and chooses.
///
/// # Errors
/// A setting out of range, and what `record` says.
pub(crate) fn search(plan: &Plan, mut record: impl FnMut(&Trial, u64) -> Result<TrialRecord>) -> Result<Vec<Searched>> {
    let mut searched: Vec<Searched> = Vec::new();
    for method in &plan.methods {
        let entry = entry_of(plan, &method.id)?;
        let like = entry.tuned_like.as_deref().and_then(|like| searched.iter().find(|earlier| earlier.id == like));
        let start = like.map_or_else(Changes::default, |earlier| earlier.chosen().changes.of_training());
        let mut recorded = Vec::new();
        for trial in trials(plan, entry, &start)? {
            let seeds = &plan.experiment.tuning.seeds;
            let records = seeds.iter().map(|&seed| record(&trial, seed)).collect::<Result<Vec<_>>>()?;
            recorded.push((trial, records));
        }
        // The first of equals: the method as written, where nothing is better.
        let mut best = 0;
        for (place, (_, records)) in recorded.iter().enumerate() {
            if mean_nll(records) < mean_nll(&recorded[best].1) {
                best = place;
            }
        }
        searched.push(Searched { id: method.id.clone(), label: method.label.clone(), trials: recorded, best });
    }
    Ok(searched)
}

fn entry_of<'p>(plan: &'p Plan, id: &str) -> Result<&'p MethodEntry> {
    let found = plan.experiment.methods.iter().find(|entry| entry.id == id);
    found.ok_or_else(|| Error::Report(format!("method \"{id}\" is not in the experiment")))
}

/// The trials of a method that starts from `start`: as it is first, then points of its grid in an order of chance, no two alike.
///
/// # Errors
/// A grid too large, or a point that is out of range.
pub(crate) fn trials(plan: &Plan, entry: &MethodEntry, start: &Changes) -> Result<Vec<Trial>> {
    let tuning = &plan.experiment.tuning;
    let refused =
        |problem: String| Error::Report(format!("{}: method \"{}\": {problem}", plan.experiment.name, entry.id));
    let mut space = if entry.tuned_like.is_none() { tuning.search.clone() } else { Space::new() };
    space.extend(entry.search.clone());
    let mut points = grid(&space).map_err(refused)?;
    points.sort_by_cached_key(|point| key_of(&json!([tuning.seeds, point])));
    points.insert(0, Changes::default());
    let mut trials: Vec<Trial> = Vec::new();
    let mut seen = Vec::new();
    for mut changes in points {
        for (path, value) in &start.0 {
            changes.0.entry(path.clone()).or_insert_with(|| value.clone());
        }
        let method = PlannedMethod::new(entry, &plan.shared, &changes).map_err(refused)?;
        let settings = json!([method.method.settings(), method.training]);
        if trials.len() < tuning.trials as usize && !seen.contains(&settings) {
            trials.push(Trial { changes, method });
            seen.push(settings);
        }
    }
    Ok(trials)
}

/// Every combination of the values of `space`.
fn grid(space: &Space) -> Result<Vec<Changes>, String> {
    let mut points = vec![Changes::default()];
    for (path, values) in space {
        if values.is_empty() {
            return Err(format!("search.\"{path}\" has no values"));
        }
        if points.len() * values.len() > LARGEST_GRID {
            return Err(format!("the search space has more than {LARGEST_GRID} points; name fewer values"));
        }
        let with = |point: &Changes, value: &toml::Value| {
            let mut point = point.clone();
            point.0.insert(path.clone(), value.clone());
            point
        };
        points =
            points.iter().flat_map(|point| values.iter().map(|value| with(point, value)).collect::<Vec<_>>()).collect();
    }
    Ok(points)
}
