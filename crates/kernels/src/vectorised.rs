//! Kernels compiled once more for each width of vector registers, the widest that the processor has taken at run time.

use pulp::{Simd, WithSimd};

/// Runs `kernel`, compiled for the processor's vector registers.
///
/// The closure, and every function it calls, must be `#[inline(always)]`: only what becomes part of the compiled copy has its
/// registers.
#[inline(always)]
pub fn vectorised<R>(kernel: impl FnMut() -> R) -> R {
    pulp::Arch::new().dispatch(Kernel(kernel))
}

/// Called through `FnMut`, not `FnOnce` as pulp calls closures: `call_once` of a closure that could be called again is a
/// function of its own, which keeps the body out of the compiled copy.
struct Kernel<F>(F);

impl<R, F: FnMut() -> R> WithSimd for Kernel<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) -> R {
        (self.0)()
    }
}
