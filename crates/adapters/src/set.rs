//! The adapters of a model, by slot.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Result;
use crate::posterior::{Parameter, StochasticAdapter, Widened};
use crate::slot::Slot;

/// Adapters by slot. An empty set is the frozen model.
#[derive(Debug, Default)]
pub struct AdapterSet {
    adapters: BTreeMap<Slot, Arc<dyn StochasticAdapter>>,
}

impl AdapterSet {
    /// No adapters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `adapter` into `slot`, replacing what was there.
    pub fn insert(&mut self, slot: Slot, adapter: Box<dyn StochasticAdapter>) {
        self.adapters.insert(slot, adapter.into());
    }

    /// The adapter in `slot`.
    pub fn get(&self, slot: Slot) -> Option<&dyn StochasticAdapter> {
        self.adapters.get(&slot).map(AsRef::as_ref)
    }

    /// Lowest block with an adapter: everything below it is frozen.
    pub fn first_block(&self) -> Option<usize> {
        self.adapters.keys().next().map(|slot| usize::from(slot.block))
    }

    /// Slots in order, with their adapters.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &dyn StochasticAdapter)> {
        self.adapters.iter().map(|(&slot, adapter)| (slot, adapter.as_ref()))
    }

    /// Slots in order, with shares in their adapters.
    pub fn shared(&self) -> impl Iterator<Item = (Slot, Arc<dyn StochasticAdapter>)> {
        self.adapters.iter().map(|(&slot, adapter)| (slot, Arc::clone(adapter)))
    }

    /// The same adapters with deviations `width` times their own, for predictions; see [`Widened`].
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for a width that is negative or not finite.
    pub fn widened(&self, width: f64) -> Result<Self> {
        let widen = |(slot, adapter)| Ok((slot, Arc::new(Widened::new(adapter, width)?) as Arc<dyn StochasticAdapter>));
        Ok(Self { adapters: self.shared().map(widen).collect::<Result<_>>()? })
    }

    /// Every trainable tensor in a fixed order.
    pub fn parameters(&self) -> impl Iterator<Item = (Slot, Parameter<'_>)> {
        self.iter().flat_map(|(slot, adapter)| adapter.parameters().into_iter().map(move |p| (slot, p)))
    }

    /// Number of adapters.
    pub fn len(&self) -> usize {
        self.adapters.len()
    }

    /// Whether there is no adapter.
    pub fn is_empty(&self) -> bool {
        self.adapters.is_empty()
    }
}
