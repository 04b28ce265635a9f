//! `guard.json`: written, and read with everything that follows from its counts worked out again.

use std::path::Path;

use bayeslora_metrics::guarantee::{Answer, Cutoff, Outlier, Total, allowed_above, binomial_cdf};

use crate::error::Result;
use crate::guard::{Guard, SCHEMA};
use crate::rules::Rules;
use crate::seal::{digest_of, file, read_as, write};
use crate::sets::SetsRule;
use crate::settings::Settings;
use crate::subject::Subject;

impl Guard {
    /// Writes it to a file.
    ///
    /// # Errors
    /// [`Error::Host`](crate::Error::Host) when it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write(path, self)
    }

    /// Reads it from a file, for this use.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) for a file that is damaged, was changed or contradicts itself, and [`Error::Subject`](crate::Error::Subject)
    /// naming what differs from `used`.
    pub fn read(path: &Path, used: &Subject) -> Result<Self> {
        let guard = Self::read_for_any(path)?;
        guard.subject.check(used)?;
        Ok(guard)
    }

    /// Reads it from a file, to look at it.
    ///
    /// # Errors
    /// As [`Self::read`], without a subject.
    pub fn read_for_any(path: &Path) -> Result<Self> {
        let guard: Self = read_as(path, "guard", SCHEMA)?;
        let guard = Self { subject: guard.subject.clone().sorted(), ..guard };
        if guard.clone().sealed().digest != guard.digest {
            return Err(file(path, "was changed since it was written; fit the guard again".to_owned()));
        }
        guard.settings.check().map_err(|error| file(path, error.to_string()))?;
        match guard.contradiction() {
            Some(what) => Err(file(path, format!("contradicts itself about {what}; fit the guard again"))),
            None => Ok(guard),
        }
    }

    /// The same with its own digest.
    pub(crate) fn sealed(mut self) -> Self {
        self.digest.clear();
        self.digest = digest_of(&self);
        self
    }

    /// What does not follow from the rest.
    fn contradiction(&self) -> Option<&'static str> {
        let Self { settings, rules, data, scores, subject, .. } = self;
        let (calibration, grid) = (data.calibration.passed, data.grid.kept);
        let holds = [
            ("the number of examples", scores.len() == data.calibration.kept),
            ("the number of examples", data.calibration.passed <= data.calibration.kept),
            ("the number of examples", data.calibration.kept <= data.calibration.given),
            ("its calibration scores", scores.is_sorted() && scores.iter().all(|score| score.is_finite())),
            ("its rule ood", rules.ood.as_ref().map(|rule| rule.share) == settings.ood),
            ("its rule ood", rules.ood.as_ref().is_none_or(|rule| is_outlier(rule, grid))),
            ("its rule answer", answer_fits(rules, settings, calibration)),
            ("its rule total", total_fits(rules, settings, calibration)),
            ("its rule sets", rules.sets.as_ref().map(|rule| rule.promise) == settings.sets),
            ("its rule sets", rules.sets.as_ref().is_none_or(|rule| is_sets(rule, subject.classes.len(), calibration))),
            ("the threshold of answers", rules.act_up_to == rules.both_hold_up_to()),
            ("its guarantees", self.guarantees == rules.guarantees()),
        ];
        holds.into_iter().find(|(_, holds)| !holds).map(|(what, _)| what)
    }
}

/// Whether its threshold follows from its scores, which are sorted and as many as there are examples.
fn is_outlier(rule: &Outlier, examples: usize) -> bool {
    let scores =
        serde_json::to_value(rule).ok().and_then(|value| serde_json::from_value(value.get("scores")?.clone()).ok());
    let scores: Vec<f64> = scores.unwrap_or_default();
    scores.len() == examples && Outlier::fit(&scores, rule.share).is_ok_and(|again| again == *rule)
}

fn answer_fits(rules: &Rules, settings: &Settings, examples: usize) -> bool {
    match (&rules.answer, settings.answer) {
        (None, None) => true,
        (Some(rule), Some(asked)) => {
            [rule.risk, rule.delta].map(f64::to_bits) == [asked.risk, asked.delta].map(f64::to_bits)
                && rule.examples == examples
                && is_answer(rule)
        }
        _ => false,
    }
}

/// Whether every test has its p-value and its level, and something is certified.
fn is_answer(rule: &Answer) -> bool {
    let share = rule.delta / rule.tests.len() as f64;
    let (mut level, mut before) = (0.0, (f64::NEG_INFINITY, 0, 0));
    for test in &rule.tests {
        level += share;
        let p_value = is_tail(test.p_value, test.wrong, test.accepted, rule.risk);
        let grows = test.threshold > before.0 && test.accepted >= before.1 && test.wrong >= before.2;
        let fits = p_value && test.level.to_bits() == f64::to_bits(level);
        let counts = test.wrong <= test.accepted && test.accepted <= rule.examples && test.threshold.is_finite();
        if !(grows && fits && counts && test.is_certified == (test.p_value <= level)) {
            return false;
        }
        before = (test.threshold, test.accepted, test.wrong);
        if !test.is_certified {
            level = 0.0;
        }
    }
    rule.certified().is_some()
}

/// Whether `tail` is the binomial tail, up to what the mathematical libraries of two machines differ by.
fn is_tail(tail: f64, count: usize, of: usize, rate: f64) -> bool {
    binomial_cdf(count, of, rate).is_ok_and(|again| (again - tail).abs() <= 1e-9 * again)
}

fn total_fits(rules: &Rules, settings: &Settings, examples: usize) -> bool {
    match (&rules.total, settings.total) {
        (None, None) => true,
        (Some(rule), Some(asked)) => {
            (rule.promise, rule.examples) == (asked.promise, examples)
                && rule.risk.to_bits() == asked.risk.to_bits()
                && is_total(rule)
        }
        _ => false,
    }
}

fn is_total(rule: &Total) -> bool {
    let allowed = allowed_above(rule.examples, rule.risk, rule.promise);
    allowed.is_ok_and(|allowed| allowed == rule.allowed + 1)
        && is_tail(rule.exceeds, rule.allowed, rule.examples, rule.risk)
        && rule.accepted <= rule.examples
        && rule.threshold.is_finite()
}

fn is_sets(rule: &SetsRule, classes: usize, examples: usize) -> bool {
    let (cutoffs, strata) = (&rule.thresholds.cutoffs, rule.strata(classes));
    let is_cutoff = |cutoff: &Cutoff| {
        let rank = allowed_above(cutoff.examples, cutoff.alpha, cutoff.promise);
        rank.is_ok_and(|rank| rank == cutoff.rank_from_above)
            && cutoff.alpha.to_bits() == rule.promise.alpha.to_bits()
            && cutoff.promise == rule.promise.promise
            && cutoff.threshold.is_finite()
    };
    rule.kinds.windows(2).all(|pair| matches!(pair, [a, b] if a < b))
        && cutoffs.len() == rule.thresholds.strata.thresholds()
        && cutoffs.iter().map(|cutoff| cutoff.examples).sum::<usize>() == examples
        && cutoffs.iter().all(is_cutoff)
        && (0..strata).all(|stratum| rule.thresholds.of(stratum).is_ok())
        && rule.thresholds.of(strata).is_err()
}
