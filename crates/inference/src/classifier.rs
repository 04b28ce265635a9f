//! Predictions of one adapter for given texts: what `bayeslora predict` serves.

mod asked;
mod completions;
mod loaded;
mod network;
mod options;

use bayeslora_records::seven_digits;
use serde::Serialize;

use self::asked::Asked;
pub use self::completions::{CompletionScores, ScoredToken, Scores};
pub use self::loaded::{Classifier, MOST_SAMPLES, SAMPLES};
pub use self::options::InferenceOptions;
use crate::error::Result;
use crate::prefix::{ROWS_PER_PASS, chunks_of_rows};
use crate::reader::Text;
use crate::summary::Summary;

/// The prediction for one text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TextPrediction {
    /// Number of the text's line, from 1.
    pub line: u64,
    /// Most probable class: the answer chosen, or its name in the model's `config.json` where that names the classes of this head, else its
    /// number from 0.
    pub label: String,
    /// Logits, averaged over samples; of answers that are texts their normalised log-likelihoods.
    pub logits: Vec<f64>,
    /// Probabilities, averaged over samples.
    pub probabilities: Vec<f64>,
    /// Entropy of the averaged probabilities, nats: total uncertainty.
    pub predictive_entropy: f64,
    /// Average entropy of a sample's probabilities, nats: aleatoric uncertainty.
    pub expected_entropy: f64,
    /// Their difference, nats: epistemic uncertainty.
    pub mutual_information: f64,
    /// Variance of each class's probability over samples (divisor `samples - 1`; 0 for one).
    pub variance: Vec<f64>,
    /// Samples drawn.
    pub samples: u32,
    /// Whether the class was decided before the cap; absent unless sampling was adaptive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided: Option<bool>,
    /// Tokens read, special ones and those of answers that are texts included.
    pub tokens: usize,
    /// Whether the text was longer than the tokens read; absent where it was read whole.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

impl TextPrediction {
    /// The same in seven significant digits: activations are f32, so further digits differ from processor to processor.
    #[must_use]
    pub fn rounded(mut self) -> Self {
        let lists = [&mut self.logits, &mut self.probabilities, &mut self.variance];
        let entropies = [&mut self.predictive_entropy, &mut self.expected_entropy, &mut self.mutual_information];
        for value in lists.into_iter().flatten().chain(entropies) {
            *value = seven_digits(*value);
        }
        self
    }
}

impl Classifier {
    /// Predicts texts, so many together that they fill the matrix products. A text's samples depend on its line's number and the seed only.
    ///
    /// # Errors
    /// When a text cannot be tokenised.
    pub fn predict(&self, texts: &[Text]) -> Result<Vec<TextPrediction>> {
        let mut predictions = Vec::new();
        for group in self.groups(texts)? {
            for piece in chunks_of_rows(&group.asked.lengths(), ROWS_PER_PASS) {
                let (places, told) = (&group.places[piece.clone()], &group.told[piece.clone()]);
                let numbers: Vec<u64> = places.iter().map(|&place| texts[place].line).collect();
                let found = self.summaries(&group.asked.at(&piece.collect::<Vec<_>>()), &numbers)?;
                for ((&place, &told), (found, decided)) in places.iter().zip(told).zip(found) {
                    predictions.push((place, self.describe(&texts[place], told, found, decided)));
                }
            }
        }
        predictions.sort_by_key(|&(place, _)| place);
        Ok(predictions.into_iter().map(|(_, prediction)| prediction).collect())
    }

    /// What the samples of some texts say together, and whether a class was decided, where that is asked.
    fn summaries(&self, asked: &Asked, numbers: &[u64]) -> Result<Vec<(Summary, Option<bool>)>> {
        if self.samples > 0 && (self.options.linearised || self.laplace.is_some()) {
            return Ok(self.linearised(asked, numbers)?.into_iter().map(|summary| (summary, None)).collect());
        }
        if let Some(stopping) = self.stopping() {
            return self.adaptive(asked, numbers, stopping);
        }
        // Samples that agree decide at once.
        let decided = self.options.adaptive.map(|_| true);
        Ok(self.sampled(asked, numbers)?.into_iter().map(|summary| (summary, decided)).collect())
    }

    fn describe(
        &self,
        text: &Text,
        (tokens, truncated): (usize, bool),
        found: Summary,
        decided: Option<bool>,
    ) -> TextPrediction {
        let names = self.choices_of(text).or(self.names.as_deref());
        let class = found.class();
        TextPrediction {
            line: text.line,
            label: names.and_then(|names| names.get(class)).cloned().unwrap_or_else(|| class.to_string()),
            variance: found.variance(),
            logits: found.logits,
            probabilities: found.probabilities,
            predictive_entropy: found.predictive_entropy,
            expected_entropy: found.expected_entropy,
            mutual_information: found.mutual_information,
            samples: found.samples,
            decided,
            tokens,
            truncated,
        }
    }
}

#[cfg(test)]
mod tests;
