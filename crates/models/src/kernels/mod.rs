//! Operations of a transformer block on packed rows, with hand-written gradients, each beside a plain twin.
//!
//! Candle's own softmax, layer normalisation and erf either cut gradients or run on one thread without vector
//! registers; these do neither. They run on a processor in f32; on any other device, or in f64, the plain twin composed
//! of candle operations runs instead. The tests hold the two against each other, values and gradients.

mod attention;
mod gelu;
mod layer_norm;
mod linear;
mod math;

pub(crate) use attention::{AttentionScratch, attend, attention};
pub(crate) use gelu::{gelu, gelu_in_place};
pub(crate) use layer_norm::{add_and_normalise, add_layer_norm};
pub(crate) use linear::FrozenLinear;

use candle_core::{CpuStorage, DType, Layout, Storage, StorageRef, Tensor};

/// Whether the fast kernels apply: f32 on the processor.
fn is_fast(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// The contiguous f32 values of a custom operation's argument.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => candle_core::bail!("expected contiguous f32 values, got {:?}", layout.dims()),
    }
}

/// The values of a tensor, borrowed while its storage is.
pub(crate) fn borrow<'a>((storage, layout): &'a (StorageRef<'_>, &Layout)) -> candle_core::Result<&'a [f32]> {
    match &**storage {
        Storage::Cpu(storage) => values(storage, layout),
        _ => candle_core::bail!("expected a tensor on the processor"),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Shared by the kernels' tests: reproducible tensors, and comparison of a kernel with its twin.

    use bayeslora_adapters::{Address, Noise, Slot, Stream, TargetMap};
    use candle_core::{Device, Shape, Tensor, Var};

    pub(crate) fn normal(seed: u64, shape: impl Into<Shape>) -> Var {
        let shape = shape.into();
        let mut values = vec![0.0; shape.elem_count()];
        let at = Address { slot: Slot::new(0, TargetMap::Query), sample: 0, example: 0, position: 0 };
        Noise::new(seed, Stream::Initial).fill_normal(at, &mut Vec::new(), &mut values);
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    /// Largest difference relative to the largest value.
    pub(crate) fn relative_difference(left: &Tensor, right: &Tensor) -> f64 {
        assert_eq!(left.dims(), right.dims());
        let max =
            |t: Tensor| f64::from(t.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap());
        max((left - right).unwrap()) / max(right.clone()).max(1e-30)
    }

    /// Compares values, and gradients of a random projection of them, of two functions of `vars`.
    pub(super) fn assert_twins(vars: &[Var], fast: &Tensor, plain: &Tensor, tolerance: f64) {
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
    pub(super) fn assert_gradient(var: &Var, f: impl Fn() -> Tensor, tolerance: f64) {
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
}
