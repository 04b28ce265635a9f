//! From predictions to numbers: scores of one predictive, and what a score knows beyond one pass.

pub(crate) mod beyond;
pub(crate) mod distances;
pub(crate) mod scored;
