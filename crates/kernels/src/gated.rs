//! Gated linear units: an activation of one projection times another projection, in one pass.
//!
//! `a(g) u` (Shazeer, arXiv 2002.05202): `SwiGLU` with silu, `GeGLU` with either Gaussian error linear unit.

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use rayon::prelude::*;

use crate::activation::{Activation, Curve, WithCurve};
use crate::storage::{borrow, is_fast, values};
use crate::vectorised::vectorised;

/// `activation(gate) * up`.
///
/// # Shapes
/// `gate, up: [samples or 1, rows, width]` to `[samples, rows, width]`.
///
/// # Errors
/// When shapes do not go together.
pub fn gated(activation: Activation, gate: &Tensor, up: &Tensor) -> candle_core::Result<Tensor> {
    let ((g_samples, g_rows, g_width), (u_samples, u_rows, u_width)) = (gate.dims3()?, up.dims3()?);
    if (g_rows, g_width) != (u_rows, u_width) || (g_samples != u_samples && g_samples != 1 && u_samples != 1) {
        candle_core::bail!("gated unit: a gate of {:?} for values of {:?}", gate.dims(), up.dims());
    }
    if is_fast(gate) && is_fast(up) {
        gate.contiguous()?.apply_op2(&up.contiguous()?, Gated(activation))
    } else {
        plain(activation, gate, up)
    }
}

/// The same, composed of tensor operations.
fn plain(activation: Activation, gate: &Tensor, up: &Tensor) -> candle_core::Result<Tensor> {
    activation.apply(gate)?.broadcast_mul(up)
}

/// `out = activation(gate) * up`, forward only, on the caller's thread; what is shorter than `out` is read again from its start.
///
/// # Panics
/// When the number of values is no multiple of that of the gate and of `up`.
pub fn gate_into(activation: Activation, gate: &[f32], up: &[f32], out: &mut [f32]) {
    if out.is_empty() {
        return;
    }
    let part = gate.len().min(up.len());
    let fits = |x: &[f32]| !x.is_empty() && out.len().is_multiple_of(x.len()) && x.len().is_multiple_of(part);
    assert!(fits(gate) && fits(up), "extents of a gated unit");
    for (out, at) in out.chunks_exact_mut(part).zip((0..).step_by(part)) {
        let (gate, up) = (&gate[at % gate.len()..][..part], &up[at % up.len()..][..part]);
        activation.with_curve(Forward { gate, up, out });
    }
}

struct Forward<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl WithCurve for Forward<'_> {
    #[inline(always)]
    fn run<C: Curve>(self) {
        let Self { gate, up, out } = self;
        vectorised(
            #[inline(always)]
            || {
                for ((out, &g), &u) in out.iter_mut().zip(gate).zip(up) {
                    *out = C::value(g) * u;
                }
            },
        );
    }
}

/// `a'(g) u` and `a(g)`, each times the gradient.
struct Backward<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    /// The gradient of the result; becomes that of the gate.
    d_gate: &'a mut [f32],
    d_up: &'a mut [f32],
}

impl WithCurve for Backward<'_> {
    #[inline(always)]
    fn run<C: Curve>(self) {
        let Self { gate, up, d_gate, d_up } = self;
        vectorised(
            #[inline(always)]
            || {
                for (((d_gate, d_up), &g), &u) in d_gate.iter_mut().zip(d_up.iter_mut()).zip(gate).zip(up) {
                    *d_up = *d_gate * C::value(g);
                    *d_gate *= u * C::slope(g);
                }
            },
        );
    }
}

/// Elements that one task of the thread pool handles.
const CHUNK: usize = 1 << 13;

struct Gated(Activation);

/// Samples of all, and values of one sample.
fn extents(gate: &Shape, up: &Shape) -> candle_core::Result<(usize, usize)> {
    let (samples, rows, width) = gate.dims3()?;
    Ok((samples.max(up.dims3()?.0), rows * width))
}

/// A sample's values.
fn sample(x: &[f32], index: usize, length: usize) -> &[f32] {
    &x[index * length % x.len().max(1)..][..length]
}

impl CustomOp2 for Gated {
    fn name(&self) -> &'static str {
        "gated-unit"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (samples, length) = extents(gate_layout.shape(), up_layout.shape())?;
        let (gate, up) = (values(gate, gate_layout)?, values(up, up_layout)?);
        let mut out = vec![0.0; samples * length];
        out.par_chunks_mut(length.max(1)).enumerate().for_each(|(index, out)| {
            let (gate, up) = (sample(gate, index, length), sample(up, index, length));
            let parts = out.par_chunks_mut(CHUNK).zip(gate.par_chunks(CHUNK)).zip(up.par_chunks(CHUNK));
            parts.for_each(|((out, gate), up)| self.0.with_curve(Forward { gate, up, out }));
        });
        let (_, rows, width) = gate_layout.shape().dims3()?;
        Ok((CpuStorage::F32(out), Shape::from((samples, rows, width))))
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (_, length) = extents(gate.shape(), up.shape())?;
        let gradient = gradient.contiguous()?;
        let guards = [gate, up, &gradient].map(|t| t.storage_and_layout());
        let (g, u) = (borrow(&guards[0])?, borrow(&guards[1])?);
        let mut d_gate = borrow(&guards[2])?.to_vec();
        let mut d_up = vec![0.0; d_gate.len()];
        let samples = d_gate.par_chunks_mut(length.max(1)).zip(d_up.par_chunks_mut(length.max(1)));
        samples.enumerate().for_each(|(index, (d_gate, d_up))| {
            let (gate, up) = (sample(g, index, length), sample(u, index, length));
            let parts = d_gate.par_chunks_mut(CHUNK).zip(d_up.par_chunks_mut(CHUNK));
            let parts = parts.zip(gate.par_chunks(CHUNK)).zip(up.par_chunks(CHUNK));
            parts.for_each(|(((d_gate, d_up), gate), up)| self.0.with_curve(Backward { gate, up, d_gate, d_up }));
        });
        let part = |values: Vec<f32>, x: &Tensor| {
            let total = Tensor::from_vec(values, result.shape(), result.device())?;
            Ok::<_, candle_core::Error>(Some(if x.shape() == total.shape() { total } else { total.sum_keepdim(0)? }))
        };
        Ok((part(d_gate, gate)?, part(d_up, up)?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::*;
    use crate::testing::{assert_gradient, assert_twins, flat, normal, relative_difference};

    #[test]
    fn agrees_with_its_plain_twin_and_finite_differences() {
        for activation in [Activation::Silu, Activation::GeluTanh, Activation::Gelu] {
            for (g_samples, u_samples) in [(1, 1), (3, 1), (1, 3), (3, 3)] {
                let (gate, up) = (normal(1, (g_samples, 9, 1001)), normal(2, (u_samples, 9, 1001)));
                let fast = || gated(activation, &gate, &up).unwrap();
                // Of candle's own activations, not ours.
                let candle = match activation {
                    Activation::Silu => gate.silu(),
                    Activation::GeluTanh => gate.gelu(),
                    _ => gate.gelu_erf(),
                };
                let plain = candle.unwrap().broadcast_mul(&up).unwrap();
                assert_twins(&[gate.clone(), up.clone()], &fast(), &plain, 5e-6);
                for var in [&gate, &up] {
                    assert_gradient(var, fast, 2e-3);
                }
                let mut out = vec![f32::NAN; fast().elem_count()];
                gate_into(activation, &flat(&gate), &flat(&up), &mut out);
                assert_eq!(out, flat(&fast()));
            }
        }
    }

    #[test]
    fn far_values_and_what_is_no_number_stay_what_they_are() {
        for activation in [Activation::Silu, Activation::GeluTanh] {
            let gate = Var::new(&[[[-1e30_f32, -200.0, 200.0, f32::NAN, 1.0]]], &Device::Cpu).unwrap();
            let up = Var::new(&[[[1e5_f32, 2.0, 2.0, 1.0, f32::NAN]]], &Device::Cpu).unwrap();
            let out = gated(activation, &gate, &up).unwrap();
            let store = out.sum_all().unwrap().backward().unwrap();
            let (out, d_gate, d_up) = (flat(&out), flat(store.get(&gate).unwrap()), flat(store.get(&up).unwrap()));
            assert!(out[0].abs() < 1e-2 && out[1].abs() < 1e-4 && (out[2] - 400.0).abs() < 1e-3, "{out:?}");
            assert!(out[3].is_nan() && out[4].is_nan(), "{out:?}");
            assert!(d_gate[0].abs() < 1e-3 && d_gate[1].abs() < 1e-4 && (d_gate[2] - 2.0).abs() < 1e-4, "{d_gate:?}");
            assert!(d_up[0].abs() < 1e-3 && (d_up[2] - 200.0).abs() < 1e-3 && d_up[4].is_finite(), "{d_up:?}");
        }
    }

    #[test]
    fn half_precision_and_other_shapes() {
        let (gate, up) = (normal(1, (2, 3, 8)), normal(2, (2, 3, 8)));
        let half = |x: &Var| x.to_dtype(DType::BF16).unwrap();
        let out = gated(Activation::Silu, &half(&gate), &half(&up)).unwrap();
        assert_eq!(out.dtype(), DType::BF16);
        let exact = gated(Activation::Silu, &gate, &up).unwrap();
        assert!(relative_difference(&out.to_dtype(DType::F32).unwrap(), &exact) < 1.6e-2);
        let message = gated(Activation::Silu, &gate, &normal(2, (3, 3, 8))).unwrap_err().to_string();
        assert!(message.contains("a gate of [2, 3, 8] for values of [3, 3, 8]"), "{message}");
        let empty = Tensor::zeros((1, 0, 8), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(gated(Activation::Silu, &empty, &empty).unwrap().dims(), [1, 0, 8]);
    }
}
