//! The low-rank pair of a LoRA adapter: `dW = s B A`.

use bayeslora_kernels::borrow;
use candle_core::{Device, Tensor, Var};

use crate::error::{Error, Result};
use crate::noise::{Address, Noise};
use crate::slot::Slot;

/// Rank and scale of an adapter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoraShape {
    /// Rank `r`.
    pub rank: usize,
    /// Scale `s`: `alpha / r`, with rank-stabilised LoRA `alpha / sqrt(r)`.
    pub scale: f64,
}

impl LoraShape {
    /// Rank `rank` with `s = alpha / rank`.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `alpha` is positive and finite and `rank` at least 1.
    pub fn new(rank: usize, alpha: f64) -> Result<Self> {
        if rank == 0 {
            return Err(Error::Setting { name: "rank", got: 0.0, expected: "at least 1" });
        }
        if !(alpha.is_finite() && alpha > 0.0) {
            return Err(Error::Setting { name: "alpha", got: alpha, expected: "a positive number" });
        }
        Ok(Self { rank, scale: alpha / rank as f64 })
    }
}

/// Down-projection `A [r, d_in]`, up-projection `B [d_out, r]` and scale `s`.
#[derive(Debug, Clone)]
pub struct LowRank {
    a: Var,
    b: Var,
    scale: f64,
}

impl LowRank {
    /// PEFT's initialisation: `A_ij ~ U(-1/sqrt(d_in), 1/sqrt(d_in))`, `B = 0`.
    ///
    /// # Errors
    /// [`Error::Rank`] unless `1 <= r <= min(d_in, d_out)`.
    pub fn initial(
        slot: Slot,
        (d_out, d_in): (usize, usize),
        shape: LoraShape,
        noise: &Noise,
        device: &Device,
    ) -> Result<Self> {
        let LoraShape { rank, scale } = shape;
        check_rank(slot, rank, d_out, d_in)?;
        let a = uniform(slot, "lora_A", (rank, d_in), d_in, noise, device)?;
        let b = Tensor::zeros((d_out, rank), candle_core::DType::F32, device)?;
        Ok(Self { a: Var::from_tensor(&a)?, b: Var::from_tensor(&b)?, scale })
    }

    /// From given tensors.
    ///
    /// # Errors
    /// [`Error::Shape`] when they are not `[r, d_in]` and `[d_out, r]`; [`Error::Rank`] as above.
    pub fn from_tensors(slot: Slot, (d_out, d_in): (usize, usize), a: &Tensor, b: &Tensor, scale: f64) -> Result<Self> {
        let rank = a.dim(0)?;
        for (name, tensor, expected) in [("lora_A", a, [rank, d_in]), ("lora_B", b, [d_out, rank])] {
            if tensor.dims() != expected {
                return Err(Error::Shape {
                    what: format!("{name} of {slot}"),
                    got: tensor.dims().to_vec(),
                    expected: format!("{expected:?}"),
                });
            }
        }
        check_rank(slot, rank, d_out, d_in)?;
        Ok(Self { a: Var::from_tensor(a)?, b: Var::from_tensor(b)?, scale })
    }

    /// `A [r, d_in]`.
    pub fn a(&self) -> &Var {
        &self.a
    }

    /// `B [d_out, r]`.
    pub fn b(&self) -> &Var {
        &self.b
    }

    /// `s`.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// `r`.
    pub fn rank(&self) -> usize {
        self.a.dims()[0]
    }

    /// Calls `f` with the values of `A [r, d_in]` and of `B [d_out, r]`, on a processor.
    ///
    /// # Errors
    /// When they are elsewhere or not f32.
    pub fn with_values<T>(&self, f: impl FnOnce(&[f32], &[f32]) -> T) -> Result<T> {
        let (a, b) = (self.a.storage_and_layout(), self.b.storage_and_layout());
        Ok(f(borrow(&a)?, borrow(&b)?))
    }

    /// `A x`.
    ///
    /// # Shapes
    /// `x: [samples, rows, d_in]` to `[samples, rows, r]`.
    ///
    /// # Errors
    /// When the width of `x` is not that of `A`.
    pub fn down(&self, x: &Tensor) -> Result<Tensor> {
        let (samples, rows, width) = x.dims3()?;
        let core = x.reshape((samples * rows, width))?.matmul(&self.a.t()?)?;
        Ok(core.reshape((samples, rows, self.rank()))?)
    }
}

fn check_rank(slot: Slot, rank: usize, d_out: usize, d_in: usize) -> Result<()> {
    if rank == 0 || rank > d_in.min(d_out) {
        return Err(Error::Rank { slot, got: rank, d_out, d_in });
    }
    Ok(())
}

/// A matrix uniform on `(-1/sqrt(fan_in), 1/sqrt(fan_in))`, the usual initial value of a linear layer.
///
/// Parameters of one slot are told apart by a number made from their name, so none shares another's noise.
pub(crate) fn uniform(
    slot: Slot,
    name: &str,
    shape: (usize, usize),
    fan_in: usize,
    noise: &Noise,
    device: &Device,
) -> Result<Tensor> {
    centred(slot, name, shape, 1.0 / (fan_in as f64).sqrt(), noise, device)
}

/// A matrix uniform on `(lower, upper)`, its parameter told apart as in [`uniform`].
pub(crate) fn uniform_between(
    slot: Slot,
    name: &str,
    shape: (usize, usize),
    (lower, upper): (f64, f64),
    noise: &Noise,
    device: &Device,
) -> Result<Tensor> {
    let values = centred(slot, name, shape, (upper - lower) / 2.0, noise, device)?;
    Ok((values + f64::midpoint(lower, upper))?)
}

fn centred(
    slot: Slot,
    name: &str,
    (rows, columns): (usize, usize),
    bound: f64,
    noise: &Noise,
    device: &Device,
) -> Result<Tensor> {
    let sample = name.bytes().fold(0_u32, |code, byte| (code * 31 + u32::from(byte)) % (1 << 24));
    let at = Address { slot, sample, example: Address::SHARED, position: Address::ANY };
    let mut values = vec![0.0; rows * columns];
    noise.fill_uniform(at, bound, &mut Vec::new(), &mut values);
    Ok(Tensor::from_vec(values, (rows, columns), device)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Stream;
    use crate::slot::TargetMap;

    const SLOT: Slot = Slot::new(1, TargetMap::Query);

    #[test]
    fn initial_values_follow_peft() {
        let noise = Noise::new(3, Stream::Initial);
        let shape = LoraShape::new(4, 8.0).unwrap();
        let lora = LowRank::initial(SLOT, (10, 400), shape, &noise, &Device::Cpu).unwrap();
        let a = lora.a().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(a.iter().all(|a| a.abs() < 0.05));
        let mean_square = a.iter().map(|a| f64::from(a * a)).sum::<f64>() / a.len() as f64;
        // Var U(-h, h) = h^2 / 3; the standard error over 1,600 entries is 2.2 % of it.
        assert!((mean_square / (0.05_f64.powi(2) / 3.0) - 1.0).abs() < 0.09, "{mean_square}");
        assert_eq!(lora.b().sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().to_bits(), 0);
        assert!((lora.scale() - 2.0).abs() < 1e-15);
    }

    #[test]
    fn bad_ranks_are_refused_with_the_range() {
        let noise = Noise::new(3, Stream::Initial);
        let shape = LoraShape { rank: 11, scale: 1.0 };
        let error = LowRank::initial(SLOT, (10, 400), shape, &noise, &Device::Cpu).unwrap_err();
        assert_eq!(error.to_string(), "rank is 11 for block 1 query [10, 400]; expected 1 to 10");
        assert_eq!(LoraShape::new(0, 8.0).unwrap_err().to_string(), "rank is 0; expected at least 1");
        assert_eq!(LoraShape::new(4, f64::NAN).unwrap_err().to_string(), "alpha is NaN; expected a positive number");
    }
}
