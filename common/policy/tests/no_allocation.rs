//! The hot path does not allocate: thousands of steps a second on every core must not meet in the allocator.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use srnas_environment::{
    CANDIDATE_FEATURES, CONTEXT_FEATURES, Environment, EnvironmentConfig, Episode, Reach, synthetic,
};
use srnas_predictor::{PosteriorSettings, Prior};
use srnas_space::SearchSpace;
use std::sync::Arc;

#[test]
fn steps_and_observations_do_not_allocate() {
    let space = SearchSpace::named("nb201").unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let tasks: Vec<_> = (0..3).map(|_| synthetic::draw(&space, &[], &mut rng)).collect();
    let prior = Arc::new(Prior::from_tables(&space, &tasks[1..]).unwrap());
    let config = EnvironmentConfig { horizon: 30, ..EnvironmentConfig::default() };
    let settings = PosteriorSettings::default();
    let env = Arc::new(Environment::new(space, config, settings, Some(prior.clone()), Reach::Pool));
    let mut episode = Episode::new(env.clone(), tasks[0].clone(), &prior.all(), 7);
    let mut rows = vec![0.0; env.config().max_candidates() * CANDIDATE_FEATURES];
    let mut context = vec![0.0; CONTEXT_FEATURES];
    let mut steps = 0;
    let allocations = allocation_counter::measure(|| {
        loop {
            episode.walk_mut().observation(&mut rows, &mut context);
            let outcome = episode.step(rng.random_range(0..episode.walk().candidates().len()));
            steps += 1;
            if outcome.truncated {
                break;
            }
        }
    });
    assert!(steps >= 29);
    assert_eq!(allocations.count_total, 0, "{steps} steps");
}
