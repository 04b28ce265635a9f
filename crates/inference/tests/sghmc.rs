//! SGHMC against the law that its steps have, and that law against the posterior of linear regression with Gaussian noise.
#![cfg(test)]

use bayeslora_adapters::{Noise, Stream};
use bayeslora_inference::{Optimiser, Rule, Sghmc};
use candle_core::{Device, Tensor, Var};

/// Examples `x` of `y = x theta + noise`, noise of standard deviation 0.5; prior `N(0, 1)`.
const X: [[f64; 2]; 6] = [[1.0, 0.2], [0.4, -0.9], [-0.7, 0.5], [0.3, 1.1], [-1.2, 0.1], [0.6, 0.6]];
const Y: [f64; 6] = [1.1, -0.9, -0.1, 1.6, -1.3, 1.2];
const NOISE_VARIANCE: f64 = 0.25;

/// Precision `X'X / s^2 + 1` and mean of the posterior.
fn posterior() -> ([[f64; 2]; 2], [f64; 2]) {
    let sum = |f: &dyn Fn(usize) -> f64| (0..6).map(f).sum::<f64>() / NOISE_VARIANCE;
    let entry = |i: usize, j: usize| sum(&|n| X[n][i] * X[n][j]) + f64::from(u8::from(i == j));
    let (a, b, d) = (entry(0, 0), entry(0, 1), entry(1, 1));
    let right = [0, 1].map(|i| sum(&|n| X[n][i] * Y[n]));
    let determinant = a * d - b * b;
    let mean = [(d * right[0] - b * right[1]) / determinant, (a * right[1] - b * right[0]) / determinant];
    ([[a, b], [b, d]], mean)
}

fn inverse([[a, b], [_, d]]: [[f64; 2]; 2]) -> [[f64; 2]; 2] {
    let determinant = a * d - b * b;
    [[d / determinant, -b / determinant], [-b / determinant, a / determinant]]
}

/// Covariance of the positions after many steps of size `l` along the gradient of a potential with precision `P`.
///
/// In a direction of precision `p` they are an autoregression, `x'' = (2 - eta - l p) x' - (1 - eta) x + noise` with noise of variance
/// `2 eta l`, whose variance is `1 / (p - l p^2 / (2 (2 - eta)))`; so `(P - l P^2 / (2 (2 - eta)))^-1`, which is `P^-1` for small `l`.
fn stationary(precision: [[f64; 2]; 2], l: f64, friction: f64) -> [[f64; 2]; 2] {
    let square = |i: usize, j: usize| (0..2).map(|k| precision[i][k] * precision[k][j]).sum::<f64>();
    let entry = |i: usize, j: usize| precision[i][j] - l * square(i, j) / (2.0 * (2.0 - friction));
    inverse([[entry(0, 0), entry(0, 1)], [entry(1, 0), entry(1, 1)]])
}

/// States of many independent chains after so many steps at a constant rate: a cycle that never ends.
fn chains(rate: f64, friction: f64, temperature: f64, steps: u32) -> Vec<[f64; 2]> {
    const CHAINS: usize = 4000;
    let sghmc = Sghmc {
        rate,
        friction,
        heat: temperature / 6.0,
        cycle: u32::MAX,
        exploring: 0,
        noise: Noise::new(3, Stream::Training),
    };
    let (precision, mean) = posterior();
    let theta = Var::from_tensor(&Tensor::zeros((CHAINS, 2), candle_core::DType::F32, &Device::Cpu).unwrap()).unwrap();
    let matrix = |values: Vec<f64>, shape: (usize, usize)| {
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(candle_core::DType::F32).unwrap()
    };
    let precision = matrix(precision.concat(), (2, 2));
    let mean = matrix(mean.to_vec(), (1, 2));
    let mut optimiser = Optimiser::new([(theta.clone(), Rule::Sghmc(sghmc))]).unwrap();
    for _ in 0..steps {
        // Gradient of the mean loss, prior included: that of the potential over the number of examples.
        let from = theta.as_detached_tensor().broadcast_sub(&mean).unwrap();
        let gradient = (from.matmul(&precision).unwrap() / 6.0).unwrap();
        // The factor of the loop's schedule and its clipping change nothing here.
        optimiser.step(&[Some(gradient)], 0.0, 1e-6).unwrap();
    }
    theta.to_vec2::<f32>().unwrap().into_iter().map(|row| [row[0], row[1]].map(f64::from)).collect()
}

/// Mean and covariance within five of their standard errors.
fn assert_law(draws: &[[f64; 2]], mean: [f64; 2], covariance: [[f64; 2]; 2], what: &str) {
    let n = draws.len() as f64;
    for i in 0..2 {
        let got = draws.iter().map(|draw| draw[i]).sum::<f64>() / n;
        assert!((got - mean[i]).abs() < 5.0 * (covariance[i][i] / n).sqrt(), "{what}, mean {i}: {got}");
        for j in 0..2 {
            let got = draws.iter().map(|draw| (draw[i] - mean[i]) * (draw[j] - mean[j])).sum::<f64>() / n;
            let error = ((covariance[i][i] * covariance[j][j] + covariance[i][j].powi(2)) / n).sqrt();
            assert!((got - covariance[i][j]).abs() < 5.0 * error, "{what}, {i} {j}: {got} for {covariance:?}");
        }
    }
}

/// The steps have the law of their own recursion at any size; small ones have the posterior's. SGLD is friction 1.
#[test]
fn the_stationary_law_is_the_posterior_as_steps_become_small() {
    let (precision, mean) = posterior();
    let exact = inverse(precision);
    for (rate, friction, steps, bias) in [(0.012, 0.1, 1500, 0.01), (0.15, 0.1, 600, 0.12), (0.006, 1.0, 1500, 0.01)] {
        let own = stationary(precision, rate / 6.0, friction);
        for (own, exact) in [(own[0][0], exact[0][0]), (own[1][1], exact[1][1])] {
            assert!((own / exact - 1.0).abs() < bias, "{rate} {friction}: {own} for {exact}");
        }
        assert_law(&chains(rate, friction, 1.0, steps), mean, own, &format!("rate {rate}, friction {friction}"));
        // A temperature multiplies the covariance.
        let cold = own.map(|row| row.map(|value| value / 9.0));
        assert_law(&chains(rate, friction, 1.0 / 9.0, steps), mean, cold, "temperature 1/9");
    }
}

/// A parameter that only noise moves, seen step by step: where there is noise, and how much.
#[test]
fn noise_and_rate_follow_the_cycle() {
    const WIDE: usize = 100_000;
    let sghmc =
        Sghmc { rate: 0.3, friction: 1.0, heat: 0.5, cycle: 4, exploring: 2, noise: Noise::new(3, Stream::Training) };
    let [moving, pulled] = [WIDE, 1].map(|width| {
        let zeros = Tensor::zeros(width, candle_core::DType::F32, &Device::Cpu).unwrap();
        Var::from_tensor(&zeros).unwrap()
    });
    let cold = Sghmc { heat: 0.0, ..sghmc };
    let rules = [(moving.clone(), Rule::Sghmc(sghmc)), (pulled.clone(), Rule::Sghmc(cold))];
    let mut optimiser = Optimiser::new(rules).unwrap();
    let value = || f64::from(pulled.to_vec1::<f32>().unwrap()[0]);
    for step in 0..8 {
        let before = (moving.as_detached_tensor().copy().unwrap(), value());
        let gradients = [Some(moving.zeros_like().unwrap()), Some(pulled.ones_like().unwrap())];
        optimiser.step(&gradients, 1.0, 1.0).unwrap();
        let rate = 0.3 * [1.0, 0.853_553_4, 0.5, 0.146_446_6][step % 4];
        assert!((before.1 - value() - rate).abs() < 1e-6, "step {step}: {} for {rate}", before.1 - value());
        let moved = (moving.as_tensor() - before.0).unwrap().sqr().unwrap().mean_all().unwrap();
        let moved = f64::from(moved.to_scalar::<f32>().unwrap());
        let expected = if step % 4 < 2 { 0.0 } else { 2.0 * rate * 0.5 };
        assert!((moved - expected).abs() <= 5.0 * expected * (2.0 / WIDE as f64).sqrt(), "{step}: {moved}");
    }
}

/// Parameters of one fit, its steps and its seeds have noise of their own; the same ones have the same.
#[test]
fn noise_belongs_to_step_parameter_and_seed() {
    let run = |seed: u64, index: usize, steps: u32| {
        let noise = Noise::new(seed, Stream::Training);
        let sghmc = Sghmc { rate: 0.3, friction: 1.0, heat: 0.5, cycle: u32::MAX, exploring: 0, noise };
        let zeros = || Var::from_slice(&[0.0_f32; 3], 3, &Device::Cpu).unwrap();
        let vars = [zeros(), zeros()];
        let mut optimiser = Optimiser::new(vars.iter().cloned().map(|var| (var, Rule::Sghmc(sghmc)))).unwrap();
        for _ in 0..steps {
            let flat = vars.iter().map(|var| Some(var.zeros_like().unwrap())).collect::<Vec<_>>();
            optimiser.step(&flat, 1.0, 1.0).unwrap();
        }
        vars[index].to_vec1::<f32>().unwrap()
    };
    assert_eq!(run(1, 0, 2), run(1, 0, 2));
    assert_ne!(run(1, 0, 1), run(1, 1, 1));
    assert_ne!(run(1, 0, 1), run(2, 0, 1));
    let (one, two) = (run(1, 0, 1), run(1, 0, 2));
    assert!(one.iter().zip(&two).all(|(one, two)| (two - 2.0 * one).abs() > 1e-6), "{one:?} {two:?}");
}
