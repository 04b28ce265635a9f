//! Sentiment of film-review sentences: SST-2 (Socher et al. 2013), whole sentences in the published split.
//!
//! | split | sentences | negative | positive |
//! |---|---|---|---|
//! | train | 6,920 | 3,310 | 3,610 |
//! | validation (`dev`) | 872 | 428 | 444 |
//! | test | 1,821 | 912 | 909 |
//!
//! Far test sets, for detection only: AG News (7,600 texts) and the test queries of Banking77 (3,080). Their classes have nothing to do
//! with sentiment, so they have no labels here.
//!
//! # Decisions
//! - The published split is kept as it is, so that numbers are comparable with others'. It has 9 training sentences that repeat an
//!   earlier one (case and white space ignored), and 2 test sentences that stand in the training set.
//! - Texts are left as published: lower case, tokens apart, hyphens and accents gone.

use std::path::Path;

use super::lines::{Line, Table};
use super::{DataSettings, DomainInfo, Example, Open, Splits, Task, ag_news, banking77, settings, split};
use crate::assets::AssetId;
use crate::error::Result;

const ID: &str = "sst2";

/// SST-2 has no settings of its own.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Sst2 {}

pub(super) fn from_settings(data: toml::Table) -> Result<(DataSettings, Box<dyn Task>), String> {
    let (common, own) = settings::read::<Sst2>(data)?;
    Ok((common, Box::new(own)))
}

impl Task for Sst2 {
    fn domains(&self) -> Vec<DomainInfo> {
        let own = DomainInfo { in_distribution: true, ..DomainInfo::new(ID, "SST-2") };
        vec![own, ag_news::info(), banking77::info_as_shifted()]
    }

    fn splits(&self, seed: u64, open: &mut Open<'_>) -> Result<Splits> {
        let folder = open(AssetId::Sst2)?;
        let tests = vec![
            read(&folder, "test", seed)?,
            ag_news::texts(&open(AssetId::AgNews)?, seed)?,
            banking77::texts(&open(AssetId::Banking77)?, seed)?,
        ];
        Ok(Splits {
            classes: ["negative", "positive"].map(str::to_owned).to_vec(),
            train: read(&folder, "train", seed)?,
            validation: read(&folder, "dev", seed)?,
            tests,
            notes: Vec::new(),
        })
    }
}

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
        examples.push(Example { id, text: text.to_owned(), label: Some(label), ratings: None });
    }
    Ok(examples)
}
