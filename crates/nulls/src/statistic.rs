//! Statistics by the functions that the program uses, from simulated fits.

use bayeslora_metrics::{Bootstrap, Detection, ECE_BINS, Fits, Measured, PreparedAurc, PreparedEce, Result};
use ndarray::Array2;

use crate::world::{Drawn, Fit};

/// Resamples of the texts; the program draws a thousand or more.
const RESAMPLES: u32 = 60;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// Share of right labels.
    Accuracy,
    /// Negative log likelihood.
    Nll,
    /// Expected calibration error, resampled.
    Ece,
    /// Area under the risk-coverage curve, resampled.
    Aurc,
    /// AUROC of shifted texts by the predictive entropy.
    Shift,
    /// Mean of plain values.
    Mean,
}

/// A row or the reference, as the tests of today and of tomorrow take it.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    pub(crate) fits: Fits,
    /// The same over the rows' seeds alone.
    pub(crate) measured: Measured,
}

impl Statistic {
    /// Every one that stands in a table of this program.
    pub const ALL: [Self; 5] = [Self::Accuracy, Self::Nll, Self::Ece, Self::Aurc, Self::Shift];

    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Nll => "NLL",
            Self::Ece => "ECE",
            Self::Aurc => "AURC",
            Self::Shift => "AUROC of shift",
            Self::Mean => "mean",
        }
    }

    /// Time of a run, in about that of a mean.
    pub(crate) fn cost(self) -> u64 {
        match self {
            Self::Accuracy | Self::Nll | Self::Mean => 1,
            Self::Ece => 3,
            Self::Shift => 5,
            Self::Aurc => 7,
        }
    }

    /// Rows, then the reference.
    pub(crate) fn sides(self, drawn: &Drawn, seeds: usize) -> Result<(Vec<Side>, Side)> {
        let groups = || drawn.rows.iter().map(Vec::as_slice).chain([drawn.reference.as_slice()]);
        let mut sides = match self {
            Self::Accuracy => {
                groups().map(|fits| means(fits, seeds, |margin| f64::from(u8::from(margin > 0.0)))).collect()
            }
            Self::Nll => groups().map(|fits| means(fits, seeds, |margin| (-margin).exp().ln_1p())).collect(),
            Self::Mean => groups().map(|fits| means(fits, seeds, |value| value)).collect(),
            Self::Shift => groups().map(|fits| shift(fits, seeds)).collect(),
            Self::Ece => {
                let prepare =
                    |fit: &Fit| PreparedEce::new(probabilities(fit).view(), &vec![1; fit.inside.len()], ECE_BINS);
                resampled(groups(), seeds, prepare, PreparedEce::with_weights)
            }
            Self::Aurc => {
                let prepare = |fit: &Fit| {
                    let confidence: Vec<f64> = fit.inside.iter().map(|margin| sigmoid(margin.abs())).collect();
                    PreparedAurc::new(&confidence, &fit.inside.iter().map(|&margin| margin > 0.0).collect::<Vec<_>>())
                };
                resampled(groups(), seeds, prepare, PreparedAurc::with_weights)
            }
        }?;
        let reference = sides.pop().ok_or(bayeslora_metrics::Error::TooFew { what: "sides", got: 0, expected: 1 })?;
        Ok((sides, reference))
    }
}

fn numbered(fits: usize) -> Vec<u64> {
    (0..).take(fits).collect()
}

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// `[texts, 2]`, the right label last.
fn probabilities(fit: &Fit) -> Array2<f64> {
    let right: Vec<f64> = fit.inside.iter().map(|&margin| sigmoid(margin)).collect();
    Array2::from_shape_fn((right.len(), 2), |(n, class)| if class == 1 { right[n] } else { 1.0 - right[n] })
}

fn means(fits: &[Fit], seeds: usize, of: impl Fn(f64) -> f64) -> Result<Side> {
    let values: Vec<Vec<f64>> = fits.iter().map(|fit| fit.inside.iter().map(|&margin| of(margin)).collect()).collect();
    Ok(Side { fits: Fits::mean(&numbered(fits.len()), &values)?, measured: Measured::mean(&values[..seeds])? })
}

/// Entropy of two classes, in nats, from a logit: `ln(1 + e^-x) + x e^-x / (1 + e^-x)` of its size `x`, which no size makes `0 ln 0`.
fn entropy(logit: f64) -> f64 {
    let odds = (-logit.abs()).exp();
    odds.ln_1p() + logit.abs() * odds / (1.0 + odds)
}

fn shift(fits: &[Fit], seeds: usize) -> Result<Side> {
    let scores: Vec<Vec<f64>> =
        fits.iter().map(|fit| fit.inside.iter().chain(&fit.shifted).map(|&logit| entropy(logit)).collect()).collect();
    let positive: Vec<bool> = (0..scores[0].len()).map(|n| n >= fits[0].inside.len()).collect();
    let detections: Vec<_> = scores.iter().map(|scores| Detection { scores, positive: &positive }).collect();
    let fits = Fits::auroc(&numbered(fits.len()), &detections)?;
    Ok(Side { fits, measured: Measured::auroc(&detections[..seeds])? })
}

/// Every resample is drawn once for all fits of all sides.
fn resampled<'a, P: Sync>(
    groups: impl Iterator<Item = &'a [Fit]>,
    seeds: usize,
    prepare: impl Fn(&Fit) -> Result<P>,
    with_weights: fn(&P, &[u32]) -> f64,
) -> Result<Vec<Side>> {
    let groups: Vec<&[Fit]> = groups.collect();
    let prepared = groups.iter().flat_map(|fits| fits.iter()).map(prepare).collect::<Result<Vec<P>>>()?;
    let texts = groups[0][0].inside.len();
    let bootstrap = Bootstrap { resamples: RESAMPLES, ..Bootstrap::default() };
    let replicates =
        bootstrap.replicates_of_fits(texts, prepared.len(), |fit, weights| with_weights(&prepared[fit], weights))?;
    let once = vec![1; texts];
    let (mut own, mut prepared) = (replicates.as_slice(), prepared.as_slice());
    let mut sides = Vec::new();
    for fits in groups {
        let (replicates, rest) = own.split_at(fits.len());
        let (of_fits, others) = prepared.split_at(fits.len());
        (own, prepared) = (rest, others);
        let values: Vec<f64> = of_fits.iter().map(|fit| with_weights(fit, &once)).collect();
        let mean = |n: usize| replicates[..seeds].iter().map(|own| own[n]).sum::<f64>() / seeds as f64;
        let means: Vec<f64> = (0..replicates[0].len()).map(mean).collect();
        let measured = Measured::resampled(values[..seeds].to_vec(), &means, texts)?;
        sides.push(Side { fits: Fits::resampled(&numbered(fits.len()), values, replicates, texts)?, measured });
    }
    Ok(sides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropies_of_large_logits_are_numbers_and_those_of_small_ones_are_by_definition() {
        for logit in [0.0, 0.3, -2.0, 5.0] {
            let p = sigmoid(logit);
            assert!((entropy(logit) + p * p.ln() + (1.0 - p) * (1.0 - p).ln()).abs() < 1e-12, "{logit}");
        }
        for logit in [40.0, -90.0, 700.0] {
            assert!(entropy(logit) >= 0.0 && entropy(logit) < 1e-14, "{logit}: {}", entropy(logit));
        }
    }
}
