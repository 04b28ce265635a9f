//! What a report needs to know of an experiment.

use std::collections::BTreeMap;

use bayeslora_metrics::Bootstrap;
use serde::Deserialize;

/// An experiment as its pages show it.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Name, the folder's.
    pub name: String,
    /// One line.
    pub title: String,
    /// Prose above the tables, Markdown.
    pub analysis: String,
    /// Seeds planned.
    pub seeds: Vec<u64>,
    /// Whether each seed trains on its own draw of the training texts.
    pub draws_training_set: bool,
    /// Rows in order.
    pub rows: Vec<RowDefinition>,
    /// Test sets, the in-distribution one first.
    pub domains: Vec<TestSet>,
    /// Row the others are compared with.
    pub reference: String,
    /// Command that regenerates the results.
    pub command: String,
    /// How statistics that are no means are resampled, and the level of intervals.
    pub bootstrap: Bootstrap,
    /// Differences that do not matter, by metric: named before the data were seen.
    pub margins: BTreeMap<String, f64>,
    /// Rows held against another than the reference; each contrast of which both rows are there is tested.
    pub contrasts: Vec<Contrast>,
    /// The table that the README shows; the main table where there is none.
    pub readme: Option<ReadmeTable>,
}

/// A test set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestSet {
    /// Identifier in records.
    pub id: String,
    /// Name in tables.
    pub label: String,
    /// Whether the training data come from it.
    pub in_distribution: bool,
    /// Whether its examples have labels among the task's classes; without them it serves detection only.
    pub labelled: bool,
    /// Whether people rated its examples.
    pub rated: bool,
    /// Kind, as tables name it, and strength, where it is a corrupted copy of the first test set.
    pub corruption: Option<(&'static str, u8)>,
}

/// A row of the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowDefinition {
    /// Identifier in records.
    pub id: String,
    /// Name in tables.
    pub label: String,
    /// Method it reads.
    pub method: String,
}

/// A row held against another than the reference, such as an ensemble beside the best of as many fits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Contrast {
    /// Identifier of the row.
    pub row: String,
    /// Identifier of the row that it stands beside.
    pub beside: String,
}

/// A small table of some rows and some metrics, for a README.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReadmeTable {
    /// Identifiers of the rows, in order.
    pub rows: Vec<String>,
    /// Columns after the method, in order.
    pub columns: Vec<ReadmeColumn>,
}

/// A metric on one test set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReadmeColumn {
    /// Heading, without the arrow to the better direction.
    pub label: String,
    /// Key of the metric.
    pub metric: String,
    /// Identifier of the test set.
    pub domain: String,
}

impl Definition {
    /// Name of a row in tables.
    pub(crate) fn label(&self, row: &str) -> &str {
        self.rows.iter().find(|own| own.id == row).map_or("", |own| own.label.as_str())
    }

    /// What the reference row is called.
    pub fn reference_label(&self) -> &str {
        self.label(&self.reference)
    }

    /// Test sets of the training domain.
    pub(crate) fn inside(&self) -> impl Iterator<Item = &TestSet> {
        self.domains.iter().filter(|domain| domain.in_distribution)
    }

    /// Shifted test sets of their own; corrupted ones have tables by strength.
    pub(crate) fn shifted(&self) -> impl Iterator<Item = &TestSet> {
        self.domains.iter().filter(|domain| !domain.in_distribution && domain.corruption.is_none())
    }

    /// Labelled test sets that are no corrupted copies.
    pub(crate) fn labelled(&self) -> impl Iterator<Item = &TestSet> {
        self.domains.iter().filter(|domain| domain.labelled && domain.corruption.is_none())
    }
}

/// One row for each method, the last: that which averages samples where a fit is read in several ways.
pub fn one_reading_each(rows: &[RowDefinition]) -> Vec<RowDefinition> {
    let last = |place: usize| rows[place + 1..].iter().all(|row| row.method != rows[place].method);
    (0..rows.len()).filter(|&place| last(place)).map(|place| rows[place].clone()).collect()
}
