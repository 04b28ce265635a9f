//! Why there is no guard, or why it refuses to serve.

use std::path::PathBuf;

use bayeslora_metrics::guarantee::{AnswerTest, Shortfall};

/// `Result` with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An input that no guarantee follows from, or a file that is not for this use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting outside its range.
    #[error("{what} is {value}, expected {expected}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// Its value.
        value: String,
        /// The range.
        expected: &'static str,
    },
    /// Examples that do not fit together.
    #[error("{set}: {problem}")]
    Examples {
        /// Which examples.
        set: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Fewer examples than a rule needs.
    #[error(
        "rule {rule}: {got} examples are left of {given}, at least {needed} are needed{where_}; label about {in_all} in all, or promise less"
    )]
    TooFew {
        /// Which rule.
        rule: &'static str,
        /// Examples that it can use.
        got: usize,
        /// Examples given, before groups and the grid were taken out.
        given: usize,
        /// Examples that it needs.
        needed: usize,
        /// In which part, as a clause.
        where_: &'static str,
        /// Examples to give, for as many to be left.
        in_all: usize,
    },
    /// Calibration data that served something else.
    #[error(
        "the calibration data are those of {name}; what a model was made with says nothing of its errors: label other examples"
    )]
    Used {
        /// What they served.
        name: String,
    },
    /// One calibration text that served something else.
    #[error("the text of calibration example `{id}` is also in {name}; leave out what a model was made with")]
    UsedText {
        /// The example.
        id: String,
        /// What it served.
        name: String,
    },
    /// No threshold passed its test.
    #[error("{}", no_threshold(*.risk, .tests, .missing.as_ref()))]
    Uncertified {
        /// The risk that was to be promised.
        risk: f64,
        /// Every test, by rising threshold.
        tests: Vec<AnswerTest>,
        /// The closest test, and how many labels more would do.
        missing: Option<Shortfall>,
    },
    /// Both rules about errors hold, but nowhere together.
    #[error(
        "rule total accepts scores up to {total}, rule answer certifies none that small, the least being {answer}; \
         promise a larger total, or one of the two"
    )]
    Apart {
        /// Threshold of the rule total.
        total: f64,
        /// Smallest certified threshold of the rule answer.
        answer: f64,
    },
    /// A file that was changed, damaged or made by another program.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A guard of something else.
    #[error("the guard is for another {what}: {expected}, not {got}; fit a guard to what is used")]
    Subject {
        /// What differs.
        what: &'static str,
        /// In the guard.
        expected: String,
        /// In use.
        got: String,
    },
    /// A line of feedback that is not taken.
    #[error("feedback on `{id}`: {problem}")]
    Feedback {
        /// The example.
        id: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Of a rule's mathematics.
    #[error("rule {rule}: {source}")]
    Rule {
        /// Which rule.
        rule: &'static str,
        /// What it objects to.
        source: bayeslora_metrics::Error,
    },
    /// A file that could not be read or written.
    #[error(transparent)]
    Host(#[from] bayeslora_host::Error),
}

fn no_threshold(risk: f64, tests: &[AnswerTest], missing: Option<&Shortfall>) -> String {
    let rows = tests.iter().map(|test| {
        let AnswerTest { threshold, accepted, wrong, p_value, level, .. } = test;
        format!("\n{threshold:>10.4}  {accepted:>8}  {wrong:>5}  {p_value:>7.4}  {level:.4}")
    });
    let table: String = rows.collect();
    let closest = missing.map(|Shortfall { closest, labels_more }| {
        let AnswerTest { threshold, accepted, wrong, .. } = closest;
        let more = labels_more.map_or_else(
            || "at this rate no number of labels will do: promise more risk, or take a better score".to_owned(),
            |more| format!("about {more} calibration labels more would do at this rate"),
        );
        format!("\nThe closest is {threshold:.4}, with {wrong} wrong of {accepted}; {more}.")
    });
    let head = "rule answer: no threshold is certified at a risk of";
    format!("{head} {risk}.\n threshold  accepted  wrong  p-value  level{table}{}", closest.unwrap_or_default())
}
