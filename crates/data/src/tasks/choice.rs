//! The options of a question, and how it is put to a language model.

use std::collections::BTreeSet;

use super::prompts::{Asked, Prompt, Template};

/// What a question with options has beside its text; the label of its example is the place of the right option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Passage that the question is about, where there is one.
    pub passage: Option<String>,
    /// The options in the order they are published in.
    pub options: Vec<String>,
    /// Whether the options are published with the labels 1, 2, 3 .. in place of A, B, C ..
    pub numbered: bool,
    /// How the question is put.
    pub template: Template,
}

impl Choice {
    /// Options with letters, and no passage.
    pub(super) fn new(options: Vec<String>, template: Template) -> Self {
        Self { passage: None, options, numbered: false, template }
    }

    /// The prompt of the question `text`.
    pub fn prompt(&self, text: &str) -> Prompt {
        let Self { passage, options, numbered, template } = self;
        template.prompt(Asked { text, passage: passage.as_deref(), options, numbered: *numbered })
    }

    /// The options without their order, each in the form that `normalised` gives it.
    pub(super) fn unordered(&self, normalised: impl Fn(&str) -> String) -> BTreeSet<String> {
        self.options.iter().map(|option| normalised(option)).collect()
    }
}
