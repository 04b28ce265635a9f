//! The published sentences of SST-2, for its own task and as a far test set of others.

use std::path::Path;

use super::domain::DomainInfo;
use super::example::Example;
use super::lines::{Line, Table};
use super::split;
use crate::error::Result;

/// Name of the set, and of the order that its examples are shuffled into.
pub(super) const ID: &str = "sst2";

/// As a far test set of another task.
pub(super) fn info_as_shifted() -> DomainInfo {
    DomainInfo { labelled: false, ..DomainInfo::new(ID, "SST-2 sentences") }
}

/// The test sentences, without labels.
pub(super) fn texts(folder: &Path, seed: u64) -> Result<Vec<Example>> {
    let mut examples = read(folder, "test", seed)?;
    for example in &mut examples {
        example.label = None;
    }
    Ok(examples)
}

/// `<split>.tsv`; identifiers are split and line, the order is the seeded one.
pub(super) fn read(folder: &Path, split: &str, seed: u64) -> Result<Vec<Example>> {
    let table = Table::read(folder.join(format!("{split}.tsv")))?;
    let mut examples = sentences(table.lines(), split)?;
    split::shuffle(&mut examples, seed, ID);
    Ok(examples)
}

/// `sentence<TAB>label` a line.
pub(super) fn sentences<'a>(lines: impl Iterator<Item = Line<'a>>, split: &str) -> Result<Vec<Example>> {
    let mut examples = Vec::new();
    for line in lines {
        let [text, label] = line.fields("sentence, label")?;
        let label = match label {
            "0" => 0,
            "1" => 1,
            _ => return Err(line.error("a label, 0 or 1", label)),
        };
        if text.trim().is_empty() {
            return Err(line.error("a sentence", text));
        }
        let id = format!("{split}-{}", line.number);
        examples.push(Example { id, text: text.to_owned(), label: Some(label), ratings: None, choice: None });
    }
    Ok(examples)
}
