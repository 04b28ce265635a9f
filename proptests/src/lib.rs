//! Laws that must hold for all inputs.

#[cfg(test)]
mod metrics_laws;
