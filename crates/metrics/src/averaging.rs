//! How Monte-Carlo samples become one distribution: `mean_s softmax(z_s)` or `softmax(mean_s z_s)`.

use std::{fmt, str::FromStr};

use crate::error::Error;

/// What is averaged over the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub enum Averaging {
    /// The probabilities, `(1/S) sum_s softmax(z_s)`: the Monte-Carlo estimate of the predictive distribution.
    #[default]
    #[serde(rename = "mean-probs")]
    Probabilities,
    /// The logits, `softmax((1/S) sum_s z_s)`: the normalised geometric mean of the sampled distributions.
    #[serde(rename = "mean-logits")]
    Logits,
}

impl fmt::Display for Averaging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Probabilities => "mean-probs",
            Self::Logits => "mean-logits",
        })
    }
}

impl FromStr for Averaging {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        match word {
            "mean-probs" => Ok(Self::Probabilities),
            "mean-logits" => Ok(Self::Logits),
            _ => Err(Error::UnknownAveraging { word: word.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_on_the_command_line_and_in_records() {
        for averaging in [Averaging::Probabilities, Averaging::Logits] {
            assert_eq!(averaging.to_string().parse(), Ok(averaging));
            assert_eq!(serde_json::to_string(&averaging).unwrap(), format!("\"{averaging}\""));
        }
        let error = "probs".parse::<Averaging>().unwrap_err();
        assert_eq!(error.to_string(), "unknown averaging `probs`, expected mean-probs or mean-logits");
    }
}
