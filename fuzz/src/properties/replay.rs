//! Snapshots of replay, the largest file of a checkpoint.

use super::sections::safetensors;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_config::TimeLimit;
use srnas_learner::{Draw, Replay, ReplayConfig};

/// A snapshot is refused, or transitions can be drawn from it.
pub fn replay(bytes: &[u8]) {
    let bytes = safetensors(bytes, "srnas_replay");
    for capacity in [3, 8] {
        let config = ReplayConfig {
            capacity,
            n_step: 3,
            gamma: 0.9,
            alpha: 0.6,
            time_limit: TimeLimit::Terminal,
            candidate_features: 2,
            cost_feature: None,
            context_features: 1,
            decisions: 0,
            width: 4,
        };
        let Ok(mut replay) = Replay::from_snapshot(config, &bytes) else { continue };
        assert!(replay.len() <= capacity);
        if !replay.is_empty() {
            let mut draw = Draw::default();
            replay.draw(8, 0.5, &mut ChaCha8Rng::seed_from_u64(0), &mut draw);
            assert_eq!((draw.batch.actions.len(), draw.batch.returns.len()), (8, 8));
            let (now, actions) = (&draw.batch.now, &draw.batch.actions);
            assert!((0..8).all(|i| (actions[i] as usize) < now.rows(i).len()));
            assert!(draw.batch.returns.iter().chain(&draw.batch.discounts).all(|v| !v.is_nan()));
            assert!(draw.batch.weights.iter().all(|w| (0.0..=1.0).contains(w)), "{:?}", draw.batch.weights);
            replay.reprioritise(&draw, &[1.0; 8]);
            replay.draw(8, 0.5, &mut ChaCha8Rng::seed_from_u64(1), &mut draw);
        }
    }
}
