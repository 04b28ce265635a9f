//! Runs an experiment: what is missing is fitted, predicted and scored, what is there is kept. A run ends at its records.

mod fits;
mod kept_distances;
pub(crate) mod keys;
mod missing;
pub(crate) mod opened;
mod predictions;
pub(crate) mod provenance;
mod side_by_side;
pub(crate) mod unit;

pub use missing::{RunSummary, run};
pub use provenance::COMMIT;
