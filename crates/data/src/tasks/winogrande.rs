//! Sentences with a blank and two options for it: `WinoGrande` 1.1 (Sakaguchi et al. 2020), its training sets S and M, a task each.
//!
//! | set | sentences |
//! |---|---|
//! | S | 640 |
//! | M, which holds S | 2,558 |
//! | dev | 1,267 |
//!
//! The classes are A, the first option, and B. There is no other test set.
//!
//! # Decisions
//! - The development set is the test set, as in every published table: the labels of the official test set are not published. It shares
//!   no sentence with the training sets.
//! - There is no other published set to validate on: `validation-fraction` of the training sentences, the last ones in the seeded order.
//! - Training sentences come in pairs that differ in a word and in the answer. A pair stands side by side in that order, and is trained or
//!   validated on together: one sentence says much about the other. A cap may part one pair.
//! - One pair repeats another word for word. It is dropped.
//! - Words are neither dropped nor shuffled by corruptions, since the blank is one of them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::choice::Choice;
use super::corruption::Corruption;
use super::domain::DomainInfo;
use super::example::Example;
use super::lines::malformed;
use super::prompts::{Answers, Kind, Style, Template};
use super::settings::{self, DataSettings};
use super::task::{Open, Splits, Task};
use super::{apart, json_lines, split};
use crate::assets::AssetId;
use crate::error::{Error, Result};

/// Name of the order that sentences are shuffled into.
const ORDER: &str = "winogrande";

/// What stands for the word that is missing.
const BLANK: char = '_';

/// What `WinoGrande` may be told beside the common settings.
///
/// | name | default | range |
/// |---|---|---|
/// | `prompt` | `plain` | `plain`, `blob`, `laplace-lora`, `bag`, `compat-blob` |
/// | `answers` | `texts` with `plain`, `letters` otherwise | `texts` (with `plain`), `letters` |
/// | `validation-fraction` | 0.1 | (0, 1) |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// How sentences are put.
    prompt: Style,
    /// What the answers are.
    answers: Option<Answers>,
    /// Share of the training sentences to validate on.
    validation_fraction: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { prompt: Style::default(), answers: None, validation_fraction: 0.1 }
    }
}

/// A training set, the share of it to validate on, and how its sentences are put.
#[derive(Debug)]
struct WinoGrande {
    /// Identifier, name for tables, and file.
    size: [&'static str; 3],
    validation_fraction: f64,
    template: Template,
}

pub(super) fn small_from_settings(data: toml::Table) -> Result<(DataSettings, Box<dyn Task>), String> {
    from_settings(data, ["winogrande-s", "WinoGrande S", "train_s.jsonl"])
}

pub(super) fn medium_from_settings(data: toml::Table) -> Result<(DataSettings, Box<dyn Task>), String> {
    from_settings(data, ["winogrande-m", "WinoGrande M", "train_m.jsonl"])
}

fn from_settings(data: toml::Table, size: [&'static str; 3]) -> Result<(DataSettings, Box<dyn Task>), String> {
    let (common, own) = settings::read::<Settings>(data)?;
    let checked = || {
        let refuse = |setting, got: String, expected| Err(Error::TaskSetting { setting, got, expected });
        if let Some(kind) = common.corruptions.iter().find(|kind| **kind != Corruption::Typos) {
            return refuse("corruptions", format!("{:?}", kind.word()), "typos alone: the blank is a word");
        }
        if !(own.validation_fraction > 0.0 && own.validation_fraction < 1.0) {
            let expected = "a number between 0 and 1, both excluded";
            return refuse("validation-fraction", own.validation_fraction.to_string(), expected);
        }
        Template::new(own.prompt, own.answers, Kind::Blank)
    };
    let template = checked().map_err(|error| error.to_string())?;
    let validation_fraction = own.validation_fraction;
    Ok((common, Box::new(WinoGrande { size, validation_fraction, template })))
}

impl Task for WinoGrande {
    fn domains(&self) -> Vec<DomainInfo> {
        let [id, label, _] = self.size;
        vec![DomainInfo { in_distribution: true, ..DomainInfo::new(id, label) }]
    }

    fn answers(&self) -> Option<Answers> {
        Some(self.template.answers())
    }

    fn splits(&self, seed: u64, open: &mut Open<'_>) -> Result<Splits> {
        let folder = open(AssetId::WinoGrande)?;
        let [.., file] = self.size;
        let mut train = read(&folder.join(file), self.template)?;
        let mut test = read(&folder.join("dev.jsonl"), self.template)?;
        let notes = apart::keep_apart(&mut train, &mut apart::texts(&test), "train").into_iter().collect();
        split::shuffle(&mut test, seed, ORDER);
        split::shuffle_by(&mut train, seed, ORDER, pair);
        let share = self.validation_fraction;
        let [train, validation, _] = split::cut_between_groups(train, 1.0 - share, share, pair);
        Ok(Splits { classes: ["A", "B"].map(str::to_owned).to_vec(), train, validation, tests: vec![test], notes })
    }
}

/// What the identifiers of a pair have in common: all but what follows the last dash.
fn pair(example: &Example) -> &str {
    example.id.rsplit_once('-').map_or(&example.id, |(pair, _)| pair)
}

/// A line of the files.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(rename = "qID")]
    id: String,
    sentence: String,
    option1: String,
    option2: String,
    answer: String,
}

fn read(path: &Path, template: Template) -> Result<Vec<Example>> {
    let example = |(line, row): (usize, Row)| {
        let Row { id, sentence: text, option1, option2, answer } = row;
        for (what, field) in [("an identifier", &id), ("an option", &option1), ("an option", &option2)] {
            if field.trim().is_empty() {
                return Err(malformed(path, line, what, field));
            }
        }
        if text.chars().filter(|letter| *letter == BLANK).count() != 1 {
            return Err(malformed(path, line, "a sentence with one blank, _", &text));
        }
        let label = match answer.as_str() {
            "1" => 0,
            "2" => 1,
            _ => return Err(malformed(path, line, "the answer 1 or 2", &answer)),
        };
        let choice = Choice::new(vec![option1, option2], template);
        Ok(Example { id, text, label: Some(label), ratings: None, choice: Some(choice) })
    };
    json_lines::read(path, "qID, sentence, option1, option2 and answer")?.into_iter().map(example).collect()
}
