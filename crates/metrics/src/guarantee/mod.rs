//! Promises with a probability.

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
#[cfg(test)]
mod simulations;
mod strata;
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
