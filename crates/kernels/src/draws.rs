//! Which random words each row of each sample reads.

use std::ops::Range;

use rayon::prelude::*;

use crate::keep::Keep;
use crate::turn::Turn;
use crate::words::Counter;

/// Random words of the rows of activations `[samples, rows, width]`.
///
/// Samples come in groups that read the same words, each through its own turn; a group of one is a sample alone.
#[derive(Debug, Clone, Default)]
pub struct Draws {
    rows: usize,
    /// `[groups, rows]`.
    counters: Vec<Counter>,
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    group: usize,
    turn: Turn,
}

/// Rows that one task handles; fixed, so that the order of sums does not depend on the number of threads.
pub(crate) const ROWS_PER_TASK: usize = 64;

impl Draws {
    /// No sample yet of `rows` rows.
    pub fn of_rows(rows: usize) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Adds a group of samples: one for each of `turns`, `counters` row by row.
    ///
    /// # Errors
    /// When there is not one counter for each row.
    pub fn push_group(
        &mut self,
        counters: impl IntoIterator<Item = Counter>,
        turns: impl IntoIterator<Item = Turn>,
    ) -> candle_core::Result<()> {
        let before = self.counters.len();
        let group = before.checked_div(self.rows).unwrap_or(0);
        self.counters.extend(counters);
        if self.counters.len() - before != self.rows {
            candle_core::bail!("{} counters for {} rows", self.counters.len() - before, self.rows);
        }
        self.samples.extend(turns.into_iter().map(|turn| Sample { group, turn }));
        Ok(())
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.samples.len()
    }

    /// Number of rows of a sample.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The samples of each group.
    pub(crate) fn groups(&self) -> impl Iterator<Item = Range<usize>> {
        let mut start = 0;
        self.samples.chunk_by(|left, right| left.group == right.group).map(move |group| {
            let range = start..start + group.len();
            start = range.end;
            range
        })
    }

    /// Where `row` of `sample` draws its words.
    pub(crate) fn counter(&self, sample: usize, row: usize) -> Counter {
        self.counters[self.samples[sample].group * self.rows + row]
    }

    /// What `sample` makes of its group's words.
    pub(crate) fn turn(&self, sample: usize) -> Turn {
        self.samples[sample].turn
    }

    /// Rows `0..samples * rows` cut into tasks.
    pub(crate) fn tasks(&self) -> Vec<Range<usize>> {
        let total = self.samples() * self.rows;
        (0..total).step_by(ROWS_PER_TASK).map(|start| start..(start + ROWS_PER_TASK).min(total)).collect()
    }

    /// Calls `visit(index, mask)` with the `width` multipliers of the rows `range` of all samples; neighbours that share a draw
    /// share its mask.
    pub(crate) fn for_each_mask(
        &self,
        range: Range<usize>,
        width: usize,
        keep: Keep,
        mut visit: impl FnMut(usize, &[f32]),
    ) {
        let (mut words, mut mask) = (vec![0; width], vec![0.0; width]);
        let mut previous = None;
        for index in range {
            let (sample, row) = (index / self.rows, index % self.rows);
            let at = (self.counter(sample, row), self.turn(sample));
            if previous != Some(at) {
                let (counter, turn) = at;
                counter.fill(&mut words);
                turn.apply(&mut words);
                keep.fill(&words, &mut mask);
                previous = Some(at);
            }
            visit(index, &mask);
        }
    }

    /// All multipliers, `[samples, rows, width]`.
    pub fn multipliers(&self, width: usize, keep: Keep) -> Vec<f32> {
        let mut values = vec![0.0; self.samples() * self.rows * width];
        values.par_chunks_mut((ROWS_PER_TASK * width).max(1)).zip(self.tasks()).for_each(|(out, range)| {
            let first = range.start;
            self.for_each_mask(range, width, keep, |index, mask| {
                out[(index - first) * width..][..width].copy_from_slice(mask);
            });
        });
        values
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Six samples of `rows` rows in groups that begin before the first sample and end after the last, as coupled samples do;
    /// neighbouring pairs of rows share their words where `shared` says so.
    pub(crate) fn six_samples(rows: usize, group: usize, shared: bool) -> Draws {
        let mut draws = Draws::of_rows(rows);
        let numbers: Vec<u32> = (3..9).collect();
        for samples in numbers.chunk_by(|left, right| *left as usize / group == *right as usize / group) {
            let lead = samples[0] as usize / group;
            let row = |row: u32| if shared { row / 2 } else { row };
            let counter = |at: u32| Counter { key: [3, 0], upper: [row(at), 7, u32::try_from(lead).unwrap()] };
            let counters = (0..u32::try_from(rows).unwrap()).map(counter);
            let turn = |&sample: &u32| match sample as usize % group {
                0 => Turn::NONE,
                member => {
                    let shift = u32::try_from(member).unwrap() << (32 - group.ilog2());
                    Turn { factor: shift.wrapping_mul(2).wrapping_add(1), shift }
                }
            };
            draws.push_group(counters, samples.iter().map(turn)).unwrap();
        }
        draws
    }

    #[test]
    fn groups_are_those_that_were_pushed() {
        let draws = six_samples(5, 4, false);
        assert_eq!(draws.groups().collect::<Vec<_>>(), [0..1, 1..5, 5..6]);
        assert_eq!((draws.samples(), draws.rows()), (6, 5));
        assert!(Draws::of_rows(2).push_group([], [Turn::NONE]).is_err());
        assert!(Draws::of_rows(2).multipliers(3, Keep { threshold: 1 << 31, value: 2.0 }).is_empty());
    }
}
