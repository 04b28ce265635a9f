//! A network that a method fitted: adapters, head, and the posterior over their weights.

use bayeslora_adapters::{AdapterSet, Noise, PosteriorSettings, Stream, derive_seed};
use bayeslora_models::{Head, initial_adapters};
use candle_core::{Tensor, Var};

use crate::context::FitContext;
use crate::error::Result;

/// One trained set of adapters with its head.
#[derive(Debug)]
pub struct Member {
    /// The adapters.
    pub adapters: AdapterSet,
    /// The head.
    pub head: Head,
    /// Their posterior.
    pub posterior: PosteriorSettings,
}

impl Member {
    /// Untrained adapters and head.
    ///
    /// # Errors
    /// When the rank does not fit a map, or a setting is outside its range.
    pub fn initial(context: &FitContext<'_>, posterior: PosteriorSettings, noise: &Noise) -> Result<Self> {
        let adapters = initial_adapters(context.backbone, context.slots, context.lora, &posterior, noise)?;
        let head = match context.language {
            Some(language) => language.clone().frozen(),
            None if context.train_head => Head::initial(context.backbone, context.classes, noise)?,
            // A part of the network that all members share: the first member's.
            None => {
                let first = Noise::new(derive_seed(context.seed, 0), Stream::Initial);
                Head::initial(context.backbone, context.classes, &first)?.frozen()
            }
        };
        Ok(Self { adapters, head, posterior })
    }

    /// Every trained tensor with its name, in a fixed order: the adapters' slot by slot, then the head's unless it is frozen.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.adapters.parameters().map(|(_, parameter)| (parameter.name, parameter.var)).chain(self.head.parameters())
    }

    /// A copy that shares nothing with this member and has other values, in the order of [`Self::parameters`].
    ///
    /// # Errors
    /// When shapes do not go together.
    pub fn with_values(&self, context: &FitContext<'_>, values: &[Tensor]) -> Result<Self> {
        let mut copy = Self::initial(context, self.posterior, &Noise::new(0, Stream::Initial))?;
        copy.keep_frozen(self);
        for ((_, var), value) in copy.parameters().zip(values) {
            var.set(value)?;
        }
        Ok(copy)
    }

    /// Takes over the head of `other` if it is frozen, and so no part of [`Self::parameters`].
    pub(crate) fn keep_frozen(&mut self, other: &Self) {
        if !other.head.is_trained() {
            self.head = other.head.clone();
        }
    }

    /// Divergence of the posterior from its prior in nats (a scalar), as far as it is a function of the parameters alone.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn divergence(&self) -> Result<Option<Tensor>> {
        let mut total: Option<Tensor> = None;
        for (_, adapter) in self.adapters.iter() {
            if let Some(part) = adapter.divergence()? {
                total = Some(total.map_or(Ok(part.clone()), |total| total + part)?);
            }
        }
        Ok(total)
    }
}
