//! What a row gave every text of a test set: enough to derive its scores and tests again from the records alone.

use serde::{Deserialize, Serialize};

/// Columns over the texts of a test set, in the order of the set, with four significant digits.
///
/// A column that follows from others is left out: of two classes the label's probability says the top probability, the Brier score and the
/// entropy. What needs labels is empty where there are none, and disagreement where a row has one sample.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerText {
    /// Probability of the label, `p(y)`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label_probability: Vec<f64>,
    /// The predicted class.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub predicted: Vec<usize>,
    /// Probability of the predicted class.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top_probability: Vec<f64>,
    /// Brier score, in [0, 2].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub brier: Vec<f64>,
    /// Predictive entropy, nats.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub predictive_entropy: Vec<f64>,
    /// Mutual information of prediction and sample, nats.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mutual_information: Vec<f64>,
}

/// The nearest number of four significant digits: a mean over hundreds of texts keeps the digits that tables print.
pub fn four_digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_digits_are_relative_and_columns_that_are_empty_take_no_room() {
        let rounded = [0.987_654, 1.234_56e-7, 0.0, -2.0].map(four_digits);
        assert_eq!(rounded.map(f64::to_bits), [0.9877, 1.235e-7, 0.0, -2.0].map(f64::to_bits));
        let column = PerText { label_probability: vec![0.5, 1.235e-7], predicted: vec![1, 0], ..PerText::default() };
        let text = serde_json::to_string(&column).unwrap();
        assert_eq!(text, r#"{"label_probability":[0.5,1.235e-7],"predicted":[1,0]}"#);
        assert_eq!(serde_json::from_str::<PerText>(&text).unwrap(), column);
    }
}
