#![doc = include_str!("../DERIVATIONS.md")]
//!
//! ## The harness
//!
//! [`run`] confronts every claim with measurements in f64 and decides. Nothing here shares code with the candle implementation: the
//! two check each other. So what both need, such as [`holm`], stands here once more.

#![allow(clippy::needless_pass_by_value, reason = "an ndarray view is a reference already")]

mod claims;
mod descent;
mod dynamics;
mod error;
mod evidence;
mod harness;
mod layer;
mod random;
mod subspace;
mod table;
mod timing;

pub use claims::{CLAIMS, Claim, Grid, Law, draw};
pub use dynamics::{Optimiser, Pair, Problem, Trainer, expected_gradient, sampled_gradient};
pub use error::{Error, Result};
pub use evidence::{Comparisons, Effect, Evidence, Seen, Values};
pub use harness::{Decision, ERROR_SEEN, LEVEL, POWER, POWER_SEEDS, Refutation, Report, Verdict, decide, holm, run};
pub use layer::{Dropout, Layer, Site};
pub use random::{direction, normal, stream};
pub use subspace::{Principal, Subspace};
pub use table::{Heading, csv, latex, markdown, seconds};
pub use timing::{Exponent, exponents};
