//! What is sampled.

/// A log density with its gradient.
pub trait Target: Sync {
    /// Number of parameters, at least 1.
    fn dimension(&self) -> usize;

    /// `log p(at)` up to a constant; `gradient` is overwritten with its gradient.
    ///
    /// # Shapes
    /// `at`, `gradient: [dimension]`.
    fn log_density(&self, at: &[f64], gradient: &mut [f64]) -> f64;
}
