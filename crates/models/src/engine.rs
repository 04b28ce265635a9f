//! The operations that a block is written in, over tensors with gradients or over buffers that are used again.

use bayeslora_adapters::Slot;
use bayeslora_kernels::{Activation, FrozenLinear, Heads, Rotary};

use crate::error::Result;
use crate::norm::Norm;

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

    /// Softmax attention of the queries at the rows of `at` over the keys of their own text that `heads` lets them see.
    fn attend(&mut self, query: &Self::X, key: &Self::X, value: &Self::X, heads: &Heads, at: At) -> Result<Self::X>;

    /// Every head turned to its row's place in its text.
    fn turn(&mut self, x: Self::X, rotary: &Rotary, at: At) -> Result<Self::X>;

    /// Normalisation of rows, or of each head's components.
    fn norm(&mut self, x: &Self::X, norm: &Norm) -> Result<Self::X>;

    /// Normalisation of `x + update`.
    fn norm_of_sum(&mut self, x: &Self::X, update: Self::X, norm: &Norm) -> Result<Self::X>;

    /// `x + update`.
    fn add(&mut self, x: &Self::X, update: Self::X) -> Result<Self::X>;

    /// `activation(gate) inner`.
    fn gated(&mut self, activation: Activation, gate: &Self::X, inner: Self::X) -> Result<Self::X>;

    /// `tanh` of every value.
    fn tanh(&mut self, x: Self::X) -> Result<Self::X>;

    /// The activation of every value.
    fn activate(&mut self, x: Self::X, activation: Activation) -> Result<Self::X>;

    /// The rows of `x` that are read.
    fn read(&mut self, x: &Self::X) -> Result<Self::X>;
}
