//! The engine of tensors: gradients, any device, any precision.

use bayeslora_adapters::{AdapterSet, Draw, Increment, Rows, Slot};
use bayeslora_kernels::{Activation, FrozenLinear, Packing, add_layer_norm, attention};
use candle_core::Tensor;

use crate::block::Norm;
use crate::engine::{At, Engine};
use crate::error::Result;

/// Adapters and noise of one forward pass; gathers the divergences on the way.
#[derive(Debug)]
pub struct Pass<'a> {
    adapters: &'a AdapterSet,
    pub(crate) draw: Draw<'a>,
    divergences: Vec<Tensor>,
}

impl<'a> Pass<'a> {
    /// A pass through `adapters` with `draw`, whose rows are those of the whole sentences.
    pub fn new(adapters: &'a AdapterSet, draw: Draw<'a>) -> Self {
        Self { adapters, draw, divergences: Vec::new() }
    }

    /// Sum of the posteriors' divergences from their priors over the maps passed so far.
    ///
    /// # Errors
    /// When tensors cannot be added.
    pub fn divergence(&self) -> Result<Option<Tensor>> {
        let mut total: Option<Tensor> = None;
        for divergence in &self.divergences {
            total = Some(match total {
                Some(total) => (total + divergence)?,
                None => divergence.clone(),
            });
        }
        Ok(total)
    }

    /// An adapted map at the rows of `draw`.
    pub(crate) fn linear(&mut self, slot: Slot, frozen: &FrozenLinear, x: &Tensor, draw: &Draw<'_>) -> Result<Tensor> {
        let increment = match self.adapters.get(slot) {
            None => None,
            Some(adapter) => Some(adapter.increment(slot, x, draw)?),
        };
        self.divergences.extend(increment.as_ref().and_then(|increment| increment.divergence.clone()));
        Ok(frozen.forward(x, increment.as_ref().map(Increment::term))?)
    }
}

/// The rows that are read, with where they lie among all.
#[derive(Debug)]
pub(crate) struct ReadRows {
    /// One a text.
    indices: Vec<u32>,
    packing: Packing,
    /// Their numbers in the draw; none where nothing is drawn.
    drawn: Option<Rows>,
}

impl ReadRows {
    /// The rows at `indices`, one a text, of a draw for all rows.
    pub(crate) fn new(indices: Vec<u32>, draw: &Draw<'_>) -> Self {
        let drawn = match draw {
            Draw::Mean => None,
            Draw::Sampled(sampling) => Some(sampling.rows.at(&indices)),
        };
        Self { packing: Packing::single_rows(indices.len()), indices, drawn }
    }

    /// The draw at these rows.
    pub(crate) fn draw<'b>(&'b self, draw: &'b Draw<'_>) -> Draw<'b> {
        self.drawn.as_ref().map_or(Draw::Mean, |rows| draw.with_rows(rows))
    }
}

/// A pass at all rows of some texts and at those that are read.
pub(crate) struct Tape<'t, 'a> {
    pub(crate) pass: &'t mut Pass<'a>,
    pub(crate) packing: &'t Packing,
    pub(crate) read: &'t ReadRows,
}

impl Engine for Tape<'_, '_> {
    type X = Tensor;

    fn linear(&mut self, slot: Slot, frozen: &FrozenLinear, x: &Tensor, at: At) -> Result<Tensor> {
        let draw = self.pass.draw.clone();
        match at {
            At::All => self.pass.linear(slot, frozen, x, &draw),
            At::Read => self.pass.linear(slot, frozen, x, &self.read.draw(&draw)),
        }
    }

    fn attend(&mut self, query: &Tensor, key: &Tensor, value: &Tensor, heads: usize, at: At) -> Result<Tensor> {
        let queries = match at {
            At::All => self.packing,
            At::Read => &self.read.packing,
        };
        Ok(attention(query, key, value, queries, self.packing, heads)?)
    }

    fn norm_of_sum(&mut self, x: &Tensor, update: Tensor, norm: &Norm) -> Result<Tensor> {
        Ok(add_layer_norm(x, &update, &norm.weight, &norm.bias, norm.epsilon)?)
    }

    fn activate(&mut self, x: Tensor, activation: Activation) -> Result<Tensor> {
        Ok(activation.apply(&x)?)
    }

    fn read(&mut self, x: &Tensor) -> Result<Tensor> {
        let indices = Tensor::new(self.read.indices.as_slice(), x.device())?;
        Ok(x.index_select(&indices, 1)?)
    }
}
