//! Questions of people who search, with the answer false or true: `BoolQ` (Clark et al. 2019).
//!
//! | set | questions | true | passages |
//! |---|---|---|---|
//! | train | 9,427 | 5,874 | not in the pinned copy |
//! | development | 3,270 | 2,033 | 2,939 of 2,651 articles |
//!
//! The classes are `false` and `true`. There is no other test set.
//!
//! # Decisions
//! - No pinned copy of the training set has the passages, so published tables, which train on them, cannot be repeated here.
//!   By default (`passages = true`) all three splits are cut from the development set, by article: no article is in two of them.
//! - `passages = false` is another task, the questions alone: the published training set, of which `validation-fraction` is
//!   validated on, and the development set to test on. No question is in both sets.
//! - Questions are left as published, without the question mark, which the prompt puts.
//! - Corruptions are of the question, not of its passage.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::choice::Choice;
use super::domain::DomainInfo;
use super::example::Example;
use super::lines::malformed;
use super::prompts::{Answers, Kind, Style, Template};
use super::settings::{self, DataSettings};
use super::task::{Open, Splits, Task};
use super::{apart, json_lines, json_lists, split};
use crate::assets::AssetId;
use crate::error::{Error, Result};

const ID: &str = "boolq";

/// The classes, which are the options.
const CLASSES: [&str; 2] = ["false", "true"];

/// What `BoolQ` may be told beside the common settings.
///
/// | name | default | range |
/// |---|---|---|
/// | `prompt` | `plain` | `plain`, `blob`, `laplace-lora`, `bag`, `compat-blob` |
/// | `answers` | `letters` with `bag`, `texts` otherwise | `texts` (not with `bag`), `letters` (with `plain` and `bag`) |
/// | `passages` | true | whether passages are read |
/// | `train-fraction` | 0.7 | (0, 1), with passages only |
/// | `validation-fraction` | 0.1 | (0, 1); with passages the two leave a part to test on |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct BoolQ {
    /// How questions are put.
    prompt: Style,
    /// What the answers are.
    answers: Option<Answers>,
    /// Whether passages are read.
    passages: bool,
    /// Share of the questions with passages to train on.
    train_fraction: Option<f64>,
    /// Share of them, or of the published training set, to validate on.
    validation_fraction: f64,
}

impl Default for BoolQ {
    fn default() -> Self {
        Self { prompt: Style::default(), answers: None, passages: true, train_fraction: None, validation_fraction: 0.1 }
    }
}

pub(super) fn from_settings(data: toml::Table) -> Result<(DataSettings, Box<dyn Task>), String> {
    let (common, own) = settings::read::<BoolQ>(data)?;
    own.check().map_err(|error| error.to_string())?;
    Ok((common, Box::new(own)))
}

impl BoolQ {
    fn check(&self) -> Result<()> {
        let refuse = |setting, got: f64, expected| Err(Error::TaskSetting { setting, got: got.to_string(), expected });
        self.template()?;
        if let Some(share) = self.train_fraction.filter(|_| !self.passages) {
            let expected = "no value: without passages the published training set is trained on";
            return refuse("train-fraction", share, expected);
        }
        for (setting, share) in
            [("train-fraction", self.train_share()), ("validation-fraction", self.validation_fraction)]
        {
            if !(share > 0.0 && share < 1.0) {
                return refuse(setting, share, "a number between 0 and 1, both excluded");
            }
        }
        let both = self.train_share() + self.validation_fraction;
        if self.passages && both >= 1.0 {
            return refuse("train-fraction + validation-fraction", both, "less than 1: the rest is tested on");
        }
        Ok(())
    }

    fn train_share(&self) -> f64 {
        self.train_fraction.unwrap_or(0.7)
    }

    fn template(&self) -> Result<Template> {
        Template::new(self.prompt, self.answers, Kind::TrueOrFalse)
    }
}

impl Task for BoolQ {
    fn domains(&self) -> Vec<DomainInfo> {
        vec![DomainInfo { in_distribution: true, ..DomainInfo::new(ID, "BoolQ") }]
    }

    fn answers(&self) -> Option<Answers> {
        self.template().ok().map(|template| template.answers())
    }

    fn splits(&self, seed: u64, open: &mut Open<'_>) -> Result<Splits> {
        let template = self.template()?;
        let mut published = with_passages(&open(AssetId::BoolQPassages)?.join("val.jsonl"), template)?;
        let share = self.validation_fraction;
        let mut notes = Vec::new();
        let [train, validation, test] = if self.passages {
            notes.push(format!(
                "all splits are cut from the {} published development questions, by article: those for training have no passages",
                published.len()
            ));
            split::shuffle_by(&mut published, seed, ID, article);
            split::cut_between_groups(published, self.train_share(), share, article)
        } else {
            for choice in published.iter_mut().filter_map(|example| example.choice.as_mut()) {
                choice.passage = None;
            }
            let mut train = without_passages(&open(AssetId::BoolQ)?.join("train.json"), template)?;
            notes.extend(apart::keep_apart(&mut train, &mut apart::texts(&published), "train"));
            for examples in [&mut train, &mut published] {
                split::shuffle(examples, seed, ID);
            }
            let [train, validation, _] = split::cut(train, 1.0 - share, share);
            [train, validation, published]
        };
        Ok(Splits { classes: CLASSES.map(str::to_owned).to_vec(), train, validation, tests: vec![test], notes })
    }
}

/// The title that a passage begins with.
fn article(example: &Example) -> &str {
    let passage = example.choice.as_ref().and_then(|choice| choice.passage.as_deref()).unwrap_or_default();
    passage.split_once(" -- ").map_or(passage, |(title, _)| title)
}

fn example(id: String, question: &str, label: u32, passage: Option<String>, template: Template) -> Example {
    let text = question.trim_end().trim_end_matches('?').trim_end().to_owned();
    let choice = Choice { passage, ..Choice::new(CLASSES.map(str::to_owned).to_vec(), template) };
    Example { id, text, label: Some(label), ratings: None, choice: Some(choice) }
}

fn label(path: &Path, line: usize, answer: &str) -> Result<u32> {
    match answer {
        "false" => Ok(0),
        "true" => Ok(1),
        _ => Err(malformed(path, line, "the answer true or false", answer)),
    }
}

/// A line of the development set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    question: String,
    passage: String,
    idx: u32,
    label: String,
}

fn with_passages(path: &Path, template: Template) -> Result<Vec<Example>> {
    let read = |(line, row): (usize, Row)| {
        for (what, field) in [("a question", &row.question), ("a passage", &row.passage)] {
            if field.trim().is_empty() {
                return Err(malformed(path, line, what, field));
            }
        }
        let label = label(path, line, &row.label)?;
        Ok(example(format!("val-{}", row.idx), &row.question, label, Some(row.passage), template))
    };
    json_lines::read(path, "question, passage, idx and label")?.into_iter().map(read).collect()
}

/// An item of the training set, written as an instruction.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Instructed {
    instruction: String,
    #[serde(rename = "input")]
    _input: String,
    #[serde(rename = "output")]
    _output: String,
    answer: String,
}

/// Identifiers are places in the list, from 1.
fn without_passages(path: &Path, template: Template) -> Result<Vec<Example>> {
    const FORM: &str = "instruction, input, output and answer";
    const BEFORE: &str = "Please answer the following question with true or false, question: ";
    const AFTER: &str = "\n\nAnswer format: true/false";
    let mut examples = Vec::new();
    for (line, value) in json_lists::values(path, FORM)? {
        let found = value.to_string();
        let item: Instructed = serde_json::from_value(value)
            .map_err(|error| json_lines::of_another_form(path, line, FORM, &error, &found))?;
        let question = item.instruction.strip_prefix(BEFORE).and_then(|rest| rest.strip_suffix(AFTER));
        let question = question.filter(|question| !question.trim().is_empty());
        let question = question.ok_or_else(|| {
            malformed(
                path,
                line,
                "a question between its instruction and `Answer format: true/false`",
                &item.instruction,
            )
        })?;
        let label = label(path, line, &item.answer)?;
        examples.push(example(format!("train-{}", examples.len() + 1), question, label, None, template));
    }
    Ok(examples)
}
