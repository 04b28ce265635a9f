use super::*;
use crate::LoraShape;
use crate::draw::Rows;
use crate::noise::{Address, Stream};
use crate::slot::TargetMap;

const SLOT: Slot = Slot::new(0, TargetMap::Value);
const SETTINGS: InducingSettings = InducingSettings {
    rows: 2,
    columns: 3,
    prior_sd: 1.3,
    initial_sd: 0.4,
    largest_sd: 2.0,
    initial_scale: 0.6,
    largest_scale: 1.0,
};

type Matrix = Vec<Vec<f64>>;

fn normal(seed: u64, shape: impl Into<candle_core::Shape>) -> Tensor {
    let shape = shape.into();
    let mut values = vec![0.0; shape.elem_count()];
    let at = Address { slot: SLOT, sample: 0, example: 0, position: 0 };
    Noise::new(seed, Stream::Initial).fill_normal(at, &mut Vec::new(), &mut values);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn matrix(tensor: &Tensor) -> Matrix {
    tensor.detach().to_dtype(DType::F64).unwrap().to_vec2().unwrap()
}

/// Tensors of a factor from `[d1, d2]`, nothing of them small or equal.
fn tensors(seed: u64, dims: (usize, usize), settings: InducingSettings) -> Vec<Tensor> {
    let shapes = Factor::shapes(dims, settings);
    let offsets = [0.0, 0.0, -0.7, -0.7, 0.0, -1.0, -0.8];
    (seed..)
        .zip(shapes.into_iter().zip(offsets))
        .map(|(seed, (shape, offset))| {
            let scale = if offset == 0.0 { 0.8 } else { 0.2 };
            normal(seed, shape).affine(scale, offset).unwrap()
        })
        .collect()
}

fn factor(settings: InducingSettings) -> (Factor, Vec<Tensor>) {
    let tensors = tensors(20, (3, 4), settings);
    (Factor::new(&tensors, (3, 4), settings).unwrap(), tensors)
}

/// A map from 4 to 5 of rank 3.
fn adapter() -> Inducing {
    let lora = LowRank::from_tensors(SLOT, (5, 4), &normal(1, (3, 4)), &normal(2, (5, 3)), 0.5).unwrap();
    let all = [tensors(20, (3, 4), SETTINGS), tensors(40, (5, 3), SETTINGS)].concat();
    Inducing::from_tensors(SLOT, lora, SETTINGS, &all).unwrap()
}

// Plain f64 linear algebra, row by row.

fn times(left: &Matrix, right: &Matrix) -> Matrix {
    left.iter()
        .map(|row| (0..right[0].len()).map(|j| row.iter().zip(right).map(|(l, r)| l * r[j]).sum()).collect())
        .collect()
}

fn transposed(of: &Matrix) -> Matrix {
    (0..of[0].len()).map(|j| of.iter().map(|row| row[j]).collect()).collect()
}

fn kronecker(left: &Matrix, right: &Matrix) -> Matrix {
    let row = |l: &Vec<f64>, r: &Vec<f64>| l.iter().flat_map(|l| r.iter().map(move |r| l * r)).collect();
    left.iter().flat_map(|l| right.iter().map(move |r| row(l, r))).collect()
}

/// `A^-1 B` and `log det A`, by elimination, for a positive definite `A`.
fn solved(a: &Matrix, b: &Matrix) -> (Matrix, f64) {
    let n = a.len();
    let mut joined: Matrix = a.iter().zip(b).map(|(a, b)| [a.clone(), b.clone()].concat()).collect();
    let mut log_determinant = 0.0;
    for pivot in 0..n {
        let lead = joined[pivot][pivot];
        log_determinant += lead.ln();
        joined[pivot].iter_mut().for_each(|value| *value /= lead);
        let own = joined[pivot].clone();
        for (row, values) in joined.iter_mut().enumerate() {
            if row != pivot {
                let factor = values[pivot];
                values.iter_mut().zip(&own).for_each(|(value, own)| *value -= factor * own);
            }
        }
    }
    (joined.into_iter().map(|row| row[n..].to_vec()).collect(), log_determinant)
}

fn cholesky(k: &Matrix) -> Matrix {
    let mut l = vec![vec![0.0; k.len()]; k.len()];
    for i in 0..k.len() {
        for j in 0..=i {
            let rest = k[i][j] - (0..j).map(|m| l[i][m] * l[j][m]).sum::<f64>();
            l[i][j] = if i == j { rest.sqrt() } else { rest / l[j][j] };
        }
    }
    l
}

/// `Z Z' + D^2`.
fn kernel(z: &Matrix, log_d: &[f64]) -> Matrix {
    let mut k = times(z, &transposed(z));
    for (i, log) in log_d.iter().enumerate() {
        k[i][i] += (2.0 * log).exp();
    }
    k
}

/// Of entries row by row: prior covariance of `W` with `U`, and of `U`.
fn joint(tensors: &[Tensor]) -> (Matrix, Matrix) {
    let (z_r, z_c) = (matrix(&tensors[0]), matrix(&tensors[1]));
    let of_u = kronecker(&kernel(&z_r, &values(&tensors[2])), &kernel(&z_c, &values(&tensors[3])));
    (kronecker(&transposed(&z_r), &transposed(&z_c)), of_u)
}

/// Covariance of `W` given `U`, from the joint one.
fn conditional(tensors: &[Tensor]) -> Matrix {
    let (cross, of_u) = joint(tensors);
    let (gain, _) = solved(&of_u, &transposed(&cross));
    let explained = times(&cross, &gain);
    (0..12).map(|i| (0..12).map(|j| f64::from(u8::from(i == j)) - explained[i][j]).collect()).collect()
}

/// `W` as a function of its noise is the Gaussian that conditioning the joint one gives: dense, with no use of whitening or bases.
#[test]
fn draws_given_u_are_the_conditional_gaussian() {
    let (factor, tensors) = factor(SETTINGS);
    let bases = factor.bases().unwrap();
    let zeros = |shape: (usize, usize)| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    // Mean: U = L_r V L_c' for V = m, and cov(W, U) cov(U)^-1 U.
    let (cross, of_u) = joint(&tensors);
    let (l_r, l_c) = (
        cholesky(&kernel(&matrix(&tensors[0]), &values(&tensors[2]))),
        cholesky(&kernel(&matrix(&tensors[1]), &values(&tensors[3]))),
    );
    let u = times(&times(&l_r, &matrix(&tensors[4])), &transposed(&l_c)).concat();
    let (weights, _) = solved(&of_u, &u.iter().map(|&u| vec![u]).collect());
    let expected = times(&cross, &weights).concat();
    let mean = factor.of_noise(&bases, &zeros((2, 3)), &zeros((5, 7))).unwrap();
    assert_eq!(values(&mean), values(&factor.mean().unwrap()));
    for (got, expected) in values(&mean).into_iter().zip(&expected) {
        assert!((got - 1.3 * expected).abs() < 2e-5, "{got} for {}", 1.3 * expected);
    }
    // Covariance: that of the images of every unit of noise.
    let images: Matrix = (0..35)
        .map(|unit| {
            let unit: Vec<f32> = (0..35).map(|i| f32::from(u8::from(i == unit))).collect();
            let unit = Tensor::from_vec(unit, (5, 7), &Device::Cpu).unwrap();
            values(&(factor.of_noise(&bases, &zeros((2, 3)), &unit).unwrap() - &mean).unwrap())
        })
        .collect();
    let got = times(&transposed(&images), &images);
    let scale = (1.3 * factor.scale_value().unwrap()).powi(2);
    for (i, row) in conditional(&tensors).into_iter().enumerate() {
        for (j, expected) in row.into_iter().enumerate() {
            assert!((got[i][j] - scale * expected).abs() < 2e-5, "{i} {j}: {} for {}", got[i][j], scale * expected);
        }
    }
}

/// `KL(N(m, s^2) || N(0, 1))` summed, by quadrature, and `KL(N(mu, lambda^2 S) || N(mu, S))` from the dense `S`.
#[test]
fn the_divergence_is_that_of_quadrature_and_of_dense_gaussians() {
    let (factor, tensors) = factor(SETTINGS);
    let log_density = |x: f64, m: f64, s: f64| -0.5 * ((x - m) / s).powi(2) - s.ln() - 0.918_938_533_204_672_7;
    let of_v: f64 = values(&tensors[4])
        .into_iter()
        .zip(values(&tensors[5]))
        .map(|(m, log)| {
            let s = log.exp();
            let cell = |i: i32| {
                let x = m + f64::from(i) * s / 100.0;
                log_density(x, m, s).exp() * (log_density(x, m, s) - log_density(x, 0.0, 1.0)) * s / 100.0
            };
            (-1200..=1200).map(cell).sum::<f64>()
        })
        .sum();
    let s = conditional(&tensors);
    let variance = factor.scale_value().unwrap().powi(2);
    let scaled: Matrix = s.iter().map(|row| row.iter().map(|v| v * variance).collect()).collect();
    let (ratio, of_prior) = solved(&s, &scaled);
    let (_, of_posterior) = solved(&scaled, &s);
    let trace: f64 = (0..12).map(|i| ratio[i][i]).sum();
    let given_u = 0.5 * (trace - 12.0 + of_prior - of_posterior);
    let got = values(&factor.divergence().unwrap())[0];
    let expected = of_v + given_u;
    assert!((got - expected).abs() < 1e-5 * expected, "{got} for {expected}");
    assert!(of_v > 0.5 && given_u > 0.5, "{of_v} {given_u}");
}

fn sampling(rows: &Rows, stream: Stream, samples: u32) -> Sampling<'_> {
    Sampling { noise: Noise::new(8, stream), samples: 0..samples, rows, with_divergence: false }
}

fn output(adapter: &Inducing, x: &Tensor, draw: &Draw<'_>) -> Tensor {
    let Increment { core, up, scale, offset, .. } = adapter.increment(SLOT, x, draw).unwrap();
    ((core.broadcast_matmul(&up.t().unwrap()).unwrap() * scale).unwrap() + offset.unwrap()).unwrap()
}

/// Every mean and covariance within five of its standard errors, at two inputs.
#[test]
fn samples_have_the_moments_written_beside_them() {
    const DRAWS: u32 = 20_000;
    let adapter = adapter();
    let rows = Rows::of_sentences(&[7], &[1]);
    for seed in [9, 10] {
        let x = normal(seed, (1, 4));
        let draw = Draw::Sampled(sampling(&rows, Stream::Predictive, DRAWS));
        let draws = values(&output(&adapter, &x.unsqueeze(0).unwrap(), &draw));
        let moments = adapter.moments(&x).unwrap();
        let (mean, covariance) = (values(&moments.mean), values(&moments.covariance().unwrap()));
        let at_the_mean = values(&output(&adapter, &x.unsqueeze(0).unwrap(), &Draw::Mean));
        let n = f64::from(DRAWS);
        for i in 0..5 {
            assert!((at_the_mean[i] - mean[i]).abs() < 1e-5 * mean[i].abs().max(1.0));
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
}

#[test]
fn gradients_are_those_of_finite_differences() {
    const STEP: f64 = 2e-3;
    let adapter = adapter();
    let x = normal(9, (3, 4)).unsqueeze(0).unwrap();
    let rows = Rows::of_sentences(&[4, 9], &[2, 1]);
    let value = || {
        let drawn = output(&adapter, &x, &Draw::Sampled(sampling(&rows, Stream::Training, 2)));
        let mean = output(&adapter, &x, &Draw::Mean);
        let data = (drawn.sin().unwrap().sum_all().unwrap() + mean.cos().unwrap().sum_all().unwrap()).unwrap();
        (data + (adapter.divergence().unwrap().unwrap() * 0.01).unwrap()).unwrap()
    };
    let gradients = value().backward().unwrap();
    let parameters = adapter.parameters();
    assert_eq!(parameters.len(), 14);
    for parameter in parameters {
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
        // Differences of f32 sums of size 10 over a step of 4e-3.
        assert!((difference - slope).abs() < 5e-3 * slope + 2e-3, "{}: {difference} against {slope}", parameter.name);
    }
}

/// The stored pair is the mean of the factors once it has settled; what it holds changes no increment but for rounding.
#[test]
fn the_stored_pair_is_the_mean_and_changes_nothing() {
    let adapter = adapter();
    let x = normal(9, (3, 4)).unsqueeze(0).unwrap();
    let rows = Rows::of_sentences(&[4, 9], &[2, 1]);
    let draw = Draw::Sampled(sampling(&rows, Stream::Predictive, 2));
    let (mean, drawn) = (values(&output(&adapter, &x, &Draw::Mean)), values(&output(&adapter, &x, &draw)));
    let plain =
        (adapter.lora.down(&x).unwrap().broadcast_matmul(&adapter.lora.b().t().unwrap()).unwrap() * 0.5).unwrap();
    adapter.lora.b().set(&normal(77, (5, 3))).unwrap();
    let moved = (values(&output(&adapter, &x, &Draw::Mean)), values(&output(&adapter, &x, &draw)));
    for (left, right) in [(&mean, &values(&plain)), (&mean, &moved.0), (&drawn, &moved.1)] {
        assert!(left.iter().zip(right).all(|(l, r)| (l - r).abs() < 1e-4 * l.abs().max(1.0)), "{left:?} {right:?}");
    }
}

#[test]
fn untrained_factors_are_as_large_as_their_matrix_and_change_nothing_at_the_mean() {
    let noise = Noise::new(3, Stream::Initial);
    let lora = LowRank::initial(SLOT, (20, 30), LoraShape::new(4, 8.0).unwrap(), &noise, &Device::Cpu).unwrap();
    let adapter = Inducing::initial(SLOT, &lora, InducingSettings::default(), &noise, &Device::Cpu).unwrap();
    let shapes: Vec<Vec<usize>> = adapter.parameters().iter().map(|p| p.var.dims().to_vec()).collect();
    assert_eq!(shapes[..2], [[4, 4], [9, 30]]);
    assert_eq!(shapes[7..9], [[9, 20], [4, 4]]);
    assert!(values(&adapter.lora.b().as_detached_tensor()).iter().all(|b| b.to_bits() == 0));
    assert!(values(&adapter.lora.a().as_detached_tensor()).iter().any(|a| a.abs() > 0.01));
    for (says, settings) in [
        ("rows is 0; expected at least 1", InducingSettings { rows: 0, ..SETTINGS }),
        ("largest-scale is 0; expected a positive", InducingSettings { largest_scale: 0.0, ..SETTINGS }),
        ("largest-sd is 0.1; expected at least initial-sd", InducingSettings { largest_sd: 0.1, ..SETTINGS }),
    ] {
        let problem = Inducing::initial(SLOT, &lora, settings, &noise, &Device::Cpu).unwrap_err().to_string();
        assert!(problem.starts_with(says), "{problem}");
    }
}
