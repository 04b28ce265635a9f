//! What stands below the first block: rows of the tables of words and positions.

use bayeslora_kernels::Frozen;
use candle_core::Tensor;

use crate::error::Result;
use crate::norm::{Norm, bytes};

/// What turns token numbers into activations.
#[derive(Debug)]
pub(crate) enum Embeddings {
    /// Of BERT's kind.
    Encoder(EncoderEmbeddings),
    /// Of a decoder: words alone; positions enter in the blocks.
    Decoder {
        /// `[vocabulary, width]`.
        words: Frozen,
        /// Their factor, where there is one.
        scale: Option<f64>,
    },
}

/// The normalised sum of three rows.
#[derive(Debug)]
pub(crate) struct EncoderEmbeddings {
    /// `[vocabulary, width]`.
    pub(crate) words: Tensor,
    /// `[positions, width]`.
    pub(crate) positions: Tensor,
    /// `[segments, width]`; none in families without segments.
    pub(crate) segments: Option<Tensor>,
    pub(crate) norm: Norm,
}

impl Embeddings {
    /// Bytes of the tables.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Decoder { words, .. } => words.bytes(),
            Self::Encoder(EncoderEmbeddings { words, positions, segments, norm }) => {
                let tables = [Some(words), Some(positions), segments.as_ref()];
                tables.into_iter().flatten().map(bytes).sum::<usize>() + norm.bytes()
            }
        }
    }

    /// `[1, rows, width]` in f32; all tokens are of segment 0 unless `segments` says otherwise, row by row.
    pub(crate) fn rows(
        &self,
        words: &[u32],
        positions: impl Iterator<Item = u32>,
        segments: Option<Vec<u32>>,
    ) -> Result<Tensor> {
        match self {
            Self::Encoder(tables) => tables.rows(words, positions, segments),
            Self::Decoder { words: table, scale } => {
                let rows = table.rows(words)?.unsqueeze(0)?;
                Ok(match scale {
                    None => rows,
                    Some(scale) => (rows * *scale)?,
                })
            }
        }
    }
}

impl EncoderEmbeddings {
    fn rows(&self, words: &[u32], positions: impl Iterator<Item = u32>, segments: Option<Vec<u32>>) -> Result<Tensor> {
        let (rows, device) = (words.len(), self.words.device());
        let words = self.words.index_select(&Tensor::new(words, device)?, 0)?;
        let positions = Tensor::from_vec(positions.collect(), rows, device)?;
        let positions = self.positions.index_select(&positions, 0)?.unsqueeze(0)?;
        let words = match (&self.segments, segments) {
            (None, _) => words,
            (Some(table), None) => words.broadcast_add(&table.narrow(0, 0, 1)?)?,
            (Some(table), Some(segments)) => {
                (words + table.index_select(&Tensor::from_vec(segments, rows, device)?, 0)?)?
            }
        };
        self.norm.of_sum(&words.unsqueeze(0)?, &positions)
    }
}
