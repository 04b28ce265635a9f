//! A posterior at another width: what a draw adds deviates from its mean by so many times as much, at the same mean.
//!
//! With the increment `f(x)` of an adapter and its mean `m(x)`, this one adds `m(x) + w (f(x) - m(x))`. So its mean is that of the adapter, and
//! every covariance is `w^2` times the adapter's, whatever the posterior is. It is for predictions: nothing trains or saves it.

use std::sync::Arc;

use candle_core::Tensor;

use super::{Activations, Increment, Moments, Parameter, Scratch, StochasticAdapter};
use crate::draw::Draw;
use crate::error::{Error, Result};
use crate::linear::Dependence;
use crate::lora::LowRank;
use crate::slot::Slot;

/// An adapter whose deviations are multiplied by a width.
#[derive(Debug, Clone)]
pub struct Widened {
    inner: Arc<dyn StochasticAdapter>,
    width: f64,
}

impl Widened {
    /// `inner` at `width` times its own deviation: 0 for its mean, 1 for itself.
    ///
    /// # Errors
    /// [`Error::Setting`] for a width that is negative or not finite.
    pub fn new(inner: Arc<dyn StochasticAdapter>, width: f64) -> Result<Self> {
        if !(width.is_finite() && width >= 0.0) {
            return Err(Error::Setting { name: "width", got: width, expected: "at least 0" });
        }
        Ok(Self { inner, width })
    }

    /// `mean + w (drawn - mean)`; one mean may serve all samples.
    fn widen(&self, drawn: &Tensor, mean: &Tensor) -> Result<Tensor> {
        Ok((drawn * self.width)?.broadcast_add(&(mean * (1.0 - self.width))?)?)
    }

    /// The same, value by value, into `drawn`.
    fn widen_values(&self, drawn: &mut [f32], mean: &[f32]) {
        #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
        let width = self.width as f32;
        for own in drawn.chunks_mut(mean.len().max(1)) {
            own.iter_mut().zip(mean).for_each(|(drawn, mean)| *drawn = mean + width * (*drawn - mean));
        }
    }
}

impl StochasticAdapter for Widened {
    fn increment(&self, slot: Slot, x: &Tensor, draw: &Draw<'_>) -> Result<Increment> {
        if matches!(draw, Draw::Sampled(sampling) if sampling.with_divergence) {
            // That of the adapter would be another posterior's.
            return Err(Error::Setting {
                name: "width",
                got: self.width,
                expected: "no width where the divergence is asked for",
            });
        }
        let drawn = self.inner.increment(slot, x, draw)?;
        if matches!(draw, Draw::Mean) {
            return Ok(drawn);
        }
        let mean = self.inner.increment(slot, x, &Draw::Mean)?;
        let offset = match (&drawn.offset, &mean.offset) {
            (Some(drawn), Some(mean)) => Some(self.widen(drawn, mean)?),
            (Some(drawn), None) => Some((drawn * self.width)?),
            (None, Some(mean)) => Some((mean * (1.0 - self.width))?),
            (None, None) => None,
        };
        Ok(Increment { core: self.widen(&drawn.core, &mean.core)?, offset, ..drawn })
    }

    fn core(
        &self,
        slot: Slot,
        x: Activations<'_>,
        draw: &Draw<'_>,
        scratch: &mut Scratch,
        core: &mut Vec<f32>,
    ) -> Result<usize> {
        let samples = self.inner.core(slot, x, draw, scratch, core)?;
        if matches!(draw, Draw::Sampled(_)) {
            let mut mean = Vec::new();
            self.inner.core(slot, x, &Draw::Mean, scratch, &mut mean)?;
            self.widen_values(core, &mean);
        }
        Ok(samples)
    }

    fn has_offset(&self) -> bool {
        self.inner.has_offset()
    }

    /// The adapter's own offset goes with its own core, not with the one that was widened.
    fn add_offset(
        &self,
        slot: Slot,
        x: Activations<'_>,
        draw: &Draw<'_>,
        scratch: &mut Scratch,
        core: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        if matches!(draw, Draw::Mean) || !self.inner.has_offset() {
            return self.inner.add_offset(slot, x, draw, scratch, core, out);
        }
        let mut offset_of = |draw: &Draw<'_>| -> Result<Vec<f32>> {
            let mut core = Vec::new();
            let samples = self.inner.core(slot, x, draw, scratch, &mut core)?;
            let d_out = self.inner.low_rank().b().dims()[0];
            let mut offset = vec![0.0; samples * x.rows * d_out];
            self.inner.add_offset(slot, x, draw, scratch, &core, &mut offset)?;
            Ok(offset)
        };
        let mut offset = offset_of(draw)?;
        let mean = offset_of(&Draw::Mean)?;
        self.widen_values(&mut offset, &mean);
        out.iter_mut().zip(&offset).for_each(|(out, offset)| *out += offset);
        Ok(())
    }

    fn mean_core(&self, slot: Slot, x: &Tensor) -> Result<Tensor> {
        self.inner.mean_core(slot, x)
    }

    fn low_rank(&self) -> &LowRank {
        self.inner.low_rank()
    }

    /// None: a file of the adapter's own would have its width.
    fn parameters(&self) -> Vec<Parameter<'_>> {
        Vec::new()
    }

    fn first_order_covariance(&self, dependence: Dependence<'_>) -> Result<Vec<f64>> {
        let square = self.width * self.width;
        Ok(self.inner.first_order_covariance(dependence)?.into_iter().map(|entry| square * entry).collect())
    }

    fn moments(&self, x: &Tensor) -> Result<Moments> {
        let own = self.inner.moments(x)?;
        Ok(Moments { weights: (&own.weights * (self.width * self.width))?, ..own })
    }
}

#[cfg(test)]
mod tests;
