//! C-LoRA: noise on an `r x r` core whose mean and scale a small network reads off the activations (methods.md,
//! section 6).
//!
//! `u = A x`, a network `g: R^r -> R^64 -> R^(2 r^2)` gives `M(u)` and `G(u)`, and the increment is
//! `s B (M(u) u + (sigma(u) * N) u)` with `sigma = act(G)^2` and `N` standard normal, entry by entry. Given `u` the
//! second term is Gaussian with covariance `diag(v)`, `v_i = sum_j sigma_ij^2 u_j^2`, so with fresh noise at every token
//! `r` normals per row have the law of the reference code's `r^2` (its random signs change nothing either). Rows that share
//! `N` are correlated through their `u`, so the wider scopes draw all of `N`.

use bayeslora_kernels::multiply;
use candle_core::{D, DType, Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::{Increment, Moments, Parameter, StochasticAdapter, double_precision};
use crate::draw::Draw;
use crate::error::{Error, Result};
use crate::linear::Dependence;
use crate::lora::{LowRank, uniform};
use crate::noise::Noise;
use crate::site::MaskScope;
use crate::slot::Slot;

/// How the network's output becomes a standard deviation (the reference code's switch `eps`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScaleActivation {
    /// `sigmoid(G)^2`: the published setting (`eps = 0.05`).
    SigmoidSquared,
    /// `tanh(G)^2`.
    TanhSquared,
    /// `log(1 + exp G)`.
    Softplus,
}

/// Where the core's mean and scale come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CoreSource {
    /// The network reads them off the activations.
    #[default]
    Contextual,
    /// They are parameters of the map, the same for all inputs: the network without its weights, its last bias alone.
    Free,
}

impl CoreSource {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    fn is_contextual(&self) -> bool {
        *self == Self::Contextual
    }
}

/// Settings of the contextual network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ContextualSettings {
    /// Hidden units of the network.
    pub hidden: usize,
    /// Activation of the scale.
    pub activation: ScaleActivation,
    /// Standard deviation `beta` of the prior of every entry of the core.
    pub prior_sd: f64,
    /// Reach of one draw.
    pub scope: MaskScope,
    /// Where mean and scale come from.
    #[serde(default, skip_serializing_if = "CoreSource::is_contextual")]
    pub core: CoreSource,
    /// Standard deviation of every entry of the core, in place of a learned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_sd: Option<f64>,
}

impl Default for ContextualSettings {
    fn default() -> Self {
        Self {
            hidden: 64,
            activation: ScaleActivation::SigmoidSquared,
            prior_sd: 0.2,
            scope: MaskScope::Token,
            core: CoreSource::Contextual,
            fixed_sd: None,
        }
    }
}

/// A LoRA pair with a contextual stochastic core.
#[derive(Debug, Clone)]
pub struct Contextual {
    lora: LowRank,
    settings: ContextualSettings,
    /// The network's parameters in the order of [`NETWORK`]; of a free core the last alone.
    network: Vec<Var>,
}

/// Names of the network's tensors in its file, in the order of [`Contextual::from_tensors`].
const NETWORK: [&str; 4] = ["contextual.0.weight", "contextual.0.bias", "contextual.2.weight", "contextual.2.bias"];

impl Contextual {
    /// A network with the usual initial values of linear layers around `lora`.
    ///
    /// # Errors
    /// [`Error::Setting`] for a network without hidden units or a prior that is not positive.
    pub fn initial(
        slot: Slot,
        lora: LowRank,
        settings: ContextualSettings,
        noise: &Noise,
        device: &Device,
    ) -> Result<Self> {
        let (rank, hidden) = (lora.rank(), settings.hidden);
        let shapes = [(hidden, rank), (1, hidden), (2 * rank * rank, hidden), (1, 2 * rank * rank)];
        let mut tensors = Vec::new();
        for (index, (name, shape)) in NETWORK.into_iter().zip(shapes).enumerate().skip(first_of(settings)) {
            let fan_in = if index < 2 { rank } else { hidden };
            let tensor = uniform(slot, name, shape, fan_in.max(1), noise, device)?;
            tensors.push(if index % 2 == 0 { tensor } else { tensor.squeeze(0)? });
        }
        Self::from_tensors(slot, lora, settings, &tensors)
    }

    /// From given tensors: weight `[hidden, r]`, bias `[hidden]`, weight `[2 r^2, hidden]`, bias `[2 r^2]`; of a free core the last
    /// alone.
    ///
    /// # Errors
    /// [`Error::Shape`] when they have other shapes.
    pub fn from_tensors(slot: Slot, lora: LowRank, settings: ContextualSettings, tensors: &[Tensor]) -> Result<Self> {
        let (rank, hidden) = (lora.rank(), settings.hidden);
        if hidden == 0 {
            return Err(Error::Setting { name: "hidden", got: 0.0, expected: "at least 1" });
        }
        if !(settings.prior_sd.is_finite() && settings.prior_sd > 0.0) {
            return Err(Error::Setting { name: "prior-sd", got: settings.prior_sd, expected: "a positive number" });
        }
        if let Some(got) = settings.fixed_sd.filter(|sd| !(sd.is_finite() && *sd > 0.0)) {
            return Err(Error::Setting { name: "fixed-sd", got, expected: "a positive number" });
        }
        let shapes = [vec![hidden, rank], vec![hidden], vec![2 * rank * rank, hidden], vec![2 * rank * rank]];
        let expected_count = NETWORK.len() - first_of(settings);
        if tensors.len() != expected_count {
            return Err(Error::Shape {
                what: format!("contextual network of {slot}"),
                got: vec![tensors.len()],
                expected: format!("{expected_count} tensors"),
            });
        }
        let mut network = Vec::new();
        for ((name, expected), tensor) in NETWORK.into_iter().zip(shapes).skip(first_of(settings)).zip(tensors) {
            if tensor.dims() != expected {
                return Err(Error::Shape {
                    what: format!("{name} of {slot}"),
                    got: tensor.dims().to_vec(),
                    expected: format!("{expected:?}"),
                });
            }
            network.push(Var::from_tensor(tensor)?);
        }
        Ok(Self { lora, settings, network })
    }

    /// Names of the network's tensors in its file, in the order of [`Contextual::from_tensors`].
    pub fn network_names(settings: ContextualSettings) -> &'static [&'static str] {
        &NETWORK[first_of(settings)..]
    }

    /// `(M(u), sigma(u))`, each `[n, r, r]`, for `u [n, r]` in the precision of `u`.
    fn network(&self, u: &Tensor) -> Result<(Tensor, Tensor)> {
        let cast = |var: &Var| var.as_tensor().to_dtype(u.dtype());
        let (n, rank) = u.dims2()?;
        let out = match self.network.as_slice() {
            [weight_in, bias_in, weight_out, bias_out] => {
                let hidden = u.matmul(&cast(weight_in)?.t()?)?.broadcast_add(&cast(bias_in)?)?.relu()?;
                hidden.matmul(&cast(weight_out)?.t()?)?.broadcast_add(&cast(bias_out)?)?
            }
            free => {
                let rows = Tensor::zeros((n, 2 * rank * rank), u.dtype(), u.device())?;
                free.iter().try_fold(rows, |rows, bias| rows.broadcast_add(&cast(bias)?))?
            }
        };
        let mean = out.narrow(1, 0, rank * rank)?.reshape((n, rank, rank))?;
        if let Some(sd) = self.settings.fixed_sd {
            let sigma = Tensor::ones((n, rank, rank), u.dtype(), u.device())?;
            return Ok((mean, (sigma * sd)?));
        }
        let raw = out.narrow(1, rank * rank, rank * rank)?.reshape((n, rank, rank))?;
        let sigma = match self.settings.activation {
            ScaleActivation::SigmoidSquared => sigmoid(&raw)?.sqr()?,
            ScaleActivation::TanhSquared => raw.tanh()?.sqr()?,
            ScaleActivation::Softplus => softplus(&raw)?,
        };
        Ok((mean, sigma))
    }

    /// `sum [ log(beta / sigma) + (sigma^2 + M^2) / (2 beta^2) - 1/2 ]` over rows and entries: the divergence of
    /// `N(M, sigma^2)` from `N(0, beta^2)`.
    fn divergence(&self, mean: &Tensor, sigma: &Tensor) -> Result<Tensor> {
        let beta = self.settings.prior_sd;
        // The reference code's guard: sigma underflows to 0 where G is below -50.
        let log_ratio = (sigma + 1e-6)?.log()?.affine(-1.0, beta.ln() - 0.5)?;
        let squares = ((sigma.sqr()? + mean.sqr()?)? / (2.0 * beta * beta))?;
        Ok((log_ratio + squares)?.sum_all()?)
    }
}

/// The first of the network's tensors that there is.
fn first_of(settings: ContextualSettings) -> usize {
    match settings.core {
        CoreSource::Contextual => 0,
        CoreSource::Free => NETWORK.len() - 1,
    }
}

/// `1 / (1 + exp(-x))` as `(1 + tanh(x / 2)) / 2`, which cannot overflow.
fn sigmoid(x: &Tensor) -> Result<Tensor> {
    Ok((x / 2.0)?.tanh()?.affine(0.5, 0.5)?)
}

/// `log(1 + exp x)` as `max(x, 0) + log(1 + exp(-|x|))`, which cannot overflow.
fn softplus(x: &Tensor) -> Result<Tensor> {
    Ok((x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?)?)
}

/// `(M u, sum_j sigma_ij^2 u_j^2)`, each `[n, r]`.
///
/// Products and sums, not a batched matrix product: that is one small product per row in candle.
fn core_moments(mean: &Tensor, sigma: &Tensor, u: &Tensor) -> Result<(Tensor, Tensor)> {
    let row = u.unsqueeze(1)?;
    let center = mean.broadcast_mul(&row)?.sum(D::Minus1)?;
    let variance = sigma.broadcast_mul(&row)?.sqr()?.sum(D::Minus1)?;
    Ok((center, variance))
}

impl StochasticAdapter for Contextual {
    fn increment(&self, slot: Slot, x: &Tensor, draw: &Draw<'_>) -> Result<Increment> {
        let (samples, rows, _) = x.dims3()?;
        let rank = self.lora.rank();
        let u = self.lora.down(x)?.reshape((samples * rows, rank))?;
        let (mean, sigma) = self.network(&u)?;
        let (center, variance) = core_moments(&mean, &sigma, &u)?;
        let center = center.reshape((samples, rows, rank))?;
        let (core, divergence) = match draw {
            Draw::Mean => (center, None),
            Draw::Sampled(sampling) => {
                let scope = self.settings.scope;
                let normals = |width| -> Result<Tensor> {
                    let values = sampling.normals(slot, scope, width);
                    Ok(Tensor::from_vec(values, (sampling.count(), rows, width), x.device())?)
                };
                let deviation = if scope == MaskScope::Token {
                    // sqrt has an infinite derivative at 0, which padding-free inputs reach only with u = 0.
                    let sd = (variance + 1e-12)?.sqrt()?.reshape((samples, rows, rank))?;
                    multiply(&sd, &normals(rank)?)?
                } else {
                    let weights = sigma.broadcast_mul(&u.unsqueeze(1)?)?.reshape((samples, rows, rank * rank))?;
                    let entries = multiply(&weights, &normals(rank * rank)?)?;
                    entries.reshape((sampling.count(), rows, rank, rank))?.sum(D::Minus1)?
                };
                let divergence = if sampling.with_divergence { Some(self.divergence(&mean, &sigma)?) } else { None };
                (center.broadcast_add(&deviation)?, divergence)
            }
        };
        Ok(Increment { divergence, ..Increment::of_core(core, &self.lora) })
    }

    fn low_rank(&self) -> &LowRank {
        &self.lora
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        let names = Self::network_names(self.settings).iter().copied();
        let lora = [("lora_A.weight", self.lora.a()), ("lora_B.weight", self.lora.b())];
        lora.into_iter().chain(names.zip(&self.network)).map(|(name, var)| Parameter { name, var }).collect()
    }

    /// Derivatives by the entries of `N` at its mean 0: `g_i sigma_ij u_j`; those of the mean part are in `g`.
    fn first_order_covariance(&self, dependence: Dependence<'_>) -> Result<Vec<f64>> {
        let (_, _, _, u) = double_precision(&self.lora, dependence.x)?;
        let (mean, sigma) = self.network(&u)?;
        if self.settings.scope == MaskScope::Token {
            let (_, variance) = core_moments(&mean, &sigma, &u)?;
            return dependence.component_covariance(&variance.detach());
        }
        let entries =
            sigma.detach().broadcast_mul(&u.unsqueeze(1)?)?.flatten_from(1)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        dependence.entry_covariance(|row| entries[row].clone())
    }

    /// Mean `s B M(u) u`, covariance `s^2 B diag(sum_j sigma_ij^2 u_j^2) B^T`, given `u = A x`.
    fn moments(&self, x: &Tensor) -> Result<Moments> {
        let (_, b, _, u) = double_precision(&self.lora, x)?;
        let scale = self.lora.scale();
        let (mean, sigma) = self.network(&u)?;
        let (center, variance) = core_moments(&mean.detach(), &sigma.detach(), &u)?;
        Ok(Moments { mean: (center.matmul(&b.t()?)? * scale)?, factor: b, weights: (variance * (scale * scale))? })
    }
}
