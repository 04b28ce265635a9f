//! What to do with an input: act, ask with a set of classes, or escalate.
//!
//! In this order: what is foreign escalates; what the rules about errors accept is answered; a set that is small enough is asked about; the rest
//! escalates. Whatever a rule needs and is missing or not finite escalates before all that: a guard fails closed.

use serde::Serialize;

use crate::example::Example;
use crate::guard::Guard;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// Take the prediction.
    Act,
    /// Let somebody choose among these classes, ascending.
    Ask(Vec<usize>),
    /// Hand the input to somebody.
    Escalate,
}

/// A choice and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// What to do.
    pub decision: Choice,
    /// Why, one sentence a rule.
    pub reasons: Vec<String>,
    /// Conformal p-value of the distance, where there is such a rule.
    pub ood_p: Option<f64>,
    /// Classes that may be the label, where there is such a rule.
    pub set: Option<Vec<usize>>,
}

impl Guard {
    /// Decides about an input. Its label and verdict are not looked at.
    pub fn decide(&self, example: &Example) -> Decision {
        let mut found = Decision { decision: Choice::Escalate, reasons: Vec::new(), ood_p: None, set: None };
        let broken = |what: &str, value: Option<f64>| match value {
            None => Some(format!("The {what} is missing.")),
            Some(value) if !value.is_finite() => Some(format!("The {what} is {value}.")),
            Some(_) => None,
        };
        found.reasons.extend(broken("score", Some(example.score)));
        if let Some(ood) = &self.rules.ood {
            found.reasons.extend(broken("distance", example.distance));
            found.ood_p = example.distance.filter(|far| !far.is_nan()).map(|far| ood.p_value(far));
        }
        let set = self.rules.sets.as_ref().map(|sets| (sets, sets.set(example)));
        if let Some((_, Err(error))) = &set {
            found.reasons.push(format!("There is no set: {error}."));
        }
        // A probability that is no number is one whether a rule asks for it or not.
        if let Some(value) = example.probabilities.iter().flatten().find(|value| !value.is_finite()) {
            found.reasons.extend(broken("probability of a class", Some(*value)));
        }
        if !found.reasons.is_empty() {
            return found;
        }
        let set = set.and_then(|(sets, set)| Some((sets, set.ok()?)));
        found.set = set.as_ref().map(|(_, set)| set.classes.clone());
        let far = example.distance.unwrap_or(f64::NAN);
        if let Some(ood) = self.rules.ood.as_ref().filter(|ood| !ood.accepts(far)) {
            found.reasons.push(format!("The distance {far} is beyond {}: the input is foreign.", ood.threshold));
            return found;
        }
        if let Some(threshold) = self.rules.act_up_to {
            if example.score <= threshold {
                found.decision = Choice::Act;
                found.reasons.push(format!("The score {} is at most {threshold}.", example.score));
                return found;
            }
            found.reasons.push(format!("The score {} is above {threshold}.", example.score));
        }
        let Some((sets, set)) = set else { return found };
        let (size, most) = (set.classes.len(), sets.promise.ask_up_to);
        if set.is_forced {
            found.reasons.push("No class comes up to the threshold of the sets.".to_owned());
        } else if size > most {
            found.reasons.push(format!("The set has {size} classes, more than {most}."));
        } else {
            found.reasons.push(format!("The set has {size} classes, at most {most}."));
            found.decision = Choice::Ask(set.classes);
        }
        found
    }
}
