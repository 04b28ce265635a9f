//! Scored completions: what samples say of each token of a text that somebody wrote or generated.
//!
//! At each token the samples' next-token distributions are averaged; the token's log-probability is that of the average. Entropies are over
//! the whole vocabulary. Memory does not grow with samples, and long completions are read some rows at a time.

use std::ops::Range;

use bayeslora_kernels::{Averages, Layout, TokenScore};
use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::question::Question;
use crate::sampler::{Asked, Hidden, Sampler, Samples};

/// Numbers of averaged distributions in memory at most, but for one row: 256 MiB.
const AVERAGED: usize = 1 << 26;
/// Numbers of activations in memory at most, but for one sample: 64 MiB.
const READ: usize = 1 << 24;

impl Sampler<'_> {
    /// The scores of a completion's tokens: the one answer of `question`, whose rows `hidden` has.
    ///
    /// # Errors
    /// As [`Sampler::answers`]; [`Error::Slot`] for more than one completion.
    pub fn completion(
        &self,
        hidden: Hidden<'_>,
        question: &Question,
        samples: &Samples,
        advance: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<TokenScore>> {
        self.check_questions(hidden, &[question])?;
        let [answer] = question.answers.as_slice() else {
            let what = format!("score of {} completions together", question.answers.len());
            return Err(Error::Slot { what, expected: "expected one".to_owned() });
        };
        let (width, vocabulary) = (self.backbone.width(), self.head.classes());
        let read = question.read();
        let most = (AVERAGED / vocabulary.max(1)).max(1);
        let mut scores = Vec::new();
        for start in read.clone().step_by(most) {
            let rows = start..(start + most).min(read.end);
            let mut averages = Averages::new(rows.len(), vocabulary);
            let values = rows.len() * width;
            for part in parts(samples, (READ / values).max(1)) {
                let states = States { layout: question.layout(), rows: rows.clone(), values };
                let x = self.asked(hidden, &states, &part, advance)?;
                for sample in x.chunks_exact(values) {
                    self.head.with_language(|map| averages.add(map, sample))?;
                }
            }
            scores.extend(averages.scores(&answer.tokens[rows.start - read.start..rows.end - read.start]));
        }
        Ok(scores)
    }
}

/// The samples, at most `most` at a time.
fn parts(samples: &Samples, most: usize) -> Vec<Samples> {
    match samples {
        Samples::Mean => vec![Samples::Mean],
        Samples::Drawn { noise, numbers } => {
            let most = u32::try_from(most).unwrap_or(u32::MAX);
            let part = |start: u32| Samples::Drawn {
                noise: *noise,
                numbers: start..start.saturating_add(most).min(numbers.end),
            };
            numbers.clone().step_by(usize::try_from(most).unwrap_or(usize::MAX)).map(part).collect()
        }
    }
}

/// What a language head reads, as it is.
struct States {
    layout: Layout,
    rows: Range<usize>,
    values: usize,
}

impl Asked for States {
    fn outputs(&self) -> usize {
        self.values
    }

    fn layout(&self, _: usize) -> Layout {
        self.layout.clone()
    }

    fn read(&self, _: usize) -> Range<usize> {
        self.rows.clone()
    }

    fn answer(&self, _: &[usize], x: &[f32]) -> Result<Vec<f32>> {
        Ok(x.to_vec())
    }

    fn answer_tensor(&self, _: &[usize], x: &Tensor) -> Result<Vec<f32>> {
        Ok(x.flatten_all()?.to_vec1()?)
    }
}
