//! The products of attention, in vector registers by name: what the compiler makes of plain loops changes with their surroundings.
//!
//! Sums run in one order whatever the registers' width: down the keys or the components, one rounding each, as in `f32::mul_add`.

use std::ops::Range;

use pulp::Simd;

use super::plan::{Block, LANES, QUERIES};

/// Where a head lies in its rows: width of a row, first component, components.
pub(super) type Head = (usize, usize, usize);

/// Registers side by side: with `QUERIES` rows of sums they fill the processor's pipelines, and fit its registers.
const REGISTERS: usize = 2;

/// Rows of one head by blocks of `LANES` of them, within a block by component: products with them are then sums down the
/// lanes' own columns, not across a register. Each range begins the block beside it.
#[inline(always)]
pub(super) fn columns(
    rows: &[f32],
    (width, at, size): Head,
    ranges: &[(Range<usize>, usize)],
    out: &mut [[f32; LANES]],
) {
    for (range, first) in ranges {
        for (j, row) in rows[range.start * width..range.end * width].chunks_exact(width).enumerate() {
            let row = &row[at..at + size];
            let block = &mut out[(first + j / LANES) * size..][..size];
            for d in 0..size {
                block[d][j % LANES] = row[d];
            }
        }
    }
}

/// `out[i, j] = scale * rows[starts[i]..] . columns[j]`, by blocks of `j`.
#[inline(always)]
pub(super) fn dots<S: Simd>(
    simd: S,
    rows: &[f32],
    starts: [usize; QUERIES],
    (columns, blocks): (&[[f32; LANES]], &[Block]),
    (size, scale): (usize, f32),
    out: &mut [[f32; LANES]],
) {
    let step = REGISTERS * S::F32_LANES;
    let mut own = [&rows[..0]; QUERIES];
    for i in 0..QUERIES {
        own[i] = &rows[starts[i]..][..size];
    }
    for (at, block) in blocks.iter().enumerate() {
        let columns = &columns[block.column * size..][..size];
        for first in (0..LANES).step_by(step) {
            let mut sums = [[simd.splat_f32s(0.0); REGISTERS]; QUERIES];
            for d in 0..size {
                let column = S::as_simd_f32s(&columns[d][first..first + step]).0;
                for i in 0..QUERIES {
                    let x = simd.splat_f32s(own[i][d]);
                    for register in 0..REGISTERS {
                        sums[i][register] = simd.mul_add_f32s(x, column[register], sums[i][register]);
                    }
                }
            }
            let scale = simd.splat_f32s(scale);
            for i in 0..QUERIES {
                let out = S::as_mut_simd_f32s(&mut out[i * blocks.len() + at][first..first + step]).0;
                for register in 0..REGISTERS {
                    out[register] = simd.mul_f32s(scale, sums[i][register]);
                }
            }
        }
    }
}

/// `out[starts[i]..] = sum_j weights[i, j] rows[j]` over the head's components and the positions in `span`.
#[inline(always)]
pub(super) fn blend<S: Simd>(
    simd: S,
    weights: &[[f32; LANES]],
    rows: &[f32],
    (width, at, size): Head,
    (blocks, span): (&[Block], &Range<usize>),
    starts: [usize; QUERIES],
    out: &mut [f32],
) {
    let step = REGISTERS * S::F32_LANES;
    let whole = size / LANES * LANES;
    for part in (0..whole).step_by(step) {
        let mut sums = [[simd.splat_f32s(0.0); REGISTERS]; QUERIES];
        for (b, block) in blocks.iter().enumerate() {
            let lanes = block.lanes(span);
            let own = weights_of(weights, blocks.len(), b, &lanes);
            for (row, j) in (block.row + lanes.start..).zip(0..lanes.len()) {
                let start = row * width + at + part;
                let row = S::as_simd_f32s(&rows[start..start + step]).0;
                for i in 0..QUERIES {
                    let p = simd.splat_f32s(own[i][j]);
                    for register in 0..REGISTERS {
                        sums[i][register] = simd.mul_add_f32s(p, row[register], sums[i][register]);
                    }
                }
            }
        }
        for i in 0..QUERIES {
            let out = S::as_mut_simd_f32s(&mut out[starts[i] + part..][..step]).0;
            out[..REGISTERS].copy_from_slice(&sums[i]);
        }
    }
    // What is left of a head is rounded twice a term, as it always was.
    for part in (whole..size).step_by(S::F32_LANES) {
        let present = S::F32_LANES.min(size - part);
        let mut sums = [simd.splat_f32s(0.0); QUERIES];
        for (b, block) in blocks.iter().enumerate() {
            let lanes = block.lanes(span);
            let own = weights_of(weights, blocks.len(), b, &lanes);
            for (row, j) in (block.row + lanes.start..).zip(0..lanes.len()) {
                let start = row * width + at + part;
                let row = simd.partial_load_f32s(&rows[start..start + present]);
                for i in 0..QUERIES {
                    sums[i] = simd.add_f32s(sums[i], simd.mul_f32s(simd.splat_f32s(own[i][j]), row));
                }
            }
        }
        for i in 0..QUERIES {
            simd.partial_store_f32s(&mut out[starts[i] + part..][..present], sums[i]);
        }
    }
}

/// `out[j] += sum_i weights[i, j] rows[starts[i]..]` over the head's components, the positions in `span` and the first `own` of the
/// queries, query after query, two roundings a term.
#[inline(always)]
pub(super) fn spread<S: Simd>(
    simd: S,
    weights: &[[f32; LANES]],
    rows: &[f32],
    (starts, own): ([usize; QUERIES], usize),
    (width, at, size): Head,
    (blocks, span): (&[Block], &Range<usize>),
    out: &mut [f32],
) {
    for part in (0..size).step_by(S::F32_LANES) {
        let present = S::F32_LANES.min(size - part);
        let mut terms = [simd.splat_f32s(0.0); QUERIES];
        for i in 0..own {
            terms[i] = simd.partial_load_f32s(&rows[starts[i] + part..][..present]);
        }
        for (b, block) in blocks.iter().enumerate() {
            let lanes = block.lanes(span);
            let weights = weights_of(weights, blocks.len(), b, &lanes);
            for (row, j) in (block.row + lanes.start..).zip(0..lanes.len()) {
                let start = row * width + at + part;
                let out = &mut out[start..start + present];
                if present == S::F32_LANES && own == QUERIES {
                    let out = &mut S::as_mut_simd_f32s(out).0[0];
                    let mut sum = *out;
                    for i in 0..QUERIES {
                        sum = simd.add_f32s(sum, simd.mul_f32s(simd.splat_f32s(weights[i][j]), terms[i]));
                    }
                    *out = sum;
                } else {
                    let mut sum = simd.partial_load_f32s(out);
                    for i in 0..own {
                        sum = simd.add_f32s(sum, simd.mul_f32s(simd.splat_f32s(weights[i][j]), terms[i]));
                    }
                    simd.partial_store_f32s(out, sum);
                }
            }
        }
    }
}

/// Weights of the queries on some lanes of block `b` of `blocks`.
#[inline(always)]
fn weights_of<'a>(weights: &'a [[f32; LANES]], blocks: usize, b: usize, lanes: &Range<usize>) -> [&'a [f32]; QUERIES] {
    let mut own = [&weights[b][..0]; QUERIES];
    for i in 0..QUERIES {
        own[i] = &weights[i * blocks + b][lanes.start..lanes.end];
    }
    own
}
