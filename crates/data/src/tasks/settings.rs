//! What every task's `[data]` may say, whatever the task.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::corruption::{Corruption, STRENGTHS};
use crate::error::{Error, Result};
use crate::suggest::unknown;

/// Order, sizes, label noise and corruptions.
///
/// | name | default | range |
/// |---|---|---|
/// | `split-seed` | 0 | any |
/// | `max-train`, `max-validation`, `max-test` | none | 2 or more |
/// | `train-per-seed` | none | 2 or more, fewer than the training examples: each seed trains on its own draw of so many |
/// | `max-examples-per-shifted-domain` | none | 2 or more |
/// | `label-noise` | 0 | [0, 1): probability that the label of a training example is another class |
/// | `corruptions` | none | `typos`, `word-drop`, `word-shuffle`: further test sets made from that of the training domain |
/// | `corruption-strengths` | 1 to 5 | 1 to 5 |
///
/// A cap keeps a prefix of the seeded order: a larger cap adds examples and changes none. Label noise and corruptions depend on the
/// seed and the identifier of an example only, so neither caps nor the order of a file change what happens to it; more noise and
/// greater strength leave changed what less had changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DataSettings {
    /// Seed of the splits, of the order, of label noise and of corruptions.
    pub split_seed: u64,
    /// Cap on the training examples.
    pub max_train: Option<usize>,
    /// Training examples of a seed's own draw, without replacement; without it all seeds train on all.
    pub train_per_seed: Option<usize>,
    /// Cap on the validation examples.
    pub max_validation: Option<usize>,
    /// Cap on the test examples of the training domain.
    pub max_test: Option<usize>,
    /// Cap on the examples of every other test set, corrupted ones included.
    pub max_examples_per_shifted_domain: Option<usize>,
    /// Probability that a training label is replaced by another one; validation and test labels stay as published.
    pub label_noise: f64,
    /// How the test set is corrupted.
    pub corruptions: Vec<Corruption>,
    /// How strongly.
    pub corruption_strengths: Vec<u8>,
}

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            split_seed: 0,
            max_train: None,
            train_per_seed: None,
            max_validation: None,
            max_test: None,
            max_examples_per_shifted_domain: None,
            label_noise: 0.0,
            corruptions: Vec::new(),
            corruption_strengths: STRENGTHS.collect(),
        }
    }
}

impl DataSettings {
    /// Checks every range.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |setting, got: String, expected| Err(Error::TaskSetting { setting, got, expected });
        for (setting, cap) in [
            ("max-train", self.max_train),
            ("train-per-seed", self.train_per_seed),
            ("max-validation", self.max_validation),
            ("max-test", self.max_test),
            ("max-examples-per-shifted-domain", self.max_examples_per_shifted_domain),
        ] {
            // Deviations and intervals need two.
            if let Some(cap @ 0..=1) = cap {
                return refuse(setting, cap.to_string(), "2 or more, or no cap");
            }
        }
        if !(0.0..1.0).contains(&self.label_noise) {
            return refuse("label-noise", self.label_noise.to_string(), "a probability of at least 0 and below 1");
        }
        if let Some(twice) = repeated(&self.corruptions) {
            return refuse("corruptions", format!("\"{twice}\" twice"), "each kind once");
        }
        if let Some(strength) = self.corruption_strengths.iter().find(|strength| !STRENGTHS.contains(strength)) {
            return refuse("corruption-strengths", strength.to_string(), "strengths from 1 to 5");
        }
        if let Some(twice) = repeated(&self.corruption_strengths) {
            return refuse("corruption-strengths", format!("{twice} twice"), "each strength once");
        }
        if !self.corruptions.is_empty() && self.corruption_strengths.is_empty() {
            return refuse("corruption-strengths", "empty".to_owned(), "at least one strength from 1 to 5");
        }
        Ok(())
    }
}

fn repeated<T: PartialEq>(values: &[T]) -> Option<&T> {
    values.iter().enumerate().find(|(place, value)| values[..*place].contains(value)).map(|(_, value)| value)
}

/// Reads the common settings and a task's `own`, refusing a name that is neither's.
pub(super) fn read<T: Default + Serialize + DeserializeOwned>(
    mut table: toml::Table,
) -> Result<(DataSettings, T), String> {
    let (common, own) = (names(&DataSettings::default()), names(&T::default()));
    if let Some(name) = table.keys().find(|name| !common.contains(name) && !own.contains(name)) {
        return Err(unknown("data setting", name, common.iter().chain(&own).map(String::as_str)));
    }
    let rest: toml::Table = own.iter().filter_map(|name| table.remove_entry(name)).collect();
    Ok((typed(table)?, typed(rest)?))
}

/// The names of a settings struct's fields, those without a value included.
fn names(settings: &impl Serialize) -> Vec<String> {
    match serde_json::to_value(settings) {
        Ok(serde_json::Value::Object(fields)) => fields.into_iter().map(|(name, _)| name).collect(),
        _ => Vec::new(),
    }
}

fn typed<T: DeserializeOwned>(table: toml::Table) -> Result<T, String> {
    table.try_into().map_err(|error: toml::de::Error| format!("data: {}", error.to_string().trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
    struct Own {
        train_fraction: f64,
    }

    fn settings(text: &str) -> Result<(DataSettings, Own), String> {
        read(text.parse().unwrap())
    }

    #[test]
    fn a_file_gives_some_settings_of_either_and_no_unknown_ones() {
        let (common, own) = settings("max-train = 300\ntrain-fraction = 0.5\ncorruptions = ['typos']").unwrap();
        assert_eq!(own, Own { train_fraction: 0.5 });
        let expected =
            DataSettings { max_train: Some(300), corruptions: vec![Corruption::Typos], ..DataSettings::default() };
        assert_eq!(common, expected);
        let message = settings("max-trian = 300").unwrap_err();
        assert!(message.starts_with("unknown data setting \"max-trian\"; did you mean \"max-train\"?"), "{message}");
        let message = settings("train-fractoin = 0.5").unwrap_err();
        assert!(message.contains("did you mean \"train-fraction\"?"), "{message}");
        let message = settings("max-train = -1").unwrap_err();
        assert!(message.contains("max-train") && message.contains("-1"), "{message}");
        let message = settings("corruptions = ['typo']").unwrap_err();
        assert!(message.contains("typo") && message.contains("word-drop"), "{message}");
    }

    #[test]
    fn settings_out_of_range_are_named_with_their_value() {
        let refusal = |text: &str| settings(text).unwrap().0.check().unwrap_err().to_string();
        assert_eq!(refusal("max-test = 0"), "max-test is 0, expected 2 or more, or no cap");
        let noise = "expected a probability of at least 0 and below 1";
        assert_eq!(refusal("label-noise = 1.0"), format!("label-noise is 1, {noise}"));
        assert_eq!(refusal("label-noise = nan"), format!("label-noise is NaN, {noise}"));
        assert_eq!(
            refusal("corruptions = ['typos', 'typos']"),
            "corruptions is \"typos\" twice, expected each kind once"
        );
        assert_eq!(
            refusal("corruption-strengths = [1, 6]"),
            "corruption-strengths is 6, expected strengths from 1 to 5"
        );
        assert_eq!(
            refusal("corruption-strengths = [1, 1]"),
            "corruption-strengths is 1 twice, expected each strength once"
        );
        assert_eq!(
            refusal("corruptions = ['typos']\ncorruption-strengths = []"),
            "corruption-strengths is empty, expected at least one strength from 1 to 5"
        );
    }
}
