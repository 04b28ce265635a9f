//! Rotary positions: pairs of a head's components, turned by angles that grow with the row's position.
//!
//! Components `i` and `i + size / 2` of a head are a pair (Su et al., arXiv 2104.09864, in the order that published decoders use):
//! `y_i = x_i cos(p f_i) - x_j sin(p f_i)`, `y_j = x_j cos(p f_i) + x_i sin(p f_i)` with the position `p` and the frequency `f_i`.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Shape, Tensor};
use rayon::prelude::*;

use crate::storage::{is_fast, values};
use crate::vectorised::vectorised;

/// Cosines and sines of the angles at positions from 0 on. Copies share their memory.
#[derive(Debug, Clone)]
pub struct Rotary {
    /// Pairs of a head.
    half: usize,
    /// `[positions, half]`.
    cos: Arc<Vec<f32>>,
    /// `[positions, half]`.
    sin: Arc<Vec<f32>>,
}

/// Which way the pairs turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sense {
    /// By the angle: forward.
    Forth,
    /// By its negative: the inverse, and the gradient.
    Back,
}

impl Rotary {
    /// The table of `positions` positions for `frequencies [size / 2]`, in radians a position; angles are taken in f64.
    ///
    /// # Errors
    /// When there is no frequency, or one that is not finite.
    #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
    pub fn new(frequencies: &[f64], positions: usize) -> candle_core::Result<Self> {
        if frequencies.is_empty() {
            candle_core::bail!("rotary positions: no frequencies; expected one for every pair of a head's components");
        }
        if let Some(frequency) = frequencies.iter().find(|frequency| !frequency.is_finite()) {
            candle_core::bail!("rotary positions: a frequency is {frequency}; expected finite ones");
        }
        let angles = || (0..positions).flat_map(|position| frequencies.iter().map(move |f| position as f64 * f));
        let (cos, sin) = (angles().map(|a| a.cos() as f32).collect(), angles().map(|a| a.sin() as f32).collect());
        Ok(Self { half: frequencies.len(), cos: Arc::new(cos), sin: Arc::new(sin) })
    }

    /// Components of a head.
    pub fn size(&self) -> usize {
        2 * self.half
    }

    /// Number of positions.
    pub fn positions(&self) -> usize {
        self.cos.len() / self.half
    }

    /// Every head of every row turned to the row's position.
    ///
    /// # Shapes
    /// `x: [samples, rows, heads size]`, one position a row, to the shape of `x`.
    ///
    /// # Errors
    /// When a row has no position or one beyond the table, or when heads do not fit a row.
    pub fn apply(&self, x: &Tensor, positions: &[u32]) -> candle_core::Result<Tensor> {
        let (_, rows, width) = x.dims3()?;
        if rows != positions.len() || !width.is_multiple_of(self.size()) {
            let (given, size) = (positions.len(), self.size());
            candle_core::bail!("rotary positions: {given} positions of heads of {size} for {rows} rows of {width}");
        }
        self.check(positions)?;
        if is_fast(x) {
            x.contiguous()?.apply_op1(AtPositions { rotary: self.clone(), positions: positions.to_vec() })
        } else {
            self.plain(x, positions)
        }
    }

    /// Refuses positions beyond the table.
    ///
    /// # Errors
    /// When there is one.
    pub fn check(&self, positions: &[u32]) -> candle_core::Result<()> {
        match positions.iter().find(|&&position| position as usize >= self.positions()) {
            None => Ok(()),
            Some(position) => {
                let known = self.positions();
                candle_core::bail!("rotary positions: position {position} is beyond the {known} of the table")
            }
        }
    }

    /// The same as [`apply`](Self::apply), composed of tensor operations; half-precision values are turned in f32.
    fn plain(&self, x: &Tensor, positions: &[u32]) -> candle_core::Result<Tensor> {
        let wide = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let (samples, rows, width) = x.dims3()?;
        let table = |table: &[f32]| {
            let row = |&position: &u32| table[position as usize * self.half..][..self.half].iter().copied();
            let values: Vec<f32> = positions.iter().flat_map(row).collect();
            Tensor::from_vec(values, (rows, 1, self.half), x.device())?.to_dtype(wide)
        };
        let (cos, sin) = (table(&self.cos)?, table(&self.sin)?);
        let heads = x.to_dtype(wide)?.reshape((samples, rows, width / self.size(), self.size()))?;
        let (a, b) = (heads.narrow(3, 0, self.half)?, heads.narrow(3, self.half, self.half)?);
        let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
        Tensor::cat(&[first, second], 3)?.reshape(x.shape())?.to_dtype(x.dtype())
    }

    /// [`apply`](Self::apply) in place, forward only, on the caller's thread.
    ///
    /// # Shapes
    /// `rows: [positions, heads size]`.
    ///
    /// # Panics
    /// When heads do not fit the rows, or a position is beyond the table.
    pub fn turn(&self, rows: &mut [f32], positions: &[u32]) {
        self.turn_rows(rows, positions, Sense::Forth);
    }

    fn turn_rows(&self, rows: &mut [f32], positions: &[u32], sense: Sense) {
        let width = rows.len() / positions.len().max(1);
        let fits = rows.len() == positions.len() * width && width.is_multiple_of(self.size());
        assert!(fits, "extents of rows to turn to their positions");
        if width == 0 {
            return;
        }
        let half = self.half;
        vectorised(
            #[inline(always)]
            || {
                for (row, &position) in rows.chunks_exact_mut(width).zip(positions) {
                    let at = position as usize * half;
                    let (cos, sin) = (&self.cos[at..at + half], &self.sin[at..at + half]);
                    for head in row.chunks_exact_mut(2 * half) {
                        let (a, b) = head.split_at_mut(half);
                        for (((a, b), cos), sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                            let sin = if sense == Sense::Forth { *sin } else { -*sin };
                            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                        }
                    }
                }
            },
        );
    }

    /// All samples, `[samples, rows, width]`, on all threads.
    fn turn_all(&self, all: &mut [f32], width: usize, positions: &[u32], sense: Sense) {
        let per_task = (VALUES_PER_TASK / width.max(1)).max(1);
        let parts = all
            .par_chunks_mut((positions.len() * width).max(1))
            .flat_map(|sample| sample.par_chunks_mut((per_task * width).max(1)).zip(positions.par_chunks(per_task)));
        parts.for_each(|(rows, positions)| self.turn_rows(rows, positions, sense));
    }
}

/// Values that one task of the thread pool handles, about.
const VALUES_PER_TASK: usize = 1 << 13;

struct AtPositions {
    rotary: Rotary,
    positions: Vec<u32>,
}

impl CustomOp1 for AtPositions {
    fn name(&self) -> &'static str {
        "rotary-positions"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut out = values(x, layout)?.to_vec();
        self.rotary.turn_all(&mut out, layout.shape().dims3()?.2, &self.positions, Sense::Forth);
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    /// The gradient turned back.
    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let mut out = gradient.flatten_all()?.to_vec1()?;
        self.rotary.turn_all(&mut out, x.dim(2)?, &self.positions, Sense::Back);
        Ok(Some(Tensor::from_vec(out, x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient, assert_twins, flat, normal};

    /// `theta^(-2 i / size)`, as models without scaling have them.
    fn table(theta: f64, size: u16, positions: usize) -> Rotary {
        let frequencies: Vec<f64> = (0..size / 2).map(|i| theta.powf(-2.0 * f64::from(i) / f64::from(size))).collect();
        Rotary::new(&frequencies, positions).unwrap()
    }

    #[test]
    fn agrees_with_its_plain_twin_and_finite_differences() {
        for (samples, heads, size) in [(1, 1, 2), (3, 3, 6), (2, 9, 64), (1, 2, 34)] {
            let rotary = table(1e4, size, 300);
            // In no order, some twice: branches begin again where their prompt ends.
            let positions = [0, 1, 2, 7, 299, 3, 3, 0, 150];
            let x = normal(1, (samples, positions.len(), heads * usize::from(size)));
            let fast = || rotary.apply(&x, &positions).unwrap();
            assert_twins(std::slice::from_ref(&x), &fast(), &rotary.plain(&x, &positions).unwrap(), 1e-6);
            assert_gradient(&x, fast, 1e-3);
            let mut rows = flat(&x);
            for sample in rows.chunks_exact_mut(positions.len() * heads * usize::from(size)) {
                rotary.turn(sample, &positions);
            }
            assert_eq!(rows, flat(&fast()));
        }
    }

    /// Multiplication by a complex number of modulus 1, in f64, far from the origin too.
    #[test]
    fn pairs_turn_as_complex_numbers() {
        let rotary = table(5e5, 8, 100_001);
        let positions = [0, 1, 17, 99_999];
        let x = normal(2, (1, 4, 8));
        let (before, after) = (flat(&x), flat(&rotary.apply(&x, &positions).unwrap()));
        for (row, &position) in positions.iter().enumerate() {
            for i in 0..4 {
                let angle = f64::from(position) * 5e5_f64.powf(-2.0 * f64::from(u8::try_from(i).unwrap()) / 8.0);
                let (re, im) = (f64::from(before[row * 8 + i]), f64::from(before[row * 8 + i + 4]));
                let turned = (re * angle.cos() - im * angle.sin(), re * angle.sin() + im * angle.cos());
                let found = (f64::from(after[row * 8 + i]), f64::from(after[row * 8 + i + 4]));
                assert!((turned.0 - found.0).abs() < 1e-6 && (turned.1 - found.1).abs() < 1e-6, "{position} {i}");
            }
        }
    }

    /// What rotary positions are for: products of queries and keys depend on the distance only.
    #[test]
    fn products_depend_on_distance_only() {
        let rotary = table(1e4, 16, 600);
        let (q, k) = (flat(&normal(3, 16)), flat(&normal(4, 16)));
        let score = |p: u32, r: u32| {
            let (mut q, mut k) = (q.clone(), k.clone());
            rotary.turn(&mut q, &[p]);
            rotary.turn(&mut k, &[r]);
            q.iter().zip(&k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>()
        };
        assert!((score(7, 3) - score(504, 500)).abs() < 1e-5);
        assert!((score(7, 3) - score(7, 4)).abs() > 1e-3);
    }

    #[test]
    fn half_precision_is_turned_in_f32() {
        let rotary = table(1e4, 16, 64);
        let x = normal(5, (2, 3, 32)).to_dtype(DType::BF16).unwrap();
        let half = rotary.apply(&x, &[0, 9, 63]).unwrap();
        assert_eq!(half.dtype(), DType::BF16);
        let exact = rotary.apply(&x.to_dtype(DType::F32).unwrap(), &[0, 9, 63]).unwrap();
        let rounded = exact.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap();
        assert_eq!(flat(&half.to_dtype(DType::F32).unwrap()), flat(&rounded), "one rounding, of the result");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let rotary = table(1e4, 4, 8);
        let x = normal(1, (1, 2, 8));
        let refusal = |positions: &[u32]| rotary.apply(&x, positions).unwrap_err().to_string();
        assert!(refusal(&[0, 8]).contains("position 8 is beyond the 8 of the table"), "{}", refusal(&[0, 8]));
        assert!(refusal(&[0]).contains("1 positions of heads of 4 for 2 rows of 8"), "{}", refusal(&[0]));
        assert!(rotary.apply(&normal(1, (1, 2, 6)), &[0, 1]).is_err());
        assert!(Rotary::new(&[], 3).is_err());
        assert!(Rotary::new(&[1.0, f64::NAN], 3).unwrap_err().to_string().contains("a frequency is NaN"));
        assert_eq!((rotary.size(), rotary.positions()), (4, 8));
        let empty = Tensor::zeros((2, 0, 8), DType::F32, x.device()).unwrap();
        assert_eq!(rotary.apply(&empty, &[]).unwrap().dims(), [2, 0, 8]);
    }
}
