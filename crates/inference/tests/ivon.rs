//! IVON against its formulas step by step (`golden/ivon.py`) and against the conjugate posterior of a quadratic loss.
#![cfg(test)]

use std::path::Path;

use bayeslora_adapters::{Address, Noise, Slot, Stream};
use bayeslora_inference::{Ivon, Optimiser, Rule};
use candle_core::{DType, Device, Tensor, Var};
use serde::Deserialize;

/// f32 against f64 over 6 steps of values of order 1.
const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    rate: f64,
    beta1: f64,
    beta2: f64,
    decay: f64,
    sample_size: f64,
    initial_curvature: f64,
    clip_radius: Option<f64>,
    debiased: bool,
    rescaled: bool,
    shape: Vec<usize>,
    start: Vec<f64>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    factor: f64,
    gradient: Vec<f64>,
    by_log_sd: Vec<f64>,
    mean: Vec<f64>,
    sd: Vec<f64>,
}

const FAST: Ivon = Ivon {
    rate: 0.1,
    beta1: 0.9,
    beta2: 0.5,
    decay: 1e-3,
    sample_size: 100.0,
    initial_curvature: 1.0,
    clip_radius: None,
    debiased: true,
    rescaled: true,
};

/// An optimiser of one mean, with the mean and its deviations.
fn optimiser(ivon: Ivon, start: &[f32]) -> (Optimiser, [Var; 2]) {
    let var = || Var::from_slice(start, start.len(), &Device::Cpu).unwrap();
    let vars = [var(), var()];
    let rules = vars.iter().cloned().zip([Rule::IvonMean(ivon), Rule::IvonLogSd(ivon)]);
    (Optimiser::new(rules).unwrap(), vars)
}

fn tensor(values: &[f64], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(got: &Tensor, expected: &[f64], what: &str) {
    for (got, expected) in values(got).into_iter().zip(expected) {
        assert!((got - expected).abs() < TOLERANCE * expected.abs().max(1.0), "{what}: {got} against {expected}");
    }
}

#[test]
fn steps_are_those_of_the_formulas() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ivon.json");
    let golden: Golden = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(golden.cases.len(), 3);
    for case in golden.cases {
        let ivon = Ivon {
            rate: case.rate,
            beta1: case.beta1,
            beta2: case.beta2,
            decay: case.decay,
            sample_size: case.sample_size,
            initial_curvature: case.initial_curvature,
            clip_radius: case.clip_radius,
            debiased: case.debiased,
            rescaled: case.rescaled,
        };
        let mean = Var::from_tensor(&tensor(&case.start, &case.shape)).unwrap();
        let log_sd = mean.zeros_like().unwrap();
        let log_sd = Var::from_tensor(&log_sd).unwrap();
        let other = Var::from_slice(&[1.0_f32], 1, &Device::Cpu).unwrap();
        let rules = [
            (mean.clone(), Rule::IvonMean(ivon)),
            (other.clone(), Rule::Sgd { rate: 0.0 }),
            (log_sd.clone(), Rule::IvonLogSd(ivon)),
        ];
        let mut optimiser = Optimiser::new(rules).unwrap();
        let start = vec![ivon.initial_sd(); case.start.len()];
        assert_close(&log_sd.exp().unwrap(), &start, "sigma before the first step");
        for (number, step) in case.steps.iter().enumerate() {
            // The gradient of another parameter is clipped; these are not.
            let gradients = [
                Some(tensor(&step.gradient, &case.shape)),
                Some(Tensor::new(&[100.0_f32], &Device::Cpu).unwrap()),
                Some(tensor(&step.by_log_sd, &case.shape)),
            ];
            optimiser.step(&gradients, step.factor, 1e-3).unwrap();
            assert_close(&mean, &step.mean, &format!("{}, step {number}: mean", case.name));
            assert_close(&log_sd.exp().unwrap(), &step.sd, &format!("{}, step {number}: sigma", case.name));
        }
    }
}

/// A quadratic loss, `theta' K theta / 2 - b' theta` on average over `N` examples: the posterior is Gaussian with precision `N (K + delta)`,
/// and the closest diagonal Gaussian (in `KL(q || p)`) has its mean and the inverses of the diagonal of that precision as variances.
#[test]
fn a_quadratic_loss_gives_the_diagonal_of_the_conjugate_posterior() {
    const STEPS: u32 = 40_000;
    const K: [[f64; 3]; 3] = [[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 0.4]];
    const B: [f64; 3] = [1.0, -0.5, 0.2];
    let slow = Ivon { rate: 0.02, beta2: 0.9998, decay: 0.1, sample_size: 60.0, initial_curvature: 0.1, ..FAST };
    let (mut optimiser, [mean, log_sd]) = optimiser(Ivon { rescaled: false, ..slow }, &[0.0; 3]);
    let noise = Noise::new(5, Stream::Training);
    let mut normals = [0.0; 3];
    let mut precision = [0.0; 3];
    for step in 0..STEPS {
        let at = Address { slot: Slot::NONE, sample: step, example: 0, position: 0 };
        noise.fill_normal(at, &mut Vec::new(), &mut normals);
        let (m, log) = (values(&mean), values(&log_sd));
        let deviation: Vec<f64> = (0..3).map(|i| log[i].exp() * f64::from(normals[i])).collect();
        let gradient: Vec<f64> =
            (0..3).map(|i| (0..3).map(|j| K[i][j] * (m[j] + deviation[j])).sum::<f64>() - B[i]).collect();
        let by_log: Vec<f64> = gradient.iter().zip(&deviation).map(|(g, d)| g * d).collect();
        let gradients = [Some(tensor(&gradient, &[3])), Some(tensor(&by_log, &[3]))];
        optimiser.step(&gradients, f64::from(STEPS - step) / f64::from(STEPS), 1.0).unwrap();
        if step >= STEPS / 2 {
            for (sum, log) in precision.iter_mut().zip(values(&log_sd)) {
                *sum += (-2.0 * log).exp() / f64::from(STEPS / 2);
            }
        }
    }
    // (K + delta)^-1 b by hand: the determinant of [[2.1, .5, 0], [.5, 1.1, -.3], [0, -.3, .5]] is 0.841.
    let expected = [0.659_929, -0.771_700, -0.063_020];
    for (i, (got, expected)) in values(&mean).into_iter().zip(expected).enumerate() {
        assert!((got - expected).abs() < 0.01, "mean {i}: {got} for {expected}");
        // Estimates of the curvature have a standard deviation of about 1.5 K_ii; those of 20,000 steps average to 1 % of it.
        let exact = 60.0 * (K[i][i] + 0.1);
        assert!((precision[i] / exact - 1.0).abs() < 0.05, "precision {i}: {} for {exact}", precision[i]);
    }
}

/// Whatever the gradient, the precision stays positive: it at least halves.
#[test]
fn the_precision_stays_positive() {
    for (number, beta2) in [0.01, 0.5, 0.9, 0.999].into_iter().enumerate() {
        for by_log_sd in [-1e4, -3.0, -0.1, 0.0, 1e-3, 0.02, 5.0, 1e4] {
            let ivon = Ivon { beta2, initial_curvature: [1e-3, 0.3, 10.0, 1.0][number], ..FAST };
            let (mut optimiser, [_, log_sd]) = optimiser(ivon, &[0.5]);
            let before = (-2.0 * values(&log_sd)[0]).exp();
            optimiser.step(&[Some(tensor(&[1.0], &[1])), Some(tensor(&[by_log_sd], &[1]))], 1.0, 1.0).unwrap();
            let after = (-2.0 * values(&log_sd)[0]).exp();
            assert!(after >= before * 0.499 && after.is_finite(), "{beta2} {by_log_sd}: {after} after {before}");
        }
    }
}

/// A curvature is part of what an interruption must not lose, and moments that begin again leave it alone.
#[test]
fn the_curvature_is_kept_by_checkpoints_and_outlives_its_moments() {
    let fresh = || optimiser(FAST, &[0.5, -0.2]);
    let step = |optimiser: &mut Optimiser| {
        let gradients = [Some(tensor(&[0.3, -0.4], &[2])), Some(tensor(&[0.012, 0.005], &[2]))];
        optimiser.step(&gradients, 1.0, 1.0).unwrap();
    };
    let (mut whole, [mean, log_sd]) = fresh();
    step(&mut whole);
    let state = whole.state().into_iter().map(|(name, tensor)| (name, tensor.copy().unwrap())).collect();
    step(&mut whole);
    let (mut resumed, [own_mean, own_log_sd]) = fresh();
    assert!(resumed.restore(&state, 1).unwrap());
    step(&mut resumed);
    assert_eq!((values(&mean), values(&log_sd)), (values(&own_mean), values(&own_log_sd)));
    let before = values(&log_sd);
    whole.forget().unwrap();
    step(&mut whole);
    let (mut other, _) = fresh();
    step(&mut other);
    // From the curvature reached, not from the first: sigma moves on from where it was.
    let moved = values(&log_sd);
    assert!(
        moved.iter().zip(&before).all(|(moved, before)| (moved - before).abs() < 0.5),
        "{moved:?} after {before:?}"
    );
    let curvature = |optimiser: &Optimiser| values(&optimiser.state().pop().unwrap().1);
    assert_ne!(curvature(&whole), curvature(&other));
}

#[test]
fn means_without_deviations_are_refused() {
    let var = Var::from_slice(&[0.5_f32], 1, &Device::Cpu).unwrap();
    let message = Optimiser::new([(var, Rule::IvonMean(FAST))]).unwrap_err().to_string();
    assert_eq!(
        message,
        "1 means and 0 deviations follow IVON; each mean needs deviations of its shape, in the same order"
    );
}
