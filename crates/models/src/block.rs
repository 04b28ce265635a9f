//! A transformer block, written once for both engines; families differ in what it holds.

use bayeslora_adapters::{Slot, TargetMap};
use bayeslora_kernels::{Activation, FrozenLinear, Heads, Rotary};

use crate::engine::{At, Engine};
use crate::error::Result;
use crate::norm::Norm;

/// Where the normalisations of the attention and of the feed-forward network stand, in this order.
#[derive(Debug)]
pub(crate) enum Norms {
    /// `norm(x + f(x))`: BERT's.
    OfSum([Norm; 2]),
    /// `x + f(norm(x))`: Llama's.
    Before([Norm; 2]),
    /// `x + norm(f(norm(x)))`: Gemma's.
    Around {
        /// Before each half.
        before: [Norm; 2],
        /// After each half.
        after: [Norm; 2],
    },
}

impl Norms {
    /// What half `half` reads; `None` where that is `x` itself.
    fn input<E: Engine>(&self, engine: &mut E, x: &E::X, half: usize) -> Result<Option<E::X>> {
        match self {
            Self::OfSum(_) => Ok(None),
            Self::Before(before) | Self::Around { before, .. } => engine.norm(x, &before[half]).map(Some),
        }
    }

    /// `x` with what half `half` made of it.
    fn joined<E: Engine>(&self, engine: &mut E, x: &E::X, update: E::X, half: usize) -> Result<E::X> {
        match self {
            Self::OfSum(norms) => engine.norm_of_sum(x, update, &norms[half]),
            Self::Before(_) => engine.add(x, update),
            Self::Around { after, .. } => {
                let update = engine.norm(&update, &after[half])?;
                engine.add(x, update)
            }
        }
    }
}

/// What becomes of queries and keys before their products.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    /// Normalisations of each head's queries and keys.
    pub(crate) norms: Option<[Norm; 2]>,
    /// Rotary positions.
    pub(crate) rotary: Option<Rotary>,
}

impl Positions {
    /// Queries (`which` 0) or keys (1) at the rows of `at`.
    fn apply<E: Engine>(&self, engine: &mut E, mut x: E::X, which: usize, at: At) -> Result<E::X> {
        if let Some(norms) = &self.norms {
            x = engine.norm(&x, &norms[which])?;
        }
        match &self.rotary {
            None => Ok(x),
            Some(rotary) => engine.turn(x, rotary, at),
        }
    }
}

/// Attention and a feed-forward network, each added to what it was given (arXiv 1706.03762).
#[derive(Debug)]
pub(crate) struct Block {
    /// Number of the block, from 0 at the bottom.
    pub(crate) number: u8,
    pub(crate) query: FrozenLinear,
    pub(crate) key: FrozenLinear,
    pub(crate) value: FrozenLinear,
    pub(crate) attention_output: FrozenLinear,
    /// The gate of the feed-forward network, where there is one (arXiv 2002.05202).
    pub(crate) gate: Option<FrozenLinear>,
    pub(crate) intermediate: FrozenLinear,
    pub(crate) output: FrozenLinear,
    pub(crate) norms: Norms,
    pub(crate) positions: Positions,
    pub(crate) heads: Heads,
    pub(crate) activation: Activation,
}

impl Block {
    /// `x [samples or 1, rows, width]` above the block, at the rows of `at`: keys and values are those of all rows.
    pub(crate) fn run<E: Engine>(&self, engine: &mut E, x: E::X, at: At) -> Result<E::X> {
        let slot = |map| Slot::new(self.number, map);
        let normed = self.norms.input(engine, &x, 0)?;
        let input = normed.as_ref().unwrap_or(&x);
        let read = match at {
            At::All => None,
            At::Read => Some(engine.read(input)?),
        };
        let query = engine.linear(slot(TargetMap::Query), &self.query, read.as_ref().unwrap_or(input), at)?;
        let key = engine.linear(slot(TargetMap::Key), &self.key, input, At::All)?;
        let value = engine.linear(slot(TargetMap::Value), &self.value, input, At::All)?;
        let query = self.positions.apply(engine, query, 0, at)?;
        let key = self.positions.apply(engine, key, 1, At::All)?;
        let attended = engine.attend(&query, &key, &value, &self.heads, at)?;
        drop((query, key, value));
        let update = engine.linear(slot(TargetMap::AttentionOutput), &self.attention_output, &attended, at)?;
        drop(attended);
        // What the attention is added to, at the rows that are read.
        let x = match (at, normed) {
            (At::All, _) => x,
            (At::Read, None) => read.unwrap_or(x),
            (At::Read, Some(_)) => engine.read(&x)?,
        };
        let x = self.norms.joined(engine, &x, update, 0)?;
        let normed = self.norms.input(engine, &x, 1)?;
        let update = self.feed_forward(engine, normed.as_ref().unwrap_or(&x), at)?;
        drop(normed);
        self.norms.joined(engine, &x, update, 1)
    }

    /// `W2 f(W1 x)`, or `W2 (f(G x) W1 x)` with a gate `G`.
    fn feed_forward<E: Engine>(&self, engine: &mut E, x: &E::X, at: At) -> Result<E::X> {
        let slot = |map| Slot::new(self.number, map);
        let inner = match &self.gate {
            None => {
                let inner = engine.linear(slot(TargetMap::Intermediate), &self.intermediate, x, at)?;
                engine.activate(inner, self.activation)?
            }
            Some(gate) => {
                let gate = engine.linear(slot(TargetMap::Gate), gate, x, at)?;
                let inner = engine.linear(slot(TargetMap::Intermediate), &self.intermediate, x, at)?;
                engine.gated(self.activation, &gate, inner)?
            }
        };
        engine.linear(slot(TargetMap::Output), &self.output, &inner, at)
    }

    /// Bytes of the weights.
    pub(crate) fn weight_bytes(&self) -> usize {
        let maps = TargetMap::ALL.into_iter().filter_map(|map| self.map(map)).map(FrozenLinear::bytes).sum::<usize>();
        let norms = match &self.norms {
            Norms::OfSum(norms) | Norms::Before(norms) => norms.iter().map(Norm::bytes).sum::<usize>(),
            Norms::Around { before, after } => before.iter().chain(after).map(Norm::bytes).sum(),
        };
        maps + norms + self.positions.norms.iter().flatten().map(Norm::bytes).sum::<usize>()
    }

    /// The frozen map of an adapter's slot, where the block has it.
    pub(crate) fn map(&self, map: TargetMap) -> Option<&FrozenLinear> {
        match map {
            TargetMap::Query => Some(&self.query),
            TargetMap::Key => Some(&self.key),
            TargetMap::Value => Some(&self.value),
            TargetMap::AttentionOutput => Some(&self.attention_output),
            TargetMap::Gate => self.gate.as_ref(),
            TargetMap::Intermediate => Some(&self.intermediate),
            TargetMap::Output => Some(&self.output),
            TargetMap::Pooler => None,
        }
    }
}
