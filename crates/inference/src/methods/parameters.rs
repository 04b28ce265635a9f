//! What methods share in reading, checking and recording their parameters.

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Reads parameters, refusing unknown ones.
pub(super) fn read<T: DeserializeOwned>(parameters: toml::Table) -> Result<T, String> {
    parameters.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
}

/// Refuses a probability outside `[0, 1)`.
pub(super) fn check_dropout(p: f64) -> Result<(), String> {
    bayeslora_adapters::KeepProbability::from_dropout(p).map(|_| ()).map_err(|error| error.to_string())
}

/// Refuses a number that is not positive.
pub(super) fn check_positive(name: &str, value: f64) -> Result<(), String> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(format!("{name} is {value}; expected a positive number"))
    }
}

/// Refuses a number below 0.
pub(super) fn check_not_negative(name: &str, value: f64) -> Result<(), String> {
    if value.is_finite() && value >= 0.0 { Ok(()) } else { Err(format!("{name} is {value}; expected at least 0")) }
}

/// Refuses a count below `least`.
pub(super) fn check_count(name: &str, value: u32, least: u32) -> Result<(), String> {
    if value >= least { Ok(()) } else { Err(format!("{name} is {value}; expected at least {least}")) }
}

/// A parameter that does not fit the context, which only the fit can see.
pub(super) fn refused(what: String, expected: String) -> Error {
    Error::Parameter { what, expected }
}

/// The parameters as recorded.
pub(super) fn recorded(kind: &str, parameters: &impl serde::Serialize) -> serde_json::Value {
    serde_json::json!({ "kind": kind, "parameters": parameters })
}
