//! Walks on an oracle that is slow, noisy and fails.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_actor::{Pause, SlowOracle, Walker};
use srnas_config::Config;
use srnas_environment::synthetic;
use srnas_oracle::{
    catalog::Catalog,
    run_tasks::RunTasks,
    simulated::{Delays, disturb},
};
use srnas_space::SearchSpace;
use srnas_task::{Count, Task};
use srnas_wire::Experience;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

const EPISODES: usize = 4;

fn tasks() -> RunTasks {
    let space = SearchSpace::named("nb201").unwrap();
    let task = |seed: u64| {
        let drawn = synthetic::draw(&space, &[], &mut ChaCha8Rng::seed_from_u64(seed));
        let values: Arc<[f32]> = (0..15_625).map(|r| drawn.value_of_rank(r).unwrap()).collect();
        let (name, family) = (format!("nb201/x/t{seed}"), format!("f{seed}"));
        Arc::new(Task::new(name, family, space.clone(), values, Count::Strings).unwrap())
    };
    RunTasks {
        all: vec![task(1), task(2), task(3)],
        learned: vec![0, 1, 2],
        validation: Vec::new(),
        teachers: None,
    }
}

fn config(simulation: &str) -> Config {
    let text = format!(
        "[environment]\nhorizon = 10\npool = 64\nmax_edits = 8\n\
         [acting]\nsynthetic = 0.0\nsegment = 4\nsegments_per_batch = 1\n[simulation]\n{simulation}"
    );
    Config::parse(&text, "test").unwrap()
}

fn walker(config: &Config, seed: u64) -> Walker {
    let mut walker = Walker::new(config.clone(), tasks(), EPISODES, (0, EPISODES), seed).unwrap();
    if let Some(delays) = Delays::resolve(config, &Catalog::new(None), seed).unwrap() {
        walker.slow_down(SlowOracle::new(delays, Pause::until(CancellationToken::new())));
    }
    walker
}

fn walk(walker: &mut Walker, steps: usize) -> Vec<Experience> {
    (0..steps).flat_map(|_| walker.step().unwrap()).collect()
}

#[tokio::test]
async fn a_step_waits_for_its_measurements_and_walks_as_without_waiting() {
    const STEPS: usize = 16;
    let latency = Duration::from_millis(20);
    let mut slow = walker(&config("latency = '20ms'"), 5);
    let began = Instant::now();
    let batches = walk(&mut slow, STEPS);
    let (elapsed, waited) = (began.elapsed(), slow.take_oracle_time());
    // All episodes wait together: once a step, not once an episode.
    assert!(waited >= latency * STEPS as u32, "{waited:?}");
    assert!(waited <= elapsed);
    assert!(waited < latency * (STEPS * EPISODES) as u32, "{waited:?}");
    assert_eq!(slow.take_oracle_time(), Duration::ZERO);

    let mut fast = walker(&config(""), 5);
    assert_eq!(batches, walk(&mut fast, STEPS));
    assert_eq!(fast.take_oracle_time(), Duration::ZERO);
}

#[tokio::test]
async fn a_stop_ends_the_wait_of_a_step_at_once() {
    let config = config("latency = '1h'");
    let stop = CancellationToken::new();
    let mut walker = Walker::new(config.clone(), tasks(), EPISODES, (0, EPISODES), 1).unwrap();
    let delays = Delays::resolve(&config, &Catalog::new(None), 1).unwrap().unwrap();
    walker.slow_down(SlowOracle::new(delays, Pause::until(stop.clone())));
    let stepping = tokio::task::spawn_blocking(move || walker.step().map(|_| walker.take_oracle_time()));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!stepping.is_finished());
    stop.cancel();
    let waited = tokio::time::timeout(Duration::from_secs(20), stepping).await.unwrap().unwrap().unwrap();
    assert!(waited < Duration::from_secs(20), "{waited:?}");
}

#[tokio::test]
async fn all_actors_of_a_run_measure_the_same_noise_and_nothing_that_fails() {
    let config = config("noise = 0.2\nfailures = 0.3");
    let disturbed = disturb(tasks(), &config.simulation, config.seed).unwrap();
    let mut seen: HashMap<(u16, u64), u32> = HashMap::new();
    let mut again = 0;
    for actor_seed in [1, 2] {
        for batch in walk(&mut walker(&config, actor_seed), 300) {
            let m = &batch.measurements;
            for ((&task, &key), &value) in m.tasks.iter().zip(&m.keys).zip(&m.values) {
                // Keys are ranks where strings count.
                assert_eq!(disturbed.all[usize::from(task)].value_of_rank(key), Some(value));
                again += usize::from(seen.insert((task, key), value.to_bits()).is_some());
            }
        }
    }
    assert!(seen.len() > 100 && again > 10, "{} {again}", seen.len());
}

#[tokio::test]
async fn rollouts_wait_for_their_measurements_too() {
    let mut config = config("latency = '20ms'");
    (config.acting.rollouts, config.network.base_scale) = (2, 0.0);
    let told = tokio::task::spawn_blocking(move || {
        let mut walker = walker(&config, 5);
        let told = walk(&mut walker, 1);
        (told, walker.take_oracle_time())
    });
    let (told, waited) = told.await.unwrap();
    assert!(!told.is_empty() && waited >= Duration::from_millis(20), "{waited:?}");
}
