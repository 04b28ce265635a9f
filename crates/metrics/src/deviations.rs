//! Deviations of single examples: what each adds to a statistic of one fit, so scaled that the sum of their squares is the variance over
//! examples.

use crate::error::Result;
use crate::inputs;
use crate::placements::Placements;

/// A detector's scores of all examples under one fit, and which of them it is to find.
#[derive(Debug, Clone, Copy)]
pub struct Detection<'a> {
    /// Higher = more likely positive.
    pub scores: &'a [f64],
    /// Foreign examples, or errors (then they may differ from fit to fit).
    pub positive: &'a [bool],
}

/// Mean of `values` and `psi_i = (x_i - mean x) / sqrt(n (n - 1))`.
pub(crate) fn of_mean(values: &[f64]) -> (f64, Vec<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, values.iter().map(|value| (value - mean) / (n * (n - 1.0)).sqrt()).collect())
}

/// AUROC of a fit and its deviations: a positive that beats a share `V_i` of the negatives has `psi_i = (V_i - A) / sqrt(n+ (n+ - 1))`, a
/// negative likewise with the share of positives that beat it (DeLong, DeLong and Clarke-Pearson 1988, equation 4).
///
/// # Errors
/// [`Error::Length`](crate::Error::Length), [`Error::NotFinite`](crate::Error::NotFinite), [`Error::TooFew`](crate::Error::TooFew) below
/// two positives or negatives.
pub(crate) fn of_auroc(&Detection { scores, positive }: &Detection<'_>) -> Result<(f64, Vec<f64>)> {
    inputs::same_length("positive", positive.len(), "scores", scores.len())?;
    inputs::finite("scores", scores)?;
    let group = |wanted: bool| -> Vec<usize> { (0..scores.len()).filter(|&n| positive[n] == wanted).collect() };
    let (of_negatives, of_positives) = (group(false), group(true));
    inputs::at_least("negatives", of_negatives.len(), 2)?;
    inputs::at_least("positives", of_positives.len(), 2)?;
    let values = |places: &[usize]| -> Vec<f64> { places.iter().map(|&n| scores[n]).collect() };
    let (negatives, positives) = (values(&of_negatives), values(&of_positives));
    let placements = Placements::new(&negatives, &positives);
    let area = placements.auroc();
    let mut deviations = vec![0.0; scores.len()];
    for (places, shares) in [(of_negatives, &placements.negatives), (of_positives, &placements.positives)] {
        let n = places.len() as f64;
        for (place, share) in places.into_iter().zip(shares) {
            deviations[place] = (share - area) / (n * (n - 1.0)).sqrt();
        }
    }
    Ok((area, deviations))
}
