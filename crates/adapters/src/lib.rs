//! LoRA posteriors, dropout sites, counter-based noise, exact moments, PEFT files.
//!
//! An adapter is a [`StochasticAdapter`]: given activations and a [`Draw`] it returns its increment `s B e`, and for a
//! single input the exact mean and covariance of that increment. Noise is a pure function of what it belongs to
//! ([`Noise`]), so results do not depend on batches, order or threads.
//!
//! # Examples
//! The exact moments of rank-site dropout on one map:
//! ```
//! use bayeslora_adapters::{
//!     DropoutLora, DropoutSettings, DropoutSite, KeepProbability, LowRank, MaskScope, Slot, StochasticAdapter, TargetMap,
//! };
//! use candle_core::{Device, Tensor};
//!
//! let slot = Slot::new(0, TargetMap::Query);
//! let a = Tensor::new(&[[1f32, 2.0]], &Device::Cpu)?;
//! let b = Tensor::new(&[[3f32], [4.0]], &Device::Cpu)?;
//! let lora = LowRank::from_tensors(slot, (2, 2), &a, &b, 1.0)?;
//! let keep = KeepProbability::from_dropout(0.2)?;
//! let adapter = DropoutLora::new(lora, DropoutSettings { site: DropoutSite::Rank, scope: MaskScope::Token, keep });
//! let x = Tensor::new(&[[1f64, 1.0]], &Device::Cpu)?;
//! // V(x) = kappa |B|^2 (A x)^2 = 0.25 * 25 * 9.
//! let variance = adapter.moments(&x)?.total_variance()?.to_vec1::<f64>()?;
//! assert!((variance[0] - 56.25).abs() < 1e-12);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod coupling;
mod draw;
mod error;
pub mod files;
mod linear;
mod lora;
mod noise;
pub mod peft;
mod posterior;
mod set;
mod site;
mod slot;
mod svd;

pub use coupling::{Coupling, GroupSize};
pub use draw::{Draw, Rows, Sampling};
pub use error::{Error, Result};
pub use linear::Dependence;
pub use lora::{LoraShape, LowRank};
pub use noise::{Address, Noise, Stream, derive_seed};
pub use posterior::{
    Activations, Blocks, Contextual, ContextualSettings, CoreSource, DropoutLora, DropoutSettings, Gaussian,
    GaussianSettings, Increment, Inducing, InducingSettings, KlDirection, LaplaceSettings, Lrvd, LrvdSampling,
    LrvdSettings, LrvdVariant, Moments, Parameter, PosteriorSettings, RankGaussian, RankGaussianSettings, RankSwitch,
    RankSwitchSettings, Reach, ScaleActivation, Scratch, StochasticAdapter, WeightGaussian, WeightGaussianSettings,
    Widened,
};
pub use set::AdapterSet;
pub use site::{DropoutSite, KeepProbability, MaskScope};
pub use slot::{Slot, TargetMap};
