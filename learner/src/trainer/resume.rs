//! From a running trainer to a checkpoint and back.

use super::{Trainer, TrainerError};
use crate::{
    Replay,
    checkpoint::{Checkpoint, CheckpointError, Loaded, State},
    update::DqnUpdate,
};
use candle_core::Tensor;
use srnas_ledger::{ActorRecord, Tally};
use srnas_network as network;
use srnas_policy::{Acts, Caution};
use std::collections::HashMap;

impl Trainer {
    /// Everything that a learner goes on from, beside a ledger that has everything until now. The transitions are shared with
    /// replay, the rest is copied.
    pub fn checkpoint(&self, ledger: Tally, actors: Vec<ActorRecord>) -> Result<Checkpoint, TrainerError> {
        let mut tensors = prefixed("q", self.update.to_tensors()?);
        if let Some(predictor) = &self.predictor {
            tensors.extend(prefixed("predictor", predictor.to_tensors()?));
        }
        if let Some(learned) = &self.learned {
            tensors.extend(prefixed("published", learned.network.tensors().clone()));
        }
        if let Some(agent) = &self.agent {
            tensors.extend(prefixed("agent", agent.to_tensors()?));
        }
        let networks = safetensors::serialize(&tensors, None).map_err(|e| {
            TrainerError::Network(network::Error::Weights(format!("weights cannot be written: {e}")))
        })?;
        let best = self.best.as_ref().map(|(network, report)| {
            self.policy(network.clone(), Acts::Trained, Some(report.clone()))?
                .to_bytes()
                .map_err(TrainerError::from)
        });
        let state = State {
            space: self.tasks.space().name().into(),
            updates: self.updates,
            policy_version: self.version,
            elapsed: self.elapsed().as_secs_f64(),
            next_check: self.next_check.as_secs_f64(),
            skipped: self.skipped.1,
            rng: self.rng.clone(),
            settings: self.settings,
            limiter: self.limiter,
            measurements: self.ledger.len(),
            ledger: Some(ledger),
            environment_steps: self.environment_steps,
            regrets: self.regrets.clone(),
            best: self.best.as_ref().map(|(_, report)| report.clone()),
            gained: self.gained.map(|caution| caution.margin),
            gained_until: self.gained.and_then(|caution| caution.until),
            predictor: self
                .predictor
                .as_ref()
                .map(|p| p.state(self.learned.as_ref().map_or(0, |learned| learned.version))),
            actors,
        };
        Ok(Checkpoint { state, networks, best: best.transpose()?, replay: self.replay.snapshot() })
    }

    /// Goes on from a checkpoint; the trainer must be a new one of the same configuration.
    pub(super) fn restore(&mut self, loaded: Loaded) -> Result<(), TrainerError> {
        let Loaded { path, state, networks, best, replay } = loaded;
        let path = path.display().to_string();
        let unfit = |reason: String| CheckpointError::Unfit { path: path.clone(), reason };
        let space = self.tasks.space();
        if state.space != space.name() {
            return Err(unfit(format!("its space is {}, not {}", state.space, space.name())).into());
        }
        let shape = self.config.network.shape(space, self.config.environment.layout());
        self.update = DqnUpdate::from_tensors(super::dqn(&self.config), shape, &without("q", &networks))
            .map_err(|e| unfit(e.to_string()))?;
        match (&mut self.predictor, state.predictor) {
            (Some(predictor), Some(state)) => {
                let published = without("published", &networks);
                let version = state.published;
                predictor
                    .restore(state, &without("predictor", &networks))
                    .map_err(|e| unfit(e.to_string()))?;
                if version > 0 {
                    self.learned =
                        Some(predictor.published(version, &published).map_err(|e| unfit(e.to_string()))?);
                }
            }
            (None, None) => {}
            _ => return Err(unfit("only one of both has a predictor network".into()).into()),
        }
        if let Some(agent) = &mut self.agent {
            agent.restore(&without("agent", &networks)).map_err(|e| unfit(e.to_string()))?;
        }
        self.replay = Replay::from_snapshot(super::replay(&self.config, space), &replay)
            .map_err(|e| unfit(e.to_string()))?;
        self.best = best.map(|policy| policy.network).zip(state.best);
        self.gained = state.gained.map(|margin| Caution { margin, until: state.gained_until });
        self.limiter.resume(&state.limiter);
        self.updates = state.updates;
        self.version = self.version.max(state.policy_version);
        self.before = std::time::Duration::try_from_secs_f64(state.elapsed)
            .map_err(|e| unfit(format!("its time of training: {e}")))?;
        self.next_check = std::time::Duration::try_from_secs_f64(state.next_check)
            .map_err(|e| unfit(format!("its time of the next check: {e}")))?;
        self.skipped.1 = state.skipped;
        self.rng = state.rng;
        self.environment_steps = self.environment_steps.max(state.environment_steps);
        self.regrets = state.regrets;
        Ok(())
    }
}

fn prefixed(prefix: &str, tensors: HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    tensors.into_iter().map(|(name, tensor)| (format!("{prefix}/{name}"), tensor)).collect()
}

fn without(prefix: &str, tensors: &HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    let named = tensors.iter().filter_map(|(name, tensor)| {
        let name = name.strip_prefix(prefix)?.strip_prefix('/')?;
        Some((name.to_string(), tensor.clone()))
    });
    named.collect()
}
