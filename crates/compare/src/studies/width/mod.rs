//! What the width of each posterior is worth: its deviations times a factor, at the same mean, without training.
//!
//! A fit of a finished run is read again at each width: 0 is its mean, 1 the posterior itself. Sampled rows have the deviations of every
//! adapter's increment multiplied ([`bayeslora_adapters::Widened`]), linearised ones those of the logits.

mod figure;
mod findings;
mod measure;
mod table;
#[cfg(test)]
mod tests;

pub use measure::{WidthOptions, measure_widths};
