//! A prompt with answers to be scored after it: its tokens, how its rows lie, and which of them are read for which tokens.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use bayeslora_kernels::{Layout, Packing, Target};

use crate::error::{Error, Result};

/// A prompt with one answer or several, each a text of its own.
///
/// The answers share the prompt's rows. The last token of an answer has no row: nothing is asked after it. So the prompt is followed by
/// each answer's tokens but its last, and what is read are the prompt's last row and all rows after it.
///
/// # Examples
/// ```
/// use bayeslora_models::{Answer, Question};
/// let answer = |tokens: &[u32]| Answer { tokens: tokens.to_vec(), characters: 1 };
/// let question = Question { prompt: vec![1, 7, 8], answers: vec![answer(&[4, 5, 6]), answer(&[9])] };
/// assert_eq!(question.tokens(), [1, 7, 8, 4, 5]);
/// assert_eq!((question.layout().prompt, question.read()), (3, 2..5));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Tokens of the prompt, special ones included: at least one.
    pub prompt: Vec<u32>,
    /// The answers: at least one.
    pub answers: Vec<Answer>,
}

/// An answer as it stands after its prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its tokens: at least one.
    pub tokens: Vec<u32>,
    /// Characters of its text.
    pub characters: usize,
}

/// What becomes of an answer's log-likelihood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Normalisation {
    /// The sum over its tokens: `ln p(answer | prompt)`. Favours short answers.
    Sum,
    /// The mean over its tokens.
    #[default]
    Mean,
    /// The sum divided by the number of its characters, white space around it not counted.
    Characters,
}

impl Normalisation {
    /// All, as they are spelled.
    pub const ALL: [Self; 3] = [Self::Sum, Self::Mean, Self::Characters];

    /// What the sum over an answer's tokens is divided by.
    fn divisor(self, answer: &Answer) -> f32 {
        let count = match self {
            Self::Sum => 1,
            Self::Mean => answer.tokens.len(),
            Self::Characters => answer.characters.max(1),
        };
        count as f32
    }
}

impl fmt::Display for Normalisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Characters => "characters",
        })
    }
}

impl FromStr for Normalisation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|known| known.to_string() == text);
        known.ok_or_else(|| format!("normalisation {text:?} is unknown; expected sum, mean or characters"))
    }
}

impl Question {
    /// Refuses a question without a prompt, without answers, or with an empty one.
    ///
    /// # Errors
    /// [`Error::Slot`].
    pub fn check(&self) -> Result<()> {
        let refused = |what: String, expected: &str| Err(Error::Slot { what, expected: expected.to_owned() });
        if self.prompt.is_empty() {
            return refused("token before the answers".to_owned(), "a prompt has one at least");
        }
        if self.answers.is_empty() {
            return refused("answer to score".to_owned(), "a question has one at least");
        }
        match self.answers.iter().position(|answer| answer.tokens.is_empty()) {
            None => Ok(()),
            Some(place) => refused(format!("token in answer {place}"), "an answer has one at least"),
        }
    }

    /// How its rows lie.
    pub fn layout(&self) -> Layout {
        let rows = self.answers.iter().map(|answer| answer.tokens.len().saturating_sub(1));
        Layout { prompt: self.prompt.len(), continuations: rows.filter(|&rows| rows > 0).collect() }
    }

    /// Where the rows of some questions lie.
    pub fn packing<'q>(questions: impl IntoIterator<Item = &'q Self>) -> Packing {
        Packing::from_layouts(questions.into_iter().map(Self::layout))
    }

    /// The token of each row.
    pub fn tokens(&self) -> Vec<u32> {
        let within = |answer: &Answer| answer.tokens[..answer.tokens.len().saturating_sub(1)].to_vec();
        self.prompt.iter().copied().chain(self.answers.iter().flat_map(within)).collect()
    }

    /// The rows that are read, counted from its first.
    pub fn read(&self) -> Range<usize> {
        self.prompt.len().saturating_sub(1)..self.layout().rows()
    }

    /// The tokens of each answer with the rows that predict them, counted from the first that is read, answer after answer.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        let mut next = 1;
        for answer in &self.answers {
            for (place, &token) in answer.tokens.iter().enumerate() {
                let row = if place == 0 { 0 } else { next + place - 1 };
                targets.push(Target { row: u32::try_from(row).unwrap_or(u32::MAX), token });
            }
            next += answer.tokens.len().saturating_sub(1);
        }
        targets
    }

    /// What each target's log-likelihood counts for in its answer's logit: the answer's place and the factor.
    pub(crate) fn shares(&self, normalisation: Normalisation) -> Vec<(usize, f32)> {
        let answers = self.answers.iter().enumerate();
        let share = |(place, answer): (usize, &Answer)| (place, 1.0 / normalisation.divisor(answer));
        answers.flat_map(|answer| std::iter::repeat_n(share(answer), answer.1.tokens.len())).collect()
    }
}

/// Targets of questions whose read rows lie one after another.
pub(crate) fn joint_targets(questions: &[&Question]) -> Vec<Target> {
    let mut first = 0;
    let mut targets = Vec::new();
    for question in questions {
        targets.extend(question.targets().into_iter().map(|Target { row, token }| Target { row: row + first, token }));
        first += u32::try_from(question.read().len()).unwrap_or(u32::MAX);
    }
    targets
}

/// The most answers of a question.
pub(crate) fn most_answers<'q>(questions: impl IntoIterator<Item = &'q Question>) -> usize {
    questions.into_iter().map(|question| question.answers.len()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(prompt: &[u32], answers: &[&[u32]]) -> Question {
        let answer = |tokens: &&[u32]| Answer { tokens: tokens.to_vec(), characters: 5 };
        Question { prompt: prompt.to_vec(), answers: answers.iter().map(answer).collect() }
    }

    #[test]
    fn every_token_is_read_at_the_row_before_it() {
        let question = question(&[1, 2], &[&[3, 4, 5], &[6], &[7, 8]]);
        assert_eq!(question.tokens(), [1, 2, 3, 4, 7]);
        assert_eq!(question.layout(), Layout { prompt: 2, continuations: vec![2, 1] });
        assert_eq!(question.layout().rows(), question.tokens().len());
        let targets: Vec<(u32, u32)> = question.targets().iter().map(|target| (target.row, target.token)).collect();
        assert_eq!(targets, [(0, 3), (1, 4), (2, 5), (0, 6), (0, 7), (3, 8)]);
        assert_eq!(question.read(), 1..5);
        let mean = question.shares(Normalisation::Mean);
        assert_eq!(mean, [(0, 1.0 / 3.0), (0, 1.0 / 3.0), (0, 1.0 / 3.0), (1, 1.0), (2, 0.5), (2, 0.5)]);
        assert!(question.shares(Normalisation::Sum).iter().all(|&(_, share)| (share - 1.0).abs() < 1e-6));
        assert!(question.shares(Normalisation::Characters).iter().all(|&(_, share)| (share - 0.2).abs() < 1e-6));
        let both = joint_targets(&[&question, &question]);
        assert_eq!((both.len(), both[6].row, both[11].row), (12, 4, 7));
    }

    #[test]
    fn what_has_nothing_to_score_is_refused() {
        assert!(question(&[], &[&[1]]).check().unwrap_err().to_string().contains("a prompt has one"));
        assert!(question(&[1], &[]).check().unwrap_err().to_string().contains("a question has one"));
        assert!(question(&[1], &[&[1], &[]]).check().unwrap_err().to_string().contains("token in answer 1"));
        question(&[1], &[&[1]]).check().unwrap();
        assert!("word".parse::<Normalisation>().unwrap_err().contains("sum, mean or characters"));
        assert!(Normalisation::ALL.iter().all(|all| all.to_string().parse() == Ok(*all)));
    }
}
