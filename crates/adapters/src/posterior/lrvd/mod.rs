//! Low-rank variational dropout (LRVD; BayesLoRA, arXiv 2506.22809, code v2 and v3; methods.md, section 11): Gaussian entries of `A` and
//! of `B`, `A ~ N(A_mu, sigma_k^2)`, `B ~ N(B_mu, sigma_k^2)`, one variance for each rank component `k`, and a prior under which
//! components that the data do not need lose themselves in their noise.
//!
//! With `u = A_mu x` and `v = sigma_A^2 x^2` the core `e = A x` has mean `u` and variance `v`, and the increment `s B e` has mean
//! `s B_mu u` and covariance `s^2 [ B_mu diag(v) B_mu' + diag(sigma_B^2 (u^2 + v)) ]`: the noise of `B` reaches every output by itself.
//! Of the two ways to sample only `weights` has that covariance; `local-reparametrisation` has its diagonal.
//!
//! More than 400 lines: two ways to sample and the pruning of ranks share one set of parameters and its divergence.

use bayeslora_kernels::{Onto, Threads, product};
use candle_core::{DType, Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::weights::{self, OfBoth};
use super::{Activations, Increment, Moments, Parameter, Scratch, StochasticAdapter, double_precision};
use crate::draw::{Draw, Sampling};
use crate::error::{Error, Result};
use crate::linear::Dependence;
use crate::lora::{LowRank, uniform_between};
use crate::noise::Noise;
use crate::site::MaskScope;
use crate::slot::Slot;

/// Which matrices of the pair are random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LrvdVariant {
    /// `A` and `B`.
    Symmetric,
    /// `A` alone.
    Asymmetric,
}

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LrvdSampling {
    /// One `A` and `B` for a sample, at all rows of all examples.
    Weights,
    /// Every output at every row by itself, with the variance that the weights give to it.
    LocalReparametrisation,
}

/// Settings of low-rank variational dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LrvdSettings {
    /// Which matrices are random.
    pub variant: LrvdVariant,
    /// Whether a component's row of `A` and column of `B` share one variance; else every entry has its own.
    pub tied: bool,
    /// What is drawn.
    pub sampling: LrvdSampling,
}

impl Default for LrvdSettings {
    /// The published model, its weights drawn.
    fn default() -> Self {
        Self { variant: LrvdVariant::Symmetric, tied: true, sampling: LrvdSampling::Weights }
    }
}

/// A LoRA pair with Gaussian entries of `A` and `B`.
///
/// A component that was pruned keeps its place, with zeros in `A` and `B` and a marker for its log-variances, so that the scale
/// `alpha / r`, files and checkpoints stay what they were.
#[derive(Debug, Clone)]
pub struct Lrvd {
    lora: LowRank,
    settings: LrvdSettings,
    /// `log sigma^2`: `[r]` where tied; else `[r, d_in]`, and `[d_out, r]` of a random `B`.
    log_variances: Vec<Var>,
}

const TIED: &str = "lrvd.log_variance";
const UNTIED: [&str; 2] = ["lrvd.log_variance_a", "lrvd.log_variance_b"];

/// `log sigma^2` at the start.
const INITIAL: f64 = -8.0;
/// Entries of `B` start uniform between this and its negative, not at 0, where their ratio to the noise has no gradient.
const INITIAL_B: f64 = 1e-3;
/// Range of `log sigma^2` wherever it is used.
const RANGE: (f64, f64) = (-20.0, 2.0);
/// `log sigma^2` of a component that was pruned: far outside the range, and finite for the file's sake.
const DROPPED: f64 = -1000.0;
/// Added to squares of means, as in the reference code.
const SQUARE_FLOOR: f64 = 1e-8;
/// Below any variance that matters, and enough to keep the derivative of the square root finite (the reference code has 1e-8, a deviation of
/// 1e-4 where there is no noise).
const VARIANCE_FLOOR: f64 = 1e-12;

impl Lrvd {
    /// Small deviations around the entries of `lora`'s `A` and around small entries of `B`.
    ///
    /// # Errors
    /// When tensors cannot be made on the device.
    pub fn initial(slot: Slot, lora: &LowRank, settings: LrvdSettings, noise: &Noise, device: &Device) -> Result<Self> {
        let (shape, d_in) = (lora.b().dims2()?, lora.a().dims()[1]);
        let b = uniform_between(slot, "lora_B", shape, (-INITIAL_B, INITIAL_B), noise, device)?;
        let lora = LowRank::from_tensors(slot, (shape.0, d_in), lora.a(), &b, lora.scale())?;
        let logs: Vec<Tensor> = shapes(&lora, settings)
            .into_iter()
            .map(|shape| Ok((Tensor::ones(shape, DType::F32, device)? * INITIAL)?))
            .collect::<Result<_>>()?;
        Self::from_tensors(slot, lora, settings, &logs)
    }

    /// From given log-variances, in the order of [`tensor_names`](Self::tensor_names).
    ///
    /// # Errors
    /// [`Error::Shape`] when they have other shapes.
    pub fn from_tensors(slot: Slot, lora: LowRank, settings: LrvdSettings, tensors: &[Tensor]) -> Result<Self> {
        let names = Self::tensor_names(settings);
        for ((index, name), shape) in names.iter().enumerate().zip(shapes(&lora, settings)) {
            let got = tensors.get(index).map(|tensor| tensor.dims().to_vec()).unwrap_or_default();
            if got != shape {
                return Err(Error::Shape { what: format!("{name} of {slot}"), got, expected: format!("{shape:?}") });
            }
        }
        let log_variances = tensors.iter().map(Var::from_tensor).collect::<Result<_, _>>()?;
        Ok(Self { lora, settings, log_variances })
    }

    /// The same adapter, known by its settings: it shares the tensors of `adapter`. None where those have other names.
    pub fn sharing(adapter: &dyn StochasticAdapter, settings: LrvdSettings) -> Option<Self> {
        let parameters = adapter.parameters();
        let find = |name: &&str| parameters.iter().find(|parameter| parameter.name == *name).map(|p| p.var.clone());
        let log_variances = Self::tensor_names(settings).iter().map(find).collect::<Option<_>>()?;
        Some(Self { lora: adapter.low_rank().clone(), settings, log_variances })
    }

    /// Names of the log-variances in their file.
    pub fn tensor_names(settings: LrvdSettings) -> &'static [&'static str] {
        match settings {
            LrvdSettings { tied: true, .. } => &[TIED],
            LrvdSettings { variant: LrvdVariant::Asymmetric, .. } => &UNTIED[..1],
            LrvdSettings { .. } => &UNTIED,
        }
    }

    /// Components that were not pruned.
    ///
    /// # Errors
    /// When a tensor cannot be read.
    pub fn surviving(&self) -> Result<usize> {
        Ok(self.scores()?.iter().flatten().count())
    }

    /// Drops components in which noise outweighs the mean: those whose score, half the sum of the medians of `log (sigma^2 / mu^2)` over
    /// the row of `A` and the column of `B` (of a random `A` alone: its median), is `threshold` or more; but leaves the
    /// `minimum_rank` of lowest score. Returns how many were dropped.
    ///
    /// # Errors
    /// When a tensor cannot be read or set.
    pub fn prune(&self, threshold: f64, minimum_rank: usize) -> Result<usize> {
        let mut scores: Vec<(f64, usize)> =
            self.scores()?.into_iter().enumerate().filter_map(|(k, score)| Some((score?, k))).collect();
        scores.sort_by(|left, right| left.0.total_cmp(&right.0));
        let dropped: Vec<usize> =
            scores.iter().skip(minimum_rank).filter(|(score, _)| *score >= threshold).map(|&(_, k)| k).collect();
        if dropped.is_empty() {
            return Ok(0);
        }
        let keep: Vec<f32> = (0..self.lora.rank()).map(|k| f32::from(u8::from(!dropped.contains(&k)))).collect();
        let rows = Tensor::new(keep.as_slice(), self.lora.a().device())?.unsqueeze(1)?;
        let columns = rows.t()?;
        let masked = |var: &Var, keep: &Tensor| Ok::<_, Error>(var.as_detached_tensor().broadcast_mul(keep)?);
        self.lora.a().set(&masked(self.lora.a(), &rows)?)?;
        self.lora.b().set(&masked(self.lora.b(), &columns)?)?;
        for (index, var) in self.log_variances.iter().enumerate() {
            let keep = if self.settings.tied { rows.squeeze(1)? } else { [&rows, &columns][index].clone() };
            let marks = keep.affine(-DROPPED, DROPPED)?;
            var.set(&masked(var, &keep)?.broadcast_add(&marks)?)?;
        }
        Ok(dropped.len())
    }

    /// Score of every component for [`prune`](Self::prune); none of those that were pruned.
    fn scores(&self) -> Result<Vec<Option<f64>>> {
        let medians = |log_ratios: &Tensor| -> Result<Vec<f64>> {
            let rows = log_ratios.detach().to_dtype(DType::F64)?.to_vec2::<f64>()?;
            Ok(rows.into_iter().map(median).collect())
        };
        let ratios = self.log_ratios()?;
        let of_a = medians(&ratios[0])?;
        let of_b = if ratios.len() == 2 { medians(&ratios[1].t()?)? } else { of_a.clone() };
        let alive = self.alive(0)?.flatten_all()?.to_vec1::<f32>()?;
        let rank = self.lora.rank();
        Ok((0..rank).map(|k| (alive[k * alive.len() / rank] > 0.0).then(|| f64::midpoint(of_a[k], of_b[k]))).collect())
    }

    /// 1 where the log-variances number `index` belong to a component that was not pruned, else 0.
    fn alive(&self, index: usize) -> Result<Tensor> {
        Ok(self.log_variances[index].as_detached_tensor().ge(DROPPED / 2.0)?.to_dtype(DType::F32)?)
    }

    /// The random matrices, each with its log-variances and what is alive of it, in shapes that broadcast to its own.
    fn parts(&self) -> Result<Vec<(&Var, Tensor, Tensor)>> {
        let random: &[&Var] = match self.settings.variant {
            LrvdVariant::Symmetric => &[self.lora.a(), self.lora.b()],
            LrvdVariant::Asymmetric => &[self.lora.a()],
        };
        let mut parts = Vec::new();
        for (index, &mean) in random.iter().enumerate() {
            let index_of_log = if self.settings.tied { 0 } else { index };
            let log = self.log_variances[index_of_log].clamp(RANGE.0, RANGE.1)?;
            let alive = self.alive(index_of_log)?;
            parts.push(match (self.settings.tied, index) {
                (false, _) => (mean, log, alive),
                (true, 0) => (mean, log.unsqueeze(1)?, alive.unsqueeze(1)?),
                (true, _) => (mean, log.unsqueeze(0)?, alive.unsqueeze(0)?),
            });
        }
        Ok(parts)
    }

    /// `sigma` of `A [r, d_in]`, and of `B [d_out, r]` where it is random. From the logarithm: the square root of a variance has no
    /// gradient at the 0 of a component that was pruned.
    fn deviations(&self) -> Result<OfBoth> {
        let mut deviations = Vec::new();
        for (mean, log, alive) in self.parts()? {
            deviations.push(((log * 0.5)?.exp()? * alive)?.broadcast_as(mean.shape())?.contiguous()?);
        }
        let mut deviations = deviations.into_iter();
        let of_a = deviations.next().map_or_else(|| self.lora.a().zeros_like(), Ok)?;
        Ok((of_a, deviations.next()))
    }

    /// Their squares.
    fn variances(&self) -> Result<OfBoth> {
        let (of_a, of_b) = self.deviations()?;
        Ok((of_a.sqr()?, of_b.map(|of_b| of_b.sqr()).transpose()?))
    }

    /// `log a`, `a = sigma^2 / (mu^2 + 1e-8)`, of the entries of every random matrix.
    fn log_ratios(&self) -> Result<Vec<Tensor>> {
        let ratio = |(mean, log, _): (&Var, Tensor, Tensor)| {
            let squares = (mean.sqr()? + SQUARE_FLOOR)?.log()?;
            Ok(squares.neg()?.broadcast_add(&log)?)
        };
        self.parts()?.into_iter().map(ratio).collect()
    }

    /// The mean core and the offset of drawn outputs.
    fn drawn_outputs(&self, slot: Slot, x: &Tensor, sampling: &Sampling<'_>) -> Result<(Tensor, Tensor)> {
        let (samples, rows, d_in) = x.dims3()?;
        let (rank, d_out) = (self.lora.rank(), self.lora.b().dims()[0]);
        let u = self.lora.down(x)?;
        let (of_a, of_b) = self.variances()?;
        let flat = |t: &Tensor, width: usize| t.reshape((samples * rows, width));
        let v = flat(x, d_in)?.sqr()?.matmul(&of_a.t()?)?;
        let mut variance = v.matmul(&self.lora.b().sqr()?.t()?)?;
        if let Some(of_b) = of_b {
            variance = (variance + (flat(&u, rank)?.sqr()? + v)?.matmul(&of_b.t()?)?)?;
        }
        let sd = ((variance + VARIANCE_FLOOR)?.sqrt()? * self.lora.scale())?.reshape((samples, rows, d_out))?;
        let normals = sampling.normals(slot, MaskScope::Token, d_out);
        let normals = Tensor::from_vec(normals, (sampling.count(), rows, d_out), x.device())?;
        let core = u.broadcast_as((sampling.count(), rows, rank))?.contiguous()?;
        Ok((core, normals.broadcast_mul(&sd)?))
    }
}

/// Shapes of the log-variances.
fn shapes(lora: &LowRank, settings: LrvdSettings) -> Vec<Vec<usize>> {
    match settings {
        LrvdSettings { tied: true, .. } => vec![vec![lora.rank()]],
        LrvdSettings { variant: LrvdVariant::Asymmetric, .. } => vec![lora.a().dims().to_vec()],
        LrvdSettings { .. } => vec![lora.a().dims().to_vec(), lora.b().dims().to_vec()],
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

/// `KL = k1 + log(1 + 1/a) / 2 - k1 sigmoid(k2 + k3 log a)`, entry by entry: Molchanov, Ashukha and Vetrov's approximation (arXiv 1701.05369,
/// equation 14) of the divergence from the log-uniform prior, at most 0.001 off, up to a constant.
fn divergences(log_ratios: &Tensor) -> Result<Tensor> {
    const K: [f64; 3] = [0.63576, 1.87320, 1.48695];
    // log(1 + exp(-z)) without overflow.
    let softplus =
        |minus_z: &Tensor| -> Result<Tensor> { Ok((minus_z.relu()? + (minus_z.abs()?.neg()?.exp()? + 1.0)?.log()?)?) };
    // sigmoid(z) = exp(-log(1 + exp(-z))).
    let sigmoid = softplus(&log_ratios.affine(-K[2], -K[1])?)?.neg()?.exp()?;
    Ok((softplus(&log_ratios.neg()?)?.affine(0.5, K[0])? - (sigmoid * K[0])?)?)
}

impl StochasticAdapter for Lrvd {
    fn increment(&self, slot: Slot, x: &Tensor, draw: &Draw<'_>) -> Result<Increment> {
        let (core, offset) = match (draw, self.settings.sampling) {
            (Draw::Mean, _) => (self.lora.down(x)?, None),
            (Draw::Sampled(sampling), LrvdSampling::Weights) => {
                weights::drawn(&self.lora, &self.deviations()?, slot, x, sampling)?
            }
            (Draw::Sampled(sampling), LrvdSampling::LocalReparametrisation) => {
                let (core, offset) = self.drawn_outputs(slot, x, sampling)?;
                (core, Some(offset))
            }
        };
        Ok(Increment { offset, ..Increment::of_core(core, &self.lora) })
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
        let shared = x.samples * x.rows * rank;
        let down = |a: &[f32], x: &[f32], out: &mut [f32]| {
            let rows = out.len() / rank;
            product(out, Onto::Nothing, 1.0, x, a, (rows, a.len() / rank, rank), Threads::One);
        };
        let Draw::Sampled(sampling) = draw else {
            core.resize(shared, 0.0);
            return self.lora.with_values(|a, _| down(a, x.values, core)).map(|()| x.samples);
        };
        if self.settings.sampling == LrvdSampling::Weights {
            return weights::drawn_core(&self.lora, &self.deviations()?.0, (slot, x), sampling, scratch, core);
        }
        core.resize(sampling.count() * x.rows * rank, 0.0);
        let (first, others) = core.split_at_mut(shared);
        self.lora.with_values(|a, _| down(a, x.values, first))?;
        others.chunks_exact_mut(shared.max(1)).for_each(|other| other.copy_from_slice(first));
        Ok(sampling.count())
    }

    fn has_offset(&self) -> bool {
        true
    }

    fn add_offset(
        &self,
        slot: Slot,
        x: Activations<'_>,
        draw: &Draw<'_>,
        scratch: &mut Scratch,
        core: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        let Draw::Sampled(sampling) = draw else { return Ok(()) };
        if self.settings.sampling == LrvdSampling::LocalReparametrisation {
            // As with tensors: variances of all outputs, once for rows that samples share.
            let x =
                Tensor::from_slice(x.values, (x.samples, x.rows, x.values.len() / (x.samples * x.rows)), &Device::Cpu)?;
            let offset = self.drawn_outputs(slot, &x, sampling)?.1.detach().flatten_all()?.to_vec1::<f32>()?;
            out.iter_mut().zip(&offset).for_each(|(out, offset)| *out += offset);
            return Ok(());
        }
        match self.deviations()?.1 {
            None => Ok(()),
            Some(of_b) => {
                weights::add_drawn_offset(self.lora.scale(), &of_b, (slot, x.rows), sampling, scratch, (core, out))
            }
        }
    }

    fn low_rank(&self) -> &LowRank {
        &self.lora
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        let lora = [("lora_A.weight", self.lora.a()), ("lora_B.weight", self.lora.b())];
        let own = Self::tensor_names(self.settings).iter().copied().zip(&self.log_variances);
        lora.into_iter().chain(own).map(|(name, var)| Parameter { name, var }).collect()
    }

    /// Sum over the entries of the random matrices, pruned components left out, of the approximate divergence from a log-uniform prior.
    fn divergence(&self) -> Result<Option<Tensor>> {
        let mut total: Option<Tensor> = None;
        for (ratios, (_, _, alive)) in self.log_ratios()?.iter().zip(self.parts()?) {
            let part = divergences(ratios)?.broadcast_mul(&alive)?.sum_all()?;
            total = Some(total.map_or(Ok(part.clone()), |total| total + part)?);
        }
        Ok(total)
    }

    /// Of drawn weights of a random `A` alone: derivatives by the entries of its noise at 0, `g_i sigma_ij x_j`.
    fn first_order_covariance(&self, dependence: Dependence<'_>) -> Result<Vec<f64>> {
        let (LrvdVariant::Asymmetric, LrvdSampling::Weights) = (self.settings.variant, self.settings.sampling) else {
            return Err(Error::Linearised {
                noise: "the noise of LRVD, unless `A` alone is random and weights are drawn,",
            });
        };
        let sigma = self.deviations()?.0.detach().to_vec2::<f32>()?;
        let x = dependence.x.detach().to_vec2::<f32>()?;
        dependence.entry_covariance(|row| {
            sigma.iter().flat_map(|sigma| sigma.iter().zip(&x[row]).map(|(sigma, x)| sigma * x)).collect()
        })
    }

    /// Mean `s B_mu u`; covariance as at the head of this file, or its diagonal where outputs are drawn.
    fn moments(&self, x: &Tensor) -> Result<Moments> {
        let (of_a, of_b) = self.variances()?;
        let wide = |t: Tensor| t.detach().to_dtype(DType::F64);
        let variances = (wide(of_a)?, of_b.map(wide).transpose()?);
        if self.settings.sampling == LrvdSampling::Weights {
            return weights::moments(&self.lora, &variances, x);
        }
        let (_, b, x, u) = double_precision(&self.lora, x)?;
        let (of_a, of_b) = variances;
        let v = x.sqr()?.matmul(&of_a.t()?)?;
        let through = (v.matmul(&b.sqr()?.t()?)? + VARIANCE_FLOOR)?;
        let own = of_b.map(|of_b| (u.sqr()? + &v)?.matmul(&of_b.t()?)).transpose()?;
        let weights = own.map_or(Ok(through.clone()), |own| through + own)?;
        let (scale, identity) = (self.lora.scale(), Tensor::eye(b.dim(0)?, DType::F64, b.device())?);
        Ok(Moments { mean: (u.matmul(&b.t()?)? * scale)?, factor: identity, weights: (weights * (scale * scale))? })
    }
}

#[cfg(test)]
mod tests;
