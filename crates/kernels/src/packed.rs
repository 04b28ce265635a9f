//! Matrices in the order in which vector registers read them: the right operands of [`affine`](crate::affine()).

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::transpose::transpose;

/// Registers side by side in a tile of the output.
pub(crate) const REGISTERS: usize = 3;
/// Rows of a panel that are packed at a time.
const DEPTH_PACKED: usize = 32;

/// `scale * right`, `right [n, k]`, in the order in which the kernel of this processor reads it.
///
/// Panels of up to `REGISTERS` vector registers of columns, each `[k, columns]`; the last is filled up with zeros.
#[derive(Debug, Clone, Default)]
pub struct Packed {
    values: Vec<f32>,
    /// First value in use: the one at the boundary of a cache line, which vector loads must not cross.
    start: usize,
    n: usize,
    k: usize,
}

impl Packed {
    /// Packs `scale * right`, `right [n, k]` row after row.
    ///
    /// # Panics
    /// When `right` does not have `n k` values.
    pub fn new(right: &[f32], scale: f32, (n, k): (usize, usize)) -> Self {
        let mut packed = Self::default();
        packed.fill(right, scale, (n, k));
        packed
    }

    /// [`new`](Self::new) into memory that is there already.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn fill(&mut self, right: &[f32], scale: f32, (n, k): (usize, usize)) {
        assert_eq!(right.len(), n * k, "extent of a matrix to pack");
        (self.n, self.k) = (n, k);
        Arch::new().dispatch(Pack { packed: self, right, scale });
    }

    /// Packs the transpose of `columns [k, n]`, row after row, into memory that is there already.
    ///
    /// # Panics
    /// When `columns` does not have `n k` values.
    pub(crate) fn fill_transposed(&mut self, columns: &[f32], (n, k): (usize, usize)) {
        assert_eq!(columns.len(), n * k, "extent of a matrix to pack");
        (self.n, self.k) = (n, k);
        Arch::new().dispatch(PackTransposed { packed: self, columns });
    }

    /// [`new`](Self::new) in the registers of `simd`.
    #[cfg(test)]
    pub(crate) fn with_simd<S: Simd>(simd: S, right: &[f32], scale: f32, (n, k): (usize, usize)) -> Self {
        let mut packed = Self { n, k, ..Self::default() };
        simd.vectorize(Pack { packed: &mut packed, right, scale });
        packed
    }

    /// Packs the transpose of some rows of `from`, so that its right operand is those rows themselves, into memory that is there already.
    ///
    /// # Panics
    /// When there are no such rows.
    pub(crate) fn fill_turned(&mut self, from: &Self, rows: Range<usize>) {
        assert!(rows.end <= from.n, "extent of rows to turn round");
        (self.n, self.k) = (from.k, rows.len());
        Arch::new().dispatch(Turn { packed: self, from, rows });
    }

    /// Rows of the matrix, row after row.
    ///
    /// # Panics
    /// When there are no such rows, or `out` does not have their extent.
    pub(crate) fn unpack(&self, rows: Range<usize>, out: &mut [f32]) {
        assert!(rows.end <= self.n && out.len() == rows.len() * self.k, "extent of rows to unpack");
        Arch::new().dispatch(Unpack { packed: self, rows, out });
    }

    /// `(n, k)`.
    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.n, self.k)
    }

    /// Bytes of the values.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.values.as_slice())
    }

    /// The values from the panel on whose first column is `first`.
    #[inline(always)]
    pub(crate) fn panel(&self, first: usize) -> &[f32] {
        &self.values[self.start + first * self.k..]
    }

    /// Makes room for values that are all written anew.
    #[inline(always)]
    fn fit<S: Simd>(&mut self) {
        self.values.resize(self.n.next_multiple_of(S::F32_LANES) * self.k + LINE, 0.0);
        self.start = self.values.as_ptr().align_offset(size_of::<[f32; LINE]>()).min(LINE);
    }
}

/// Values of a cache line.
const LINE: usize = 16;

struct Pack<'a> {
    packed: &'a mut Packed,
    right: &'a [f32],
    scale: f32,
}

impl WithSimd for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { packed, right, scale } = self;
        let (n, k) = (packed.n, packed.k);
        packed.fit::<S>();
        for columns in panels::<S>(n) {
            let width = columns.len().next_multiple_of(S::F32_LANES);
            let panel = &mut packed.values[packed.start + columns.start * k..][..width * k];
            let rows = &right[columns.start * k..columns.end * k];
            transpose((rows, k), (&mut *panel, width), (columns.len(), k));
            for out in panel.chunks_exact_mut(width) {
                let (own, beyond) = out.split_at_mut(columns.len());
                beyond.fill(0.0);
                for value in own {
                    *value *= scale;
                }
            }
        }
    }
}

struct PackTransposed<'a> {
    packed: &'a mut Packed,
    columns: &'a [f32],
}

impl WithSimd for PackTransposed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { packed, columns: all } = self;
        let (n, k) = (packed.n, packed.k);
        packed.fit::<S>();
        for columns in panels::<S>(n) {
            let width = columns.len().next_multiple_of(S::F32_LANES);
            let panel = &mut packed.values[packed.start + columns.start * k..][..width * k];
            for (out, row) in panel.chunks_exact_mut(width).zip(all.chunks_exact(n)) {
                let (own, beyond) = out.split_at_mut(columns.len());
                own.copy_from_slice(&row[columns.clone()]);
                beyond.fill(0.0);
            }
        }
    }
}

struct Turn<'a> {
    packed: &'a mut Packed,
    from: &'a Packed,
    rows: Range<usize>,
}

impl WithSimd for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { packed, from, rows } = self;
        let (n, k) = (packed.n, packed.k);
        packed.fit::<S>();
        for columns in panels::<S>(n) {
            let width = columns.len().next_multiple_of(S::F32_LANES);
            let panel = &mut packed.values[packed.start + columns.start * k..][..width * k];
            for theirs in panels::<S>(from.n) {
                let own = theirs.start.max(rows.start)..theirs.end.min(rows.end);
                if own.is_empty() {
                    continue;
                }
                let stride = theirs.len().next_multiple_of(S::F32_LANES);
                let source = &from.panel(theirs.start)[columns.start * stride + own.start - theirs.start..];
                let to = &mut panel[(own.start - rows.start) * width..];
                transpose((source, stride), (to, width), (columns.len(), own.len()));
            }
            if columns.len() < width {
                panel.chunks_exact_mut(width).for_each(|out| out[columns.len()..].fill(0.0));
            }
        }
    }
}

struct Unpack<'a> {
    packed: &'a Packed,
    rows: Range<usize>,
    out: &'a mut [f32],
}

impl WithSimd for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { packed, rows, out } = self;
        let Packed { n, k, .. } = *packed;
        for columns in panels::<S>(n) {
            let width = columns.len().next_multiple_of(S::F32_LANES);
            let panel = &packed.panel(columns.start)[..width * k];
            let own = columns.start.max(rows.start)..columns.end.min(rows.end);
            for (first, panel) in (0..).step_by(DEPTH_PACKED).zip(panel.chunks(DEPTH_PACKED * width)) {
                for row in own.clone() {
                    let out = &mut out[(row - rows.start) * k + first..][..panel.len() / width];
                    for (out, values) in out.iter_mut().zip(panel.chunks_exact(width)) {
                        *out = values[row - columns.start];
                    }
                }
            }
        }
    }
}

/// Columns of each panel: of as nearly the same number of vector registers as can be.
#[inline(always)]
pub(crate) fn panels<S: Simd>(n: usize) -> impl Iterator<Item = Range<usize>> {
    let registers = n.div_ceil(S::F32_LANES);
    let count = registers.div_ceil(REGISTERS);
    let edge = move |panel: usize| (panel * registers / count.max(1) * S::F32_LANES).min(n);
    (0..count).map(move |panel| edge(panel)..edge(panel + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were() {
        for (n, k) in [(1, 1), (48, 64), (17, 33), (100, 70), (150, 0)] {
            let value = |i: usize| f32::from(u16::try_from(i % 60_000).unwrap());
            let matrix: Vec<f32> = (0..n * k).map(value).collect();
            let transposed: Vec<f32> = (0..n * k).map(|i| value(i % n * k + i / n)).collect();
            let mut packed = Packed::new(&matrix, 1.0, (n, k));
            for again in [false, true] {
                for rows in [0..n, n / 3..n - n / 4, n..n] {
                    let mut out = vec![f32::NAN; rows.len() * k];
                    packed.unpack(rows.clone(), &mut out);
                    assert_eq!(out, matrix[rows.start * k..rows.end * k], "{n} {k} {again}");
                }
                packed.fill_transposed(&transposed, (n, k));
            }
            // Some rows turned round and back.
            let (mut turned, mut back) = (Packed::default(), Packed::default());
            for rows in [0..n, n / 3..n - n / 4] {
                turned.fill_turned(&packed, rows.clone());
                assert_eq!(turned.shape(), (k, rows.len()));
                back.fill_turned(&turned, 0..k);
                let mut out = vec![f32::NAN; rows.len() * k];
                back.unpack(0..rows.len(), &mut out);
                assert_eq!(out, matrix[rows.start * k..rows.end * k], "{n} {k}");
            }
        }
    }
}
