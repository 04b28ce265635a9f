//! One statistic of several fits on the same test texts: its value at every seed, and what each text adds to it under each fit.
//!
//! Unlike [`Measured`](crate::Measured), deviations are kept seed by seed. Only so can what is persistent of a text be told from the noise of
//! a text and a seed ([`persistent_variance`]).

use std::collections::BTreeMap;

use crate::deviations::{self, Detection};
use crate::error::{Error, Result};
use crate::inputs;

/// Fits numbered by seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Fits {
    seeds: Vec<u64>,
    values: Vec<f64>,
    /// `[fits][places]`; a place is a text, a cluster of texts or a resample.
    deviations: Vec<Vec<f64>>,
    degrees_of_freedom: f64,
}

impl Fits {
    /// A mean over texts, such as accuracy or NLL: `psi_is = (x_is - mean_i x_is) / sqrt(n (n - 1))`.
    ///
    /// # Shapes
    /// `seeds: [fits]`, `values: [fits][texts]`.
    /// # Errors
    /// [`Error::TooFew`] without fits or below two texts, [`Error::Length`], [`Error::NotFinite`], [`Error::Seed`] for a seed that comes
    /// twice.
    pub fn mean(seeds: &[u64], values: &[Vec<f64>]) -> Result<Self> {
        inputs::at_least("fits", values.len(), 1)?;
        let texts = values[0].len();
        inputs::at_least("texts", texts, 2)?;
        for own in values {
            inputs::same_length("values of a fit", own.len(), "those of the first", texts)?;
            inputs::finite("values", own)?;
        }
        let (means, deviations) = values.iter().map(|own| deviations::of_mean(own)).unzip();
        Self::new(seeds, means, deviations, texts as f64 - 1.0)
    }

    /// AUROC by the structural components of `DeLong`'s test, fit by fit.
    ///
    /// Texts that are positive under one fit and negative under another (errors) keep their places.
    ///
    /// # Shapes
    /// `seeds: [fits]`, `fits: [fits]` of as many texts each.
    /// # Errors
    /// [`Error::TooFew`] without fits or below two positives or negatives in one, [`Error::Length`], [`Error::NotFinite`],
    /// [`Error::Seed`].
    pub fn auroc(seeds: &[u64], fits: &[Detection<'_>]) -> Result<Self> {
        inputs::at_least("fits", fits.len(), 1)?;
        let texts = fits[0].scores.len();
        let (mut areas, mut deviations) = (Vec::new(), Vec::new());
        for fit in fits {
            inputs::same_length("scores of a fit", fit.scores.len(), "those of the first", texts)?;
            let (area, own) = deviations::of_auroc(fit)?;
            areas.push(area);
            deviations.push(own);
        }
        Self::new(seeds, areas, deviations, texts as f64 - 2.0)
    }

    /// Any statistic, from the values that it takes on resamples of the texts under each fit
    /// ([`Bootstrap::replicates`](crate::Bootstrap::replicates); the same resamples for every fit, and for whatever it is compared with).
    ///
    /// `B` resamples of `n` texts know a variance as well as `1 / (1 / (n - 1) + 1 / (B - 1))` degrees of freedom.
    ///
    /// # Shapes
    /// `seeds: [fits]`, `values: [fits]`, `replicates: [fits][resamples]`.
    /// # Errors
    /// [`Error::TooFew`] without fits or below two resamples or texts, [`Error::Length`], [`Error::NotFinite`], [`Error::Seed`].
    pub fn resampled(seeds: &[u64], values: Vec<f64>, replicates: &[Vec<f64>], texts: usize) -> Result<Self> {
        inputs::at_least("fits", values.len(), 1)?;
        inputs::finite("values", &values)?;
        inputs::at_least("texts", texts, 2)?;
        inputs::same_length("replicates", replicates.len(), "values", values.len())?;
        let resamples = replicates[0].len();
        inputs::at_least("resamples", resamples, 2)?;
        let mut deviations = Vec::new();
        for own in replicates {
            inputs::same_length("resamples of a fit", own.len(), "those of the first", resamples)?;
            inputs::finite("replicates", own)?;
            let mean = own.iter().sum::<f64>() / resamples as f64;
            let scale = (resamples as f64 - 1.0).sqrt();
            deviations.push(own.iter().map(|value| (value - mean) / scale).collect());
        }
        let degrees_of_freedom = 1.0 / (1.0 / (texts as f64 - 1.0) + 1.0 / (resamples as f64 - 1.0));
        Self::new(seeds, values, deviations, degrees_of_freedom)
    }

    fn new(seeds: &[u64], values: Vec<f64>, deviations: Vec<Vec<f64>>, degrees_of_freedom: f64) -> Result<Self> {
        inputs::same_length("seeds", seeds.len(), "fits", values.len())?;
        if let Some(place) = (1..seeds.len()).find(|&place| seeds[..place].contains(&seeds[place])) {
            return Err(Error::Seed { seed: seeds[place], problem: "comes twice among the fits of a row" });
        }
        Ok(Self { seeds: seeds.to_vec(), values, deviations, degrees_of_freedom })
    }

    /// Of texts that are not independent: those of one cluster count as one.
    ///
    /// Their deviations add up before they are multiplied (the cluster-robust variance), which leaves `clusters - 1` degrees of freedom. For
    /// [`Self::mean`] and [`Self::auroc`]; resampled statistics have no deviation of a text.
    ///
    /// # Shapes
    /// `clusters: [texts]`, the number of each text's cluster.
    /// # Errors
    /// [`Error::Length`], [`Error::TooFew`] below two clusters.
    pub fn clustered(self, clusters: &[usize]) -> Result<Self> {
        let mut deviations = Vec::new();
        let mut number = 0;
        for own in &self.deviations {
            inputs::same_length("clusters", clusters.len(), "deviations", own.len())?;
            let mut sums = BTreeMap::<usize, f64>::new();
            for (&cluster, deviation) in clusters.iter().zip(own) {
                *sums.entry(cluster).or_default() += deviation;
            }
            number = sums.len();
            deviations.push(sums.into_values().collect());
        }
        inputs::at_least("clusters", number, 2)?;
        Ok(Self { deviations, degrees_of_freedom: number as f64 - 1.0, ..self })
    }

    /// Seeds of the fits, in the order given.
    pub fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    /// The statistic of each fit.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Mean over fits.
    pub fn mean_value(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len() as f64
    }

    /// `[fits][places]`.
    pub(crate) fn deviations(&self) -> &[Vec<f64>] {
        &self.deviations
    }

    /// How well a variance over texts is known.
    pub(crate) fn degrees_of_freedom(&self) -> f64 {
        self.degrees_of_freedom
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Measured;

    fn lists() -> Vec<Vec<f64>> {
        (0..3_u32).map(|seed| (0..30_u32).map(|n| f64::from((7 * n + 5 * seed * n) % 11)).collect()).collect()
    }

    #[test]
    fn deviations_averaged_over_fits_are_those_of_measured() {
        // With a zero as the other side, the error over examples is the root of the sum of squares of the averaged deviations.
        let error = |measured: &Measured, none: &Measured| measured.difference(none, 0.95).unwrap().error_over_examples;
        let averaged = |fits: &Fits| -> f64 {
            let mean = |n: usize| fits.deviations.iter().map(|own| own[n]).sum::<f64>() / 3.0;
            (0..fits.deviations[0].len()).map(|n| mean(n).powi(2)).sum::<f64>().sqrt()
        };
        let values = lists();
        let fits = Fits::mean(&[3, 1, 2], &values).unwrap();
        let none = Measured::mean(&vec![vec![0.0; 30]; 3]).unwrap();
        let measured = Measured::mean(&values).unwrap();
        assert!((averaged(&fits) - error(&measured, &none)).abs() < 1e-14);
        assert!((fits.mean_value() - measured.value()).abs() < 1e-14);
        // Texts in pairs.
        let pairs: Vec<usize> = (0..30).map(|n| n / 2).collect();
        let (clustered, none) = (fits.clone().clustered(&pairs).unwrap(), none.clustered(&pairs).unwrap());
        assert!((averaged(&clustered) - error(&measured.clustered(&pairs).unwrap(), &none)).abs() < 1e-14);
        assert!(
            (averaged(&clustered) - averaged(&fits)).abs() > 1e-6
                && clustered.degrees_of_freedom().to_bits() == 14f64.to_bits()
        );
        // Areas: a detector that is never right or wrong has no deviations.
        let positive: Vec<bool> = (0..30).map(|n| n % 3 == 0).collect();
        let blind = [0.0; 30];
        let detections: Vec<_> = values.iter().map(|scores| Detection { scores, positive: &positive }).collect();
        let none = Measured::auroc(&[Detection { scores: &blind, positive: &positive }; 3]).unwrap();
        let (areas, measured) = (Fits::auroc(&[3, 1, 2], &detections).unwrap(), Measured::auroc(&detections).unwrap());
        assert!((averaged(&areas) - error(&measured, &none)).abs() < 1e-14);
        assert!((areas.mean_value() - measured.value()).abs() < 1e-14);
    }

    #[test]
    fn resamples_know_a_variance_as_well_as_both_numbers_allow() {
        let replicates = vec![vec![0.1, 0.3, 0.2], vec![0.2, 0.2, 0.5]];
        let fits = Fits::resampled(&[1, 2], vec![0.2, 0.3], &replicates, 51).unwrap();
        assert!((fits.degrees_of_freedom() - 1.0 / (1.0 / 50.0 + 1.0 / 2.0)).abs() < 1e-12);
        let squares: f64 = fits.deviations()[0].iter().map(|own| own * own).sum();
        assert!((squares - 0.01).abs() < 1e-12, "the variance of 0.1, 0.2, 0.3");
    }

    #[test]
    fn bad_inputs_are_refused() {
        let message = |found: Result<Fits>| found.unwrap_err().to_string();
        let values = lists();
        assert_eq!(message(Fits::mean(&[], &[])), "fits: got 0, expected at least 1");
        assert_eq!(message(Fits::mean(&[1, 2], &values)), "seeds has 2 entries, fits has 3");
        assert_eq!(message(Fits::mean(&[1, 2, 1], &values)), "seed 1 comes twice among the fits of a row");
        let replicates = vec![vec![0.1, 0.2]; 2];
        assert_eq!(message(Fits::resampled(&[1], vec![0.1], &replicates, 9)), "replicates has 2 entries, values has 1");
        let one = Fits::mean(&[1, 2, 3], &values).unwrap();
        assert_eq!(message(one.clone().clustered(&[0; 30])), "clusters: got 1, expected at least 2");
        assert_eq!(message(one.clustered(&[0, 1])), "clusters has 2 entries, deviations has 30");
    }
}
