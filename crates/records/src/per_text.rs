//! What a row gave every text of a test set: enough to derive its scores, curves and tests again from the records alone.

use serde::{Deserialize, Serialize};

/// Columns over the texts of a test set, in the order of the set.
///
/// What follows from other columns is left out: the predicted class of a text is its label unless the text is among `wrong`, and of two classes
/// `p(y)` says all but disagreement. What needs labels is empty where there are none, disagreement where a row has one sample, and
/// both uncertainties where a row is tempered.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerText {
    /// Number of classes.
    pub classes: usize,
    /// Probability of the label, `p(y)`: as many digits as give both it and its complement four ([`probability_digits`]).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label_probability: Vec<f64>,
    /// Places of the texts predicted wrongly, from 0, ascending.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<usize>,
    /// The class predicted for each of these; empty for two classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrong_class: Vec<usize>,
    /// Probability of that class; empty for two classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrong_probability: Vec<f64>,
    /// Predictive entropy, nats, four digits; empty for two classes with labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub predictive_entropy: Vec<f64>,
    /// Mutual information of prediction and sample, nats, four digits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mutual_information: Vec<f64>,
    /// Predictive entropy of one deterministic pass of the fit, nats, four digits: that of one of its members. Empty where a row of the fit
    /// is such a pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pass_entropy: Vec<f64>,
}

impl PerText {
    /// The columns without uncertainties, as a tempered row keeps them.
    #[must_use]
    pub fn without_uncertainties(self) -> Self {
        Self { predictive_entropy: Vec::new(), mutual_information: Vec::new(), pass_entropy: Vec::new(), ..self }
    }

    /// Whether every text was predicted right; empty without labels.
    pub fn correct(&self) -> Vec<bool> {
        let mut correct = vec![true; self.label_probability.len()];
        for &place in &self.wrong {
            if let Some(correct) = correct.get_mut(place) {
                *correct = false;
            }
        }
        correct
    }

    /// Probability of the predicted class; empty without labels.
    pub fn top_probability(&self) -> Vec<f64> {
        let mut top = self.label_probability.clone();
        for (number, &place) in self.wrong.iter().enumerate() {
            if let Some(top) = top.get_mut(place) {
                *top = self.wrong_probability.get(number).copied().unwrap_or(1.0 - *top);
            }
        }
        top
    }

    /// Predictive entropy of every text, nats; empty where it was not kept and does not follow.
    pub fn entropy(&self) -> Vec<f64> {
        if self.predictive_entropy.is_empty() && self.classes == 2 {
            return self.label_probability.iter().map(|&p| of_two(p) + of_two(1.0 - p)).collect();
        }
        self.predictive_entropy.clone()
    }

    /// Expected entropy of a sample of every text, nats: the entropy without what samples disagree about. Empty without samples.
    pub fn expected_entropy(&self) -> Vec<f64> {
        self.entropy().iter().zip(&self.mutual_information).map(|(all, disagreement)| all - disagreement).collect()
    }

    /// Brier score of every text, in [0, 2]: of two classes with labels; empty otherwise.
    pub fn brier(&self) -> Vec<f64> {
        let own = if self.classes == 2 { self.label_probability.as_slice() } else { &[] };
        own.iter().map(|p| 2.0 * (1.0 - p).powi(2)).collect()
    }

    /// Negative log-likelihood of every text, nats; empty without labels.
    pub fn negative_log_likelihood(&self) -> Vec<f64> {
        self.label_probability.iter().map(|p| -p.ln()).collect()
    }
}

/// What a class of probability `p` adds to an entropy.
fn of_two(p: f64) -> f64 {
    if p > 0.0 { -p * p.ln() } else { 0.0 }
}

/// The nearest number of four significant digits: a mean over hundreds of texts keeps the digits that tables print.
pub fn four_digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// The nearest probability with decimals enough that the smaller of it and its complement has four digits: 0.99998766 stays what it is.
pub fn probability_digits(value: f64) -> f64 {
    let smaller = value.min(1.0 - value);
    if value <= 0.5 || smaller <= 0.0 {
        return four_digits(value);
    }
    let shown = format!("{smaller:.3e}");
    let exponent: usize = shown.split_once("e-").and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(1);
    format!("{value:.decimals$}", decimals = exponent + 3).parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_relative_at_both_ends_and_columns_that_are_empty_take_no_room() {
        let rounded = [0.987_654, 1.234_56e-7, 0.0, -2.0].map(four_digits);
        assert_eq!(rounded.map(f64::to_bits), [0.9877, 1.235e-7, 0.0, -2.0].map(f64::to_bits));
        let given = [0.0, 1.0, 0.5, 1.234_56e-7, 0.123_456, 0.987_654, 0.999_987_654_3, 1.0 - 2.0_f64.powi(-40)];
        let expected = [0.0, 1.0, 0.5, 1.235e-7, 0.1235, 0.98765, 0.999_987_65, 0.999_999_999_999_090_5];
        assert_eq!(given.map(probability_digits).map(f64::to_bits), expected.map(f64::to_bits));
        let column =
            PerText { classes: 2, label_probability: vec![0.5, 1.235e-7], wrong: vec![1], ..PerText::default() };
        let text = serde_json::to_string(&column).unwrap();
        assert_eq!(text, r#"{"classes":2,"label_probability":[0.5,1.235e-7],"wrong":[1]}"#);
        assert_eq!(serde_json::from_str::<PerText>(&text).unwrap(), column);
    }

    #[test]
    fn what_was_left_out_follows() {
        let two = PerText { classes: 2, label_probability: vec![0.75, 0.125], wrong: vec![1], ..PerText::default() };
        assert_eq!(two.correct(), [true, false]);
        assert_eq!(two.top_probability(), [0.75, 0.875]);
        assert_eq!(two.brier(), [0.125, 2.0 * 0.875 * 0.875]);
        // scipy.stats.entropy([0.75, 0.25]) and of [0.125, 0.875].
        for (found, expected) in two.entropy().iter().zip([0.562_335_144_618_808, 0.376_770_161_256_436_7]) {
            assert!((found - expected).abs() < 1e-14);
        }
        let many = PerText {
            classes: 3,
            label_probability: vec![0.5, 0.25],
            wrong: vec![0],
            wrong_class: vec![2],
            wrong_probability: vec![0.5],
            ..PerText::default()
        };
        assert_eq!((many.correct(), many.top_probability()), (vec![false, true], vec![0.5, 0.25]));
        assert!(many.entropy().is_empty() && many.brier().is_empty());
        assert!((many.negative_log_likelihood()[1] - 4.0_f64.ln()).abs() < 1e-15);
    }
}
