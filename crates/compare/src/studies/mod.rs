//! What is measured on the fits of a run beyond its tables, and the search of settings before it.

pub(crate) mod couplings;
pub(crate) mod geometry;
mod kept;
mod mean;
pub(crate) mod paper;
pub(crate) mod reference;
mod saved;
#[cfg(test)]
mod toy;
pub(crate) mod tuning;
pub(crate) mod width;
