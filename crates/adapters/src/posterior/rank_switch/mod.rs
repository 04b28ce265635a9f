//! Learnt switches of the rank components, `z_k ~ Bernoulli(p_k)`, `p_k = sigmoid(l_k)` (DALorRA, arXiv 2607.02182; methods.md, section
//! 14): the rank site of MC-dropout with a probability that is learnt for each component, `r` parameters a map.
//!
//! The increment is `s B diag(z) A x`. Unlike MC-dropout's multipliers, which are divided by the probability to keep, a switch is 0 or 1,
//! so that the mean is `s B diag(p) A x`. Without the switches beside it, the file of the pair is not the mean.
//!
//! Training draws a relaxed switch, `z_k = sigmoid((l_k - log(u / (1 - u))) / tau)` with `u` uniform (the binary concrete law of Maddison et
//! al., arXiv 1611.00712), which has a derivative by `l_k`; every other stream of noise draws 0 or 1, the limit at `tau = 0` for the same
//! `u`.

use bayeslora_kernels::{Onto, Threads, Turn, borrow, product};
use candle_core::{DType, Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::dropout::drop_rows;
use super::{
    Activations, Increment, Moments, Parameter, Scratch, StochasticAdapter, core_by_tensors, double_precision,
};
use crate::draw::{Draw, Sampling};
use crate::error::{Error, Result};
use crate::linear::{Dependence, multiply};
use crate::lora::LowRank;
use crate::noise::{Stream, open_unit};
use crate::site::MaskScope;
use crate::slot::Slot;

/// Settings of the switches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RankSwitchSettings {
    /// Reach of one draw.
    pub scope: MaskScope,
    /// Probability `pi` that the prior keeps a component; every `p_k` starts there.
    pub prior: f64,
    /// Temperature `tau` of the relaxed switches of training.
    pub temperature: f64,
}

impl Default for RankSwitchSettings {
    /// One draw for each example, a prior that keeps most components.
    fn default() -> Self {
        Self { scope: MaskScope::Sequence, prior: 0.9, temperature: 0.5 }
    }
}

/// A LoRA pair with a switch for each rank component.
#[derive(Debug, Clone)]
pub struct RankSwitch {
    lora: LowRank,
    settings: RankSwitchSettings,
    /// `l [r]`.
    logits: Var,
}

/// Name of the logits in their file.
const LOGITS: &str = "rank_switch.logit";

/// Logits beyond are read as this: `exp` of it is far from overflow, and a switch of probability `1e-13` is never seen to differ from one
/// of probability 0.
const LARGEST: f64 = 30.0;

impl RankSwitch {
    /// Switches at the prior.
    ///
    /// # Errors
    /// [`Error::Setting`] for a prior outside (0, 1) or a temperature that is not positive.
    pub fn initial(slot: Slot, lora: LowRank, settings: RankSwitchSettings, device: &Device) -> Result<Self> {
        let logit = log_odds(settings.prior);
        let logits = (Tensor::ones(lora.rank(), DType::F32, device)? * logit)?;
        Self::from_tensor(slot, lora, settings, &logits)
    }

    /// From given logits `[r]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when they have another shape; [`Error::Setting`] as above.
    pub fn from_tensor(slot: Slot, lora: LowRank, settings: RankSwitchSettings, logits: &Tensor) -> Result<Self> {
        let RankSwitchSettings { prior, temperature, .. } = settings;
        if !(prior > 0.0 && prior < 1.0) {
            return Err(Error::Setting { name: "prior", got: prior, expected: "a probability above 0 and below 1" });
        }
        if !(temperature.is_finite() && temperature > 0.0) {
            return Err(Error::Setting { name: "temperature", got: temperature, expected: "a positive number" });
        }
        if logits.dims() != [lora.rank()] {
            return Err(Error::Shape {
                what: format!("{LOGITS} of {slot}"),
                got: logits.dims().to_vec(),
                expected: format!("[{}]", lora.rank()),
            });
        }
        Ok(Self { lora, settings, logits: Var::from_tensor(logits)? })
    }

    /// Name of the logits in their file.
    pub fn tensor_name() -> &'static str {
        LOGITS
    }

    /// The same adapter, known by its settings: it shares the tensors of `adapter`. None where those have other names.
    pub fn sharing(adapter: &dyn StochasticAdapter, settings: RankSwitchSettings) -> Option<Self> {
        let logits = adapter.parameters().into_iter().find(|parameter| parameter.name == LOGITS)?.var.clone();
        Some(Self { lora: adapter.low_rank().clone(), settings, logits })
    }

    /// The probabilities `p_k` that components are kept, in f64.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn probabilities(&self) -> Result<Vec<f64>> {
        let logits = self.logits.as_detached_tensor().to_vec1::<f32>()?;
        Ok(logits.into_iter().map(|logit| probability(logit.into())).collect())
    }

    /// `l`, within the range that is read.
    fn bounded(&self) -> Result<Tensor> {
        Ok(self.logits.clamp(-LARGEST, LARGEST)?)
    }

    /// A word below its component's threshold keeps the component.
    fn thresholds(&self) -> Result<Vec<u64>> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a probability times 2^32")]
        let threshold = |p: f64| (p * 4_294_967_296.0).round() as u64;
        Ok(self.probabilities()?.into_iter().map(threshold).collect())
    }

    /// `z [samples, rows, r]`.
    fn switches(&self, slot: Slot, rows: usize, sampling: &Sampling<'_>, device: &Device) -> Result<Tensor> {
        let RankSwitchSettings { scope, temperature, .. } = self.settings;
        let rank = self.lora.rank();
        let words = sampling.words(slot, scope, rank);
        let shape = (sampling.count(), rows, rank);
        if sampling.noise.stream() == Stream::Training {
            #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
            let logistic = |word: u32| log_odds(open_unit(word)) as f32;
            let logistic = Tensor::from_vec(words.into_iter().map(logistic).collect(), shape, device)?;
            let steep = (self.bounded()?.broadcast_sub(&logistic)? / (2.0 * temperature))?;
            // 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2.
            return Ok(steep.tanh()?.affine(0.5, 0.5)?);
        }
        let thresholds = self.thresholds()?;
        let hard = |(word, threshold): (u32, &u64)| f32::from(u8::from(u64::from(word) < *threshold));
        let hard: Vec<f32> = words.into_iter().zip(thresholds.iter().cycle()).map(hard).collect();
        Ok(Tensor::from_vec(hard, shape, device)?)
    }
}

fn log_odds(p: f64) -> f64 {
    p.ln() - (-p).ln_1p()
}

fn probability(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit.clamp(-LARGEST, LARGEST)).exp())
}

impl StochasticAdapter for RankSwitch {
    fn increment(&self, slot: Slot, x: &Tensor, draw: &Draw<'_>) -> Result<Increment> {
        let u = self.lora.down(x)?;
        let z = match draw {
            // (1 + tanh(l / 2)) / 2 = sigmoid(l).
            Draw::Mean => (self.bounded()? / 2.0)?.tanh()?.affine(0.5, 0.5)?,
            Draw::Sampled(sampling) => self.switches(slot, x.dim(1)?, sampling, x.device())?,
        };
        Ok(Increment::of_core(u.broadcast_mul(&z)?, &self.lora))
    }

    fn core(
        &self,
        slot: Slot,
        x: Activations<'_>,
        draw: &Draw<'_>,
        scratch: &mut Scratch,
        core: &mut Vec<f32>,
    ) -> Result<usize> {
        let rank = self.lora.rank();
        let shared = x.samples * x.rows;
        let sampling = match draw {
            Draw::Sampled(sampling) if sampling.noise.stream() == Stream::Training => {
                return core_by_tensors(self, slot, x, draw, core);
            }
            Draw::Sampled(sampling) => Some(sampling),
            Draw::Mean => None,
        };
        let mut u = vec![0.0; shared * rank];
        self.lora.with_values(|a, _| {
            product(&mut u, Onto::Nothing, 1.0, x.values, a, (shared, a.len() / rank, rank), Threads::One);
        })?;
        let Some(sampling) = sampling else {
            let guard = self.logits.storage_and_layout();
            let logits = borrow(&guard)?;
            #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
            let means = logits.iter().map(|&logit| probability(logit.into()) as f32);
            u.iter_mut().zip(means.cycle()).for_each(|(u, p)| *u *= p);
            *core = u;
            return Ok(x.samples);
        };
        let thresholds = self.thresholds()?;
        let switch = |words: &[u32], turn: Turn, u: &[f32], out: &mut [f32]| {
            for ((out, u), (&word, &threshold)) in out.iter_mut().zip(u).zip(words.iter().zip(&thresholds)) {
                *out = if u64::from(turn.of(word)) < threshold { *u } else { 0.0 };
            }
        };
        scratch.leads.clear();
        scratch.masked.resize(sampling.count() * x.rows * rank, 0.0);
        drop_rows(&u, rank, (0, shared), (slot, self.settings.scope), switch, sampling, scratch);
        core.clone_from(&scratch.masked);
        Ok(sampling.count())
    }

    fn low_rank(&self) -> &LowRank {
        &self.lora
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        vec![
            Parameter { name: "lora_A.weight", var: self.lora.a() },
            Parameter { name: "lora_B.weight", var: self.lora.b() },
            Parameter { name: LOGITS, var: &self.logits },
        ]
    }

    /// `KL(q || p) = sum_k [ p_k log(p_k / pi) + (1 - p_k) log((1 - p_k) / (1 - pi)) ]`, as
    /// `p_k (l_k - logit(pi)) - log(1 + exp l_k) - log(1 - pi)`, which has a derivative at every `l_k`.
    fn divergence(&self) -> Result<Option<Tensor>> {
        let prior = self.settings.prior;
        let logits = self.bounded()?;
        let p = (&logits / 2.0)?.tanh()?.affine(0.5, 0.5)?;
        let kept = p.mul(&(&logits - log_odds(prior))?)?;
        let each = ((kept - (logits.exp()? + 1.0)?.log()?)? - (-prior).ln_1p())?;
        Ok(Some(each.sum_all()?))
    }

    /// Derivatives by the switches at their mean, each of variance `p_k (1 - p_k)`: `g * (A x)`.
    fn first_order_covariance(&self, dependence: Dependence<'_>) -> Result<Vec<f64>> {
        let rank = self.lora.rank();
        let u = dependence.x.detach().matmul(&self.lora.a().as_detached_tensor().t()?)?.flatten_all()?;
        #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
        let sd: Vec<f32> = self.probabilities()?.into_iter().map(|p| (p * (1.0 - p)).sqrt() as f32).collect();
        let deviations: Vec<f32> = u.to_vec1::<f32>()?.iter().zip(sd.iter().cycle()).map(|(u, sd)| u * sd).collect();
        dependence.covariance(self.settings.scope, rank, |gradients, rows, out| {
            multiply(gradients, &deviations[rows.start * rank..rows.end * rank], out);
        })
    }

    /// Of the switches that are 0 or 1: mean `s B diag(p) A x`, covariance `s^2 B diag(p (1 - p) * (A x)^2) B'`.
    fn moments(&self, x: &Tensor) -> Result<Moments> {
        let (_, b, _, u) = double_precision(&self.lora, x)?;
        let scale = self.lora.scale();
        let p = self.probabilities()?;
        let row = |values: Vec<f64>| Tensor::new(values, b.device());
        let variance = row(p.iter().map(|p| scale * scale * p * (1.0 - p)).collect())?;
        let mean = u.broadcast_mul(&row(p)?)?;
        Ok(Moments { mean: (mean.matmul(&b.t()?)? * scale)?, factor: b, weights: u.sqr()?.broadcast_mul(&variance)? })
    }
}

#[cfg(test)]
mod tests;
