//! The engine of tensors: gradients, any device, any precision.

use bayeslora_adapters::{AdapterSet, Draw, Increment, Rows, Slot};
use bayeslora_kernels::{Activation, Context, FrozenLinear, Heads, Packing, Rotary, attention_within, gated, rms_norm};
use candle_core::{DType, Tensor};

use crate::engine::{At, Engine};
use crate::error::Result;
use crate::norm::Norm;

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

    /// An adapted map at the rows of `draw`. Adapters are computed in f32, whatever the type of `x`.
    pub(crate) fn linear(&mut self, slot: Slot, frozen: &FrozenLinear, x: &Tensor, draw: &Draw<'_>) -> Result<Tensor> {
        let Some(adapter) = self.adapters.get(slot) else { return Ok(frozen.forward(x, None)?) };
        let increment = adapter.increment(slot, &x.to_dtype(DType::F32)?, draw)?;
        self.divergences.extend(increment.divergence.clone());
        if x.dtype() == DType::F32 {
            return Ok(frozen.forward(x, Some(increment.term()))?);
        }
        let Increment { core, up, scale, offset, .. } = increment;
        let added = (core.broadcast_matmul(&up.t()?)? * scale)?;
        let sum = frozen.forward(x, None)?.to_dtype(DType::F32)?.broadcast_add(&added)?;
        let sum = offset.map_or(Ok(sum.clone()), |offset| sum.broadcast_add(&offset))?;
        Ok(sum.to_dtype(x.dtype())?)
    }
}

/// A pass at all rows of some texts and at those that are read.
pub(crate) struct Tape<'t, 'a> {
    pass: &'t mut Pass<'a>,
    all: Context,
    /// The rows that are read, one a text.
    read: Vec<u32>,
    at_read: Context,
    /// Numbers of the rows that are read, where something is drawn.
    drawn: Option<Rows>,
}

impl<'t, 'a> Tape<'t, 'a> {
    /// Of texts packed so, `read` their rows that are read.
    pub(crate) fn new(pass: &'t mut Pass<'a>, packing: &Packing, read: Vec<u32>) -> Result<Self> {
        let all = Context::sentences(packing)?;
        let drawn = match &pass.draw {
            Draw::Mean => None,
            Draw::Sampled(sampling) => Some(sampling.rows.at(&read)),
        };
        Ok(Self { pass, at_read: all.at_rows(&read)?, all, read, drawn })
    }

    fn context(&self, at: At) -> &Context {
        match at {
            At::All => &self.all,
            At::Read => &self.at_read,
        }
    }
}

impl Engine for Tape<'_, '_> {
    type X = Tensor;

    fn linear(&mut self, slot: Slot, frozen: &FrozenLinear, x: &Tensor, at: At) -> Result<Tensor> {
        let draw = self.pass.draw.clone();
        match at {
            At::All => self.pass.linear(slot, frozen, x, &draw),
            At::Read => {
                let read = self.drawn.as_ref().map_or(Draw::Mean, |rows| draw.with_rows(rows));
                self.pass.linear(slot, frozen, x, &read)
            }
        }
    }

    fn attend(&mut self, query: &Tensor, key: &Tensor, value: &Tensor, heads: &Heads, at: At) -> Result<Tensor> {
        Ok(attention_within(query, key, value, self.context(at), heads)?)
    }

    fn turn(&mut self, x: Tensor, rotary: &Rotary, at: At) -> Result<Tensor> {
        Ok(rotary.apply(&x, self.context(at).positions())?)
    }

    fn norm(&mut self, x: &Tensor, norm: &Norm) -> Result<Tensor> {
        match norm {
            Norm::Rms { weight, epsilon } => Ok(rms_norm(x, weight, *epsilon)?),
            Norm::Layer { .. } => norm.of_sum(x, &x.zeros_like()?),
        }
    }

    fn norm_of_sum(&mut self, x: &Tensor, update: Tensor, norm: &Norm) -> Result<Tensor> {
        norm.of_sum(x, &update)
    }

    fn add(&mut self, x: &Tensor, update: Tensor) -> Result<Tensor> {
        Ok(x.broadcast_add(&update)?)
    }

    fn gated(&mut self, activation: Activation, gate: &Tensor, inner: Tensor) -> Result<Tensor> {
        Ok(gated(activation, gate, &inner)?)
    }

    fn tanh(&mut self, x: Tensor) -> Result<Tensor> {
        Ok(x.tanh()?)
    }

    fn activate(&mut self, x: Tensor, activation: Activation) -> Result<Tensor> {
        Ok(activation.apply(&x)?)
    }

    fn read(&mut self, x: &Tensor) -> Result<Tensor> {
        let indices = Tensor::new(self.read.as_slice(), x.device())?;
        Ok(x.index_select(&indices, 1)?)
    }
}
