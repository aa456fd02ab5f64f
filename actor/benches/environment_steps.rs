//! Environment steps a second on one core: the environment alone, and an actor's whole loop.
//!
//! `cargo bench -p srnas-actor --bench environment_steps`

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use srnas_actor::Walker;
use srnas_config::Config;
use srnas_environment::{CandidateMode, Environment, EnvironmentConfig, Episode, Reach, synthetic};
use srnas_network::QNetwork;
use srnas_oracle::run_tasks::RunTasks;
use srnas_policy::{Acts, Caution, Policy};
use srnas_predictor::PosteriorSettings;
use srnas_space::SearchSpace;
use srnas_task::{Count, Task};
use std::{hint::black_box, sync::Arc};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As many training tasks as the experiment has, made up.
const TASKS: usize = 52;
const EPISODES: usize = 96;

fn tasks() -> Vec<Arc<Task>> {
    let space = SearchSpace::named("nb201").unwrap();
    (0..TASKS as u64)
        .map(|seed| {
            let drawn = synthetic::draw(&space, &[], &mut ChaCha8Rng::seed_from_u64(seed));
            let values: Arc<[f32]> = (0..15_625).map(|r| drawn.value_of_rank(r).unwrap()).collect();
            let (name, family) = (format!("nb201/x/t{seed}"), format!("f{}", seed % 16));
            Arc::new(Task::new(name, family, space.clone(), values, Count::Strings).unwrap())
        })
        .collect()
}

/// Edits, masks, table and reward: no posterior, no network.
fn environment_alone(criterion: &mut Criterion) {
    let task = tasks().swap_remove(0);
    let config = EnvironmentConfig {
        candidates: CandidateMode::Edits,
        posteriors: false,
        horizon: 50,
        ..EnvironmentConfig::default()
    };
    let space = task.space().clone();
    let env = Arc::new(Environment::new(space, config, PosteriorSettings::default(), None, Reach::Pool));
    let mut episode = Episode::new(env, task.clone(), &[], 0);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut seed = 0;
    let mut group = criterion.benchmark_group("environment alone");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("1000 steps", |bencher| {
        bencher.iter(|| {
            for _ in 0..1000 {
                let action = rng.random_range(0..episode.walk().candidates().len());
                let outcome = episode.step(action);
                if outcome.truncated || outcome.terminated {
                    seed += 1;
                    episode.restart(task.clone(), &[], seed);
                }
                black_box(outcome.reward);
            }
        });
    });
    group.finish();
}

/// 96 episodes with policy and both posteriors over a pool of 250, segments and measurements collected into batches.
fn actor_loop(criterion: &mut Criterion) {
    let mut config = Config::default();
    config.acting.synthetic = 0.0;
    let all = tasks();
    let run_tasks =
        RunTasks { learned: (0..all.len()).collect(), validation: Vec::new(), teachers: None, all };
    let space = run_tasks.space().clone();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let policy = Policy {
        version: 1,
        space: space.name().into(),
        acts: Acts::Trained,
        settings: PosteriorSettings::default(),
        environment: config.environment.clone(),
        network: QNetwork::new(config.network.shape(&space, config.environment.layout()), &mut rng)
            .unwrap()
            .frozen()
            .unwrap(),
        caution: Caution::default(),
        learned_prior: None,
        prior: None,
        observed: Vec::new(),
        agent: None,
        agent_rate: 0.0,
        validation: None,
    };
    let mut walker = Walker::new(config, run_tasks, EPISODES, (0, EPISODES), 1).unwrap();
    walker.adopt(&policy.to_bytes().unwrap()).unwrap();
    // Away from the common start of all episodes.
    for _ in 0..40 {
        black_box(walker.step().unwrap());
    }
    let mut group = criterion.benchmark_group("actor loop");
    group.throughput(Throughput::Elements((10 * EPISODES) as u64));
    group.sample_size(20);
    group.bench_function("10 steps of 96 episodes", |bencher| {
        bencher.iter(|| {
            for _ in 0..10 {
                black_box(walker.step().unwrap());
            }
        });
    });
    group.finish();
}

criterion_group!(benches, environment_alone, actor_loop);
criterion_main!(benches);
