//! Where the numbers of a page come from, and what is missing.

use std::collections::BTreeSet;

use bayeslora_host::hex;
use bayeslora_records::{Outcome, UnitRecord};
use bayeslora_render::Page;
use sha2::{Digest, Sha256};

use crate::aggregate::records_of;
use crate::definition::Definition;
use crate::error::{Error, Result};

/// Where the numbers come from, as the records say: one line per fact.
///
/// # Errors
/// [`Error::Report`] for a record that JSON cannot hold.
pub(crate) fn provenance(definition: &Definition, units: &[&UnitRecord]) -> Result<Vec<String>> {
    let mut hasher = Sha256::new();
    for unit in units {
        let text = serde_json::to_string(unit).map_err(|error| Error::Report(error.to_string()))?;
        hasher.update(text.as_bytes());
    }
    let distinct = |f: &dyn Fn(&UnitRecord) -> String| {
        units.iter().map(|unit| f(unit)).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
    };
    let seeds: BTreeSet<u64> = units.iter().map(|unit| unit.seed).collect();
    Ok(vec![
        Page::made_by(&definition.command),
        format!("Records: {}, sha256 {}", units.len(), hex(&hasher.finalize())),
        format!(
            "Version {}, commit {}, dates {}",
            distinct(&|u| u.provenance.version.clone()),
            distinct(&|u| u.provenance.commit.clone()),
            distinct(&|u| u.provenance.date.clone())
        ),
        format!(
            "Seeds {}; {}, {} threads, {}{}",
            seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            distinct(&|u| u.provenance.cpu.clone()),
            distinct(&|u| match u.provenance.jobs {
                1 => u.provenance.threads.to_string(),
                jobs => format!("{} (each of {jobs} at a time)", u.provenance.threads),
            }),
            distinct(&|u| match &u.provenance.accelerator {
                None => u.provenance.device.clone(),
                Some(name) => format!("{} ({name})", u.provenance.device),
            }),
            match distinct(&|u| u.provenance.precision.clone()).as_str() {
                "f32" | "" => String::new(),
                precision => format!(", {precision}"),
            }
        ),
    ])
}

/// What is missing or failed, said before the tables.
pub(crate) fn gaps(definition: &Definition, units: &[&UnitRecord]) -> Vec<String> {
    let mut notes = Vec::new();
    for unit in units {
        if let Outcome::Failed { reason } = &unit.outcome {
            notes.push(format!("> **Failed:** {} at seed {}: {reason}", unit.method, unit.seed));
        }
    }
    for row in &definition.rows {
        let finished = records_of(units, &row.id).len();
        if finished < definition.seeds.len() {
            let planned = definition.seeds.len();
            notes.push(format!("> **Incomplete:** {} has {finished} of {planned} seeds.", row.label));
        }
    }
    notes
}
