//! Science questions of grade schools: ARC (Clark et al. 2018), the easy and the challenging ones, a task each.
//!
//! | set | train | dev | test | without four options |
//! |---|---|---|---|---|
//! | ARC-Easy | 2,251 | 570 | 2,376 | 10, 3 and 11 |
//! | ARC-Challenge | 1,119 | 299 | 1,170 | 2, 4 and 7 |
//!
//! Two of the 1,172 test questions of the challenge are missing in the only copy with development sets that is pinned here.
//!
//! Test sets: the task's own, and that of the other task, which is shifted in difficulty.
//!
//! # Decisions
//! - The published test set is tested on and the development set validated on. `test-split = "dev"` tests on the development sets, as the
//!   published tables of BLoB and C-LoRA do, and validates on the last training questions in the seeded order.
//! - The 37 questions without exactly four options are dropped, as Laplace-LoRA does. `odd-items = "keep"` keeps them, as BLoB does: then
//!   there are five classes, A to E, for every question.
//! - Answer keys are A, B, C .. or 1, 2, 3 ..: the label is the place of the option that has the key.
//! - A training question that is tested or validated on, or repeats an earlier one, is dropped ([`super::science`]): 3 easy ones that stand
//!   in the easy test set, one of the challenge that repeats another. Nothing stands in sets of both tasks.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::domain::DomainInfo;
use super::example::Example;
use super::lines::malformed;
use super::prompts::Answers;
use super::science::{Item, Science};
use super::settings::{self, DataSettings};
use super::task::{Open, Splits, Task};
use super::{json_lines, split};
use crate::assets::AssetId;
use crate::error::Result;

/// One of the two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Easy,
    Challenge,
}

/// The questions of one level.
#[derive(Debug)]
struct Arc {
    level: Level,
    settings: Science,
}

pub(super) fn easy_from_settings(data: toml::Table) -> Result<(DataSettings, Box<dyn Task>), String> {
    from_settings(data, Level::Easy)
}

pub(super) fn challenge_from_settings(data: toml::Table) -> Result<(DataSettings, Box<dyn Task>), String> {
    from_settings(data, Level::Challenge)
}

fn from_settings(data: toml::Table, level: Level) -> Result<(DataSettings, Box<dyn Task>), String> {
    let (common, own) = settings::read::<Science>(data)?;
    let settings = own.checked().map_err(|error| error.to_string())?;
    Ok((common, Box::new(Arc { level, settings })))
}

impl Level {
    fn id(self) -> &'static str {
        match self {
            Self::Easy => "arc-easy",
            Self::Challenge => "arc-challenge",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Easy => "ARC-Easy",
            Self::Challenge => "ARC-Challenge",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Easy => Self::Challenge,
            Self::Challenge => Self::Easy,
        }
    }

    /// As a shifted test set.
    pub(super) fn info(self) -> DomainInfo {
        DomainInfo::new(self.id(), self.label())
    }

    fn file(self, folder: &Path, published: &str) -> PathBuf {
        let word = match self {
            Self::Easy => "easy",
            Self::Challenge => "challenge",
        };
        folder.join(format!("{word}_{published}.jsonl"))
    }

    /// The questions that a task with these settings tests on, in the seeded order.
    pub(super) fn shifted(
        self,
        folder: &Path,
        settings: &Science,
        seed: u64,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Example>> {
        let items = read(&self.file(folder, settings.test_split.word()))?;
        let mut examples = settings.examples(items, self.id(), notes)?;
        split::shuffle(&mut examples, seed, self.id());
        Ok(examples)
    }
}

impl Task for Arc {
    fn domains(&self) -> Vec<DomainInfo> {
        vec![DomainInfo { in_distribution: true, ..self.level.info() }, self.level.other().info()]
    }

    fn answers(&self) -> Option<Answers> {
        self.settings.answers()
    }

    fn splits(&self, seed: u64, open: &mut Open<'_>) -> Result<Splits> {
        let folder = open(AssetId::Arc)?;
        let mut notes = Vec::new();
        let shifted = self.level.other().shifted(&folder, &self.settings, seed, &mut notes)?;
        let read = |published: &str| read(&self.level.file(&folder, published));
        self.settings.splits((self.level.id(), seed), read, vec![shifted], notes)
    }
}

/// A line of the files.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Row {
    id: String,
    question: Question,
    answer_key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    stem: String,
    choices: Vec<Labelled>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Labelled {
    text: String,
    label: String,
}

fn read(path: &Path) -> Result<Vec<Item>> {
    const FORM: &str = "id, question (stem, choices of text and label) and answerKey";
    let item = |(line, row): (usize, Row)| {
        let Row { id, question: Question { stem, choices }, answer_key } = row;
        let labels: Vec<&str> = choices.iter().map(|choice| choice.label.as_str()).collect();
        let is_in_order = |names: &str| labels.iter().copied().eq(names.split(' ').take(labels.len()));
        let numbered = is_in_order("1 2 3 4 5");
        if !numbered && !is_in_order("A B C D E") {
            return Err(malformed(
                path,
                line,
                "options labelled A, B, C .. or 1, 2, 3 .., five at most",
                &labels.join(", "),
            ));
        }
        let right = labels.iter().position(|label| *label == answer_key);
        let right = right.ok_or_else(|| malformed(path, line, "the label of an option as answerKey", &answer_key))?;
        let options = choices.into_iter().map(|choice| choice.text).collect();
        Item { id, text: stem, options, numbered, right }.checked(path, line)
    };
    json_lines::read(path, FORM)?.into_iter().map(item).collect()
}
