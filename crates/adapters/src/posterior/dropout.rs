//! MC-dropout LoRA: Bernoulli multipliers inside the low-rank path stay on at prediction (BayesLoRA v1; theory.md,
//! section 2; methods.md, section 4).

use candle_core::Tensor;

use super::{Increment, Moments, Parameter, StochasticAdapter, double_precision};
use crate::Result;
use crate::draw::{Draw, Sampling};
use crate::kernels::{dropout, weight_dropout};
use crate::lora::LowRank;
use crate::site::{DropoutSite, KeepProbability, MaskScope, Slot};

/// Where dropout acts, how often, and how far one draw reaches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutSettings {
    /// Site of the multipliers.
    pub site: DropoutSite,
    /// Reach of one draw.
    pub scope: MaskScope,
    /// Keep probability `q`.
    pub keep: KeepProbability,
}

impl DropoutSettings {
    /// No dropout: a deterministic adapter.
    pub const NONE: Self = Self { site: DropoutSite::Input, scope: MaskScope::Token, keep: KeepProbability::ONE };
}

/// A LoRA pair with dropout at one of three sites. With `q = 1` it is plain LoRA.
#[derive(Debug, Clone)]
pub struct DropoutLora {
    lora: LowRank,
    settings: DropoutSettings,
}

impl DropoutLora {
    /// Dropout on `lora`.
    pub fn new(lora: LowRank, settings: DropoutSettings) -> Self {
        Self { lora, settings }
    }

    fn sampled_core(&self, slot: Slot, x: &Tensor, sampling: &Sampling<'_>) -> Result<Tensor> {
        let DropoutSettings { site, scope, keep } = self.settings;
        match site {
            DropoutSite::Input => self.lora.down(&dropout(x, slot, scope, keep, sampling)?),
            DropoutSite::Rank => dropout(&self.lora.down(x)?, slot, scope, keep, sampling),
            DropoutSite::Weight => weight_dropout(x, self.lora.a(), slot, scope, keep, sampling),
        }
    }
}

impl StochasticAdapter for DropoutLora {
    fn increment(&self, slot: Slot, x: &Tensor, draw: &Draw<'_>) -> Result<Increment> {
        let core = match draw {
            Draw::Sampled(sampling) if self.settings.keep < KeepProbability::ONE => {
                self.sampled_core(slot, x, sampling)?
            }
            _ => self.lora.down(x)?,
        };
        Ok(Increment { core, up: self.lora.b().as_tensor().clone(), scale: self.lora.scale(), divergence: None })
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        vec![
            Parameter { name: "lora_A.weight", var: self.lora.a() },
            Parameter { name: "lora_B.weight", var: self.lora.b() },
        ]
    }

    /// Mean `s B A x`; covariance `s^2 kappa` times
    ///
    /// - input: `(BA) diag(x^2) (BA)^T`,
    /// - rank: `B diag((Ax)^2) B^T`,
    /// - weight: `B diag((A*A) x^2) B^T`
    ///
    /// (theory.md, section 2).
    fn moments(&self, x: &Tensor) -> Result<Moments> {
        let (a, b, x, u) = double_precision(&self.lora, x)?;
        let scale = self.lora.scale();
        let variance = scale * scale * self.settings.keep.multiplier_variance();
        let (factor, squares) = match self.settings.site {
            DropoutSite::Input => (b.matmul(&a)?, x.sqr()?),
            DropoutSite::Rank => (b.clone(), u.sqr()?),
            DropoutSite::Weight => (b.clone(), x.sqr()?.matmul(&a.sqr()?.t()?)?),
        };
        Ok(Moments { mean: (u.matmul(&b.t()?)? * scale)?, factor, weights: (squares * variance)? })
    }
}
