//! Inner loops of the theory harness: samples and gradients of the f64 reference, by width.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run should stop")]

use std::time::Duration;

use bayeslora_theory::{Dropout, Layer, Pair, Problem, Site, expected_gradient, normal, sampled_gradient, stream};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const RANK: usize = 8;
const D_OUT: usize = 4;
const COLUMNS: usize = 16;

fn theory(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("theory");
    let dropout = Dropout::new(0.2).expect("0.2 is a probability");
    for width in [32, 128, 512] {
        let mut random = stream(1, 0);
        let pair = Pair { a: normal((RANK, width), 1.0, &mut random), b: normal((D_OUT, RANK), 1.0, &mut random) };
        let problem =
            Problem { x: normal((width, COLUMNS), 1.0, &mut random), y: normal((D_OUT, COLUMNS), 1.0, &mut random) };
        let x = problem.x.column(0).to_owned();
        group.throughput(Throughput::Elements(width as u64));
        for site in Site::ALL {
            let layer = Layer::new(pair.a.clone(), pair.b.clone(), 1.0, site, dropout).expect("shapes go together");
            group.bench_function(BenchmarkId::new(format!("sample/{}", site.word()), width), |b| {
                b.iter(|| layer.sample(x.view(), &mut random));
            });
            group.bench_function(BenchmarkId::new(format!("sampled-gradient/{}", site.word()), width), |b| {
                b.iter(|| sampled_gradient(&problem, &pair, 1.0, (site, dropout), &mut random));
            });
        }
        group.bench_function(BenchmarkId::new("expected-gradient", width), |b| {
            b.iter(|| expected_gradient(&problem, &pair, 1.0, dropout));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    // A second warms caches and clocks as well as three do; what differs is the length of the whole.
    config = Criterion::default().warm_up_time(Duration::from_secs(1));
    targets = theory
}
criterion_main!(benches);
