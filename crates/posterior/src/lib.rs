//! A reference posterior for Bayesian LoRA methods.
//!
//! Every method approximates a posterior that is too large to look at. Where only the last map of a network has an adapter, everything
//! below it is frozen, and the exact posterior over its entries can be sampled: thousands of parameters, a gradient in a millisecond.
//! [`LastMap`] is that model, [`sample`] runs the No-U-Turn sampler (Hoffman and Gelman 2014) on any [`Target`], and the diagnostics
//! ([`r_hat`], [`bulk_ess`]) are of predicted probabilities: `A` and `B` are identified only up to invertible `r x r` maps.
//!
//! All in f64 and without a tensor library, so that it is an independent implementation of what the networks compute.

mod diagnostics;
mod error;
mod last_map;
mod nuts;
mod target;

pub use diagnostics::{bulk_ess, r_hat};
pub use error::{Error, Result};
pub use last_map::{Activation, Head, LastMap, Prior};
pub use nuts::{Chain, Settings, prior_draw, sample};
pub use target::Target;
