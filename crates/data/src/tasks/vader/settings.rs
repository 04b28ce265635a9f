//! How the rated movie snippets are split.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Shares of the movie snippets.
///
/// | name | default | range |
/// |---|---|---|
/// | `train-fraction` | 0.7 | (0, 1) |
/// | `validation-fraction` | 0.1 | (0, 1), the two sum to less than 1; the rest is the test set |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct VaderSettings {
    /// Share of the movie snippets to fit on.
    pub(super) train_fraction: f64,
    /// Share of the movie snippets to validate on.
    pub(super) validation_fraction: f64,
}

impl Default for VaderSettings {
    fn default() -> Self {
        Self { train_fraction: 0.7, validation_fraction: 0.1 }
    }
}

impl VaderSettings {
    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::TaskSetting`] for the first setting out of range.
    pub(super) fn check(&self) -> Result<()> {
        let fraction = |setting, value: f64| {
            if value > 0.0 && value < 1.0 {
                return Ok(());
            }
            Err(Error::TaskSetting {
                setting,
                got: value.to_string(),
                expected: "a number between 0 and 1, both excluded",
            })
        };
        fraction("train-fraction", self.train_fraction)?;
        fraction("validation-fraction", self.validation_fraction)?;
        let sum = self.train_fraction + self.validation_fraction;
        if sum >= 1.0 {
            return Err(Error::TaskSetting {
                setting: "train-fraction + validation-fraction",
                got: sum.to_string(),
                expected: "less than 1: the rest is the test set",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named_with_their_value() {
        let refusal = |train_fraction, validation_fraction| {
            VaderSettings { train_fraction, validation_fraction }.check().unwrap_err().to_string()
        };
        assert!(VaderSettings::default().check().is_ok());
        assert_eq!(refusal(1.0, 0.1), "train-fraction is 1, expected a number between 0 and 1, both excluded");
        assert!(refusal(0.7, f64::NAN).starts_with("validation-fraction is NaN"));
        assert_eq!(
            refusal(0.75, 0.25),
            "train-fraction + validation-fraction is 1, expected less than 1: the rest is the test set"
        );
    }
}
