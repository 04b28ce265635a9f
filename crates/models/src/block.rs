//! A transformer block, written once for both engines.

use bayeslora_adapters::{Slot, TargetMap};
use bayeslora_kernels::{Activation, FrozenLinear};
use candle_core::Tensor;

use crate::engine::{At, Engine};
use crate::error::Result;

/// A normalisation's weights.
#[derive(Debug)]
pub(crate) struct Norm {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    pub(crate) epsilon: f64,
}

/// Attention and a feed-forward network, each with a normalisation of its sum with what it was given (arXiv 1706.03762).
#[derive(Debug)]
pub(crate) struct Block {
    /// Number of the block, from 0 at the bottom.
    pub(crate) number: u8,
    pub(crate) query: FrozenLinear,
    pub(crate) key: FrozenLinear,
    pub(crate) value: FrozenLinear,
    pub(crate) attention_output: FrozenLinear,
    pub(crate) attention_norm: Norm,
    pub(crate) intermediate: FrozenLinear,
    pub(crate) output: FrozenLinear,
    pub(crate) output_norm: Norm,
    pub(crate) heads: usize,
    pub(crate) activation: Activation,
}

impl Block {
    /// `x [samples or 1, rows, width]` above the block, at the rows of `at`: keys and values are those of all rows.
    pub(crate) fn run<E: Engine>(&self, engine: &mut E, x: E::X, at: At) -> Result<E::X> {
        let slot = |map| Slot::new(self.number, map);
        let read = match at {
            At::All => None,
            At::Read => Some(engine.read(&x)?),
        };
        let own = read.as_ref().unwrap_or(&x);
        let query = engine.linear(slot(TargetMap::Query), &self.query, own, at)?;
        let key = engine.linear(slot(TargetMap::Key), &self.key, &x, At::All)?;
        let value = engine.linear(slot(TargetMap::Value), &self.value, &x, At::All)?;
        let attended = engine.attend(&query, &key, &value, self.heads, at)?;
        drop((query, key, value));
        let update = engine.linear(slot(TargetMap::AttentionOutput), &self.attention_output, &attended, at)?;
        drop(attended);
        let x = engine.norm_of_sum(own, update, &self.attention_norm)?;
        let inner = engine.linear(slot(TargetMap::Intermediate), &self.intermediate, &x, at)?;
        let inner = engine.activate(inner, self.activation)?;
        let update = engine.linear(slot(TargetMap::Output), &self.output, &inner, at)?;
        engine.norm_of_sum(&x, update, &self.output_norm)
    }
}
