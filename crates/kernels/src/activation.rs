//! Activations of feed-forward networks and heads, a value at a time.
//!
//! The Gaussian error linear unit is `x Phi(x)` (Hendrycks and Gimpel, arXiv 1606.08415). Its two approximations, and silu, are
//! `x s(u)` with the logistic function `s`: `(1 + tanh u) / 2 = s(2 u)`.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;

use crate::math::{erf, exp};
use crate::storage::{borrow, is_fast, values};
use crate::vectorised::vectorised;

/// A function of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x Phi(x)`, exactly.
    Gelu,
    /// `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`.
    GeluTanh,
    /// `x s(1.702 x)` with the logistic function `s`.
    QuickGelu,
    /// `x s(x)` with the logistic function `s`, also called swish.
    Silu,
    /// `max(x, 0)`; its slope at 0 is 0.
    Relu,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Self; 6] = [Self::Gelu, Self::GeluTanh, Self::QuickGelu, Self::Silu, Self::Relu, Self::Tanh];

    /// The activation of every value, any shape, with its gradient.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn apply(self, x: &Tensor) -> candle_core::Result<Tensor> {
        if is_fast(x) { x.contiguous()?.apply_op1(Op(self)) } else { self.plain(x) }
    }

    /// The same of candle's operations.
    fn plain(self, x: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Gelu => x.gelu_erf(),
            Self::GeluTanh => x.gelu(),
            Self::QuickGelu => (x * QUICK)?.silu()? / QUICK,
            Self::Silu => x.silu(),
            Self::Relu => x.relu(),
            Self::Tanh => x.tanh(),
        }
    }

    /// The activation of every value in place, forward only, on the caller's thread.
    pub fn apply_in_place(self, x: &mut [f32]) {
        match self {
            Self::Gelu => map::<Gelu>(x),
            Self::GeluTanh => map::<GeluTanh>(x),
            Self::QuickGelu => map::<QuickGelu>(x),
            Self::Silu => map::<Silu>(x),
            Self::Relu => map::<Relu>(x),
            Self::Tanh => map::<Tanh>(x),
        }
    }

    /// Does `work` with this function and its slope.
    pub(crate) fn with_curve(self, work: impl WithCurve) {
        match self {
            Self::Gelu => work.run::<Gelu>(),
            Self::GeluTanh => work.run::<GeluTanh>(),
            Self::QuickGelu => work.run::<QuickGelu>(),
            Self::Silu => work.run::<Silu>(),
            Self::Relu => work.run::<Relu>(),
            Self::Tanh => work.run::<Tanh>(),
        }
    }

    /// Multiplies every value of `gradient` by the slope at its `x`.
    fn times_slope(self, gradient: &mut [f32], x: &[f32]) {
        match self {
            Self::Gelu => scale::<Gelu>(gradient, x),
            Self::GeluTanh => scale::<GeluTanh>(gradient, x),
            Self::QuickGelu => scale::<QuickGelu>(gradient, x),
            Self::Silu => scale::<Silu>(gradient, x),
            Self::Relu => scale::<Relu>(gradient, x),
            Self::Tanh => scale::<Tanh>(gradient, x),
        }
    }
}

/// What is done with a curve, whichever it is.
pub(crate) trait WithCurve {
    fn run<C: Curve>(self);
}

/// Elements that one task of the thread pool handles.
const CHUNK: usize = 1 << 13;
/// Density of the normal distribution at 0.
const DENSITY_AT_ZERO: f32 = 0.398_942_3;
/// `2 sqrt(2 / pi)`.
const TWICE_ROOT: f32 = 1.595_769;
const CUBIC: f32 = 0.044_715;
const QUICK: f64 = 1.702;
const QUICK_F32: f32 = 1.702;

/// A function and its slope. Types, not closures or functions handed on: only methods that are always inlined become part of the copies
/// for wide registers.
pub(crate) trait Curve {
    fn value(x: f32) -> f32;
    fn slope(x: f32) -> f32;
}

#[inline(always)]
fn map<C: Curve>(x: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || {
            for x in x.iter_mut() {
                *x = C::value(*x);
            }
        },
    );
}

#[inline(always)]
fn scale<C: Curve>(gradient: &mut [f32], x: &[f32]) {
    vectorised(
        #[inline(always)]
        || {
            for (g, &x) in gradient.iter_mut().zip(x) {
                *g *= C::slope(x);
            }
        },
    );
}

#[inline(always)]
fn phi(x: f32) -> f32 {
    0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

struct Gelu;

impl Curve for Gelu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * phi(x)
    }

    /// `Phi(x) + x phi(x)` with the density `phi`.
    #[inline(always)]
    fn slope(x: f32) -> f32 {
        phi(x) + x * DENSITY_AT_ZERO * exp(-0.5 * x * x)
    }
}

struct GeluTanh;

impl Curve for GeluTanh {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * logistic(TWICE_ROOT * (x + CUBIC * x * x * x))
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        // Flat beyond, where the square of x would be infinite times zero.
        let x = x.clamp(-30.0, 30.0);
        let s = logistic(TWICE_ROOT * (x + CUBIC * x * x * x));
        s + x * s * (1.0 - s) * TWICE_ROOT * (1.0 + 3.0 * CUBIC * x * x)
    }
}

struct QuickGelu;

impl Curve for QuickGelu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * logistic(QUICK_F32 * x)
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let s = logistic(QUICK_F32 * x);
        s + QUICK_F32 * x * s * (1.0 - s)
    }
}

struct Silu;

impl Curve for Silu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * logistic(x)
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let s = logistic(x);
        s + x * s * (1.0 - s)
    }
}

struct Relu;

impl Curve for Relu {
    /// What is not a number stays so, unlike in `max`.
    #[inline(always)]
    fn value(x: f32) -> f32 {
        if x < 0.0 { 0.0 } else { x }
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        if x <= 0.0 { 0.0 } else { 1.0 }
    }
}

struct Tanh;

impl Curve for Tanh {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x.tanh()
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        1.0 - x.tanh() * x.tanh()
    }
}

struct Op(Activation);

impl CustomOp1 for Op {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut out = values(storage, layout)?.to_vec();
        out.par_chunks_mut(CHUNK).for_each(|out| self.0.apply_in_place(out));
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let guard = x.storage_and_layout();
        let x = borrow(&guard)?;
        let gradient = gradient.contiguous()?;
        let gradient_guard = gradient.storage_and_layout();
        let mut out = borrow(&gradient_guard)?.to_vec();
        out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(out, x)| self.0.times_slope(out, x));
        Ok(Some(Tensor::from_vec(out, gradient.shape(), gradient.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient, assert_twins, normal};

    #[test]
    fn agree_with_their_plain_twins_and_finite_differences() {
        let x = normal(1, (3, 7, 1001));
        let wide = (x.as_tensor() * 3.0).unwrap();
        for activation in Activation::ALL {
            let (fast, plain) = (activation.apply(&wide).unwrap(), activation.plain(&wide).unwrap());
            assert_twins(std::slice::from_ref(&x), &fast, &plain, 2e-6);
            // Finite differences are wrong over the bend of relu.
            if activation != Activation::Relu {
                assert_gradient(&x, || activation.apply(&x).unwrap(), 1e-3);
            }
        }
    }

    #[test]
    fn far_values_and_what_is_no_number_stay_what_they_are() {
        for activation in Activation::ALL {
            let mut values = [-1e30, -200.0, -0.0, 0.0, 200.0, f32::NAN];
            activation.apply_in_place(&mut values);
            let largest = if activation == Activation::Tanh { 1.0 } else { 200.0 };
            let least = if activation == Activation::Tanh { -1.0 } else { 0.0 };
            assert!((values[1] - least).abs() < 1e-4 && values[2..4] == [0.0, 0.0], "{activation:?}: {values:?}");
            assert!((values[4] - largest).abs() < 1e-4 && values[5].is_nan(), "{activation:?}: {values:?}");
            assert!(values[0].is_finite(), "{activation:?}: {values:?}");
            let mut slopes = [1.0; 4];
            activation.times_slope(&mut slopes, &[-1e30, -200.0, 200.0, 1e30]);
            let right = if activation == Activation::Tanh { 0.0 } else { 1.0 };
            for (slope, expected) in slopes.into_iter().zip([0.0, 0.0, right, right]) {
                assert!((slope - expected).abs() < 1e-6, "{activation:?}: {slopes:?}");
            }
        }
    }

    #[test]
    fn relu_is_flat_at_zero() {
        let x = candle_core::Var::new(&[-1.0_f32, 0.0, 1.0], &candle_core::Device::Cpu).unwrap();
        let store = Activation::Relu.apply(&x).unwrap().sum_all().unwrap().backward().unwrap();
        assert_eq!(store.get(&x).unwrap().to_vec1::<f32>().unwrap(), [0.0, 0.0, 1.0]);
    }
}
