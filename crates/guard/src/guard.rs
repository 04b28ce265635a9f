//! A guard: rules with guarantees, and what they were calibrated on and hold for.

use std::collections::BTreeSet;

use bayeslora_metrics::guarantee::{Answer, Outlier, Total, coverages, thresholds};
use serde::{Deserialize, Serialize};

use crate::calibration::{Calibration, Parts};
use crate::error::{Error, Result};
use crate::example::{Example, digest};
use crate::rules::{Guarantee, Rules};
use crate::sets::SetsRule;
use crate::settings::Settings;
use crate::subject::Subject;

/// Layout of the file.
pub const SCHEMA: u32 = 1;

/// Data that made the model: training, validation, or whatever the score was chosen by.
#[derive(Debug, Clone, Default)]
pub struct Used {
    /// Their name in messages.
    pub name: String,
    /// Their digest, as [`Calibration::digest`] gives it.
    pub digest: Option<String>,
    /// SHA-256 of their texts.
    pub texts: BTreeSet<String>,
}

impl Used {
    /// These examples, by their digest and their texts.
    pub fn of(name: impl Into<String>, examples: &[Example]) -> Self {
        let texts = examples.iter().filter_map(|example| example.sha256.clone()).collect();
        Self { name: name.into(), digest: Some(digest(examples)), texts }
    }
}

/// Where a part of the data comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// SHA-256 over the examples.
    pub digest: String,
    /// Examples given, groups in full.
    pub given: usize,
    /// Of these, one a group and without the other part.
    pub kept: usize,
    /// Of these, what the rule "ood" does not send away: all that the other rules are about.
    pub passed: usize,
}

/// Both parts of the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// What was tested on.
    pub calibration: Source,
    /// What fixed the thresholds to be tested, and the rule "ood".
    pub grid: Source,
}

/// Rules with guarantees for one subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Layout of the file.
    pub(crate) schema: u32,
    /// SHA-256 over everything else.
    pub(crate) digest: String,
    pub(crate) subject: Subject,
    pub(crate) settings: Settings,
    pub(crate) data: Data,
    pub(crate) guarantees: Vec<Guarantee>,
    pub(crate) rules: Rules,
    /// Calibration scores, ascending, for the watch of drift.
    pub(crate) scores: Vec<f64>,
    /// Fingerprints of everything that it was fitted to, calibration and grid: a check on these would say nothing.
    pub(crate) seen: BTreeSet<u64>,
}

impl Guard {
    /// Calibrates what `settings` promise. Thresholds to be tested come from `grid`, or from a part of the calibration that is set aside by
    /// hashed ids. The rule "ood" is fixed on the grid first, and the others are about what it lets pass.
    ///
    /// # Errors
    /// [`Error::Setting`]; [`Error::Used`] and [`Error::UsedText`] for data that made the model; [`Error::Examples`] for labels or probabilities
    /// that are missing or do not fit the classes; [`Error::TooFew`] naming the examples needed; [`Error::Uncertified`] with the table of
    /// tests; [`Error::Apart`]; [`Error::Rule`].
    pub fn fit(
        calibration: Calibration,
        grid: Option<Vec<Example>>,
        settings: Settings,
        subject: Subject,
        used: &[Used],
    ) -> Result<Self> {
        settings.check()?;
        refuse_used(&calibration, used)?;
        check_classes("calibration", calibration.examples(), subject.classes.len())?;
        let parts = match grid {
            Some(grid) => calibration.with_grid(grid),
            None => calibration.split(settings.grid_share),
        }?;
        check_classes("grid", &parts.grid, subject.classes.len())?;
        let mut scores: Vec<f64> = parts.calibration.iter().map(|example| example.score).collect();
        scores.sort_by(f64::total_cmp);
        let seen = parts.seen.clone();
        let (data, rules) = fitted(parts, &settings, subject.classes.len())?;
        let (guarantees, subject) = (rules.guarantees(), subject.sorted());
        let digest = String::new();
        let guard = Self { schema: SCHEMA, digest, subject, settings, data, guarantees, rules, scores, seen };
        Ok(guard.sealed())
    }

    /// What it is for.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// What it was to promise.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it was calibrated on.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The rules with their thresholds.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What each rule promises.
    pub fn guarantees(&self) -> &[Guarantee] {
        &self.guarantees
    }

    /// SHA-256 over everything that it is.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// Refuses calibration data that made the model.
fn refuse_used(calibration: &Calibration, used: &[Used]) -> Result<()> {
    for Used { name, digest, texts } in used {
        if digest.as_deref() == Some(calibration.digest()) {
            return Err(Error::Used { name: name.clone() });
        }
        let is_used = |example: &&Example| example.sha256.as_ref().is_some_and(|text| texts.contains(text));
        if let Some(example) = calibration.examples().iter().find(is_used) {
            return Err(Error::UsedText { id: example.id.clone(), name: name.clone() });
        }
    }
    Ok(())
}

/// Refuses labels outside the classes and other numbers of probabilities.
fn check_classes(set: &'static str, examples: &[Example], classes: usize) -> Result<()> {
    for Example { id, label, probabilities, .. } in examples {
        let given = probabilities.as_ref().map_or(classes, Vec::len);
        let problem = match label {
            Some(label) if *label >= classes => {
                format!("id `{id}` has the label {label}, expected a class below {classes}")
            }
            _ if given != classes => {
                format!("id `{id}` has {given} probabilities, expected {classes} as there are classes")
            }
            _ => continue,
        };
        return Err(Error::Examples { set, problem });
    }
    Ok(())
}

fn fitted(parts: Parts, settings: &Settings, classes: usize) -> Result<(Data, Rules)> {
    let Parts { calibration, grid, given, digests, .. } = parts;
    let kept = [calibration.len(), grid.len()];
    let too_few = |rule, where_| move |source| ruled(rule, where_, given[0], source);
    let ood = match settings.ood {
        Some(share) => Some(Outlier::fit(&distances("grid", &grid)?, share).map_err(too_few("ood", " in the grid"))?),
        None => None,
    };
    let passed = |set, examples: Vec<Example>| -> Result<Vec<Example>> {
        let Some(ood) = &ood else { return Ok(examples) };
        distances(set, &examples)?;
        Ok(examples.into_iter().filter(|example| example.distance.is_some_and(|far| ood.accepts(far))).collect())
    };
    let (calibration, grid) = (passed("calibration", calibration)?, passed("grid", grid)?);
    let of = |examples: &[Example]| examples.iter().map(|example| example.score).collect::<Vec<f64>>();
    let (scores, wrong) = (of(&calibration), calibration.iter().map(|e| e.wrong == Some(true)).collect::<Vec<bool>>());
    let answer = match settings.answer {
        Some(asked) => {
            let fail = || too_few("answer", "");
            let shares = coverages(scores.len(), asked.risk, asked.delta).map_err(fail())?;
            let candidates = thresholds(&of(&grid), &shares).map_err(too_few("answer", " in the grid"))?;
            Some(Answer::fit(&candidates, &scores, &wrong, asked.risk, asked.delta).map_err(fail())?)
        }
        None => None,
    };
    if let Some(answer) = answer.as_ref().filter(|answer| answer.certified().is_none()) {
        return Err(Error::Uncertified { risk: answer.risk, tests: answer.tests.clone(), missing: answer.shortfall() });
    }
    let total = settings.total.map(|asked| Total::fit(&scores, &wrong, asked.risk, asked.promise));
    let total = total.transpose().map_err(too_few("total", ""))?;
    let sets = settings.sets.map(|asked| SetsRule::fit(asked, classes, &calibration, &grid)).transpose();
    let sets = sets.map_err(|error| match error {
        Error::Rule { rule, source } => {
            ruled(rule, " in each class or kind with a threshold of its own", given[0], source)
        }
        other => other,
    })?;
    let mut rules = Rules { ood, answer, total, sets, act_up_to: None };
    rules.act_up_to = rules.both_hold_up_to();
    if let (Some(answer), Some(total), None) = (&rules.answer, &rules.total, rules.act_up_to) {
        let least = answer.tests.iter().find(|test| test.is_certified).map_or(f64::NAN, |test| test.threshold);
        return Err(Error::Apart { total: total.threshold, answer: least });
    }
    let [calibration_digest, grid_digest] = digests;
    let source = |digest, part: usize, passed| Source { digest, given: given[part], kept: kept[part], passed };
    let data = Data {
        calibration: source(calibration_digest, 0, calibration.len()),
        grid: source(grid_digest, 1, grid.len()),
    };
    Ok((data, rules))
}

fn distances(set: &'static str, examples: &[Example]) -> Result<Vec<f64>> {
    let distance = |example: &Example| {
        let problem = || format!("id `{}` has no distance; rule ood needs it", example.id);
        example.distance.ok_or_else(|| Error::Examples { set, problem: problem() })
    };
    examples.iter().map(distance).collect()
}

/// An objection of a rule; too few examples are told as how many to label in all.
fn ruled(rule: &'static str, where_: &'static str, given: usize, source: bayeslora_metrics::Error) -> Error {
    match source {
        bayeslora_metrics::Error::TooFew { got, expected: needed, .. } => {
            let in_all = needed.saturating_mul(given).div_ceil(got.max(1)).max(needed);
            Error::TooFew { rule, got, given, needed, where_, in_all }
        }
        source => Error::Rule { rule, source },
    }
}
