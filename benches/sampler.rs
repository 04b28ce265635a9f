//! The core sampler: noise, and the adapters' random cores, per site and number of samples.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run should stop")]

use std::time::Duration;

use bayeslora_adapters::{
    Address, Draw, DropoutSite, KeepProbability, MaskScope, Noise, Rows, Sampling, StochasticAdapter as _, Stream,
};
use bayeslora_benches::{D_IN, SLOT, contextual, dropout, dropout_of, input, normal};
use bayeslora_models::{rows_alone, sample_layer};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Rows of a batch: 16 sentences of 25 tokens.
const ROWS: usize = 400;

fn noise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("noise");
    let noise = Noise::new(1, Stream::Predictive);
    let at = Address { slot: SLOT, sample: 0, example: 0, position: 0 };
    let keep = KeepProbability::from_dropout(0.1).expect("0.1 is a probability");
    // 384 fills vector registers evenly, 385 does not.
    for width in [8, 384, 385] {
        group.throughput(Throughput::Elements(width as u64));
        let (mut out, mut scratch) = (vec![0.0; width], Vec::new());
        group.bench_function(BenchmarkId::new("multipliers", width), |b| {
            b.iter(|| noise.fill_multipliers(at, keep, &mut scratch, std::hint::black_box(&mut out)));
        });
        group.bench_function(BenchmarkId::new("normal", width), |b| {
            b.iter(|| noise.fill_normal(at, &mut scratch, std::hint::black_box(&mut out)));
        });
    }
    group.finish();
}

fn cores(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sampler");
    let x = input(ROWS);
    let lengths = vec![25; ROWS / 25];
    let examples: Vec<u64> = (0..).take(lengths.len()).collect();
    let rows = Rows::of_sentences(&examples, &lengths);
    for samples in [1_u32, 16] {
        group.throughput(Throughput::Elements(u64::from(samples) * ROWS as u64));
        let mut bench = |name: String, coupling: &str, adapter: &dyn bayeslora_adapters::StochasticAdapter| {
            let coupling = coupling.parse().expect("a coupling");
            group.bench_function(BenchmarkId::new(name, format!("T={samples}")), |b| {
                b.iter(|| {
                    let noise = Noise::new(1, Stream::Predictive).coupled(coupling);
                    let sampling = Sampling { noise, samples: 0..samples, rows: &rows, with_divergence: false };
                    adapter.increment(SLOT, &x, &Draw::Sampled(sampling)).expect("shapes go together").core
                });
            });
        };
        for site in DropoutSite::ALL {
            for scope in [MaskScope::Token, MaskScope::Sequence] {
                bench(format!("{site}-site/{scope}"), "independent", &dropout(site, scope));
            }
        }
        for coupling in ["antithetic", "balanced-16"] {
            bench(format!("input-site/token/{coupling}"), coupling, &dropout(DropoutSite::Input, MaskScope::Token));
        }
        bench("contextual/token".to_owned(), "independent", &contextual());
    }
    group.finish();
    assert_eq!(x.dims(), [1, ROWS, D_IN]);
}

/// One adapted map with its frozen product: 32 samples of 128 inputs that stand alone.
fn layer(criterion: &mut Criterion) {
    const INPUTS: usize = 128;
    let mut group = criterion.benchmark_group("layer");
    group.sample_size(20);
    for (width, rank) in [(768, 8), (4096, 16)] {
        let (weight, bias) = (normal(7, &[width, width]), normal(8, &[width]));
        let x = normal(9, &[INPUTS, width]);
        let rows = rows_alone(INPUTS);
        let noise = Noise::new(1, Stream::Predictive);
        let sampling = Sampling { noise, samples: 0..32, rows: &rows, with_divergence: false };
        group.throughput(Throughput::Elements(32 * INPUTS as u64));
        let mut out = Vec::new();
        for site in DropoutSite::ALL {
            let adapter = dropout_of(width, rank, site, MaskScope::Token);
            group.bench_function(BenchmarkId::new(format!("{site}-site"), format!("{width}/r={rank}/T=32")), |b| {
                b.iter(|| sample_layer((&weight, &bias), &adapter, SLOT, &x, &sampling, &mut out));
            });
            group.bench_function(BenchmarkId::new(format!("{site}-site"), format!("{width}/r={rank}/moments")), |b| {
                b.iter(|| adapter.moments(&x).expect("shapes go together").variance());
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    // A second warms caches and clocks as well as three do; what differs is the length of the whole.
    config = Criterion::default().warm_up_time(Duration::from_secs(1));
    targets = noise, cores, layer
}
criterion_main!(benches);
