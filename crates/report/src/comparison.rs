//! A row beside the reference, as a page tests it.

use bayeslora_records::{Beyond, ComparisonRecord};

/// What was tested of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Row.
    pub row: String,
    /// Seeds of the row.
    pub seeds: usize,
    /// Whether it is one of a family, from what every text was given; otherwise the tests are those of the record's time.
    pub of_family: bool,
    /// Whether the scores in `beyond` are held against the pass of one of an ensemble's own members.
    pub beside_a_member: bool,
    /// Differences, `row - reference`, each with its test.
    pub differences: Vec<Difference>,
    /// What scores know beyond one deterministic pass.
    pub beyond: Vec<Beyond>,
}

/// A tested difference in one metric on one test set.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Test set.
    pub domain: String,
    /// Metric key.
    pub metric: String,
    /// The difference.
    pub estimate: f64,
    /// Lower end of its interval.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Two-sided p-value of no difference, not corrected.
    pub p_value: f64,
    /// The error over examples; no error where rows predict alike.
    pub over_examples: StandardError,
    /// The error over seeds; none for one seed.
    pub over_seeds: Option<StandardError>,
    /// p-value that the difference is not within the margin named in the experiment: the larger of two one-sided ones.
    pub equivalence_p: Option<f64>,
}

/// A standard error and how well it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StandardError {
    /// The error, at least 0.
    pub error: f64,
    /// Its degrees of freedom.
    pub degrees_of_freedom: f64,
}

/// A record of before families; a difference without a test is left out.
impl From<&ComparisonRecord> for Comparison {
    fn from(record: &ComparisonRecord) -> Self {
        let seeds = record.seeds.len();
        let difference = |own: &bayeslora_records::Difference| {
            let test = own.test?;
            let known = |error, degrees_of_freedom| StandardError { error, degrees_of_freedom };
            Some(Difference {
                domain: own.domain.clone(),
                metric: own.metric.clone(),
                estimate: own.estimate,
                lower: own.lower,
                upper: own.upper,
                p_value: test.p_value,
                over_examples: known(test.error_over_examples, test.examples as f64 - 1.0),
                over_seeds: test.error_over_seeds.map(|error| known(error, seeds as f64 - 1.0)),
                equivalence_p: None,
            })
        };
        Self {
            row: record.row.clone(),
            seeds,
            of_family: false,
            beside_a_member: false,
            differences: record.differences.iter().filter_map(difference).collect(),
            beyond: record.beyond.clone(),
        }
    }
}
