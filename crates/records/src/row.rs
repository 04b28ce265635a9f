//! Names of rows: which predictive of which method, as it is or with a temperature.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::record::{DISTANCES, TEMPERED};

/// How a fit is read as a predictive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reading {
    /// One deterministic pass at the mean of the posterior.
    Mean,
    /// Monte-Carlo samples of the posterior.
    Sampled,
    /// One deterministic pass per member.
    Members,
    /// Samples of Gaussian logits: the network linearised at the mean of the posterior.
    Linearised,
}

impl Reading {
    /// Every reading.
    pub const ALL: [Self; 4] = [Self::Mean, Self::Sampled, Self::Members, Self::Linearised];

    /// The word in row identifiers.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Sampled => "sampled",
            Self::Members => "members",
            Self::Linearised => "linearised",
        }
    }
}

/// Identifier of a row of the tables.
///
/// As text it is `<method>`, or `<method>/<reading>` where a method has several readings; `+temperature` follows where the logits are
/// divided by the row's own temperature. `+distances` is what compares the plain distances of the adapters' input: it belongs to no row.
///
/// ```
/// use bayeslora_records::{Reading, RowId};
/// let row = RowId::of("swag", Some(Reading::Sampled));
/// assert_eq!(row.tempered().to_string(), "swag/sampled+temperature");
/// assert_eq!("swag/sampled".parse(), Ok(row));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowId {
    /// A method read in one way.
    Predictive {
        /// Identifier of the method in the experiment file.
        method: String,
        /// Which reading, where the method has several.
        reading: Option<Reading>,
        /// Whether its logits are divided by a temperature fitted on validation.
        tempered: bool,
    },
    /// Plain distances of a text from the training texts.
    Distances,
}

/// Texts that predictions are kept of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texts<'a> {
    /// The validation split.
    Validation,
    /// A test set, by its identifier.
    Domain(&'a str),
}

impl RowId {
    /// The row of a method, as it is predicted.
    pub fn of(method: impl Into<String>, reading: Option<Reading>) -> Self {
        Self::Predictive { method: method.into(), reading, tempered: false }
    }

    /// The same row with its logits divided by its temperature; distances have none and stay themselves.
    #[must_use]
    pub fn tempered(&self) -> Self {
        self.with_temperature(true)
    }

    /// The same row as it is predicted.
    #[must_use]
    pub fn untempered(&self) -> Self {
        self.with_temperature(false)
    }

    fn with_temperature(&self, tempered: bool) -> Self {
        match self.clone() {
            Self::Predictive { method, reading, .. } => Self::Predictive { method, reading, tempered },
            Self::Distances => Self::Distances,
        }
    }

    /// Whether its logits are divided by its temperature.
    pub fn is_tempered(&self) -> bool {
        matches!(self, Self::Predictive { tempered: true, .. })
    }

    /// Its method; none for the distances.
    pub fn method(&self) -> Option<&str> {
        match self {
            Self::Predictive { method, .. } => Some(method),
            Self::Distances => None,
        }
    }

    /// Name under which its predictions of some texts are kept.
    pub fn kept_name(&self, texts: Texts<'_>) -> String {
        match texts {
            Texts::Validation => format!("{self}.+validation"),
            Texts::Domain(domain) => format!("{self}.{domain}"),
        }
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Distances => f.pad(DISTANCES),
            Self::Predictive { method, reading, tempered } => {
                f.write_str(method)?;
                if let Some(reading) = reading {
                    write!(f, "/{}", reading.word())?;
                }
                f.write_str(if *tempered { TEMPERED } else { "" })
            }
        }
    }
}

impl FromStr for RowId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == DISTANCES {
            return Ok(Self::Distances);
        }
        let (row, tempered) = text.strip_suffix(TEMPERED).map_or((text, false), |row| (row, true));
        let (method, reading) = match row.split_once('/') {
            None => (row, None),
            Some((method, word)) => {
                if let Some(reading) = Reading::ALL.into_iter().find(|reading| reading.word() == word) {
                    (method, Some(reading))
                } else {
                    let words: Vec<&str> = Reading::ALL.into_iter().map(Reading::word).collect();
                    return Err(format!("the row \"{text}\" is read as \"{word}\"; expected {}", words.join(", ")));
                }
            }
        };
        if method.is_empty() || method.contains('+') {
            return Err(format!("\"{text}\" is no row; expected METHOD or METHOD/READING, with {TEMPERED} or without"));
        }
        Ok(Self::Predictive { method: method.to_owned(), reading, tempered })
    }
}

impl Serialize for RowId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RowId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_back_from_its_text() {
        for text in [
            "mle",
            "c-lora/mean",
            "mc-dropout_1.5/linearised",
            "mle+temperature",
            "tfb/sampled+temperature",
            "+distances",
        ] {
            let row: RowId = text.parse().unwrap();
            assert_eq!(row.to_string(), text);
            let json = serde_json::to_string(&row).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<RowId>(&json).unwrap(), row);
        }
    }

    #[test]
    fn what_is_no_row_is_refused_by_its_text() {
        for (text, says) in [
            ("mle/mode", "is read as \"mode\"; expected mean, sampled, members, linearised"),
            ("", "\"\" is no row"),
            ("+validation", "\"+validation\" is no row; expected METHOD or METHOD/READING"),
            ("/mean", "is no row"),
        ] {
            let refused = text.parse::<RowId>().unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }

    #[test]
    fn a_temperature_is_put_on_and_taken_off_and_predictions_have_names() {
        let row = RowId::of("swag", Some(Reading::Sampled));
        assert!(row.tempered().is_tempered() && row.tempered().untempered() == row);
        assert_eq!(RowId::Distances.tempered(), RowId::Distances);
        assert_eq!(row.kept_name(Texts::Validation), "swag/sampled.+validation");
        assert_eq!(row.kept_name(Texts::Domain("movies")), "swag/sampled.movies");
        assert_eq!((row.method(), RowId::Distances.method()), (Some("swag"), None));
    }
}
