//! A tensor as a file has it.

use bayeslora_kernels::Frozen;
use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Tensor};

use crate::error::Result;

/// A tensor as it is stored.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "in CUDA builds only, and few of them are made")]
pub enum Stored {
    /// Of type f32, f16 or bf16.
    Dense(Tensor),
    /// In blocks of a few bits a value.
    Quantised(QTensor),
}

impl Stored {
    /// The values in f32.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn dense(&self, device: &Device) -> Result<Tensor> {
        Ok(match self {
            Self::Dense(tensor) => tensor.to_dtype(DType::F32)?,
            Self::Quantised(tensor) => tensor.dequantize(device)?,
        })
    }

    /// The matrix, held as it is stored.
    ///
    /// # Errors
    /// When it is no matrix.
    pub fn frozen(self) -> Result<Frozen> {
        Ok(match self {
            Self::Dense(tensor) => Frozen::dense(tensor)?,
            Self::Quantised(tensor) => Frozen::quantised(tensor)?,
        })
    }
}
