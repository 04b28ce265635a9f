//! How the work of attention is laid out within a thread: blocks of keys as columns, tiles of queries, and the memory for them.

use std::ops::Range;

use super::context::{Context, Family, Segment};
use super::heads::Heads;

/// Keys that one step of the scores handles side by side, and queries that share them: eight vector registers of sums.
pub(super) const LANES: usize = 32;
pub(super) const QUERIES: usize = 4;

/// Buffers that calls of [`attend`] reuse.
#[derive(Debug, Default)]
pub struct AttentionScratch {
    pub(super) plan: Plan,
    /// Keys of one head, as [`columns`].
    pub(super) keys: Vec<[f32; LANES]>,
    /// Values of one head, as [`columns`].
    pub(super) values: Vec<[f32; LANES]>,
    /// Weights of `QUERIES` queries, by blocks of keys.
    pub(super) scores: Vec<[f32; LANES]>,
    /// Their slopes.
    pub(super) slopes: Vec<[f32; LANES]>,
    /// Slopes of the cap.
    pub(super) bends: Vec<[f32; LANES]>,
}

impl AttentionScratch {
    /// Makes room for the plan.
    pub(super) fn fit(&mut self, size: usize) {
        let longest = self.plan.parts.iter().map(|part| part.blocks.len()).max().unwrap_or(0);
        self.keys.resize(size * self.plan.width, [0.0; LANES]);
        self.values.resize(size * self.plan.width, [0.0; LANES]);
        self.scores.resize(QUERIES * longest, [0.0; LANES]);
        self.slopes.resize(QUERIES * longest, [0.0; LANES]);
        self.bends.resize(QUERIES * longest, [0.0; LANES]);
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

    pub(super) fn clear(&mut self, positions: &[u32]) {
        let Self { parts, blocks, columns, width, positions: own } = self;
        (parts.clear(), blocks.clear(), columns.clear(), own.clear());
        *width = 0;
        own.extend_from_slice(positions);
    }

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
