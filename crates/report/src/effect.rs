//! One effect of a page, as it is quoted beside an answer: what differs, by how much, and whether that stands.

use bayeslora_metrics::{Better, metric};
use bayeslora_records::Question;
use bayeslora_render::Cell;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::passes::{CONTROLS, OTHER_PASS};
use crate::report::Report;
use crate::score::{LEVEL, tempered};
use crate::summary::asked_of;

/// Which effect: the difference of a row in a metric, or what a score of it knows beyond one deterministic pass.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EffectName {
    /// Identifier of the row, or of a control as `beyond.csv` has it.
    pub row: String,
    /// Identifier of the test set.
    pub domain: String,
    /// Key of the metric, where rows are compared.
    pub metric: Option<String>,
    /// The other row of a contrast, where it is not the reference.
    pub beside: Option<String>,
    /// Whether each row has a temperature.
    #[serde(default)]
    pub with_temperature: bool,
    /// Name of the score, where a score is held against the entropy of one pass.
    pub score: Option<String>,
    /// What the score shall detect.
    pub question: Option<Question>,
}

/// An effect with what is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Metric and test set.
    pub measure: String,
    /// The row, or a score of it.
    pub of: String,
    /// What it is compared with.
    pub less: String,
    /// Estimate and interval.
    pub difference: String,
    /// What correction and margin leave: `better`, `worse`, `within 0.02`, or `not told apart`.
    pub verdict: String,
}

impl Report<'_> {
    /// The effect of that name.
    ///
    /// # Errors
    /// [`Error::Report`] when the page has no such test.
    pub fn effect(&self, name: &EffectName) -> Result<Effect> {
        let found = match (&name.metric, &name.score, name.question) {
            (Some(metric), None, None) => self.difference(name, metric),
            (None, Some(score), Some(question)) if name.beside.is_none() && !name.with_temperature => {
                self.gain(name, score, question)
            }
            _ => {
                let wanted =
                    "name a metric, with `beside` and `with-temperature` where wanted, or a score and a question";
                return Err(Error::Report(format!("the effect of row \"{}\": {wanted}", name.row)));
            }
        };
        found.ok_or_else(|| {
            let EffectName { row, domain, metric, score, beside, question, .. } = name;
            let question = question.map_or_else(String::new, |question| format!(" ({question:?})"));
            let asked = metric.as_ref().or(score.as_ref()).map_or("", String::as_str);
            let beside = beside.as_ref().map_or_else(String::new, |beside| format!(" beside \"{beside}\""));
            Error::Report(format!(
                "{} has no test of {asked}{question} by row \"{row}\"{beside} on \"{domain}\"; its tests are in table.csv, contrasts.csv and beyond.csv",
                self.definition.name
            ))
        })
    }

    fn difference(&self, name: &EffectName, key: &str) -> Option<Effect> {
        let EffectName { with_temperature, .. } = *name;
        let beside = name.beside.as_deref();
        let id = |row: &str| if with_temperature { tempered(row) } else { row.to_owned() };
        let (estimate, lower, upper, p) = if let Some(beside) = beside {
            let (row, beside) = (id(&name.row), id(beside));
            let one = self.contrasts.iter().find(|one| one.is_of(&row, &beside, &name.domain, key))?;
            (one.found.estimate, one.found.lower, one.found.upper, one.holm_p)
        } else {
            let score = self.aggregate.get(&id(&name.row), &name.domain, key)?;
            (score.difference?, score.lower?, score.upper?, score.holm_p?)
        };
        let info = metric(key)?;
        let domain = self.definition.domains.iter().find(|domain| domain.id == name.domain)?;
        let label = self.definition.label(&name.row);
        let within = self.equivalences.iter().find(|one| {
            beside.is_none()
                && one.holm_p <= LEVEL
                && one.is_tempered == with_temperature
                && (one.row.id.as_str(), one.domain.id.as_str(), one.metric)
                    == (name.row.as_str(), name.domain.as_str(), key)
        });
        let arrow = if info.better == Better::Higher { "↑" } else { "↓" };
        let from = beside.map_or(self.definition.reference_label(), |beside| self.definition.label(beside));
        let temperature = if with_temperature { ", a temperature each" } else { "" };
        let told_apart = if (estimate > 0.0) == (info.better == Better::Higher) { "better" } else { "worse" };
        let verdict = match (p <= LEVEL, within) {
            (true, None) => told_apart.to_owned(),
            (true, Some(one)) => format!("{told_apart}, within {}", one.margin),
            (false, Some(one)) => format!("within {}", one.margin),
            (false, None) => "not told apart".to_owned(),
        };
        Some(Effect {
            measure: format!("{} {arrow}, {}{temperature}", info.label, domain.label),
            of: label.to_owned(),
            less: from.to_owned(),
            difference: interval(estimate, lower, upper, info.digits),
            verdict,
        })
    }

    fn gain(&self, name: &EffectName, score: &str, question: Question) -> Option<Effect> {
        let mut asked = self.asked(&name.domain, question).iter();
        let one = asked.find(|one| one.row == name.row && one.found.score == score)?;
        let domain = self.definition.domains.iter().find(|domain| domain.id == name.domain)?;
        let (of, beside) = asked_of(self, one);
        let (measure, given, [above, below]) = match question {
            Question::Errors => ("AUROC ↑ of errors", "entropy", ["better", "worse"]),
            Question::ErrorsGivenEntropy => ("Correlation with errors", "given the entropy", ["above 0", "below 0"]),
            Question::Shift => ("AUROC ↑ of shift", "entropy", ["better", "worse"]),
        };
        let told_apart = if one.found.estimate > 0.0 { above } else { below };
        let pass = match (one.row, beside.strip_prefix(" beside ")) {
            (_, Some(pass)) => pass.to_owned(),
            (OTHER_PASS, None) => "another fit's pass".to_owned(),
            (row, None) if CONTROLS.contains(&row) => format!("{}'s pass", self.definition.reference_label()),
            (_, None) => "its own pass".to_owned(),
        };
        Some(Effect {
            measure: format!("{measure}, {}", domain.label),
            of,
            less: format!("{given} of {pass}"),
            difference: interval(one.found.estimate, one.found.lower, one.found.upper, 3),
            verdict: if one.differs() { told_apart } else { "not told apart" }.to_owned(),
        })
    }
}

fn interval(estimate: f64, lower: f64, upper: f64, digits: usize) -> String {
    Cell::Interval { estimate, lower, upper, mark: "" }.shown(digits)
}
