//! Runs a measurement set: fresh workers for every point, agreement first, then runs that alternate between them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use bayeslora_adapters::DropoutSite;

use crate::agreement::{Exact, Found, deterministic, precision, samples};
use crate::contestants::Side;
use crate::machine::others;
use crate::plan::{Check, Entry, Plan, Point, SEED};
use crate::protocol::{Connection, Job, Request, Work};
use crate::record::{Agreement, Errors, Machine, Measurement, Record, SCHEMA};
use crate::sets::Set;

/// Starts workers.
pub(crate) struct Workers {
    /// The interpreter that has requirements.txt.
    pub(crate) python: PathBuf,
    /// worker.py.
    pub(crate) script: PathBuf,
}

/// A contestant at work.
struct Live<'a> {
    entry: &'a Entry,
    worker: Option<Connection>,
    measurement: Measurement,
    outputs: Vec<f32>,
}

impl Workers {
    fn start(&self, entry: &Entry, threads: usize) -> Result<Connection> {
        let Entry { contestant, work, .. } = entry;
        let mut command = match contestant.side {
            Side::Ours => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("worker");
                command
            }
            Side::Peer => {
                let mut command = Command::new(&self.python);
                command
                    .args(["-W", "ignore"])
                    .arg(&self.script)
                    .env("HF_HUB_OFFLINE", "1")
                    .env("TOKENIZERS_PARALLELISM", "false");
                command
            }
        };
        let threads_word = threads.to_string();
        for name in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"] {
            command.env(name, &threads_word);
        }
        // Candle's second pool would spin against rayon's.
        command.env("CANDLE_NUM_THREADS", "1").env("OPENBLAS_NUM_THREADS", "1");
        let job = Job { threads, seed: SEED, variant: contestant.variant.to_owned(), work: work.clone() };
        Connection::start(contestant.id, command, &job)
    }
}

/// Settings by which a record is recognised: everything asked for, without folders.
fn settings(points: &[Point]) -> serde_json::Value {
    let entry = |entry: &Entry| {
        let mut work = serde_json::to_value(&entry.work).unwrap_or_default();
        for key in ["model", "adapter", "input"] {
            if let Some(value) = work.get_mut(key) {
                let name =
                    value.as_str().and_then(|path| Path::new(path).file_name()).map(|name| name.to_string_lossy());
                *value = name.map_or(serde_json::Value::Null, |name| name.into_owned().into());
            }
        }
        serde_json::json!({ "contestant": entry.contestant.id, "variant": entry.contestant.variant, "work": work })
    };
    points
        .iter()
        .map(|point| {
            let entries: Vec<_> = point.entries.iter().map(entry).collect();
            serde_json::json!({ "at": point.at, "threads": point.threads, "entries": entries })
        })
        .collect::<Vec<_>>()
        .into()
}

/// Measures `set`, unless its record is there with the same settings. Returns whether anything ran.
pub(crate) fn measure(set: &Set, plan: &Plan<'_>, workers: &Workers, again: bool, note: &dyn Fn(&str)) -> Result<bool> {
    let points = (set.points)(plan)?;
    let settings = settings(&points);
    if !again && Record::read(plan.records, set.id)?.is_some_and(|record| record.settings == settings) {
        return Ok(false);
    }
    let mut record = Record {
        schema: SCHEMA,
        set: set.id.to_owned(),
        is_quick: plan.is_quick,
        settings,
        machine: Machine::here(plan.threads),
        others: None,
        agreement: Vec::new(),
        measurements: Vec::new(),
    };
    for point in &points {
        note(&format!("{}: {}", set.title, point.at));
        run_point(set, point, plan, workers, &mut record)?;
    }
    if record.was_disturbed() {
        note(&format!("{}: other programs were computing; measure it again with --again --only {}", set.title, set.id));
    }
    record.write(plan.records)?;
    Ok(true)
}

fn run_point(set: &Set, point: &Point, plan: &Plan<'_>, workers: &Workers, record: &mut Record) -> Result<()> {
    // Loaded side by side; from here on one computes at a time.
    let mut live = Vec::new();
    for entry in &point.entries {
        let worker = Some(workers.start(entry, point.threads)?);
        let measurement = Measurement {
            contestant: entry.contestant.id.to_owned(),
            at: point.at,
            flops: entry.cost.flops,
            bytes: entry.cost.bytes,
            ..Measurement::default()
        };
        live.push(Live { entry, worker, measurement, outputs: Vec::new() });
    }
    for one in &mut live {
        let Some(worker) = &mut one.worker else { continue };
        match worker.ready()? {
            Ok(ready) => {
                one.measurement.worker = ready.settings;
                one.measurement.ready_bytes = ready.peak_bytes;
                if one.entry.contestant.side == Side::Peer {
                    record.machine.versions.extend(ready.versions);
                }
            }
            Err(reason) => one.give_up(reason)?,
        }
    }
    for one in &mut live {
        one.warm()?;
    }
    record.notice(others());
    // The first round is the one whose outputs are compared: nothing counts until they agree.
    let mut spent = 0.0;
    for round in 0..if plan.is_quick { set.rounds.min(2) } else { set.rounds } {
        if round > 0 && spent > set.budget {
            break;
        }
        for one in &mut live {
            spent += one.run()?;
        }
        if round == 0 {
            compare(point, &mut live, record)?;
            measure_precision(point, &mut live)?;
        }
    }
    record.notice(others());
    if let Some(reference) = reference(set.id, plan)? {
        for one in &mut live {
            one.measurement.errors = errors(&reference, &one.outputs);
        }
    }
    for mut one in live {
        if set.id == "reference" {
            one.measurement.values = std::mem::take(&mut one.outputs);
        }
        record.measurements.push(one.measurement);
    }
    Ok(())
}

impl Live<'_> {
    /// A variant of PyTorch may be unable to do something; ours may not.
    fn give_up(&mut self, reason: String) -> Result<()> {
        let is_optional = self.entry.contestant.variant.contains("compiled");
        if !is_optional {
            bail!("{}: {reason}", self.entry.contestant.id);
        }
        self.worker = None;
        self.measurement.failed = Some(reason);
        self.measurement.seconds.clear();
        Ok(())
    }

    fn warm(&mut self) -> Result<()> {
        let Some(worker) = &mut self.worker else { return Ok(()) };
        match worker.run(&Request::Warm)? {
            Ok(ran) => self.measurement.warm_seconds = ran.seconds,
            Err(reason) => self.give_up(reason)?,
        }
        Ok(())
    }

    /// One timed run; its seconds.
    fn run(&mut self) -> Result<f64> {
        let Some(worker) = &mut self.worker else { return Ok(0.0) };
        match worker.run(&Request::Run)? {
            Ok(ran) => {
                self.measurement.seconds.push(ran.seconds);
                // Of the first run: reading its outputs touches memory that the work does not need.
                self.measurement.peak_bytes = self.measurement.peak_bytes.or(ran.peak_bytes);
                (self.measurement.tokens, self.measurement.padded) = (ran.tokens, ran.padded);
                self.measurement.parts = ran.parts;
                Ok(ran.seconds)
            }
            Err(reason) => self.give_up(reason).map(|()| 0.0),
        }
    }
}

/// What everybody's samples are beside ours, where that is asked.
fn measure_precision(point: &Point, live: &mut [Live<'_>]) -> Result<()> {
    let ours = live.iter().find(|one| one.entry.contestant.side == Side::Ours).map(|one| one.outputs.clone());
    let Some(ours) = ours.filter(|_| point.check == Check::Precision) else { return Ok(()) };
    for one in live.iter_mut().filter(|one| one.worker.is_some()) {
        one.measurement.precision = Some(precision(&ours, &one.outputs)?);
    }
    Ok(())
}

/// Holds everybody's outputs against ours (or the exact ones), and stops at a disagreement.
fn compare(point: &Point, live: &mut [Live<'_>], record: &mut Record) -> Result<()> {
    for one in live.iter_mut() {
        let is_predictive = matches!(one.entry.work, Work::Predict { .. });
        if let Some(worker) = one.worker.as_mut().filter(|_| point.check != Check::Nothing || is_predictive) {
            one.outputs = worker.outputs()?;
        }
    }
    let Some(ours) = live.iter().find(|one| one.entry.contestant.side == Side::Ours) else { return Ok(()) };
    let mut exact: Vec<(&str, Exact)> = Vec::new();
    for one in live.iter().filter(|one| one.worker.is_some()) {
        let found: Vec<Found> = match point.check {
            Check::Nothing | Check::Precision => continue,
            Check::Equal | Check::Samples(_) if one.entry.contestant.id == ours.entry.contestant.id => continue,
            Check::Equal => {
                let is_training = matches!(one.entry.work, Work::Train { .. });
                vec![deterministic(&ours.outputs, &one.outputs, is_training)]
            }
            Check::Samples(count) => samples(&ours.outputs, &one.outputs, count),
            Check::Layer(count) => {
                let Work::Layer { input, scale, dropout, .. } = &one.entry.work else { continue };
                let own = one.entry.contestant.variant;
                // PEFT's dropout is at the input.
                let site = own.parse().unwrap_or(DropoutSite::Input);
                if !exact.iter().any(|(word, _)| *word == site.word()) {
                    exact.push((site.word(), Exact::of(input, *scale, *dropout, site)?));
                }
                let of_site = exact.iter().find(|(word, _)| *word == site.word()).context("exact moments")?;
                of_site.1.compare(&one.outputs, count)
            }
        };
        for Found { of, statistic, limit, farthest } in found {
            let contestant = one.entry.contestant;
            let (a, b) = farthest.unwrap_or((f64::NAN, f64::NAN));
            // A statistic that is not a number is a disagreement too.
            let agrees = statistic <= limit;
            if contestant.must_agree && !agrees {
                bail!(
                    "{} disagrees with ours at {}: {of} is {statistic:.3e}, above {limit:.0e}; farthest apart: ours {a}, \
                     theirs {b}; nothing was recorded",
                    contestant.id,
                    point.at
                );
            }
            record.agreement.push(Agreement {
                contestant: contestant.id.to_owned(),
                at: point.at,
                of,
                statistic,
                limit,
                farthest,
                is_enforced: contestant.must_agree,
            });
        }
    }
    Ok(())
}

/// The reference's values, for the sets on its texts.
fn reference(set: &str, plan: &Plan<'_>) -> Result<Option<Vec<f32>>> {
    if set != "samples" {
        return Ok(None);
    }
    let record = Record::read(plan.records, "reference")?.context("measure the set reference first")?;
    Ok(record.measurements.into_iter().next().map(|one| one.values))
}

/// Distance from the reference, `[4, texts, classes]` both.
fn errors(reference: &[f32], values: &[f32]) -> Option<Errors> {
    let quarter = reference.len() / 4;
    if quarter == 0 || values.len() != reference.len() {
        return None;
    }
    let of = |row: usize| {
        let range = row * quarter..(row + 1) * quarter;
        let pairs = || reference[range.clone()].iter().zip(&values[range.clone()]);
        let squares: f64 = pairs().map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
        let size: f64 = pairs().map(|(&a, _)| f64::from(a).powi(2)).sum();
        let is_zero = pairs().all(|(_, &b)| b == 0.0);
        ((squares / quarter as f64).sqrt(), (squares / size).sqrt(), is_zero)
    };
    let relative = |row: usize| Some(of(row)).filter(|found| !found.2).map(|found| found.1);
    Some(Errors { mean: of(0).0, variance: relative(1), logit_variance: relative(3) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_by_hand() {
        // Mean probabilities 0.5, 0.5; variances 3, 4; mean logits; logit variances 1, 1.
        let reference = [0.5, 0.5, 3.0, 4.0, 0.0, 0.0, 1.0, 1.0];
        let values = [0.8, 0.9, 3.0, 3.0, 7.0, 7.0, 1.0, 3.0];
        let found = errors(&reference, &values).unwrap();
        assert!((found.mean - (0.125_f64).sqrt()).abs() < 1e-7, "{found:?}");
        assert!((found.variance.unwrap() - 0.2).abs() < 1e-7);
        assert!((found.logit_variance.unwrap() - 2.0_f64.sqrt()).abs() < 1e-7);
        let single = [0.8, 0.9, 0.0, 0.0, 7.0, 7.0, 0.0, 0.0];
        assert_eq!(errors(&reference, &single).unwrap().variance, None);
        assert_eq!(errors(&reference, &values[..4]), None);
    }
}
