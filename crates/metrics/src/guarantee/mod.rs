//! Promises with a probability.

mod answer;
mod beta;
mod binomial;
mod grid;
mod labels;
mod outlier;
mod rank;
mod sets;
mod strata;
mod total;

pub use answer::{Answer, AnswerTest, Shortfall};
pub use binomial::{binomial_cdf, clopper_pearson, fewest_trials, largest_count, lower_bound, upper_bound};
pub use grid::{coverages, thresholds};
pub use labels::answered_for_power;
pub use outlier::Outlier;
pub use rank::{Promise, allowed_above, fewest_examples};
pub use sets::{Cutoff, LabelSet, SetScore, uniform};
pub use strata::{Strata, StratifiedCutoff};
pub use total::Total;
