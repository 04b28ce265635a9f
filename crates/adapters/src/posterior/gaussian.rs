//! Independent Gaussian entries of the down-projection, `A_ij ~ N(mu_ij, sigma_ij^2)`, `B` a point: the posterior of BLoB
//! (arXiv 2406.11675; methods.md, section 7) and, in coordinates where it is isotropic, of TFB (arXiv 2412.05723; section 9).
//!
//! The increment is `s B (mu x + (sigma * N) x)` with `N` standard normal, entry by entry. Given `x` its noise is Gaussian with covariance
//! `s^2 B diag(v) B'`, `v_i = sum_j sigma_ij^2 x_j^2`, so with fresh noise at every token `r` normals per row have the law of
//! `r d_in`. The reference code's flipout draws one `N` per pass and random signs per token: the same law at each token, and
//! tokens that are uncorrelated but not independent. Rows that share `N` here are one weight sample read at several inputs.
//!
//! More than 400 lines: a third is tests of the two samplers against the moments written beside them.

use bayeslora_kernels::{Onto, Threads, borrow, multiply, product};
use candle_core::{DType, Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::{Activations, Increment, Moments, Parameter, Scratch, StochasticAdapter, components, double_precision};
use crate::draw::{Draw, Sampling};
use crate::error::{Error, Result};
use crate::linear::Dependence;
use crate::lora::{LowRank, uniform_between};
use crate::noise::Noise;
use crate::site::MaskScope;
use crate::slot::Slot;
use crate::svd::orthogonalise;

/// Settings of the Gaussian entries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GaussianSettings {
    /// Reach of one draw.
    pub scope: MaskScope,
    /// Standard deviation `beta` of the prior `N(0, beta^2)` of every entry.
    pub prior_sd: f64,
    /// `eps`: the parameter `rho` starts uniform on `(eps / sqrt 2, eps)`, so `sigma = rho^2` on `(eps^2 / 2, eps^2)`.
    pub initial_scale: f64,
}

impl Default for GaussianSettings {
    /// The published setting of BLoB, with fresh noise at every token.
    fn default() -> Self {
        Self { scope: MaskScope::Token, prior_sd: 0.2, initial_scale: 0.05 }
    }
}

/// A LoRA pair with independent Gaussian entries of `A`.
#[derive(Debug, Clone)]
pub struct Gaussian {
    lora: LowRank,
    settings: GaussianSettings,
    /// `rho [r, d_in]`, `sigma = rho^2`.
    rho: Var,
}

/// Name of `rho` in its file.
const RHO: &str = "gaussian.rho";

/// Below any variance that matters, and enough to keep the derivative of the square root finite at `x = 0`.
const VARIANCE_FLOOR: f64 = 1e-12;

impl Gaussian {
    /// Initial deviations around the entries of `lora`'s `A`.
    ///
    /// # Errors
    /// [`Error::Setting`] for a prior or an initial scale that is not positive.
    pub fn initial(
        slot: Slot,
        lora: LowRank,
        settings: GaussianSettings,
        noise: &Noise,
        device: &Device,
    ) -> Result<Self> {
        let eps = settings.initial_scale;
        let range = (eps / std::f64::consts::SQRT_2, eps);
        let rho = uniform_between(slot, RHO, lora.a().dims2()?, range, noise, device)?;
        Self::from_tensor(slot, lora, settings, &rho)
    }

    /// From given `rho [r, d_in]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when it has another shape; [`Error::Setting`] as above.
    pub fn from_tensor(slot: Slot, lora: LowRank, settings: GaussianSettings, rho: &Tensor) -> Result<Self> {
        for (name, got) in [("prior-sd", settings.prior_sd), ("initial-scale", settings.initial_scale)] {
            if !(got.is_finite() && got > 0.0) {
                return Err(Error::Setting { name, got, expected: "a positive number" });
            }
        }
        if rho.dims() != lora.a().dims() {
            return Err(Error::Shape {
                what: format!("{RHO} of {slot}"),
                got: rho.dims().to_vec(),
                expected: format!("{:?}", lora.a().dims()),
            });
        }
        Ok(Self { lora, settings, rho: Var::from_tensor(rho)? })
    }

    /// The same weight update as a trained `lora` with noise of standard deviation `s beta` on it, equal in every direction that `B`
    /// reaches (TFB): with the thin decomposition `B = U diag(d) V'` it has `B' = U diag(d)`, `A' = V' A` and
    /// `sigma_ij = beta / d_i`, so that `B' E` has independent entries `N(0, beta^2)` in the coordinates `U`.
    ///
    /// Where `d_i` is below `1e-6` of the largest, `B` does not reach that direction but for rounding: it gets no noise (the reference adds
    /// 1e-6 to `d_i`, which there lets noise of size `1e6 beta` into the core before `B'` takes it away again).
    ///
    /// # Errors
    /// [`Error::Setting`] unless `beta` is at least 0; when tensors cannot be read.
    pub fn isotropic(slot: Slot, lora: &LowRank, beta: f64, scope: MaskScope) -> Result<Self> {
        if !(beta.is_finite() && beta >= 0.0) {
            return Err(Error::Setting { name: "beta", got: beta, expected: "at least 0" });
        }
        let double = |var: &Var| -> Result<Vec<Vec<f64>>> {
            Ok(var.as_detached_tensor().to_dtype(DType::F64)?.to_vec2::<f64>()?)
        };
        let (a, b) = (double(lora.a())?, double(lora.b())?);
        let (rank, d_in, d_out) = (a.len(), lora.a().dims()[1], b.len());
        let mut columns: Vec<Vec<f64>> = (0..rank).map(|k| b.iter().map(|row| row[k]).collect()).collect();
        let rotation = orthogonalise(&mut columns);
        let lengths: Vec<f64> = columns.iter().map(|column| column.iter().map(|v| v * v).sum::<f64>().sqrt()).collect();
        let largest = lengths.iter().copied().fold(0.0, f64::max);
        let mut rotated = Vec::with_capacity(rank * d_in);
        let mut rho = Vec::with_capacity(rank * d_in);
        for (turn, &length) in rotation.iter().zip(&lengths) {
            rotated.extend((0..d_in).map(|j| turn.iter().zip(&a).map(|(v, a)| v * a[j]).sum::<f64>()));
            let reached = length > largest * 1e-6;
            rho.extend(std::iter::repeat_n(if reached { (beta / length).sqrt() } else { 0.0 }, d_in));
        }
        let up: Vec<f64> = (0..d_out).flat_map(|i| columns.iter().map(move |column| column[i])).collect();
        let device = lora.a().device();
        let tensor = |values: Vec<f64>, shape: (usize, usize)| {
            Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(DType::F32)?.to_device(device)
        };
        let (a, b) = (tensor(rotated, (rank, d_in))?, tensor(up, (d_out, rank))?);
        let rotated = LowRank::from_tensors(slot, (d_out, d_in), &a, &b, lora.scale())?;
        let settings = GaussianSettings { scope, ..GaussianSettings::default() };
        Self::from_tensor(slot, rotated, settings, &tensor(rho, (rank, d_in))?)
    }

    /// Name of `rho` in its file.
    pub fn tensor_name() -> &'static str {
        RHO
    }

    fn sampled_core(&self, slot: Slot, x: &Tensor, sampling: &Sampling<'_>) -> Result<Tensor> {
        let (samples, rows, width) = x.dims3()?;
        let (scope, rank) = (self.settings.scope, self.lora.rank());
        let sigma = self.rho.sqr()?;
        if scope == MaskScope::Token {
            let variance = x.sqr()?.reshape((samples * rows, width))?.matmul(&sigma.sqr()?.t()?)?;
            let sd = (variance + VARIANCE_FLOOR)?.sqrt()?.reshape((samples, rows, rank))?;
            let normals = sampling.normals(slot, scope, rank);
            let normals = Tensor::from_vec(normals, (sampling.count(), rows, rank), x.device())?;
            return Ok(self.lora.down(x)?.broadcast_add(&multiply(&sd, &normals)?)?);
        }
        let mut drawn = Vec::with_capacity(sampling.count());
        let mut scratch = Vec::new();
        for sample in 0..sampling.count() {
            let x = x.get(sample % samples)?;
            let mut parts = Vec::new();
            for own in sampling.shared_rows(scope) {
                let mut normals = vec![0.0; rank * width];
                let at = sampling.address(slot, scope, sample * rows + own.start);
                sampling.noise.fill_normal(at, &mut scratch, &mut normals);
                let deviation = (&sigma * Tensor::from_vec(normals, (rank, width), x.device())?)?;
                let weights = (self.lora.a().as_tensor() + deviation)?;
                parts.push(x.narrow(0, own.start, own.len())?.matmul(&weights.t()?)?);
            }
            drawn.push(Tensor::cat(&parts, 0)?);
        }
        Ok(Tensor::stack(&drawn, 0)?)
    }
}

impl StochasticAdapter for Gaussian {
    fn increment(&self, slot: Slot, x: &Tensor, draw: &Draw<'_>) -> Result<Increment> {
        let core = match draw {
            Draw::Mean => self.lora.down(x)?,
            Draw::Sampled(sampling) => self.sampled_core(slot, x, sampling)?,
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
        let (rank, scope) = (self.lora.rank(), self.settings.scope);
        let guard = self.rho.storage_and_layout();
        let rho = borrow(&guard)?;
        let down = |a: &[f32], x: &[f32], out: &mut [f32]| {
            let rows = out.len() / rank;
            product(out, Onto::Nothing, 1.0, x, a, (rows, a.len() / rank, rank), Threads::One);
        };
        self.lora.with_values(|a, _| {
            let width = a.len() / rank;
            let shared = x.samples * x.rows;
            let Draw::Sampled(sampling) = draw else {
                core.resize(shared * rank, 0.0);
                down(a, x.values, core);
                return x.samples;
            };
            core.resize(sampling.count() * x.rows * rank, 0.0);
            if scope == MaskScope::Token {
                let mut center = vec![0.0; shared * rank];
                down(a, x.values, &mut center);
                let squares: Vec<f32> = x.values.iter().map(|x| x * x).collect();
                let variances: Vec<f32> = rho.iter().map(|rho| rho.powi(4)).collect();
                let mut sd = vec![0.0; shared * rank];
                down(&variances, &squares, &mut sd);
                #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
                for sd in &mut sd {
                    *sd = (*sd + VARIANCE_FLOOR as f32).sqrt();
                }
                components((&center, &sd), rank, (slot, scope), sampling, scratch, core);
                return sampling.count();
            }
            scratch.masked.resize(rank * width, 0.0);
            for sample in 0..sampling.count() {
                for own in sampling.shared_rows(scope) {
                    let at = sampling.address(slot, scope, sample * x.rows + own.start);
                    sampling.noise.fill_normal(at, &mut scratch.words, &mut scratch.masked);
                    for (weight, (a, rho)) in scratch.masked.iter_mut().zip(a.iter().zip(rho)) {
                        *weight = a + rho * rho * *weight;
                    }
                    let first = sample % x.samples * x.rows + own.start;
                    let out = &mut core[(sample * x.rows + own.start) * rank..][..own.len() * rank];
                    down(&scratch.masked, &x.values[first * width..][..own.len() * width], out);
                }
            }
            sampling.count()
        })
    }

    fn low_rank(&self) -> &LowRank {
        &self.lora
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        vec![
            Parameter { name: "lora_A.weight", var: self.lora.a() },
            Parameter { name: "lora_B.weight", var: self.lora.b() },
            Parameter { name: RHO, var: &self.rho },
        ]
    }

    /// `sum_ij [ log(beta / sigma) + (sigma^2 + mu^2) / (2 beta^2) - 1/2 ]`: the divergence of `N(mu, sigma^2)` from `N(0, beta^2)`.
    fn divergence(&self) -> Result<Option<Tensor>> {
        let beta = self.settings.prior_sd;
        // log sigma = log rho^2, whatever the sign of rho.
        let log_ratio = self.rho.sqr()?.log()?.affine(-1.0, beta.ln() - 0.5)?;
        let squares = ((self.rho.sqr()?.sqr()? + self.lora.a().sqr()?)? / (2.0 * beta * beta))?;
        Ok(Some((log_ratio + squares)?.sum_all()?))
    }

    /// Derivatives by the entries of `N` at its mean 0: `g_i sigma_ij x_j`.
    fn first_order_covariance(&self, dependence: Dependence<'_>) -> Result<Vec<f64>> {
        let sigma = self.rho.as_detached_tensor().sqr()?;
        if self.settings.scope == MaskScope::Token {
            let variance = dependence.x.detach().sqr()?.matmul(&sigma.sqr()?.t()?)?;
            return dependence.component_covariance(&variance);
        }
        let sigma = sigma.to_vec2::<f32>()?;
        let x = dependence.x.detach().to_vec2::<f32>()?;
        dependence.entry_covariance(|row| {
            sigma.iter().flat_map(|sigma| sigma.iter().zip(&x[row]).map(|(sigma, x)| sigma * x)).collect()
        })
    }

    /// Mean `s B mu x`, covariance `s^2 B diag(sum_j sigma_ij^2 x_j^2) B'`.
    fn moments(&self, x: &Tensor) -> Result<Moments> {
        let (_, b, x, u) = double_precision(&self.lora, x)?;
        let scale = self.lora.scale();
        let fourth = self.rho.as_detached_tensor().to_dtype(DType::F64)?.powf(4.0)?;
        let variance = x.sqr()?.matmul(&fourth.t()?)?;
        Ok(Moments { mean: (u.matmul(&b.t()?)? * scale)?, factor: b, weights: (variance * (scale * scale))? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Rows;
    use crate::noise::{Address, Stream};
    use crate::slot::TargetMap;

    const SLOT: Slot = Slot::new(0, TargetMap::Value);

    fn normal(seed: u64, shape: (usize, usize)) -> Tensor {
        let mut values = vec![0.0; shape.0 * shape.1];
        let at = Address { slot: SLOT, sample: 0, example: 0, position: 0 };
        Noise::new(seed, Stream::Initial).fill_normal(at, &mut Vec::new(), &mut values);
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn single(mu: f64, sigma: f64, prior_sd: f64) -> Gaussian {
        let entry = |value: f64| Tensor::new(&[[value]], &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
        let lora = LowRank::from_tensors(SLOT, (1, 1), &entry(mu), &entry(1.0), 1.0).unwrap();
        let settings = GaussianSettings { prior_sd, ..GaussianSettings::default() };
        Gaussian::from_tensor(SLOT, lora, settings, &entry(sigma.sqrt())).unwrap()
    }

    fn divergence(adapter: &Gaussian) -> f64 {
        adapter.divergence().unwrap().unwrap().to_scalar::<f32>().unwrap().into()
    }

    #[test]
    fn divergence_has_the_values_of_quadrature() {
        // methods.md, section 16.
        assert!((divergence(&single(0.1, 0.05, 0.2)) - 1.042_544).abs() < 2e-6);
        assert!((divergence(&single(0.0, 0.002, 0.2)) - 4.105_220).abs() < 5e-6);
        for (mu, sigma, beta) in [(0.3, 0.1, 0.2), (-1.0, 0.7, 0.5), (0.0, 2.0, 1.0)] {
            let log_density = |x: f64, m: f64, s: f64| -0.5 * ((x - m) / s).powi(2) - s.ln() - 0.918_938_533_204_672_7;
            let (step, mut sum): (f64, f64) = (sigma / 200.0, 0.0);
            for i in -2400..=2400 {
                let x = mu + f64::from(i) * step;
                let log_q = log_density(x, mu, sigma);
                sum += log_q.exp() * (log_q - log_density(x, 0.0, beta)) * step;
            }
            let got = divergence(&single(mu, sigma, beta));
            assert!((got - sum).abs() < 1e-6 * sum.max(1.0), "{mu} {sigma} {beta}: {got} against {sum}");
        }
    }

    fn adapter(scope: MaskScope) -> Gaussian {
        let lora = LowRank::from_tensors(SLOT, (5, 7), &normal(1, (3, 7)), &normal(2, (5, 3)), 0.5).unwrap();
        let settings = GaussianSettings { scope, initial_scale: 0.6, ..GaussianSettings::default() };
        Gaussian::initial(SLOT, lora, settings, &Noise::new(3, Stream::Initial), &Device::Cpu).unwrap()
    }

    /// Sampled core and divergence: what automatic differentiation says beside central differences.
    #[test]
    fn gradients_are_those_of_finite_differences() {
        let rows = Rows::of_sentences(&[4, 9], &[3, 2]);
        for scope in MaskScope::ALL {
            let adapter = adapter(scope);
            let x = Var::from_tensor(&normal(5, (5, 7)).unsqueeze(0).unwrap()).unwrap();
            let weights = normal(6, (10, 3)).reshape((2, 5, 3)).unwrap();
            let noise = Noise::new(7, Stream::Training);
            let loss = || {
                let sampling = Sampling { noise, samples: 3..5, rows: &rows, with_divergence: false };
                let core = adapter.increment(SLOT, &x, &Draw::Sampled(sampling)).unwrap().core;
                let data = (core * &weights).unwrap().sum_all().unwrap();
                (data + (adapter.divergence().unwrap().unwrap() * 0.01).unwrap()).unwrap()
            };
            let gradients = loss().backward().unwrap();
            for (name, var) in [("x", &x), ("mu", adapter.lora.a()), ("rho", &adapter.rho)] {
                let gradient = gradients.get(var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let before = var.as_detached_tensor().copy().unwrap();
                let values = before.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                for entry in [0, 8, values.len() - 1] {
                    let at = |step: f32| {
                        let mut moved = values.clone();
                        moved[entry] += step;
                        var.set(&Tensor::from_vec(moved, before.shape(), &Device::Cpu).unwrap()).unwrap();
                        f64::from(loss().to_scalar::<f32>().unwrap())
                    };
                    let difference = (at(0.01) - at(-0.01)) / 0.02;
                    var.set(&before).unwrap();
                    let gradient = f64::from(gradient[entry]);
                    // Sums of size 10 rounded in f32 over a step of 0.02, and third derivatives.
                    assert!(
                        (gradient - difference).abs() < 2e-3 * (1.0 + gradient.abs()),
                        "{scope} {name} {entry}: {gradient} against {difference}"
                    );
                }
            }
        }
    }

    /// `s^2 beta^2 |x|^2 P` with `P` the projection onto what `B` reaches, and the same mean, whatever the factors of the update.
    #[test]
    fn isotropic_noise_is_isotropic_and_belongs_to_the_update_alone() {
        let (a, b) = (normal(1, (3, 7)), normal(2, (5, 3)));
        let lora = |a: &Tensor, b: &Tensor| LowRank::from_tensors(SLOT, (5, 7), a, b, 0.5).unwrap();
        let x = normal(4, (2, 7)).to_dtype(DType::F64).unwrap();
        let moments =
            |lora: &LowRank| Gaussian::isotropic(SLOT, lora, 0.3, MaskScope::Token).unwrap().moments(&x).unwrap();
        let close = |left: &Tensor, right: &Tensor, what: &str| {
            let largest = |t: &Tensor| t.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
            // Factors are stored in f32.
            assert!(largest(&(left - right).unwrap()) < 3e-6 * largest(right), "{what}: {left} against {right}");
        };
        let plain = moments(&lora(&a, &b));
        let double = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
        let mean = x.matmul(&double(&a).t().unwrap()).unwrap().matmul(&double(&b).t().unwrap()).unwrap();
        close(&plain.mean, &(mean * 0.5).unwrap(), "mean");
        let covariance = plain.covariance().unwrap();
        for (row, own) in x.to_vec2::<f64>().unwrap().iter().enumerate() {
            let size = 0.25 * 0.09 * own.iter().map(|x| x * x).sum::<f64>();
            let own = covariance.get(row).unwrap();
            close(&own.matmul(&double(&b)).unwrap(), &(double(&b) * size).unwrap(), "on the column space");
            close(&own.matmul(&own).unwrap(), &(&own * size).unwrap(), "a multiple of a projection");
        }
        // (B R, R^-1 A) with R = [[1, 2, 0], [0, 1, 0], [0, 0, 4]].
        let r = Tensor::new(&[[1.0_f32, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 4.0]], &Device::Cpu).unwrap();
        let inverse = Tensor::new(&[[1.0_f32, -2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.25]], &Device::Cpu).unwrap();
        let other = moments(&lora(&inverse.matmul(&a).unwrap(), &b.matmul(&r).unwrap()));
        close(&other.mean, &plain.mean, "mean of other factors");
        close(&other.covariance().unwrap(), &covariance, "covariance of other factors");
    }

    #[test]
    fn directions_that_the_update_does_not_reach_have_no_noise() {
        let b = normal(2, (5, 3)).broadcast_mul(&Tensor::new(&[1.0_f32, 0.0, 1.0], &Device::Cpu).unwrap()).unwrap();
        let lora = LowRank::from_tensors(SLOT, (5, 7), &normal(1, (3, 7)), &b, 1.0).unwrap();
        let adapter = Gaussian::isotropic(SLOT, &lora, 0.3, MaskScope::Sequence).unwrap();
        let x = Tensor::ones((1, 7), DType::F64, &Device::Cpu).unwrap();
        let total = adapter.moments(&x).unwrap().total_variance().unwrap().to_vec1::<f64>().unwrap()[0];
        // Two directions of variance beta^2 |x|^2.
        assert!((total - 2.0 * 0.09 * 7.0).abs() < 1e-5, "{total}");
        let zero = LowRank::initial(
            SLOT,
            (5, 7),
            crate::LoraShape::new(3, 3.0).unwrap(),
            &Noise::new(1, Stream::Initial),
            &Device::Cpu,
        )
        .unwrap();
        let adapter = Gaussian::isotropic(SLOT, &zero, 0.3, MaskScope::Sequence).unwrap();
        let total = adapter.moments(&x).unwrap().total_variance().unwrap().to_vec1::<f64>().unwrap()[0];
        assert_eq!(total.to_bits(), 0.0_f64.to_bits());
        let error = Gaussian::isotropic(SLOT, &lora, f64::NAN, MaskScope::Token).unwrap_err();
        assert_eq!(error.to_string(), "beta is NaN; expected at least 0");
    }

    #[test]
    fn bad_settings_and_shapes_are_refused() {
        let lora = || LowRank::from_tensors(SLOT, (5, 7), &normal(1, (3, 7)), &normal(2, (5, 3)), 0.5).unwrap();
        let settings = GaussianSettings { prior_sd: 0.0, ..GaussianSettings::default() };
        let error = Gaussian::from_tensor(SLOT, lora(), settings, &normal(1, (3, 7))).unwrap_err().to_string();
        assert_eq!(error, "prior-sd is 0; expected a positive number");
        let error = Gaussian::from_tensor(SLOT, lora(), GaussianSettings::default(), &normal(1, (7, 3)));
        assert_eq!(error.unwrap_err().to_string(), "gaussian.rho of block 0 value has shape [7, 3]; expected [3, 7]");
    }
}
