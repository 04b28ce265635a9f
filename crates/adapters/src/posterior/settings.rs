//! Which posterior an adapter has, as written in experiment files and beside saved adapters.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{
    Contextual, ContextualSettings, DropoutLora, DropoutSettings, Gaussian, GaussianSettings, Inducing,
    InducingSettings, Lrvd, LrvdSettings, RankGaussian, RankGaussianSettings, RankSwitch, RankSwitchSettings,
    StochasticAdapter, WeightGaussian, WeightGaussianSettings,
};
use crate::error::{Error, Result};
use crate::lora::LowRank;
use crate::noise::Noise;
use crate::site::{DropoutSite, KeepProbability, MaskScope};
use crate::slot::Slot;

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
    /// [`DropoutLora`] in some blocks, plain LoRA in the others.
    DropoutInBlocks {
        /// Blocks with noise.
        blocks: Blocks,
        /// Site of the multipliers.
        site: DropoutSite,
        /// Reach of one draw.
        scope: MaskScope,
        /// Dropout probability `p`.
        dropout: f64,
    },
    /// [`Contextual`].
    Contextual(ContextualSettings),
    /// [`Gaussian`].
    Gaussian(GaussianSettings),
    /// [`RankGaussian`].
    RankGaussian(RankGaussianSettings),
    /// [`RankSwitch`].
    RankSwitch(RankSwitchSettings),
    /// [`WeightGaussian`].
    WeightGaussian(WeightGaussianSettings),
    /// [`Inducing`].
    Inducing(InducingSettings),
    /// [`Lrvd`].
    Lrvd(LrvdSettings),
    /// A point with the Gaussian of Laplace's approximation around it, whose factors are in a file beside the adapter. It is read
    /// through the linearised network: samples of the network itself are all at the point.
    Laplace(LaplaceSettings),
}

/// What Laplace's approximation needs beside its factors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LaplaceSettings {
    /// Weights that have a posterior.
    pub reach: Reach,
    /// Prior precision `lambda`.
    pub precision: f64,
    /// Draws of the Gaussian logits.
    pub draws: u32,
}

/// Which weights have a posterior.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Every `A` and `B`, and the head.
    All,
    /// The head alone: the last layer.
    Head,
}

/// Some blocks of a transformer, by number from 0 at the bottom; written as a list.
///
/// # Examples
/// ```
/// use bayeslora_adapters::Blocks;
/// let last = Blocks::try_from(vec![4, 5])?;
/// assert!(last.contains(5) && !last.contains(3));
/// # Ok::<(), bayeslora_adapters::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Blocks(u128);

impl Blocks {
    /// Whether `block` is among them.
    pub fn contains(self, block: u8) -> bool {
        1_u128.checked_shl(block.into()).is_some_and(|bit| self.0 & bit != 0)
    }

    /// Their numbers, ascending.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (0..128).filter(move |&block| self.contains(block))
    }
}

impl TryFrom<Vec<u8>> for Blocks {
    type Error = Error;

    /// # Errors
    /// [`Error::Setting`] for an empty list or a block from 128 on.
    fn try_from(numbers: Vec<u8>) -> Result<Self> {
        let refused = |got: f64, expected| Error::Setting { name: "blocks", got, expected };
        if numbers.is_empty() {
            return Err(Error::Setting { name: "number of blocks", got: 0.0, expected: "at least 1" });
        }
        let mut blocks = 0;
        for block in numbers {
            let bit = 1_u128.checked_shl(block.into());
            blocks |= bit.ok_or_else(|| refused(block.into(), "blocks from 0 to 127"))?;
        }
        Ok(Self(blocks))
    }
}

impl From<Blocks> for Vec<u8> {
    fn from(blocks: Blocks) -> Self {
        blocks.numbers().collect()
    }
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
            Self::Gaussian(settings) => Box::new(Gaussian::initial(slot, lora, settings, noise, device)?),
            Self::RankGaussian(settings) => Box::new(RankGaussian::initial(slot, &lora, settings, noise, device)?),
            Self::RankSwitch(settings) => Box::new(RankSwitch::initial(slot, lora, settings, device)?),
            Self::WeightGaussian(settings) => Box::new(WeightGaussian::initial(slot, lora, settings, device)?),
            Self::Inducing(settings) => Box::new(Inducing::initial(slot, &lora, settings, noise, device)?),
            Self::Lrvd(settings) => Box::new(Lrvd::initial(slot, &lora, settings, noise, device)?),
            Self::Deterministic | Self::Laplace(_) | Self::Dropout { .. } | Self::DropoutInBlocks { .. } => {
                Box::new(DropoutLora::new(lora, self.dropout_settings(slot)?))
            }
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
        let saved = |names: &[&str]| -> Result<Vec<Tensor>> {
            let found = names.iter().map(|&name| {
                tensors.get(name).cloned().ok_or_else(|| Error::Shape {
                    what: format!("{name} of {slot}"),
                    got: vec![],
                    expected: "a tensor saved beside the adapter".to_owned(),
                })
            });
            found.collect()
        };
        Ok(match *self {
            Self::Contextual(settings) => {
                let network = saved(Contextual::network_names(settings))?;
                Box::new(Contextual::from_tensors(slot, lora, settings, &network)?)
            }
            Self::Gaussian(settings) => {
                let rho = saved(&[Gaussian::tensor_name()])?;
                Box::new(Gaussian::from_tensor(slot, lora, settings, &rho[0])?)
            }
            Self::RankGaussian(settings) => {
                let multipliers = saved(&RankGaussian::tensor_names())?;
                Box::new(RankGaussian::from_tensors(slot, lora, settings, &multipliers)?)
            }
            Self::RankSwitch(settings) => {
                let logits = saved(&[RankSwitch::tensor_name()])?;
                Box::new(RankSwitch::from_tensor(slot, lora, settings, &logits[0])?)
            }
            Self::WeightGaussian(_) => {
                let log_sds = saved(&WeightGaussian::tensor_names())?;
                Box::new(WeightGaussian::from_tensors(slot, lora, &log_sds)?)
            }
            Self::Inducing(settings) => {
                let factors = saved(Inducing::tensor_names())?;
                Box::new(Inducing::from_tensors(slot, lora, settings, &factors)?)
            }
            Self::Lrvd(settings) => {
                let log_variances = saved(Lrvd::tensor_names(settings))?;
                Box::new(Lrvd::from_tensors(slot, lora, settings, &log_variances)?)
            }
            Self::Deterministic | Self::Laplace(_) | Self::Dropout { .. } | Self::DropoutInBlocks { .. } => {
                Box::new(DropoutLora::new(lora, self.dropout_settings(slot)?))
            }
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
            Self::Deterministic | Self::Laplace(_) => false,
            Self::Dropout { dropout, .. } | Self::DropoutInBlocks { dropout, .. } => dropout > 0.0,
            Self::Contextual(_)
            | Self::Gaussian(_)
            | Self::RankGaussian(_)
            | Self::RankSwitch(_)
            | Self::WeightGaussian(_)
            | Self::Inducing(_)
            | Self::Lrvd(_) => true,
        }
    }

    fn dropout_settings(&self, slot: Slot) -> Result<DropoutSettings> {
        match *self {
            Self::Dropout { site, scope, dropout } => {
                Ok(DropoutSettings { site, scope, keep: KeepProbability::from_dropout(dropout)? })
            }
            Self::DropoutInBlocks { blocks, site, scope, dropout } => {
                let keep = KeepProbability::from_dropout(dropout)?;
                Ok(if blocks.contains(slot.block) {
                    DropoutSettings { site, scope, keep }
                } else {
                    DropoutSettings::NONE
                })
            }
            Self::Deterministic
            | Self::Laplace(_)
            | Self::Contextual(_)
            | Self::Gaussian(_)
            | Self::RankGaussian(_)
            | Self::RankSwitch(_)
            | Self::WeightGaussian(_)
            | Self::Inducing(_)
            | Self::Lrvd(_) => Ok(DropoutSettings::NONE),
        }
    }
}
