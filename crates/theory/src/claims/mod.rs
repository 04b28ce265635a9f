//! The claims, as data: what is stated, under which assumptions, which wrong variants must be refuted, and the check.
//!
//! Their derivations are the crate's documentation.

mod claim;
mod contextual;
mod depth;
mod estimation;
mod figures;
mod fixed_norm;
mod gates;
mod general;
mod growth;
mod input_site;
mod invariance;
mod moments;
mod normalised;
mod optimum;
mod outside;
mod posteriors;
mod stream;
mod symmetry;
mod tokens;
mod training;

pub use claim::{Claim, Grid, Law};
pub use figures::draw;

/// Every claim, in the order of the table.
pub const CLAIMS: &[Claim] = &[
    moments::MEAN,
    moments::COVARIANCE,
    moments::RATE,
    estimation::SAMPLED,
    estimation::ATTENUATION,
    tokens::SCOPES,
    tokens::ATTENTION,
    growth::RAY,
    growth::NO_GROWTH,
    invariance::INVARIANCE,
    invariance::LEAK,
    symmetry::ADAMW,
    general::FEW_INPUTS,
    outside::OUTSIDE,
    outside::CONCENTRATION,
    optimum::INSIDE,
    fixed_norm::CHARGE,
    symmetry::ANY_LOSS,
    fixed_norm::FIXED_NORM,
    general::ANY_START,
    general::ANY_COVARIANCE,
    general::LITTLE_LEARNT,
    input_site::UNTOUCHED,
    input_site::TRAINED,
    input_site::TRAINED_RATIO,
    outside::ENSEMBLE,
    depth::LINEARISED,
    depth::SOFTMAX,
    normalised::NORMALISED,
    stream::GAIN,
    stream::RESIDUAL,
    stream::LAYERS,
    posteriors::ISOTROPIC,
    posteriors::MEAN_FIELD,
    posteriors::LAPLACE,
    gates::GATES,
    contextual::CONTEXTUAL,
    contextual::SATURATION,
];
