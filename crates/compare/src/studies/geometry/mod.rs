//! Claim R1 inside a real network: does `V` follow the distance of an input from the fine-tuning subspace?
//!
//! For every adapted map of a trained adapter, `S_X` is spanned by the leading principal directions of the inputs that the map saw
//! in fine-tuning, as many as hold a given share of their energy. For held-out texts of the training domain and of shifted ones,
//! `V(x)` is exact (theory.md, section 2), and so are distance `delta` and norm `|x|`; a text's values are means over the rows
//! that the map reads. Correlations and detection rates are over texts, with percentile bootstrap intervals that resample the texts
//! of each side.
//!
//! Whether that reaches the prediction is measured on the same texts ([`predictions`]).

mod cells;
mod figure;
mod findings;
mod measure;
mod predictions;
mod table;
#[cfg(test)]
mod tests;

pub use findings::GeometryOptions;
pub use measure::measure_geometry;
