//! The order of the rows of queries and keys.
//!
//! Rotary positions turn pairs of a head's values. In transformers' files a pair is `(i, i + d / 2)`, in GGUF files of Llamas `(2 i,
//! 2 i + 1)`: their rows were moved `[heads, 2, d / 2] -> [heads, d / 2, 2]`, and are moved back here. Other families keep transformers'
//! order.

use std::borrow::Cow;

use candle_core::Device;
use candle_core::quantized::{QStorage, QTensor};

use crate::decoder::Family;
use crate::error::Result;

/// Whose heads the rows of a map belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heads {
    /// Those of queries.
    Queries,
    /// Those of keys and values.
    Keys,
}

/// The heads of the tensor that transformers calls `name`, where its rows are interleaved.
pub(crate) fn heads(family: &Family, name: &str) -> Option<Heads> {
    let [query, key, ..] = Family::ATTENTION;
    let module = name.rsplit_once('.').map_or(name, |(module, _)| module);
    match family.gguf {
        Some("llama") if module.ends_with(query) => Some(Heads::Queries),
        Some("llama") if module.ends_with(key) => Some(Heads::Keys),
        _ => None,
    }
}

/// The tensor with the two halves of each head apart again; none where the rows are not whole heads. Rows are whole blocks, so that no
/// value is touched.
///
/// # Shapes
/// `[heads x d, width]`, or `[heads x d]` of type f32, f16 or bf16, to the same.
///
/// # Errors
/// When a tensor operation fails.
pub(crate) fn apart(tensor: &QTensor, heads: usize, device: &Device) -> Result<Option<QTensor>> {
    let rows = tensor.shape().dims().first().copied().unwrap_or_default();
    if !rows.is_multiple_of(2 * heads) {
        return Ok(None);
    }
    let half = rows / (2 * heads);
    let data = tensor.data()?;
    let row = data.len() / rows;
    let mut moved = Vec::with_capacity(data.len());
    for head in 0..heads {
        for part in 0..2 {
            for pair in 0..half {
                let from = (head * half + pair) * 2 + part;
                moved.extend_from_slice(&data[from * row..(from + 1) * row]);
            }
        }
    }
    let storage = QStorage::from_data(Cow::Owned(moved), device, tensor.dtype())?;
    Ok(Some(QTensor::new(storage, tensor.shape())?))
}
