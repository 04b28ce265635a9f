//! Prompts: a question with options as a language model reads it, in named styles.
//!
//! A prompt is a context, of which the left may be cut where a text is too long, and a cue, of which nothing may be cut: the options that
//! are listed, the question of a passage, and the words after which the answer stands. Nothing is cut here.
//!
//! | style | source | answers |
//! |---|---|---|
//! | `plain` | this program | texts of the options, or letters |
//! | `blob` | BLoB and C-LoRA: an instruction to return the label, the question, the options one a line, `Answer:` | letters; `True`, `False` |
//! | `laplace-lora` | Laplace-LoRA: `Select one of the choices`, all in one line, `Choices: A. .. B. .. Answer:` | letters; `True`, `False` |
//! | `bag` | `BayesAdapt`: `Answer the multiple choice question below`, letter only | letters |
//! | `compat-blob` | `blob` with the defects of its published loaders | letters; `True`, `False` |
//!
//! The words quoted in this table are those of the sources. All others in `blob`, `laplace-lora` and `bag` are reconstructed from
//! descriptions of the published code and from memory of it, and were not held against it: which form a source gives a passage, and the
//! rest of each instruction. Results with them are near those of the source's own prompt, not the same. Bag's prompt stands in the chat
//! template of its models, which is not added here.
//!
//! # Defects that `compat-blob` has
//! - Options of science questions are printed `text) label`, the pair in the wrong order. Those of MMLU are printed right.
//! - Options that are published with the labels 1 to 4 keep them in the prompt, while the answers are letters.
//! - The answer of a true statement is the word `False`, and the reverse.
//! - Passages are cut to their first 1,024 characters.
//!
//! Defects of loaders that are none of the prompt (order, batches, a closing token) are not had.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How a question is put to a language model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// This program's own.
    #[default]
    Plain,
    /// That of BLoB and C-LoRA, without the defects of their loaders.
    Blob,
    /// That of Laplace-LoRA.
    LaplaceLora,
    /// That of `BayesAdapt`.
    Bag,
    /// That of BLoB and C-LoRA with the defects of their loaders.
    CompatBlob,
}

/// What the answers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answers {
    /// The texts of the options, which the prompt does not list.
    Texts,
    /// Letters, `A` for the first of the options that the prompt lists.
    Letters,
}

impl Answers {
    /// The word in experiment files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Texts => "texts",
            Self::Letters => "letters",
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Which option answers the question or ends the sentence.
    Question,
    /// Which option stands for the blank `_` of a sentence.
    Blank,
    /// Whether the answer is false or true, the two options in this order; the question lacks its mark.
    TrueOrFalse,
}

/// A style with the form of the answers, for one kind of question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    style: Style,
    answers: Answers,
    kind: Kind,
    /// Letters that are answers at least, however few options there are.
    letters: usize,
}

/// What a prompt is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) text: &'a str,
    pub(super) passage: Option<&'a str>,
    pub(super) options: &'a [String],
    /// Whether the options are published with the labels 1, 2, 3 ..
    pub(super) numbered: bool,
}

/// A question as a language model reads it: `context` and then `cue`, followed by one of the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// What comes first. A reader may cut its left; it may be empty.
    pub context: String,
    /// What follows, up to the words after which the answer stands. Never cut.
    pub cue: String,
    /// Each answer as it stands after the cue, with its leading space, in the order of the options.
    pub answers: Vec<String>,
}

impl Prompt {
    /// The whole prompt, without an answer.
    pub fn text(&self) -> String {
        format!("{}{}", self.context, self.cue)
    }
}

/// Characters of a passage that the published loader of `compat-blob` keeps.
const PASSAGE: usize = 1024;

impl Template {
    /// The style with these answers, those of its source where none are asked for.
    ///
    /// # Errors
    /// [`Error::TaskSetting`] for answers that the style has no form for.
    pub(super) fn new(style: Style, answers: Option<Answers>, kind: Kind) -> Result<Self> {
        let published = match (style, kind) {
            (Style::Plain, _) => None,
            (Style::Bag, _) | (_, Kind::Question | Kind::Blank) => Some(Answers::Letters),
            (_, Kind::TrueOrFalse) => Some(Answers::Texts),
        };
        let expected = match (published, answers) {
            (Some(Answers::Letters), Some(Answers::Texts)) => "\"letters\" with this prompt, which lists the options",
            (Some(Answers::Texts), Some(Answers::Letters)) => {
                "\"texts\" with this prompt, which asks for True or False"
            }
            _ => {
                let answers = published.or(answers).unwrap_or(Answers::Texts);
                return Ok(Self { style, answers, kind, letters: 0 });
            }
        };
        let got = answers.map_or_else(String::new, |answers| format!("{:?}", answers.word()));
        Err(Error::TaskSetting { setting: "answers", got, expected })
    }

    /// What the answers are.
    pub fn answers(&self) -> Answers {
        self.answers
    }

    /// The same with this many letters as answers, whatever the number of options.
    pub(super) fn with_letters(self, letters: usize) -> Self {
        Self { letters, ..self }
    }

    /// The same for options that the published loaders print in the right order.
    pub(super) fn in_right_order(self) -> Self {
        let style = if self.style == Style::CompatBlob { Style::Blob } else { self.style };
        Self { style, ..self }
    }

    /// The prompt of a question.
    pub(super) fn prompt(&self, asked: Asked<'_>) -> Prompt {
        let (context, cue) = match self.style {
            Style::Plain => self.plain(asked),
            Style::Blob | Style::CompatBlob => self.blob(asked),
            Style::LaplaceLora => self.laplace_lora(asked),
            Style::Bag => self.bag(asked),
        };
        Prompt { context, cue, answers: self.answers_of(asked) }
    }

    fn plain(&self, asked: Asked<'_>) -> (String, String) {
        let text = asked.text;
        let list = match self.answers {
            Answers::Texts => String::new(),
            Answers::Letters => listed(asked, |letter, option| format!("\n{letter}. {option}")),
        };
        match self.kind {
            Kind::Question => (format!("Question: {text}"), format!("{list}\nAnswer:")),
            Kind::Blank => (format!("Sentence: {text}"), format!("{list}\nThe blank _ is:")),
            Kind::TrueOrFalse => (passage(asked, "Passage: "), format!("Question: {text}?{list}\nAnswer:")),
        }
    }

    fn blob(&self, asked: Asked<'_>) -> (String, String) {
        let text = asked.text;
        if self.kind == Kind::TrueOrFalse {
            let cut = |passage: &str| passage.chars().take(PASSAGE).collect::<String>();
            let cut = asked.passage.filter(|_| self.style == Style::CompatBlob).map(cut);
            let asked = Asked { passage: cut.as_deref().or(asked.passage), ..asked };
            let instruction = "Answer the question below with True or False.\n\n";
            return (instruction.to_owned() + &passage(asked, "Passage: "), format!("Question: {text}?\nAnswer:"));
        }
        let is_swapped = self.style == Style::CompatBlob && self.kind == Kind::Question;
        let mut number = 0;
        let list = listed(asked, |letter, option| {
            number += 1;
            match (is_swapped, asked.numbered) {
                (false, _) => format!("\n{letter}) {option}"),
                (true, false) => format!("\n{option}) {letter}"),
                (true, true) => format!("\n{option}) {number}"),
            }
        });
        let context = format!("Return the label of the correct answer for the question below.\n\nQuestion: {text}");
        (context, format!("\nChoices:{list}\nAnswer:"))
    }

    fn laplace_lora(&self, asked: Asked<'_>) -> (String, String) {
        let text = asked.text;
        if self.kind == Kind::TrueOrFalse {
            let question = format!("Answer the question with only True or False: {text}? Answer:");
            return (passage(asked, "Context: "), question);
        }
        let list = listed(asked, |letter, option| format!(" {letter}. {option}"));
        let context = format!("Select one of the choices that answers the following question: {text}");
        (context, format!(" Choices:{list} Answer:"))
    }

    fn bag(&self, asked: Asked<'_>) -> (String, String) {
        const INSTRUCTION: &str = "Answer the multiple choice question below. Output the letter only.\n\n";
        let text = asked.text;
        let list = listed(asked, |letter, option| format!("\n{letter}. {option}"));
        if self.kind == Kind::TrueOrFalse {
            let context = INSTRUCTION.to_owned() + &passage(asked, "Passage: ");
            return (context, format!("Question: {text}?{list}\nAnswer:"));
        }
        (format!("{INSTRUCTION}Question: {text}"), format!("{list}\nAnswer:"))
    }

    fn answers_of(&self, asked: Asked<'_>) -> Vec<String> {
        match (self.answers, self.style, self.kind) {
            (Answers::Letters, ..) => {
                letters().take(asked.options.len().max(self.letters)).map(|letter| format!(" {letter}")).collect()
            }
            (Answers::Texts, Style::CompatBlob, Kind::TrueOrFalse) => vec![" True".to_owned(), " False".to_owned()],
            (Answers::Texts, Style::Blob | Style::LaplaceLora, Kind::TrueOrFalse) => {
                vec![" False".to_owned(), " True".to_owned()]
            }
            (Answers::Texts, ..) => asked.options.iter().map(|option| format!(" {option}")).collect(),
        }
    }
}

/// The letters of options.
pub(super) fn letters() -> impl Iterator<Item = char> {
    'A'..='Z'
}

fn listed(asked: Asked<'_>, mut row: impl FnMut(char, &str) -> String) -> String {
    letters().zip(asked.options).map(|(letter, option)| row(letter, option)).collect()
}

/// A passage, if there is one, after the words that introduce it.
fn passage(asked: Asked<'_>, before: &str) -> String {
    asked.passage.map_or_else(String::new, |passage| format!("{before}{passage}\n"))
}
