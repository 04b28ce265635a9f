//! Temperature scaling: one number that divides logits, fitted on validation data (Guo et al. 2017, section 4.2).

use std::{fmt, str::FromStr};

use ndarray::{Array3, ArrayView3, Axis};

use crate::error::{Error, Result};
use crate::softmax::log_sum_exp;
use crate::{Averaging, Predictive, negative_log_likelihood};

/// What a temperature divides when there are several samples; for one sample both are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaled {
    /// Every sample before averaging, `mean_s softmax(z_s / T)`, as C-LoRA does: entropies and mutual information follow.
    #[default]
    Samples,
    /// The averaged predictive, `softmax(ln p / T)` with `p` of the unscaled samples: nothing is left to decompose.
    Mean,
}

impl fmt::Display for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Samples => "samples",
            Self::Mean => "mean",
        })
    }
}

impl FromStr for Scaled {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "samples" => Ok(Self::Samples),
            "mean" => Ok(Self::Mean),
            _ => Err(Error::UnknownWord {
                kind: "choice of what is scaled",
                word: word.to_owned(),
                valid: "samples or mean",
            }),
        }
    }
}

/// A fitted temperature.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Temperature {
    /// `T > 0`: above 1 confidence falls, below 1 it rises.
    pub temperature: f64,
    /// What it divides.
    pub scaled: Scaled,
    /// NLL (nats) of the data it was fitted on, unscaled.
    pub nll_before: f64,
    /// The same, scaled; at most `nll_before`.
    pub nll_after: f64,
}

/// Temperatures searched: beyond them labels are fitted perfectly or not at all, and the optimum is a limit.
const LOWEST: f64 = 1e-2;
const HIGHEST: f64 = 1e2;
/// Steps of the grid in `ln T` that brackets the optimum: the NLL of averaged probabilities need not have one minimum only.
const GRID: u32 = 46;
/// Width of the bracket in `ln T` at which the search ends: the NLL is flat there to f64.
const WIDTH: f64 = 1e-9;

impl Temperature {
    /// The temperature in `[0.01, 100]` that minimises the NLL of `labels`.
    ///
    /// Golden-section search in `ln T` within the best cell of a grid. For one sample, for averaged logits and for [`Scaled::Mean`]
    /// the NLL is convex in `1 / T` and the minimum global; with averaged probabilities and [`Scaled::Samples`] it is the best that the
    /// grid brackets. `T = 1` is kept where nothing is better. A value at an end of the range says that the data do not determine it
    /// (all validation labels are predicted, say).
    ///
    /// # Shapes
    /// `logits: [samples, examples, classes]`, `labels: [examples]`.
    /// # Errors
    /// As [`Predictive::from_logits`] and [`negative_log_likelihood`].
    /// # Examples
    /// Half of the confident predictions are wrong, so all confidence goes:
    /// ```
    /// use bayeslora_metrics::{Averaging, Scaled, Temperature};
    /// let logits = ndarray::arr3(&[[[4.0_f32, 0.0], [4.0, 0.0], [4.0, 0.0]]]);
    /// let fitted = Temperature::fit(logits.view(), &[0, 0, 1], Averaging::Probabilities, Scaled::Samples)?;
    /// // softmax(4 / T) = 2 / 3
    /// assert!((fitted.temperature - 4.0 / 2f64.ln()).abs() < 1e-6);
    /// assert!(fitted.nll_after < fitted.nll_before);
    /// # Ok::<(), bayeslora_metrics::Error>(())
    /// ```
    pub fn fit(logits: ArrayView3<'_, f32>, labels: &[usize], averaging: Averaging, scaled: Scaled) -> Result<Self> {
        // Checks logits and labels before anything is searched.
        let unscaled = Predictive::from_logits(logits, averaging)?;
        let nll_before = negative_log_likelihood(unscaled.log_probabilities(), labels)?;
        let margins = Margins::new(logits, &unscaled, labels, averaging, scaled);
        let nll = |log_temperature: f64| margins.nll(log_temperature.exp());
        let (lowest, highest) = (LOWEST.ln(), HIGHEST.ln());
        let step = (highest - lowest) / f64::from(GRID);
        let place = |k: u32| lowest + step * f64::from(k);
        let best = (0..=GRID).min_by(|&a, &b| nll(place(a)).total_cmp(&nll(place(b)))).unwrap_or(0);
        let found = golden_section((place(best) - step).max(lowest), (place(best) + step).min(highest), nll);
        // The first of equals: 1 where nothing is better, an end of the range before what is no better inside it.
        let candidates = [0.0, lowest, highest, found];
        let best = candidates.into_iter().min_by(|&a, &b| nll(a).total_cmp(&nll(b))).unwrap_or(0.0);
        Ok(Self { temperature: best.exp(), scaled, nll_before, nll_after: nll(best) })
    }

    /// Logits scaled by this temperature, to be read as any others: `[samples, examples, classes]` for [`Scaled::Samples`], one sample
    /// for [`Scaled::Mean`].
    ///
    /// # Errors
    /// As [`Predictive::from_logits`]; [`Error::Setting`] unless the temperature is positive and finite.
    pub fn apply(&self, logits: ArrayView3<'_, f32>, averaging: Averaging) -> Result<Array3<f32>> {
        let temperature = self.temperature;
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(Error::Setting { what: "temperature", value: temperature, expected: "(0, inf)" });
        }
        let unscaled = Predictive::from_logits(logits, averaging)?;
        #[allow(clippy::cast_possible_truncation, reason = "logits are stored as f32")]
        let divide = |value: f64| (value / temperature) as f32;
        Ok(match self.scaled {
            Scaled::Samples => logits.mapv(|logit| divide(f64::from(logit))),
            Scaled::Mean => unscaled.log_probabilities().mapv(divide).insert_axis(Axis(0)),
        })
    }
}

/// What the NLL needs at every temperature: logits relative to that of the label, so that `-ln p_y = ln sum_c exp(m_c / T)`.
struct Margins {
    /// Example by example and sample by sample, one entry per class.
    values: Vec<f64>,
    samples: usize,
    classes: usize,
}

impl Margins {
    fn new(
        logits: ArrayView3<'_, f32>,
        unscaled: &Predictive,
        labels: &[usize],
        averaging: Averaging,
        scaled: Scaled,
    ) -> Self {
        let (samples, _, classes) = logits.dim();
        let mut values = Vec::new();
        let mut push = |row: &[f64], label: usize| values.extend(row.iter().map(|logit| logit - row[label]));
        let one = matches!((averaging, scaled), (Averaging::Logits, _) | (_, Scaled::Mean));
        for (example, &label) in labels.iter().enumerate() {
            if one {
                // Averaged logits and the logarithm of their softmax differ by a constant of the example only.
                push(&unscaled.log_probabilities().row(example).to_vec(), label);
            } else {
                for row in logits.index_axis(Axis(1), example).outer_iter() {
                    push(&row.iter().map(|&logit| f64::from(logit)).collect::<Vec<_>>(), label);
                }
            }
        }
        Self { values, samples: if one { 1 } else { samples }, classes }
    }

    /// Mean over examples of `-ln mean_s 1 / sum_c exp(m_sc / T)`.
    fn nll(&self, temperature: f64) -> f64 {
        let losses = self.values.chunks(self.classes).map(|row| log_sum_exp(row.iter().map(|m| m / temperature)));
        let losses: Vec<f64> = losses.collect();
        let examples = losses.chunks(self.samples);
        let count = examples.len() as f64;
        let log_samples = (self.samples as f64).ln();
        examples.map(|losses| log_samples - log_sum_exp(losses.iter().map(|loss| -loss))).sum::<f64>() / count
    }
}

/// Minimum of `f` between `from` and `to` (Kiefer 1953): each step keeps the part that holds it.
fn golden_section(from: f64, to: f64, f: impl Fn(f64) -> f64) -> f64 {
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (from, to);
    let (mut left, mut right) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut at_left, mut at_right) = (f(left), f(right));
    while high - low > WIDTH {
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - ratio * (high - low);
            at_left = f(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + ratio * (high - low);
            at_right = f(right);
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits() -> Array3<f32> {
        // Sampled, confident, and right in two of three.
        Array3::from_shape_fn((4, 30, 3), |(s, n, c)| {
            let own = if c == n % 3 { 5.0 } else { 0.0 };
            own + f32::from(u8::try_from((7 * s + 5 * n + 3 * c) % 11).unwrap()) / 4.0
        })
    }

    fn labels() -> Vec<usize> {
        (0..30).map(|n| if n % 4 == 3 { (n + 1) % 3 } else { n % 3 }).collect()
    }

    #[test]
    fn what_is_applied_has_the_fitted_loss_and_the_same_predictions() {
        for averaging in [Averaging::Probabilities, Averaging::Logits] {
            for scaled in [Scaled::Samples, Scaled::Mean] {
                let fitted = Temperature::fit(logits().view(), &labels(), averaging, scaled).unwrap();
                assert!(fitted.temperature > 1.0 && fitted.nll_after < fitted.nll_before, "{fitted:?}");
                let applied = fitted.apply(logits().view(), averaging).unwrap();
                assert_eq!(applied.dim().0, if scaled == Scaled::Mean { 1 } else { 4 });
                let predictive = Predictive::from_logits(applied.view(), averaging).unwrap();
                let nll = negative_log_likelihood(predictive.log_probabilities(), &labels()).unwrap();
                // f32 logits of size 10.
                assert!((nll - fitted.nll_after).abs() < 1e-6, "{averaging} {scaled}: {nll} {fitted:?}");
            }
        }
    }

    #[test]
    fn the_choice_matters_for_samples_and_not_for_one() {
        let fit = |logits: ArrayView3<'_, f32>, scaled| {
            Temperature::fit(logits, &labels(), Averaging::Probabilities, scaled).unwrap().temperature
        };
        let all = logits();
        assert!((fit(all.view(), Scaled::Samples) - fit(all.view(), Scaled::Mean)).abs() > 1e-3);
        let one = all.slice(ndarray::s![..1, .., ..]);
        assert!((fit(one, Scaled::Samples) - fit(one, Scaled::Mean)).abs() < 1e-5);
    }

    #[test]
    fn labels_that_are_all_predicted_end_at_the_edge() {
        let right: Vec<usize> = (0..30).map(|n| n % 3).collect();
        let fitted = Temperature::fit(logits().view(), &right, Averaging::Probabilities, Scaled::Samples).unwrap();
        assert!((fitted.temperature - LOWEST).abs() < 1e-12, "{fitted:?}");
        assert!(fitted.nll_after.abs() < 1e-12);
    }

    #[test]
    fn bad_inputs_are_refused() {
        let fit = |labels: &[usize]| Temperature::fit(logits().view(), labels, Averaging::Logits, Scaled::Mean);
        assert!(matches!(fit(&[0; 29]), Err(Error::Length { got: 29, .. })));
        assert!(matches!(fit(&[3; 30]), Err(Error::Label { value: 3, .. })));
        let broken = Temperature { temperature: 0.0, scaled: Scaled::Mean, nll_before: 1.0, nll_after: 1.0 };
        let message = broken.apply(logits().view(), Averaging::Logits).unwrap_err().to_string();
        assert_eq!(message, "temperature is 0, expected a number in (0, inf)");
        assert_eq!("samples".parse(), Ok(Scaled::Samples));
        let message = "sample".parse::<Scaled>().unwrap_err().to_string();
        assert_eq!(message, "unknown choice of what is scaled `sample`, expected samples or mean");
    }
}
