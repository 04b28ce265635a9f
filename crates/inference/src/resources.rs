//! What a computation may use: a device, a type of numbers, memory.

use bayeslora_models::{Backbone, Place, Precision};

use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::prefix::ROWS_PER_PASS;

/// What a computation may use.
#[derive(Debug, Clone)]
pub struct Resources {
    /// Where networks are computed, and in which type. Default: a processor, in f32.
    pub place: Place,
    /// Bytes that activations may take. Default: half of the machine's memory.
    pub memory: u64,
}

impl Default for Resources {
    fn default() -> Self {
        Self { place: Place::default(), memory: Budget::default().limit() }
    }
}

/// Activations of a block that a pass has in memory together, in widths of the network: input, queries, keys, values, what is attended to and
/// its sum, and as much again of a half that is being joined.
const WIDTHS_OF_A_PASS: u64 = 12;
/// The same in inner widths: gate, inner values and their product.
const INNER_WIDTHS_OF_A_PASS: u64 = 3;

impl Resources {
    /// What the budget has left for activations that wait, beside those of a pass of texts of at most `longest` tokens.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the least that would do, where one pass exceeds the budget.
    pub fn room(&self, backbone: &Backbone, longest: usize) -> Result<Budget> {
        let widths = WIDTHS_OF_A_PASS * backbone.width() as u64;
        let inner = INNER_WIDTHS_OF_A_PASS * backbone.inner_width() as u64;
        let least = (4 * (widths + inner)).saturating_mul(longest.max(ROWS_PER_PASS) as u64);
        match self.memory.checked_sub(least) {
            Some(left) => Ok(Budget::new(left)),
            None => Err(Error::Parameter {
                what: format!("--memory of {} MiB is less than one pass through this model takes", self.memory >> 20),
                expected: format!("give at least {} MiB, or cut texts to fewer tokens", least.div_ceil(1 << 20)),
            }),
        }
    }
}

/// Refuses samples in less than f32: their spread would be of rounding as well as of the posterior.
///
/// Measured on a decoder with a short-trained adapter: logits in bf16 are off by twice the deviation that dropout gives them, and the
/// variance of samples is half as large again.
///
/// # Errors
/// [`Error::Parameter`] naming what is sampled.
pub fn check_samples(place: &Place, sampled: &str) -> Result<()> {
    match place.precision {
        Precision::F32 => Ok(()),
        precision @ Precision::Bf16 => Err(Error::Parameter {
            what: format!(
                "--precision {precision} for {sampled}, whose spread would be of rounding as well as of the posterior"
            ),
            expected: "choose --precision f32, or what is not sampled (a mean, an ensemble, Gaussian logits)"
                .to_owned(),
        }),
    }
}
