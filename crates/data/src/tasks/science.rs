//! What the tasks of science questions share: settings, items of an odd number of options, splits.
//!
//! Questions whose words agree but whose options do not are different questions. Where words and options agree (case, white space and the
//! order of options ignored), the question is the same, and it is kept out of what is trained on if it is tested or validated on.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::choice::Choice;
use super::example::Example;
use super::lines::malformed;
use super::prompts::{Answers, Kind, Style, Template, letters};
use super::task::Splits;
use super::{apart, split};
use crate::error::{Error, Result};

/// Options that a question usually has.
const USUAL: usize = 4;

/// Options that a question has at most.
const MOST: usize = 5;

/// What a task of science questions may be told beside the common settings.
///
/// | name | default | range |
/// |---|---|---|
/// | `prompt` | `plain` | `plain`, `blob`, `laplace-lora`, `bag`, `compat-blob` |
/// | `answers` | `texts` with `plain`, `letters` otherwise | `texts` (with `plain`), `letters` |
/// | `test-split` | `test` | `test`; `dev`, as in most published tables |
/// | `validation-fraction` | 0.1 | (0, 1); with `test-split = "dev"` only |
/// | `odd-items` | `drop` | `drop` questions without exactly four options, or `keep` them: five classes, and letters |
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Science {
    /// How questions are put.
    prompt: Style,
    /// What the answers are.
    answers: Option<Answers>,
    /// The published set to test on, and to take shifted questions of ARC from.
    pub(super) test_split: TestSplit,
    /// Share of the training questions to validate on where the development set is tested on.
    validation_fraction: Option<f64>,
    /// What becomes of questions of another number of options.
    odd_items: OddItems,
}

/// The published set to test on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TestSplit {
    /// The test set; the development set is validated on.
    #[default]
    Test,
    /// The development set; a part of the training set is validated on, and the test set is not read.
    Dev,
}

impl TestSplit {
    /// The word in names of files.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Dev => "dev",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OddItems {
    #[default]
    Drop,
    Keep,
}

/// A question as published.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) options: Vec<String>,
    pub(super) numbered: bool,
    /// Place of the right option.
    pub(super) right: usize,
}

impl Item {
    /// Refuses what is empty, and numbers of options that no question has.
    pub(super) fn checked(self, path: &Path, line: usize) -> Result<Self> {
        for (what, text) in [("an identifier", &self.id), ("a question", &self.text)]
            .into_iter()
            .chain(self.options.iter().map(|option| ("an option", option)))
        {
            if text.trim().is_empty() {
                return Err(malformed(path, line, what, text));
            }
        }
        if !(2..=MOST).contains(&self.options.len()) {
            return Err(malformed(path, line, "2 to 5 options", &format!("{} of them", self.options.len())));
        }
        Ok(self)
    }
}

impl Science {
    /// The settings if they go together.
    pub(super) fn checked(self) -> Result<Self> {
        let refuse = |setting, got: String, expected| Err(Error::TaskSetting { setting, got, expected });
        let template = self.template()?;
        if self.odd_items == OddItems::Keep && template.answers() == Answers::Texts {
            let expected =
                "\"drop\", or answers = \"letters\": only letters are classes of questions of any number of options";
            return refuse("odd-items", "\"keep\"".to_owned(), expected);
        }
        match (self.validation_fraction, self.test_split) {
            (Some(share), TestSplit::Test) => {
                let expected = "no value: the published development set is validated on unless test-split is \"dev\"";
                refuse("validation-fraction", share.to_string(), expected)
            }
            (Some(share), TestSplit::Dev) if !(share > 0.0 && share < 1.0) => {
                let expected = "a number between 0 and 1, both excluded";
                refuse("validation-fraction", share.to_string(), expected)
            }
            _ => Ok(self),
        }
    }

    fn template(&self) -> Result<Template> {
        let template = Template::new(self.prompt, self.answers, Kind::Question)?;
        Ok(match self.odd_items {
            OddItems::Drop => template,
            OddItems::Keep => template.with_letters(MOST),
        })
    }

    /// What the answers are.
    pub(super) fn answers(&self) -> Option<Answers> {
        self.template().ok().map(|template| template.answers())
    }

    fn classes(&self) -> Vec<String> {
        let count = if self.odd_items == OddItems::Keep { MOST } else { USUAL };
        letters().take(count).map(String::from).collect()
    }

    /// The examples of the set `name`, in the order of the file.
    pub(super) fn examples(&self, items: Vec<Item>, name: &str, notes: &mut Vec<String>) -> Result<Vec<Example>> {
        Ok(self.examples_with(self.template()?, items, name, notes))
    }

    /// The same for a set that the published loaders print in the right order.
    pub(super) fn examples_in_right_order(
        &self,
        items: Vec<Item>,
        name: &str,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Example>> {
        Ok(self.examples_with(self.template()?.in_right_order(), items, name, notes))
    }

    fn examples_with(
        &self,
        template: Template,
        mut items: Vec<Item>,
        name: &str,
        notes: &mut Vec<String>,
    ) -> Vec<Example> {
        let all = items.len();
        if self.odd_items == OddItems::Drop {
            items.retain(|item| item.options.len() == USUAL);
        }
        if items.len() < all {
            let dropped = all - items.len();
            notes.push(format!(
                "{name}: {dropped} of {all} published questions are dropped, since they have not four options"
            ));
        }
        let example = |item: Item| {
            let Item { id, text, options, numbered, right } = item;
            let choice = Choice { numbered, ..Choice::new(options, template) };
            Example { id, text, label: u32::try_from(right).ok(), ratings: None, choice: Some(choice) }
        };
        items.into_iter().map(example).collect()
    }

    /// The splits of a task whose published sets `read` gives by name, beside `shifted` test sets, already in their order.
    pub(super) fn splits(
        &self,
        (id, seed): (&str, u64),
        mut read: impl FnMut(&str) -> Result<Vec<Item>>,
        shifted: Vec<Vec<Example>>,
        mut notes: Vec<String>,
    ) -> Result<Splits> {
        let mut set = |published: &str, name: &str| self.examples(read(published)?, name, &mut notes);
        let mut test = set(self.test_split.word(), id)?;
        let mut validation = match self.test_split {
            TestSplit::Test => set(TestSplit::Dev.word(), "validation")?,
            TestSplit::Dev => Vec::new(),
        };
        let mut train = set("train", "train")?;
        let mut seen = apart::texts(&test);
        for examples in &shifted {
            seen.extend(apart::texts(examples));
        }
        for (name, examples) in [("validation", &mut validation), ("train", &mut train)] {
            notes.extend(apart::keep_apart(examples, &mut seen, name));
        }
        for examples in [&mut train, &mut validation, &mut test] {
            split::shuffle(examples, seed, id);
        }
        if self.test_split == TestSplit::Dev {
            let share = self.validation_fraction.unwrap_or(0.1);
            [train, validation, _] = split::cut(train, 1.0 - share, share);
        }
        let tests = std::iter::once(test).chain(shifted).collect();
        Ok(Splits { classes: self.classes(), train, validation, tests, notes })
    }
}
