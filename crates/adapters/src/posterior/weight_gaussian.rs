//! Independent Gaussian entries of `A` and of `B`, `theta ~ N(m, sigma^2)`, drawn as a whole: one pair a sample, at all rows of all
//! examples. The posterior of IVON (arXiv 2402.17641; on LoRA 2506.14280), which sets `sigma` from the curvature that it has estimated.
//!
//! `sigma = exp(b)` with `b` a tensor of its own beside each matrix. The derivative of a loss by `b` is then `g * (theta - m)`, entry by
//! entry, with `g` that by `theta`: what the reparametrised estimate of the curvature is made of.

use bayeslora_kernels::{Onto, Threads, product};
use candle_core::{DType, Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::weights::{self, OfBoth};
use super::{Activations, Increment, Moments, Parameter, Scratch, StochasticAdapter};
use crate::draw::Draw;
use crate::error::{Error, Result};
use crate::linear::Dependence;
use crate::lora::LowRank;
use crate::slot::Slot;

/// Settings of the Gaussian weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WeightGaussianSettings {
    /// Standard deviation of every entry before training.
    pub initial_sd: f64,
}

/// A LoRA pair with independent Gaussian entries of `A` and `B`.
#[derive(Debug, Clone)]
pub struct WeightGaussian {
    lora: LowRank,
    /// `log sigma` of `A [r, d_in]` and of `B [d_out, r]`.
    log_sds: [Var; 2],
}

/// Names of the logarithms in their file, in the order of [`WeightGaussian::from_tensors`].
const LOG_SDS: [&str; 2] = ["weight_gaussian.log_sd_a", "weight_gaussian.log_sd_b"];

impl WeightGaussian {
    /// The same deviation around every entry of `lora`.
    ///
    /// # Errors
    /// [`Error::Setting`] for an initial deviation that is not positive.
    pub fn initial(slot: Slot, lora: LowRank, settings: WeightGaussianSettings, device: &Device) -> Result<Self> {
        let got = settings.initial_sd;
        if !(got.is_finite() && got > 0.0) {
            return Err(Error::Setting { name: "initial-sd", got, expected: "a positive number" });
        }
        let constant = |var: &Var| Tensor::ones(var.shape(), DType::F32, device)? * got.ln();
        let log_sds = [constant(lora.a())?, constant(lora.b())?];
        Self::from_tensors(slot, lora, &log_sds)
    }

    /// From given logarithms of the deviations of `A` and `B`.
    ///
    /// # Errors
    /// [`Error::Shape`] when they have other shapes.
    pub fn from_tensors(slot: Slot, lora: LowRank, tensors: &[Tensor]) -> Result<Self> {
        let [of_a, of_b] = tensors else {
            let what = format!("deviations of {slot}");
            return Err(Error::Shape { what, got: vec![tensors.len()], expected: "2 tensors".to_owned() });
        };
        for ((name, tensor), var) in LOG_SDS.into_iter().zip([of_a, of_b]).zip([lora.a(), lora.b()]) {
            if tensor.dims() != var.dims() {
                return Err(Error::Shape {
                    what: format!("{name} of {slot}"),
                    got: tensor.dims().to_vec(),
                    expected: format!("{:?}", var.dims()),
                });
            }
        }
        Ok(Self { lora, log_sds: [Var::from_tensor(of_a)?, Var::from_tensor(of_b)?] })
    }

    /// Names of the logarithms in their file, in the order of [`WeightGaussian::from_tensors`].
    pub fn tensor_names() -> [&'static str; 2] {
        LOG_SDS
    }

    fn deviations(&self) -> Result<OfBoth> {
        Ok((self.log_sds[0].exp()?, Some(self.log_sds[1].exp()?)))
    }
}

impl StochasticAdapter for WeightGaussian {
    fn increment(&self, slot: Slot, x: &Tensor, draw: &Draw<'_>) -> Result<Increment> {
        let (core, offset) = match draw {
            Draw::Mean => (self.lora.down(x)?, None),
            Draw::Sampled(sampling) => weights::drawn(&self.lora, &self.deviations()?, slot, x, sampling)?,
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
        if let Draw::Sampled(sampling) = draw {
            return weights::drawn_core(&self.lora, &self.deviations()?.0, (slot, x), sampling, scratch, core);
        }
        let rank = self.lora.rank();
        core.resize(x.samples * x.rows * rank, 0.0);
        self.lora.with_values(|a, _| {
            let shape = (x.samples * x.rows, a.len() / rank, rank);
            product(core, Onto::Nothing, 1.0, x.values, a, shape, Threads::One);
        })?;
        Ok(x.samples)
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
        let of_b = self.log_sds[1].exp()?;
        weights::add_drawn_offset(self.lora.scale(), &of_b, (slot, x.rows), sampling, scratch, (core, out))
    }

    fn low_rank(&self) -> &LowRank {
        &self.lora
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        let lora = [("lora_A.weight", self.lora.a()), ("lora_B.weight", self.lora.b())];
        let own = LOG_SDS.into_iter().zip(&self.log_sds);
        lora.into_iter().chain(own).map(|(name, var)| Parameter { name, var }).collect()
    }

    fn first_order_covariance(&self, _: Dependence<'_>) -> Result<Vec<f64>> {
        Err(Error::Linearised { noise: "the noise of a random `B` (IVON)" })
    }

    /// With `u = m_A x` and `v = sigma_A^2 x^2`: mean `s m_B u`, covariance `s^2 [ m_B diag(v) m_B' + diag(sigma_B^2 (u^2 + v)) ]`.
    fn moments(&self, x: &Tensor) -> Result<Moments> {
        let variance = |log: &Var| (log.as_detached_tensor().to_dtype(DType::F64)? * 2.0)?.exp();
        let [of_a, of_b] = &self.log_sds;
        weights::moments(&self.lora, &(variance(of_a)?, Some(variance(of_b)?)), x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Rows, Sampling};
    use crate::noise::{Address, Noise, Stream};
    use crate::slot::TargetMap;

    const SLOT: Slot = Slot::new(0, TargetMap::Value);

    fn normal(seed: u64, shape: (usize, usize)) -> Tensor {
        let mut values = vec![0.0; shape.0 * shape.1];
        let at = Address { slot: SLOT, sample: 0, example: 0, position: 0 };
        Noise::new(seed, Stream::Initial).fill_normal(at, &mut Vec::new(), &mut values);
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn adapter() -> WeightGaussian {
        let lora = LowRank::from_tensors(SLOT, (5, 7), &normal(1, (3, 7)), &normal(2, (5, 3)), 0.5).unwrap();
        let logs = [normal(3, (3, 7)), normal(4, (5, 3))].map(|t| t.affine(0.5, -1.2).unwrap());
        WeightGaussian::from_tensors(SLOT, lora, &logs).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f64> {
        tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    fn sampling(rows: &Rows, stream: Stream, samples: u32) -> Sampling<'_> {
        Sampling { noise: Noise::new(8, stream), samples: 0..samples, rows, with_divergence: false }
    }

    fn output(adapter: &WeightGaussian, x: &Tensor, sampling: Sampling<'_>) -> Tensor {
        let Increment { core, up, scale, offset, .. } = adapter.increment(SLOT, x, &Draw::Sampled(sampling)).unwrap();
        let through = (core.broadcast_matmul(&up.t().unwrap()).unwrap() * scale).unwrap();
        (through + offset.unwrap()).unwrap()
    }

    /// Every mean and covariance within five of its standard errors.
    #[test]
    fn samples_have_the_moments_written_beside_them() {
        const DRAWS: u32 = 20_000;
        let adapter = adapter();
        let x = normal(9, (1, 7));
        let rows = Rows::of_sentences(&[7], &[1]);
        let out = output(&adapter, &x.unsqueeze(0).unwrap(), sampling(&rows, Stream::Predictive, DRAWS));
        let draws = values(&out);
        let moments = adapter.moments(&x).unwrap();
        let (mean, covariance) = (values(&moments.mean), values(&moments.covariance().unwrap()));
        let n = f64::from(DRAWS);
        for i in 0..5 {
            for j in 0..5 {
                let products: Vec<f64> =
                    draws.chunks_exact(5).map(|draw| (draw[i] - mean[i]) * (draw[j] - mean[j])).collect();
                let got = products.iter().sum::<f64>() / n;
                let spread = products.iter().map(|p| (p - got).powi(2)).sum::<f64>() / n;
                let exact = covariance[i * 5 + j];
                assert!((got - exact).abs() < 5.0 * (spread / n).sqrt(), "{i} {j}: {got} for {exact}");
            }
            let got = draws.iter().skip(i).step_by(5).sum::<f64>() / n;
            assert!((got - mean[i]).abs() < 5.0 * (covariance[i * 6] / n).sqrt(), "{i}: {got} for {}", mean[i]);
        }
    }

    /// All rows of all examples read one weight sample; another sample is another.
    #[test]
    fn a_sample_is_one_set_of_weights() {
        let adapter = adapter();
        let x = Tensor::cat(&[normal(9, (1, 7)), normal(9, (1, 7))], 0).unwrap().unsqueeze(0).unwrap();
        let rows = Rows::of_sentences(&[7, 12], &[1, 1]);
        let out = output(&adapter, &x, sampling(&rows, Stream::Predictive, 2)).to_vec3::<f32>().unwrap();
        assert_eq!(out[0][0], out[0][1]);
        assert_ne!(out[0][0], out[1][0]);
    }

    /// What the optimiser takes for `g * (theta - m)`: each matrix's derivative by its drawn entries, times their noise.
    #[test]
    fn derivatives_by_the_logarithms_are_gradients_times_noise() {
        let adapter = adapter();
        let x = normal(9, (4, 7)).unsqueeze(0).unwrap();
        let rows = Rows::of_sentences(&[7], &[4]);
        let draw = sampling(&rows, Stream::Training, 1);
        let gradients = output(&adapter, &x, draw.clone()).sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let noise_of = |var: &Var, log: &Var, at: Address| {
            let mut normals = vec![0.0; var.elem_count()];
            draw.noise.fill_normal(at, &mut Vec::new(), &mut normals);
            let sd = values(&log.exp().unwrap());
            normals.into_iter().zip(sd).map(|(n, sd)| f64::from(n) * sd).collect::<Vec<f64>>()
        };
        let [at_a, at_b] = weights::addresses(SLOT, &draw, 0);
        assert_eq!(at_a, Address { slot: SLOT, sample: 0, example: Address::SHARED, position: Address::ANY });
        for (var, log, at) in
            [(adapter.lora.a(), &adapter.log_sds[0], at_a), (adapter.lora.b(), &adapter.log_sds[1], at_b)]
        {
            let (by_mean, by_log) = (values(gradients.get(var).unwrap()), values(gradients.get(log).unwrap()));
            for ((g, by_log), noise) in by_mean.iter().zip(by_log).zip(noise_of(var, log, at)) {
                assert!((g * noise - by_log).abs() < 1e-4 * by_log.abs().max(0.1), "{} for {by_log}", g * noise);
            }
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        const STEP: f64 = 2e-3;
        let adapter = adapter();
        let x = normal(9, (3, 7)).unsqueeze(0).unwrap();
        let rows = Rows::of_sentences(&[4, 9], &[2, 1]);
        let value = || output(&adapter, &x, sampling(&rows, Stream::Training, 2)).sin().unwrap().sum_all().unwrap();
        let gradients = value().backward().unwrap();
        for parameter in adapter.parameters() {
            let gradient = gradients.get(parameter.var).unwrap();
            let direction = (gradient.sign().unwrap() / (parameter.var.elem_count() as f64).sqrt()).unwrap();
            let slope = values(&(gradient * &direction).unwrap().sum_all().unwrap())[0];
            let start = parameter.var.as_detached_tensor().copy().unwrap();
            let at = |step: f64| {
                parameter.var.set(&(&start + (&direction * step).unwrap()).unwrap()).unwrap();
                values(&value())[0]
            };
            let difference = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            parameter.var.set(&start).unwrap();
            assert!((difference - slope).abs() < 5e-3 * slope, "{}: {difference} against {slope}", parameter.name);
        }
    }

    #[test]
    fn bad_deviations_are_refused() {
        let adapter = adapter();
        let of = |initial_sd| {
            let settings = WeightGaussianSettings { initial_sd };
            WeightGaussian::initial(SLOT, adapter.lora.clone(), settings, &Device::Cpu).unwrap_err().to_string()
        };
        assert_eq!(of(0.0), "initial-sd is 0; expected a positive number");
        let problem = WeightGaussian::from_tensors(SLOT, adapter.lora.clone(), &[normal(1, (3, 7)), normal(1, (3, 7))]);
        let problem = problem.unwrap_err().to_string();
        assert!(problem.contains("weight_gaussian.log_sd_b of") && problem.contains("[5, 3]"), "{problem}");
    }
}
