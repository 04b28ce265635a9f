//! Whether a score knows of errors what the entropy of a pass does not: rank correlation within strata of the entropy, tested by permutation.
//!
//! Under each fit, texts are ordered by the entropy and cut into strata of about the same size. Ranks of the score and the errors are
//! centred within strata, and correlated: what both owe to the entropy is taken off without assuming any shape. The coefficient is the mean
//! over fits.
//!
//! **The test.** If score and errors have nothing in common but the entropy, texts of about the same entropy may exchange their scores. So
//! the centred scores are permuted within strata of the entropy's mean rank over fits: a text takes its scores *under all fits* along, since
//! fits share the texts and err on the same ones. With `B` permutations, `p = (1 + #{|r_b| >= |r|}) / (1 + B)`, two-sided.
//!
//! Why not the t law of the partial rank correlation ([`partial_spearman`](crate::partial_spearman)): it takes a straight line of ranks off,
//! and errors have not the same spread at every entropy. Simulated on calibrated predictions, it rejects 0.07 to 0.12 of the time at 0.05.
//!
//! What is tested is said of these fits. Their number is not a sample size: the coefficient of every fit is given beside the mean.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::inputs;
use crate::random::SplitMix64;
use crate::rank::midranks;

/// Stream of the permutations among the random numbers of a seed.
const STREAM: u64 = 0x7065_726d;

/// One fit's score, errors and entropy of all texts.
#[derive(Debug, Clone, Copy)]
pub struct FitScores<'a> {
    /// The score; only its order counts.
    pub score: &'a [f64],
    /// Whether the fit errs on a text.
    pub errors: &'a [bool],
    /// What is held fixed: the entropy of the fit's own pass.
    pub given: &'a [f64],
}

/// How to permute.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `permutations` | 9999 | number of permutations; the least p-value is `1 / (1 + permutations)` | at least 1 |
/// | `texts_a_stratum` | 20 | texts of about the same entropy | at least 2 |
/// | `seed` | 0 | chooses the permutations | any |
///
/// Strata of 20: with 40 or more, the entropy still varies within one and the test rejects too often on thousands of texts; with 10, power
/// is lost (`bayeslora nulls`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Permutations {
    /// Number of permutations.
    pub permutations: u32,
    /// Texts of about the same entropy.
    pub texts_a_stratum: usize,
    /// Chooses the permutations.
    pub seed: u64,
}

impl Default for Permutations {
    fn default() -> Self {
        Self { permutations: 9999, texts_a_stratum: 20, seed: 0 }
    }
}

/// A rank correlation within strata and its test.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Association {
    /// Mean over fits, in `[-1, 1]`.
    pub coefficient: f64,
    /// Of each fit.
    pub per_fit: Vec<f64>,
    /// Two-sided.
    pub p_value: f64,
    /// Standard deviation of the coefficient over permutations: its standard error over texts where nothing is associated.
    pub error_over_texts: f64,
    /// Number of strata.
    pub strata: usize,
}

impl Permutations {
    /// Association of scores with errors given entropies, of fits that share their texts.
    ///
    /// # Errors
    /// [`Error::TooFew`] without fits, permutations or two strata of texts, [`Error::Length`], [`Error::NotFinite`], and
    /// [`Error::Constant`] where the score or the errors of a fit do not vary within any stratum.
    /// # Examples
    /// ```
    /// use bayeslora_metrics::{Permutations, FitScores};
    /// let given: Vec<f64> = (0..200).map(f64::from).collect();
    /// let errors: Vec<bool> = (0..200).map(|n| n * 7 % 5 == 0).collect();
    /// let score: Vec<f64> = (0..200).map(|n| f64::from(n + 30 * i32::from(n * 7 % 5 == 0))).collect();
    /// let fit = FitScores { score: &score, errors: &errors, given: &given };
    /// let found = Permutations { permutations: 999, ..Permutations::default() }.association(&[fit])?;
    /// assert!(found.coefficient > 0.5 && found.p_value == 0.001);
    /// # Ok::<(), bayeslora_metrics::Error>(())
    /// ```
    pub fn association(&self, fits: &[FitScores<'_>]) -> Result<Association> {
        inputs::at_least("fits", fits.len(), 1)?;
        inputs::at_least("permutations", usize::try_from(self.permutations).unwrap_or(usize::MAX), 1)?;
        inputs::at_least("texts a stratum", self.texts_a_stratum, 2)?;
        let texts = fits[0].score.len();
        let strata = texts / self.texts_a_stratum;
        inputs::at_least("strata of texts", strata, 2)?;
        let mut mean_ranks = vec![0.0; texts];
        let mut standardised = Vec::new();
        for fit in fits {
            for (what, length) in [("score", fit.score.len()), ("errors", fit.errors.len()), ("given", fit.given.len())]
            {
                inputs::same_length(what, length, "the score of the first fit", texts)?;
            }
            inputs::finite("score", fit.score)?;
            inputs::finite("given", fit.given)?;
            let ranks = midranks(fit.given);
            let own = cut(&ranks, strata);
            for (mean, rank) in mean_ranks.iter_mut().zip(&ranks) {
                *mean += rank;
            }
            let errors: Vec<f64> = fit.errors.iter().map(|&error| f64::from(u8::from(error))).collect();
            let score = centred(&midranks(fit.score), &own).ok_or(Error::Constant { what: "score within strata" })?;
            let errors = centred(&errors, &own).ok_or(Error::Constant { what: "errors within strata" })?;
            standardised.push((score, errors));
        }
        let product = |order: &dyn Fn(usize) -> usize, (score, errors): &(Vec<f64>, Vec<f64>)| -> f64 {
            errors.iter().enumerate().map(|(n, error)| error * score[order(n)]).sum()
        };
        let per_fit: Vec<f64> = standardised.iter().map(|fit| product(&|n| n, fit)).collect();
        let coefficient = per_fit.iter().sum::<f64>() / fits.len() as f64;
        let common = cut(&mean_ranks, strata);
        let permuted = |number: u32| -> f64 {
            let order = permutation(&common, texts, self.seed, number);
            let all: f64 = standardised.iter().map(|fit| product(&|n| order[n], fit)).sum();
            all / fits.len() as f64
        };
        let drawn: Vec<f64> = (0..self.permutations).into_par_iter().map(permuted).collect();
        // Equal up to rounding is as large.
        let as_large = drawn.iter().filter(|drawn| drawn.abs() >= coefficient.abs() - 1e-12).count();
        let number = f64::from(self.permutations);
        let error_over_texts = (drawn.iter().map(|drawn| drawn * drawn).sum::<f64>() / number).sqrt();
        let p_value = (1.0 + as_large as f64) / (1.0 + number);
        Ok(Association { coefficient, per_fit, p_value, error_over_texts, strata })
    }
}

/// Places in order of `values`, cut into `strata` of sizes that differ by one at most. Ties are cut in the order of texts.
fn cut(values: &[f64], strata: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let edge = |stratum: usize| stratum * values.len() / strata;
    (0..strata).map(|stratum| order[edge(stratum)..edge(stratum + 1)].to_vec()).collect()
}

/// Values minus the mean of their stratum, with a sum of squares of 1; none where nothing is left.
fn centred(values: &[f64], strata: &[Vec<usize>]) -> Option<Vec<f64>> {
    let mut left = vec![0.0; values.len()];
    for stratum in strata {
        let mean = stratum.iter().map(|&n| values[n]).sum::<f64>() / stratum.len() as f64;
        for &n in stratum {
            left[n] = values[n] - mean;
        }
    }
    let squares: f64 = left.iter().map(|value| value * value).sum();
    let most = values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    // What is left of equal values is rounding.
    if squares.sqrt() <= 1e-12 * most * values.len() as f64 {
        return None;
    }
    Some(left.into_iter().map(|value| value / squares.sqrt()).collect())
}

/// Which text's scores each text takes (Fisher and Yates within every stratum).
fn permutation(strata: &[Vec<usize>], texts: usize, seed: u64, number: u32) -> Vec<usize> {
    let mut random = SplitMix64::keyed(seed, STREAM, number);
    let mut order = vec![0; texts];
    for stratum in strata {
        let mut taken = stratum.clone();
        for last in (1..taken.len()).rev() {
            let bound = u64::try_from(last + 1).unwrap_or(u64::MAX);
            // A draw of at most `last` fits back into the type it came from.
            taken.swap(last, usize::try_from(random.below(bound)).unwrap_or(0));
        }
        for (&place, taken) in stratum.iter().zip(taken) {
            order[place] = taken;
        }
    }
    order
}

#[cfg(test)]
mod tests;
