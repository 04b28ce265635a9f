//! Rows whose true difference is the margin itself: how often are they called equivalent? And how often are rows without any difference?

use bayeslora_metrics::{Effect, Result as Tested, holm};
use rayon::prelude::*;

use crate::counts::Share;
use crate::differences::{Cell, LEVEL, ROWS};
use crate::error::{Error, Result};
use crate::random::stream;
use crate::statistic::Statistic;

/// The margin, in standard errors of the paired difference.
pub const MARGIN: f64 = 4.0;

/// How often rows were called equivalent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Calls {
    /// Families with a row at the margin that was, after Holm's correction.
    pub family: Share,
    /// Single rows at the margin.
    pub single: Share,
    /// Single rows without any difference.
    pub power: Share,
}

/// What a cell gave.
#[derive(Debug, Clone)]
pub struct Equivalences {
    /// What was simulated.
    pub cell: Cell,
    /// The ratio that the pilot runs had.
    pub ratio: f64,
    /// Two one-sided tests.
    pub tested: Calls,
    /// What is concluded where a difference is "not significant".
    pub no_star: Calls,
}

/// Simulates `runs` families; `on_run` is called after each.
///
/// # Errors
/// [`Error::Refused`] when a test refuses what was simulated.
pub fn equivalences(
    (seeds, ratio): (usize, f64),
    number: u64,
    runs: u64,
    seed: u64,
    on_run: &(dyn Fn() + Sync),
) -> Result<Equivalences> {
    let cell = Cell::main(Statistic::Mean, seeds, ratio);
    let refused = |source| Error::Refused { what: format!("equivalence, S = {seeds}, ratio {ratio}"), source };
    let pilot = cell.calibrated(number, seed).map_err(refused)?;
    let (world, margin) = (cell.world(ROWS, cell.scales), MARGIN * pilot.error);
    let one = |run: u64| -> Tested<[Calls; 2]> {
        let mut drawn = world.draw(pilot.sigma, &mut stream(seed, number, run));
        let none = cell.effects(&drawn)?;
        for value in drawn.rows.iter_mut().flatten().flat_map(|fit| fit.inside.iter_mut()) {
            *value += margin;
        }
        let at_margin = cell.effects(&drawn)?;
        on_run();
        let p_value = |effect: &Effect| Ok(effect.equivalence(margin, LEVEL)?.p_value);
        let each = |effects: &[Effect]| effects.iter().map(p_value).collect::<Tested<Vec<f64>>>();
        let (level, power) = (each(&at_margin)?, each(&none)?);
        // Not significant counts as shown: its "p-value" is small where that of no difference is large.
        let mut tested = Calls::default();
        tested.family.add(u64::from(shown(&holm(&level)?) > 0), 1);
        tested.single.add(shown(&level), ROWS as u64);
        tested.power.add(shown(&power), ROWS as u64);
        let unstarred = |effects: &[Effect]| effects.iter().filter(|effect| effect.corrected > LEVEL).count() as u64;
        let mut no_star = Calls::default();
        no_star.family.add(u64::from(unstarred(&at_margin) > 0), 1);
        no_star.single.add(unstarred(&at_margin), ROWS as u64);
        no_star.power.add(unstarred(&none), ROWS as u64);
        Ok([tested, no_star])
    };
    let found: Vec<[Calls; 2]> = (0..runs).into_par_iter().map(one).collect::<Tested<_>>().map_err(refused)?;
    let [mut tested, mut no_star] = [Calls::default(); 2];
    for own in found {
        for (sum, own) in [&mut tested, &mut no_star].into_iter().zip(own) {
            sum.family.add(own.family.found, own.family.of);
            sum.single.add(own.single.found, own.single.of);
            sum.power.add(own.power.found, own.power.of);
        }
    }
    Ok(Equivalences { cell, ratio: pilot.ratio, tested, no_star })
}

fn shown(p_values: &[f64]) -> u64 {
    p_values.iter().filter(|&&p| p <= LEVEL).count() as u64
}
