//! How a run is operated: how long it goes on, what it saves, and how actors and learner talk.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use srnas_basics::check::{WrongValue, at_least_one, duration, positive, require, within};

/// How long, and by how many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Minutes of training.
    pub minutes: f64,
    /// Environment steps after which the run ends, if that is sooner.
    pub steps: Option<u64>,
    /// Actors that `srnas run` starts.
    pub actors: usize,
    /// One process that takes turns instead of many that run at the same time: the same seed gives the same weights and
    /// ledger to the last bit. `srnas run` alone; it ends after `steps`.
    pub deterministic: bool,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self { minutes: 20.0, steps: None, actors: 1, deterministic: false }
    }
}

impl RunConfig {
    /// Checks the values.
    pub(super) fn check(&self) -> Result<(), WrongValue> {
        duration("run.minutes", self.minutes)?;
        require(self.steps != Some(0), "run.steps", "must be above 0")?;
        within("run.actors", self.actors, 1..=65_536)
    }
}

/// Checkpoints: what `--resume` goes on from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// Minutes between checkpoints.
    pub minutes: f64,
    /// Updates between checkpoints of a deterministic run, which goes by no clock.
    pub updates: u64,
    /// Checkpoints kept.
    pub keep: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { minutes: 2.0, updates: 1_000, keep: 2 }
    }
}

impl CheckpointConfig {
    /// Checks the values.
    pub(super) fn check(&self) -> Result<(), WrongValue> {
        duration("checkpoint.minutes", self.minutes)?;
        at_least_one("checkpoint.updates", self.updates)?;
        at_least_one("checkpoint.keep", self.keep as u64)
    }
}

/// The wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WireConfig {
    /// Seconds between signs of life.
    pub heartbeat: f64,
    /// Seconds of silence after which an actor is dropped.
    pub lease: f64,
    /// Batches that an actor may have in flight.
    pub credits: u32,
    /// Megabytes of experience that all actors together may have in flight.
    pub in_flight_mb: usize,
    /// Versions by which the policy that acted may lag.
    pub max_policy_lag: u32,
}

impl Default for WireConfig {
    fn default() -> Self {
        Self { heartbeat: 2.0, lease: 8.0, credits: 16, in_flight_mb: 64, max_policy_lag: 200 }
    }
}

impl WireConfig {
    /// Checks the values.
    pub(super) fn check(&self) -> Result<(), WrongValue> {
        positive("wire.heartbeat", self.heartbeat)?;
        duration("wire.lease", self.lease)?;
        let reason = format!("must be above twice wire.heartbeat, which is {}", self.heartbeat);
        require(self.lease > 2.0 * self.heartbeat, "wire.lease", &reason)?;
        at_least_one("wire.credits", self.credits.into())?;
        within("wire.in_flight_mb", self.in_flight_mb, 1..=65_536)
    }
}
