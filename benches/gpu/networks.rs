//! Logits of the golden models on the device beside the processor's: at the mean and sampled, and at the mean in bf16.

use std::path::Path;

use anyhow::Result;
use bayeslora_adapters::{LoraShape, Noise, PosteriorSettings, Stream};
use bayeslora_models::{Backbone, Head, Hidden, Place, Precision, Sampler, Samples, initial_adapters, target_slots};
use candle_core::{DType, Device, Tensor};

use crate::checks::Check;

const MODELS: [&str; 8] = [
    "decoders/tiny/llama3",
    "decoders/tiny/llama_plain",
    "decoders/tiny/qwen2",
    "decoders/tiny/qwen3",
    "decoders/tiny/mistral",
    "decoders/tiny/gemma2",
    "decoders/tiny/gemma3",
    "tiny",
];
const LENGTHS: [usize; 4] = [4, 1, 7, 12];
const EXAMPLES: [u64; 4] = [10, 3, 5, 77];
/// Three blocks of f32 products in another order.
const F32: f64 = 1e-4;
/// Three blocks of roundings to 8 significant bits.
const BF16: f64 = 5e-2;

pub(crate) fn check(device: &Device) -> Result<Vec<Check>> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/models/tests/golden");
    let place = |device: &Device, precision| Place { device: device.clone(), precision };
    let mut checks = Vec::new();
    for model in MODELS {
        let folder = golden.join(model);
        let there = place(device, Precision::F32);
        for site in ["input", "rank", "weight"] {
            let noise = Noise::new(5, Stream::Predictive);
            let drawn = Samples::Drawn { noise, numbers: 2..6 };
            let expected = logits(&folder, &Place::default(), site, &drawn)?;
            let found = logits(&folder, &there, site, &drawn)?;
            checks.push(Check::of_values(format!("samples of {model}, {site} site"), &found, &expected, F32));
        }
        let expected = logits(&folder, &Place::default(), "rank", &Samples::Mean)?;
        for (precision, tolerance) in [(Precision::F32, F32), (Precision::Bf16, BF16)] {
            let found = logits(&folder, &place(device, precision), "rank", &Samples::Mean)?;
            checks.push(Check::of_values(format!("logits of {model} in {precision}"), &found, &expected, tolerance));
        }
    }
    Ok(checks)
}

/// Logits of some texts with adapters on every map of every block.
fn logits(folder: &Path, place: &Place, site: &str, samples: &Samples) -> Result<Vec<f32>> {
    let backbone = Backbone::load(folder, place)?;
    let settings = serde_json::json!({"kind": "dropout", "site": site, "scope": "token", "dropout": 0.3});
    let posterior: PosteriorSettings = serde_json::from_value(settings)?;
    let noise = Noise::new(3, Stream::Initial);
    let head = Head::initial(&backbone, 3, &noise)?;
    let blocks: Vec<usize> = (0..backbone.blocks()).collect();
    let slots = target_slots(&backbone, &blocks, &backbone.maps())?;
    let adapters = initial_adapters(&backbone, &slots, LoraShape { rank: 2, scale: 2.0 }, &posterior, &noise)?;
    for (_, parameter) in adapters.parameters().filter(|(_, parameter)| parameter.name == "lora_B.weight") {
        let ramp = Tensor::arange(0.0_f32, parameter.var.elem_count() as f32, &Device::Cpu)?.sin()?;
        parameter.var.set(&(ramp.reshape(parameter.var.shape())? * 0.3)?.to_device(&place.device)?)?;
    }
    let tokens = || (0_u32..).map(|place| 5 + place * 7 % 40);
    let texts: Vec<Vec<u32>> = LENGTHS.iter().map(|&length| tokens().take(length).collect()).collect();
    let x = backbone.embed(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    let values: Vec<f32> = x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    let hidden = Hidden { values: (&values).into(), lengths: &LENGTHS, examples: &EXAMPLES };
    let sampler = Sampler { backbone: &backbone, head: &head, adapters: &adapters, from: 0 };
    Ok(sampler.logits(hidden, samples, &|_| ())?)
}
