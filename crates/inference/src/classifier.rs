//! Predictions of one adapter for given texts: what `bayeslora predict` serves.

use std::path::{Path, PathBuf};

use bayeslora_adapters::{Coupling, PosteriorSettings};
use bayeslora_models::{Backbone, HeadOf, SavedAdapter};
use bayeslora_records::seven_digits;
use candle_core::Device;
use serde::Serialize;

use crate::adaptive::Stopping;
use crate::error::{Error, Result};
use crate::laplace::Laplace;
use crate::questions::{QuestionReader, Readout, single_tokens};
use crate::reader::{Reader, Text};
use crate::summary::Summary;

use self::asked::reads_tokens;
pub use self::completions::{CompletionScores, ScoredToken, Scores};
pub use self::options::InferenceOptions;
use self::options::replaced;

mod asked;
mod completions;
mod network;
mod options;

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

/// Monte-Carlo samples by default.
pub const SAMPLES: u32 = 20;
/// Monte-Carlo samples at most: their standard error is below any digit worth reading long before.
pub const MOST_SAMPLES: u32 = 1_000_000;
/// Samples that adaptive sampling takes at most: it keeps the logits of all.
const MOST_ADAPTIVE: u32 = 100_000;
/// Draws of the Gaussian logits of the linearised predictive by default.
const LINEARISED_DRAWS: u32 = 1000;

/// A backbone with an adapter.
#[derive(Debug)]
pub struct Classifier {
    backbone: Backbone,
    /// The adapter's folder.
    adapter: PathBuf,
    reading: Reading,
    saved: SavedAdapter,
    /// Names of the classes, where there are names of these.
    names: Option<Vec<String>>,
    /// The posterior, where it is one of Laplace's.
    laplace: Option<Laplace>,
    samples: u32,
    options: InferenceOptions,
}

/// How texts are read.
#[derive(Debug)]
enum Reading {
    /// Alone: the head is of classes, or of answers that are the same for all texts.
    Texts(Reader),
    /// With answers after them: the head is the whole language head.
    Questions(QuestionReader),
}

impl Classifier {
    /// Reads model and adapter.
    ///
    /// # Errors
    /// Naming the file, for whatever is missing, damaged or unsupported.
    pub fn load(model: &Path, adapter: &Path, options: InferenceOptions) -> Result<Self> {
        if let Some(alpha) = options.adaptive {
            let most = options.samples.unwrap_or(SAMPLES);
            Stopping { alpha, most, coupling: options.coupling }.check()?;
        }
        if let Some(p) = options.dropout {
            bayeslora_adapters::KeepProbability::from_dropout(p)?;
        }
        if options.readout == Some(Readout::Tokens) && options.normalisation.is_some() {
            return Err(Error::Parameter {
                what: "a normalisation of answers of one token".to_owned(),
                expected: "leave out --normalise, or score answers as texts with --readout texts".to_owned(),
            });
        }
        let questions = match options.choices.as_slice() {
            [] if !options.completions => None,
            _ => Some(QuestionReader::load(model, adapter)?),
        };
        // Answers of one token each need few rows of the language head.
        let answers = match &questions {
            Some(reader) if !options.completions => {
                let tokens = reader.answers(&options.choices)?;
                let as_tokens = reads_tokens(options.readout, options.normalisation, &tokens);
                as_tokens.then(|| single_tokens(&options.choices, &tokens)).transpose()?
            }
            _ => None,
        };
        let head = match (&answers, &questions) {
            (Some(tokens), _) => HeadOf::Tokens(tokens),
            (None, Some(_)) => HeadOf::Language,
            (None, None) => HeadOf::Either,
        };
        let choose = |found| replaced(found, &options);
        let (backbone, saved) = SavedAdapter::load_with_head(adapter, model, &Device::Cpu, head, choose)?;
        let reading = if saved.head.is_language() {
            let reader = questions.map_or_else(|| QuestionReader::load(model, adapter), Ok)?;
            Reading::Questions(reader.within(&backbone, model, adapter, options.max_tokens)?)
        } else {
            if answers.is_none() && (options.readout.is_some() || options.normalisation.is_some()) {
                return Err(Error::Parameter {
                    what: "a readout of answers for an adapter with classes of its own".to_owned(),
                    expected: "leave out --readout and --normalise".to_owned(),
                });
            }
            Reading::Texts(Reader::load(&backbone, model, adapter, (options.max_tokens, answers.is_some()))?)
        };
        let SavedAdapter { adapters, head, posterior } = &saved;
        let laplace = match *posterior {
            PosteriorSettings::Laplace(settings) => Some(Laplace::load(adapter, settings, adapters, head)?),
            _ => None,
        };
        if laplace.is_some() && (options.adaptive.is_some() || options.coupling != Coupling::Independent) {
            return Err(Error::Parameter {
                what: "adaptive or coupled sampling of a Laplace posterior".to_owned(),
                expected: "it is read through the linearised network: leave out --adaptive and --coupling".to_owned(),
            });
        }
        let own = if options.linearised { LINEARISED_DRAWS } else { SAMPLES };
        let samples = options.samples.unwrap_or_else(|| laplace.as_ref().map_or(own, |l| l.settings().draws));
        let most = if options.adaptive.is_some() { MOST_ADAPTIVE } else { MOST_SAMPLES };
        if samples > most {
            return Err(Error::Parameter {
                what: format!("{samples} samples of a text"),
                expected: format!("expected at most {most}; choose fewer with --samples"),
            });
        }
        let names = match reading {
            Reading::Texts(_) if answers.is_none() => backbone.class_names(saved.head.classes()),
            _ => None,
        };
        Ok(Self { adapter: adapter.to_owned(), backbone, reading, saved, names, laplace, samples, options })
    }

    /// Whether samples will differ from each other.
    pub fn is_stochastic(&self) -> bool {
        self.laplace.is_some() || self.saved.posterior.is_stochastic()
    }

    /// Predicts texts. A text's samples depend on its line's number and the seed only.
    ///
    /// # Errors
    /// When a text cannot be tokenised.
    pub fn predict(&self, texts: &[Text]) -> Result<Vec<TextPrediction>> {
        let mut predictions = Vec::new();
        for group in self.groups(texts)? {
            let numbers: Vec<u64> = group.places.iter().map(|&place| texts[place].line).collect();
            let asked = &group.asked;
            let found: Vec<_> = if self.samples > 0 && (self.options.linearised || self.laplace.is_some()) {
                self.linearised(asked, &numbers)?.into_iter().map(|summary| (summary, None)).collect()
            } else if let Some(stopping) = self.stopping() {
                self.adaptive(asked, &numbers, stopping)?
            } else {
                // Samples that agree decide at once.
                let decided = self.options.adaptive.map(|_| true);
                self.sampled(asked, &numbers)?.into_iter().map(|summary| (summary, decided)).collect()
            };
            for ((&place, &told), (found, decided)) in group.places.iter().zip(&group.told).zip(found) {
                predictions.push((place, self.describe(&texts[place], told, found, decided)));
            }
        }
        predictions.sort_by_key(|&(place, _)| place);
        Ok(predictions.into_iter().map(|(_, prediction)| prediction).collect())
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
