//! How the work of attention is laid out within a thread: blocks of keys as columns, tiles of queries, and the memory for them.

use std::ops::Range;

use super::context::{Context, Family, Segment};
use super::heads::Heads;

/// Keys that one step of the scores handles side by side, and queries that share them: eight vector registers of sums.
pub(super) const LANES: usize = 32;
pub(super) const QUERIES: usize = 4;

/// Values of a cache line.
const LINE: usize = 16;

/// Blocks of lanes that begin at the boundary of a cache line, which vector loads must not cross.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    memory: Vec<f32>,
    start: usize,
    count: usize,
}

impl Lanes {
    /// Makes room for `count` blocks, which hold whatever was there.
    fn fit(&mut self, count: usize) {
        let length = count * LANES + LINE;
        if self.memory.len() < length {
            self.memory.resize(length, 0.0);
            self.start = self.memory.as_ptr().align_offset(size_of::<[f32; LINE]>()).min(LINE);
        }
        self.count = count;
    }

    /// The blocks.
    #[inline(always)]
    pub(super) fn blocks(&mut self) -> &mut [[f32; LANES]] {
        self.memory[self.start..][..self.count * LANES].as_chunks_mut().0
    }
}

/// Buffers that calls of [`attend`](super::attend()) reuse.
#[derive(Debug, Default)]
pub struct AttentionScratch {
    pub(super) plan: Plan,
    /// Keys of one head, as [`columns`](super::products::columns).
    pub(super) keys: Lanes,
    /// Values of one head, as [`columns`](super::products::columns).
    pub(super) values: Lanes,
    /// Weights of `QUERIES` queries, by blocks of keys.
    pub(super) scores: Lanes,
    /// Their slopes.
    pub(super) slopes: Lanes,
    /// Slopes of the cap.
    pub(super) bends: Lanes,
}

impl AttentionScratch {
    /// Makes room for the plan, forward.
    pub(super) fn fit(&mut self, size: usize) {
        self.keys.fit(size * self.plan.width);
        self.scores.fit(QUERIES * self.plan.longest());
    }

    /// Makes room for the plan, forward and backward.
    pub(super) fn fit_back(&mut self, size: usize) {
        self.fit(size);
        self.values.fit(size * self.plan.width);
        self.slopes.fit(QUERIES * self.plan.longest());
        self.bends.fit(QUERIES * self.plan.longest());
    }
}

/// Up to `LANES` neighbouring keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    /// Which block of columns they are.
    pub(super) column: usize,
    /// Row of the first.
    pub(super) row: usize,
    /// Position of the first among the keys of its queries.
    pub(super) position: usize,
    /// Keys.
    pub(super) count: usize,
}

/// Queries with the same keys.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) queries: Range<usize>,
    /// Their places in the plan.
    pub(super) blocks: Range<usize>,
    pub(super) keys: usize,
}

/// What the queries of a family see, in rows counted from the family's first.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) parts: Vec<Part>,
    pub(super) blocks: Vec<Block>,
    /// Ranges of rows, and the block of columns where each begins.
    pub(super) columns: Vec<(Range<usize>, usize)>,
    /// Blocks of columns.
    width: usize,
    /// Of each query.
    pub(super) positions: Vec<u32>,
}

impl Plan {
    /// The plan of a family of `context`.
    pub(super) fn family(&mut self, context: &Context, family: &Family) {
        self.clear(&context.positions()[family.queries.clone()]);
        for Segment { queries, keys } in &context.segments()[family.segments.clone()] {
            let shift = |range: &Range<usize>, by: usize| range.start - by..range.end - by;
            self.part(shift(queries, family.queries.start), keys.iter().map(|range| shift(range, family.keys.start)));
        }
    }

    /// Blocks of the part that has most.
    fn longest(&self) -> usize {
        self.parts.iter().map(|part| part.blocks.len()).max().unwrap_or(0)
    }

    /// Nothing but the positions of the queries.
    pub(super) fn clear(&mut self, positions: &[u32]) {
        self.parts.clear();
        self.blocks.clear();
        self.columns.clear();
        self.width = 0;
        self.positions.clear();
        self.positions.extend_from_slice(positions);
    }

    /// Adds queries with the same ranges of keys.
    pub(super) fn part(&mut self, queries: Range<usize>, keys: impl Iterator<Item = Range<usize>>) {
        let first = self.blocks.len();
        let mut position = 0;
        for range in keys {
            let known = self.columns.iter().find(|(known, _)| *known == range).map(|(_, column)| *column);
            let column = known.unwrap_or(self.width);
            if known.is_none() {
                self.columns.push((range.clone(), column));
                self.width += range.len().div_ceil(LANES);
            }
            for (column, row) in (column..).zip(range.clone().step_by(LANES)) {
                let count = LANES.min(range.end - row);
                self.blocks.push(Block { column, row, position, count });
                position += count;
            }
        }
        self.parts.push(Part { queries, blocks: first..self.blocks.len(), keys: position });
    }
}

/// Values of a family's queries and keys among those of all rows.
pub(super) fn extents(family: &Family, heads: &Heads) -> (Range<usize>, Range<usize>) {
    let of = |rows: &Range<usize>, width: usize| rows.start * width..rows.end * width;
    (of(&family.queries, heads.queries * heads.size), of(&family.keys, heads.keys * heads.size))
}

/// Some (query, head) pairs that are handled together.
pub(super) struct Tile {
    /// First components of each; the last pair stands in for those beyond it.
    pub(super) starts: [usize; QUERIES],
    /// Positions of the keys that each sees.
    pub(super) seen: [Range<usize>; QUERIES],
    /// Pairs that stand for themselves.
    pub(super) own: usize,
}

impl Tile {
    /// The pairs from `first` on of a part, for one head of keys.
    #[inline(always)]
    pub(super) fn new(first: usize, part: &Part, positions: &[u32], heads: &Heads, key_head: usize) -> Self {
        let group = heads.group();
        let pairs = part.queries.len() * group;
        let (mut starts, mut seen) = ([0; QUERIES], [const { 0..0 }; QUERIES]);
        for i in 0..QUERIES {
            let pair = (first + i).min(pairs - 1);
            let (row, head) = (part.queries.start + pair / group, key_head * group + pair % group);
            starts[i] = (row * heads.queries + head) * heads.size;
            seen[i] = heads.mask.seen(positions[row] as usize, part.keys);
        }
        Self { starts, seen, own: QUERIES.min(pairs - first) }
    }

    /// Positions from the first to the last that any of them sees.
    #[inline(always)]
    pub(super) fn span(&self) -> Range<usize> {
        let mut span = self.seen[0].clone();
        for seen in &self.seen[1..] {
            span = span.start.min(seen.start)..span.end.max(seen.end);
        }
        span
    }
}

/// The blocks with positions in `span`.
#[inline(always)]
pub(super) fn touched<'a>(blocks: &'a [Block], span: &Range<usize>) -> &'a [Block] {
    let first = blocks.partition_point(|block| block.position + block.count <= span.start);
    let end = blocks.partition_point(|block| block.position < span.end);
    &blocks[first.min(end)..end]
}

impl Block {
    /// Its keys with positions in `span`.
    #[inline(always)]
    pub(super) fn lanes(&self, span: &Range<usize>) -> Range<usize> {
        let end = span.end.saturating_sub(self.position).min(self.count);
        span.start.saturating_sub(self.position).min(end)..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::Mask;

    #[test]
    fn shared_keys_are_laid_out_once() {
        let context = Context::branches(&[(33, vec![5, 1])]).unwrap();
        let mut plan = Plan::default();
        // Twice: nothing is left of what was planned before.
        for _ in 0..2 {
            plan.family(&context, &context.families()[0]);
            assert_eq!(plan.width, 2 + 1 + 1, "the prompt has two blocks, each continuation one");
            let blocks: Vec<_> = plan.blocks.iter().map(|b| (b.column, b.row, b.position, b.count)).collect();
            let prompt = [(0, 0, 0, 32), (1, 32, 32, 1)];
            assert_eq!(blocks[..2], prompt);
            assert_eq!(blocks[2..], [prompt[0], prompt[1], (2, 33, 33, 5), prompt[0], prompt[1], (3, 38, 33, 1)]);
            assert_eq!(plan.parts.iter().map(|part| part.keys).collect::<Vec<_>>(), [33, 38, 34]);
        }
    }

    #[test]
    fn blocks_that_no_query_sees_are_passed_over() {
        let context = Context::new(200);
        let mut plan = Plan::default();
        plan.clear(&(0..200).collect::<Vec<_>>());
        plan.part(0..200, std::iter::once(0..context.key_rows()));
        let of = |first, mask| {
            let tile = Tile::new(first, &plan.parts[0], &plan.positions, &Heads::new(1, 1, 8, mask), 0);
            let blocks = touched(&plan.blocks, &tile.span());
            (blocks[0].column..blocks[0].column + blocks.len(), tile.own)
        };
        assert_eq!(of(0, Mask::Full), (0..7, 4));
        assert_eq!(of(0, Mask::Causal), (0..1, 4));
        assert_eq!(of(28, Mask::Causal), (0..1, 4));
        assert_eq!(of(32, Mask::Causal), (0..2, 4));
        assert_eq!(of(96, Mask::Window(1)), (3..4, 4));
        assert_eq!(of(96, Mask::Window(2)), (2..4, 4));
        assert_eq!(of(198, Mask::Window(7)), (6..7, 2));
    }

    /// Memory starts at a cache line however often it grows.
    #[test]
    fn lanes_begin_at_cache_lines() {
        let mut lanes = Lanes::default();
        for count in [1, 5, 3, 100, 0, 7] {
            lanes.fit(count);
            assert_eq!((lanes.blocks().len(), lanes.blocks().as_ptr().addr() % 64), (count, 0));
        }
    }
}
