//! Transposition of parts of matrices, sixteen rows and columns at a time in 512-bit registers where the processor has them.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::__m512;

/// Rows and columns that are turned round together.
const SIDE: usize = 16;

/// `to[j, i] = from[i, j]` for `rows` rows and `columns` columns of matrices whose rows are so many values apart.
///
/// # Panics
/// When the slices are too short.
#[inline(always)]
pub(crate) fn transpose(
    (from, from_stride): (&[f32], usize),
    (to, to_stride): (&mut [f32], usize),
    (rows, columns): (usize, usize),
) {
    #[cfg(target_arch = "x86_64")]
    if let (true, pulp::x86::Arch::V4(simd)) = (rows >= SIDE && columns >= SIDE, pulp::x86::Arch::new()) {
        simd.vectorize(
            #[inline(always)]
            || {
                let (whole_rows, whole_columns) = (rows / SIDE * SIDE, columns / SIDE * SIDE);
                for i in (0..whole_rows).step_by(SIDE) {
                    for j in (0..whole_columns).step_by(SIDE) {
                        block(
                            simd,
                            (&from[i * from_stride + j..], from_stride),
                            (&mut to[j * to_stride + i..], to_stride),
                        );
                    }
                }
                let beyond = (&from[whole_columns..], from_stride);
                plain(beyond, (&mut to[whole_columns * to_stride..], to_stride), (whole_rows, columns - whole_columns));
                let below = (&from[(whole_rows * from_stride).min(from.len())..], from_stride);
                plain(below, (&mut to[whole_rows..], to_stride), (rows - whole_rows, columns));
            },
        );
        return;
    }
    plain((from, from_stride), (to, to_stride), (rows, columns));
}

/// The same, value by value.
#[inline(always)]
fn plain((from, from_stride): (&[f32], usize), (to, to_stride): (&mut [f32], usize), (rows, columns): (usize, usize)) {
    // A few columns at a time: where they go stays in the first cache while all rows pass.
    for first in (0..columns).step_by(2 * SIDE) {
        let part = (2 * SIDE).min(columns - first);
        for i in 0..rows {
            let row = &from[i * from_stride + first..][..part];
            for (j, value) in (first..).zip(row) {
                to[j * to_stride + i] = *value;
            }
        }
    }
}

/// Sixteen rows and columns: pairs, fours, and then the four quarters of the registers change places.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn block(simd: pulp::x86::V4, (from, from_stride): (&[f32], usize), (to, to_stride): (&mut [f32], usize)) {
    let simd = simd.avx512f;
    let zero = simd._mm512_setzero_ps();
    let mut rows = [zero; SIDE];
    for i in 0..SIDE {
        let row: &[f32; SIDE] = from[i * from_stride..][..SIDE].first_chunk().unwrap_or(&[0.0; SIDE]);
        rows[i] = pulp::cast(*row);
    }
    let mut pairs = [zero; SIDE];
    for i in 0..SIDE / 2 {
        pairs[2 * i] = simd._mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i + 1] = simd._mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    }
    // fours[4 q + c], quarter l: column 4 l + c of rows 4 q to 4 q + 3.
    let mut fours = [zero; SIDE];
    for q in 0..4 {
        for half in 0..2 {
            let (a, b) = (pairs[4 * q + half], pairs[4 * q + 2 + half]);
            fours[4 * q + 2 * half] = simd._mm512_shuffle_ps::<0b01_00_01_00>(a, b);
            fours[4 * q + 2 * half + 1] = simd._mm512_shuffle_ps::<0b11_10_11_10>(a, b);
        }
    }
    let mut store = |column: usize, value: __m512| {
        let values: [f32; SIDE] = pulp::cast(value);
        to[column * to_stride..][..SIDE].copy_from_slice(&values);
    };
    for c in 0..4 {
        let [a, b, d, e] = [fours[c], fours[4 + c], fours[8 + c], fours[12 + c]];
        // Quarters 0 and 2, then 1 and 3, of two registers each.
        let (even_low, even_high) =
            (simd._mm512_shuffle_f32x4::<0b10_00_10_00>(a, b), simd._mm512_shuffle_f32x4::<0b10_00_10_00>(d, e));
        let (odd_low, odd_high) =
            (simd._mm512_shuffle_f32x4::<0b11_01_11_01>(a, b), simd._mm512_shuffle_f32x4::<0b11_01_11_01>(d, e));
        store(c, simd._mm512_shuffle_f32x4::<0b10_00_10_00>(even_low, even_high));
        store(8 + c, simd._mm512_shuffle_f32x4::<0b11_01_11_01>(even_low, even_high));
        store(4 + c, simd._mm512_shuffle_f32x4::<0b10_00_10_00>(odd_low, odd_high));
        store(12 + c, simd._mm512_shuffle_f32x4::<0b11_01_11_01>(odd_low, odd_high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every value goes to its place and no other place is touched, by both ways.
    #[test]
    fn values_change_places() {
        type Turn = fn((&[f32], usize), (&mut [f32], usize), (usize, usize));
        for turn in [transpose as Turn, plain as Turn] {
            for (rows, columns) in [(0, 3), (1, 1), (16, 16), (48, 96), (47, 33), (16, 15), (15, 40), (17, 16)] {
                let (from_stride, to_stride) = (columns + 3, rows + 2);
                let from: Vec<f32> = (0..rows * from_stride + 3).map(|i| i as f32).collect();
                let mut to = vec![-1.0; columns * to_stride + 2];
                turn((&from, from_stride), (&mut to, to_stride), (rows, columns));
                for (at, value) in to.iter().enumerate() {
                    let (j, i) = (at / to_stride, at % to_stride);
                    let expected = if i < rows && j < columns { (i * from_stride + j) as f32 } else { -1.0 };
                    assert_eq!(value.to_bits(), expected.to_bits(), "{rows} {columns}: {i} {j}");
                }
            }
        }
    }
}
