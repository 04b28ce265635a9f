//! How heads read their rows, and what becomes of their scores.

use super::context::Mask;

/// How heads read their rows, and what becomes of their scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heads {
    /// Heads of the queries.
    pub queries: usize,
    /// Heads of the keys and values, a divisor of `queries`: each serves as many neighbouring heads of the queries.
    pub keys: usize,
    /// Components of a head.
    pub size: usize,
    /// Factor of the scores.
    pub scale: f32,
    /// The `c` of `c tanh(s / c)`, which scaled scores `s` become where there is one.
    pub cap: Option<f32>,
    /// Which keys are seen.
    pub mask: Mask,
}

impl Heads {
    /// Heads of `size` components with scores over the root of it, without cap.
    #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
    pub fn new(queries: usize, keys: usize, size: usize, mask: Mask) -> Self {
        Self { queries, keys, size, scale: (1.0 / (size as f64).sqrt()) as f32, cap: None, mask }
    }

    /// Whether the parts go together.
    ///
    /// # Errors
    /// When heads of keys do not divide those of queries, when a window sees nothing, or when a number is not a useful one.
    pub fn check(&self) -> candle_core::Result<()> {
        let Self { queries, keys, size, scale, cap, mask } = *self;
        if keys == 0 || queries == 0 || !queries.is_multiple_of(keys) || size == 0 {
            candle_core::bail!("attention: {queries} heads of {size} for {keys} of keys; expected a multiple of these");
        }
        if mask == Mask::Window(0) {
            candle_core::bail!("attention: a window of 0 keys; expected 1 at least, the query's own");
        }
        if !scale.is_finite() || cap.is_some_and(|cap| !(cap.is_finite() && cap > 0.0)) {
            candle_core::bail!("attention: scale {scale}, cap {cap:?}; expected finite numbers, the cap positive");
        }
        Ok(())
    }

    /// Heads of the queries for each of the keys.
    pub(super) fn group(&self) -> usize {
        self.queries / self.keys
    }
}
