//! When the predicted class is known: sequential tests by betting (Waudby-Smith and Ramdas, "Estimating means of bounded
//! random variables by betting", JRSS-B 2023, section 4).
//!
//! Class `a` is ahead of `b` when `E d > 0` for the difference `d = p_a - p_b` of a sample's probabilities. Somebody who bets the
//! share `lambda` of their capital on `d`, again and again, has `K = prod_t (1 + lambda d_t)`: a supermartingale from 1 when
//! `E d <= 0`, and so is its average over several `lambda`. By Ville's inequality it ever reaches `k` with probability at most
//! `1 / k`, whatever the distribution of `d` in `[-1, 1]`, and however often one looks.
//!
//! The average over a fixed grid of bets needs no tuning, gives the same capital in whichever order the samples come, and loses to
//! the best bet of the grid no more than the logarithm of its weight. Half of the weight lies on `lambda = 1`, since the samples of
//! one example usually agree: the best bet is about `E d / E d^2`, and at most 1.

use crate::error::{Error, Result};
use crate::inputs;

/// Bets `1, 1/2, .., 1/128`; bet `2^-j` has weight `2^-(j+1)`, the last one what is left.
///
/// The smallest bet grows where `E d` exceeds about `E d^2 / 128`; a smaller lead takes some 100,000 samples in any case.
const BETS: usize = 8;

/// Tolerance of the sum of a sample's probabilities: a softmax in f32.
const ROW_SUM: f64 = 1e-4;

fn bet(place: usize) -> f64 {
    0.5_f64.powi(i32::try_from(place).unwrap_or(i32::MAX))
}

fn weight(place: usize) -> f64 {
    bet(if place + 1 < BETS { place + 1 } else { place })
}

/// The logarithms of what each bet has come to.
#[derive(Debug, Clone, Copy, Default)]
struct Capital([f64; BETS]);

impl Capital {
    fn pay(&mut self, difference: f64) {
        for (place, log) in self.0.iter_mut().enumerate() {
            *log += (bet(place) * difference).ln_1p();
        }
    }

    /// Logarithm of the average over the bets.
    fn log(&self) -> f64 {
        let largest = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = self.0.iter().enumerate().map(|(place, log)| weight(place) * (log - largest).exp()).sum();
        largest + total.ln()
    }
}

/// Decides which class has the largest mean probability, from one sample after another.
///
/// The probability that it ever decides for a class whose mean probability, over infinitely many samples, is not the largest is at
/// most `alpha`, at any number of samples and under any distribution. It decides for `a` once the capital on `p_a - p_b` has
/// reached `(C - 1) / alpha` for every rival `b`: a wrong class must beat the right one, and there are `C - 1` wrong ones.
///
/// Coupled samples are independent only by whole groups, so the average of a group is one observation, and nothing is
/// decided within a group.
///
/// # Examples
/// ```
/// use bayeslora_metrics::Decider;
/// let mut decider = Decider::new(2, 0.05, 1)?;
/// let mut samples = 0;
/// while decider.decided().is_none() {
///     decider.observe(&[0.1, 0.9])?;
///     samples += 1;
/// }
/// // 1.8^6 / 2 = 17.0 and 1.4^6 / 4 = 1.9 are less than 20; the next sample brings 30.6 and 2.6.
/// assert_eq!((decider.decided(), samples), (Some(1), 7));
/// # Ok::<(), bayeslora_metrics::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Decider {
    group: u32,
    log_threshold: f64,
    samples: u32,
    /// Sums of probabilities over all samples.
    totals: Vec<f64>,
    /// Sums within the group that is not complete.
    current: Vec<f64>,
    /// Capital on row minus column, row by row.
    capitals: Vec<Capital>,
    decided: Option<usize>,
}

impl Decider {
    /// Before any sample: `alpha` is the error level, `group` the number of coupled samples (1 when they are independent).
    ///
    /// A single class is decided at once.
    ///
    /// # Errors
    /// [`Error::TooFew`] without classes or for an empty group, [`Error::Setting`] unless `0 < alpha < 1`.
    pub fn new(classes: usize, alpha: f64, group: u32) -> Result<Self> {
        inputs::at_least("classes", classes, 1)?;
        inputs::at_least("samples of a group", group as usize, 1)?;
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(Error::Setting { what: "alpha", value: alpha, expected: "(0, 1)" });
        }
        Ok(Self {
            group,
            log_threshold: (classes.saturating_sub(1) as f64 / alpha).ln(),
            samples: 0,
            totals: vec![0.0; classes],
            current: vec![0.0; classes],
            capitals: vec![Capital::default(); classes * classes],
            decided: if classes == 1 { Some(0) } else { None },
        })
    }

    /// Takes the next sample's probabilities, one per class, and returns the class if it is decided. Samples after the decision
    /// change neither it nor the means.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::NotFinite`], [`Error::Probability`] or [`Error::RowSum`] when they are no distribution over the
    /// classes; the sample then does not count.
    pub fn observe(&mut self, probabilities: &[f64]) -> Result<Option<usize>> {
        let classes = self.totals.len();
        if probabilities.len() != classes {
            let got = probabilities.len();
            return Err(Error::Length { what: "probabilities", got, reference: "classes", expected: classes });
        }
        let example = self.samples as usize;
        for (class, &value) in probabilities.iter().enumerate() {
            if !value.is_finite() {
                return Err(Error::NotFinite { what: "probabilities", index: vec![example, class], value });
            }
            if !(0.0..=1.0 + ROW_SUM).contains(&value) {
                return Err(Error::Probability { what: "probabilities", index: [example, class], value });
            }
        }
        let sum: f64 = probabilities.iter().sum();
        if (sum - 1.0).abs() > ROW_SUM {
            return Err(Error::RowSum { what: "probabilities", example, sum });
        }
        if self.decided.is_some() {
            return Ok(self.decided);
        }
        self.samples += 1;
        for (class, value) in probabilities.iter().enumerate() {
            self.totals[class] += value;
            self.current[class] += value;
        }
        if self.samples.is_multiple_of(self.group) {
            let means = self.current.iter().map(|sum| sum / f64::from(self.group)).collect();
            self.current.fill(0.0);
            self.bet(means);
        }
        Ok(self.decided)
    }

    /// One observation: bets on every class against every other.
    fn bet(&mut self, means: Vec<f64>) {
        let classes = means.len();
        for (class, mean) in means.iter().enumerate() {
            for (rival, other) in means.iter().enumerate().filter(|(rival, _)| *rival != class) {
                // Rounding may carry a sure difference beyond 1.
                self.capitals[class * classes + rival].pay((mean - other).clamp(-1.0, 1.0));
            }
        }
        self.decided = (0..classes).find(|class| {
            let mut rivals = (0..classes).filter(|rival| rival != class);
            rivals.all(|rival| self.capitals[class * classes + rival].log() >= self.log_threshold)
        });
    }

    /// The class, once it is decided.
    pub fn decided(&self) -> Option<usize> {
        self.decided
    }

    /// Samples taken until the decision, or so far.
    pub fn samples(&self) -> u32 {
        self.samples
    }

    /// Mean probabilities of the samples taken until the decision, or so far; zeros before the first.
    ///
    /// A sample that stops early tends to be one in which the winner did well: the means of decided examples lean
    /// towards the decision by about a standard error.
    pub fn means(&self) -> Vec<f64> {
        self.totals.iter().map(|total| total / f64::from(self.samples.max(1))).collect()
    }

    /// Smallest number of samples that can decide: all of them sure of one class.
    pub fn earliest(&self) -> u32 {
        if self.totals.len() == 1 {
            return 0;
        }
        let mut capital = Capital::default();
        let mut observations = 0;
        while capital.log() < self.log_threshold {
            capital.pay(1.0);
            observations += 1;
        }
        observations * self.group
    }
}

#[cfg(test)]
mod tests;
