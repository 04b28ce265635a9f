//! Whether promises hold on labelled data that the guard has not seen: realised rates, and what they refute.
//!
//! A promise for all but a share of calibrations bounds a rate, and `p = P(Bin(n, rate) >= k)` is the evidence of `k` bad ones of `n` against it. A
//! promise on average bounds no rate: over calibrations it is distributed as `Beta(l, m + 1 - l)`, `l` the rank among `m` calibration examples, so that
//! `k` is beta-binomial. Either is refuted where `p` is at most the level.

use bayeslora_metrics::guarantee::{Promise, allowed_above, binomial_cdf, clopper_pearson};
use serde::Serialize;

use crate::decide::Choice;
use crate::error::{Error, Result};
use crate::example::{Example, fingerprint, one_a_group};
use crate::guard::Guard;

const SET: &str = "test";

/// A rate with the interval of Clopper and Pearson at `1 - delta`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    /// How many.
    pub count: usize,
    /// Of how many.
    pub of: usize,
    /// Lower and upper bound.
    pub interval: [f64; 2],
}

/// Realised rates of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassCheck {
    /// Number of the class, by the label.
    pub class: usize,
    /// Answered, of all examples.
    pub coverage: Option<Rate>,
    /// Wrong, of those answered.
    pub risk: Option<Rate>,
    /// Label in the set, of those that are not foreign.
    pub in_set: Option<Rate>,
}

/// What the data say of one promise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Name of the rule, and for sets the number of the threshold where there are several.
    pub rule: String,
    /// Rate of bad ones that was promised at most.
    pub promised: f64,
    /// Bad ones.
    pub count: usize,
    /// Of how many.
    pub of: usize,
    /// Probability of as many or more, if the promise holds.
    pub p_value: f64,
    /// Level of the test: `delta`, shared among the thresholds of sets.
    pub level: f64,
    /// Whether the promise is refuted.
    pub refuted: bool,
}

/// Realised rates and verdicts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    /// Examples given, groups in full.
    pub given: usize,
    /// One a group.
    pub kept: usize,
    /// Answered, of all.
    pub coverage: Option<Rate>,
    /// Wrong, of those answered.
    pub risk: Option<Rate>,
    /// Asked about.
    pub asked: usize,
    /// Escalated.
    pub escalated: usize,
    /// By class, where there are labels.
    pub per_class: Vec<ClassCheck>,
    /// One a promise, or several for sets.
    pub verdicts: Vec<Verdict>,
}

impl Checked {
    /// Whether any promise is refuted.
    pub fn is_refuted(&self) -> bool {
        self.verdicts.iter().any(|verdict| verdict.refuted)
    }
}

/// An example with its decision.
struct Decided {
    choice: Choice,
    wrong: bool,
    label: Option<usize>,
    is_foreign: bool,
    /// Number of its threshold and whether that covers the label.
    in_set: Option<(usize, bool)>,
}

impl Guard {
    /// Decides about labelled examples and tests each promise at `delta`. Of a group one example is used, as in calibration.
    ///
    /// # Errors
    /// [`Error::Setting`] for a `delta` outside `(0, 1)`; [`Error::Examples`] without examples, without verdicts or the distances that a rule
    /// needs, or for an example that the guard was fitted to.
    pub fn check(&self, examples: Vec<Example>, delta: f64) -> Result<Checked> {
        if !(delta > 0.0 && delta < 1.0) {
            return Err(Error::Setting { what: "delta", value: delta.to_string(), expected: "a number in (0, 1)" });
        }
        let refused = |problem: String| Err(Error::Examples { set: SET, problem });
        if let Some(own) = examples.iter().find(|example| self.seen.contains(&fingerprint(example))) {
            return refused(format!(
                "id `{}` is an example that the guard was fitted to, on which promises hold by construction; give others",
                own.id
            ));
        }
        let given = examples.len();
        let examples = one_a_group(SET, examples)?;
        if examples.is_empty() {
            return refused("has no examples; give at least one".to_owned());
        }
        let decided = examples.iter().map(|example| self.decided(example)).collect::<Result<Vec<_>>>()?;
        let acts = |one: &&Decided| one.choice == Choice::Act;
        let count = |of: &dyn Fn(&&Decided) -> bool| decided.iter().filter(of).count();
        let (kept, acted) = (decided.len(), count(&acts));
        let per_class = (0..self.subject.classes.len()).map(|class| {
            let own = || decided.iter().filter(move |one| one.label == Some(class));
            let held = || own().filter_map(|one| Some(one.in_set?.1));
            ClassCheck {
                class,
                coverage: rate(own().filter(acts).count(), own().count(), delta),
                risk: rate(own().filter(acts).filter(|one| one.wrong).count(), own().filter(acts).count(), delta),
                in_set: rate(held().filter(|held| *held).count(), held().count(), delta),
            }
        });
        Ok(Checked {
            given,
            kept,
            coverage: rate(acted, kept, delta),
            risk: rate(count(&|one| acts(one) && one.wrong), acted, delta),
            asked: count(&|one| matches!(one.choice, Choice::Ask(_))),
            escalated: count(&|one| one.choice == Choice::Escalate),
            per_class: per_class.filter(|class| class.coverage.is_some()).collect(),
            verdicts: self.verdicts(&decided, delta),
        })
    }

    fn decided(&self, example: &Example) -> Result<Decided> {
        let refused = |what: &str| Error::Examples { set: SET, problem: format!("id `{}` {what}", example.id) };
        let classes = self.subject.classes.len();
        if let Some(label) = example.label.filter(|label| *label >= classes) {
            return Err(refused(&format!("has the label {label}, expected a class below {classes}")));
        }
        let wrong = example.wrong.ok_or_else(|| refused("has no verdict; give its label, or whether it is correct"))?;
        // A decision fails closed where there is no distance; a check would take that for a foreign input.
        let is_foreign = match &self.rules.ood {
            Some(ood) => {
                !ood.accepts(example.distance.ok_or_else(|| refused("has no distance, which rule ood needs"))?)
            }
            None => false,
        };
        let in_set = match &self.rules.sets {
            Some(sets) if !is_foreign && example.label.is_some() => {
                let own = sets.cutoff(example)?;
                let number = sets.thresholds.cutoffs.iter().position(|cutoff| std::ptr::eq(own, cutoff));
                Some((number.unwrap_or(0), sets.covers(example)?))
            }
            _ => None,
        };
        Ok(Decided { choice: self.decide(example).decision, wrong, label: example.label, is_foreign, in_set })
    }

    fn verdicts(&self, decided: &[Decided], delta: f64) -> Vec<Verdict> {
        let mut found = Vec::new();
        let mut judge = |rule: &str, promised, promise, calibrated, [count, of]: [usize; 2], level| {
            let p_value = p_value([count, of], promised, promise, calibrated);
            let refuted = of > 0 && p_value <= level;
            found.push(Verdict { rule: rule.to_owned(), promised, count, of, p_value, level, refuted });
        };
        let count = |of: &dyn Fn(&&Decided) -> bool| decided.iter().filter(of).count();
        let bad = count(&|one| one.choice == Choice::Act && one.wrong);
        let foreign = count(&|one| one.is_foreign);
        if let Some(ood) = &self.rules.ood {
            judge("ood", ood.share, Promise::Average, ood.examples(), [foreign, decided.len()], delta);
        }
        if let Some(answer) = &self.rules.answer {
            let counts = [bad, count(&|one| one.choice == Choice::Act)];
            judge("answer", answer.risk, Promise::Pac { delta: answer.delta }, answer.examples, counts, delta);
        }
        if let Some(total) = &self.rules.total {
            judge("total", total.risk, total.promise, total.examples, [bad, decided.len() - foreign], delta);
        }
        let cutoffs = self.rules.sets.iter().flat_map(|sets| &sets.thresholds.cutoffs);
        let each = delta / cutoffs.clone().count().max(1) as f64;
        for (number, cutoff) in cutoffs.enumerate() {
            let held = |held: bool| count(&|one| one.in_set == Some((number, held)));
            let counts = [held(false), held(false) + held(true)];
            let rule = if each < delta { format!("sets[{number}]") } else { "sets".to_owned() };
            judge(&rule, cutoff.alpha, cutoff.promise, cutoff.examples, counts, each);
        }
        found
    }
}

fn rate(count: usize, of: usize, delta: f64) -> Option<Rate> {
    let found = clopper_pearson(count, of, 1.0 - delta).ok()?;
    Some(Rate { count, of, interval: [found.lower, found.upper] })
}

/// Probability of `count` bad ones or more of `of`, if the promise holds.
fn p_value([count, of]: [usize; 2], promised: f64, promise: Promise, calibrated: usize) -> f64 {
    match promise {
        // As few good ones: the tail itself, and not one minus the other.
        Promise::Pac { .. } => binomial_cdf(of.saturating_sub(count), of, 1.0 - promised).unwrap_or(1.0),
        Promise::Average => {
            let rank = allowed_above(calibrated, promised, promise).unwrap_or(calibrated);
            beta_binomial_tail(count, of, rank as f64, (calibrated + 1).saturating_sub(rank) as f64)
        }
    }
}

/// `P(K >= count)` for `K` binomial of `of` with a probability from `Beta(a, b)`.
fn beta_binomial_tail(count: usize, of: usize, a: f64, b: f64) -> f64 {
    let n = of as f64;
    // P(K = 0), then each from the one before.
    let mut log = (0..of).map(|i| ((b + i as f64) / (a + b + i as f64)).ln()).sum::<f64>();
    let mut tail = 0.0;
    for k in 0..=of {
        if k >= count {
            tail += log.exp();
        }
        let k = k as f64;
        log += ((n - k) / (k + 1.0) * (a + k) / (b + n - k - 1.0)).ln();
    }
    f64::min(tail, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_exact_fractions() {
        // Sums of binomial coefficients and rising factorials in whole numbers, Python's `fractions`.
        for (count, expected) in
            [(0, 1.0), (1, 0.884_615_384_615_384_6), (5, 0.203_742_203_742_203_75), (20, 1.675_776_691_494_639e-9)]
        {
            let found = beta_binomial_tail(count, 20, 3.0, 18.0);
            assert!((found / expected - 1.0).abs() < 1e-10, "{count}: {found} for {expected}");
        }
        let found = p_value([20, 200], 0.05, Promise::Pac { delta: 0.1 }, 500);
        assert!((found / 0.002_664_579_549_829_447 - 1.0).abs() < 1e-10, "{found}");
        assert!((p_value([0, 0], 0.05, Promise::Pac { delta: 0.1 }, 500) - 1.0).abs() < 1e-15);
        assert!((p_value([0, 0], 0.05, Promise::Average, 500) - 1.0).abs() < 1e-15);
    }
}
