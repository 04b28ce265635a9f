//! The operations that a block is written in, over tensors with gradients or over buffers that are used again.

use bayeslora_adapters::Slot;
use bayeslora_kernels::{Activation, FrozenLinear};

use crate::block::Norm;
use crate::error::Result;

/// Which rows of the texts an operation is computed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// All.
    All,
    /// Those that are read above the last block.
    Read,
}

/// What a block computes with. Operations that are given activations by value may write over them.
pub(crate) trait Engine {
    /// Activations `[samples or 1, rows, width]`: no sample axis (length 1) until something random has happened.
    type X;

    /// `W0 x + bias + s B e + o`, with the adapter in `slot`, where there is one.
    fn linear(&mut self, slot: Slot, frozen: &FrozenLinear, x: &Self::X, at: At) -> Result<Self::X>;

    /// Softmax attention of the queries at the rows of `at` over all keys of their own text.
    fn attend(&mut self, query: &Self::X, key: &Self::X, value: &Self::X, heads: usize, at: At) -> Result<Self::X>;

    /// Normalisation of `x + update`.
    fn norm_of_sum(&mut self, x: &Self::X, update: Self::X, norm: &Norm) -> Result<Self::X>;

    /// The activation of every value.
    fn activate(&mut self, x: Self::X, activation: Activation) -> Result<Self::X>;

    /// The rows of `x` that are read.
    fn read(&mut self, x: &Self::X) -> Result<Self::X>;
}
