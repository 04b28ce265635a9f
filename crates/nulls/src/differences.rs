//! Families of rows that do not differ from the reference: how often is one found to, and how often is a true difference found?

use bayeslora_metrics::{Effect, Family, FamilyRow, Origin, Result as Tested, Seeds, holm};
use rayon::prelude::*;

use crate::counts::Share;
use crate::error::{Error, Result};
use crate::random::stream;
use crate::statistic::{Side, Statistic};
use crate::variant::{Compared, Variant};
use crate::world::{Drawn, World};

/// Level of the tests.
pub const LEVEL: f64 = 0.05;
/// Rows of a family.
pub const ROWS: usize = 20;
/// A true difference, in standard errors of the paired difference.
pub const EFFECT: f64 = 4.0;
/// Rows that have it where power is counted; the others have none.
const WITH_EFFECT: usize = 5;
/// Runs from which the scale of seeds is found.
const PILOTS: u64 = 12;
/// Rows of those.
const PILOT_ROWS: usize = 6;

/// What pilot runs found.
pub(crate) struct Pilot {
    /// Scale of seeds.
    pub(crate) sigma: f64,
    /// Standard error of a paired difference.
    pub(crate) error: f64,
    /// Variance over seeds over the persistent variance over texts.
    pub(crate) ratio: f64,
}

/// How much the rows vary over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scales {
    /// All as the reference.
    Equal,
    /// Two of twenty with three times the standard deviation.
    TwoLarge,
    /// From `1 / e` to `e` times, evenly on the logarithm.
    Graded,
}

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// What is compared.
    pub statistic: Statistic,
    /// Seeds of a row.
    pub seeds: usize,
    /// Fits of the reference.
    pub reference: usize,
    /// Variance over seeds of the paired difference over its persistent variance over texts.
    pub ratio: f64,
    /// Share of a seed's variance that row and reference have in common.
    pub common: f64,
    /// How much the rows vary over seeds.
    pub scales: Scales,
    /// What the test is told of seeds.
    pub told: Seeds,
}

/// How often a test rejected.
#[derive(Debug, Clone, Copy, Default)]
pub struct Level {
    /// Families with a false rejection, after Holm's correction.
    pub family: Share,
    /// Single tests.
    pub single: Share,
    /// True differences that were found, after Holm's correction.
    pub power: Share,
}

impl Level {
    /// Adds what other runs gave.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.family.add(other.family.found, other.family.of);
        self.single.add(other.single.found, other.single.of);
        self.power.add(other.power.found, other.power.of);
    }
}

/// What a cell gave.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was simulated.
    pub cell: Cell,
    /// The ratio that the runs had.
    pub ratio: f64,
    /// In the order of [`Variant::ALL`].
    pub levels: Vec<Level>,
}

impl Scales {
    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::TwoLarge => "two of 20 three times",
            Self::Graded => "graded from 1/e to e",
        }
    }

    fn of(self, rows: usize) -> Vec<f64> {
        let graded = |n: usize| (2.0 * n as f64 / (rows - 1) as f64 - 1.0).exp();
        match self {
            Self::Equal => vec![1.0; rows],
            // The first rows have a true difference where power is counted; those that vary more are among the last.
            Self::TwoLarge => (0..rows).map(|n| if n + 2 >= rows { 3.0 } else { 1.0 }).collect(),
            Self::Graded => (0..rows).map(|n| graded((n * 7) % rows)).collect(),
        }
    }
}

impl Cell {
    /// The main design: seeds resample the training set, and the reference has 20 fits.
    pub fn main(statistic: Statistic, seeds: usize, ratio: f64) -> Self {
        let (scales, told) = (Scales::Equal, Seeds::Shared);
        Self { statistic, seeds, reference: 20, ratio, common: 0.5, scales, told }
    }

    pub(crate) fn name(&self) -> String {
        format!("{}, S = {}, ratio {}", self.statistic.name(), self.seeds, self.ratio)
    }

    /// With what differs from the main design.
    pub(crate) fn design(&self) -> String {
        let told = if self.told == Seeds::Shared { "" } else { ", seeds apart" };
        let (name, scales) = (self.name(), self.scales.name());
        format!("{name}, rows {scales}, {} shared, {} reference fits{told}", self.common, self.reference)
    }

    pub(crate) fn world(&self, rows: usize, scales: Scales) -> World {
        World {
            texts: 300,
            shifted: self.statistic == Statistic::Shift,
            additive: self.statistic == Statistic::Mean,
            seeds: self.seeds,
            reference: self.reference,
            common: self.common,
            scales: scales.of(rows),
        }
    }

    /// Simulates `runs` families; `on_run` is called after each. The same for the same seed and number, whatever the threads.
    ///
    /// # Errors
    /// [`Error::Refused`] when a test refuses what was simulated.
    pub fn simulate(&self, number: u64, runs: u64, seed: u64, on_run: &(dyn Fn() + Sync)) -> Result<Outcome> {
        let refused = |source| Error::Refused { what: self.name(), source };
        let Pilot { sigma, error, .. } = self.calibrated(number, seed).map_err(refused)?;
        let world = self.world(ROWS, self.scales);
        let one = |run: u64| -> Tested<(Vec<Level>, [f64; 2])> {
            let found = self.run(&world.draw(sigma, &mut stream(seed, number, run)), error)?;
            on_run();
            Ok(found)
        };
        let found: Vec<_> = (0..runs).into_par_iter().map(one).collect::<Tested<_>>().map_err(refused)?;
        let mut levels = vec![Level::default(); Variant::ALL.len()];
        let mut variances = [0.0; 2];
        for (own, [over_seeds, over_texts]) in found {
            variances[0] += over_seeds;
            variances[1] += over_texts;
            for (level, own) in levels.iter_mut().zip(own) {
                level.merge(&own);
            }
        }
        Ok(Outcome { cell: *self, ratio: variances[0] / variances[1], levels })
    }

    fn run(&self, drawn: &Drawn, error: f64) -> Tested<(Vec<Level>, [f64; 2])> {
        let rows = self.compared(drawn)?;
        let none = vec![0.0; rows.len()];
        let shifts: Vec<f64> = (0..rows.len()).map(|n| if n < WITH_EFFECT { EFFECT * error } else { 0.0 }).collect();
        let rejected = |p_values: &[f64]| p_values.iter().filter(|&&p| p <= LEVEL).count() as u64;
        let mut levels = Vec::new();
        for variant in Variant::ALL {
            let p_values = variant.p_values(&rows, &none)?;
            let mut level = Level::default();
            level.family.add(u64::from(rejected(&holm(&p_values)?) > 0), 1);
            level.single.add(rejected(&p_values), rows.len() as u64);
            let with_effect = holm(&variant.p_values(&rows, &shifts)?)?;
            level.power.add(rejected(&with_effect[..WITH_EFFECT]), WITH_EFFECT as u64);
            levels.push(level);
        }
        Ok((levels, variances(&rows)))
    }

    /// By the test in use.
    pub(crate) fn effects(&self, drawn: &Drawn) -> Tested<Vec<Effect>> {
        let (rows, reference) = self.statistic.sides(drawn, self.seeds)?;
        self.family(&rows, &reference)
    }

    fn family(&self, rows: &[Side], reference: &Side) -> Tested<Vec<Effect>> {
        let rows = rows.iter().map(|row| FamilyRow { fits: &row.fits, origin: Origin::OwnFit }).collect();
        Family { reference: &reference.fits, rows, seeds: self.told }.compare(1.0 - LEVEL)
    }

    fn compared(&self, drawn: &Drawn) -> Tested<Vec<Compared>> {
        let (rows, reference) = self.statistic.sides(drawn, self.seeds)?;
        let effects = self.family(&rows, &reference)?;
        let texts = drawn.reference[0].inside.len() as f64 - 1.0;
        let compare = |(row, effect): (&Side, _)| -> Tested<Compared> {
            let pairs = row.fits.values().iter().zip(reference.fits.values());
            let differences = pairs.map(|(own, other)| own - other).collect();
            Ok(Compared {
                effect,
                before: row.measured.difference(&reference.measured, 1.0 - LEVEL)?,
                texts,
                differences,
            })
        };
        rows.iter().zip(effects).map(compare).collect()
    }

    /// The scale of seeds at which pilot runs have the wanted ratio.
    pub(crate) fn calibrated(&self, number: u64, seed: u64) -> Tested<Pilot> {
        let world = self.world(PILOT_ROWS, Scales::Equal);
        // Pilots have streams of their own, far from the runs'.
        let pilot = |sigma: f64| -> Tested<[f64; 2]> {
            let one = |run: u64| -> Tested<[f64; 2]> {
                Ok(variances(&self.compared(&world.draw(sigma, &mut stream(seed, number, 900_000 + run)))?))
            };
            let all: Vec<[f64; 2]> = (0..PILOTS).into_par_iter().map(one).collect::<Tested<_>>()?;
            Ok([0, 1].map(|part| all.iter().map(|own| own[part]).sum::<f64>() / PILOTS as f64))
        };
        let (mut low, mut high) = (1e-3_f64.ln(), 8.0_f64.ln());
        for _ in 0..10 {
            let middle = f64::midpoint(low, high);
            let [over_seeds, over_texts] = pilot(middle.exp())?;
            if over_seeds < self.ratio * over_texts { low = middle } else { high = middle }
        }
        let sigma = f64::midpoint(low, high).exp();
        let [over_seeds, over_texts] = pilot(sigma)?;
        Ok(Pilot { sigma, error: (over_seeds + over_texts).sqrt(), ratio: over_seeds / over_texts })
    }
}

/// Means over rows of the variance over seeds and the persistent variance over texts.
fn variances(rows: &[Compared]) -> [f64; 2] {
    let mean = |of: &dyn Fn(&Compared) -> f64| rows.iter().map(of).sum::<f64>() / rows.len() as f64;
    [mean(&Compared::over_seeds), mean(&|row| row.effect.error_over_texts.powi(2))]
}
