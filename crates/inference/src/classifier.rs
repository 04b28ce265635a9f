//! Predictions of one adapter for given texts: what `bayeslora predict` serves.

use std::ops::Range;
use std::path::Path;

use bayeslora_adapters::{
    AdapterSet, Coupling, Draw, DropoutSite, MaskScope, Noise, PosteriorSettings, Stream, derive_seed,
};
use bayeslora_metrics::GaussianLogits;
use bayeslora_models::{Backbone, Encoded, Hidden, Packing, Pass, Sampler, Samples, SavedAdapter};
use bayeslora_records::seven_digits;
use candle_core::DType;
use ndarray::{Array3, Axis};
use serde::Serialize;

use crate::adaptive;
use crate::adaptive::Stopping;
use crate::error::{Error, Result};
use crate::laplace::{Laplace, Network};
use crate::other_dropout::with_dropout;
use crate::prefix::{ROWS_PER_PASS, Sentences, chunks_of_rows};
use crate::reader::{Reader, Text, answer_tokens};
use crate::resources::{Resources, check_samples};
use crate::shapes::{gaussian, samples_of};
use crate::summary::Summary;
use bayeslora_data::Silent;

/// How to predict.
#[derive(Debug, Clone)]
pub struct InferenceOptions {
    /// Monte-Carlo samples; 0 for one deterministic pass at the mean. By default 20; draws of Gaussian logits, which cost next to nothing,
    /// are 1000, or as many as a Laplace posterior says.
    pub samples: Option<u32>,
    /// How the samples are coupled.
    pub coupling: Coupling,
    /// Stops sampling a text once its class is known at this error level; `samples` is then the cap.
    pub adaptive: Option<f64>,
    /// Takes the samples from the linearised predictive instead of the network.
    pub linearised: bool,
    /// Seed of the samples.
    pub seed: u64,
    /// Texts are cut to this many tokens; the model's positions by default.
    pub max_tokens: Option<usize>,
    /// Answers that a language model chooses from, each one token; none for an adapter with classes of its own.
    pub choices: Vec<String>,
    /// Replaces the adapter's dropout site.
    pub site: Option<DropoutSite>,
    /// Replaces the adapter's mask scope.
    pub scope: Option<MaskScope>,
    /// Replaces the adapter's dropout probability.
    pub dropout: Option<f64>,
    /// Device, precision and memory.
    pub resources: Resources,
}

/// The prediction for one text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TextPrediction {
    /// Number of the text's line, from 1.
    pub line: u64,
    /// Most probable class: its name in the model's `config.json` where that names the classes of this head, else its number from 0.
    pub label: String,
    /// Logits, averaged over samples.
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
    /// Tokens read, special ones included.
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
/// Samples whose logits are in memory together, or a little more to end with a coupled group.
const SAMPLES_TOGETHER: u32 = 4096;
/// Draws of the Gaussian logits of the linearised predictive by default.
const LINEARISED_DRAWS: u32 = 1000;

/// A backbone with an adapter.
#[derive(Debug)]
pub struct Classifier {
    backbone: Backbone,
    reader: Reader,
    saved: SavedAdapter,
    /// Names of the classes, where there are names of these.
    names: Option<Vec<String>>,
    /// The posterior, where it is one of Laplace's.
    laplace: Option<Laplace>,
    samples: u32,
    options: InferenceOptions,
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
        let answers = match options.choices.as_slice() {
            [] => None,
            choices => Some(answer_tokens(model, adapter, choices)?),
        };
        let (backbone, saved) =
            SavedAdapter::load_with_model(adapter, model, &options.resources.place, answers.as_deref(), |found| {
                with_dropout(found, (options.site, options.scope, options.dropout))
            })?;
        let reader = Reader::load(&backbone, model, adapter, (options.max_tokens, answers.is_some()))?;
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
        let is_sampled = samples > 0 && !options.linearised && laplace.is_none();
        if is_sampled && posterior.is_stochastic() {
            check_samples(&options.resources.place, "samples of an adapter with noise")?;
        }
        options.resources.room(&backbone, 0)?;
        let names = match answers {
            None => backbone.class_names(saved.head.classes()),
            Some(_) => Some(options.choices.clone()),
        };
        Ok(Self { backbone, reader, saved, names, laplace, samples, options })
    }

    /// Whether samples will differ from each other.
    pub fn is_stochastic(&self) -> bool {
        self.laplace.is_some() || self.saved.posterior.is_stochastic()
    }

    /// Refuses a pair of texts that the model cannot tell apart, before others are predicted with it.
    ///
    /// # Errors
    /// When the model has no segment for the second text.
    pub fn check(&self, text: &Text) -> Result<()> {
        if text.second.is_none() {
            return Ok(());
        }
        if self.backbone.is_causal() {
            return Err(Error::Parameter {
                what: "a pair of texts for a decoder".to_owned(),
                expected: "it reads one text: join the two as it was trained to read them".to_owned(),
            });
        }
        // Where there are two segments, no tokens of a pair are of a third; only what may be refused is tokenised here as well.
        match self.backbone.segments() {
            Some(1) => Ok(self.backbone.check_segments(&self.reader.encode(text)?)?),
            _ => Ok(()),
        }
    }

    /// Predicts texts, so many together that they fill the matrix products. A text's samples depend on its line's number and the seed only.
    ///
    /// # Errors
    /// When a text cannot be tokenised.
    pub fn predict(&self, texts: &[Text]) -> Result<Vec<TextPrediction>> {
        let tokens = texts.iter().map(|text| self.reader.encode(text)).collect::<Result<Vec<_>, _>>()?;
        let lengths: Vec<usize> = tokens.iter().map(|text| text.ids.len()).collect();
        let mut predictions = Vec::new();
        for piece in chunks_of_rows(&lengths, ROWS_PER_PASS) {
            predictions.extend(self.predict_together(&texts[piece.clone()], &tokens[piece])?);
        }
        Ok(predictions)
    }

    /// Some texts with their tokens.
    fn predict_together(&self, texts: &[Text], tokens: &[Encoded]) -> Result<Vec<TextPrediction>> {
        let numbers: Vec<u64> = texts.iter().map(|text| text.line).collect();
        let found = if self.samples > 0 && (self.options.linearised || self.laplace.is_some()) {
            self.linearised(tokens, &numbers)?.into_iter().map(|summary| (summary, None)).collect()
        } else if let Some(stopping) = self.stopping() {
            self.adaptive(tokens, &numbers, stopping)?
        } else {
            // Samples that agree decide at once.
            let decided = self.options.adaptive.map(|_| true);
            self.sampled(tokens, &numbers)?.into_iter().map(|summary| (summary, decided)).collect()
        };
        let described = texts.iter().zip(tokens).zip(found);
        Ok(described.map(|((text, tokens), (found, decided))| self.describe(text, tokens, found, decided)).collect())
    }

    /// All samples of the network.
    fn sampled(&self, tokens: &[Encoded], numbers: &[u64]) -> Result<Vec<Summary>> {
        let samples = if self.is_stochastic() { self.samples } else { 0 };
        together(samples, self.options.coupling.group(), |_, range| Summary::of(&self.logits(tokens, numbers, range)?))
    }

    /// Samples of the network until each text's class is known, with whether it is.
    fn adaptive(
        &self,
        tokens: &[Encoded],
        numbers: &[u64],
        stopping: Stopping,
    ) -> Result<Vec<(Summary, Option<bool>)>> {
        let decisions = adaptive::decide(tokens.len(), self.saved.head.classes(), stopping, |places, range| {
            let tokens: Vec<Encoded> = places.iter().map(|&place| tokens[place].clone()).collect();
            let numbers: Vec<u64> = places.iter().map(|&place| numbers[place]).collect();
            self.logits(&tokens, &numbers, range)
        })?;
        let mut found = Vec::new();
        for decision in decisions {
            let summaries = Summary::of(&decision.logits.insert_axis(Axis(1)))?;
            found.extend(summaries.into_iter().map(|summary| (summary, Some(decision.decided))));
        }
        Ok(found)
    }

    /// Draws from Gaussian logits; a text's draws depend on its number and the seed only.
    fn linearised(&self, tokens: &[Encoded], numbers: &[u64]) -> Result<Vec<Summary>> {
        let gaussians = if let Some(laplace) = &self.laplace {
            let SavedAdapter { adapters, head, .. } = &self.saved;
            let from = self.first_adapted();
            let longest = tokens.iter().map(|text| text.ids.len()).max().unwrap_or(0);
            let budget = self.options.resources.room(&self.backbone, longest)?;
            let sentences = Sentences::of_encoded(&self.backbone, tokens, Vec::new(), 0, from, (&budget, &Silent))?;
            laplace.gaussian(Network { backbone: &self.backbone, from, adapters, head }, &sentences, &Silent)?
        } else {
            let parts = self.embedded(tokens, numbers, |sampler, hidden| sampler.linearised(hidden, &|_| ()))?;
            gaussian(parts.mean, parts.covariance, tokens.len())?
        };
        let mut found = Vec::new();
        for (place, &number) in numbers.iter().enumerate() {
            let own = ndarray::s![place..=place, ..];
            let covariance = gaussians.covariance().slice(ndarray::s![place..=place, .., ..]).to_owned();
            let one = GaussianLogits::new(gaussians.mean().slice(own).to_owned(), covariance)?;
            let seed = derive_seed(self.options.seed, number);
            found.extend(together(self.samples, 1, |piece, range| {
                // Each piece has random numbers of its own.
                let seed = if piece == 0 { seed } else { derive_seed(seed, piece) };
                Summary::of(&one.samples(range.len(), seed))
            })?);
        }
        Ok(found)
    }

    /// When to stop, where sampling is adaptive and samples differ.
    fn stopping(&self) -> Option<Stopping> {
        let InferenceOptions { coupling, adaptive, .. } = self.options;
        adaptive.filter(|_| self.is_stochastic()).map(|alpha| Stopping { alpha, most: self.samples, coupling })
    }

    /// Logits of numbered samples; one at the mean where the range is empty or all samples agree.
    fn logits(&self, tokens: &[Encoded], examples: &[u64], numbers: Range<u32>) -> Result<Array3<f32>> {
        let samples = if numbers.is_empty() || !self.is_stochastic() {
            Samples::Mean
        } else {
            let noise = Noise::new(self.options.seed, Stream::Predictive).coupled(self.options.coupling);
            Samples::Drawn { noise, numbers }
        };
        let shape = (samples.count(), tokens.len(), self.saved.head.classes());
        let logits = self.embedded(tokens, examples, |sampler, hidden| sampler.logits(hidden, &samples, &|_| ()))?;
        samples_of(shape, logits)
    }

    /// The lowest block with an adapter, or the last.
    fn first_adapted(&self) -> usize {
        let last = self.backbone.blocks() - 1;
        self.saved.adapters.first_block().map_or(last, |first| first.min(last))
    }

    /// Calls `f` with the network and the texts' activations below its first adapted block.
    fn embedded<T>(
        &self,
        tokens: &[Encoded],
        examples: &[u64],
        f: impl FnOnce(Sampler<'_>, Hidden<'_>) -> bayeslora_models::Result<T>,
    ) -> Result<T> {
        let lengths: Vec<usize> = tokens.iter().map(|text| text.ids.len()).collect();
        let SavedAdapter { adapters, head, .. } = &self.saved;
        self.options.resources.room(&self.backbone, lengths.iter().copied().max().unwrap_or(0))?;
        // What lies below the first adapter is the same for all samples.
        let from = self.first_adapted();
        let (packing, none) = (Packing::from_lengths(&lengths), AdapterSet::new());
        let x = self.backbone.embed_encoded(tokens)?;
        let x = self.backbone.run_blocks(0..from, &x, &packing, &mut Pass::new(&none, Draw::Mean))?;
        let values: Vec<f32> = x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        let sampler = Sampler { backbone: &self.backbone, head, adapters, from };
        Ok(f(sampler, Hidden { values: (&values).into(), lengths: &lengths, examples })?)
    }

    fn describe(&self, text: &Text, tokens: &Encoded, found: Summary, decided: Option<bool>) -> TextPrediction {
        TextPrediction {
            line: text.line,
            label: self.label(found.class()),
            variance: found.variance(),
            logits: found.logits,
            probabilities: found.probabilities,
            predictive_entropy: found.predictive_entropy,
            expected_entropy: found.expected_entropy,
            mutual_information: found.mutual_information,
            samples: found.samples,
            decided,
            tokens: tokens.ids.len(),
            truncated: tokens.truncated,
        }
    }

    /// The name of a class, or its number.
    fn label(&self, class: usize) -> String {
        self.names.as_ref().and_then(|names| names.get(class)).cloned().unwrap_or_else(|| class.to_string())
    }
}

/// Summaries of `samples` samples, drawn in pieces of whole coupled groups; `draw` gets the piece's number and its samples'.
fn together(
    samples: u32,
    group: u32,
    mut draw: impl FnMut(u64, Range<u32>) -> Result<Vec<Summary>>,
) -> Result<Vec<Summary>> {
    let size = SAMPLES_TOGETHER.checked_next_multiple_of(group).unwrap_or(samples);
    let mut found = draw(0, 0..samples.min(size))?;
    let (mut piece, mut from) = (1, size);
    while from < samples {
        let to = from.saturating_add(size).min(samples);
        let more = draw(piece, from..to)?;
        found = found.iter().zip(&more).map(|(found, more)| found.joined(more)).collect();
        (piece, from) = (piece + 1, to);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
