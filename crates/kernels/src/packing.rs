//! Examples one after another in one tensor, without padding.

use std::ops::Range;

/// How the rows of an example lie: those of its prompt, then those of each continuation of it. A text is a prompt alone.
///
/// Every continuation follows the prompt: its positions go on where the prompt ends, and it does not see the others.
///
/// # Examples
/// ```
/// let layout = bayeslora_kernels::Layout { prompt: 3, continuations: vec![2, 1] };
/// assert_eq!((layout.rows(), layout.longest()), (6, 5));
/// assert_eq!(layout.positions().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 3]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Rows of the prompt.
    pub prompt: usize,
    /// Rows of each continuation.
    pub continuations: Vec<usize>,
}

impl Layout {
    /// A text of `length` tokens.
    pub fn text(length: usize) -> Self {
        Self { prompt: length, continuations: Vec::new() }
    }

    /// Rows of the whole example.
    pub fn rows(&self) -> usize {
        self.prompt + self.continuations.iter().sum::<usize>()
    }

    /// Positions in use: those of the prompt with its longest continuation.
    pub fn longest(&self) -> usize {
        self.prompt + self.continuations.iter().max().copied().unwrap_or(0)
    }

    /// The position of each row.
    pub fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        let continued = self.continuations.iter().flat_map(|&length| self.prompt..self.prompt + length);
        (0..self.prompt).chain(continued)
    }
}

/// Where each sentence of a batch begins and ends among the packed rows.
///
/// # Examples
/// ```
/// let packing = bayeslora_kernels::Packing::from_lengths(&[3, 2]);
/// assert_eq!(packing.rows(), 5);
/// assert_eq!(packing.sentences().collect::<Vec<_>>(), [0..3, 3..5]);
/// assert_eq!(packing.first_rows(), [0, 3]);
/// assert_eq!(packing.last_rows(), [2, 4]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packing {
    /// First row of each sentence, then the number of rows.
    starts: Vec<usize>,
    layouts: Vec<Layout>,
}

impl Packing {
    /// Sentences of these lengths.
    pub fn from_lengths(lengths: &[usize]) -> Self {
        Self::from_layouts(lengths.iter().map(|&length| Layout::text(length)))
    }

    /// Examples whose rows lie so.
    pub fn from_layouts(layouts: impl IntoIterator<Item = Layout>) -> Self {
        let layouts: Vec<Layout> = layouts.into_iter().collect();
        let mut starts = vec![0];
        let mut end = 0;
        for layout in &layouts {
            end += layout.rows();
            starts.push(end);
        }
        Self { starts, layouts }
    }

    /// One row per sentence.
    pub fn single_rows(sentences: usize) -> Self {
        Self::from_lengths(&vec![1; sentences])
    }

    /// Rows of all sentences together.
    pub fn rows(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    /// Number of sentences.
    pub fn len(&self) -> usize {
        self.layouts.len()
    }

    /// Whether there is no sentence.
    pub fn is_empty(&self) -> bool {
        self.layouts.is_empty()
    }

    /// The rows of each sentence.
    pub fn sentences(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.starts.windows(2).map(|pair| pair[0]..pair[1])
    }

    /// How the rows of each sentence lie.
    pub fn layouts(&self) -> &[Layout] {
        &self.layouts
    }

    /// The first row of each sentence, where `[CLS]` stands.
    pub fn first_rows(&self) -> Vec<u32> {
        self.starts[..self.len()].iter().map(|&row| u32::try_from(row).unwrap_or(u32::MAX)).collect()
    }

    /// The last row of each sentence, where a decoder has seen all of it.
    pub fn last_rows(&self) -> Vec<u32> {
        self.starts[1..].iter().map(|&end| u32::try_from(end.saturating_sub(1)).unwrap_or(u32::MAX)).collect()
    }
}
