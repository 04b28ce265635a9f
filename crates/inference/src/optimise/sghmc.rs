//! Cyclical SGHMC (Zhang et al., arXiv 1902.03932, section 3 and appendix; SGHMC itself: Chen et al., arXiv 1402.4102): gradient descent with
//! momentum and with as much noise as makes the posterior its stationary law, at a rate that falls from its peak to 0 in each cycle.
//!
//! For a mean loss `U / N` with gradient `g`, at step `k` of a cycle of `C` steps, both from 0:
//!
//! ```text
//! l = rate (1 + cos(pi k / C)) / 2
//! v <- (1 - eta) v - l g + sqrt(2 eta l T / N) n
//! theta <- theta + v
//! ```
//!
//! The noise comes after the first steps of each cycle, which explore. With friction `eta = 1` nothing is left of `v`, and the step is one of
//! SGLD (Welling and Teh, 2011). The authors' code divides `T` by `N` once more, as its default is `T = 1 / N`.

use bayeslora_adapters::{Address, Noise, Slot};
use candle_core::Tensor;

use crate::error::Result;

/// Constants of cyclical SGHMC.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sghmc {
    /// Rate `l` at the start of a cycle; it has a schedule of its own.
    pub rate: f64,
    /// Friction `eta`, above 0 and at most 1.
    pub friction: f64,
    /// `T / N`: temperature over the number of examples that the mean loss is a mean of.
    pub heat: f64,
    /// Steps `C` of a cycle, at least 1.
    pub cycle: u32,
    /// Steps at the start of a cycle without noise.
    pub exploring: u32,
    /// Where the noise comes from.
    pub noise: Noise,
}

impl Sghmc {
    /// The rate at `step`, from 0.
    fn rate_at(&self, step: u32) -> f64 {
        let share = f64::from(step % self.cycle.max(1)) / f64::from(self.cycle.max(1));
        self.rate * (1.0 + (std::f64::consts::PI * share).cos()) / 2.0
    }

    /// Value and velocity of parameter number `index` after `step`, from 0.
    pub(super) fn next(
        &self,
        (value, velocity): (&Tensor, &Tensor),
        gradient: &Tensor,
        index: usize,
        step: u32,
    ) -> Result<(Tensor, Tensor)> {
        let rate = self.rate_at(step);
        let mut velocity = ((velocity * (1.0 - self.friction))? - (gradient * rate)?)?;
        if step % self.cycle.max(1) >= self.exploring {
            let mut normals = vec![0.0; value.elem_count()];
            let at = Address { slot: Slot::NONE, sample: step, example: index as u64, position: Address::ANY };
            self.noise.fill_normal(at, &mut Vec::new(), &mut normals);
            let normals = Tensor::from_vec(normals, value.shape(), value.device())?;
            velocity = (velocity + (normals * (2.0 * self.friction * rate * self.heat).sqrt())?)?;
        }
        Ok(((value + &velocity)?, velocity))
    }
}
