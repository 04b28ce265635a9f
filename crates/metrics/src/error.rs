//! What a metric can object to: every variant says which input, where, what it was and what was expected.

/// An input from which no meaningful number follows.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Fewer entries than the definition needs.
    #[error("{what}: got {got}, expected at least {expected}")]
    TooFew {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many are needed.
        expected: usize,
    },
    /// Two inputs that must describe the same rows do not.
    #[error("{what} has {got} entries, {reference} has {expected}")]
    Length {
        /// The input that is judged.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The input it is compared with.
        reference: &'static str,
        /// The length of that.
        expected: usize,
    },
    /// A label that names no class.
    #[error("label of example {example} is {value}, expected a class below {classes}")]
    Label {
        /// Row of the label.
        example: usize,
        /// The label.
        value: usize,
        /// Number of classes.
        classes: usize,
    },
    /// NaN or an infinity where a number is needed.
    #[error("{what}{index:?} is {value}, expected a finite number")]
    NotFinite {
        /// Which input.
        what: &'static str,
        /// Position along every axis.
        index: Vec<usize>,
        /// The entry.
        value: f64,
    },
    /// An entry that is no probability.
    #[error("{what}{index:?} is {value}, expected a probability in [0, 1]")]
    Probability {
        /// Which input.
        what: &'static str,
        /// Example and class.
        index: [usize; 2],
        /// The entry.
        value: f64,
    },
    /// An entry that is no logarithm of a probability.
    #[error("{what}{index:?} is {value}, expected the logarithm of a probability, at most 0")]
    LogProbability {
        /// Which input.
        what: &'static str,
        /// Example and class.
        index: [usize; 2],
        /// The entry.
        value: f64,
    },
    /// A row of probabilities that is no distribution.
    #[error("{what} of example {example} sum to {sum}, expected 1")]
    RowSum {
        /// Which input.
        what: &'static str,
        /// The row.
        example: usize,
        /// Its sum.
        sum: f64,
    },
    /// The observed class has probability zero, so the loss is infinite.
    #[error(
        "class {class} of example {example} was observed but has probability 0, which makes its loss infinite; \
         take log-probabilities from log-mean-exp, not from the logarithm of a rounded probability"
    )]
    ZeroProbability {
        /// The row.
        example: usize,
        /// The observed class.
        class: usize,
    },
    /// A setting outside its range.
    #[error("{what} is {value}, expected a number in {expected}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The range, as an interval.
        expected: &'static str,
    },
    /// An entry of a list outside its range.
    #[error("{what}[{index}] is {value}, expected a number in {expected}")]
    Entry {
        /// Which list.
        what: &'static str,
        /// Place in it.
        index: usize,
        /// The entry.
        value: f64,
        /// The range, as an interval.
        expected: &'static str,
    },
    /// A covariance without an inverse.
    #[error(
        "the covariance of {features} features has no inverse; raise shrinkage, or give more examples or fewer features"
    )]
    Singular {
        /// Its size.
        features: usize,
    },
    /// A rank correlation with a constant is undefined.
    #[error("{what} is constant, so its ranks correlate with nothing")]
    Constant {
        /// Which input.
        what: &'static str,
    },
    /// Scores that are all the same select nothing.
    #[error("{what} are {value} for every example; scores that do not differ order nothing")]
    NoOrder {
        /// Which scores.
        what: &'static str,
        /// The score of all examples.
        value: f64,
    },
    /// A list that must ascend does not.
    #[error("{what} go from {before} to {after}, expected ascending ones")]
    Descending {
        /// Which list.
        what: &'static str,
        /// An entry.
        before: f64,
        /// The next one, no larger.
        after: f64,
    },
    /// The statistic of a bootstrap is not a number on some resample.
    #[error("statistic is {value} on {}, expected a finite number", sample_name(*.resample))]
    Statistic {
        /// Which resample, or `None` for the data themselves.
        resample: Option<u32>,
        /// What the statistic returned.
        value: f64,
    },
    /// A seed of fits that does not go with the others.
    #[error("seed {seed} {problem}")]
    Seed {
        /// The seed.
        seed: u64,
        /// What is wrong with it, and what to do.
        problem: &'static str,
    },
    /// A word that names none of the choices.
    #[error("unknown {kind} `{word}`, expected {valid}")]
    UnknownWord {
        /// What is chosen.
        kind: &'static str,
        /// The word.
        word: String,
        /// The words there are.
        valid: &'static str,
    },
    /// A word that names no averaging.
    #[error("unknown averaging `{word}`, expected mean-probs or mean-logits")]
    UnknownAveraging {
        /// The word.
        word: String,
    },
}

/// `Result` with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn sample_name(resample: Option<u32>) -> String {
    resample.map_or_else(|| "the data".to_owned(), |index| format!("resample {index}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_where_and_what_was_expected() {
        let cases = [
            (Error::TooFew { what: "bins", got: 0, expected: 1 }, "bins: got 0, expected at least 1"),
            (
                Error::Length { what: "labels", got: 3, reference: "probabilities", expected: 5 },
                "labels has 3 entries, probabilities has 5",
            ),
            (Error::Label { example: 7, value: 4, classes: 4 }, "label of example 7 is 4, expected a class below 4"),
            (
                Error::NotFinite { what: "logits", index: vec![0, 2, 1], value: f64::NAN },
                "logits[0, 2, 1] is NaN, expected a finite number",
            ),
            (
                Error::Probability { what: "probabilities", index: [3, 1], value: 1.25 },
                "probabilities[3, 1] is 1.25, expected a probability in [0, 1]",
            ),
            (
                Error::RowSum { what: "probabilities", example: 2, sum: 0.5 },
                "probabilities of example 2 sum to 0.5, expected 1",
            ),
            (
                Error::Setting { what: "level", value: 1.5, expected: "(0, 1)" },
                "level is 1.5, expected a number in (0, 1)",
            ),
            (
                Error::NoOrder { what: "grid scores", value: 2.0 },
                "grid scores are 2 for every example; scores that do not differ order nothing",
            ),
            (
                Error::Descending { what: "thresholds", before: 2.0, after: 1.0 },
                "thresholds go from 2 to 1, expected ascending ones",
            ),
            (Error::Constant { what: "x" }, "x is constant, so its ranks correlate with nothing"),
            (
                Error::Statistic { resample: Some(3), value: f64::NAN },
                "statistic is NaN on resample 3, expected a finite number",
            ),
            (
                Error::Statistic { resample: None, value: f64::INFINITY },
                "statistic is inf on the data, expected a finite number",
            ),
        ];
        for (error, message) in cases {
            assert_eq!(error.to_string(), message);
        }
    }
}
