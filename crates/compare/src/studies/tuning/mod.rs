//! The search of each method's settings on the validation set, the same number of trials for all.
//!
//! A trial is one point of the method's space, fitted and judged by the NLL of its main predictive on validation; a record is kept of
//! each. The first trial is the method as written, the others are points of the grid in an order of chance. What has the lowest mean
//! NLL over the tuning's seeds is chosen. `chosen.toml` and the tables are pure functions of the records, as reports are.

mod files;
mod stored;
mod table;
mod trial;
mod tune;

pub use files::check_tuning;
pub(crate) use files::files;
pub use tune::tune;

#[cfg(test)]
mod tests;
