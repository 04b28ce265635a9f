//! Exponential and error function in f32, written so that the compiler can use vector registers.

/// `exp(x)` to 2 units in the last place; 0 below -87.3, where the true value leaves the normal range.
///
/// Range reduction by `n = round(x / ln 2)` with `ln 2` in two parts (Cody and Waite), then the Taylor polynomial of
/// degree 7 on `|r| <= ln 2 / 2`, whose remainder is below `5.2e-9` of the value.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.3, 88.7);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p * r + coefficient;
    }
    // shifted = 1.5 * 2^23 + n, so its bits are those of 1.5 * 2^23 plus n; 2^n has n + 127 in its exponent field.
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    let value = p * f32::from_bits(exponent);
    if x < -87.3 { 0.0 } else { value }
}

/// `erf(x)` to 5e-7, eight units in the last place at 1: the rational minimax approximation `x P(x^2) / Q(x^2)` on `[-4, 4]`, beyond which `erf` is 1 in
/// f32.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    const P: [f32; 7] =
        [-2.726_142_3e-10, 2.770_681_4e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906e-4, -2.954_6e-3, -1.609_603_3e-2];
    const Q: [f32; 5] = [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2];
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let mut numerator = P[0];
    for &coefficient in &P[1..] {
        numerator = numerator * square + coefficient;
    }
    let mut denominator = Q[0];
    for &coefficient in &Q[1..] {
        denominator = denominator * square + coefficient;
    }
    x * numerator / denominator
}

/// `tanh(x)` to 5e-7 of its value: the rational minimax approximation `x P(x^2) / Q(x^2)` on `[-9, 9]`, beyond which `tanh` is 1 in f32.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    const P: [f32; 7] =
        [-2.760_768_5e-16, 2.000_188e-13, -8.604_672e-11, 5.122_297e-8, 1.485_722_4e-5, 6.372_619_3e-4, 4.893_524_6e-3];
    const Q: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];
    let x = x.clamp(-9.0, 9.0);
    let square = x * x;
    let mut numerator = P[0];
    for &coefficient in &P[1..] {
        numerator = numerator * square + coefficient;
    }
    let mut denominator = Q[0];
    for &coefficient in &Q[1..] {
        denominator = denominator * square + coefficient;
    }
    x * numerator / denominator
}

/// Inner product over sixteen running sums, so that it vectorises in one fixed order.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0_f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    fold(sums) + tail
}

/// `sum f(x_i)` over sixteen running sums.
#[inline(always)]
pub(crate) fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0_f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let tail: f32 = chunks.remainder().iter().map(|&x| f(x)).sum();
    for x in chunks {
        for lane in 0..LANES {
            sums[lane] += f(x[lane]);
        }
    }
    fold(sums) + tail
}

/// Largest value; negative infinity of none. Over sixteen running maxima.
#[inline(always)]
pub(crate) fn largest(x: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let tail = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for x in chunks {
        for lane in 0..LANES {
            lanes[lane] = if x[lane] > lanes[lane] { x[lane] } else { lanes[lane] };
        }
    }
    lanes.into_iter().fold(tail, f32::max)
}

#[inline(always)]
fn fold(sums: [f32; 16]) -> f32 {
    let mut sums = sums;
    for width in [8, 4, 2, 1] {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0]
}

/// `y += a x`.
#[inline(always)]
pub(crate) fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::function::erf::erf as erf_f64;

    #[test]
    fn exp_and_erf_against_f64() {
        for i in -100_000..=100_000 {
            let x = f64::from(i) * 8.8e-4;
            #[expect(clippy::cast_possible_truncation, reason = "the argument under test is f32")]
            let x32 = x as f32;
            let truth = f64::from(x32).exp();
            if x32 > -87.3 && x32 < 88.7 {
                // Two units in the last place of a 24-bit significand.
                assert!((f64::from(exp(x32)) / truth - 1.0).abs() < 2.4e-7, "exp({x32}) = {}", exp(x32));
            }
            let error = (f64::from(erf(x32 / 10.0)) - erf_f64(f64::from(x32 / 10.0))).abs();
            assert!(error < 5e-7, "erf({}) is off by {error}", x32 / 10.0);
        }
        assert_eq!(exp(-1e4).to_bits(), 0.0_f32.to_bits());
        assert_eq!(exp(f32::NEG_INFINITY).to_bits(), 0.0_f32.to_bits());
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn tanh_against_f64() {
        for i in -100_000..=100_000 {
            #[expect(clippy::cast_possible_truncation, reason = "the argument under test is f32")]
            let x = (f64::from(i) * 1.2e-4) as f32;
            let truth = f64::from(x).tanh();
            let error = f64::from(tanh(x)) - truth;
            assert!(error.abs() <= 5e-7 * truth.abs(), "tanh({x}) = {} is off by {error}", tanh(x));
        }
        assert!(tanh(f32::NAN).is_nan());
        assert!((tanh(f32::INFINITY) - 1.0).abs() < 5e-7 && (tanh(-1e30) + 1.0).abs() < 5e-7);
    }

    #[test]
    fn sums_of_every_length() {
        for length in 0..70_u16 {
            let x: Vec<f32> = (0..length).map(|i| f32::from(i) - 7.0).collect();
            let plain: f32 = x.iter().map(|x| x * x).sum();
            assert!((dot(&x, &x) - plain).abs() <= 1e-5 * plain.max(1.0));
            assert!((sum(&x, |x| x * x) - plain).abs() <= 1e-5 * plain.max(1.0));
        }
    }
}
