//! Predictive samples of a fit: logits `[samples, examples, classes]` for every example of a split.

use bayeslora_adapters::{Noise, Stream};
use bayeslora_metrics::GaussianLogits;
use bayeslora_models::{Bert, Linearised, Sampler, Samples};
use ndarray::{Array2, Array3};

use crate::error::Result;
use crate::laplace::Network;
use crate::member::Member;
use crate::methods::Reading;
use crate::prefix::Sentences;
use crate::train::Fitted;
use bayeslora_data::Progress;

/// Draws of Gaussian logits: next to free beside the passes that gave the Gaussians.
const GAUSSIAN_DRAWS: u32 = 100;

/// What a prediction needs beside the fit.
pub struct Predictor<'a> {
    /// The frozen backbone.
    pub bert: &'a Bert,
    /// First adapted block.
    pub from: usize,
    /// Monte-Carlo samples per example.
    pub samples: u32,
    /// Seed of the samples.
    pub seed: u64,
    /// Who is told.
    pub progress: &'a dyn Progress,
}

impl Predictor<'_> {
    /// Logits of `sentences` in their order.
    ///
    /// # Shapes
    /// `[samples, examples, classes]`: one sample for a mean reading, one per member for an ensemble, as many draws as a Laplace
    /// posterior says.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn logits(&self, fitted: &Fitted, reading: Reading, sentences: &Sentences) -> Result<Array3<f32>> {
        match reading {
            Reading::Mean => self.member_logits(&fitted.members[0], 0, sentences),
            Reading::Sampled => self.member_logits(&fitted.members[0], self.samples, sentences),
            Reading::Linearised => {
                let gaussian = match &fitted.laplace {
                    None => self.linearised(fitted, sentences)?,
                    Some(laplace) => {
                        let Member { adapters, head, .. } = &fitted.members[0];
                        let network = Network { bert: self.bert, from: self.from, adapters, head };
                        laplace.gaussian(network, sentences, self.progress)?
                    }
                };
                Ok(gaussian.samples(self.samples_of(fitted, reading) as usize, self.seed))
            }
            Reading::Members => {
                let members = fitted
                    .members
                    .iter()
                    .map(|member| self.member_logits(member, 0, sentences))
                    .collect::<Result<Vec<_>>>()?;
                let views: Vec<_> = members.iter().map(|logits| logits.view()).collect();
                Ok(ndarray::concatenate(ndarray::Axis(0), &views).unwrap_or_else(|_| Array3::zeros((0, 0, 0))))
            }
        }
    }

    /// Samples per example of a reading.
    pub fn samples_of(&self, fitted: &Fitted, reading: Reading) -> u32 {
        match reading {
            Reading::Mean => 1,
            Reading::Sampled => self.samples,
            Reading::Linearised => fitted.laplace.as_ref().map_or(GAUSSIAN_DRAWS, |laplace| laplace.settings().draws),
            Reading::Members => u32::try_from(fitted.members.len()).unwrap_or(u32::MAX),
        }
    }

    /// Logits of one member: its mean when `samples` is 0.
    pub(crate) fn member_logits(&self, member: &Member, samples: u32, sentences: &Sentences) -> Result<Array3<f32>> {
        let sampler = self.sampler(member);
        let draw = match samples {
            0 => Samples::Mean,
            _ => Samples::Drawn { noise: Noise::new(self.seed, Stream::Predictive), numbers: 0..samples },
        };
        let shape = (draw.count(), sentences.len(), member.head.classes());
        let examples = sentences.addresses();
        let logits = sampler.logits(sentences.hidden(&examples), &draw, &|rows| self.progress.advance(rows))?;
        Ok(Array3::from_shape_vec(shape, logits).unwrap_or_default())
    }

    /// The linearised predictive of the first member: Gaussians over the logits of `sentences`, without sampling.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn linearised(&self, fitted: &Fitted, sentences: &Sentences) -> Result<GaussianLogits> {
        let examples = sentences.addresses();
        let hidden = sentences.hidden(&examples);
        let advance = |rows| self.progress.advance(rows);
        let Linearised { mean, covariance } = self.sampler(&fitted.members[0]).linearised(hidden, &advance)?;
        gaussian(mean, covariance, sentences.len())
    }

    pub(crate) fn sampler<'a>(&'a self, member: &'a Member) -> Sampler<'a> {
        Sampler { bert: self.bert, head: &member.head, adapters: &member.adapters, from: self.from }
    }
}

/// Gaussians from their numbers, row after row.
pub(crate) fn gaussian(mean: Vec<f64>, covariance: Vec<f64>, examples: usize) -> Result<GaussianLogits> {
    let classes = mean.len() / examples.max(1);
    let mean = Array2::from_shape_vec((examples, classes), mean).unwrap_or_default();
    let covariance = Array3::from_shape_vec((examples, classes, classes), covariance).unwrap_or_default();
    Ok(GaussianLogits::new(mean, covariance)?)
}
