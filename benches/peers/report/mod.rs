//! The report: a pure function of the records. Figures of the text are computed here or in bars.rs; nothing is typed.

mod bars;
mod figures;
mod scaling;
mod table;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::{Result, ensure};

use crate::record::{Machine, Record};
use crate::sets::SETS;

/// Name and bytes of a file.
pub(crate) type File = (String, Vec<u8>);

/// The records there are, in the order of measurement.
pub(crate) struct Records(pub(crate) Vec<Record>);

impl Records {
    fn read(folder: &Path) -> Result<Self> {
        let mut records = Vec::new();
        for set in SETS {
            records.extend(Record::read(folder, set.id)?);
        }
        ensure!(!records.is_empty(), "{} has no records; `make bench-peers` measures them", folder.display());
        Ok(Self(records))
    }

    /// The record of a set.
    pub(crate) fn set(&self, id: &str) -> Option<&Record> {
        self.0.iter().find(|record| record.set == id)
    }

    /// What a machine reached at most, by its own measurement; none where another one was measured.
    pub(crate) fn limits(&self, machine: &Machine, threads: usize) -> Option<Limits> {
        let own = |record: &&Record| record.machine.cpu == machine.cpu && record.machine.cores == machine.cores;
        let mut found = ["limits", "decoder-limits"].into_iter().filter_map(|set| self.set(set)).filter(own);
        let parts = found.find_map(|record| Some(&record.find("limits", threads as f64)?.parts))?;
        let best = |prefix: &str, rate: fn(&crate::protocol::Part) -> f64| {
            parts.iter().filter(|part| part.name.starts_with(prefix)).map(rate).reduce(f64::max)
        };
        Some(Limits {
            flops: best("product", |part| part.flops / part.seconds)?,
            bytes: best("memory", |part| part.bytes / part.seconds)?,
        })
    }
}

/// Operations and bytes per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limits {
    pub(crate) flops: f64,
    pub(crate) bytes: f64,
}

impl Limits {
    /// Least seconds of work with these counts.
    pub(crate) fn seconds(self, flops: f64, bytes: f64) -> f64 {
        (flops / self.flops).max(bytes / self.bytes)
    }
}

/// Every file of the report.
pub(crate) fn files(records: &Path) -> Result<Vec<File>> {
    let records = Records::read(records)?;
    let mut files = vec![
        ("table.md".to_owned(), table::page(&records).markdown().into_bytes()),
        ("table.csv".to_owned(), table::csv(&records)?),
    ];
    files.extend(figures::all(&records)?);
    Ok(files)
}
