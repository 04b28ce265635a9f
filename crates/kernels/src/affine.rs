//! Products of many rows with a matrix in the order of the processor's registers, `start + x W'`.
//!
//! A general product puts both operands into its kernel's order first and adds to what it reads back from the output. That is
//! lost time where the matrix has as few rows or columns as an adapter's rank, and where it is the same in every pass. Here it is put
//! into order once ([`Packed`]), the rows are read where they lie, and what the sums start from need not be copied to the output first.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::packed::{Packed, REGISTERS, panels};

/// Depth of a part of a product, at most: that much of a panel of the right operand stays in a core's first cache while all
/// rows pass it.
const DEPTH: usize = 192;
/// Values of the output (1/2 MiB) whose rows are finished before the next are taken: they stay in a core's second cache.
const VALUES_PER_BLOCK: usize = 1 << 17;

/// `out[i] = start[i mod m] + left[i] right'`, on the caller's thread.
///
/// # Shapes
/// `out: [rows, n]`; `start: [m, n]`, or empty for zeros; `left: [rows, k]`, `right: [n, k]`.
///
/// # Panics
/// When extents do not go together.
///
/// # Examples
/// ```
/// use bayeslora_kernels::{Packed, affine};
/// let right = Packed::new(&[1.0, 0.0, 0.0, 1.0], 2.0, (2, 2));
/// let mut out = [0.0; 4];
/// affine(&mut out, &[100.0, 200.0], &[1.0, 2.0, 3.0, 4.0], &right);
/// assert_eq!(out, [102.0, 204.0, 106.0, 208.0]);
/// ```
pub fn affine(out: &mut [f32], start: &[f32], left: &[f32], right: &Packed) {
    let (n, k) = right.shape();
    affine_within(
        (out, Columns { width: n, first: 0 }),
        Start::Rows(start),
        (left, Columns { width: k, first: 0 }),
        right,
    );
}

/// Neighbouring columns of a matrix: as many as the other operand of a product has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    /// Columns of the whole matrix.
    pub(crate) width: usize,
    /// The first of them.
    pub(crate) first: usize,
}

/// What the sums of a product start from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start<'a> {
    /// Rows as wide as those of the output, over and over; zeros where there are none.
    Rows(&'a [f32]),
    /// What is in the output.
    Output,
}

/// [`affine`] with the left operand and the output as columns of wider matrices.
///
/// # Panics
/// When extents do not go together.
pub(crate) fn affine_within(
    (out, outputs): (&mut [f32], Columns),
    from: Start<'_>,
    (left, inputs): (&[f32], Columns),
    right: &Packed,
) {
    let (n, k) = right.shape();
    let rows = out.len() / outputs.width.max(1);
    let start = if let Start::Rows(start) = from { start.len() } else { 0 };
    let fits = out.len() == rows * outputs.width
        && left.len() == rows * inputs.width
        && start.is_multiple_of(outputs.width.max(1))
        && outputs.first + n <= outputs.width
        && inputs.first + k <= inputs.width;
    assert!(fits, "extents of an affine map");
    if !out.is_empty() && n > 0 {
        Arch::new().dispatch(Affine { out, outputs, from, left, inputs, right });
    }
}

struct Affine<'a> {
    out: &'a mut [f32],
    outputs: Columns,
    from: Start<'a>,
    left: &'a [f32],
    inputs: Columns,
    right: &'a Packed,
}

impl WithSimd for Affine<'_> {
    type Output = ();

    /// 24 sums, 3 columns of weights and a value of the left fit 32 registers, 12 sums 16.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 { self.run::<S, 8>(simd) } else { self.run::<S, 4>(simd) }
    }
}

impl Affine<'_> {
    #[inline(always)]
    fn run<S: Simd, const ROWS: usize>(self, simd: S) {
        let Self { out, outputs, from, left, inputs, right } = self;
        let (n, k) = right.shape();
        let block = (VALUES_PER_BLOCK / n).next_multiple_of(ROWS);
        let parts = k.div_ceil(DEPTH).max(1);
        for (out, row) in out.chunks_mut(block * outputs.width).zip((0..).step_by(block)) {
            let left = &left[row * inputs.width..][..out.len() / outputs.width * inputs.width];
            for part in 0..parts {
                let depth = part * k / parts..(part + 1) * k / parts;
                let from = match from {
                    Start::Rows(start) if part == 0 => Some((start, row)),
                    _ => None,
                };
                for columns in panels::<S>(n) {
                    let depth = depth.clone();
                    Part { out: &mut *out, outputs, from, left, inputs, right, columns, depth }.all::<S, ROWS>(simd);
                }
            }
        }
    }
}

/// Columns of one panel and a part of the depth.
struct Part<'a> {
    out: &'a mut [f32],
    outputs: Columns,
    /// What the sums start from, and which of its rows the first row does; none where they go on from what is in `out`.
    from: Option<(&'a [f32], usize)>,
    left: &'a [f32],
    inputs: Columns,
    right: &'a Packed,
    columns: Range<usize>,
    depth: Range<usize>,
}

impl Part<'_> {
    #[inline(always)]
    fn all<S: Simd, const ROWS: usize>(self, simd: S) {
        let width = self.columns.len();
        match (width.div_ceil(S::F32_LANES), width.is_multiple_of(S::F32_LANES)) {
            (1, true) => self.rows::<S, ROWS, 1, true>(simd),
            (1, false) => self.rows::<S, ROWS, 1, false>(simd),
            (2, true) => self.rows::<S, ROWS, 2, true>(simd),
            (2, false) => self.rows::<S, ROWS, 2, false>(simd),
            (_, true) => self.rows::<S, ROWS, REGISTERS, true>(simd),
            (_, false) => self.rows::<S, ROWS, REGISTERS, false>(simd),
        }
    }

    #[inline(always)]
    fn rows<S: Simd, const ROWS: usize, const COLUMNS: usize, const WHOLE: bool>(mut self, simd: S) {
        let rows = self.out.len() / self.outputs.width;
        let tiled = rows / ROWS * ROWS;
        for row in (0..tiled).step_by(ROWS) {
            self.tile::<S, ROWS, COLUMNS, WHOLE>(simd, row);
        }
        for row in tiled..rows {
            self.tile::<S, 1, COLUMNS, WHOLE>(simd, row);
        }
    }

    /// `ROWS` rows from `row` on.
    ///
    /// Plain loops over constant ranges: they unroll before the sums are given registers, loops over iterators do not.
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const COLUMNS: usize, const WHOLE: bool>(&mut self, simd: S, row: usize) {
        let Self { outputs, from, left, inputs, right, .. } = *self;
        let (n, k) = (outputs.width, inputs.width);
        let lanes = S::F32_LANES;
        let first = self.columns.start;
        // Columns of each register.
        let end = if WHOLE { first + COLUMNS * lanes } else { self.columns.end };
        let part = |register: usize| {
            outputs.first + first + register * lanes..outputs.first + (first + (register + 1) * lanes).min(end)
        };
        let mut sums = [[simd.splat_f32s(0.0); COLUMNS]; ROWS];
        let (source, skipped, period) = match from {
            Some((start, first)) => (start, first + row, start.len() / n),
            None => (&self.out[row * n..], 0, ROWS),
        };
        if period > 0 {
            for (offset, sums) in sums.iter_mut().enumerate() {
                let source = &source[(skipped + offset) % period * n..][..n];
                for (register, sum) in sums.iter_mut().enumerate() {
                    let source = &source[part(register)];
                    *sum = if WHOLE { S::as_simd_f32s(source).0[0] } else { simd.partial_load_f32s(source) };
                }
            }
        }
        // All slices have the same length, so that no index of the loop is checked.
        let depth = self.depth.len();
        let mut rows = [&left[..0]; ROWS];
        for offset in 0..ROWS {
            rows[offset] = &left[(row + offset) * k + inputs.first + self.depth.start..][..depth];
        }
        let panel = &right.panel(first)[self.depth.start * COLUMNS * lanes..];
        let (panel, _) = S::as_simd_f32s(&panel[..depth * COLUMNS * lanes]).0.as_chunks::<COLUMNS>();
        let panel = &panel[..depth];
        for at in 0..depth {
            let weights = panel[at];
            for offset in 0..ROWS {
                let x = simd.splat_f32s(rows[offset][at]);
                for register in 0..COLUMNS {
                    sums[offset][register] = simd.mul_add_e_f32s(x, weights[register], sums[offset][register]);
                }
            }
        }
        for (sums, out) in sums.into_iter().zip(self.out[row * n..].chunks_exact_mut(n)) {
            for (register, sum) in sums.into_iter().enumerate() {
                let out = &mut out[part(register)];
                if WHOLE { S::as_mut_simd_f32s(out).0[0] = sum } else { simd.partial_store_f32s(out, sum) }
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

    struct Case {
        n: usize,
        k: usize,
        start: Vec<f32>,
        left: Vec<f32>,
        right: Vec<f32>,
    }

    /// Packing and product in the registers of `simd`.
    fn affine_with<S: Simd>(simd: S, out: &mut [f32], case: &Case) {
        let packed = Packed::with_simd(simd, &case.right, 0.5, (case.n, case.k));
        let (outputs, inputs) = (Columns { width: case.n, first: 0 }, Columns { width: case.k, first: 0 });
        simd.vectorize(Affine {
            out,
            outputs,
            from: Start::Rows(&case.start),
            left: &case.left,
            inputs,
            right: &packed,
        });
    }

    fn check(compute: impl Fn(&mut [f32], &Case)) {
        for (rows, k, n, period) in [
            (1, 1, 1, 1),
            (3, 0, 2, 0),
            (9, 5, 7, 2),
            (16, 64, 48, 0),
            (33, 65, 17, 11),
            (20, 384, 100, 1),
            (11, 700, 150, 5),
            (1400, 2, 96, 7),
        ] {
            let (start, left, right) = (values(period * n, 1), values(rows * k, 3), values(n * k, 5));
            let case = Case { n, k, start, left, right };
            let mut out = vec![f32::NAN; rows * n];
            compute(&mut out, &case);
            for row in 0..rows {
                for column in 0..n {
                    let term =
                        |i: usize| 0.5 * f64::from(case.left[row * k + i]) * f64::from(case.right[column * k + i]);
                    let from = if period == 0 { 0.0 } else { f64::from(case.start[row % period * n + column]) };
                    let (expected, size) =
                        (0..k).map(term).fold((from, from.abs()), |(sum, size), t| (sum + t, size + t.abs()));
                    let error = f64::from(out[row * n + column]) - expected;
                    // Wilkinson's bound for k + 2 roundings in f32.
                    let bound = (k + 2) as f64 * f64::from(f32::EPSILON) * size;
                    assert!(error.abs() <= bound, "{rows} {k} {n}, row {row}, column {column}: {error}");
                }
            }
        }
    }

    #[test]
    fn agrees_with_sums_in_f64() {
        check(|out, case| affine(out, &case.start, &case.left, &Packed::new(&case.right, 0.5, (case.n, case.k))));
        affine(&mut [], &[], &[], &Packed::new(&[1.0], 1.0, (1, 1)));
        affine(&mut [], &[], &[], &Packed::default());
    }

    #[test]
    fn narrower_registers_agree_too() {
        check(|out, case| affine_with(pulp::Scalar::new(), out, case));
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            check(|out, case| affine_with(simd, out, case));
        }
    }

    #[test]
    fn memory_is_used_again_for_any_shape() {
        let mut packed = Packed::new(&values(60, 3), 1.0, (20, 3));
        packed.fill(&[2.0, 3.0], -1.0, (1, 2));
        let mut out = [0.0];
        affine(&mut out, &[], &[10.0, 100.0], &packed);
        assert_eq!(out.map(f32::to_bits), [(-320.0_f32).to_bits()]);
    }

    #[test]
    #[should_panic(expected = "extents of an affine map")]
    fn short_slices_are_refused() {
        affine(&mut [0.0; 4], &[], &[0.0; 3], &Packed::new(&[0.0; 4], 1.0, (2, 2)));
    }
}
