//! Every method against the posterior that it approximates.
//!
//! Where only the pooler of an encoder has an adapter and the head is not trained, the exact posterior over `A` and `B` can be sampled
//! ([`bayeslora_posterior`]). For every seed of a run that is finished here, No-U-Turn chains of that seed's training texts give the
//! predictive distribution that all its methods stand for; every row is held against it text by text.
//!
//! The chains compute the network once more, in f64 and without tensors: before they start, the trained adapter of the reference row must
//! have the program's own predictions.

mod figure;
mod findings;
mod measure;
mod network;
mod table;
#[cfg(test)]
mod tests;

pub use findings::PosteriorOptions;
pub use measure::measure_posterior;
