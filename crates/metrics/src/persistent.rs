//! The part of the variance over texts that every fit shares.
//!
//! The deviation of text `i` under the fit of seed `s` is `psi_is = t_i + e_is`: what the text does to every fit of a row, and what it does
//! to one. Averaged over seeds, `e_is` is noise that the variance over seeds already counts. Products of *different* seeds hold `t_i` alone:
//! `sum_i sum_(s != s') psi_is psi_is' / (S (S - 1))` estimates `sum_i t_i^2` without bias.
//!
//! For the difference of a row and a reference, `t_i - u_i`, three such means of products add up: row with row, reference with reference, and
//! twice row with reference, which is taken off. A seed that both share is left out of the last, as row and reference may share its noise.
//! All fits of the reference count, not only those at the row's seeds.

use crate::error::Result;
use crate::fits::Fits;
use crate::inputs;

/// Sums over the fits of one side, made once for many comparisons.
pub(crate) struct Sums<'a> {
    fits: &'a Fits,
    /// `sum_s psi_is` of every place.
    totals: Vec<f64>,
    /// Mean over pairs of different fits of `sum_i psi_is psi_is'`.
    within: f64,
}

impl<'a> Sums<'a> {
    /// # Errors
    /// [`Error::TooFew`](crate::Error::TooFew) below two fits.
    pub(crate) fn new(fits: &'a Fits) -> Result<Self> {
        let number = fits.values().len();
        inputs::at_least("fits of a side", number, 2)?;
        let mut sums = vec![0.0; fits.deviations()[0].len()];
        let mut own = 0.0;
        for deviations in fits.deviations() {
            for (sum, deviation) in sums.iter_mut().zip(deviations) {
                *sum += deviation;
                own += deviation * deviation;
            }
        }
        let all: f64 = sums.iter().map(|sum| sum * sum).sum();
        let n = number as f64;
        Ok(Self { fits, totals: sums, within: (all - own) / (n * (n - 1.0)) })
    }

    /// Persistent variance over texts of the difference, at least 0. Fits with the same seed are one seed where `shared` says so.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length) unless both have as many places, [`Error::TooFew`](crate::Error::TooFew) without two
    /// different seeds.
    pub(crate) fn difference(&self, reference: &Self, shared: bool) -> Result<f64> {
        let (places, others) = (self.totals.len(), reference.totals.len());
        inputs::same_length("deviations", places, "those of the reference", others)?;
        let mut across: f64 = self.totals.iter().zip(&reference.totals).map(|(own, other)| own * other).sum();
        let mut pairs = self.fits.values().len() * reference.fits.values().len();
        if shared {
            for (seed, own) in self.fits.seeds().iter().zip(self.fits.deviations()) {
                let Some(place) = reference.fits.seeds().iter().position(|other| other == seed) else { continue };
                let other = &reference.fits.deviations()[place];
                across -= own.iter().zip(other).map(|(own, other)| own * other).sum::<f64>();
                pairs -= 1;
            }
        }
        inputs::at_least("pairs of different seeds", pairs, 1)?;
        Ok((self.within + reference.within - 2.0 * across / pairs as f64).max(0.0))
    }
}

/// Persistent variance over texts of the mean over `fits`, at least 0.
///
/// # Errors
/// [`Error::TooFew`](crate::Error::TooFew) below two fits.
/// # Examples
/// ```
/// use bayeslora_metrics::{Fits, persistent_variance};
/// // Two fits that agree text by text: all of the variance is the texts'.
/// let values = vec![vec![1.0, 2.0, 3.0, 6.0]; 2];
/// let same = Fits::mean(&[0, 1], &values)?;
/// assert!((persistent_variance(&same)? - 14.0 / 12.0).abs() < 1e-12);
/// // Two that have nothing in common: none of it is.
/// let apart = Fits::mean(&[0, 1], &[vec![1.0, -1.0, 1.0, -1.0], vec![1.0, 1.0, -1.0, -1.0]])?;
/// assert!(persistent_variance(&apart)?.abs() < 1e-12);
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
pub fn persistent_variance(fits: &Fits) -> Result<f64> {
    Ok(Sums::new(fits)?.within.max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    /// Three fits of a row and five of a reference on twelve texts.
    fn example() -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let mut random = SplitMix64::keyed(3, 1, 4);
        let mut fits = |number: usize| -> Vec<Vec<f64>> {
            (0..number).map(|_| (0..12).map(|n| random.open_unit() + 0.1 * f64::from(n)).collect()).collect()
        };
        (fits(3), fits(5))
    }

    #[test]
    fn it_is_the_sum_over_pairs_of_different_seeds() {
        let (row, reference) = example();
        let (own, other) = ([2, 4, 6], [1, 2, 3, 4, 5]);
        let (one, two) = (Fits::mean(&own, &row).unwrap(), Fits::mean(&other, &reference).unwrap());
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mean_over = |a: &Fits, b: &Fits, skip: &dyn Fn(u64, u64) -> bool| {
            let (mut sum, mut pairs) = (0.0, 0.0);
            for (seed, left) in a.seeds().iter().zip(a.deviations()) {
                for (another, right) in b.seeds().iter().zip(b.deviations()) {
                    if !skip(*seed, *another) {
                        sum += product(left, right);
                        pairs += 1.0;
                    }
                }
            }
            sum / pairs
        };
        let same = |a: u64, b: u64| a == b;
        let never = |_: u64, _: u64| false;
        let within = mean_over(&one, &one, &same) + mean_over(&two, &two, &same);
        let sums = (Sums::new(&one).unwrap(), Sums::new(&two).unwrap());
        for (shared, across) in [(true, mean_over(&one, &two, &same)), (false, mean_over(&one, &two, &never))] {
            let expected = (within - 2.0 * across).max(0.0);
            let found = sums.0.difference(&sums.1, shared).unwrap();
            assert!((found - expected).abs() < 1e-15, "{found} for {expected}");
        }
    }

    #[test]
    fn nothing_is_below_zero_and_one_fit_is_refused() {
        let apart = Fits::mean(&[0, 1], &[vec![0.0, 1.0], vec![1.0, 0.0]]).unwrap();
        assert_eq!(persistent_variance(&apart).map(f64::to_bits), Ok(0), "the products are negative");
        let one = Fits::mean(&[0], &[vec![0.0, 1.0]]).unwrap();
        assert_eq!(persistent_variance(&one).unwrap_err().to_string(), "fits of a side: got 1, expected at least 2");
    }
}
