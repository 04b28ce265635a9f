//! Normalisations with constant weights.

use bayeslora_kernels::{add_layer_norm, rms_norm};
use candle_core::Tensor;

use crate::error::Result;

/// A normalisation's constant weights.
#[derive(Debug)]
pub(crate) enum Norm {
    /// Layer normalisation (arXiv 1607.06450).
    Layer {
        /// `[width]`.
        weight: Tensor,
        /// `[width]`.
        bias: Tensor,
        /// Added to variances.
        epsilon: f64,
    },
    /// Division by the root of the mean square (arXiv 1910.07467), of rows or of each head's components.
    Rms {
        /// `[width]` or `[head width]`.
        weight: Tensor,
        /// Added to mean squares.
        epsilon: f64,
    },
}

/// Bytes of a tensor's values.
pub(crate) fn bytes(tensor: &Tensor) -> usize {
    tensor.elem_count() * tensor.dtype().size_in_bytes()
}

impl Norm {
    /// Bytes of the weights.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Layer { weight, bias, .. } => bytes(weight) + bytes(bias),
            Self::Rms { weight, .. } => bytes(weight),
        }
    }

    /// Normalisation of a sum of tensors.
    pub(crate) fn of_sum(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Layer { weight, bias, epsilon } => add_layer_norm(a, b, weight, bias, *epsilon)?,
            Self::Rms { weight, epsilon } => rms_norm(&a.broadcast_add(b)?, weight, *epsilon)?,
        })
    }
}
