//! IVON, the improved variational online Newton method (Shen et al., arXiv 2402.17641, algorithm 1): natural-gradient steps of a Gaussian
//! with a diagonal covariance, `theta ~ N(m, sigma^2)`, `sigma^2 = 1 / (lambda (h + delta))`.
//!
//! At a drawn `theta` with gradient `g` of the mean loss:
//!
//! ```text
//! f = g (theta - m) / sigma^2                                           the reparametrised estimate of the curvature
//! v <- beta1 v + (1 - beta1) g
//! h <- beta2 h + (1 - beta2) f + (1 - beta2)^2 (h - f)^2 / (2 (h + delta))
//! m <- m - rate clip((v / (1 - beta1^t) + delta m) / (h + delta), radius)
//! ```
//!
//! The last part of `h` is the correction that a step on the manifold of positive numbers needs: with it `h + delta` at least halves and never
//! becomes negative, whatever `f` is. The authors' package multiplies `rate` by `h0 + delta`, so that the first step is one of gradient
//! descent at that rate; their paper does not. `rescaled` says which.

use candle_core::Tensor;

use crate::error::Result;

/// Constants of IVON.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ivon {
    /// Peak learning rate; follows the schedule.
    pub rate: f64,
    /// Decay `beta1` of the momentum `v`.
    pub beta1: f64,
    /// Decay `beta2` of the curvature `h`.
    pub beta2: f64,
    /// Weight decay `delta`: the prior is `N(0, 1 / (lambda delta))`.
    pub decay: f64,
    /// Effective sample size `lambda`.
    pub sample_size: f64,
    /// Curvature `h0` before the first step.
    pub initial_curvature: f64,
    /// Largest change of an entry before the rate, where there is a limit.
    pub clip_radius: Option<f64>,
    /// Whether the momentum is divided by `1 - beta1^t`.
    pub debiased: bool,
    /// Whether the rate is multiplied by `h0 + delta`.
    pub rescaled: bool,
}

/// What IVON knows of some weights.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// `m`.
    pub(super) mean: Tensor,
    /// `v`.
    pub(super) momentum: Tensor,
    /// `h`.
    pub(super) curvature: Tensor,
}

impl Ivon {
    /// `sigma` before the first step, `(lambda (h0 + delta))^(-1/2)`.
    pub fn initial_sd(&self) -> f64 {
        1.0 / (self.sample_size * (self.initial_curvature + self.decay)).sqrt()
    }

    /// `log sigma` at the curvature `h`.
    pub(super) fn log_sd(&self, curvature: &Tensor) -> Result<Tensor> {
        Ok((((curvature + self.decay)? * self.sample_size)?.log()? * -0.5)?)
    }

    /// The state after update number `step`, from 1: `gradient` is `g`, and `by_log_sd` is `g (theta - m)`, the derivative by `log sigma`.
    pub(super) fn next(
        &self,
        state: &State,
        (gradient, by_log_sd): (&Tensor, &Tensor),
        factor: f64,
        step: u32,
    ) -> Result<State> {
        let Self { beta1, beta2, decay, .. } = *self;
        let momentum = ((&state.momentum * beta1)? + (gradient * (1.0 - beta1))?)?;
        let damped = (&state.curvature + decay)?;
        let estimate = (by_log_sd.mul(&damped)? * self.sample_size)?;
        let correction = (&state.curvature - &estimate)?.sqr()?.div(&damped)?;
        let curvature = ((&state.curvature * beta2)? + (estimate * (1.0 - beta2))?)?;
        let curvature = (curvature + (correction * (0.5 * (1.0 - beta2).powi(2)))?)?;
        let bias = if self.debiased { 1.0 - beta1.powf(f64::from(step)) } else { 1.0 };
        let direction = ((&momentum / bias)? + (&state.mean * decay)?)?.div(&(&curvature + decay)?)?;
        let direction = match self.clip_radius {
            None => direction,
            Some(radius) => direction.clamp(-radius, radius)?,
        };
        let scale = if self.rescaled { self.initial_curvature + decay } else { 1.0 };
        let mean = (&state.mean - (direction * (self.rate * factor * scale))?)?;
        Ok(State { mean, momentum, curvature })
    }
}
