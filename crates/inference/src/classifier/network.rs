//! Samples of the network for texts of one readout, and what they say together.

use std::ops::Range;

use bayeslora_adapters::{AdapterSet, Draw, Noise, Stream, derive_seed};
use bayeslora_data::Silent;
use bayeslora_metrics::GaussianLogits;
use bayeslora_models::{Hidden, Packing, Pass, Question, Sampler, Samples};
use candle_core::DType;
use ndarray::{Array3, Axis};

use super::asked::{Asked, no_texts};
use super::loaded::Classifier;
use super::options::InferenceOptions;
use crate::adaptive;
use crate::adaptive::Stopping;
use crate::error::Result;
use crate::laplace::Network;
use crate::prefix::Sentences;
use crate::shapes::{gaussian, samples_of};
use crate::summary::Summary;

/// Samples whose logits are in memory together, or a little more to end with a coupled group.
pub(super) const SAMPLES_TOGETHER: u32 = 4096;

impl Classifier {
    /// All samples of the network.
    pub(super) fn sampled(&self, asked: &Asked, numbers: &[u64]) -> Result<Vec<Summary>> {
        let samples = if self.is_stochastic() { self.samples } else { 0 };
        together(samples, self.options.coupling.group(), |_, range| Summary::of(&self.logits(asked, numbers, range)?))
    }

    /// Samples of the network until each text's class is known, with whether it is.
    pub(super) fn adaptive(
        &self,
        asked: &Asked,
        numbers: &[u64],
        stopping: Stopping,
    ) -> Result<Vec<(Summary, Option<bool>)>> {
        let decisions = adaptive::decide(asked.len(), asked.classes(), stopping, |places, range| {
            let numbers: Vec<u64> = places.iter().map(|&place| numbers[place]).collect();
            self.logits(&asked.at(places), &numbers, range)
        })?;
        let mut found = Vec::new();
        for decision in decisions {
            let summaries = Summary::of(&decision.logits.insert_axis(Axis(1)))?;
            found.extend(summaries.into_iter().map(|summary| (summary, Some(decision.decided))));
        }
        Ok(found)
    }

    /// Draws from Gaussian logits; a text's draws depend on its number and the seed only.
    pub(super) fn linearised(&self, asked: &Asked, numbers: &[u64]) -> Result<Vec<Summary>> {
        let Asked::Classes { head, texts } = asked else { return Err(no_texts()) };
        let gaussians = if let Some(laplace) = &self.laplace {
            let from = self.first_adapted();
            let longest = texts.iter().map(|text| text.ids.len()).max().unwrap_or(0);
            let budget = self.options.resources.room(&self.backbone, longest)?;
            let sentences = Sentences::of_encoded(&self.backbone, texts, Vec::new(), 0, from, (&budget, &Silent))?;
            let network = Network { backbone: &self.backbone, from, adapters: &self.saved.adapters, head };
            laplace.gaussian(network, &sentences, &Silent)?
        } else {
            let parts = self.embedded(asked, numbers, |sampler, hidden| sampler.linearised(hidden, &|_| ()))?;
            gaussian(parts.mean, parts.covariance, texts.len())?
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
    pub(super) fn stopping(&self) -> Option<Stopping> {
        let InferenceOptions { coupling, adaptive, .. } = self.options;
        adaptive.filter(|_| self.is_stochastic()).map(|alpha| Stopping { alpha, most: self.samples, coupling })
    }

    /// Logits of numbered samples; one at the mean where the range is empty or all samples agree.
    pub(super) fn logits(&self, asked: &Asked, examples: &[u64], numbers: Range<u32>) -> Result<Array3<f32>> {
        let samples = self.drawn(numbers);
        let shape = (samples.count(), asked.len(), asked.classes());
        let logits = self.embedded(asked, examples, |sampler, hidden| match asked {
            Asked::Classes { .. } => sampler.logits(hidden, &samples, &|_| ()),
            Asked::Answers { questions, normalisation } => {
                let questions: Vec<&Question> = questions.iter().collect();
                sampler.answers(hidden, &questions, *normalisation, &samples, &|_| ())
            }
        })?;
        samples_of(shape, logits)
    }

    /// Samples of these numbers; the mean where there are none or all agree.
    pub(super) fn drawn(&self, numbers: Range<u32>) -> Samples {
        if numbers.is_empty() || !self.is_stochastic() {
            return Samples::Mean;
        }
        let noise = Noise::new(self.options.seed, Stream::Predictive).coupled(self.options.coupling);
        Samples::Drawn { noise, numbers }
    }

    /// The lowest block with an adapter, or the last.
    fn first_adapted(&self) -> usize {
        let last = self.backbone.blocks() - 1;
        self.saved.adapters.first_block().map_or(last, |first| first.min(last))
    }

    /// Calls `f` with the network and the texts' activations below its first adapted block.
    pub(super) fn embedded<T>(
        &self,
        asked: &Asked,
        examples: &[u64],
        f: impl FnOnce(Sampler<'_>, Hidden<'_>) -> bayeslora_models::Result<T>,
    ) -> Result<T> {
        let (x, packing, head) = match asked {
            Asked::Classes { head, texts } => {
                let lengths: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
                (self.backbone.embed_encoded(texts)?, Packing::from_lengths(&lengths), head)
            }
            Asked::Answers { questions, .. } => {
                let packing = Question::packing(questions);
                let tokens: Vec<u32> = questions.iter().flat_map(Question::tokens).collect();
                (self.backbone.embed_packed(&tokens, &packing)?, packing, &self.saved.head)
            }
        };
        let lengths: Vec<usize> = packing.sentences().map(|rows| rows.len()).collect();
        self.options.resources.room(&self.backbone, lengths.iter().copied().max().unwrap_or(0))?;
        // What lies below the first adapter is the same for all samples.
        let (from, none) = (self.first_adapted(), AdapterSet::new());
        let x = self.backbone.run_blocks(0..from, &x, &packing, &mut Pass::new(&none, Draw::Mean))?;
        let values: Vec<f32> = x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        let sampler = Sampler { backbone: &self.backbone, head, adapters: &self.saved.adapters, from };
        Ok(f(sampler, Hidden { values: (&values).into(), lengths: &lengths, examples })?)
    }
}

/// Summaries of `samples` samples, drawn in pieces of whole coupled groups; `draw` gets the piece's number and its samples'.
pub(super) fn together(
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
