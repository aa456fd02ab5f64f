//! Opening a file of as many cells as NAS-Bench-101 has, looking one up, and asking a network for one.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use srnas_oracle::benchmark::{
    Activation, Benchmark, BenchmarkWriter, Branch, Direction, MetricInfo, Network, NetworkInfo, Output,
    Weights,
};
use srnas_space::SearchSpace;
use std::{collections::HashSet, hint::black_box};

/// Cells of NAS-Bench-101.
const CELLS: usize = 423_624;
/// As the official file has them: three metrics after each of four numbers of epochs, three seeds, and two more.
const METRICS: [(&str, usize); 14] = [
    ("c/val", 3),
    ("c/val_4", 3),
    ("c/val_12", 3),
    ("c/val_36", 3),
    ("c/test", 3),
    ("c/test_4", 3),
    ("c/test_12", 3),
    ("c/test_36", 3),
    ("c/time", 3),
    ("c/time_4", 3),
    ("c/time_12", 3),
    ("c/time_36", 3),
    ("c/params", 1),
    ("c/macs", 1),
];

fn table(c: &mut Criterion) {
    let space = SearchSpace::named("nb101").expect("a known space");
    let (mut rng, mut cell) = (ChaCha8Rng::seed_from_u64(1), vec![0; space.len()]);
    let (mut seen, mut choices) = (HashSet::new(), Vec::new());
    while seen.len() < CELLS {
        space.sample(&mut rng, &mut cell);
        if seen.insert(space.rank(&cell)) {
            choices.extend_from_slice(&cell);
        }
    }
    let mut writer = BenchmarkWriter::new("bench", &space, choices.clone(), "made up", "none");
    for (name, seeds) in METRICS {
        let info =
            MetricInfo { unit: "%".into(), direction: Direction::Maximise, description: String::new() };
        let values: Vec<f32> = (0..CELLS * seeds).map(|_| rng.random_range(10.0..95.0)).collect();
        writer.metric(name, info, seeds, &values);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bench.safetensors");
    writer.write(&path).expect("a file");
    let mut group = c.benchmark_group("benchmark file");
    group.sample_size(10);
    group.bench_function("open, 423,624 rows", |b| b.iter(|| Benchmark::open(&path).expect("a benchmark")));
    let benchmark = Benchmark::open(&path).expect("a benchmark");
    let metric = benchmark.metric("c/val").expect("a metric");
    let mut row = 0;
    group.sample_size(100);
    group.bench_function("look up", |b| {
        b.iter(|| {
            row = (row + 7_919) % CELLS;
            let choices = &choices[row * space.len()..][..space.len()];
            metric.mean(benchmark.row_of(black_box(choices)).expect("a row"))
        });
    });
    group.finish();
}

/// Of the shape of NAS-Bench-301's.
fn network(c: &mut Criterion) {
    let space = SearchSpace::named("darts").expect("a known space");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let selu = |hidden: &[usize]| Branch { hidden: hidden.to_vec(), activation: Activation::Selu };
    let output =
        |column| Output { metric: format!("c/{column}"), column, sigmoid: true, scale: 100.0, offset: 0.0 };
    let info = NetworkInfo {
        rows_are_measured: false,
        slots: (0..space.len()).map(|d| vec![d]).collect(),
        branches: vec![selu(&[512, 512]), selu(&[256, 256, 128, 128]), selu(&[])],
        outputs: vec![output(0), output(1)],
        held_out: None,
    };
    let mut numbers = |n: usize| (0..n).map(|_| rng.random_range(-0.05..0.05)).collect::<Vec<f32>>();
    let rows: usize = info.rows(&space).iter().sum();
    let (first, bias) = (numbers(rows * info.width()), numbers(2 * info.width()));
    let layers = info.branches.iter().map(|branch| {
        let shapes = info.layers(branch).into_iter();
        shapes.map(|[inputs, outputs]| (numbers(inputs * outputs), numbers(outputs))).collect()
    });
    let weights = Weights { layers: layers.collect(), first, bias };
    let network = Network::new(info, space.clone(), weights).expect("a network");
    let mut all = vec![0; 1_000 * space.len()];
    all.chunks_exact_mut(space.len()).for_each(|choices| space.sample(&mut rng, choices));
    let mut group = c.benchmark_group("network");
    group.throughput(Throughput::Elements(1));
    group.bench_function("one architecture", |b| b.iter(|| network.value(0, black_box(&all[..space.len()]))));
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("a thousand", |b| b.iter(|| network.values(0, black_box(&all))));
    group.finish();
}

criterion_group!(benches, table, network);
criterion_main!(benches);
