//! The rules of a guard, and the one sentence that each promises.

use bayeslora_metrics::guarantee::{Answer, AnswerTest, Outlier, Promise, Total};
use serde::{Deserialize, Serialize};

use crate::sets::SetsRule;
use crate::settings::Per;

/// Rules with their thresholds, each where it was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// What is foreign is sent away first.
    pub ood: Option<Outlier>,
    /// With the whole table of tests.
    pub answer: Option<Answer>,
    /// Of all inputs.
    pub total: Option<Total>,
    /// Sets of classes.
    pub sets: Option<SetsRule>,
    /// Scores up to it are answered: with both rules about errors, the largest threshold that both of them hold at.
    pub act_up_to: Option<f64>,
}

/// A rule and its promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guarantee {
    /// Name of the rule.
    pub rule: String,
    /// The promise in one sentence.
    pub sentence: String,
}

impl Rules {
    /// Largest score that is answered, by the rules about errors; none where there is none, or where they do not hold together.
    pub(crate) fn both_hold_up_to(&self) -> Option<f64> {
        let at_most = self.total.map_or(f64::INFINITY, |total| total.threshold);
        match &self.answer {
            Some(answer) => {
                let holds = |test: &&AnswerTest| test.is_certified && test.threshold <= at_most;
                answer.tests.iter().rfind(holds).map(|test| test.threshold)
            }
            None => self.total.map(|total| total.threshold),
        }
    }

    /// One sentence a rule.
    pub(crate) fn guarantees(&self) -> Vec<Guarantee> {
        let mut found = Vec::new();
        let mut say = |rule: &str, sentence: String| found.push(Guarantee { rule: rule.to_owned(), sentence });
        if let Some(ood) = &self.ood {
            let share = percent(ood.share);
            say(
                "ood",
                format!(
                    "On average over calibrations, at most {share} of inputs like those of the calibration are sent away."
                ),
            );
        }
        if let Some(answer) = &self.answer {
            let (risk, delta) = (percent(answer.risk), percent(answer.delta));
            say(
                "answer",
                format!(
                    "At most {risk} of the answers are wrong, unless the calibration was one of the unluckiest {delta}."
                ),
            );
        }
        if let Some(total) = &self.total {
            let (risk, over) = (percent(total.risk), over(total.promise));
            say("total", format!("At most {risk} of the inputs are answered and wrong, {over}."));
        }
        if let Some(sets) = &self.sets {
            let (level, over) = (percent(1.0 - sets.promise.alpha), over(sets.promise.promise));
            let of = match sets.promise.per {
                Per::All => "",
                Per::Class => " of each class",
                Per::Stratum => " of each kind of input",
            };
            say("sets", format!("At least {level} of the sets{of} hold the label, answered inputs included, {over}."));
        }
        found
    }
}

fn over(promise: Promise) -> String {
    match promise {
        Promise::Average => "on average over calibrations".to_owned(),
        Promise::Pac { delta } => format!("unless the calibration was one of the unluckiest {}", percent(delta)),
    }
}

/// A share in per cent, without the noise of its last bits.
fn percent(share: f64) -> String {
    let digits = format!("{:.9}", 100.0 * share);
    format!("{} %", digits.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_printed_as_they_were_meant() {
        let shown = [0.07, 1.0 - 0.05, 0.5, 1e-9, 0.1 + 0.2].map(percent);
        assert_eq!(shown, ["7 %", "95 %", "50 %", "0.0000001 %", "30 %"]);
    }
}
