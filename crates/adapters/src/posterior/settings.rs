//! Which posterior an adapter has, as written in experiment files and beside saved adapters.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Contextual, ContextualSettings, DropoutLora, DropoutSettings, StochasticAdapter};
use crate::lora::LowRank;
use crate::noise::Noise;
use crate::site::{DropoutSite, KeepProbability, MaskScope, Slot};
use crate::{Error, Result};

/// A posterior and its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum PosteriorSettings {
    /// Plain LoRA: a point.
    Deterministic,
    /// [`DropoutLora`].
    Dropout {
        /// Site of the multipliers.
        site: DropoutSite,
        /// Reach of one draw.
        scope: MaskScope,
        /// Dropout probability `p` (PEFT's `lora_dropout`).
        dropout: f64,
    },
    /// [`Contextual`].
    Contextual(ContextualSettings),
}

impl PosteriorSettings {
    /// An untrained adapter around `lora`.
    ///
    /// # Errors
    /// For settings outside their ranges.
    pub fn initial(
        &self,
        slot: Slot,
        lora: LowRank,
        noise: &Noise,
        device: &Device,
    ) -> Result<Box<dyn StochasticAdapter>> {
        Ok(match *self {
            Self::Contextual(settings) => Box::new(Contextual::initial(slot, lora, settings, noise, device)?),
            Self::Deterministic | Self::Dropout { .. } => Box::new(DropoutLora::new(lora, self.dropout_settings()?)),
        })
    }

    /// An adapter around `lora` with its further tensors taken from `tensors`, by name.
    ///
    /// # Errors
    /// [`Error::Shape`] for a tensor that is missing or has the wrong shape.
    pub fn restored(
        &self,
        slot: Slot,
        lora: LowRank,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<Box<dyn StochasticAdapter>> {
        Ok(match *self {
            Self::Contextual(settings) => {
                let network = Contextual::network_names().map(|name| {
                    tensors.get(name).cloned().ok_or_else(|| Error::Shape {
                        what: format!("{name} of {slot}"),
                        got: vec![],
                        expected: "a tensor saved beside the adapter".to_owned(),
                    })
                });
                let network = network.into_iter().collect::<Result<Vec<_>>>()?;
                Box::new(Contextual::from_tensors(slot, lora, settings, &network)?)
            }
            Self::Deterministic | Self::Dropout { .. } => Box::new(DropoutLora::new(lora, self.dropout_settings()?)),
        })
    }

    /// Dropout probability at the adapter's input in PEFT's sense, 0 for other posteriors.
    pub fn peft_dropout(&self) -> f64 {
        match *self {
            Self::Dropout { site: DropoutSite::Input, dropout, .. } => dropout,
            _ => 0.0,
        }
    }

    /// Whether samples differ from the mean.
    pub fn is_stochastic(&self) -> bool {
        match *self {
            Self::Deterministic => false,
            Self::Dropout { dropout, .. } => dropout > 0.0,
            Self::Contextual(_) => true,
        }
    }

    fn dropout_settings(&self) -> Result<DropoutSettings> {
        match *self {
            Self::Dropout { site, scope, dropout } => {
                Ok(DropoutSettings { site, scope, keep: KeepProbability::from_dropout(dropout)? })
            }
            Self::Deterministic | Self::Contextual(_) => Ok(DropoutSettings::NONE),
        }
    }
}
