//! Weights drawn as a whole: one `A` and one `B` with independent Gaussian entries for a sample, at all rows of all examples.
//!
//! The core is `e = (A_mu + sigma_A * N) x`. `B_mu` stays what the frozen map adds the core through, so that the noise of `B` comes beside
//! it, `o = s (sigma_B * N) e`.

use bayeslora_kernels::{Onto, Threads, product};
use candle_core::Tensor;

use super::{Activations, Moments, Scratch, double_precision};
use crate::draw::Sampling;
use crate::error::Result;
use crate::lora::LowRank;
use crate::noise::Address;
use crate::site::MaskScope;
use crate::slot::Slot;

/// Standard deviations, or variances, of the entries of `A [r, d_in]`, and of `B [d_out, r]` where it is random.
pub(super) type OfBoth = (Tensor, Option<Tensor>);

/// Where the noise of `A` and of `B` is drawn for the sample of row `index`: an address of all rows together, and one that has a position
/// but no example, which no other noise has.
pub(super) fn addresses(slot: Slot, sampling: &Sampling<'_>, index: usize) -> [Address; 2] {
    let at = sampling.address(slot, MaskScope::Sample, index);
    [at, Address { position: 0, ..at }]
}

/// The core and the offset of drawn weights, sample by sample, with derivatives by means and deviations.
pub(super) fn drawn(
    lora: &LowRank,
    (of_a, of_b): &OfBoth,
    slot: Slot,
    x: &Tensor,
    sampling: &Sampling<'_>,
) -> Result<OfBoth> {
    let (samples, rows, _) = x.dims3()?;
    let deviation = |sd: &Tensor, at: Address| -> Result<Tensor> {
        let mut normals = vec![0.0; sd.elem_count()];
        sampling.noise.fill_normal(at, &mut Vec::new(), &mut normals);
        Ok((sd * Tensor::from_vec(normals, sd.shape(), x.device())?)?)
    };
    let (mut cores, mut offsets) = (Vec::new(), Vec::new());
    for sample in 0..sampling.count() {
        let [at_a, at_b] = addresses(slot, sampling, sample * rows);
        let a = (lora.a().as_tensor() + deviation(of_a, at_a)?)?;
        let core = x.get(sample % samples)?.matmul(&a.t()?)?;
        if let Some(of_b) = of_b {
            offsets.push((core.matmul(&deviation(of_b, at_b)?.t()?)? * lora.scale())?);
        }
        cores.push(core);
    }
    let offset = if of_b.is_some() { Some(Tensor::stack(&offsets, 0)?) } else { None };
    Ok((Tensor::stack(&cores, 0)?, offset))
}

/// The core of weights drawn with deviations `of_a [r, d_in]`, without tensors; returns its samples.
pub(super) fn drawn_core(
    lora: &LowRank,
    of_a: &Tensor,
    (slot, x): (Slot, Activations<'_>),
    sampling: &Sampling<'_>,
    scratch: &mut Scratch,
    core: &mut Vec<f32>,
) -> Result<usize> {
    let (rank, width) = lora.a().dims2()?;
    core.resize(sampling.count() * x.rows * rank, 0.0);
    let sd = of_a.detach().flatten_all()?.to_vec1::<f32>()?;
    lora.with_values(|a, _| {
        scratch.masked.resize(a.len(), 0.0);
        for (sample, out) in core.chunks_exact_mut((x.rows * rank).max(1)).enumerate() {
            let [at, _] = addresses(slot, sampling, sample * x.rows);
            sampling.noise.fill_normal(at, &mut scratch.words, &mut scratch.masked);
            for (weight, (a, sd)) in scratch.masked.iter_mut().zip(a.iter().zip(&sd)) {
                *weight = a + sd * *weight;
            }
            let own = &x.values[sample % x.samples * x.rows * width..][..x.rows * width];
            product(out, Onto::Nothing, 1.0, own, &scratch.masked, (x.rows, width, rank), Threads::One);
        }
        sampling.count()
    })
}

/// Adds the offset of weights drawn with deviations `of_b [d_out, r]`, given their core, without tensors.
pub(super) fn add_drawn_offset(
    scale: f64,
    of_b: &Tensor,
    (slot, rows): (Slot, usize),
    sampling: &Sampling<'_>,
    scratch: &mut Scratch,
    (core, out): (&[f32], &mut [f32]),
) -> Result<()> {
    let (d_out, rank) = of_b.dims2()?;
    let sd = of_b.detach().flatten_all()?.to_vec1::<f32>()?;
    #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
    let scale = scale as f32;
    scratch.masked.resize(sd.len(), 0.0);
    let samples = core.chunks_exact((rows * rank).max(1)).zip(out.chunks_exact_mut((rows * d_out).max(1)));
    for (sample, (core, out)) in samples.enumerate() {
        let [_, at] = addresses(slot, sampling, sample * rows);
        sampling.noise.fill_normal(at, &mut scratch.words, &mut scratch.masked);
        scratch.masked.iter_mut().zip(&sd).for_each(|(weight, sd)| *weight *= sd);
        product(out, Onto::Values, scale, core, &scratch.masked, (rows, rank, d_out), Threads::One);
    }
    Ok(())
}

/// With `u = A_mu x` and `v = sigma_A^2 x^2`: mean `s B_mu u`, covariance `s^2 [ B_mu diag(v) B_mu' + diag(sigma_B^2 (u^2 + v)) ]`, given
/// the variances of the entries in f64.
pub(super) fn moments(lora: &LowRank, (of_a, of_b): &OfBoth, x: &Tensor) -> Result<Moments> {
    let (_, b, x, u) = double_precision(lora, x)?;
    let scale = lora.scale();
    let v = x.sqr()?.matmul(&of_a.t()?)?;
    let (factor, weights) = match of_b {
        None => (b.clone(), v),
        Some(of_b) => {
            let own = (u.sqr()? + &v)?.matmul(&of_b.t()?)?;
            let identity = Tensor::eye(b.dim(0)?, b.dtype(), b.device())?;
            (Tensor::cat(&[&b, &identity], 1)?, Tensor::cat(&[&v, &own], 1)?)
        }
    };
    Ok(Moments { mean: (u.matmul(&b.t()?)? * scale)?, factor, weights: (weights * (scale * scale))? })
}
