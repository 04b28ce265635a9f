//! Decoders: blocks of `SmolLM2`'s size at the mean, sampled and trained, prompts that several continuations share, and products with
//! frozen weights however they are held.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run should stop")]

use std::time::Duration;

use bayeslora_adapters::{
    AdapterSet, Draw, DropoutSite, LoraShape, MaskScope, Noise, PosteriorSettings, Rows, Sampling, Stream, TargetMap,
};
use bayeslora_benches::{decoder, normal};
use bayeslora_kernels::{AttentionScratch, Context, Frozen, FrozenLinear, FrozenScratch, Heads, Mask, attend_within};
use bayeslora_models::{Backbone, Head, Hidden, Packing, Sampler, Samples, classify, initial_adapters, target_slots};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// The allocator of the command line: fresh pages for every tensor would be timed too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Blocks of the decoder.
const BLOCKS: usize = 2;
/// Sentences, of 20 tokens each.
const SENTENCES: usize = 64;
const LENGTH: usize = 20;

struct Network {
    backbone: Backbone,
    head: Head,
    adapters: AdapterSet,
    x: Tensor,
    lengths: Vec<usize>,
    examples: Vec<u64>,
}

impl Network {
    /// A decoder with input dropout on the queries and values of all blocks.
    fn new() -> Self {
        let backbone = decoder(BLOCKS);
        let blocks: Vec<usize> = (0..BLOCKS).collect();
        let slots =
            target_slots(&backbone, &blocks, &[TargetMap::Query, TargetMap::Value]).expect("the maps are there");
        let noise = Noise::new(3, Stream::Initial);
        let posterior = PosteriorSettings::Dropout { site: DropoutSite::Input, scope: MaskScope::Token, dropout: 0.1 };
        let shape = LoraShape::new(8, 16.0).expect("rank and alpha are in range");
        let adapters = initial_adapters(&backbone, &slots, shape, &posterior, &noise).expect("the slots are there");
        let head = Head::initial(&backbone, 2, &noise).expect("a head of two classes");
        let tokens: Vec<u32> = (0..20).collect();
        let x = backbone.embed(&[tokens.as_slice(); SENTENCES]).expect("tokens are in the vocabulary");
        Self { backbone, head, adapters, x, lengths: vec![LENGTH; SENTENCES], examples: (0..64).collect() }
    }

    /// Gradients of one step.
    fn step(&self, sentences: usize) {
        let lengths = &self.lengths[..sentences];
        let (packing, rows) =
            (Packing::from_lengths(lengths), Rows::of_sentences(&self.examples[..sentences], lengths));
        let noise = Noise::new(5, Stream::Training);
        let draw = Draw::Sampled(Sampling { noise, samples: 0..1, rows: &rows, with_divergence: false });
        let x = self.x.narrow(1, 0, packing.rows()).expect("so many rows");
        let out = classify(&self.backbone, &self.head, &self.adapters, draw, 0, &x, &packing).expect("shapes fit");
        let loss = out.logits.sqr().and_then(|squares| squares.sum_all()).expect("a sum");
        std::hint::black_box(loss.backward().expect("gradients"));
    }
}

fn blocks(criterion: &mut Criterion) {
    let network = Network::new();
    let Network { backbone, head, adapters, x, lengths, examples } = &network;
    let values: Vec<f32> = x.flatten_all().and_then(|x| x.to_vec1()).expect("values");
    let hidden = Hidden { values: (&values).into(), lengths, examples };
    let sampler = Sampler { backbone, head, adapters, from: 0 };
    let tokens = (SENTENCES * LENGTH) as u64;
    let mut group = criterion.benchmark_group("decoder");
    group.sample_size(10);
    let drawn = |samples| Samples::Drawn { noise: Noise::new(8, Stream::Predictive), numbers: 0..samples };
    for (name, samples, count) in [("mean", Samples::Mean, 1), ("input-site/T=10", drawn(10), 10)] {
        group.throughput(Throughput::Elements(tokens * count));
        group.bench_function(BenchmarkId::new(name, format!("{BLOCKS} blocks")), |b| {
            b.iter(|| sampler.logits(hidden, &samples, &|_| ()).expect("the network predicts"));
        });
    }
    for sentences in [2, 8] {
        group.throughput(Throughput::Elements((sentences * LENGTH) as u64));
        group.bench_function(BenchmarkId::new("training", format!("{sentences} sentences")), |b| {
            b.iter(|| network.step(sentences));
        });
    }
    group.finish();
}

/// Attention over a prompt of 96 tokens with four continuations of 8: the prompt once, or with each.
fn prompts(criterion: &mut Criterion) {
    const PROMPT: usize = 96;
    const ANSWERS: [usize; 4] = [8; 4];
    let heads = Heads::new(9, 3, 64, Mask::Causal);
    let apart = Context::sentences(&Packing::from_lengths(&ANSWERS.map(|answer| PROMPT + answer)));
    let shared = Context::branches(&[(PROMPT, ANSWERS.to_vec())]);
    let mut group = criterion.benchmark_group("prompt");
    for (name, context) in [("shared", shared), ("repeated", apart)] {
        let context = context.expect("no text is empty");
        let values = |number, width| -> Vec<f32> {
            let x = normal(number, &[context.query_rows(), width]);
            x.flatten_all().and_then(|x| x.to_vec1()).expect("values")
        };
        let (q, k, v) = (values(1, 9 * 64), values(2, 3 * 64), values(3, 3 * 64));
        let (mut out, mut scratch) = (vec![0.0; q.len()], AttentionScratch::default());
        group.throughput(Throughput::Elements(ANSWERS.len() as u64));
        group.bench_function(BenchmarkId::new(name, "96 + 4 x 8"), |b| {
            b.iter(|| attend_within([&q, &k, &v], std::hint::black_box(&mut out), &context, &heads, &mut scratch));
        });
    }
    group.finish();
}

/// One map of `SmolLM2`'s feed-forward network, forward, on one thread.
fn products(criterion: &mut Criterion) {
    const D_OUT: usize = 1536;
    const D_IN: usize = 768;
    let weight = normal(7, &[D_OUT, D_IN]);
    let dense = |dtype| weight.to_dtype(dtype).and_then(Frozen::dense).expect("a matrix");
    let quantised = |kind| QTensor::quantize(&weight, kind).and_then(Frozen::quantised).expect("a matrix");
    let all = [
        ("f32 row after row", dense(DType::F32)),
        ("f32", dense(DType::F32).in_order().expect("a matrix on a processor")),
        ("f16", dense(DType::F16)),
        ("bf16", dense(DType::BF16)),
        ("Q8_0", quantised(GgmlDType::Q8_0)),
        ("Q4_0", quantised(GgmlDType::Q4_0)),
        ("Q4_1", quantised(GgmlDType::Q4_1)),
        ("Q4_K", quantised(GgmlDType::Q4K)),
        ("Q5_K", quantised(GgmlDType::Q5K)),
        ("Q6_K", quantised(GgmlDType::Q6K)),
    ];
    let mut group = criterion.benchmark_group("frozen");
    group.sample_size(20);
    for rows in [16, 1024] {
        let x: Vec<f32> = normal(9, &[rows, D_IN]).flatten_all().and_then(|x| x.to_vec1()).expect("values");
        let mut out = vec![0.0; rows * D_OUT];
        // Multiplications and additions.
        group.throughput(Throughput::Elements((2 * rows * D_OUT * D_IN) as u64));
        for (name, weight) in &all {
            let map = FrozenLinear::new(weight.clone(), None);
            let mut scratch = FrozenScratch::default();
            group.bench_function(BenchmarkId::new(*name, format!("{rows} rows")), |b| {
                b.iter(|| map.forward_into(std::hint::black_box(&mut out), &x, None, &mut scratch));
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    // A second warms caches and clocks as well as three do; what differs is the length of the whole.
    config = Criterion::default().warm_up_time(Duration::from_secs(1));
    targets = blocks, prompts, products
}
criterion_main!(benches);
