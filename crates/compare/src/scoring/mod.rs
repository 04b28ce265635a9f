//! From predictions to numbers.

pub(crate) mod distances;
pub(crate) mod scored;
