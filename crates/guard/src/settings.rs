//! What is promised, and with what probability.

use bayeslora_metrics::guarantee::{Promise, SetScore};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What a guard is to promise; at least one of answer, total and sets.
///
/// | name | default | range |
/// |---|---|---|
/// | `grid_share` | 0.2 | `[0.05, 0.5]` |
/// | `answer`, `total`, `sets`, `ood` | none | see each |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Share of the calibration examples that fixes thresholds to be tested, where no other examples are given for that.
    pub grid_share: f64,
    /// Risk among answers.
    pub answer: Option<AnswerPromise>,
    /// Risk among all inputs.
    pub total: Option<TotalPromise>,
    /// Sets of classes.
    pub sets: Option<SetsPromise>,
    /// Share of inputs like those of calibration that may be sent away as foreign, in `[1e-9, 1)`.
    pub ood: Option<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { grid_share: 0.2, answer: None, total: None, sets: None, ood: None }
    }
}

/// At most a share `risk` of the answers is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerPromise {
    /// In `[1e-9, 1)`.
    pub risk: f64,
    /// Probability of an unlucky calibration, in `(0, 1)`.
    pub delta: f64,
}

/// At most a share `risk` of all inputs is answered and wrong.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TotalPromise {
    /// In `[1e-9, 1)`.
    pub risk: f64,
    /// On average, or for all but a share of calibrations.
    pub promise: Promise,
}

/// The label is in the set, but for a share `alpha` of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetsPromise {
    /// In `[1e-9, 1)`.
    pub alpha: f64,
    /// On average, or for all but a share of calibrations.
    pub promise: Promise,
    /// How strange a class is.
    pub score: SetScore,
    /// Of what it is promised.
    pub per: Per,
    /// Sets of no more classes are asked about, larger ones escalate; at least 1.
    pub ask_up_to: usize,
}

/// Of what a promise about sets is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// Of all inputs together.
    All,
    /// Of each class.
    Class,
    /// Of each kind of input, see [`Example::stratum`](crate::Example::stratum).
    Stratum,
}

impl Settings {
    /// Refuses what is out of range.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the setting.
    pub fn check(&self) -> Result<()> {
        let refused =
            |what, value: &dyn ToString, expected| Err(Error::Setting { what, value: value.to_string(), expected });
        let rate = |what, value: f64| {
            if (1e-9..1.0).contains(&value) { Ok(()) } else { refused(what, &value, "a number in [1e-9, 1)") }
        };
        let level = |what, value: f64| {
            if value > 0.0 && value < 1.0 { Ok(()) } else { refused(what, &value, "a number in (0, 1)") }
        };
        let promise = |what, promise| match promise {
            Promise::Average => Ok(()),
            Promise::Pac { delta } => level(what, delta),
        };
        if !(0.05..=0.5).contains(&self.grid_share) {
            return refused("grid share", &self.grid_share, "a number in [0.05, 0.5]");
        }
        if let Some(answer) = self.answer {
            rate("risk of answers", answer.risk)?;
            level("delta of answers", answer.delta)?;
        }
        if let Some(total) = self.total {
            rate("total risk", total.risk)?;
            promise("delta of the total risk", total.promise)?;
        }
        if let Some(sets) = self.sets {
            rate("alpha of sets", sets.alpha)?;
            promise("delta of sets", sets.promise)?;
            if sets.ask_up_to == 0 {
                return refused("largest set that is asked about", &0, "at least 1");
            }
            if let SetScore::Raps { penalty, .. } = sets.score
                && !(penalty >= 0.0 && penalty.is_finite())
            {
                return refused("penalty of sets", &penalty, "a number in [0, inf)");
            }
        }
        if let Some(share) = self.ood {
            rate("ood share", share)?;
        }
        if self.answer.is_none() && self.total.is_none() && self.sets.is_none() {
            return refused("what is promised", &"nothing", "answer, total or sets");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_refused_by_name() {
        let message = |settings: Settings| settings.check().unwrap_err().to_string();
        let answer = |risk, delta| Settings { answer: Some(AnswerPromise { risk, delta }), ..Settings::default() };
        assert!(answer(0.05, 0.1).check().is_ok());
        assert_eq!(message(Settings::default()), "what is promised is nothing, expected answer, total or sets");
        assert_eq!(message(answer(1.0, 0.1)), "risk of answers is 1, expected a number in [1e-9, 1)");
        assert_eq!(message(answer(0.1, f64::NAN)), "delta of answers is NaN, expected a number in (0, 1)");
        let total = TotalPromise { risk: 0.1, promise: Promise::Pac { delta: 0.0 } };
        let given = Settings { total: Some(total), ..Settings::default() };
        assert_eq!(message(given), "delta of the total risk is 0, expected a number in (0, 1)");
        let sets =
            SetsPromise { alpha: 0.1, promise: Promise::Average, score: SetScore::Lac, per: Per::All, ask_up_to: 0 };
        let given = |sets| Settings { sets: Some(sets), ..Settings::default() };
        assert_eq!(message(given(sets)), "largest set that is asked about is 0, expected at least 1");
        let score = SetScore::Raps { penalty: -1.0, free: 1 };
        let priced = given(SetsPromise { ask_up_to: 3, score, ..sets });
        assert_eq!(message(priced), "penalty of sets is -1, expected a number in [0, inf)");
        assert_eq!(
            message(Settings { ood: Some(0.0), ..answer(0.1, 0.1) }),
            "ood share is 0, expected a number in [1e-9, 1)"
        );
        assert_eq!(
            message(Settings { grid_share: 0.9, ..answer(0.1, 0.1) }),
            "grid share is 0.9, expected a number in [0.05, 0.5]"
        );
    }
}
