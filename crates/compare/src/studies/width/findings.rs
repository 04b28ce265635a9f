//! Scores of rows at widths, and what the best width is worth.

use std::collections::BTreeMap;

use bayeslora_metrics::{PairedDifference, over_examples_and_seeds};

use crate::error::Result;

/// The width of the posterior as it was fitted.
pub(super) const FITTED: f64 = 1.0;

/// A metric of a test set that is shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shown {
    pub(super) domain: String,
    pub(super) metric: &'static str,
    /// Whether samples are divided by the temperature of that width.
    pub(super) is_tempered: bool,
}

/// One fit read at one width.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    /// Identifier of the row.
    pub(super) row: String,
    pub(super) label: String,
    pub(super) seed: u64,
    pub(super) width: f64,
    /// Nats.
    pub(super) validation_nll: f64,
    pub(super) scores: BTreeMap<Shown, f64>,
}

/// Everything that was measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured<'a> {
    /// Ascending.
    pub(super) widths: &'a [f64],
    /// Texts that were read: names of the sets with their numbers.
    pub(super) texts: &'a [(String, usize)],
    /// Units that failed, and have no fit to read.
    pub(super) failed: &'a [String],
    pub(super) readings: &'a [Reading],
    /// Scores that readings have, in the order of the page.
    pub(super) shown: &'a [Shown],
}

/// The readings of one row.
#[derive(Debug)]
pub(super) struct OfRow<'a> {
    row: &'a str,
    pub(super) label: &'a str,
    readings: Vec<&'a Reading>,
}

impl<'a> OfRow<'a> {
    /// Every row, in the order in which they come.
    pub(super) fn all(readings: &'a [Reading]) -> Vec<Self> {
        let mut rows: Vec<Self> = Vec::new();
        for reading in readings {
            match rows.iter_mut().find(|row| row.row == reading.row) {
                Some(row) => row.readings.push(reading),
                None => rows.push(Self { row: &reading.row, label: &reading.label, readings: vec![reading] }),
            }
        }
        rows
    }

    pub(super) fn seeds(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.readings.iter().map(|reading| reading.seed).collect();
        seeds.dedup();
        seeds
    }

    fn at(&self, seed: u64, width: f64) -> Option<&'a Reading> {
        let is_it = |reading: &&&Reading| reading.seed == seed && reading.width.total_cmp(&width).is_eq();
        self.readings.iter().find(is_it).copied()
    }

    /// A score at a width, seed by seed; none where some seed has none.
    pub(super) fn scores(&self, shown: &Shown, width: f64) -> Option<Vec<f64>> {
        self.seeds().into_iter().map(|seed| self.at(seed, width)?.scores.get(shown).copied()).collect()
    }

    /// The width of least validation NLL of each seed.
    pub(super) fn chosen(&self) -> Vec<f64> {
        let best = |seed| {
            let own = self.readings.iter().filter(|reading| reading.seed == seed);
            own.min_by(|a, b| a.validation_nll.total_cmp(&b.validation_nll)).map(|reading| reading.width)
        };
        self.seeds().into_iter().filter_map(best).collect()
    }

    /// A score at the chosen width of each seed.
    pub(super) fn at_chosen(&self, shown: &Shown) -> Option<Vec<f64>> {
        let pairs = self.seeds().into_iter().zip(self.chosen());
        pairs.map(|(seed, width)| self.at(seed, width)?.scores.get(shown).copied()).collect()
    }
}

/// Mean of `a - b` over seeds with its 95 % interval by Student's t, on these texts.
pub(super) fn difference(a: &[f64], b: &[f64]) -> Result<PairedDifference> {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    // Given the texts: what other texts would change is not in the interval.
    Ok(over_examples_and_seeds(&differences, 0.0, 1.0, 0.95)?)
}
