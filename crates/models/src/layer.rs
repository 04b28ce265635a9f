//! Samples of one adapted map on its own.

use bayeslora_adapters::{Activations, Draw, Onto, Rows, Sampling, Scratch, Slot, StochasticAdapter, Threads, product};
use candle_core::Tensor;
use rayon::prelude::*;

use crate::kernels::borrow;
use crate::{Error, Result};

/// Floats of a tile of the output: half a mebibyte.
const FLOATS_PER_TILE: usize = 1 << 17;

/// `W0 x + bias + s B e` for every sample of a draw, on a processor, all threads, written over `out`: memory that was there
/// already takes no time to be handed out by the system.
///
/// The frozen product is computed once; each sample is then a copy of it to which its own low-rank product is added.
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
    let mut frozen = bias.repeat(rows);
    product(&mut frozen, Onto::Values, 1.0, x_values, weight, (rows, d_in, d_out), Threads::All);
    out.resize(count * frozen.len(), 0.0);
    let samples = (sampling.samples.clone()).zip(out.chunks_exact_mut(frozen.len().max(1))).collect::<Vec<_>>();
    samples.into_par_iter().try_for_each_init(
        || (Scratch::default(), Vec::new()),
        |(scratch, core), (number, out)| -> Result<()> {
            let draw = Draw::Sampled(Sampling { samples: number..number + 1, ..sampling.clone() });
            adapter.core(slot, Activations { values: x_values, samples: 1, rows }, &draw, scratch, core)?;
            #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
            let scale = lora.scale() as f32;
            let rank = lora.rank();
            // A tile of the copy is still in the cache when the product is added to it.
            let tile = (FLOATS_PER_TILE / d_out).max(1);
            let tiles = out.chunks_mut(tile * d_out).zip(frozen.chunks(tile * d_out)).zip(core.chunks(tile * rank));
            for ((out, frozen), core) in tiles {
                out.copy_from_slice(frozen);
                let shape = (core.len() / rank, rank, d_out);
                lora.with_values(|_, b| product(out, Onto::Values, scale, core, b, shape, Threads::One))?;
            }
            Ok(())
        },
    )
}

/// Rows of one sentence, for a layer whose inputs stand alone.
pub fn rows_alone(count: usize) -> Rows {
    let examples: Vec<u32> = (0..).take(count).collect();
    Rows::of_sentences(&examples, &vec![1; count])
}

#[cfg(test)]
mod tests {
    use bayeslora_adapters::{
        DropoutLora, DropoutSettings, DropoutSite, KeepProbability, LowRank, MaskScope, Noise, Stream, TargetMap,
    };

    use super::*;
    use crate::kernels::testing::{normal, relative_difference};

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
            for site in DropoutSite::ALL {
                let keep = KeepProbability::from_dropout(0.3).unwrap();
                let lora = LowRank::from_tensors(slot, (d_out, d_in), &a, &b, 0.5).unwrap();
                let adapter = DropoutLora::new(lora, DropoutSettings { site, scope: MaskScope::Token, keep });
                let mut fast = vec![f32::NAN; 3];
                sample_layer((&weight, &bias), &adapter, slot, &x, &sampling, &mut fast).unwrap();
                let fast = Tensor::from_vec(fast, (6, rows, d_out), x.device()).unwrap();
                let draw = Draw::Sampled(sampling.clone());
                let increment = adapter.increment(slot, &x.unsqueeze(0).unwrap(), &draw).unwrap();
                let low = increment.core.broadcast_matmul(&b.t().unwrap()).unwrap().affine(0.5, 0.0).unwrap();
                let frozen = x.matmul(&weight.t().unwrap()).unwrap().broadcast_add(&bias).unwrap();
                let plain = low.broadcast_add(&frozen).unwrap();
                assert!(relative_difference(&fast, &plain) < 1e-5, "{site} {coupling}");
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
