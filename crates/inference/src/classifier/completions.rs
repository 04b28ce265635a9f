//! Scored completions of `bayeslora predict --completions`.

use bayeslora_models::{Normalisation, Question, TokenScore};
use bayeslora_records::seven_digits;
use serde::Serialize;

use super::asked::Asked;
use super::loaded::{Classifier, Reading};
use crate::error::{Error, Result};
use crate::questions::QuestionReader;
use crate::reader::Text;

/// The scores of one completion: sums over its tokens, their means, and each token's own. In nats.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompletionScores {
    /// Number of the completion's line, from 1.
    pub line: u64,
    /// Logarithms of the tokens' probabilities, averaged over samples token by token.
    #[serde(flatten)]
    pub sums: Scores,
    /// The same, as means over tokens.
    pub mean: Scores,
    /// Samples drawn.
    pub samples: u32,
    /// Tokens of the prompt that are read, special ones included.
    pub prompt_tokens: usize,
    /// Whether the prompt was longer; absent where it was read whole.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The tokens of the completion.
    pub tokens: Vec<ScoredToken>,
}

/// A token of a completion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoredToken {
    /// Its text, space included; a part of a character is shown as U+FFFD.
    pub text: String,
    /// Its number in the vocabulary.
    pub id: u32,
    /// Its scores.
    #[serde(flatten)]
    pub scores: Scores,
}

/// Scores of a token, or their sums or means over tokens. In nats.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Scores {
    /// Logarithm of the probability, averaged over samples.
    pub log_probability: f64,
    /// Entropy of the averaged next-token distribution: total uncertainty.
    pub predictive_entropy: f64,
    /// Average entropy of a sample's next-token distribution: aleatoric uncertainty.
    pub expected_entropy: f64,
    /// Their difference: epistemic uncertainty.
    pub mutual_information: f64,
}

impl Scores {
    fn map2(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            log_probability: f(self.log_probability, other.log_probability),
            predictive_entropy: f(self.predictive_entropy, other.predictive_entropy),
            expected_entropy: f(self.expected_entropy, other.expected_entropy),
            mutual_information: f(self.mutual_information, other.mutual_information),
        }
    }

    fn rounded(self) -> Self {
        self.map2(self, |value, _| seven_digits(value))
    }
}

impl From<TokenScore> for Scores {
    fn from(score: TokenScore) -> Self {
        let TokenScore { log_probability, predictive_entropy, expected_entropy, mutual_information } = score;
        Self { log_probability, predictive_entropy, expected_entropy, mutual_information }
    }
}

impl CompletionScores {
    /// The same in seven significant digits, as predictions are told.
    #[must_use]
    pub fn rounded(mut self) -> Self {
        (self.sums, self.mean) = (self.sums.rounded(), self.mean.rounded());
        for token in &mut self.tokens {
            token.scores = token.scores.rounded();
        }
        self
    }
}

impl Classifier {
    /// Scores a completion: the text is the prompt, and the one entry of its choices is what completes it. The samples depend on the line's
    /// number and the seed only.
    ///
    /// # Errors
    /// When it has no tokens or is as long as the window, when there is not one, and where the adapter's posterior is one of Laplace's.
    pub fn complete(&self, text: &Text) -> Result<CompletionScores> {
        let (question, truncated, reader) = self.completion(text)?;
        let samples = self.drawn(0..self.samples);
        let asked = Asked::Answers { questions: vec![question.clone()], normalisation: Normalisation::Sum };
        let found = self.embedded(&asked, &[text.line], |sampler, hidden| {
            sampler.completion(hidden, &question, &samples, &|_| ())
        })?;
        let ids = question.answers.iter().flat_map(|answer| &answer.tokens);
        let token =
            |(&id, score): (&u32, TokenScore)| Ok(ScoredToken { text: reader.text_of(id)?, id, scores: score.into() });
        let tokens = ids.zip(found).map(token).collect::<Result<Vec<_>>>()?;
        let sums = tokens.iter().fold(Scores::default(), |sum, token| sum.map2(token.scores, |a, b| a + b));
        let count = tokens.len().max(1) as f64;
        Ok(CompletionScores {
            line: text.line,
            sums,
            mean: sums.map2(sums, |sum, _| sum / count),
            samples: u32::try_from(samples.count()).unwrap_or(u32::MAX),
            prompt_tokens: question.prompt.len(),
            truncated,
            tokens,
        })
    }

    /// Refuses a completion that cannot be scored.
    ///
    /// # Errors
    /// As [`Self::complete`].
    pub fn check_completion(&self, text: &Text) -> Result<()> {
        self.completion(text).map(|_| ())
    }

    /// A completion after its prompt, whether the prompt was cut, and who read them.
    fn completion(&self, text: &Text) -> Result<(Question, bool, &QuestionReader)> {
        let refused =
            |what: &str, expected: &str| Error::Parameter { what: what.to_owned(), expected: expected.to_owned() };
        if self.laplace.is_some() && self.samples > 0 {
            return Err(refused(
                "completions under a Laplace posterior",
                "it is read through the linearised network of classes: take another adapter, or --deterministic",
            ));
        }
        match (&self.reading, text.choices.as_deref()) {
            (Reading::Questions(reader), Some(completion @ [_])) => {
                let (question, was_cut) = reader.question(&text.text, completion)?;
                Ok((question, was_cut, reader))
            }
            (Reading::Questions(_), _) => Err(refused("a text without its completion", "give one to each prompt")),
            (Reading::Texts(_), _) => Err(refused(
                "completions for an adapter with classes of its own",
                "take an adapter of a language model (CAUSAL_LM)",
            )),
        }
    }
}
