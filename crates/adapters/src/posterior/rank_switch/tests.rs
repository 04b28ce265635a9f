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
        let core: Vec<f64> = (0..4).map(|k| z[k] * (0..6).map(|j| a[k * 6 + j] * x_values[j]).sum::<f64>()).collect();
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
            assert!((covariance[i * 5 + j] - exact).abs() < 1e-12, "{i} {j}: {} for {exact}", covariance[i * 5 + j]);
        }
    }
    let drawn_mean = values(&adapter.increment(SLOT, &input(1), &Draw::Mean).unwrap().core);
    let u = values(&adapter.lora.down(&input(1)).unwrap());
    for k in 0..4 {
        assert!((drawn_mean[k] - p[k] * u[k]).abs() < 1e-6);
    }
}

fn sampling(rows: &Rows, stream: Stream, samples: u32) -> Sampling<'_> {
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
    for (k, &given) in GIVEN.iter().enumerate() {
        let logits: Vec<f64> = warm.iter().skip(k).step_by(4).map(|&z| 2.0 * log_odds(z)).collect();
        let mean = logits.iter().sum::<f64>() / f64::from(DRAWS);
        // A logistic number has variance pi^2 / 3.
        let error = (std::f64::consts::PI.powi(2) / 3.0 / f64::from(DRAWS)).sqrt();
        assert!((mean - f64::from(given)).abs() < 5.0 * error, "{mean}");
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
    let start = RankSwitch::initial(SLOT, adapter.lora.clone(), adapter.settings, &Device::Cpu).unwrap();
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
    let message = |settings| RankSwitch::initial(SLOT, lora.clone(), settings, &Device::Cpu).unwrap_err().to_string();
    assert_eq!(
        message(RankSwitchSettings { prior: 1.0, ..settings }),
        "prior is 1; expected a probability above 0 and below 1"
    );
    assert_eq!(
        message(RankSwitchSettings { temperature: 0.0, ..settings }),
        "temperature is 0; expected a positive number"
    );
}
