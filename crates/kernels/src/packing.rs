//! Sentences one after another in one tensor, without padding.

use std::ops::Range;

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
}

impl Packing {
    /// Sentences of these lengths.
    pub fn from_lengths(lengths: &[usize]) -> Self {
        let mut starts = vec![0];
        let mut end = 0;
        for length in lengths {
            end += length;
            starts.push(end);
        }
        Self { starts }
    }

    /// One row per sentence.
    pub fn single_rows(sentences: usize) -> Self {
        Self { starts: (0..=sentences).collect() }
    }

    /// Rows of all sentences together.
    pub fn rows(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    /// Number of sentences.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is no sentence.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows of each sentence.
    pub fn sentences(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.starts.windows(2).map(|pair| pair[0]..pair[1])
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
