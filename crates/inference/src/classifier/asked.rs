//! What is asked of texts, and texts of one readout together.

use std::collections::BTreeMap;

use bayeslora_models::{Encoded, Head, Normalisation, Question};

use super::loaded::{Classifier, Reading};
use crate::error::{Error, Result};
use crate::questions::{check_together, reads_tokens, single_tokens};
use crate::reader::Text;

/// Texts of one readout with as many classes each.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// Classes of a head, or answers of one token as its classes.
    Classes {
        /// The head.
        head: Head,
        /// The texts.
        texts: Vec<Encoded>,
    },
    /// Answers that are texts, the same number of them each.
    Answers {
        /// The texts with their answers.
        questions: Vec<Question>,
        /// What becomes of log-likelihoods.
        normalisation: Normalisation,
    },
}

impl Asked {
    /// Number of texts.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Classes { texts, .. } => texts.len(),
            Self::Answers { questions, .. } => questions.len(),
        }
    }

    /// Number of classes.
    pub(super) fn classes(&self) -> usize {
        match self {
            Self::Classes { head, .. } => head.classes(),
            Self::Answers { questions, .. } => questions.first().map_or(0, |question| question.answers.len()),
        }
    }

    /// Rows of each text.
    pub(super) fn lengths(&self) -> Vec<usize> {
        match self {
            Self::Classes { texts, .. } => texts.iter().map(|text| text.ids.len()).collect(),
            Self::Answers { questions, .. } => questions.iter().map(|question| question.layout().rows()).collect(),
        }
    }

    /// The texts at some places.
    pub(super) fn at(&self, places: &[usize]) -> Self {
        match self {
            Self::Classes { head, texts } => {
                let texts = places.iter().map(|&place| texts[place].clone()).collect();
                Self::Classes { head: head.clone(), texts }
            }
            Self::Answers { questions, normalisation } => {
                let questions = places.iter().map(|&place| questions[place].clone()).collect();
                Self::Answers { questions, normalisation: *normalisation }
            }
        }
    }
}

/// A text as it is read.
enum Read {
    /// By the classifier's own head.
    Own(Encoded),
    /// By the language head's rows of these tokens.
    Tokens(Vec<u32>, Encoded),
    /// With answers after it, and whether it was cut.
    Question(Question, bool),
}

/// What texts have in common that are read together.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Common {
    Head,
    Tokens(Vec<u32>),
    Answers(usize),
}

/// Texts of one readout.
pub(super) struct Group {
    /// Their places among all.
    pub(super) places: Vec<usize>,
    pub(super) asked: Asked,
    /// Tokens read of each, and whether it was cut.
    pub(super) told: Vec<(usize, bool)>,
}

fn refused<T>(what: &str, expected: &str) -> Result<T> {
    Err(Error::Parameter { what: what.to_owned(), expected: expected.to_owned() })
}

impl Classifier {
    /// Refuses a text that cannot be predicted, before others are predicted with it.
    ///
    /// # Errors
    /// When the model has no segment for the second text of a pair; when the answers to choose from are missing, are given twice, or cannot
    /// be read after the text.
    pub fn check(&self, text: &Text) -> Result<()> {
        if let (Reading::Texts(_), Some(_)) = (&self.reading, &text.choices) {
            return if self.options.choices.is_empty() {
                refused(
                    "`choices` for an adapter with classes of its own",
                    "it chooses among these: leave `choices` out, or take an adapter of a language model (CAUSAL_LM)",
                )
            } else {
                refused("`choices` beside --choice", "give the answers in the line or on the command line, not both")
            };
        }
        if text.second.is_none() {
            return match &self.reading {
                Reading::Texts(_) => Ok(()),
                Reading::Questions(_) => self.read(text).map(|_| ()),
            };
        }
        if self.backbone.is_causal() {
            return refused(
                "a pair of texts for a decoder",
                "it reads one text: join the two as it was trained to read them",
            );
        }
        // Where there are two segments, no tokens of a pair are of a third; only what may be refused is tokenised here as well.
        match (self.backbone.segments(), &self.reading) {
            (Some(1), Reading::Texts(reader)) => Ok(self.backbone.check_segments(&reader.encode(text)?)?),
            _ => Ok(()),
        }
    }

    /// The answers that a text chooses from, where it does.
    pub(super) fn choices_of<'t>(&'t self, text: &'t Text) -> Option<&'t [String]> {
        let given = Some(self.options.choices.as_slice()).filter(|given| !given.is_empty());
        text.choices.as_deref().or(given)
    }

    fn read(&self, text: &Text) -> Result<Read> {
        let reader = match &self.reading {
            Reading::Texts(reader) => return Ok(Read::Own(reader.encode(text)?)),
            Reading::Questions(reader) => reader,
        };
        if text.choices.is_some() && !self.options.choices.is_empty() {
            return refused(
                "`choices` beside --choice",
                "give the answers in the line or on the command line, not both",
            );
        }
        let Some(choices) = self.choices_of(text) else {
            return Err(Error::File {
                path: self.adapter.join("adapter_config.json"),
                problem: "task_type is \"CAUSAL_LM\", without classes of its own; give the answers to choose from, each with --choice, or in \
                          the line's `choices`"
                    .to_owned(),
            });
        };
        let (question, was_cut) = reader.question(&text.text, choices)?;
        let tokens: Vec<Vec<u32>> = question.answers.iter().map(|answer| answer.tokens.clone()).collect();
        check_together(choices, &tokens)?;
        if self.reads_tokens(&tokens) {
            return Ok(Read::Tokens(single_tokens(choices, &tokens)?, reader.prompt(&text.text)?));
        }
        if self.samples > 0 && (self.options.linearised || self.laplace.is_some()) {
            return Err(no_texts());
        }
        Ok(Read::Question(question, was_cut))
    }

    /// Whether answers of these tokens are read as tokens.
    fn reads_tokens(&self, answers: &[Vec<u32>]) -> bool {
        reads_tokens(self.options.readout, self.options.normalisation, answers)
    }

    /// The texts, those of one readout together.
    pub(super) fn groups(&self, texts: &[Text]) -> Result<Vec<Group>> {
        let mut groups: BTreeMap<Common, Group> = BTreeMap::new();
        for (place, text) in texts.iter().enumerate() {
            let read = self.read(text)?;
            let common = match &read {
                Read::Own(_) => Common::Head,
                Read::Tokens(tokens, _) => Common::Tokens(tokens.clone()),
                Read::Question(question, _) => Common::Answers(question.answers.len()),
            };
            let group = match groups.entry(common) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let asked = match &read {
                        Read::Own(_) => Asked::Classes { head: self.saved.head.clone(), texts: Vec::new() },
                        Read::Tokens(tokens, _) => {
                            Asked::Classes { head: self.saved.head.of_tokens(tokens)?, texts: Vec::new() }
                        }
                        Read::Question(..) => Asked::Answers {
                            questions: Vec::new(),
                            normalisation: self.options.normalisation.unwrap_or_default(),
                        },
                    };
                    entry.insert(Group { places: Vec::new(), asked, told: Vec::new() })
                }
            };
            group.places.push(place);
            match (read, &mut group.asked) {
                (Read::Own(encoded) | Read::Tokens(_, encoded), Asked::Classes { texts, .. }) => {
                    group.told.push((encoded.ids.len(), encoded.truncated));
                    texts.push(encoded);
                }
                (Read::Question(question, was_cut), Asked::Answers { questions, .. }) => {
                    let answers: usize = question.answers.iter().map(|answer| answer.tokens.len()).sum();
                    group.told.push((question.prompt.len() + answers, was_cut));
                    questions.push(question);
                }
                // What is read one way is asked that way.
                _ => {}
            }
        }
        Ok(groups.into_values().collect())
    }
}

/// Why answers that are texts have no linearised reading.
pub(super) fn no_texts() -> Error {
    Error::Parameter {
        what: "a linearised reading of answers that are texts".to_owned(),
        expected: "it is of classes: leave out --linearised, or choose among answers of one token (a Laplace posterior has no other reading)"
            .to_owned(),
    }
}
