//! What coupled masks and adaptive numbers of samples buy on trained adapters.
//!
//! The squared standard error of an estimate from `T` samples is its variance over replicates, summed over the classes and averaged over the
//! texts; two couplings compare by its ratio at the same `T`, which for the mean is the factor of samples saved, as independent
//! samples need twice as many for half the square. Intervals resample the texts.

mod figure;
mod findings;
mod measure;
mod method;
mod stopping;
mod table;
#[cfg(test)]
mod tests;

pub use measure::measure_couplings;
pub use method::CouplingsOptions;
