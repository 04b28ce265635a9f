//! Noticing that inputs have changed, without labels: a conformal test martingale (Vovk et al. 2021), the Simple Jumper.
//!
//! The `n`-th score has the p-value `p = (#{s_i > s} + u (#{s_i = s} + 1)) / n` against the calibration scores *and all that came since*, with its own
//! uniform number `u`. While all are exchangeable the p-values are independent and uniform. Three accounts bet on them: small, no
//! matter, large,
//!
//! `C_e <- ((1 - J) C_e + J / 3 sum C) (1 + e (p - 1/2))`, `e` in `{-1, 0, 1}`, `J = 0.01`,
//!
//! and their sum, from 1, ever reaches `1 / alpha` with probability at most `alpha`. Two shortcuts break this. P-values against the calibration scores
//! alone share those scores, so that they are uniform but not independent. P-values without `u` are larger than uniform ones, and a bet
//! on large ones wins.

use crate::error::{Error, Result};
use crate::inputs;

use super::binomial::level_of;

const BETS: [f64; 3] = [-1.0, 0.0, 1.0];
/// Share that changes its bet at every step.
const JUMP: f64 = 0.01;
/// Held there, so that wealth stays finite; less of it is valid too.
const MOST: f64 = 1e300;

/// A betting martingale against exchangeability. Its state is every score seen, eight bytes each.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DriftWatch {
    alpha: f64,
    capital: [f64; 3],
    /// Calibration and all since, ascending.
    seen: Vec<f64>,
}

impl DriftWatch {
    /// Before deployment, with scores of in-distribution examples: a false alarm is ever given with probability at most `alpha`.
    ///
    /// # Errors
    /// [`Error::TooFew`] without scores, [`Error::NotFinite`], [`Error::Setting`] unless `0 < alpha < 1`.
    /// # Examples
    /// ```
    /// use bayeslora_metrics::guarantee::{DriftWatch, uniform};
    /// let calibration: Vec<f64> = (0..200).map(f64::from).collect();
    /// let mut watch = DriftWatch::new(&calibration, 0.01)?;
    /// // Ever larger than all before.
    /// let mut steps = 0_u32;
    /// while !watch.observe(200.0 + f64::from(steps), uniform(7, u64::from(steps)))? {
    ///     steps += 1;
    /// }
    /// assert_eq!(steps, 14);
    /// # Ok::<(), bayeslora_metrics::Error>(())
    /// ```
    pub fn new(calibration: &[f64], alpha: f64) -> Result<Self> {
        level_of("alpha", alpha)?;
        inputs::at_least("calibration examples", calibration.len(), 1)?;
        inputs::finite("calibration scores", calibration)?;
        let mut seen = calibration.to_vec();
        seen.sort_by(f64::total_cmp);
        Ok(Self { alpha, capital: [1.0 / 3.0; 3], seen })
    }

    /// Takes the next input's score and its uniform number, see [`uniform`](super::uniform), and returns whether there is an alarm now.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for the score, [`Error::Setting`] unless `0 <= uniform <= 1`; the input then does not count.
    pub fn observe(&mut self, score: f64, uniform: f64) -> Result<bool> {
        inputs::finite("score", &[score])?;
        if !(0.0..=1.0).contains(&uniform) {
            return Err(Error::Setting { what: "uniform", value: uniform, expected: "[0, 1]" });
        }
        let p_value = p_value(&self.seen, score, uniform);
        let place = self.seen.partition_point(|other| *other <= score);
        self.seen.insert(place, score);
        self.bet(p_value);
        Ok(self.is_alarmed())
    }

    fn bet(&mut self, p_value: f64) {
        let wealth = self.wealth();
        // As much as can be held, whatever a bet has won.
        let scale = (MOST / wealth).min(1.0);
        for (capital, bet) in self.capital.iter_mut().zip(BETS) {
            *capital = ((1.0 - JUMP) * *capital + JUMP / 3.0 * wealth) * (1.0 + bet * (p_value - 0.5)) * scale;
        }
    }

    /// Whether the wealth has reached `1 / alpha`. The promise is about the first alarm: act on it.
    pub fn is_alarmed(&self) -> bool {
        self.wealth() >= 1.0 / self.alpha
    }

    /// The sum of the three accounts, 1 in the beginning.
    pub fn wealth(&self) -> f64 {
        self.capital.iter().sum()
    }

    /// Scores seen, calibration included.
    pub fn examples(&self) -> usize {
        self.seen.len()
    }
}

/// The smoothed p-value of a score among `seen`, ascending, and itself.
fn p_value(seen: &[f64], score: f64, uniform: f64) -> f64 {
    let below = seen.partition_point(|other| *other < score);
    let up_to = seen.partition_point(|other| *other <= score);
    let (above, equal) = (seen.len() - up_to, up_to - below);
    (above as f64 + uniform * (equal + 1) as f64) / (seen.len() + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::binomial::upper_bound;
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn p_values_count_what_is_above_and_a_share_of_what_is_equal() {
        let seen = [1.0, 2.0, 2.0, 5.0];
        for (score, uniform, expected) in [(2.0, 0.5, 2.5), (0.0, 1.0, 5.0), (9.0, 0.0, 0.0), (5.0, 0.25, 0.5)] {
            assert!((p_value(&seen, score, uniform) - expected / 5.0).abs() < 1e-15, "{score}");
        }
    }

    #[test]
    fn wealth_keeps_its_mean_and_stays_finite() {
        let mut watch = DriftWatch::new(&[0.0], 0.05).unwrap();
        for step in 0..50 {
            let cells = 1000;
            let after = |cell| {
                let mut next = watch.clone();
                next.bet((f64::from(cell) + 0.5) / f64::from(cells));
                next.wealth()
            };
            let mean = (0..cells).map(after).sum::<f64>() / f64::from(cells);
            assert!((mean / watch.wealth() - 1.0).abs() < 1e-12, "{step}");
            watch.bet(f64::from(step % 5) / 5.0);
        }
        for _ in 0..5000 {
            watch.bet(0.0);
        }
        assert!(watch.wealth().is_finite() && watch.is_alarmed());
    }

    /// How many of `runs` ever give an alarm at 5 % in 2,000 exchangeable inputs after 200 calibration scores, with p-values as `seen` has it.
    fn alarms(runs: u32, is_fixed: bool, is_smooth: bool) -> usize {
        let is_alarmed = |run: &u32| {
            let mut random = SplitMix64::keyed(21, 0, *run);
            // Forty values: ties are common.
            let mut score = || if is_smooth { random.open_unit() } else { (random.open_unit() * 40.0).floor() };
            let calibration: Vec<f64> = (0..200).map(|_| score()).collect();
            let mut watch = DriftWatch::new(&calibration, 0.05).unwrap();
            let fixed = watch.seen.clone();
            (0..2000_u64).any(|step| {
                let (score, uniform) = (score(), super::super::uniform(u64::from(*run), step));
                if is_fixed {
                    watch.bet(p_value(&fixed, score, uniform));
                    watch.is_alarmed()
                } else {
                    watch.observe(score, if is_smooth { uniform } else { 1.0 }).unwrap()
                }
            })
        };
        (0..runs).filter(is_alarmed).count()
    }

    #[test]
    fn false_alarms_are_as_rare_as_promised_and_shortcuts_are_refuted() {
        let rate = |alarms: usize, runs: u32| alarms as f64 / f64::from(runs);
        let valid = alarms(1000, false, true);
        assert!(rate(valid, 1000) <= 0.05 + 3.7 * (0.05 * 0.95 / 1000.0_f64).sqrt(), "{valid}");
        let fixed = alarms(400, true, true);
        assert!(
            1.0 - upper_bound(400 - fixed, 400, 1e-4).unwrap() > 0.05,
            "{fixed}: against the calibration scores alone"
        );
        let unsmoothed = alarms(400, false, false);
        assert!(
            1.0 - upper_bound(400 - unsmoothed, 400, 1e-4).unwrap() > 0.05,
            "{unsmoothed}: without a uniform number"
        );
        eprintln!("valid {valid} of 1000, fixed {fixed} of 400, unsmoothed {unsmoothed} of 400");
    }

    #[test]
    fn a_drift_is_found_in_either_direction() {
        for direction in [-1.0, 1.0] {
            let mut random = SplitMix64::keyed(3, 0, 0);
            let calibration: Vec<f64> = (0..500).map(|_| random.open_unit()).collect();
            let mut watch = DriftWatch::new(&calibration, 0.01).unwrap();
            let delay = (0..1000_u64).position(|step| {
                let score = random.open_unit() + 0.4 * direction;
                watch.observe(score, uniform_of(step)).unwrap()
            });
            assert!(delay.is_some_and(|delay| delay < 150), "{direction}: {delay:?}");
        }
    }

    fn uniform_of(step: u64) -> f64 {
        super::super::uniform(0, step)
    }

    #[test]
    fn bad_input_is_refused_and_does_not_count() {
        let mut watch = DriftWatch::new(&[0.0, 1.0], 0.05).unwrap();
        assert_eq!(watch.observe(f64::NAN, 0.5).unwrap_err().to_string(), "score[0] is NaN, expected a finite number");
        assert_eq!(watch.observe(0.5, 2.0).unwrap_err().to_string(), "uniform is 2, expected a number in [0, 1]");
        assert_eq!(watch.examples(), 2);
        assert!(DriftWatch::new(&[], 0.05).is_err() && DriftWatch::new(&[f64::INFINITY], 0.05).is_err());
    }
}
