//! How the rated snippets are split and how many are used.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Splits of the movie snippets and caps on every set.
///
/// | name | default | range |
/// |---|---|---|
/// | `split-seed` | 0 | any |
/// | `train-fraction` | 0.7 | (0, 1) |
/// | `validation-fraction` | 0.1 | (0, 1), the two sum to less than 1; the rest is the test set |
/// | `max-train`, `max-validation`, `max-test` | none | 1 or more |
/// | `max-examples-per-shifted-domain` | none | 1 or more |
///
/// A cap keeps a prefix of the seeded order: a larger cap adds examples and changes none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct VaderSettings {
    /// Seed of the split and of the order.
    pub split_seed: u64,
    /// Share of the movie snippets to fit on.
    pub train_fraction: f64,
    /// Share of the movie snippets to validate on.
    pub validation_fraction: f64,
    /// Cap on the training examples.
    pub max_train: Option<usize>,
    /// Cap on the validation examples.
    pub max_validation: Option<usize>,
    /// Cap on the test examples of the movies.
    pub max_test: Option<usize>,
    /// Cap on the examples of each shifted domain.
    pub max_examples_per_shifted_domain: Option<usize>,
}

impl Default for VaderSettings {
    fn default() -> Self {
        Self {
            split_seed: 0,
            train_fraction: 0.7,
            validation_fraction: 0.1,
            max_train: None,
            max_validation: None,
            max_test: None,
            max_examples_per_shifted_domain: None,
        }
    }
}

/// [`VaderSettings`] that can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedVaderSettings(VaderSettings);

impl CheckedVaderSettings {
    /// The values.
    pub fn get(&self) -> &VaderSettings {
        &self.0
    }
}

impl VaderSettings {
    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::TaskSetting`] for the first setting out of range.
    pub fn check(self) -> Result<CheckedVaderSettings> {
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
        for (setting, cap) in [
            ("max-train", self.max_train),
            ("max-validation", self.max_validation),
            ("max-test", self.max_test),
            ("max-examples-per-shifted-domain", self.max_examples_per_shifted_domain),
        ] {
            if cap == Some(0) {
                return Err(Error::TaskSetting { setting, got: "0".to_owned(), expected: "1 or more, or no cap" });
            }
        }
        Ok(CheckedVaderSettings(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(settings: VaderSettings) -> String {
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn settings_out_of_range_are_named_with_their_value() {
        let default = VaderSettings::default;
        assert_eq!(default().check().unwrap().get(), &default());
        assert_eq!(
            refusal(VaderSettings { train_fraction: 1.0, ..default() }),
            "train-fraction is 1, expected a number between 0 and 1, both excluded"
        );
        assert!(
            refusal(VaderSettings { validation_fraction: f64::NAN, ..default() })
                .starts_with("validation-fraction is NaN")
        );
        assert_eq!(
            refusal(VaderSettings { train_fraction: 0.75, validation_fraction: 0.25, ..default() }),
            "train-fraction + validation-fraction is 1, expected less than 1: the rest is the test set"
        );
        assert_eq!(
            refusal(VaderSettings { max_test: Some(0), ..default() }),
            "max-test is 0, expected 1 or more, or no cap"
        );
    }

    #[test]
    fn a_file_gives_some_settings_and_no_unknown_ones() {
        let settings: VaderSettings = toml::from_str("max-train = 300").unwrap();
        assert_eq!(settings, VaderSettings { max_train: Some(300), ..VaderSettings::default() });
        let error = toml::from_str::<VaderSettings>("max-trian = 300").unwrap_err();
        assert!(error.message().contains("unknown field `max-trian`"), "{error}");
    }
}
