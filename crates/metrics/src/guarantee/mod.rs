//! Promises with a probability: when to answer, which classes to name, what to send away, and when to stop trusting either.
//!
//! Every promise rests on counts of one calibration set and the exact binomial tail. The calibration set must have served nothing else: not
//! training, early stopping or tuning, and not the choice of the score. Its examples are independent; of a group, one.
//!
//! | question | type | promise |
//! |---|---|---|
//! | is what is answered right? | [`Answer`] | `P(wrong given answered) <= r`, for all but a share `delta` of calibrations |
//! | how much harm is done in all? | [`Total`] | `P(answered and wrong) <= a`, likewise or on average |
//! | what else could it be? | [`Cutoff`], [`SetScore`], [`StratifiedCutoff`] | the label is in the set with probability `1 - alpha` |
//! | is it anything like what was calibrated on? | [`Outlier`] | at most a share `f` of such inputs is sent away |
//! | is the risk above the promise? | [`RiskWatch`] | a false alarm is ever given with probability `alpha` at most |
//! | has the risk risen? | [`ChangeWatch`] | a false alarm takes so many labels on average |
//! | have the inputs changed? | [`DriftWatch`] | a false alarm is ever given with probability `alpha` at most |
//! | what if they have? | [`ShiftBudget`], [`WeightedCutoff`] | what is left of a promise |
//!
//! Scores are uncertainties everywhere: larger means less certain, or stranger. A score equal to a threshold is accepted, NaN never is. Where data are
//! too few for a promise, the error names how many would do; no rank is rounded to one that exists.
//!
//! ```
//! use bayeslora_metrics::guarantee::{Answer, coverages, thresholds};
//! // One example in twenty is uncertain, and of those every second is wrong.
//! let score = |n: u32| if n % 20 == 7 { 1.0 + f64::from(n % 3) } else { f64::from(n % 97) / 97.0 };
//! let grid: Vec<f64> = (0..500).map(score).collect();
//! let calibration: Vec<f64> = (500..1500).map(score).collect();
//! let wrong: Vec<bool> = (500..1500).map(|n| n % 40 == 7).collect();
//! let candidates = thresholds(&grid, &coverages(1000, 0.01, 0.05)?)?;
//! let rule = Answer::fit(&candidates, &calibration, &wrong, 0.01, 0.05)?;
//! let certified = rule.certified().ok_or("nothing certified")?;
//! assert!(certified.accepted >= 900 && certified.wrong <= 3);
//! assert!(rule.accepts(0.5) && !rule.accepts(2.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod beta;
mod binomial;
mod change_watch;
mod drift_watch;
mod grid;
mod labels;
mod outlier;
mod rank;
mod risk_watch;
mod sets;
mod shift;
mod strata;
#[cfg(test)]
mod tests;
mod total;
mod weights;

pub use answer::{Answer, AnswerTest, Shortfall};
pub use binomial::{binomial_cdf, clopper_pearson, fewest_trials, largest_count, lower_bound, upper_bound};
pub use change_watch::ChangeWatch;
pub use drift_watch::DriftWatch;
pub use grid::{coverages, thresholds};
pub use labels::answered_for_power;
pub use outlier::Outlier;
pub use rank::{Promise, allowed_above, fewest_examples};
pub use risk_watch::RiskWatch;
pub use sets::{Cutoff, LabelSet, SetScore, uniform};
pub use shift::{ShiftBudget, total_variation_at_least};
pub use strata::{Strata, StratifiedCutoff};
pub use total::Total;
pub use weights::{WeightedCutoff, effective_examples};
