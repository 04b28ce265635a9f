//! The claims, as data: what is stated, under which assumptions, which wrong variants must be refuted, and the check.
//!
//! Their derivations are the crate's documentation.

mod claim;
mod contextual;
mod depth;
mod figures;
mod fixed_norm;
mod general;
mod growth;
mod invariance;
mod moments;
mod normalised;
mod optimum;
mod outside;
mod tokens;
mod training;

pub use claim::{Claim, Grid, Law};
pub use figures::draw;

/// Every claim, in the order of the table.
pub const CLAIMS: &[Claim] = &[
    moments::MEAN,
    moments::COVARIANCE,
    moments::RATE,
    tokens::SCOPES,
    growth::RAY,
    growth::NO_GROWTH,
    invariance::INVARIANCE,
    invariance::LEAK,
    general::FEW_INPUTS,
    outside::OUTSIDE,
    outside::CONCENTRATION,
    optimum::INSIDE,
    fixed_norm::CHARGE,
    fixed_norm::FIXED_NORM,
    general::ANY_START,
    general::ANY_COVARIANCE,
    general::LITTLE_LEARNT,
    outside::ENSEMBLE,
    depth::LINEARISED,
    depth::SOFTMAX,
    normalised::NORMALISED,
    contextual::CONTEXTUAL,
    contextual::SATURATION,
];
