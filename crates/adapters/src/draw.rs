//! What a forward pass draws: nothing, or numbered samples for numbered rows.

use std::ops::Range;

use bayeslora_kernels::{Draws, Packing};
use rayon::prelude::*;

use crate::error::Result;
use crate::noise::{Address, Noise};
use crate::site::MaskScope;
use crate::slot::Slot;

/// Which example and which position each packed row of activations belongs to.
///
/// Sentences are packed one after another without padding; these numbers, not the row's place in the batch, address
/// the noise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    examples: Vec<u64>,
    positions: Vec<u32>,
}

impl Rows {
    /// Rows of whole sentences: sentence `i` is example `examples[i]` and `lengths[i]` tokens long.
    pub fn of_sentences(examples: &[u64], lengths: &[usize]) -> Self {
        let mut rows = Self::default();
        for (&example, &length) in examples.iter().zip(lengths) {
            rows.examples.extend(std::iter::repeat_n(example, length));
            rows.positions.extend((0..Address::ANY).take(length));
        }
        rows
    }

    /// Rows of packed examples: a continuation's positions go on where its prompt ends, so that all continuations of an example share
    /// its noise, position by position.
    pub fn of_packing(examples: &[u64], packing: &Packing) -> Self {
        let mut rows = Self::default();
        for (&example, layout) in examples.iter().zip(packing.layouts()) {
            rows.examples.extend(std::iter::repeat_n(example, layout.rows()));
            rows.positions.extend(layout.positions().map(|position| u32::try_from(position).unwrap_or(Address::ANY)));
        }
        rows
    }

    /// The rows at `indices` among these.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn at(&self, indices: &[u32]) -> Self {
        let at = |&index: &u32| (self.examples[index as usize], self.positions[index as usize]);
        let (examples, positions) = indices.iter().map(at).unzip();
        Self { examples, positions }
    }

    /// Address of the noise of `row` in `sample`.
    pub(crate) fn address(&self, slot: Slot, scope: MaskScope, sample: u32, row: usize) -> Address {
        let (example, position) = match scope {
            MaskScope::Token => (self.examples[row], self.positions[row]),
            MaskScope::Sequence => (self.examples[row], Address::ANY),
            MaskScope::Sample => (Address::SHARED, Address::ANY),
        };
        Address { slot, sample, example, position }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }
}

/// The samples to draw for some rows.
#[derive(Debug, Clone)]
pub struct Sampling<'a> {
    /// Source of the noise.
    pub noise: Noise,
    /// Numbers of the samples; as many as the sample axis of the result is long.
    pub samples: Range<u32>,
    /// The rows.
    pub rows: &'a Rows,
    /// Whether to compute the divergence from the prior, where the posterior has one.
    pub with_divergence: bool,
}

/// What a forward pass draws.
#[derive(Debug, Clone)]
pub enum Draw<'a> {
    /// Nothing: the multipliers are at their mean.
    Mean,
    /// Samples.
    Sampled(Sampling<'a>),
}

impl Draw<'_> {
    /// The same draw for other rows.
    pub fn with_rows<'b>(&'b self, rows: &'b Rows) -> Draw<'b> {
        match self {
            Draw::Mean => Draw::Mean,
            Draw::Sampled(sampling) => Draw::Sampled(Sampling { rows, ..sampling.clone() }),
        }
    }
}

/// Rows that one task of the thread pool fills.
const ROWS_PER_TASK: usize = 64;

impl Sampling<'_> {
    /// Number of samples.
    pub fn count(&self) -> usize {
        self.samples.len()
    }

    /// Address of the noise of row `index % rows` in sample `index / rows`.
    pub(crate) fn address(&self, slot: Slot, scope: MaskScope, index: usize) -> Address {
        let (sample, row) = (index / self.rows.len(), index % self.rows.len());
        // As many as fit the range: the sample axis is as long as it.
        let sample = self.samples.clone().nth(sample).unwrap_or(self.samples.end);
        self.rows.address(slot, scope, sample, row)
    }

    /// The rows cut where the draw changes: neighbours that share their noise in every sample.
    pub(crate) fn shared_rows(&self, scope: MaskScope) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let at = |row| self.rows.address(Slot::NONE, scope, 0, row);
        for row in 0..self.rows.len() {
            match ranges.last_mut() {
                Some(range) if at(range.start) == at(row) => range.end = row + 1,
                _ => ranges.push(row..row + 1),
            }
        }
        ranges
    }

    /// Where every row of every sample draws its words.
    pub(crate) fn draws(&self, slot: Slot, scope: MaskScope) -> Result<Draws> {
        let coupling = self.noise.coupling();
        let mut draws = Draws::of_rows(self.rows.len());
        let mut start = self.samples.start;
        while start < self.samples.end {
            let lead = coupling.first(start);
            let end = lead.saturating_add(coupling.group()).min(self.samples.end);
            let counter = |row| self.noise.counter(self.rows.address(slot, scope, lead, row));
            let turns = (start..end).map(|sample| coupling.turn(sample));
            draws.push_group((0..self.rows.len()).map(counter), turns)?;
            start = end;
        }
        Ok(draws)
    }

    /// Standard normal numbers `[samples, rows, width]`.
    pub(crate) fn normals(&self, slot: Slot, scope: MaskScope, width: usize) -> Vec<f32> {
        self.filled(slot, scope, width, |at, scratch, out| self.noise.fill_normal(at, scratch, out))
    }

    /// Random words `[samples, rows, width]`, after their turns.
    pub(crate) fn words(&self, slot: Slot, scope: MaskScope, width: usize) -> Vec<u32> {
        self.filled(slot, scope, width, |at, _, out| self.noise.fill_words(at, out))
    }

    /// Numbers `[samples, rows, width]` that `fill` makes for the address of each row.
    fn filled<T: Copy + Default + Send>(
        &self,
        slot: Slot,
        scope: MaskScope,
        width: usize,
        fill: impl Fn(Address, &mut Vec<u32>, &mut [T]) + Sync,
    ) -> Vec<T> {
        let mut values = vec![T::default(); self.count() * self.rows.len() * width];
        values.par_chunks_mut(ROWS_PER_TASK * width).enumerate().for_each(|(task, chunk)| {
            let mut scratch = Vec::new();
            let mut previous: Option<Address> = None;
            for row in 0..chunk.len() / width {
                let at = self.address(slot, scope, task * ROWS_PER_TASK + row);
                let (before, rest) = chunk.split_at_mut(row * width);
                let out = &mut rest[..width];
                // Neighbouring rows that share a draw copy it instead of drawing it again.
                if previous == Some(at) {
                    out.copy_from_slice(&before[(row - 1) * width..]);
                } else {
                    fill(at, &mut scratch, out);
                    previous = Some(at);
                }
            }
        });
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Stream;
    use crate::slot::TargetMap;

    #[test]
    fn continuations_of_an_example_share_its_noise() {
        use bayeslora_kernels::Layout;
        let layouts = [Layout { prompt: 2, continuations: vec![2, 1] }, Layout::text(3)];
        let rows = Rows::of_packing(&[4, 9], &Packing::from_layouts(layouts));
        assert_eq!(rows.examples, [4, 4, 4, 4, 4, 9, 9, 9]);
        assert_eq!(rows.positions, [0, 1, 2, 3, 2, 0, 1, 2]);
        assert_eq!(Rows::of_packing(&[4, 9], &Packing::from_lengths(&[3, 2])), Rows::of_sentences(&[4, 9], &[3, 2]));
    }

    #[test]
    fn scopes_share_what_they_say() {
        let rows = Rows::of_sentences(&[4, 9], &[3, 2]);
        assert_eq!(rows.len(), 5);
        let sampling =
            Sampling { noise: Noise::new(1, Stream::Predictive), samples: 0..2, rows: &rows, with_divergence: false };
        let slot = Slot::new(0, TargetMap::Query);
        let row = |values: &[f32], sample: usize, row: usize| values[(sample * 5 + row) * 8..][..8].to_vec();

        let token = sampling.normals(slot, MaskScope::Token, 8);
        assert_ne!(row(&token, 0, 0), row(&token, 0, 1));
        let sequence = sampling.normals(slot, MaskScope::Sequence, 8);
        assert_eq!(row(&sequence, 0, 0), row(&sequence, 0, 2));
        assert_ne!(row(&sequence, 0, 0), row(&sequence, 0, 3));
        assert_ne!(row(&sequence, 0, 0), row(&sequence, 1, 0));
        assert_eq!(sampling.shared_rows(MaskScope::Sequence), [0..3, 3..5]);
        assert_eq!(sampling.shared_rows(MaskScope::Sample), vec![0..5; 1]);
        assert_eq!(sampling.shared_rows(MaskScope::Token).len(), 5);
        let sample = sampling.normals(slot, MaskScope::Sample, 8);
        assert_eq!(row(&sample, 0, 0), row(&sample, 0, 4));
        assert_ne!(row(&sample, 0, 0), row(&sample, 1, 0));
    }
}
