//! The path of experience: packing and checking a batch, and transitions a second through the real client and the real
//! service on loopback, with acknowledgements and credits, into the replay of an ingest thread.
//!
//! `cargo bench --bench experience_path`

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use half::f16;
use srnas_actor::client::{Client, ClientConfig};
use srnas_config::TimeLimit;
use srnas_learner::{
    Replay, ReplayConfig,
    service::{self, Delivery, Members, ServiceConfig},
};
use srnas_wire::{Experience, Shape};
use std::{
    hint::black_box,
    sync::{Arc, mpsc as std_mpsc},
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEGMENTS: usize = 16;
const STEPS: usize = 4;
const TRANSITIONS: usize = SEGMENTS * STEPS;
const CANDIDATES: usize = 37;
const SHAPE: Shape =
    Shape { candidate_features: 22, context_features: 12, decisions: 6, tasks: 1, identities: false };

/// A batch of 64 transitions with 37 candidates of 22 features.
fn experience() -> Experience {
    let observations = SEGMENTS * (STEPS + 1);
    let row = |n: usize| (0..n).map(|i| f16::from_f32((i % 100) as f32 * 0.01)).collect::<Vec<_>>();
    Experience {
        lengths: vec![STEPS as u16; SEGMENTS],
        tasks: vec![0; SEGMENTS],
        counts: vec![CANDIDATES as u16; observations],
        candidates: row(observations * CANDIDATES * SHAPE.candidate_features),
        contexts: row(observations * SHAPE.context_features),
        actions: vec![3; TRANSITIONS],
        log_probabilities: vec![-0.5; TRANSITIONS],
        rewards: vec![0.1; TRANSITIONS],
        ends: vec![0; TRANSITIONS],
        chosen_values: vec![0.2; observations],
        best_values: vec![0.3; observations],
        environment_steps: TRANSITIONS as u64,
        ..Experience::default()
    }
}

fn codec(c: &mut Criterion) {
    let experience = experience();
    let message = experience.encode(1);
    let mut group = c.benchmark_group("batch of 64 transitions");
    group.throughput(Throughput::Elements(TRANSITIONS as u64));
    group.bench_function("encode", |b| b.iter(|| black_box(&experience).encode(1)));
    group.bench_function("decode", |b| b.iter(|| Experience::decode(black_box(&message), &SHAPE)));
    group.bench_function("clone (for comparison)", |b| {
        b.iter_batched(|| (), |()| black_box(&experience).clone(), BatchSize::LargeInput)
    });
    group.finish();
}

fn loopback(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let shutdown = CancellationToken::new();
    let (sender, mut deliveries) = mpsc::channel::<Delivery>(64);
    let (_policy, newest) = watch::channel(None);
    let members = Arc::new(Members::new());
    let config = ServiceConfig { shape: SHAPE, ..ServiceConfig::default() };
    let listener = runtime.block_on(service::bind("127.0.0.1:0".parse().unwrap())).unwrap();
    let learner = listener.local_addr().unwrap().to_string();
    let served =
        runtime.spawn(service::serve(listener, config, sender, newest, members, None, shutdown.clone()));

    // Each delivery goes into replay, is acknowledged, and its transitions are reported.
    let mut replay = Replay::new(ReplayConfig {
        capacity: 20_000,
        n_step: 3,
        gamma: 0.96,
        alpha: 0.6,
        time_limit: TimeLimit::Terminal,
        candidate_features: SHAPE.candidate_features,
        cost_feature: None,
        context_features: SHAPE.context_features,
        decisions: 0,
        width: CANDIDATES,
    });
    let (counted, counts) = std_mpsc::sync_channel(64);
    let ingest = std::thread::spawn(move || {
        while let Some(delivery) = deliveries.blocking_recv() {
            let steps = replay.insert(&delivery.experience);
            delivery.done();
            if counted.send(steps).is_err() {
                break;
            }
        }
    });
    let client = ClientConfig {
        learner,
        actor: "bench".into(),
        candidate_features: SHAPE.candidate_features as u32,
        context_features: SHAPE.context_features as u32,
        ..ClientConfig::default()
    };
    let (_, handle) = runtime.block_on(Client::start(client, CancellationToken::new())).unwrap();
    let sender = handle.experience.clone();
    let batch = experience();
    let mut group = c.benchmark_group("loopback");
    group.throughput(Throughput::Elements(TRANSITIONS as u64));
    group.measurement_time(Duration::from_secs(10));
    group.bench_function("transitions", |b| {
        b.iter_custom(|batches| {
            let since = Instant::now();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..batches {
                        sender.send(batch.clone()).unwrap();
                    }
                });
                let transitions: usize = (0..batches).map(|_| counts.recv().unwrap()).sum();
                assert_eq!(transitions as u64, batches * TRANSITIONS as u64);
            });
            since.elapsed()
        })
    });
    group.finish();
    drop(sender);
    runtime.block_on(handle.finished()).unwrap();
    shutdown.cancel();
    runtime.block_on(served).unwrap().unwrap();
    ingest.join().unwrap();
}

criterion_group!(benches, codec, loopback);
criterion_main!(benches);
