//! Runs every check on every law and decides.

use std::time::Instant;

use rayon::prelude::*;

use crate::claims::{CLAIMS, Claim, Grid, Law};
use crate::error::{Error, Result};
use crate::evidence::Evidence;

/// Family-wise error of the whole table.
pub const LEVEL: f64 = 0.01;
/// Error in a law that a check must see to decide for it.
pub const ERROR_SEEN: f64 = 1.1;
/// Share of seeds on which it must see it.
pub const POWER: f64 = 0.8;
/// Seeds on which power is counted, where there are as many.
pub const POWER_SEEDS: u64 = 40;

/// What is decided about a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It withstood a check that sees a 10 % error and refutes every wrong variant.
    Holds,
    /// The measurements contradict it.
    Fails,
    /// It withstood a check that would not have noticed.
    Undecided,
}

impl Verdict {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::Undecided => "undecided",
        }
    }
}

/// A wrong variant and what became of it.
#[derive(Debug, Clone)]
pub struct Refutation {
    /// The variant.
    pub variant: &'static str,
    /// Its p-value times the number of claims: what Holm's first step over the table leaves of it.
    pub p_value: f64,
    /// Whether it was refuted at the level of the table.
    pub refuted: bool,
}

/// A row of the table.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The claim.
    pub claim: &'static Claim,
    /// What the check found.
    pub evidence: Evidence,
    /// Its p-value after Holm's correction over the table.
    pub corrected: f64,
    /// What is decided.
    pub verdict: Verdict,
    /// Its wrong variants.
    pub refutations: Vec<Refutation>,
    /// Share of seeds on which a 10 % error in the law was seen at the level of the table; none for statements without a number.
    pub power: Option<f64>,
    /// Wall-clock seconds of the check on the law as stated.
    pub seconds: f64,
}

/// The whole table.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its rows.
    pub decisions: Vec<Decision>,
    /// Seeds on which false alarms were counted; power on the first [`POWER_SEEDS`] of them.
    pub seeds: u64,
    /// Seeds among them on which the quick grid rejected any law as stated, after Holm's correction.
    pub false_alarms: u64,
}

/// Runs the harness. `on_decided` is called with each claim's name when its checks are done.
///
/// The law as stated is checked on `grid`; wrong variants on the quick grid; false alarms on the quick grid too, on `seeds` further
/// seeds, and power on the first [`POWER_SEEDS`] of these. A wrong variant or a 10 % error counts as seen where the table with it would
/// reject it: its p-value is multiplied by the number of claims.
///
/// # Errors
/// When a check cannot be carried out at all.
pub fn run(grid: Grid, seed: u64, seeds: u64, on_decided: &(dyn Fn(&str) + Sync)) -> Result<Report> {
    decide(CLAIMS, grid, seed, seeds, on_decided)
}

/// [`run`] on claims of one's own.
///
/// # Errors
/// When a check cannot be carried out at all, or has no grid points.
pub fn decide(
    claims: &'static [Claim],
    grid: Grid,
    seed: u64,
    seeds: u64,
    on_decided: &(dyn Fn(&str) + Sync),
) -> Result<Report> {
    let mut decisions = Vec::new();
    // p-values of the laws as stated, seed by seed.
    let mut stated: Vec<Vec<f64>> = vec![Vec::new(); usize::try_from(seeds).unwrap_or(0)];
    for claim in claims {
        let started = Instant::now();
        let evidence = (claim.examine)(grid, seed, Law::Stated)?;
        let seconds = started.elapsed().as_secs_f64();
        if evidence.points == 0 || evidence.comparisons == 0 {
            return Err(Error::EmptyGrid { claim: claim.id });
        }
        // Among laws that hold, the smallest p-value of the table is multiplied by their number.
        let over_table =
            |p_value: f64| if p_value.is_nan() { p_value } else { (p_value * claims.len() as f64).min(1.0) };
        let mut refutations = Vec::new();
        for (number, &variant) in claim.wrong.iter().enumerate() {
            let p_value = over_table((claim.examine)(Grid::Quick, seed, Law::Wrong(number))?.p_value);
            refutations.push(Refutation { variant, p_value, refuted: is_rejected(p_value) });
        }
        let others = (1..=seeds)
            .into_par_iter()
            .map(|other| {
                let examine =
                    |law| (claim.examine)(Grid::Quick, seed.wrapping_add(other), law).map(|found| found.p_value);
                let scaled = if claim.quantitative && other <= POWER_SEEDS {
                    Some(over_table(examine(Law::Scaled(ERROR_SEEN))?))
                } else {
                    None
                };
                Ok((examine(Law::Stated)?, scaled))
            })
            .collect::<Result<Vec<(f64, Option<f64>)>>>()?;
        for (all, (p_value, _)) in stated.iter_mut().zip(&others) {
            all.push(*p_value);
        }
        let scaled: Vec<f64> = others.iter().filter_map(|(_, scaled)| *scaled).collect();
        let seen = scaled.iter().filter(|&&scaled| is_rejected(scaled)).count();
        let power = (!scaled.is_empty()).then(|| seen as f64 / scaled.len() as f64);
        decisions.push(Decision {
            claim,
            evidence,
            corrected: f64::NAN,
            verdict: Verdict::Undecided,
            refutations,
            power,
            seconds,
        });
        on_decided(claim.id);
    }
    let corrected = holm(&decisions.iter().map(|decision| decision.evidence.p_value).collect::<Vec<_>>());
    for (decision, corrected) in decisions.iter_mut().zip(corrected) {
        decision.corrected = corrected;
        let sharp = decision.power.is_none_or(|power| power >= POWER) && decision.refutations.iter().all(|r| r.refuted);
        decision.verdict = match (is_rejected(corrected), sharp) {
            (true, _) => Verdict::Fails,
            (false, true) => Verdict::Holds,
            (false, false) => Verdict::Undecided,
        };
    }
    let false_alarms = stated.iter().filter(|all| holm(all).into_iter().any(is_rejected)).count() as u64;
    Ok(Report { decisions, seeds, false_alarms })
}

/// NaN is no evidence for anything: it rejects.
fn is_rejected(p_value: f64) -> bool {
    p_value.is_nan() || p_value <= LEVEL
}

/// Holm's step-down correction (1979): adjusted p-values in the order given. NaN counts as 0: nothing was shown.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let p_values: Vec<f64> = p_values.iter().map(|p| if p.is_nan() { 0.0 } else { *p }).collect();
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut highest: f64 = 0.0;
    for (rank, &place) in order.iter().enumerate() {
        highest = highest.max((p_values[place] * (p_values.len() - rank) as f64).min(1.0));
        adjusted[place] = highest;
    }
    adjusted
}
