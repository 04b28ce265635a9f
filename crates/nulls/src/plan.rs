//! What is simulated for the table, and all of it run.

use bayeslora_metrics::Seeds;

use crate::association::{Associations, associations};
use crate::counts::Share;
use crate::differences::{Cell, Outcome, Scales};
use crate::equivalence::{Equivalences, equivalences};
use crate::error::Result;
use crate::statistic::Statistic;

/// Seeds of a row.
const SEEDS: [usize; 3] = [3, 5, 10];
/// Variance over seeds over the persistent variance over texts.
const RATIOS: [f64; 5] = [0.3, 1.0, 3.0, 10.0, 20.0];
/// Those of simulations that take longer.
const FEW_RATIOS: [f64; 3] = [0.3, 3.0, 20.0];

/// How much is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grid {
    /// A few runs of a few cells, to see that everything works.
    Quick,
    /// The table.
    Full,
}

/// Everything that was simulated.
#[derive(Debug, Clone)]
pub struct Report {
    /// Every statistic in the main design.
    pub main: Vec<Outcome>,
    /// Means in other designs.
    pub designs: Vec<Outcome>,
    /// Association given the entropy.
    pub associations: Vec<Associations>,
    /// Equivalence within a margin.
    pub equivalences: Vec<Equivalences>,
}

/// Numbers of runs.
struct Runs {
    means: u64,
    designs: u64,
    shift: u64,
    resampled: u64,
    association: u64,
    equivalence: u64,
}

impl Grid {
    fn runs(self) -> Runs {
        match self {
            Self::Quick => Runs { means: 20, designs: 20, shift: 10, resampled: 10, association: 20, equivalence: 20 },
            Self::Full => {
                Runs { means: 1000, designs: 2000, shift: 1000, resampled: 250, association: 1000, equivalence: 500 }
            }
        }
    }

    fn seeds(self) -> &'static [usize] {
        if self == Self::Full { &SEEDS } else { &SEEDS[1..2] }
    }

    fn ratios(self, statistic: Statistic) -> &'static [f64] {
        match (self, statistic) {
            (Self::Quick, _) => &FEW_RATIOS[..2],
            (Self::Full, Statistic::Accuracy | Statistic::Nll) => &RATIOS,
            (Self::Full, _) => &FEW_RATIOS,
        }
    }

    /// The main design with its runs.
    fn main(self) -> Vec<(Cell, u64)> {
        let runs = self.runs();
        let mut cells = Vec::new();
        for statistic in Statistic::ALL {
            let runs = match statistic {
                Statistic::Accuracy | Statistic::Nll | Statistic::Mean => runs.means,
                Statistic::Shift => runs.shift,
                Statistic::Ece | Statistic::Aurc => runs.resampled,
            };
            for &seeds in self.seeds() {
                cells.extend(self.ratios(statistic).iter().map(|&ratio| (Cell::main(statistic, seeds, ratio), runs)));
            }
        }
        cells
    }

    /// Other designs: rows that vary unequally, seeds that mean nothing, a reference without further fits.
    fn designs(self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for &seeds in self.seeds().iter().filter(|&&seeds| seeds > 3) {
            for &ratio in if seeds == 5 { &[1.0, 20.0][..] } else { &[20.0] } {
                let main = Cell::main(Statistic::Mean, seeds, ratio);
                for scales in [Scales::Equal, Scales::TwoLarge, Scales::Graded] {
                    cells.extend([0.0, 0.5].map(|common| Cell { common, scales, ..main }));
                }
                cells.push(Cell { common: 0.0, told: Seeds::Apart, ..main });
                for scales in [Scales::Equal, Scales::TwoLarge] {
                    cells.push(Cell { reference: seeds, scales, ..main });
                }
            }
        }
        cells
    }

    fn associations(self) -> Vec<(usize, usize)> {
        match self {
            Self::Quick => vec![(5, 300)],
            Self::Full => vec![(1, 300), (3, 300), (5, 300), (5, 900), (10, 300)],
        }
    }

    fn equivalences(self) -> Vec<(usize, f64)> {
        self.seeds().iter().flat_map(|&seeds| FEW_RATIOS.map(|ratio| (seeds, ratio))).collect()
    }

    /// Work of all simulations, in about equal units.
    pub fn work(self) -> u64 {
        let runs = self.runs();
        let main: u64 = self.main().iter().map(|(cell, runs)| runs * cell.statistic.cost()).sum();
        let designs = self.designs().len() as u64 * runs.designs;
        let association: u64 = self.associations().iter().map(|&of| runs.association * cost(of)).sum();
        main + designs + association + self.equivalences().len() as u64 * runs.equivalence * 2
    }
}

/// Work of a run of an association.
fn cost((fits, texts): (usize, usize)) -> u64 {
    ((fits * texts) as u64).div_ceil(600)
}

/// Runs everything; `on_work` is told of finished work, `on_cell` what each cell gave. The same for the same seed, whatever the threads.
///
/// # Errors
/// [`Error::Refused`](crate::Error::Refused) when a test refuses what was simulated.
pub fn run(grid: Grid, seed: u64, on_work: &(dyn Fn(u64) + Sync), on_cell: &dyn Fn(&str)) -> Result<Report> {
    let runs = grid.runs();
    let gave =
        |name: &str, share: Share| on_cell(&format!("{name}: {:.3} (at most {:.3})", share.value(), share.upper()));
    let mut report =
        Report { main: Vec::new(), designs: Vec::new(), associations: Vec::new(), equivalences: Vec::new() };
    let mut numbers = 1..;
    let mut next = || numbers.next().unwrap_or(0);
    for (cell, runs) in grid.main() {
        let work = cell.statistic.cost();
        let outcome = cell.simulate(next(), runs, seed, &|| on_work(work))?;
        gave(&cell.name(), outcome.levels[0].family);
        report.main.push(outcome);
    }
    for cell in grid.designs() {
        let outcome = cell.simulate(next(), runs.designs, seed, &|| on_work(1))?;
        gave(&cell.design(), outcome.levels[0].family);
        report.designs.push(outcome);
    }
    for of in grid.associations() {
        let found = associations(of, next(), runs.association, seed, &|| on_work(cost(of)))?;
        gave(&format!("association, {} fits on {} texts", of.0, of.1), found.levels[0].family);
        report.associations.push(found);
    }
    for of in grid.equivalences() {
        let found = equivalences(of, next(), runs.equivalence, seed, &|| on_work(2))?;
        gave(&format!("equivalence, S = {}, ratio {}", of.0, of.1), found.tested.family);
        report.equivalences.push(found);
    }
    Ok(report)
}
