//! Sizes, prior and first deviations of inducing matrices.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Settings of the inducing matrices.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct InducingSettings {
    /// Rows of an inducing matrix, at most those of its factor.
    pub rows: usize,
    /// Columns of an inducing matrix, at most those of its factor.
    pub columns: usize,
    /// Standard deviation `sigma_p` of every entry of a factor under the prior.
    pub prior_sd: f64,
    /// Deviation `s` of the entries of `V` before training.
    pub initial_sd: f64,
    /// Largest `s`.
    pub largest_sd: f64,
    /// `lambda` before training.
    pub initial_scale: f64,
    /// Largest `lambda`.
    pub largest_scale: f64,
}

impl Default for InducingSettings {
    /// The authors' configuration, but for the prior.
    fn default() -> Self {
        Self {
            rows: 9,
            columns: 9,
            prior_sd: 0.2,
            initial_sd: 1e-3,
            largest_sd: 0.1,
            initial_scale: 1e-3,
            largest_scale: 0.03,
        }
    }
}

impl InducingSettings {
    /// Refuses what is outside its range.
    pub(super) fn check(&self) -> Result<()> {
        for (name, got) in [("rows", self.rows), ("columns", self.columns)] {
            if got == 0 {
                return Err(Error::Setting { name, got: 0.0, expected: "at least 1" });
            }
        }
        for (name, got) in [
            ("prior-sd", self.prior_sd),
            ("initial-sd", self.initial_sd),
            ("largest-sd", self.largest_sd),
            ("initial-scale", self.initial_scale),
            ("largest-scale", self.largest_scale),
        ] {
            if !(got.is_finite() && got > 0.0) {
                return Err(Error::Setting { name, got, expected: "a positive number" });
            }
        }
        // A start beyond its limit would be cut to it in silence.
        for (name, got, first, expected) in [
            ("largest-sd", self.largest_sd, self.initial_sd, "at least initial-sd"),
            ("largest-scale", self.largest_scale, self.initial_scale, "at least initial-scale"),
        ] {
            if got < first {
                return Err(Error::Setting { name, got, expected });
            }
        }
        Ok(())
    }
}
