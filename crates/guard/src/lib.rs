//! Rules with guarantees on top of any classifier: act on a prediction, ask with a set of classes, or escalate.
//!
//! A [`Guard`] is fitted to labelled examples that served nothing else ([`Calibration`]), for one [`Subject`]. It promises what [`Settings`] say,
//! decides about inputs ([`Guard::decide`]), is checked on fresh examples ([`Guard::check`]) and watched in use ([`Watch`]). The mathematics is
//! that of [`bayeslora_metrics::guarantee`]. No clock and no random state: hashed ids decide what is drawn, so that neither the order of examples nor
//! the run matters.
//!
//! ```
//! use bayeslora_guard::{AnswerPromise, Calibration, Choice, Example, Guard, Score, Settings, Subject};
//! // Of the uncertain half every third is wrong.
//! let example = |n: u32| Example {
//!     id: format!("text {n}"),
//!     score: f64::from(n % 100) / 100.0,
//!     wrong: Some(n % 100 >= 50 && n % 3 == 0),
//!     ..Example::default()
//! };
//! let calibration = Calibration::new((0..2000).map(example).collect())?;
//! let settings = Settings { answer: Some(AnswerPromise { risk: 0.05, delta: 0.05 }), ..Settings::default() };
//! let subject = Subject {
//!     model: "sha256 of the model".into(),
//!     adapter: None,
//!     classes: vec![],
//!     inference: serde_json::json!({"samples": 8}),
//!     score: Score::new("predictive-entropy"),
//! };
//! let guard = Guard::fit(calibration, None, settings, subject, &[])?;
//! assert_eq!(guard.guarantees()[0].sentence, "At most 5 % of the answers are wrong, unless the calibration was one of the unluckiest 5 %.");
//! assert_eq!(guard.decide(&example(30)).decision, Choice::Act);
//! assert_eq!(guard.decide(&example(90)).decision, Choice::Escalate);
//! # Ok::<(), bayeslora_guard::Error>(())
//! ```

mod calibration;
mod check;
mod decide;
mod derived;
mod error;
mod example;
mod file;
mod guard;
mod rules;
mod seal;
mod sets;
mod settings;
mod subject;
mod watch;

#[cfg(test)]
mod tests;

pub use bayeslora_metrics::guarantee::{Promise, SetScore};
pub use calibration::Calibration;
pub use check::{Checked, ClassCheck, Rate, Verdict};
pub use decide::{Choice, Decision};
pub use derived::{Derived, ScoreName, distance_of, examples_of, subject_of};
pub use error::{Error, Result};
pub use example::Example;
pub use guard::{Data, Guard, SCHEMA, Source, Used};
pub use rules::{Guarantee, Rules};
pub use sets::SetsRule;
pub use settings::{AnswerPromise, Per, SetsPromise, Settings, TotalPromise};
pub use subject::{Orientation, Score, Subject};
pub use watch::{Alarm, AlarmKind, Feedback, Watch, WatchSettings};
