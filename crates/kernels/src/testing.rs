//! Shared by the kernels' tests: reproducible tensors, and comparison of a kernel with its twin.

use candle_core::{Device, Shape, Tensor, Var};

use crate::words::Counter;

/// Standard normal numbers, the same for the same seed.
pub(crate) fn normal(seed: u32, shape: impl Into<Shape>) -> Var {
    let shape = shape.into();
    let mut words = vec![0; 2 * shape.elem_count()];
    Counter { key: [seed, 0], upper: [0; 3] }.fill(&mut words);
    let unit = |word: u32| (f64::from(word) + 0.5) / 4_294_967_296.0;
    let normal = |pair: &[u32]| (-2.0 * unit(pair[0]).ln()).sqrt() * (std::f64::consts::TAU * unit(pair[1])).cos();
    #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
    let values: Vec<f32> = words.chunks_exact(2).map(|pair| normal(pair) as f32).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
}

/// All values, row after row.
pub(crate) fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// Largest difference relative to the largest value.
pub(crate) fn relative_difference(left: &Tensor, right: &Tensor) -> f64 {
    assert_eq!(left.dims(), right.dims());
    let max =
        |t: Tensor| f64::from(t.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap());
    max((left - right).unwrap()) / max(right.clone()).max(1e-30)
}

/// Compares values, and gradients of a random projection of them, of two functions of `vars`.
pub(crate) fn assert_twins(vars: &[Var], fast: &Tensor, plain: &Tensor, tolerance: f64) {
    assert!(relative_difference(fast, plain) < tolerance, "values: {}", relative_difference(fast, plain));
    let direction = normal(99, plain.shape().clone());
    let gradients = |out: &Tensor| (out * direction.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
    let (fast, plain) = (gradients(fast), gradients(plain));
    for (index, var) in vars.iter().enumerate() {
        let difference = relative_difference(fast.get(var).unwrap(), plain.get(var).unwrap());
        assert!(difference < tolerance, "gradient {index}: {difference}");
    }
}

/// Central finite differences of `f` at `var` against the gradient of `f`, along a random direction.
pub(crate) fn assert_gradient(var: &Var, f: impl Fn() -> Tensor, tolerance: f64) {
    let total =
        |t: &Tensor| t.to_dtype(candle_core::DType::F64).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
    let out = f();
    let weights = normal(77, out.shape().clone());
    let objective = |t: &Tensor| total(&(t * weights.as_tensor()).unwrap());
    let gradients = (&out * weights.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
    let direction = normal(78, var.shape().clone());
    let analytic = total(&(gradients.get(var).unwrap() * direction.as_tensor()).unwrap());
    let at = var.as_detached_tensor().copy().unwrap();
    let step = 1e-2;
    let shifted = |sign: f64| {
        var.set(&(&at + (direction.as_tensor() * (sign * step)).unwrap()).unwrap()).unwrap();
        objective(&f())
    };
    let numeric = (shifted(1.0) - shifted(-1.0)) / (2.0 * step);
    var.set(&at).unwrap();
    assert!((numeric - analytic).abs() < tolerance * (1.0 + analytic.abs()), "{numeric} against {analytic}");
}
