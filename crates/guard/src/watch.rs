//! Watching a guard after deployment: the risk among answers as labels arrive, and drift of the scores without labels.
//!
//! The state is a file of its own. It knows which ids it has seen, so that no line counts twice, and an alarm stays in it: the promise of a watch is
//! about its first alarm.

use std::collections::BTreeSet;
use std::path::Path;

use bayeslora_metrics::guarantee::{ChangeWatch, DriftWatch, RiskWatch, uniform};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::example::hashed;
use crate::guard::Guard;
use crate::seal::{digest_of, file, read_as, write};

/// Layout of the file.
const SCHEMA: u32 = 1;

/// How rare false alarms are.
///
/// | name | default | range |
/// |---|---|---|
/// | `alpha` | 0.05 | `(0, 1)` |
/// | `run_length` | 10,000 | `[1, 1e15]` |
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchSettings {
    /// Probability that the watch of risk ever gives a false alarm, and that the watch of drift does.
    pub alpha: f64,
    /// Labels until a false alarm of the watch of change, on average and at least.
    pub run_length: f64,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self { alpha: 0.05, run_length: 10_000.0 }
    }
}

/// One line of feedback: `{"id", "correct"}` on an answer, or `{"id", "score"}` of any input.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feedback {
    /// The input.
    pub id: String,
    /// Whether its answer was right.
    pub correct: Option<bool>,
    /// Its uncertainty.
    pub score: Option<f64>,
}

/// What an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlarmKind {
    /// The risk among answers is above the promise.
    Risk,
    /// The risk among answers has risen above the promise at some time.
    Change,
    /// Inputs are not those of calibration any more.
    Drift,
}

/// The first alarm of its kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alarm {
    /// What it is about.
    pub kind: AlarmKind,
    /// The line that gave it.
    pub id: String,
    /// Lines of its sort up to then, itself included.
    pub lines: usize,
}

/// State of the watches of one guard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    schema: u32,
    digest: String,
    guard: String,
    settings: WatchSettings,
    risk: Option<RiskWatch>,
    change: Option<ChangeWatch>,
    drift: DriftWatch,
    alarms: Vec<Alarm>,
    /// Hashed ids of labels.
    labelled: BTreeSet<u64>,
    /// Hashed ids of scores.
    scored: BTreeSet<u64>,
}

impl Watch {
    /// Before any feedback. Risk is watched where the guard promises a risk among answers.
    ///
    /// # Errors
    /// [`Error::Rule`] for settings out of range.
    pub fn new(guard: &Guard, settings: WatchSettings) -> Result<Self> {
        let ruled = |source| Error::Rule { rule: "watch", source };
        let risk = guard.rules().answer.as_ref().map(|answer| answer.risk);
        Ok(Self {
            schema: SCHEMA,
            digest: String::new(),
            guard: guard.digest().to_owned(),
            settings,
            risk: risk.map(|risk| RiskWatch::new(risk, settings.alpha)).transpose().map_err(ruled)?,
            change: risk.map(|risk| ChangeWatch::new(risk, settings.run_length)).transpose().map_err(ruled)?,
            drift: DriftWatch::new(&guard.scores, settings.alpha).map_err(ruled)?,
            alarms: Vec::new(),
            labelled: BTreeSet::new(),
            scored: BTreeSet::new(),
        })
    }

    /// Takes one line, and returns the alarms that it gave for the first time. What is refused does not count.
    ///
    /// # Errors
    /// [`Error::Feedback`] for an id seen before, for both or neither of verdict and score, a score that is not finite, and a verdict where the
    /// guard promises no risk among answers.
    pub fn observe(&mut self, line: &Feedback) -> Result<Vec<Alarm>> {
        let refused = |problem: String| Error::Feedback { id: line.id.clone(), problem };
        let own = hashed("watch", &line.id);
        let twice = || refused("was given before; a line counts once".to_owned());
        let (given, lines) = match (line.correct, line.score) {
            (Some(correct), None) => {
                let (Some(risk), Some(change)) = (&mut self.risk, &mut self.change) else {
                    let problem = "the guard promises no risk among answers, so no verdict is watched; send scores";
                    return Err(refused(problem.to_owned()));
                };
                if !self.labelled.insert(own) {
                    return Err(twice());
                }
                let given = [(AlarmKind::Risk, risk.observe(!correct)), (AlarmKind::Change, change.observe(!correct))];
                (given.to_vec(), self.labelled.len())
            }
            (None, Some(score)) => {
                if self.scored.contains(&own) {
                    return Err(twice());
                }
                let alarm = self.drift.observe(score, uniform(1, own)).map_err(|error| refused(error.to_string()))?;
                self.scored.insert(own);
                (vec![(AlarmKind::Drift, alarm)], self.scored.len())
            }
            (Some(_), Some(_)) => return Err(refused("has both correct and score; send two lines".to_owned())),
            (None, None) => return Err(refused("has neither correct nor score; send one of them".to_owned())),
        };
        let is_new = |kind| !self.alarms.iter().any(|alarm| alarm.kind == kind);
        let new = given.into_iter().filter(|&(kind, alarm)| alarm && is_new(kind));
        let new: Vec<Alarm> = new.map(|(kind, _)| Alarm { kind, id: line.id.clone(), lines }).collect();
        self.alarms.extend(new.iter().cloned());
        Ok(new)
    }

    /// The first alarm of each kind that there was. It stays.
    pub fn alarms(&self) -> &[Alarm] {
        &self.alarms
    }

    /// Wrong answers and labels so far; none where risk is not watched.
    pub fn counts(&self) -> Option<[u64; 2]> {
        self.risk.as_ref().map(RiskWatch::counts)
    }

    /// Wealth of the bet against no drift, from 1.
    pub fn drift(&self) -> f64 {
        self.drift.wealth()
    }

    /// Writes the state to a file.
    ///
    /// # Errors
    /// [`Error::Host`] when it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write(path, &self.clone().sealed())
    }

    /// Reads the state of this guard's watches from a file.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is damaged, was changed or belongs to another guard or to other settings.
    pub fn read(path: &Path, guard: &Guard, settings: WatchSettings) -> Result<Self> {
        let watch: Self = read_as(path, "state of watches", SCHEMA)?;
        if watch.clone().sealed().digest != watch.digest {
            return Err(file(path, "was changed since it was written; begin another state".to_owned()));
        }
        if watch.guard != guard.digest() {
            return Err(file(path, "is the state of another guard; begin another state".to_owned()));
        }
        let fresh = Self::new(guard, settings)?;
        if watch.settings != settings
            || fixed(&watch.risk) != fixed(&fresh.risk)
            || fixed(&watch.change) != fixed(&fresh.change)
        {
            return Err(file(path, "has other settings than asked for; keep those, or begin another state".to_owned()));
        }
        let labels = watch.counts().map_or(0, |[_, labels]| labels);
        let scores = fresh.drift.examples() + watch.scored.len();
        if labels != watch.labelled.len() as u64 || scores != watch.drift.examples() {
            return Err(file(path, "contradicts itself about the lines seen; begin another state".to_owned()));
        }
        Ok(Self { digest: String::new(), ..watch })
    }

    fn sealed(mut self) -> Self {
        self.digest.clear();
        self.digest = digest_of(&self);
        self
    }
}

/// What of a watch does not change: its risk, level, prior and run length.
fn fixed(watch: &impl Serialize) -> Vec<Option<Value>> {
    let value = serde_json::to_value(watch).unwrap_or_default();
    ["risk", "alpha", "prior", "run_length"].map(|name| value.get(name).cloned()).to_vec()
}
