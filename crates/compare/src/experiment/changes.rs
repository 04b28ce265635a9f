//! Changes to a method's settings, by path.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// New values of settings by path: `training.X` is key `X` of the training loop, anything else a parameter of the method, with dots
/// between levels (`posterior.prior-sd`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Changes(pub BTreeMap<String, toml::Value>);

impl Changes {
    /// The changes of the training loop alone.
    pub(crate) fn of_training(&self) -> Self {
        let own = self.0.iter().filter(|(path, _)| path.starts_with("training."));
        Self(own.map(|(path, value)| (path.clone(), value.clone())).collect())
    }

    /// Puts the values into tables of parameters and of training settings.
    ///
    /// # Errors
    /// One line, where a path leads through something that is no table.
    pub(super) fn apply(&self, parameters: &mut toml::Table, training: &mut toml::Table) -> Result<(), String> {
        for (path, value) in &self.0 {
            let (table, path) = match path.strip_prefix("training.") {
                Some(key) => (&mut *training, key),
                None => (&mut *parameters, path.as_str()),
            };
            set(table, path, value)?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Changes {
    /// `learning-rate = 0.002, prior-sd = 0.1`, or `as written`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("as written");
        }
        let words: Vec<String> = self.0.iter().map(|(path, value)| format!("{path} = {value}")).collect();
        f.write_str(&words.join(", "))
    }
}

fn set(table: &mut toml::Table, path: &str, value: &toml::Value) -> Result<(), String> {
    let Some((first, rest)) = path.split_once('.') else {
        table.insert(path.to_owned(), value.clone());
        return Ok(());
    };
    match table.entry(first).or_insert_with(|| toml::Value::Table(toml::Table::new())) {
        toml::Value::Table(inner) => set(inner, rest, value),
        _ => Err(format!("\"{path}\": {first} is no table")),
    }
}

/// Shared settings with a table of other values in them; `section` names them in messages.
///
/// # Errors
/// One line for an unknown key or a value of the wrong kind.
pub(super) fn changed<T: Serialize + DeserializeOwned>(
    shared: &T,
    changes: toml::Table,
    section: &str,
) -> Result<T, String> {
    let mut table = toml::Table::try_from(shared).map_err(|error| error.to_string())?;
    table.extend(changes);
    table.try_into().map_err(|error: toml::de::Error| format!("{section}: {}", error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bayeslora_inference::TrainingSettings;

    #[test]
    fn paths_reach_parameters_of_any_depth_and_the_training_loop() {
        let changes: Changes =
            toml::from_str("'training.learning-rate' = 0.5\n'posterior.prior-sd' = 0.1\nscale = 2").unwrap();
        let mut parameters: toml::Table = "posterior = { hidden = 64, prior-sd = 0.2 }".parse().unwrap();
        let mut training = toml::Table::new();
        changes.apply(&mut parameters, &mut training).unwrap();
        let expected: toml::Table = "posterior = { hidden = 64, prior-sd = 0.1 }\nscale = 2".parse().unwrap();
        assert_eq!((parameters, training.clone()), (expected, "learning-rate = 0.5".parse().unwrap()));
        assert_eq!(changes.of_training().to_string(), "training.learning-rate = 0.5");
        let loop_of = |table| changed(&TrainingSettings::default(), table, "training");
        assert_eq!(loop_of(training).unwrap(), TrainingSettings { learning_rate: 0.5, ..TrainingSettings::default() });
        let unknown = loop_of("learningrate = 0.5".parse().unwrap()).unwrap_err();
        assert!(unknown.contains("unknown field `learningrate`"), "{unknown}");
        let through: Changes = toml::from_str("'scale.x' = 1").unwrap();
        let refused = through.apply(&mut "scale = 2".parse().unwrap(), &mut toml::Table::new()).unwrap_err();
        assert_eq!(refused, "\"scale.x\": scale is no table");
    }
}
