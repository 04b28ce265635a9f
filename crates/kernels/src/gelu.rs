//! The exact Gaussian error linear unit, `x Phi(x)` (Hendrycks and Gimpel, arXiv 1606.08415).

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;

use crate::math::{erf, exp};
use crate::storage::{borrow, is_fast, values};
use crate::vectorised::vectorised;

/// `x Phi(x)`, any shape.
///
/// # Errors
/// When a tensor operation fails.
pub fn gelu(x: &Tensor) -> candle_core::Result<Tensor> {
    if is_fast(x) { x.contiguous()?.apply_op1(Gelu) } else { x.gelu_erf() }
}

/// `x Phi(x)` in place, forward only, on the caller's thread.
pub fn gelu_in_place(x: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || {
            for x in x.iter_mut() {
                *x *= phi(*x);
            }
        },
    );
}

struct Gelu;

/// Elements that one task of the thread pool handles.
const CHUNK: usize = 1 << 13;

#[inline(always)]
fn phi(x: f32) -> f32 {
    0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut out = values(storage, layout)?.to_vec();
        out.par_chunks_mut(CHUNK).for_each(gelu_in_place);
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    /// `g (Phi(x) + x phi(x))` with the density `phi`.
    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        const DENSITY_AT_ZERO: f32 = 0.398_942_3;
        let guard = x.storage_and_layout();
        let x = borrow(&guard)?;
        let gradient = gradient.contiguous()?;
        let gradient_guard = gradient.storage_and_layout();
        let mut out = borrow(&gradient_guard)?.to_vec();
        out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(out, x)| {
            vectorised(
                #[inline(always)]
                || {
                    for (g, &x) in out.iter_mut().zip(x) {
                        *g *= phi(x) + x * DENSITY_AT_ZERO * exp(-0.5 * x * x);
                    }
                },
            );
        });
        Ok(Some(Tensor::from_vec(out, gradient.shape(), gradient.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient, assert_twins, normal};

    #[test]
    fn agrees_with_its_plain_twin_and_finite_differences() {
        let x = normal(1, (3, 7, 1001));
        let wide = (x.as_tensor() * 3.0).unwrap();
        assert_twins(std::slice::from_ref(&x), &gelu(&wide).unwrap(), &wide.gelu_erf().unwrap(), 2e-6);
        assert_gradient(&x, || gelu(&x).unwrap(), 1e-3);
    }
}
