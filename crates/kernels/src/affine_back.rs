//! Products of rows with the transpose of a matrix in order, `g W`: gradients below it.
//!
//! The columns of a panel lie side by side, so that they are multiplied by as many values of a row, and each sum over all panels is
//! added up across its register at the end. So the matrix need not be there in a second order.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::packed::{Packed, panels};

/// Rows that pass the matrix together: their gradients stay in a core's second cache.
const ROWS_PER_BLOCK: usize = 64;

/// `out[i] = g[i] W` for the matrix `W [n, k]` in order, on the caller's thread.
///
/// # Shapes
/// `g: [rows, n]` to `out: [rows, k]`.
///
/// # Panics
/// When extents do not go together.
pub(crate) fn affine_back(out: &mut [f32], g: &[f32], matrix: &Packed) {
    let (n, k) = matrix.shape();
    let rows = out.len() / k.max(1);
    assert!(out.len() == rows * k && g.len() == rows * n, "extents of a product with a transpose");
    if !out.is_empty() && n > 0 {
        Arch::new().dispatch(Back { out, g, matrix });
    } else {
        out.fill(0.0);
    }
}

struct Back<'a> {
    out: &'a mut [f32],
    g: &'a [f32],
    matrix: &'a Packed,
}

impl WithSimd for Back<'_> {
    type Output = ();

    /// 24 sums, 4 registers of the rows and one of the matrix fit 32 registers, 8 sums 16.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 { self.run::<S, 4, 6>(simd) } else { self.run::<S, 2, 4>(simd) }
    }
}

impl Back<'_> {
    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const OUTPUTS: usize>(self, simd: S) {
        let (n, k) = self.matrix.shape();
        let panels: Vec<Range<usize>> = panels::<S>(n).collect();
        let blocks = self.out.chunks_mut(ROWS_PER_BLOCK * k).zip(self.g.chunks(ROWS_PER_BLOCK * n));
        for (out, g) in blocks {
            let mut block = Block { out, g, matrix: self.matrix, panels: &panels };
            let tiled = k / OUTPUTS * OUTPUTS;
            for first in (0..tiled).step_by(OUTPUTS) {
                block.outputs::<S, ROWS, OUTPUTS>(simd, first);
            }
            for first in tiled..k {
                block.outputs::<S, ROWS, 1>(simd, first);
            }
        }
    }
}

/// Rows that pass the matrix together.
struct Block<'a> {
    out: &'a mut [f32],
    g: &'a [f32],
    matrix: &'a Packed,
    /// Rows of the matrix, which are columns here, of each panel.
    panels: &'a [Range<usize>],
}

impl Block<'_> {
    /// `OUTPUTS` outputs of every row, from `first` on.
    #[inline(always)]
    fn outputs<S: Simd, const ROWS: usize, const OUTPUTS: usize>(&mut self, simd: S, first: usize) {
        let rows = self.out.len() / self.matrix.shape().1;
        let tiled = rows / ROWS * ROWS;
        for row in (0..tiled).step_by(ROWS) {
            self.tile::<S, ROWS, OUTPUTS>(simd, row, first);
        }
        for row in tiled..rows {
            self.tile::<S, 1, OUTPUTS>(simd, row, first);
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const OUTPUTS: usize>(&mut self, simd: S, row: usize, first: usize) {
        let (n, k) = self.matrix.shape();
        let lanes = S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); OUTPUTS]; ROWS];
        for columns in self.panels {
            let width = columns.len().next_multiple_of(lanes);
            let panel = &self.matrix.panel(columns.start)[first * width..][..OUTPUTS * width];
            let whole = columns.len() / lanes;
            // All slices have the same length, so that no index of the loop is checked.
            let mut rows = [&self.g[..0]; ROWS];
            let mut whole_rows = [S::as_simd_f32s(&self.g[..0]).0; ROWS];
            for offset in 0..ROWS {
                rows[offset] = &self.g[(row + offset) * n..][columns.clone()];
                whole_rows[offset] = &S::as_simd_f32s(rows[offset]).0[..whole];
            }
            let mut weights = [S::as_simd_f32s(&panel[..0]).0; OUTPUTS];
            for output in 0..OUTPUTS {
                weights[output] = &S::as_simd_f32s(&panel[output * width..][..width]).0[..whole];
            }
            for register in 0..whole {
                for output in 0..OUTPUTS {
                    let weight = weights[output][register];
                    for offset in 0..ROWS {
                        sums[offset][output] =
                            simd.mul_add_e_f32s(whole_rows[offset][register], weight, sums[offset][output]);
                    }
                }
            }
            if whole * lanes < columns.len() {
                for output in 0..OUTPUTS {
                    let weights = S::as_simd_f32s(&panel[output * width + whole * lanes..][..lanes]).0[0];
                    for offset in 0..ROWS {
                        let values = simd.partial_load_f32s(&rows[offset][whole * lanes..]);
                        sums[offset][output] = simd.mul_add_e_f32s(values, weights, sums[offset][output]);
                    }
                }
            }
        }
        for offset in 0..ROWS {
            for output in 0..OUTPUTS {
                self.out[(row + offset) * k + first + output] = simd.reduce_sum_f32s(sums[offset][output]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, salt: usize) -> Vec<f32> {
        (0..count).map(|i| f32::from(u16::try_from((i * 7919 + salt) % 1009).unwrap()) / 500.0 - 1.0).collect()
    }

    fn check<S: Simd>(simd: S) {
        for (rows, n, k) in [(1, 1, 1), (9, 7, 5), (70, 48, 13), (5, 100, 20), (3, 150, 6), (2, 17, 31)] {
            let (g, matrix) = (values(rows * n, 1), values(n * k, 5));
            let packed = Packed::with_simd(simd, &matrix, 1.0, (n, k));
            let mut out = vec![f32::NAN; rows * k];
            simd.vectorize(Back { out: &mut out, g: &g, matrix: &packed });
            for (index, out) in out.iter().enumerate() {
                let (row, column) = (index / k, index % k);
                let term = |i: usize| f64::from(g[row * n + i]) * f64::from(matrix[i * k + column]);
                let (expected, size) =
                    (0..n).map(term).fold((0.0, 0.0), |(sum, size), t| (sum + t, size + f64::abs(t)));
                // Wilkinson's bound for n roundings in f32.
                let bound = n as f64 * f64::from(f32::EPSILON) * size;
                assert!((f64::from(*out) - expected).abs() <= bound, "{rows} {n} {k}, {index}: {out}, {expected}");
            }
        }
    }

    #[test]
    fn agrees_with_sums_in_f64_in_registers_of_every_width() {
        struct Widest;
        impl WithSimd for Widest {
            type Output = ();
            fn with_simd<S: Simd>(self, simd: S) {
                check(simd);
            }
        }
        Arch::new().dispatch(Widest);
        check(pulp::Scalar::new());
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            check(simd);
        }
    }

    #[test]
    fn nothing_is_zero() {
        let mut out = [1.0; 3];
        affine_back(&mut out, &[], &Packed::new(&[], 1.0, (0, 3)));
        assert_eq!(out.map(f32::to_bits), [0; 3]);
        affine_back(&mut [], &[], &Packed::new(&[1.0], 1.0, (1, 1)));
    }
}
