//! Residual sum and layer normalisation in one pass.

use candle_core::{CpuStorage, CustomOp2, D, DType, Layout, Shape, Tensor};
use rayon::prelude::*;

use crate::math::{dot, sum};
use crate::storage::{borrow, is_fast, values};
use crate::vectorised::vectorised;

/// `LN(a + b) * weight + bias` over the last axis, with constant `weight` and `bias`.
///
/// # Shapes
/// `a, b: [samples or 1, rows, width]` to `[samples, rows, width]`.
///
/// # Errors
/// When shapes do not go together.
pub fn add_layer_norm(
    a: &Tensor,
    b: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
) -> candle_core::Result<Tensor> {
    if is_fast(a) {
        let op = AddLayerNorm { weight: weight.to_vec1()?, bias: bias.to_vec1()?, epsilon };
        a.contiguous()?.apply_op2(&b.contiguous()?, op)
    } else {
        plain(a, b, weight, bias, epsilon)
    }
}

/// The same, composed of tensor operations; half-precision values are added and normalised in f32.
fn plain(a: &Tensor, b: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> candle_core::Result<Tensor> {
    let wide = if a.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let x = a.to_dtype(wide)?.broadcast_add(&b.to_dtype(wide)?)?;
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normalised = centred.broadcast_div(&(variance + epsilon)?.sqrt()?)?;
    let scaled = normalised.broadcast_mul(&weight.to_dtype(wide)?)?;
    scaled.broadcast_add(&bias.to_dtype(wide)?)?.to_dtype(a.dtype())
}

struct AddLayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f64,
}

/// Rows that one task of the thread pool handles.
const ROWS_PER_TASK: usize = 16;

/// `LN(row + other)` in place of each of `rows`, forward only, on the caller's thread: row `i` is added row `first + i` of
/// `other`, cyclically.
pub fn add_and_normalise(
    rows: &mut [f32],
    other: &[f32],
    first: usize,
    (weight, bias): (&[f32], &[f32]),
    epsilon: f64,
) {
    let width = weight.len();
    vectorised(
        #[inline(always)]
        || {
            for (row, out) in rows.chunks_exact_mut(width).enumerate() {
                let at = (first + row) * width % other.len();
                for (out, x) in out.iter_mut().zip(&other[at..at + width]) {
                    *out += x;
                }
                let scale = centre(out, epsilon);
                for ((out, weight), bias) in out.iter_mut().zip(weight).zip(bias) {
                    *out = *out * scale * weight + bias;
                }
            }
        },
    );
}

/// Centres `row` and returns the reciprocal of its standard deviation.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
fn centre(row: &mut [f32], epsilon: f64) -> f32 {
    let width = row.len() as f32;
    let mean = sum(row, |x| x) / width;
    for x in row.iter_mut() {
        *x -= mean;
    }
    1.0 / (dot(row, row) / width + epsilon as f32).sqrt()
}

impl CustomOp2 for AddLayerNorm {
    fn name(&self) -> &'static str {
        "add-layer-norm"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (a, b) = (values(a, a_layout)?, values(b, b_layout)?);
        let (shape, long, short) = if a.len() >= b.len() { (a_layout.shape(), a, b) } else { (b_layout.shape(), b, a) };
        let width = self.weight.len();
        let mut out = long.to_vec();
        out.par_chunks_mut(ROWS_PER_TASK * width).enumerate().for_each(|(task, rows)| {
            add_and_normalise(rows, short, task * ROWS_PER_TASK, (&self.weight, &self.bias), self.epsilon);
        });
        Ok((CpuStorage::F32(out), shape.clone()))
    }

    /// With `g' = g * weight` and the normalised row `n`: `(g' - mean(g') - n mean(g' n)) / sd`, for both arguments.
    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let width = self.weight.len();
        let gradient = gradient.contiguous()?;
        let guards = (a.storage_and_layout(), b.storage_and_layout(), gradient.storage_and_layout());
        let (a_values, b_values) = (borrow(&guards.0)?, borrow(&guards.1)?);
        let mut out = borrow(&guards.2)?.to_vec();
        out.par_chunks_mut(ROWS_PER_TASK * width).enumerate().for_each(|(task, rows)| {
            let mut normalised = vec![0.0; width];
            vectorised(
                #[inline(always)]
                || {
                    for (row, out) in rows.chunks_exact_mut(width).enumerate() {
                        let at = (task * ROWS_PER_TASK + row) * width;
                        let (at_a, at_b) = (at % a_values.len(), at % b_values.len());
                        let sums = a_values[at_a..at_a + width].iter().zip(&b_values[at_b..at_b + width]);
                        for (x, (a, b)) in normalised.iter_mut().zip(sums) {
                            *x = a + b;
                        }
                        let scale = centre(&mut normalised, self.epsilon);
                        for ((x, g), weight) in normalised.iter_mut().zip(out.iter_mut()).zip(&self.weight) {
                            *x *= scale;
                            *g *= weight;
                        }
                        let mean = sum(out, |g| g) / width as f32;
                        let slope = dot(out, &normalised) / width as f32;
                        for (g, n) in out.iter_mut().zip(&normalised) {
                            *g = scale * (*g - mean - n * slope);
                        }
                    }
                },
            );
        });
        let total = Tensor::from_vec(out, result.shape(), result.device())?;
        let part = |x: &Tensor| if x.shape() == total.shape() { Ok(total.clone()) } else { total.sum_keepdim(0) };
        Ok((Some(part(a)?), Some(part(b)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient, assert_twins, flat, normal};

    #[test]
    fn agrees_with_its_plain_twin_and_finite_differences() {
        for (samples_a, samples_b) in [(1, 1), (1, 3), (3, 1), (3, 3)] {
            for width in [5, 33, 384] {
                let (a, b) = (normal(1, (samples_a, 19, width)), normal(2, (samples_b, 19, width)));
                let (weight, bias) = (normal(3, width), normal(4, width));
                let run = |f: fn(&Tensor, &Tensor, &Tensor, &Tensor, f64) -> candle_core::Result<Tensor>| {
                    f(&a, &b, &weight, &bias, 1e-12).unwrap()
                };
                assert_twins(&[a.clone(), b.clone()], &run(add_layer_norm), &run(plain), 2e-5);
                assert_gradient(&b, || run(add_layer_norm), 1e-2);
            }
        }
    }

    /// One rounding, of the result: sums of 384 numbers in bf16 would stop growing.
    #[test]
    fn half_precision_is_added_and_normalised_in_f32() {
        let half = |seed: u32| normal(seed, (2, 7, 384)).to_dtype(DType::BF16).unwrap();
        let (a, b, weight, bias) = (half(1), half(2), normal(3, 384), normal(4, 384));
        let found = add_layer_norm(&a, &b, &weight, &bias, 1e-12).unwrap();
        assert_eq!(found.dtype(), DType::BF16);
        let wide = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
        let exact = plain(&wide(&a), &wide(&b), &weight, &bias, 1e-12).unwrap().to_dtype(DType::BF16).unwrap();
        assert_eq!(flat(&wide(&found)), flat(&wide(&exact)));
    }
}
