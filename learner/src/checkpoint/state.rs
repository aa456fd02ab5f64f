//! Counters and random generators of a learner.

use crate::limiter::RatioLimiter;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use srnas_ledger::{ActorRecord, Known, Tally};
use srnas_policy::ValidationReport;
use srnas_predictor::PosteriorSettings;
use std::collections::BTreeMap;

/// Everything of a learner that is neither a network nor a transition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// Name of the space.
    pub space: String,
    pub updates: u64,
    pub policy_version: u64,
    /// Seconds of training.
    pub elapsed: f64,
    /// Seconds of training at which the next check is due.
    pub next_check: f64,
    /// Updates that were skipped.
    pub skipped: u64,
    pub rng: ChaCha8Rng,
    #[serde(deserialize_with = "srnas_policy::stored_settings")]
    pub settings: PosteriorSettings,
    pub limiter: RatioLimiter,
    /// Distinct measurements in the ledger.
    pub measurements: usize,
    /// What the ledger's file had; older checkpoints do not say.
    #[serde(default)]
    pub ledger: Option<Tally>,
    pub environment_steps: u64,
    /// Recent regrets by task group: weighted sum, weight, episodes.
    pub regrets: BTreeMap<String, (f64, f64, u64)>,
    pub best: Option<ValidationReport>,
    /// Margin at which the last check found a gain; older checkpoints do not say.
    #[serde(default)]
    pub gained: Option<f32>,
    /// And how far the network was followed with it, where that was not to the end.
    #[serde(default)]
    pub gained_until: Option<u32>,
    pub predictor: Option<PredictorState>,
    /// What was taken in of each actor: only a deterministic run goes back to it.
    pub actors: Vec<ActorRecord>,
}

impl State {
    /// What it knew of the ledger.
    pub fn known(&self) -> Known {
        Known { answers: self.measurements as u64, tally: self.ledger }
    }
}

/// The predictor's share of the state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PredictorState {
    pub steps: u64,
    /// Best and median of each task, as they scale the targets.
    pub scales: Vec<Option<(f32, f32)>>,
    pub rng: ChaCha8Rng,
    /// Version of the copy that was published last, 0 if none was.
    pub published: u64,
}
