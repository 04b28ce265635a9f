//! Whole-network figures on a random encoder of `MiniLM`'s size, adapters on all six maps of its last two blocks: a short
//! training run per method, and the predictive per posterior and number of samples.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run should stop")]

use std::time::Duration;

use bayeslora_adapters::{LoraShape, Slot, TargetMap};
use bayeslora_benches::{encoder, sentences};
use bayeslora_data::Silent;
use bayeslora_inference::methods::Method;
use bayeslora_inference::{FitContext, Fitted, Predictor, Sentences, TrainingSettings};
use bayeslora_inference::{Reading, methods};
use bayeslora_models::{Backbone, target_slots};
use criterion::{BatchSize, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};

/// The allocator of the command line: fresh pages for every tensor would be timed too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// First adapted block; what lies below is computed once per sentence, before the clock starts.
const FROM: usize = 4;
/// Sentences of the training run: eight steps of 32.
const TRAINED: usize = 256;
/// Sentences predicted at a time.
const PREDICTED: [usize; 2] = [16, 64];

/// The methods compared, by the names of their groups.
fn compared() -> Vec<(&'static str, Box<dyn Method>)> {
    let of = |kind: &str, parameters: &str| {
        let parameters = parameters.parse().expect("parameters are TOML");
        methods::from_settings(kind, parameters).expect("parameters are in range")
    };
    vec![
        ("mle", of("mle", "")),
        ("input-site", of("mc-dropout", "site = 'input'\ndropout = 0.1")),
        ("rank-site", of("mc-dropout", "site = 'rank'\ndropout = 0.1")),
        ("weight-site", of("mc-dropout", "site = 'weight'\ndropout = 0.1")),
        ("c-lora", of("c-lora", "")),
    ]
}

struct Fixture {
    backbone: Backbone,
    slots: Vec<Slot>,
    train: Sentences,
    validation: Sentences,
    training: TrainingSettings,
}

impl Fixture {
    fn new() -> Self {
        let backbone = encoder();
        let maps: Vec<TargetMap> = backbone.maps().into_iter().filter(|&map| map != TargetMap::Pooler).collect();
        let slots = target_slots(&backbone, &[FROM, FROM + 1], &maps).expect("the encoder has these blocks");
        let (train, validation) = (sentences(&backbone, TRAINED, FROM), sentences(&backbone, 1, FROM));
        Self {
            backbone,
            slots,
            train,
            validation,
            training: TrainingSettings { epochs: 1, ..TrainingSettings::default() },
        }
    }

    fn fit(&self, method: &dyn Method, folder: &std::path::Path) -> Fitted {
        let bench = FitContext {
            backbone: &self.backbone,
            from: FROM,
            slots: &self.slots,
            lora: LoraShape::new(8, 16.0).expect("rank and alpha are in range"),
            train_head: true,
            training: &self.training,
            train: &self.train,
            validation: &self.validation,
            classes: 2,
            language: None,
            seed: 1,
            folder,
            progress: &Silent,
        };
        method.fit(&bench).expect("training does not diverge")
    }
}

fn training(criterion: &mut Criterion) {
    let fixture = Fixture::new();
    let mut group = criterion.benchmark_group("training");
    group.sample_size(10).throughput(Throughput::Elements(fixture.train.tokens() as u64));
    for (name, method) in compared() {
        group.bench_function(BenchmarkId::new(name, "8 steps of 32"), |b| {
            // A new folder each time: a checkpoint found there would be continued.
            let folder = || tempfile::tempdir().expect("a temporary folder");
            b.iter_batched(folder, |folder| fixture.fit(method.as_ref(), folder.path()), BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// Predictives of a fit: at the mean, sampled, and without sampling.
fn predictive(criterion: &mut Criterion) {
    let fixture = Fixture::new();
    let mut group = criterion.benchmark_group("predictive");
    // As many iterations in each sample: samples of 1, 2, ... of them would take a minute at T = 100.
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for (name, method) in compared() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let fitted = fixture.fit(method.as_ref(), folder.path());
        for batch in PREDICTED {
            let predicted = sentences(&fixture.backbone, batch, FROM);
            let predictor =
                |samples| Predictor { backbone: &fixture.backbone, from: FROM, samples, seed: 1, progress: &Silent };
            // The sites of dropout are the point; what C-LoRA and weight masks cost shows at one size.
            let is_swept = matches!(name, "input-site" | "rank-site");
            let counts: &[u32] = match name {
                "mle" => &[1],
                _ if is_swept => &[1, 10, 20, 100],
                _ => &[10],
            };
            for &samples in counts {
                let reading = if name == "mle" { Reading::Mean } else { Reading::Sampled };
                group.throughput(Throughput::Elements(u64::from(samples) * predicted.tokens() as u64));
                group.bench_function(BenchmarkId::new(name, format!("batch={batch}/T={samples}")), |b| {
                    b.iter(|| predictor(samples).logits(&fitted, reading, &predicted).expect("the fit predicts"));
                });
            }
            if is_swept {
                group.throughput(Throughput::Elements(predicted.tokens() as u64));
                group.bench_function(BenchmarkId::new(name, format!("batch={batch}/linearised")), |b| {
                    b.iter(|| predictor(0).linearised(&fitted, &predicted).expect("the fit predicts"));
                });
            }
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    // A second warms caches and clocks as well as three do; what differs is the length of the whole.
    config = Criterion::default().warm_up_time(Duration::from_secs(1));
    targets = training, predictive
}
criterion_main!(benches);
