//! The published queries of Banking77, for its own task and as a far test set of others.

use std::path::Path;

use super::domain::DomainInfo;
use super::example::Example;
use super::{lines, split};
use crate::error::Result;

pub(super) const ID: &str = "banking77";

/// As a far test set of another task.
pub(super) fn info_as_shifted() -> DomainInfo {
    DomainInfo { labelled: false, ..DomainInfo::new(ID, "Banking77 queries") }
}

/// The test queries of all intents, without labels.
pub(super) fn texts(folder: &Path, seed: u64) -> Result<Vec<Example>> {
    let mut examples: Vec<Example> = read(folder, "test")?.iter().map(|query| query.example(None)).collect();
    split::shuffle(&mut examples, seed, ID);
    Ok(examples)
}

/// A query as published.
pub(super) struct Query {
    id: String,
    pub(super) line: usize,
    text: String,
    pub(super) intent: String,
}

impl Query {
    /// With the index of its intent; `None` for one that is not among `classes`.
    pub(super) fn labelled(&self, classes: &[String]) -> Option<Example> {
        let class = classes.binary_search(&self.intent).ok()?;
        Some(self.example(u32::try_from(class).ok()))
    }

    pub(super) fn example(&self, label: Option<u32>) -> Example {
        Example { id: self.id.clone(), text: self.text.clone(), label, ratings: None, choice: None }
    }
}

/// `<split>.csv` with the header `text,category`; identifiers are split and line.
pub(super) fn read(folder: &Path, split: &str) -> Result<Vec<Query>> {
    let path = folder.join(format!("{split}.csv"));
    let mut records = lines::csv_records(&path, "text, category")?.into_iter();
    match records.next() {
        Some((_, [text, category])) if text == "text" && category == "category" => {}
        Some((line, fields)) => {
            return Err(lines::malformed(&path, line, "the header text,category", &fields.join(",")));
        }
        None => return Err(lines::malformed(&path, 1, "the header text,category", "")),
    }
    let mut queries = Vec::new();
    for (line, [text, intent]) in records {
        for (what, field) in [("a query", &text), ("an intent", &intent)] {
            if field.trim().is_empty() {
                return Err(lines::malformed(&path, line, what, field));
            }
        }
        queries.push(Query { id: format!("{split}-{line}"), line, text, intent });
    }
    Ok(queries)
}
