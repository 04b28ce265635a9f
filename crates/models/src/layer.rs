//! Samples of one adapted map on its own.

use bayeslora_adapters::{Activations, Draw, Rows, Sampling, Scratch, Slot, StochasticAdapter};
use bayeslora_kernels::{Onto, Packed, Threads, affine, borrow, product};
use candle_core::Tensor;
use rayon::prelude::*;

use crate::error::{Error, Result};

/// `W0 x + bias + s B e + o` for every sample of a draw, on a processor, all threads, written over `out`: memory that was there
/// already takes no time to be handed out by the system.
///
/// The frozen product is computed once; the low-rank product of each sample starts from it.
///
/// # Shapes
/// `weight: [d_out, d_in]`, `bias: [d_out]`, `x: [rows, d_in]` to `out: [samples, rows, d_out]`; as many rows as the draw
/// numbers.
///
/// # Errors
/// [`Error::Slot`] when shapes do not go together; else what the adapter says.
pub fn sample_layer(
    (weight, bias): (&Tensor, &Tensor),
    adapter: &dyn StochasticAdapter,
    slot: Slot,
    x: &Tensor,
    sampling: &Sampling<'_>,
    out: &mut Vec<f32>,
) -> Result<()> {
    let ((d_out, d_in), (rows, width)) = (weight.dims2()?, x.dims2()?);
    let lora = adapter.low_rank();
    let fits = lora.a().dims()[1] == d_in && lora.b().dims()[0] == d_out && bias.dims() == [d_out];
    if !fits || width != d_in || rows != sampling.rows.len() {
        return Err(Error::Slot {
            what: format!("layer {:?} with bias {:?} for input {:?}", weight.dims(), bias.dims(), x.dims()),
            expected: format!("expected [{}, d_in] for rows [{}, d_in]", lora.b().dims()[0], sampling.rows.len()),
        });
    }
    let count = sampling.count();
    let guards = (weight.storage_and_layout(), bias.storage_and_layout(), x.storage_and_layout());
    let (weight, bias, x_values) = (borrow(&guards.0)?, borrow(&guards.1)?, borrow(&guards.2)?);
    let frozen = frozen_product((weight, bias), x_values, (rows, d_in, d_out));
    #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
    let up = lora.with_values(|_, b| Packed::new(b, lora.scale() as f32, (d_out, lora.rank())))?;
    out.resize(count * frozen.len(), 0.0);
    // Some samples at a time: what they share (`A`, in order; at the rank site `A x`) is computed once for them.
    let chunk = count.div_ceil(CHUNKS_PER_THREAD * rayon::current_num_threads()).max(1);
    let outs = out.par_chunks_mut((chunk * frozen.len()).max(1));
    (sampling.samples.clone()).into_par_iter().step_by(chunk).zip(outs).try_for_each_init(
        || (Scratch::default(), Vec::new()),
        |(scratch, core), (first, out)| -> Result<()> {
            let samples = first..sampling.samples.end.min(first + u32::try_from(chunk).unwrap_or(u32::MAX));
            let draw = Draw::Sampled(Sampling { samples, ..sampling.clone() });
            let x = Activations { values: x_values, samples: 1, rows };
            let drawn = adapter.core(slot, x, &draw, scratch, core)?;
            // Where nothing was drawn, one sample stands for all.
            let (first, others) = out.split_at_mut(drawn * frozen.len());
            affine(first, &frozen, core, &up);
            adapter.add_offset(slot, x, &draw, scratch, core, first)?;
            others.chunks_exact_mut(first.len().max(1)).for_each(|other| other.copy_from_slice(first));
            Ok(())
        },
    )
}

/// Parts that the samples of a layer are cut into: more than one for each thread, should one be slow.
const CHUNKS_PER_THREAD: usize = 2;
/// Rows of the frozen product that one task turns round.
const ROWS_PER_TASK: usize = 16;

/// `W0 x + bias`, `[rows, d_out]`, all threads.
///
/// Computed as `W0 x'` and turned round: a product copies its right operand into the order it wants, and the inputs are fewer
/// than the weights.
fn frozen_product((weight, bias): (&[f32], &[f32]), x: &[f32], (rows, d_in, d_out): (usize, usize, usize)) -> Vec<f32> {
    let mut transposed = vec![0.0; d_out * rows];
    product(&mut transposed, Onto::Nothing, 1.0, weight, x, (d_out, d_in, rows), Threads::All);
    let mut frozen = vec![0.0; rows * d_out];
    frozen.par_chunks_mut((ROWS_PER_TASK * d_out).max(1)).enumerate().for_each(|(task, frozen)| {
        for (column, (values, bias)) in transposed.chunks_exact(rows).zip(bias).enumerate() {
            for (row, value) in frozen.chunks_exact_mut(d_out).zip(&values[task * ROWS_PER_TASK..]) {
                row[column] = value + bias;
            }
        }
    });
    frozen
}

/// Rows of one sentence, for a layer whose inputs stand alone.
pub fn rows_alone(count: usize) -> Rows {
    let examples: Vec<u64> = (0..).take(count).collect();
    Rows::of_sentences(&examples, &vec![1; count])
}

#[cfg(test)]
mod tests {
    use bayeslora_adapters::{
        Address, DropoutLora, DropoutSettings, DropoutSite, KeepProbability, LowRank, MaskScope, Noise, Stream,
        TargetMap,
    };
    use candle_core::{Device, Shape};

    use super::*;

    fn normal(seed: u64, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        let mut values = vec![0.0; shape.elem_count()];
        let at = Address { slot: Slot::new(0, TargetMap::Query), sample: 0, example: 0, position: 0 };
        Noise::new(seed, Stream::Initial).fill_normal(at, &mut Vec::new(), &mut values);
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// Largest difference relative to the largest value.
    fn relative_difference(left: &Tensor, right: &Tensor) -> f32 {
        let largest = |t: &Tensor| t.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        largest(&(left - right).unwrap()) / largest(right)
    }

    #[test]
    fn agrees_with_increments_of_tensors() {
        let (rows, d_in, d_out, rank) = (7, 40, 23, 5);
        let slot = Slot::new(0, TargetMap::Query);
        let (weight, bias, x) = (normal(1, (d_out, d_in)), normal(2, d_out), normal(3, (rows, d_in)));
        let (a, b) = (normal(4, (rank, d_in)), normal(5, (d_out, rank)));
        let numbers = rows_alone(rows);
        for coupling in ["independent", "balanced-4"] {
            let noise = Noise::new(1, Stream::Predictive).coupled(coupling.parse().unwrap());
            let sampling = Sampling { noise, samples: 3..9, rows: &numbers, with_divergence: false };
            for (site, p) in DropoutSite::ALL.map(|site| (site, 0.3)).into_iter().chain([(DropoutSite::Rank, 0.0)]) {
                let keep = KeepProbability::from_dropout(p).unwrap();
                let lora = LowRank::from_tensors(slot, (d_out, d_in), &a, &b, 0.5).unwrap();
                let adapter = DropoutLora::new(lora, DropoutSettings { site, scope: MaskScope::Token, keep });
                let mut fast = vec![f32::NAN; 3];
                sample_layer((&weight, &bias), &adapter, slot, &x, &sampling, &mut fast).unwrap();
                let fast = Tensor::from_vec(fast, (6, rows, d_out), x.device()).unwrap();
                let draw = Draw::Sampled(sampling.clone());
                let increment = adapter.increment(slot, &x.unsqueeze(0).unwrap(), &draw).unwrap();
                let low = increment.core.broadcast_matmul(&b.t().unwrap()).unwrap().affine(0.5, 0.0).unwrap();
                let frozen = x.matmul(&weight.t().unwrap()).unwrap().broadcast_add(&bias).unwrap();
                let plain = low.broadcast_add(&frozen).unwrap().broadcast_as(fast.shape()).unwrap();
                assert!(relative_difference(&fast, &plain) < 1e-5, "{site} {p} {coupling}");
            }
        }
        let short = rows_alone(rows - 1);
        let sampling =
            Sampling { noise: Noise::new(1, Stream::Predictive), samples: 0..1, rows: &short, with_divergence: false };
        let lora = LowRank::from_tensors(slot, (d_out, d_in), &a, &b, 0.5).unwrap();
        let adapter = DropoutLora::new(lora, DropoutSettings::NONE);
        let refused = sample_layer((&weight, &bias), &adapter, slot, &x, &sampling, &mut Vec::new());
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("[7, 40]; expected [23, d_in] for rows [6, d_in]"), "{message}");
    }
}
