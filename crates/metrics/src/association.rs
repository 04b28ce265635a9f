//! Whether a score knows of errors what the entropy of a pass does not: rank correlation within strata of the entropy.
//!
//! Under each fit, texts are ordered by the entropy and cut into strata of about the same size. In each stratum a straight line in the rank
//! of the entropy is taken off the ranks of the score and the errors. What is left of both is correlated. So what they owe to the entropy
//! goes, and no shape is assumed. The coefficient is the mean over fits.
//!
//! **Its error over texts.** If score and errors have nothing in common but the entropy, texts of about the same entropy may exchange their
//! scores. They are permuted within strata of the entropy's mean rank over fits. A text takes its scores *under all fits* along, since fits
//! share the texts and err on the same ones. The second moment over all permutations is known. Let `E_fg` and `S_fg` be the sums of products
//! of what is left of errors and scores of the fits `f` and `g` in a stratum of `m` texts, centred there. The stratum adds
//! `sum_fg E_fg S_fg / (m - 2) / F^2` to the variance. A permutation has `m - 1` there; one more is lost to the line. The square of the
//! mean over permutations, about 0, is added.
//!
//! What is left after a line cannot be exchanged exactly. With several fits the error is some percent too small, as their strata differ.
//!
//! **Over fits as well** ([`Association::over_texts_and_fits`]): the variance of the fits' mean is added, as in [`over_examples_and_seeds`].
//! What a text and a fit share in noise is in both, so this errs towards no association.
//!
//! Why not the t law of the partial rank correlation ([`partial_spearman`](crate::partial_spearman)): it takes one straight line of ranks
//! off, and errors have not the same spread at every entropy. `bayeslora nulls` has the levels.

use crate::error::{Error, Result};
use crate::inputs;
use crate::measured::{PairedDifference, over_examples_and_seeds};
use crate::rank::midranks;

/// Texts of about the same entropy that make a stratum. With 10, power is lost; 40 do as well (`bayeslora nulls`).
pub const TEXTS_A_STRATUM: usize = 20;

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

/// A rank correlation within strata.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Association {
    /// Mean over fits, in `[-1, 1]`.
    pub coefficient: f64,
    /// Of each fit.
    pub per_fit: Vec<f64>,
    /// Standard error of the coefficient over texts where nothing is associated.
    pub error_over_texts: f64,
    /// Number of strata.
    pub strata: usize,
    /// Number of texts.
    pub texts: usize,
}

impl Association {
    /// Interval and test of the mean coefficient over texts and fits. Of one fit it is over texts alone.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `0 < level < 1` and there are more than two texts a stratum.
    pub fn over_texts_and_fits(&self, level: f64) -> Result<PairedDifference> {
        // A mean and a slope of each stratum.
        let degrees_of_freedom = self.texts as f64 - 2.0 * self.strata as f64;
        over_examples_and_seeds(&self.per_fit, self.error_over_texts, degrees_of_freedom, level)
    }
}

/// Association of scores with errors given entropies, of fits that share their texts.
///
/// # Errors
/// [`Error::TooFew`] without fits, below three texts a stratum or two strata. [`Error::Length`] and [`Error::NotFinite`].
/// [`Error::Constant`] where the score or the errors of a fit leave nothing within strata.
/// # Examples
/// ```
/// use bayeslora_metrics::{FitScores, TEXTS_A_STRATUM, association};
/// let given: Vec<f64> = (0..200).map(f64::from).collect();
/// let errors: Vec<bool> = (0..200).map(|n| n * 7 % 5 == 0).collect();
/// let score: Vec<f64> = (0..200).map(|n| f64::from(n + 30 * i32::from(n * 7 % 5 == 0))).collect();
/// let fit = FitScores { score: &score, errors: &errors, given: &given };
/// let found = association(&[fit], TEXTS_A_STRATUM)?;
/// assert!(found.coefficient > 0.5 && found.over_texts_and_fits(0.95)?.p_value < 0.001);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn association(fits: &[FitScores<'_>], texts_a_stratum: usize) -> Result<Association> {
    inputs::at_least("fits", fits.len(), 1)?;
    inputs::at_least("texts a stratum", texts_a_stratum, 3)?;
    let texts = fits[0].score.len();
    let strata = texts / texts_a_stratum;
    inputs::at_least("strata of texts", strata, 2)?;
    let mut mean_ranks = vec![0.0; texts];
    let mut residuals = Vec::new();
    for fit in fits {
        for (what, length) in [("score", fit.score.len()), ("errors", fit.errors.len()), ("given", fit.given.len())] {
            inputs::same_length(what, length, "the score of the first fit", texts)?;
        }
        inputs::finite("score", fit.score)?;
        inputs::finite("given", fit.given)?;
        let ranks = midranks(fit.given);
        for (mean, rank) in mean_ranks.iter_mut().zip(&ranks) {
            *mean += rank;
        }
        let own = Strata { texts: cut(&ranks, strata), ranks: &ranks };
        let errors: Vec<f64> = fit.errors.iter().map(|&error| f64::from(u8::from(error))).collect();
        let score = own.residuals_of(&midranks(fit.score)).ok_or(Error::Constant { what: "score within strata" })?;
        let errors = own.residuals_of(&errors).ok_or(Error::Constant { what: "errors within strata" })?;
        residuals.push((score, errors));
    }
    let per_fit: Vec<f64> = residuals.iter().map(|(score, errors)| products(score, errors)).collect();
    let coefficient = per_fit.iter().sum::<f64>() / fits.len() as f64;
    let (mut mean, mut variance) = (0.0, 0.0);
    for stratum in cut(&mean_ranks, strata) {
        let count = stratum.len() as f64;
        let centred = |values: &[f64]| {
            let own: Vec<f64> = stratum.iter().map(|&n| values[n]).collect();
            let mean = own.iter().sum::<f64>() / count;
            (mean, own.into_iter().map(|value| value - mean).collect::<Vec<f64>>())
        };
        let own: Vec<_> = residuals.iter().map(|(score, errors)| (centred(score), centred(errors))).collect();
        for ((mean_score, score), (mean_error, errors)) in &own {
            mean += count * mean_score * mean_error / fits.len() as f64;
            for ((_, other_score), (_, other_errors)) in &own {
                variance += products(score, other_score) * products(errors, other_errors) / (count - 2.0);
            }
        }
    }
    let error_over_texts = (variance / (fits.len() as f64).powi(2) + mean * mean).sqrt();
    Ok(Association { coefficient, per_fit, error_over_texts, strata, texts })
}

fn products(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Places in order of `values`, cut into `strata` of sizes that differ by one at most. Ties are cut in the order of texts.
fn cut(values: &[f64], strata: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let edge = |stratum: usize| stratum * values.len() / strata;
    (0..strata).map(|stratum| order[edge(stratum)..edge(stratum + 1)].to_vec()).collect()
}

/// Texts of about the same entropy under one fit, and what a line leaves of values within them.
struct Strata<'a> {
    texts: Vec<Vec<usize>>,
    /// Ranks of the entropy.
    ranks: &'a [f64],
}

impl Strata<'_> {
    /// Values minus the straight line in the rank that fits their stratum best, with a sum of squares of 1; none where nothing is left.
    fn residuals_of(&self, values: &[f64]) -> Option<Vec<f64>> {
        let mut left = vec![0.0; values.len()];
        for stratum in &self.texts {
            let count = stratum.len() as f64;
            let mean = |of: &[f64]| stratum.iter().map(|&n| of[n]).sum::<f64>() / count;
            let (mean_value, mean_rank) = (mean(values), mean(self.ranks));
            let (mut products, mut squares) = (0.0, 0.0);
            for &n in stratum {
                products += (self.ranks[n] - mean_rank) * (values[n] - mean_value);
                squares += (self.ranks[n] - mean_rank).powi(2);
            }
            // Texts of one entropy have no line.
            let slope = if squares > 0.0 { products / squares } else { 0.0 };
            for &n in stratum {
                left[n] = values[n] - mean_value - slope * (self.ranks[n] - mean_rank);
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
}

#[cfg(test)]
mod tests;
