//! Predictive samples of a fit: logits `[samples, examples, classes]` for every example of a split.

use bayeslora_adapters::{Draw, Noise, Rows, Sampling, Stream};
use bayeslora_models::{Bert, classify};
use ndarray::Array3;
use rayon::prelude::*;

use crate::Result;
use crate::methods::Reading;
use crate::prefix::Sentences;
use crate::progress::Progress;
use crate::train::{Fitted, Member};

/// Rows (tokens times samples) of one forward pass: large enough for the matrix products, small enough for the cache.
const ROWS_PER_PASS: usize = 4096;

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
    /// `[samples, examples, classes]`: one sample for a mean reading, one per member for an ensemble.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn logits(&self, fitted: &Fitted, reading: Reading, sentences: &Sentences) -> Result<Array3<f32>> {
        match reading {
            Reading::Mean => self.member_logits(&fitted.members[0], 0, sentences),
            Reading::Sampled => self.member_logits(&fitted.members[0], self.samples, sentences),
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
            Reading::Members => u32::try_from(fitted.members.len()).unwrap_or(u32::MAX),
        }
    }

    /// Logits of one member: its mean when `samples` is 0.
    fn member_logits(&self, member: &Member, samples: u32, sentences: &Sentences) -> Result<Array3<f32>> {
        let count = samples.max(1) as usize;
        let classes = member.head.classes();
        let batches = sentences.batches_of_rows(ROWS_PER_PASS / count);
        let pass = |places: &Vec<usize>| {
            let batch = sentences.batch(places, self.bert.device())?;
            let rows = Rows::of_sentences(&batch.examples, &batch.lengths);
            let noise = Noise::new(self.seed, Stream::Predictive);
            let sampling = Sampling { noise, samples: 0..samples, rows: &rows, with_divergence: false };
            let draw = if samples == 0 { Draw::Mean } else { Draw::Sampled(sampling) };
            let (adapters, head) = (&member.adapters, &member.head);
            let output = classify(self.bert, head, adapters, draw, self.from, &batch.hidden, &batch.packing)?;
            self.progress.advance((batch.packing.rows() * count) as u64);
            Ok(output.logits.flatten_all()?.to_vec1::<f32>()?)
        };
        let mut parts = Vec::new();
        // As many passes at a time as there are threads: a thread that waits inside a pass takes up any other pass there
        // is, and with all of them on offer it piles up their activations.
        for window in batches.chunks(rayon::current_num_threads()) {
            parts.extend(window.par_iter().map(pass).collect::<Result<Vec<_>>>()?);
        }
        let mut logits = Array3::zeros((count, sentences.len(), classes));
        for (places, values) in batches.iter().zip(parts) {
            // An adapter that draws nothing (dropout 0) gives one sample for all.
            let drawn = values.len() / (places.len() * classes);
            for sample in 0..count {
                let values = &values[sample % drawn * places.len() * classes..][..places.len() * classes];
                for (&place, value) in places.iter().zip(values.chunks_exact(classes)) {
                    for (class, &logit) in value.iter().enumerate() {
                        logits[[sample, place, class]] = logit;
                    }
                }
            }
        }
        Ok(logits)
    }
}
