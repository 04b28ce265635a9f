//! Root-mean-square normalisation of rows, or of each head's components within them.
//!
//! `y = x / sqrt(mean(x^2) + epsilon) * w` (Zhang and Sennrich, arXiv 1910.07467). Models that store `w - 1`, as Gemma does, hand on
//! `w`.

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Shape, Tensor};
use rayon::prelude::*;

use crate::math::dot;
use crate::storage::{borrow, is_fast, values};
use crate::vectorised::vectorised;

/// `x / sqrt(mean(x^2) + epsilon) * weight` with constant `weight`, the mean over as many components as `weight` has.
///
/// A weight as wide as a row normalises rows; one as wide as a head normalises each head's components.
///
/// # Shapes
/// `x: [samples, rows, n width]`, `weight: [width]` to the shape of `x`.
///
/// # Errors
/// When the weight's width does not divide a row's.
pub fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> candle_core::Result<Tensor> {
    let (row, width) = (x.dim(D::Minus1)?, weight.dims1()?);
    if width == 0 || !row.is_multiple_of(width) {
        candle_core::bail!("RMS norm: rows of {row} components are no multiple of the weight's {width}");
    }
    if is_fast(x) {
        x.contiguous()?.apply_op1(RmsNorm { weight: weight.to_dtype(DType::F32)?.to_vec1()?, epsilon })
    } else {
        plain(x, weight, epsilon)
    }
}

/// The same as [`rms_norm`], composed of tensor operations; half-precision values are normalised in f32.
fn plain(x: &Tensor, weight: &Tensor, epsilon: f64) -> candle_core::Result<Tensor> {
    let wide = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let width = weight.dims1()?;
    let parts = x.to_dtype(wide)?.reshape(((), width))?;
    let square = parts.sqr()?.mean_keepdim(D::Minus1)?;
    let normalised = parts.broadcast_div(&(square + epsilon)?.sqrt()?)?;
    normalised.broadcast_mul(&weight.to_dtype(wide)?)?.reshape(x.shape())?.to_dtype(x.dtype())
}

/// Values that one task of the thread pool handles, about.
const VALUES_PER_TASK: usize = 1 << 13;

/// Values of one task: whole parts of `width`.
fn chunk(width: usize) -> usize {
    (VALUES_PER_TASK / width).max(1) * width
}

/// Reciprocal of the root of the mean square.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
fn reciprocal(x: &[f32], epsilon: f64) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + epsilon as f32).sqrt()
}

/// [`rms_norm`] of `rows` in place, forward only, on the caller's thread.
///
/// # Shapes
/// `rows: [.., width]`, `weight: [width]`.
///
/// # Panics
/// When the weight's width does not divide the number of values.
pub fn rms_normalise(rows: &mut [f32], weight: &[f32], epsilon: f64) {
    assert!(rows.len().is_multiple_of(weight.len().max(1)), "extents of an RMS norm");
    vectorised(
        #[inline(always)]
        || {
            for x in rows.chunks_exact_mut(weight.len().max(1)) {
                let scale = reciprocal(x, epsilon);
                for (x, w) in x.iter_mut().zip(weight) {
                    *x = *x * scale * w;
                }
            }
        },
    );
}

struct RmsNorm {
    weight: Vec<f32>,
    epsilon: f64,
}

impl CustomOp1 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut out = values(x, layout)?.to_vec();
        out.par_chunks_mut(chunk(self.weight.len())).for_each(|rows| rms_normalise(rows, &self.weight, self.epsilon));
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    /// With `g' = g * weight`, the reciprocal `s` of the root and `n = s x`: `s (g' - n mean(g' n))`.
    fn bwd(&self, x: &Tensor, result: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let width = self.weight.len();
        let gradient = gradient.contiguous()?;
        let guards = (x.storage_and_layout(), gradient.storage_and_layout());
        let x = borrow(&guards.0)?;
        let mut out = borrow(&guards.1)?.to_vec();
        out.par_chunks_mut(chunk(width)).zip(x.par_chunks(chunk(width))).for_each(|(out, x)| {
            vectorised(
                #[inline(always)]
                || {
                    for (g, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                        let scale = reciprocal(x, self.epsilon);
                        for (g, w) in g.iter_mut().zip(&self.weight) {
                            *g *= w;
                        }
                        let slope = scale * scale * dot(g, x) / width as f32;
                        for (g, x) in g.iter_mut().zip(x) {
                            *g = scale * (*g - x * slope);
                        }
                    }
                },
            );
        });
        Ok(Some(Tensor::from_vec(out, result.shape(), result.device())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::testing::{assert_gradient, assert_twins, flat, normal, relative_difference};

    #[test]
    fn agrees_with_its_plain_twin_and_finite_differences() {
        for (samples, heads, width) in [(1, 1, 5), (3, 1, 33), (2, 1, 576), (3, 4, 16), (1, 3, 7)] {
            let x = normal(1, (samples, 19, heads * width));
            let weight = normal(2, width);
            let fast = || rms_norm(&x, &weight, 1e-6).unwrap();
            assert_twins(std::slice::from_ref(&x), &fast(), &plain(&x, &weight, 1e-6).unwrap(), 2e-5);
            assert_gradient(&x, fast, 1e-2);
            // An epsilon that counts: a quarter of the mean square.
            let fast = || rms_norm(&x, &weight, 0.25).unwrap();
            assert_twins(std::slice::from_ref(&x), &fast(), &plain(&x, &weight, 0.25).unwrap(), 2e-5);
            assert_gradient(&x, fast, 1e-2);
        }
    }

    /// Every part has root mean square 1 but for epsilon: the definition, of each head by itself.
    #[test]
    fn heads_are_normalised_one_by_one() {
        let ones = Tensor::ones(8, DType::F32, &Device::Cpu).unwrap();
        let scales = Tensor::new(&[1.0_f32, 100.0, 1e-3], &Device::Cpu).unwrap().reshape((1, 1, 3, 1)).unwrap();
        let x = normal(3, (2, 5, 3, 8)).broadcast_mul(&scales).unwrap().reshape((2, 5, 24)).unwrap();
        for out in flat(&rms_norm(&x, &ones, 0.0).unwrap()).chunks_exact(8) {
            let square = out.iter().map(|y| f64::from(*y).powi(2)).sum::<f64>() / 8.0;
            assert!((square - 1.0).abs() < 1e-5, "{square}");
        }
    }

    #[test]
    fn half_precision_is_normalised_in_f32() {
        // Squares of 300 leave the range of f16, and their sum the digits of bf16.
        let x = (normal(1, (2, 3, 64)).as_tensor() * 300.0).unwrap();
        let weight = normal(2, 64);
        let exact = rms_norm(&x, &weight, 1e-5).unwrap();
        for (dtype, tolerance) in [(DType::BF16, 8e-3), (DType::F16, 1e-3)] {
            let half = rms_norm(&x.to_dtype(dtype).unwrap(), &weight, 1e-5).unwrap();
            assert_eq!(half.dtype(), dtype);
            let difference = relative_difference(&half.to_dtype(DType::F32).unwrap(), &exact);
            assert!(difference < tolerance, "{dtype:?}: {difference}");
        }
    }

    #[test]
    fn far_values_zeros_and_what_is_no_number() {
        let rows = [[1e15_f32, -1e15], [0.0, 0.0], [f32::NAN, 1.0], [3.0, 3.0]];
        let x = candle_core::Var::new(&rows, &Device::Cpu).unwrap();
        let weight = Tensor::ones(2, DType::F32, &Device::Cpu).unwrap();
        let out = rms_norm(&x, &weight, 1e-6).unwrap();
        let gradients = out.sum_all().unwrap().backward().unwrap();
        let (out, slopes) = (flat(&out), flat(gradients.get(&x).unwrap()));
        assert!((out[0] - 1.0).abs() < 1e-6 && (out[1] + 1.0).abs() < 1e-6, "{out:?}");
        assert_eq!(out[2..4], [0.0, 0.0]);
        assert!(out[4].is_nan() && out[5].is_nan(), "a row with what is no number is none");
        assert!((out[6] - 1.0).abs() < 1e-6, "the next row is untouched: {out:?}");
        // At 0 the slope is that of a division by the root of epsilon.
        assert!((slopes[2] - 1e3).abs() < 1e-1 && slopes[..2].iter().all(|slope| slope.is_finite()), "{slopes:?}");
    }

    #[test]
    fn other_widths_are_refused() {
        let (x, weight) = (normal(1, (1, 2, 10)), normal(2, 4));
        let message = rms_norm(&x, &weight, 1e-6).unwrap_err().to_string();
        assert!(message.contains("rows of 10 components are no multiple of the weight's 4"), "{message}");
    }
}
