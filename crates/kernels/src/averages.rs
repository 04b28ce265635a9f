//! Predictives over a whole vocabulary at some rows, as samples come one after another: their average and their entropies.

use rayon::prelude::*;

use crate::likelihood::LanguageMap;
use crate::math::{exp, largest};
use crate::product::Threads;
use crate::vectorised::vectorised;

/// Logits that one thread holds, at most, where a row has no more.
const LOGITS: usize = 1 << 21;
/// Terms that are added in f32 before their sum is added in f64.
const TERMS: usize = 256;

/// Averages over samples of the next-token distributions at some rows.
///
/// Sums of probabilities are in memory, `rows * vocabulary` of them; no sample is kept.
#[derive(Debug, Clone)]
pub struct Averages {
    vocabulary: usize,
    samples: u32,
    /// Sums over samples of probabilities, `[rows, vocabulary]`.
    sums: Vec<f32>,
    /// Sums over samples of entropies, `[rows]`.
    entropies: Vec<f64>,
}

/// What the average says of one token of a row. In nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenScore {
    /// Logarithm of the averaged probability of the token.
    pub log_probability: f64,
    /// Entropy of the averaged distribution: total uncertainty.
    pub predictive_entropy: f64,
    /// Average entropy of a sample's distribution: aleatoric uncertainty.
    pub expected_entropy: f64,
    /// Their difference: epistemic uncertainty; 0 of one sample, and never negative.
    pub mutual_information: f64,
}

impl Averages {
    /// No sample yet.
    pub fn new(rows: usize, vocabulary: usize) -> Self {
        Self { vocabulary, samples: 0, sums: vec![0.0; rows * vocabulary], entropies: vec![0.0; rows] }
    }

    /// Adds a sample, `x [rows, width]` under a language head; rows are shared out among the threads.
    ///
    /// # Panics
    /// When extents do not go together.
    pub fn add(&mut self, map: LanguageMap<'_>, x: &[f32]) {
        let (width, vocabulary) = (map.width, self.vocabulary);
        assert_eq!((x.len(), map.vocabulary()), (self.entropies.len() * width, vocabulary), "extents of a sample");
        let each = self.entropies.len().div_ceil(rayon::current_num_threads());
        let rows = (LOGITS / vocabulary.max(1)).clamp(1, each.max(1));
        let parts = self.sums.par_chunks_mut((rows * vocabulary).max(1));
        let parts = parts.zip(self.entropies.par_chunks_mut(rows)).zip(x.par_chunks(rows * width));
        parts.for_each_init(Vec::new, |logits: &mut Vec<f32>, ((sums, entropies), x)| {
            logits.resize(sums.len(), 0.0);
            map.logits(x, 0..vocabulary, logits, Threads::One);
            let rows = logits.chunks_exact_mut(vocabulary).zip(sums.chunks_exact_mut(vocabulary));
            for ((logits, sums), entropy) in rows.zip(entropies) {
                *entropy += add_softmax(logits, sums);
            }
        });
        self.samples += 1;
    }

    /// What the samples so far say of one token a row.
    ///
    /// # Panics
    /// When there are not as many tokens as rows, or one is beyond the vocabulary.
    pub fn scores(&self, tokens: &[u32]) -> Vec<TokenScore> {
        assert_eq!(tokens.len(), self.entropies.len(), "one token a row");
        let samples = f64::from(self.samples.max(1));
        let rows = self.sums.par_chunks(self.vocabulary.max(1)).zip(&self.entropies).zip(tokens);
        let score = |((sums, entropy), &token): ((&[f32], &f64), &u32)| {
            let p = |sum: f32| f64::from(sum) / samples;
            let expected_entropy = entropy / samples;
            let predictive_entropy = match self.samples {
                1 => expected_entropy,
                _ => -sums.iter().map(|&sum| p(sum)).filter(|&p| p > 0.0).map(|p| p * p.ln()).sum::<f64>(),
            };
            TokenScore {
                log_probability: p(sums[token as usize]).ln(),
                predictive_entropy,
                expected_entropy,
                mutual_information: (predictive_entropy - expected_entropy).max(0.0),
            }
        };
        rows.map(score).collect()
    }
}

/// Adds `softmax(logits)` to `sums`, and returns its entropy. The logits are written over.
fn add_softmax(logits: &mut [f32], sums: &mut [f32]) -> f64 {
    vectorised(
        #[inline(always)]
        || {
            let top = largest(logits);
            let mut total = 0.0_f64;
            // `e^(l - top)`, and what entropies have of it: `sum (l - top) e^(l - top)`.
            let mut moment = 0.0_f64;
            for part in logits.chunks_mut(TERMS) {
                let (mut own, mut weighted) = ([0.0_f32; 16], [0.0_f32; 16]);
                for lanes in part.chunks_mut(16) {
                    for ((l, own), weighted) in lanes.iter_mut().zip(&mut own).zip(&mut weighted) {
                        let shifted = *l - top;
                        *l = exp(shifted);
                        *own += *l;
                        *weighted += shifted * *l;
                    }
                }
                total += f64::from(own.iter().sum::<f32>());
                moment += f64::from(weighted.iter().sum::<f32>());
            }
            #[expect(clippy::cast_possible_truncation, reason = "probabilities are f32")]
            let scale = (1.0 / total) as f32;
            for (sum, &p) in sums.iter_mut().zip(logits.iter()) {
                *sum += scale * p;
            }
            total.ln() - moment / total
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{flat, normal};

    /// In f64, from logits of its own.
    #[test]
    fn averages_are_those_of_sums_in_f64() {
        let (rows, width) = (5, 4);
        for (vocabulary, cap, samples) in [(7_usize, None, 3_u32), (700, Some(2.0_f32), 4), (33, None, 1)] {
            let weight = flat(normal(1, (vocabulary, width)).as_tensor());
            let map = LanguageMap { weight: &weight, width, cap };
            let mut averages = Averages::new(rows, vocabulary);
            let draws: Vec<Vec<f32>> = (0..samples).map(|s| flat(normal(2 + s, (rows, width)).as_tensor())).collect();
            for x in &draws {
                averages.add(map, x);
            }
            let tokens: Vec<u32> = (0..5).map(|row| row * 3 % u32::try_from(vocabulary).unwrap()).collect();
            for (row, score) in averages.scores(&tokens).into_iter().enumerate() {
                let (mut mean, mut expected) = (vec![0.0; vocabulary], 0.0);
                for x in &draws {
                    let logit = |token: usize| {
                        let pairs = x[row * width..][..width].iter().zip(&weight[token * width..][..width]);
                        let dot: f64 = pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                        cap.map_or(dot, |cap| f64::from(cap) * (dot / f64::from(cap)).tanh())
                    };
                    let all: f64 = (0..vocabulary).map(|token| logit(token).exp()).sum();
                    for (token, mean) in mean.iter_mut().enumerate() {
                        let p = logit(token).exp() / all;
                        *mean += p / f64::from(samples);
                        expected -= p * p.ln() / f64::from(samples);
                    }
                }
                let entropy: f64 = -mean.iter().map(|p| p * p.ln()).sum::<f64>();
                assert!((score.log_probability - mean[tokens[row] as usize].ln()).abs() < 2e-6);
                assert!((score.predictive_entropy - entropy).abs() < 2e-6);
                assert!((score.expected_entropy - expected).abs() < 2e-6);
                assert!((score.mutual_information - (entropy - expected)).abs() < 2e-6);
                assert_eq!(score.mutual_information > 1e-3, samples > 1, "{score:?}");
            }
        }
    }
}
