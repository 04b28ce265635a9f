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
    pub fn initial(lora: LowRank, slot: Slot, settings: RankSwitchSettings, device: &Device) -> Result<Self> {
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
mod tests {
    use super::*;
    use crate::LoraShape;
    use crate::draw::Rows;
    use crate::noise::Noise;
    use crate::slot::TargetMap;

    const SLOT: Slot = Slot::new(0, TargetMap::Value);
    /// Logits of probabilities 0.88, 0.5, 0.27 and 0.05.
    const GIVEN: [f32; 4] = [2.0, 0.0, -1.0, -3.0];

    fn adapter(scope: MaskScope, temperature: f64) -> RankSwitch {
        let noise = Noise::new(3, Stream::Initial);
        let wave = |count: usize, shape: (usize, usize)| {
            let ramp = Tensor::arange(0.0_f32, count as f32, &Device::Cpu).unwrap();
            (ramp * 0.7).unwrap().cos().unwrap().reshape(shape).unwrap()
        };
        let lora = LowRank::initial(SLOT, (5, 6), LoraShape::new(4, 6.0).unwrap(), &noise, &Device::Cpu).unwrap();
        lora.b().set(&wave(20, (5, 4))).unwrap();
        let settings = RankSwitchSettings { scope, temperature, prior: 0.6 };
        RankSwitch::from_tensor(SLOT, lora, settings, &Tensor::new(&GIVEN, &Device::Cpu).unwrap()).unwrap()
    }

    fn input(rows: usize) -> Tensor {
        let ramp = Tensor::arange(0.0_f32, (rows * 6) as f32, &Device::Cpu).unwrap();
        ramp.cos().unwrap().reshape((1, rows, 6)).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f64> {
        tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    /// All 16 settings of four switches, each with its probability: plain sums over them.
    #[test]
    fn moments_are_those_of_enumerated_switches() {
        let adapter = adapter(MaskScope::Sequence, 0.5);
        let x = input(1).squeeze(0).unwrap();
        let (a, b, x_values) = (values(adapter.lora.a()), values(adapter.lora.b()), values(&x));
        let output = |z: &[f64]| -> Vec<f64> {
            let core: Vec<f64> =
                (0..4).map(|k| z[k] * (0..6).map(|j| a[k * 6 + j] * x_values[j]).sum::<f64>()).collect();
            (0..5).map(|i| 1.5 * (0..4).map(|k| b[i * 4 + k] * core[k]).sum::<f64>()).collect()
        };
        let p = GIVEN.map(|logit| 1.0 / (1.0 + (-f64::from(logit)).exp()));
        let all: Vec<(f64, Vec<f64>)> = (0..16_u32)
            .map(|bits| {
                let on = |k: usize| bits >> k & 1 == 1;
                let share = (0..4).map(|k| if on(k) { p[k] } else { 1.0 - p[k] }).product();
                (share, output(&(0..4).map(|k| f64::from(u8::from(on(k)))).collect::<Vec<_>>()))
            })
            .collect();
        let mean: Vec<f64> = (0..5).map(|i| all.iter().map(|(share, out)| share * out[i]).sum()).collect();
        let moments = adapter.moments(&x).unwrap();
        let covariance = values(&moments.covariance().unwrap());
        for (i, got) in values(&moments.mean).into_iter().enumerate() {
            assert!((got - mean[i]).abs() < 1e-12, "{got} for {}", mean[i]);
            for j in 0..5 {
                let exact: f64 = all.iter().map(|(share, out)| share * (out[i] - mean[i]) * (out[j] - mean[j])).sum();
                assert!(
                    (covariance[i * 5 + j] - exact).abs() < 1e-12,
                    "{i} {j}: {} for {exact}",
                    covariance[i * 5 + j]
                );
            }
        }
        let drawn_mean = values(&adapter.increment(SLOT, &input(1), &Draw::Mean).unwrap().core);
        let u = values(&adapter.lora.down(&input(1)).unwrap());
        for k in 0..4 {
            assert!((drawn_mean[k] - p[k] * u[k]).abs() < 1e-6);
        }
    }

    fn sampling<'a>(rows: &'a Rows, stream: Stream, samples: u32) -> Sampling<'a> {
        Sampling { noise: Noise::new(7, stream), samples: 0..samples, rows, with_divergence: false }
    }

    /// Each frequency within five of its standard errors; no switch is anything but 0 or 1, or divided by its probability.
    #[test]
    fn predictive_switches_are_on_as_often_as_they_say() {
        const DRAWS: u32 = 20_000;
        let adapter = adapter(MaskScope::Sample, 0.5);
        let rows = Rows::of_sentences(&[4], &[1]);
        let z = adapter.switches(SLOT, 1, &sampling(&rows, Stream::Predictive, DRAWS), &Device::Cpu).unwrap();
        let z = values(&z);
        assert!(z.iter().all(|&z| z.to_bits() == 0 || z.to_bits() == 1.0_f64.to_bits()));
        for (k, p) in adapter.probabilities().unwrap().into_iter().enumerate() {
            let share = z.iter().skip(k).step_by(4).sum::<f64>() / f64::from(DRAWS);
            assert!((share - p).abs() < 5.0 * (p * (1.0 - p) / f64::from(DRAWS)).sqrt(), "{share} for {p}");
        }
    }

    /// The relaxed switches of the same words, cold, are the hard ones; warm, their logits have a logistic law around `l / tau`.
    #[test]
    fn relaxed_switches_become_hard_ones_as_they_cool() {
        const DRAWS: u32 = 4000;
        let rows = Rows::of_sentences(&[4], &[1]);
        let drawn = |temperature: f64| {
            let adapter = adapter(MaskScope::Sample, temperature);
            let draw = sampling(&rows, Stream::Training, DRAWS);
            (values(&adapter.switches(SLOT, 1, &draw, &Device::Cpu).unwrap()), adapter, draw)
        };
        let (cold, adapter, draw) = drawn(1e-7);
        let words = draw.words(SLOT, MaskScope::Sample, 4);
        let thresholds = adapter.thresholds().unwrap();
        for (index, (z, word)) in cold.iter().zip(words).enumerate() {
            let on = u64::from(word) < thresholds[index % 4];
            assert!((z - f64::from(u8::from(on))).abs() < 1e-6, "{index}: {z}");
        }
        let (warm, ..) = drawn(2.0);
        for k in 0..4 {
            let logits: Vec<f64> = warm.iter().skip(k).step_by(4).map(|&z| 2.0 * log_odds(z)).collect();
            let mean = logits.iter().sum::<f64>() / f64::from(DRAWS);
            // A logistic number has variance pi^2 / 3.
            let error = (std::f64::consts::PI.powi(2) / 3.0 / f64::from(DRAWS)).sqrt();
            assert!((mean - f64::from(GIVEN[k])).abs() < 5.0 * error, "{mean}");
        }
    }

    #[test]
    fn the_divergence_is_that_of_two_coins_and_zero_at_the_prior() {
        let adapter = adapter(MaskScope::Sequence, 0.5);
        let exact: f64 = GIVEN
            .iter()
            .map(|&logit| {
                let p = 1.0 / (1.0 + (-f64::from(logit)).exp());
                p * (p / 0.6).ln() + (1.0 - p) * ((1.0 - p) / 0.4).ln()
            })
            .sum();
        let got = values(&adapter.divergence().unwrap().unwrap())[0];
        assert!((got - exact).abs() < 1e-6 * exact, "{got} for {exact}");
        let start = RankSwitch::initial(adapter.lora.clone(), SLOT, adapter.settings, &Device::Cpu).unwrap();
        assert!(values(&start.divergence().unwrap().unwrap())[0].abs() < 1e-6);
        assert!(start.probabilities().unwrap().iter().all(|p| (p - 0.6).abs() < 1e-7));
        // `dKL/dl = p (1 - p) (l - logit(pi))`.
        let gradients = adapter.divergence().unwrap().unwrap().backward().unwrap();
        for (gradient, &logit) in values(gradients.get(&adapter.logits).unwrap()).iter().zip(&GIVEN) {
            let p = 1.0 / (1.0 + (-f64::from(logit)).exp());
            let exact = p * (1.0 - p) * (f64::from(logit) - (0.6_f64 / 0.4).ln());
            assert!((gradient - exact).abs() < 1e-6, "{gradient} for {exact}");
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        const STEP: f64 = 2e-3;
        let rows = Rows::of_sentences(&[4, 9], &[2, 1]);
        for scope in MaskScope::ALL {
            let adapter = adapter(scope, 0.7);
            let value = || {
                let draw = Draw::Sampled(sampling(&rows, Stream::Training, 2));
                let core = adapter.increment(SLOT, &input(3), &draw).unwrap().core;
                let mean = adapter.increment(SLOT, &input(3), &Draw::Mean).unwrap().core;
                let data = (core.sqr().unwrap().sum_all().unwrap() + mean.sqr().unwrap().sum_all().unwrap()).unwrap();
                (data + (adapter.divergence().unwrap().unwrap() * 0.1).unwrap()).unwrap()
            };
            let gradients = value().backward().unwrap();
            for (name, var) in [("A", adapter.lora.a()), ("l", &adapter.logits)] {
                let gradient = gradients.get(var).unwrap();
                let direction = (gradient.sign().unwrap() / (var.elem_count() as f64).sqrt()).unwrap();
                let slope = values(&(gradient * &direction).unwrap().sum_all().unwrap())[0];
                let start = var.as_detached_tensor().copy().unwrap();
                let at = |step: f64| {
                    var.set(&(&start + (&direction * step).unwrap()).unwrap()).unwrap();
                    values(&value())[0]
                };
                let difference = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                var.set(&start).unwrap();
                assert!((difference - slope).abs() < 5e-3 * slope, "{scope} {name}: {difference} against {slope}");
            }
        }
    }

    #[test]
    fn bad_settings_are_refused_with_their_range() {
        let RankSwitch { lora, settings, .. } = adapter(MaskScope::Sequence, 0.5);
        let message =
            |settings| RankSwitch::initial(lora.clone(), SLOT, settings, &Device::Cpu).unwrap_err().to_string();
        assert_eq!(
            message(RankSwitchSettings { prior: 1.0, ..settings }),
            "prior is 1; expected a probability above 0 and below 1"
        );
        assert_eq!(
            message(RankSwitchSettings { temperature: 0.0, ..settings }),
            "temperature is 0; expected a positive number"
        );
    }
}
