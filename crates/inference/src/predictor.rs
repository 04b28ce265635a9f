//! Predictive samples of a fit: logits `[samples, examples, classes]` for every example of a split.

use bayeslora_adapters::{Noise, Stream};
use bayeslora_metrics::GaussianLogits;
use bayeslora_models::{Backbone, Linearised, Sampler, Samples};
use ndarray::{Array3, Axis};

use crate::error::{Error, Result};
use crate::fitted::Fitted;
use crate::laplace::Network;
use crate::member::Member;
use crate::prefix::Sentences;
use crate::readout::{check_classes, sampled};
use crate::shapes::{gaussian, samples_of};
use bayeslora_data::Progress;
use bayeslora_records::Reading;

/// Draws of Gaussian logits: next to free beside the passes that gave the Gaussians.
const GAUSSIAN_DRAWS: u32 = 100;

/// What a prediction needs beside the fit.
pub struct Predictor<'a> {
    /// The frozen backbone.
    pub backbone: &'a Backbone,
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
                let gaussian = self.linearised(fitted, sentences)?;
                Ok(gaussian.samples(self.samples_of(fitted, reading) as usize, self.seed))
            }
            Reading::Members => {
                let members = fitted
                    .members
                    .iter()
                    .map(|member| self.member_logits(member, 0, sentences))
                    .collect::<Result<Vec<_>>>()?;
                let views: Vec<_> = members.iter().map(|logits| logits.view()).collect();
                ndarray::concatenate(Axis(0), &views).map_err(|error| Error::Parameter {
                    what: format!("members of one ensemble predict logits of different shapes ({error})"),
                    expected: "give every member the same classes".to_owned(),
                })
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

    /// Logits of one member, `[samples, examples, classes]`: its mean when `samples` is 0.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn member_logits(&self, member: &Member, samples: u32, sentences: &Sentences) -> Result<Array3<f32>> {
        let sampler = self.sampler(member);
        let draw = match samples {
            0 => Samples::Mean,
            _ => Samples::Drawn { noise: Noise::new(self.seed, Stream::Predictive), numbers: 0..samples },
        };
        let shape = (draw.count(), sentences.len(), sentences.classes(&member.head));
        let examples = sentences.addresses();
        let places: Vec<usize> = (0..sentences.len()).collect();
        let advance = |rows| self.progress.advance(rows);
        let logits = sampled(sampler, sentences, &places, sentences.hidden(&examples), &draw, &advance)?;
        samples_of(shape, logits)
    }

    /// The linearised predictive of the first member, of its Laplace posterior where it has one: Gaussians over the logits of `sentences`.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn linearised(&self, fitted: &Fitted, sentences: &Sentences) -> Result<GaussianLogits> {
        let member = &fitted.members[0];
        if let Some(laplace) = &fitted.laplace {
            let Member { adapters, head, .. } = member;
            let network = Network { backbone: self.backbone, from: self.from, adapters, head };
            return laplace.gaussian(network, sentences, self.progress);
        }
        check_classes(sentences)?;
        let examples = sentences.addresses();
        let hidden = sentences.hidden(&examples);
        let advance = |rows| self.progress.advance(rows);
        let Linearised { mean, covariance } = self.sampler(member).linearised(hidden, &advance)?;
        gaussian(mean, covariance, sentences.len())
    }

    pub(crate) fn sampler<'a>(&'a self, member: &'a Member) -> Sampler<'a> {
        Sampler { backbone: self.backbone, head: &member.head, adapters: &member.adapters, from: self.from }
    }
}
