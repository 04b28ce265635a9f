//! Gaussian multipliers of the rank components, `v_k ~ N(m_k, tau_k^2)` with `m = exp a`, `tau = exp b` learned (ScalaBL, arXiv
//! 2506.21408; methods.md, section 10): the rank site of MC-dropout with noise that is learned, `2 r` parameters a map.
//!
//! The increment is `s B diag(v) V x`. `V` is `lora_A` of the adapter's file: without the multipliers beside it, that file is not the
//! mean. At the start rows of `V` are orthonormal and `m` holds singular values: those of the usual initial `A`, whose left
//! vectors are dropped.

use bayeslora_kernels::{Onto, Threads, borrow, product};
use candle_core::{DType, Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::{Activations, Increment, Moments, Parameter, Scratch, StochasticAdapter, components, double_precision};
use crate::draw::Draw;
use crate::error::{Error, Result};
use crate::linear::{Dependence, multiply};
use crate::lora::{LowRank, uniform_between};
use crate::noise::Noise;
use crate::site::MaskScope;
use crate::slot::Slot;
use crate::svd::orthogonalise;

/// Which divergence between the posterior `q` and the prior `p` is descended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum KlDirection {
    /// `KL(q || p)`, as in the evidence lower bound.
    #[default]
    #[serde(rename = "q||p")]
    PosteriorFromPrior,
    /// `KL(p || q)`: what the reference code computes.
    #[serde(rename = "p||q")]
    PriorFromPosterior,
}

/// Settings of the multipliers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RankGaussianSettings {
    /// Reach of one draw.
    pub scope: MaskScope,
    /// `eps`: `tau` starts uniform on `(eps / sqrt 2, eps)`.
    pub initial_scale: f64,
    /// Divergence from the prior `N(0, 1)` of every multiplier.
    pub kl_direction: KlDirection,
}

impl Default for RankGaussianSettings {
    /// One draw for each example; the divergence of the evidence lower bound.
    fn default() -> Self {
        Self { scope: MaskScope::Sequence, initial_scale: 0.05, kl_direction: KlDirection::default() }
    }
}

/// A LoRA pair with Gaussian multipliers of its rank components.
#[derive(Debug, Clone)]
pub struct RankGaussian {
    lora: LowRank,
    settings: RankGaussianSettings,
    /// `log m [r]`.
    log_mean: Var,
    /// `log tau [r]`.
    log_sd: Var,
}

/// Names of the multipliers' tensors in their file, in the order of [`RankGaussian::from_tensors`].
const MULTIPLIERS: [&str; 2] = ["rank_gaussian.log_mean", "rank_gaussian.log_sd"];

impl RankGaussian {
    /// Orthonormal rows and singular values of `lora`'s `A`, initial deviations.
    ///
    /// # Errors
    /// [`Error::Setting`] for an initial scale that is not positive; when tensors cannot be read.
    pub fn initial(
        slot: Slot,
        lora: &LowRank,
        settings: RankGaussianSettings,
        noise: &Noise,
        device: &Device,
    ) -> Result<Self> {
        let (rank, d_in) = lora.a().dims2()?;
        let mut rows = lora.a().as_detached_tensor().to_dtype(DType::F64)?.to_vec2::<f64>()?;
        orthogonalise(&mut rows);
        let lengths: Vec<f64> = rows.iter().map(|row| row.iter().map(|v| v * v).sum::<f64>().sqrt()).collect();
        let unit: Vec<f64> = rows.iter().zip(&lengths).flat_map(|(row, d)| row.iter().map(move |v| v / d)).collect();
        let tensor = |values: Vec<f64>| Tensor::new(values, &Device::Cpu)?.to_dtype(DType::F32)?.to_device(device);
        let v = tensor(unit)?.reshape((rank, d_in))?;
        let rotated = LowRank::from_tensors(slot, (lora.b().dims()[0], d_in), &v, lora.b(), lora.scale())?;
        let eps = settings.initial_scale;
        let range = (eps / std::f64::consts::SQRT_2, eps);
        let sd = uniform_between(slot, MULTIPLIERS[1], (1, rank), range, noise, device)?.squeeze(0)?;
        let log_mean = tensor(lengths.iter().map(|d| d.ln()).collect())?;
        Self::from_tensors(slot, rotated, settings, &[log_mean, sd.log()?])
    }

    /// From given `log m [r]` and `log tau [r]`; `lora`'s `A` is `V`.
    ///
    /// # Errors
    /// [`Error::Shape`] when they have other shapes; [`Error::Setting`] as above.
    pub fn from_tensors(slot: Slot, lora: LowRank, settings: RankGaussianSettings, tensors: &[Tensor]) -> Result<Self> {
        let got = settings.initial_scale;
        if !(got.is_finite() && got > 0.0) {
            return Err(Error::Setting { name: "initial-scale", got, expected: "a positive number" });
        }
        let [log_mean, log_sd] = tensors else {
            let what = format!("multipliers of {slot}");
            return Err(Error::Shape { what, got: vec![tensors.len()], expected: "2 tensors".to_owned() });
        };
        for (name, tensor) in MULTIPLIERS.into_iter().zip([log_mean, log_sd]) {
            if tensor.dims() != [lora.rank()] {
                return Err(Error::Shape {
                    what: format!("{name} of {slot}"),
                    got: tensor.dims().to_vec(),
                    expected: format!("[{}]", lora.rank()),
                });
            }
        }
        let (log_mean, log_sd) = (Var::from_tensor(log_mean)?, Var::from_tensor(log_sd)?);
        Ok(Self { lora, settings, log_mean, log_sd })
    }

    /// Names of the multipliers' tensors in their file, in the order of [`RankGaussian::from_tensors`].
    pub fn tensor_names() -> [&'static str; 2] {
        MULTIPLIERS
    }
}

impl StochasticAdapter for RankGaussian {
    fn increment(&self, slot: Slot, x: &Tensor, draw: &Draw<'_>) -> Result<Increment> {
        let u = self.lora.down(x)?;
        let mean = self.log_mean.exp()?;
        let core = match draw {
            Draw::Mean => u.broadcast_mul(&mean)?,
            Draw::Sampled(sampling) => {
                let (rows, rank) = (x.dim(1)?, self.lora.rank());
                let normals = sampling.normals(slot, self.settings.scope, rank);
                let normals = Tensor::from_vec(normals, (sampling.count(), rows, rank), x.device())?;
                let multipliers = normals.broadcast_mul(&self.log_sd.exp()?)?.broadcast_add(&mean)?;
                u.broadcast_mul(&multipliers)?
            }
        };
        Ok(Increment::of_core(core, &self.lora))
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
        let guards = (self.log_mean.storage_and_layout(), self.log_sd.storage_and_layout());
        let (log_mean, log_sd) = (borrow(&guards.0)?, borrow(&guards.1)?);
        let mut u = vec![0.0; x.samples * x.rows * rank];
        self.lora.with_values(|a, _| {
            let shape = (x.samples * x.rows, a.len() / rank, rank);
            product(&mut u, Onto::Nothing, 1.0, x.values, a, shape, Threads::One);
        })?;
        let times = |logs: &[f32]| -> Vec<f32> {
            u.chunks_exact(rank).flat_map(|row| row.iter().zip(logs).map(|(u, log)| u * log.exp())).collect()
        };
        let center = times(log_mean);
        let Draw::Sampled(sampling) = draw else {
            *core = center;
            return Ok(x.samples);
        };
        core.resize(sampling.count() * x.rows * rank, 0.0);
        components((&center, &times(log_sd)), rank, (slot, self.settings.scope), sampling, scratch, core);
        Ok(sampling.count())
    }

    fn low_rank(&self) -> &LowRank {
        &self.lora
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        let lora = [("lora_A.weight", self.lora.a()), ("lora_B.weight", self.lora.b())];
        let own = MULTIPLIERS.into_iter().zip([&self.log_mean, &self.log_sd]);
        lora.into_iter().chain(own).map(|(name, var)| Parameter { name, var }).collect()
    }

    /// `KL(q || p) = sum_k [ -log tau + (tau^2 + m^2) / 2 - 1/2 ]`, or
    /// `KL(p || q) = sum_k [ log tau + (1 + m^2) / (2 tau^2) - 1/2 ]`.
    fn divergence(&self) -> Result<Option<Tensor>> {
        let (mean_square, variance) = ((&*self.log_mean * 2.0)?.exp()?, (&*self.log_sd * 2.0)?.exp()?);
        let each = match self.settings.kl_direction {
            KlDirection::PosteriorFromPrior => ((variance + mean_square)? / 2.0)?.sub(&self.log_sd)?,
            KlDirection::PriorFromPosterior => ((mean_square + 1.0)?.div(&variance)? / 2.0)?.add(&self.log_sd)?,
        };
        Ok(Some((each - 0.5)?.sum_all()?))
    }

    /// Derivatives by the normals at their mean 0: `g * tau * (V x)`.
    fn first_order_covariance(&self, dependence: Dependence<'_>) -> Result<Vec<f64>> {
        let rank = self.lora.rank();
        let u = dependence.x.detach().matmul(&self.lora.a().as_detached_tensor().t()?)?;
        let deviations = u.broadcast_mul(&self.log_sd.as_detached_tensor().exp()?)?.flatten_all()?.to_vec1::<f32>()?;
        dependence.covariance(self.settings.scope, rank, |gradients, rows, out| {
            multiply(gradients, &deviations[rows.start * rank..rows.end * rank], out);
        })
    }

    /// Mean `s B diag(m) V x`, covariance `s^2 B diag(tau^2 * (V x)^2) B'`.
    fn moments(&self, x: &Tensor) -> Result<Moments> {
        let (_, b, _, u) = double_precision(&self.lora, x)?;
        let scale = self.lora.scale();
        let exp = |var: &Var, times: f64| (var.as_detached_tensor().to_dtype(DType::F64)? * times)?.exp();
        let mean = u.broadcast_mul(&exp(&self.log_mean, 1.0)?)?;
        let variance = u.sqr()?.broadcast_mul(&exp(&self.log_sd, 2.0)?)?;
        Ok(Moments { mean: (mean.matmul(&b.t()?)? * scale)?, factor: b, weights: (variance * (scale * scale))? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LoraShape;
    use crate::draw::{Rows, Sampling};
    use crate::noise::Stream;
    use crate::slot::TargetMap;

    const SLOT: Slot = Slot::new(0, TargetMap::Value);

    fn single(mean: f64, sd: f64, kl_direction: KlDirection) -> RankGaussian {
        let one = Tensor::new(&[[1.0_f32]], &Device::Cpu).unwrap();
        let lora = LowRank::from_tensors(SLOT, (1, 1), &one, &one, 1.0).unwrap();
        let settings = RankGaussianSettings { kl_direction, ..RankGaussianSettings::default() };
        let log = |value: f64| Tensor::new(&[value.ln()], &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
        RankGaussian::from_tensors(SLOT, lora, settings, &[log(mean), log(sd)]).unwrap()
    }

    fn divergence(mean: f64, sd: f64, direction: KlDirection) -> f64 {
        let divergence = single(mean, sd, direction).divergence().unwrap().unwrap();
        divergence.to_scalar::<f32>().unwrap().into()
    }

    #[test]
    fn divergences_have_the_values_of_quadrature_in_both_directions() {
        // methods.md, section 10: at the initial values 374 and 2.84.
        assert!((divergence(0.577, 0.042, KlDirection::PriorFromPosterior) - 374.0).abs() < 0.5);
        assert!((divergence(0.577, 0.042, KlDirection::PosteriorFromPrior) - 2.84).abs() < 0.005);
        let log_density = |x: f64, m: f64, s: f64| -0.5 * ((x - m) / s).powi(2) - s.ln() - 0.918_938_533_204_672_7;
        for (mean, sd) in [(0.5, 0.3), (1.5, 1.2)] {
            let integral = |(m, s): (f64, f64), (om, os): (f64, f64)| {
                (-2400..=2400)
                    .map(|i| {
                        let x = m + f64::from(i) * s / 200.0;
                        let own = log_density(x, m, s);
                        own.exp() * (own - log_density(x, om, os)) * s / 200.0
                    })
                    .sum::<f64>()
            };
            for (direction, expected) in [
                (KlDirection::PosteriorFromPrior, integral((mean, sd), (0.0, 1.0))),
                (KlDirection::PriorFromPosterior, integral((0.0, 1.0), (mean, sd))),
            ] {
                let got = divergence(mean, sd, direction);
                assert!((got - expected).abs() < 2e-6 * expected.max(1.0), "{direction:?}: {got} against {expected}");
            }
        }
    }

    #[test]
    fn initial_values_are_the_singular_ones_of_the_usual_start() {
        let noise = Noise::new(3, Stream::Initial);
        let lora = LowRank::initial(SLOT, (9, 400), LoraShape::new(4, 8.0).unwrap(), &noise, &Device::Cpu).unwrap();
        let adapter =
            RankGaussian::initial(SLOT, &lora, RankGaussianSettings::default(), &noise, &Device::Cpu).unwrap();
        let gram = |t: &Tensor| t.matmul(&t.t().unwrap()).unwrap();
        let v = adapter.lora.a().as_detached_tensor();
        let identity = gram(&v).to_vec2::<f32>().unwrap();
        for (k, row) in identity.iter().enumerate() {
            assert!(
                row.iter().enumerate().all(|(l, g)| (g - f32::from(u8::from(k == l))).abs() < 1e-5),
                "{identity:?}"
            );
        }
        // V' diag(m^2) V = A' A.
        let means = adapter.log_mean.exp().unwrap();
        let scaled = v.broadcast_mul(&means.unsqueeze(1).unwrap()).unwrap().t().unwrap().contiguous().unwrap();
        let a = lora.a().as_detached_tensor().t().unwrap().contiguous().unwrap();
        let difference = (gram(&scaled) - gram(&a)).unwrap().abs().unwrap().max_all().unwrap();
        assert!(difference.to_scalar::<f32>().unwrap() < 1e-6);
        // Entries of variance 1 / (3 d_in): singular values near 1 / sqrt 3.
        let means = means.to_vec1::<f32>().unwrap();
        assert!(means.iter().all(|m| (m - 0.577).abs() < 0.1), "{means:?}");
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let noise = Noise::new(3, Stream::Initial);
        let rows = Rows::of_sentences(&[4, 9], &[2, 1]);
        let lora = LowRank::initial(SLOT, (9, 6), LoraShape::new(3, 6.0).unwrap(), &noise, &Device::Cpu).unwrap();
        for (scope, kl_direction) in MaskScope::ALL.into_iter().flat_map(|scope| {
            [KlDirection::PosteriorFromPrior, KlDirection::PriorFromPosterior].map(|direction| (scope, direction))
        }) {
            let settings = RankGaussianSettings { scope, initial_scale: 0.6, kl_direction };
            let adapter = RankGaussian::initial(SLOT, &lora, settings, &noise, &Device::Cpu).unwrap();
            let x = Tensor::arange(0.0_f32, 18.0, &Device::Cpu).unwrap().cos().unwrap().reshape((1, 3, 6)).unwrap();
            let loss = || {
                let sampling = Sampling {
                    noise: Noise::new(7, Stream::Training),
                    samples: 3..5,
                    rows: &rows,
                    with_divergence: false,
                };
                let core = adapter.increment(SLOT, &x, &Draw::Sampled(sampling)).unwrap().core;
                let data = core.sqr().unwrap().sum_all().unwrap();
                (data + (adapter.divergence().unwrap().unwrap() * 0.01).unwrap()).unwrap()
            };
            let gradients = loss().backward().unwrap();
            for (name, var) in [("V", adapter.lora.a()), ("m", &adapter.log_mean), ("tau", &adapter.log_sd)] {
                let gradient = gradients.get(var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let before = var.as_detached_tensor().copy().unwrap();
                let values = before.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                for entry in 0..values.len().min(3) {
                    let at = |step: f32| {
                        let mut moved = values.clone();
                        moved[entry] += step;
                        var.set(&Tensor::from_vec(moved, before.shape(), &Device::Cpu).unwrap()).unwrap();
                        f64::from(loss().to_scalar::<f32>().unwrap())
                    };
                    let difference = (at(0.01) - at(-0.01)) / 0.02;
                    var.set(&before).unwrap();
                    let gradient = f64::from(gradient[entry]);
                    assert!(
                        (gradient - difference).abs() < 2e-3 * (1.0 + gradient.abs()),
                        "{scope} {kl_direction:?} {name} {entry}: {gradient} against {difference}"
                    );
                }
            }
        }
    }
}
