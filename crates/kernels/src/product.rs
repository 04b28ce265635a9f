//! Matrix products on slices: what candle computes, into memory that is there already, or added to what is in it.
//!
//! The one `unsafe` call of this crate hands pointers to the `gemm` crate; every extent is checked against its slice first.
#![expect(unsafe_code, reason = "gemm takes pointers; see the module's documentation")]

use gemm::Parallelism;

/// Threads of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The caller's thread: for products that are themselves parts of parallel work.
    One,
    /// All threads of the pool.
    All,
}

/// What becomes of the values a product is written over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onto {
    /// They are replaced.
    Nothing,
    /// The product is added to them.
    Values,
}

/// `out = [out +] scale * left right'`, all matrices row after row.
///
/// # Shapes
/// `left: [m, k]`, `right: [n, k]`, `out: [m, n]`, for `(m, k, n)`.
///
/// # Panics
/// When a slice does not have its shape's length.
///
/// # Examples
/// ```
/// use bayeslora_kernels::{Onto, Threads, product};
/// let mut out = [1.0, 1.0];
/// product(&mut out, Onto::Values, 2.0, &[3.0, 4.0], &[1.0, 0.0, 0.0, 1.0], (1, 2, 2), Threads::One);
/// assert_eq!(out, [7.0, 9.0]);
/// ```
pub fn product(
    out: &mut [f32],
    onto: Onto,
    scale: f32,
    left: &[f32],
    right: &[f32],
    (m, k, n): (usize, usize, usize),
    threads: Threads,
) {
    strided(out, onto, scale, left, right, (m, k, n), (1, k), threads);
}

/// The same with `right: [k, n]`: `out = [out +] scale * left right`.
///
/// # Panics
/// When a slice does not have its shape's length.
pub fn product_with_rows(
    out: &mut [f32],
    onto: Onto,
    scale: f32,
    left: &[f32],
    right: &[f32],
    (m, k, n): (usize, usize, usize),
    threads: Threads,
) {
    strided(out, onto, scale, left, right, (m, k, n), (n, 1), threads);
}

/// A product whose right operand has these strides along `k` and along `n`.
#[expect(clippy::too_many_arguments, reason = "those of both products above, and the strides that tell them apart")]
fn strided(
    out: &mut [f32],
    onto: Onto,
    scale: f32,
    left: &[f32],
    right: &[f32],
    (m, k, n): (usize, usize, usize),
    strides: (usize, usize),
    threads: Threads,
) {
    assert_eq!((left.len(), right.len(), out.len()), (m * k, n * k, m * n), "extents of a product");
    assert!(strides == (1, k) || strides == (n, 1), "strides of a product");
    if k == 0 && onto == Onto::Nothing {
        out.fill(0.0);
    }
    if out.is_empty() || k == 0 {
        return;
    }
    let threads = match threads {
        Threads::One => Parallelism::None,
        Threads::All => Parallelism::Rayon(rayon::current_num_threads()),
    };
    let (k_stride, n_stride) = (k.cast_signed(), n.cast_signed());
    let (along_k, along_n) = (strides.0.cast_signed(), strides.1.cast_signed());
    // SAFETY: the three slices hold m k, n k and m n values (checked above), which is what strides (1, k), (1, k) or (n, 1), and
    // (1, n) reach; `out` is borrowed mutably, so it overlaps neither of the others.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n_stride,
            onto == Onto::Values,
            left.as_ptr(),
            1,
            k_stride,
            right.as_ptr(),
            along_n,
            along_k,
            1.0,
            scale,
            false,
            false,
            false,
            threads,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_sums_in_f64() {
        let value = |i: usize, salt: usize| f32::from(u16::try_from((i * 7919 + salt) % 1009).unwrap()) / 500.0 - 1.0;
        for (m, k, n) in [(1, 1, 1), (3, 0, 2), (0, 4, 2), (5, 64, 7), (33, 65, 17), (130, 384, 64)] {
            let left: Vec<f32> = (0..m * k).map(|i| value(i, 3)).collect();
            let right: Vec<f32> = (0..n * k).map(|i| value(i, 5)).collect();
            for threads in [Threads::One, Threads::All] {
                for onto in [Onto::Nothing, Onto::Values] {
                    let mut out = vec![1.5; m * n];
                    product(&mut out, onto, 0.5, &left, &right, (m, k, n), threads);
                    let mut same = vec![1.5; m * n];
                    let turned: Vec<f32> = (0..k * n).map(|at| right[at % n * k + at / n]).collect();
                    product_with_rows(&mut same, onto, 0.5, &left, &turned, (m, k, n), threads);
                    for row in 0..m {
                        for column in 0..n {
                            let terms = (0..k).map(|i| f64::from(left[row * k + i]) * f64::from(right[column * k + i]));
                            let (dot, size) = terms.fold((0.0, 0.0), |(dot, size), t| (dot + t, size + t.abs()));
                            let start = if onto == Onto::Values { 1.5 } else { 0.0 };
                            let error = f64::from(out[row * n + column]) - start - 0.5 * dot;
                            // Wilkinson's bound for k + 2 roundings in f32.
                            let bound = (k + 2) as f64 * f64::from(f32::EPSILON) * (start + 0.5 * size);
                            assert!(error.abs() <= bound, "{m} {k} {n} {threads:?} {onto:?}: {error}");
                            let error = error + f64::from(same[row * n + column]) - f64::from(out[row * n + column]);
                            assert!(error.abs() <= bound, "rows: {m} {k} {n} {threads:?} {onto:?}: {error}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "extents of a product")]
    fn short_slices_are_refused() {
        product(&mut [0.0; 4], Onto::Nothing, 1.0, &[0.0; 3], &[0.0; 4], (2, 2, 2), Threads::One);
    }
}
