//! One learner step and one pass of inference, on the sizes the system runs with.
//! `benches/pytorch_learner_step.py` measures the same in PyTorch.

use criterion::{Criterion, criterion_group, criterion_main};
use rand::{Rng, SeedableRng, rngs::StdRng};
use srnas_learner::update::{DqnConfig, DqnUpdate, TransitionBatch};
use srnas_network::{ObservationBatch, QNetwork, QNetworkConfig};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CANDIDATES: usize = 37;

fn config(layers: usize) -> QNetworkConfig {
    QNetworkConfig { layers, base_feature: Some(0), ..QNetworkConfig::new(22, 12) }
}

fn observations(batch: usize, rng: &mut StdRng) -> ObservationBatch {
    let mut draw = |number: usize| (0..number).map(|_| rng.random_range(-1.0..1.0)).collect();
    ObservationBatch {
        offsets: (0..=batch).map(|i| i * CANDIDATES).collect(),
        candidates: draw(batch * CANDIDATES * 22),
        contexts: draw(batch * 12),
        identities: None,
    }
}

fn learner_step(criterion: &mut Criterion) {
    let mut rng = StdRng::seed_from_u64(1);
    let batch = 512;
    let transitions = TransitionBatch {
        now: observations(batch, &mut rng),
        actions: (0..batch).map(|_| rng.random_range(0..CANDIDATES as u32)).collect(),
        returns: (0..batch).map(|_| rng.random_range(0.0..1.0)).collect(),
        next: observations(batch, &mut rng),
        discounts: vec![0.9; batch],
        weights: vec![1.0; batch],
    };
    for layers in [0, 2] {
        for threads in [1, 2] {
            let network = QNetwork::new(config(layers), &mut rng).unwrap();
            let mut update = DqnUpdate::new(DqnConfig { threads, ..Default::default() }, network).unwrap();
            criterion.bench_function(&format!("step/layers={layers}/threads={threads}"), |bencher| {
                bencher.iter(|| update.step(&transitions).unwrap())
            });
        }
    }
}

fn inference(criterion: &mut Criterion) {
    let mut rng = StdRng::seed_from_u64(2);
    for layers in [0, 2] {
        let network = QNetwork::new(config(layers), &mut rng).unwrap().frozen().unwrap();
        for batch in [1, 96] {
            let observations = observations(batch, &mut rng);
            criterion.bench_function(&format!("inference/layers={layers}/batch={batch}"), |bencher| {
                bencher.iter(|| network.q_values(&observations).unwrap())
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = learner_step, inference
}
criterion_main!(benches);
