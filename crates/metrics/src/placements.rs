//! Structural components of the area under a ROC curve (DeLong, DeLong and Clarke-Pearson 1988), by midranks as in Sun and Xu 2014.
//!
//! With `R` the midrank among all, `R+` among positives and `R-` among negatives, a positive beats a share `(R - R+) / n-` of the
//! negatives, and a share `1 - (R - R-) / n+` of the positives beats a negative.

use crate::rank;

/// The structural components of an AUROC.
pub(crate) struct Placements {
    /// Share of the negatives that each positive beats.
    pub(crate) positives: Vec<f64>,
    /// Share of the positives that beat each negative.
    pub(crate) negatives: Vec<f64>,
}

impl Placements {
    pub(crate) fn new(negatives: &[f64], positives: &[f64]) -> Self {
        let all = rank::midranks(&[positives, negatives].concat());
        let (of_positives, of_negatives) = all.split_at(positives.len());
        let share = |all: &[f64], own: &[f64], others: usize| -> Vec<f64> {
            all.iter().zip(rank::midranks(own)).map(|(all, own)| (all - own) / others as f64).collect()
        };
        let beaten = share(of_positives, positives, negatives.len());
        let below = share(of_negatives, negatives, positives.len());
        Self { positives: beaten, negatives: below.into_iter().map(|share| 1.0 - share).collect() }
    }

    pub(crate) fn auroc(&self) -> f64 {
        self.positives.iter().sum::<f64>() / self.positives.len() as f64
    }
}
