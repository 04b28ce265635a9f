//! Fixtures shared by the benchmarks: adapters and activations of the size `MiniLM` has.
#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a benchmark without its fixture cannot go on")]

use bayeslora_adapters::{
    Address, Contextual, ContextualSettings, DropoutLora, DropoutSettings, DropoutSite, KeepProbability, LoraShape,
    LowRank, MaskScope, Noise, Slot, Stream, TargetMap,
};
use candle_core::{Device, Tensor};

/// Width of the activations.
pub const D_IN: usize = 384;
/// The slot adapted.
pub const SLOT: Slot = Slot::new(4, TargetMap::Query);

fn lora() -> LowRank {
    let shape = LoraShape::new(8, 16.0).expect("rank and alpha are in range");
    LowRank::initial(SLOT, (D_IN, D_IN), shape, &Noise::new(3, Stream::Initial), &Device::Cpu).expect("the rank fits")
}

/// A rank-8 adapter with dropout 0.1.
pub fn dropout(site: DropoutSite, scope: MaskScope) -> DropoutLora {
    let keep = KeepProbability::from_dropout(0.1).expect("0.1 is a probability");
    DropoutLora::new(lora(), DropoutSettings { site, scope, keep })
}

/// A rank-8 C-LoRA adapter.
pub fn contextual() -> Contextual {
    let noise = Noise::new(3, Stream::Initial);
    Contextual::initial(SLOT, lora(), ContextualSettings::default(), &noise, &Device::Cpu)
        .expect("defaults are in range")
}

/// Normal activations `[1, rows, D_IN]`.
pub fn input(rows: usize) -> Tensor {
    let mut values = vec![0.0; rows * D_IN];
    let at = Address { slot: SLOT, sample: 0, example: 0, position: 0 };
    Noise::new(4, Stream::Initial).fill_normal(at, &mut Vec::new(), &mut values);
    Tensor::from_vec(values, (1, rows, D_IN), &Device::Cpu).expect("the values fill the shape")
}
