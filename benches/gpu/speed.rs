//! Tokens a second of sampling and of training, on the device and on the processor.

use std::time::Instant;

use anyhow::Result;
use bayeslora_adapters::{Draw, LoraShape, Noise, PosteriorSettings, Rows, Sampling, Stream, TargetMap};
use bayeslora_benches::encoder_at;
use bayeslora_models::{
    Backbone, Head, Hidden, Packing, Place, Precision, Sampler, Samples, classify, initial_adapters, target_slots,
};
use candle_core::{DType, Device, Tensor};
use serde::Serialize;

const SENTENCES: usize = 256;
const LENGTH: usize = 64;
const SAMPLES: u32 = 16;
const BATCH: usize = 32;

/// Work a second.
#[derive(Debug, Serialize)]
pub(crate) struct Speed {
    pub(crate) what: &'static str,
    pub(crate) device: String,
    pub(crate) precision: String,
    /// Tokens, times samples where there are any.
    pub(crate) tokens_per_second: f64,
}

/// The median of `repetitions` on the device in both precisions, and on the processor in f32.
pub(crate) fn measure(device: &Device, repetitions: usize) -> Result<Vec<Speed>> {
    let mut places = vec![Place::default()];
    if !device.is_cpu() {
        places.extend([Precision::F32, Precision::Bf16].map(|precision| Place { device: device.clone(), precision }));
    }
    let mut speeds = Vec::new();
    for place in &places {
        let network = Network::at(place)?;
        let mut add = |what, tokens: usize, run: &dyn Fn() -> Result<()>| -> Result<()> {
            // Memory is touched, and kernels are loaded, for the first time.
            run()?;
            let mut seconds = Vec::new();
            for _ in 0..repetitions {
                let started = Instant::now();
                run()?;
                seconds.push(started.elapsed().as_secs_f64());
            }
            seconds.sort_by(f64::total_cmp);
            let tokens_per_second = tokens as f64 / seconds[seconds.len() / 2];
            let (device, precision) = (place.device_name(), place.precision.to_string());
            speeds.push(Speed { what, device, precision, tokens_per_second });
            Ok(())
        };
        let tokens = SENTENCES * LENGTH;
        add("one pass at the mean", tokens, &|| network.sample(&Samples::Mean))?;
        let noise = Noise::new(5, Stream::Predictive);
        let drawn = Samples::Drawn { noise, numbers: 0..SAMPLES };
        // Spread in bf16 would be of rounding: its time is told, and its samples are not offered.
        add("sampling, 16 samples", tokens * SAMPLES as usize, &|| network.sample(&drawn))?;
        add("training step", BATCH * LENGTH, &|| network.step())?;
    }
    Ok(speeds)
}

/// The speeds in Markdown.
pub(crate) fn table(speeds: &[Speed]) -> String {
    let rows = speeds.iter().map(|speed| {
        let Speed { what, device, precision, tokens_per_second } = speed;
        format!("| {what} | {device} | {precision} | {tokens_per_second:.0} |\n")
    });
    format!("| work | device | precision | tokens a second |\n|---|---|---|---|\n{}", rows.collect::<String>())
}

/// An encoder of `MiniLM`'s sizes with rank-8 adapters on queries and values of its last two blocks.
struct Network {
    backbone: Backbone,
    head: Head,
    adapters: bayeslora_adapters::AdapterSet,
    values: Vec<f32>,
    lengths: Vec<usize>,
    examples: Vec<u64>,
}

impl Network {
    fn at(place: &Place) -> Result<Self> {
        let backbone = encoder_at(place);
        let noise = Noise::new(3, Stream::Initial);
        let head = Head::initial(&backbone, 2, &noise)?;
        let slots = target_slots(&backbone, &[4, 5], &[TargetMap::Query, TargetMap::Value])?;
        let settings = serde_json::json!({"kind": "dropout", "site": "input", "scope": "token", "dropout": 0.1});
        let posterior: PosteriorSettings = serde_json::from_value(settings)?;
        let adapters = initial_adapters(&backbone, &slots, LoraShape { rank: 8, scale: 2.0 }, &posterior, &noise)?;
        let text = |text: u32| (0..).take(LENGTH).map(|place| (text * 31 + place * 7) % 100).collect();
        let texts: Vec<Vec<u32>> = (0..).take(SENTENCES).map(text).collect();
        let mut values = Vec::new();
        for texts in texts.chunks(BATCH) {
            let x = backbone.embed(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
            values.extend(x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?);
        }
        let (lengths, examples) = (vec![LENGTH; SENTENCES], (0..SENTENCES as u64).collect());
        Ok(Self { backbone, head, adapters, values, lengths, examples })
    }

    fn sample(&self, samples: &Samples) -> Result<()> {
        let Self { backbone, head, adapters, values, lengths, examples } = self;
        let sampler = Sampler { backbone, head, adapters, from: 0 };
        let logits = sampler.logits(Hidden { values: values.into(), lengths, examples }, samples, &|_| ())?;
        anyhow::ensure!(logits.iter().all(|logit| logit.is_finite()), "logits that are no numbers");
        Ok(())
    }

    /// Loss and gradients of one batch, in one part.
    fn step(&self) -> Result<()> {
        let Self { backbone, head, adapters, values, .. } = self;
        let shape = (1, BATCH * LENGTH, backbone.width());
        let x = Tensor::from_slice(&values[..shape.1 * shape.2], shape, backbone.device())?;
        let (lengths, examples) = (&self.lengths[..BATCH], &self.examples[..BATCH]);
        let rows = Rows::of_sentences(examples, lengths);
        let noise = Noise::new(5, Stream::Training);
        let draw = Draw::Sampled(Sampling { noise, samples: 0..1, rows: &rows, with_divergence: false });
        let logits = classify(backbone, head, adapters, draw, 0, &x, &Packing::from_lengths(lengths))?.logits;
        let gradients = logits.sqr()?.sum_all()?.backward()?;
        for (_, parameter) in adapters.parameters() {
            let gradient = gradients.get(parameter.var).ok_or_else(|| anyhow::anyhow!("no gradient"))?;
            anyhow::ensure!(gradient.sum_all()?.to_scalar::<f32>()?.is_finite(), "a gradient that is no number");
        }
        Ok(())
    }
}
