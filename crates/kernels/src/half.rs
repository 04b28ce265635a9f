//! Numbers of half precision as f32, in vector registers.

use crate::vectorised::vectorised;

/// Each value in f32, by the bits that `bits` gives of it, which `widen` turns into a number.
#[inline(always)]
pub(crate) fn widen_all<T: Copy>(values: &[T], out: &mut [f32], bits: impl Fn(T) -> u16, widen: impl Fn(u16) -> f32) {
    vectorised(
        #[inline(always)]
        || {
            for (out, &value) in out.iter_mut().zip(values) {
                *out = widen(bits(value));
            }
        },
    );
}

/// The number whose upper half these bits are.
#[inline(always)]
pub(crate) fn of_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The number of 5 bits of exponent and 10 of fraction.
#[inline(always)]
pub(crate) fn of_f16(bits: u16) -> f32 {
    // 2^112: exponents count from 15 there and from 127 here. The product is exact and puts numbers without a leading 1 right.
    const REBASE: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let value = f32::from_bits(magnitude) * REBASE;
    let infinite = f32::from_bits(magnitude | 0x7f80_0000);
    let value = if bits & 0x7c00 == 0x7c00 { infinite } else { value };
    f32::from_bits(value.to_bits() | u32::from(bits & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;

    /// Every number of 16 bits, against candle.
    #[test]
    fn all_numbers_are_widened_as_candle_does() {
        for (dtype, widen) in [(DType::BF16, of_bf16 as fn(u16) -> f32), (DType::F16, of_f16)] {
            let bits: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
            let all = Tensor::from_raw_buffer(&bits, dtype, &[1 << 16], &Device::Cpu).unwrap();
            let expected: Vec<f32> = all.to_dtype(DType::F32).unwrap().to_vec1().unwrap();
            let bits: Vec<u16> = (0..=u16::MAX).collect();
            let mut out = vec![0.0; bits.len()];
            widen_all(&bits, &mut out, |bits| bits, widen);
            for ((out, expected), bits) in out.iter().zip(expected).zip(bits) {
                let same = out.to_bits() == expected.to_bits() || out.is_nan() && expected.is_nan();
                assert!(same, "{dtype:?} {bits:#x}: {out} against {expected}");
            }
        }
    }
}
