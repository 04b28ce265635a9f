//! Which keys each query may see: masks, and the rows of keys that queries have before them.

use std::ops::Range;

use crate::packing::{Layout, Packing};

/// Which of the keys before it, by position, a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// Every key of its context, before it or after.
    Full,
    /// Key `j` is seen at position `i` where `j <= i`.
    Causal,
    /// Key `j` is seen at position `i` where `i - w < j <= i`, for `w` of at least 1.
    Window(usize),
}

impl Mask {
    /// Positions, of `count`, that are seen from `position`.
    #[inline(always)]
    pub(super) fn seen(self, position: usize, count: usize) -> Range<usize> {
        let end = if self == Self::Full { count } else { (position + 1).min(count) };
        let start = if let Self::Window(width) = self { (position + 1).saturating_sub(width).min(end) } else { 0 };
        start..end
    }
}

/// Neighbouring queries that have the same keys before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Rows of the queries.
    pub(super) queries: Range<usize>,
    /// Rows of the keys, in the order of their positions: the first key of the first range is at position 0.
    pub(super) keys: Vec<Range<usize>>,
}

/// Neighbouring segments some of whose keys are the same rows: what is made of these is made once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Family {
    /// Places of the segments.
    pub(super) segments: Range<usize>,
    /// From the first row of their queries to the last.
    pub(super) queries: Range<usize>,
    /// From the first row of their keys to the last.
    pub(super) keys: Range<usize>,
}

/// For each query its keys, as ranges of rows, and its own position among them.
///
/// A sentence is one range. A continuation of a prompt has two, the prompt's and its own, so that several continuations share one
/// prompt's rows; its positions go on where the prompt ends.
///
/// # Examples
/// ```
/// use bayeslora_kernels::Context;
/// // A prompt of 3 tokens with two answers, of 2 tokens and of 1: rows 0..3, 3..5 and 5..6.
/// let context = Context::branches(&[(3, vec![2, 1])]).unwrap();
/// assert_eq!(context.positions(), [0, 1, 2, 3, 4, 3]);
/// assert_eq!((context.query_rows(), context.key_rows()), (6, 6));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    key_rows: usize,
    positions: Vec<u32>,
    segments: Vec<Segment>,
    families: Vec<Family>,
}

impl Context {
    /// No query yet, before `key_rows` rows of keys.
    pub fn new(key_rows: usize) -> Self {
        Self { key_rows, positions: Vec::new(), segments: Vec::new(), families: Vec::new() }
    }

    /// Adds query rows: their positions, and the ranges of key rows they have before them, in the order of positions.
    ///
    /// # Errors
    /// When a range is empty or beyond the keys, or a position beyond the ranges; then nothing is added.
    pub fn push(&mut self, positions: &[u32], keys: &[Range<usize>]) -> candle_core::Result<()> {
        if let Some(range) = keys.iter().find(|range| range.is_empty() || range.end > self.key_rows) {
            candle_core::bail!("attention: keys {range:?} of {}; expected a part of them, not empty", self.key_rows);
        }
        let count: usize = keys.iter().map(ExactSizeIterator::len).sum();
        if let Some(position) = positions.iter().find(|&&position| position as usize >= count) {
            candle_core::bail!("attention: a query at position {position} of {count} keys; expected a lower one");
        }
        if !positions.is_empty() {
            self.add(positions.iter().copied(), keys);
        }
        Ok(())
    }

    fn add(&mut self, positions: impl Iterator<Item = u32>, keys: &[Range<usize>]) {
        let start = self.positions.len();
        self.positions.extend(positions);
        let queries = start..self.positions.len();
        let first = keys.iter().map(|range| range.start).min().unwrap_or(0);
        let span = first..keys.iter().map(|range| range.end).max().unwrap_or(first);
        let place = self.segments.len();
        self.segments.push(Segment { queries: queries.clone(), keys: keys.to_vec() });
        match self.families.last_mut() {
            Some(family) if family.keys.start < span.end && span.start < family.keys.end => {
                family.segments.end = place + 1;
                family.queries.end = queries.end;
                family.keys = family.keys.start.min(span.start)..family.keys.end.max(span.end);
            }
            _ => self.families.push(Family { segments: place..place + 1, queries, keys: span }),
        }
    }

    /// Every row of every sentence is a query and a key. A continuation sees its prompt and itself, a prompt or a text itself.
    ///
    /// # Errors
    /// When a prompt or a continuation is empty, or too long to count.
    pub fn sentences(packing: &Packing) -> candle_core::Result<Self> {
        let mut context = Self::new(packing.rows());
        for (sentence, layout) in packing.sentences().zip(packing.layouts()) {
            let prompt = sentence.start..sentence.start + layout.prompt;
            context.push(&counted(0, layout.prompt)?, std::slice::from_ref(&prompt))?;
            let mut row = prompt.end;
            for part in &layout.continuations {
                context.push(&counted(layout.prompt, *part)?, &[prompt.clone(), row..row + part])?;
                row += part;
            }
        }
        Ok(context)
    }

    /// One query a sentence, at its last row.
    ///
    /// # Errors
    /// As [`sentences`](Self::sentences).
    pub fn last_rows(packing: &Packing) -> candle_core::Result<Self> {
        let mut context = Self::new(packing.rows());
        for sentence in packing.sentences() {
            context.push(&counted(sentence.len().saturating_sub(1), 1)?, &[sentence])?;
        }
        Ok(context)
    }

    /// Prompts with their continuations, packed one after another: the prompt's rows, then those of each of its continuations.
    /// Every row is a query and a key; a continuation sees its prompt and itself, a prompt itself.
    ///
    /// # Errors
    /// As [`sentences`](Self::sentences).
    pub fn branches(prompts: &[(usize, Vec<usize>)]) -> candle_core::Result<Self> {
        let layout = |(prompt, parts): &(usize, Vec<usize>)| Layout { prompt: *prompt, continuations: parts.clone() };
        Self::sentences(&Packing::from_layouts(prompts.iter().map(layout)))
    }

    /// The same keys, and of the queries those in `rows`, in ascending order: the last block needs only what is read.
    ///
    /// # Errors
    /// When rows are not ascending or not among the queries.
    pub fn at_rows(&self, rows: &[u32]) -> candle_core::Result<Self> {
        let mut context = Self::new(self.key_rows);
        let mut rest = rows;
        for segment in &self.segments {
            let count = rest.iter().take_while(|&&row| segment.queries.contains(&(row as usize))).count();
            let (own, others) = rest.split_at(count);
            rest = others;
            if own.is_sorted_by(|left, right| left < right) && !own.is_empty() {
                context.add(own.iter().map(|&row| self.positions[row as usize]), &segment.keys);
            } else if !own.is_empty() {
                candle_core::bail!("attention: query rows {own:?}; expected ascending ones");
            }
        }
        if let Some(row) = rest.first() {
            candle_core::bail!("attention: query row {row} of {}; expected ascending rows of them", self.query_rows());
        }
        Ok(context)
    }

    /// Queries of each sentence before the keys of the same sentence, each seeing all of them.
    pub(super) fn across(queries: &Packing, keys: &Packing) -> Self {
        let mut context = Self::new(keys.rows());
        for (query, key) in queries.sentences().zip(keys.sentences()) {
            context.add(query.map(|_| 0), &[key]);
        }
        context
    }

    /// Position of each query among its keys: of a token in its text, as rotary positions count them.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// Number of queries.
    pub fn query_rows(&self) -> usize {
        self.positions.len()
    }

    /// Number of keys.
    pub fn key_rows(&self) -> usize {
        self.key_rows
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(super) fn families(&self) -> &[Family] {
        &self.families
    }
}

/// `count` positions from `first` on.
fn counted(first: usize, count: usize) -> candle_core::Result<Vec<u32>> {
    match u32::try_from(first + count) {
        Ok(end) => Ok((0..end).skip(first).collect()),
        Err(_) => candle_core::bail!("attention: {} positions; expected fewer than 2^32", first + count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_see_what_their_rules_say() {
        for count in 1..9 {
            for position in 0..count {
                for (mask, rule) in [
                    (Mask::Full, Box::new(|_: usize| true) as Box<dyn Fn(usize) -> bool>),
                    (Mask::Causal, Box::new(move |key| key <= position)),
                    (Mask::Window(1), Box::new(move |key| key == position)),
                    (Mask::Window(3), Box::new(move |key| key <= position && key + 3 > position)),
                    (Mask::Window(usize::MAX), Box::new(move |key| key <= position)),
                ] {
                    let seen: Vec<usize> = mask.seen(position, count).collect();
                    assert_eq!(seen, (0..count).filter(|&key| rule(key)).collect::<Vec<_>>(), "{mask:?} {position}");
                }
            }
        }
    }

    #[test]
    fn families_share_keys_and_no_others_do() {
        let context = Context::branches(&[(3, vec![2, 1]), (1, vec![]), (2, vec![4])]).unwrap();
        assert_eq!(context.positions(), [0, 1, 2, 3, 4, 3, 0, 0, 1, 2, 3, 4, 5]);
        let families: Vec<_> = context.families().iter().map(|f| (f.segments.clone(), f.keys.clone())).collect();
        assert_eq!(families, [(0..3, 0..6), (3..4, 6..7), (4..6, 7..13)]);
        assert!(context.families().iter().all(|family| family.queries == family.keys));
        assert_eq!(context.segments()[2].keys, [0..3, 5..6]);
        let sentences = Context::sentences(&Packing::from_lengths(&[3, 2])).unwrap();
        assert_eq!(sentences.families().len(), 2);
        // Continuations alone, their prompt's keys known from before.
        let mut context = Context::new(6);
        context.push(&[3, 4], &[0..3, 3..5]).unwrap();
        context.push(&[3], &[0..3, 5..6]).unwrap();
        assert_eq!(context.families().len(), 1);
        assert_eq!(context.query_rows(), 3);
    }

    #[test]
    fn rows_are_taken_with_their_positions() {
        let packing = Packing::from_lengths(&[3, 1, 2]);
        let all = Context::sentences(&packing).unwrap();
        assert_eq!(all.at_rows(&[2, 3, 5]).unwrap(), Context::last_rows(&packing).unwrap());
        assert_eq!(all.at_rows(&[0, 1, 2, 3, 4, 5]).unwrap(), all);
        let two = all.at_rows(&[1, 2]).unwrap();
        assert_eq!((two.positions(), two.key_rows(), two.segments().len()), (&[1, 2][..], 6, 1));
        for rows in [&[6][..], &[2, 1], &[4, 0], &[1, 1]] {
            assert!(all.at_rows(rows).unwrap_err().to_string().contains("ascending"), "{rows:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut context = Context::new(4);
        let one = |start, end| [Range { start, end }];
        let message = context.push(&[0], &one(2, 5)).unwrap_err().to_string();
        assert!(message.contains("keys 2..5 of 4"), "{message}");
        let message = context.push(&[0, 3], &[0..2, 3..4]).unwrap_err().to_string();
        assert!(message.contains("a query at position 3 of 3 keys"), "{message}");
        assert!(context.push(&[0], &[]).is_err() && context.push(&[], &one(1, 1)).is_err());
        context.push(&[], &one(0, 2)).unwrap();
        assert_eq!(context, Context::new(4));
        assert!(Context::sentences(&Packing::from_lengths(&[2, 0])).is_err());
        assert!(Context::last_rows(&Packing::from_lengths(&[0])).is_err());
    }
}
