//! What comes in: batches enter replay and ledger, and are acknowledged once what they measured is durable.

use super::{Channels, Trainer, TrainerError};
use crate::service::Delivery;
use srnas_ledger::{ActorRecord, Record};
use srnas_wire::{EpisodeEnds, Experience, SYNTHETIC_TASK};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TryRecvError;
use tracing::info;

/// Deliveries taken in between two updates at most: many actors must not keep the learner from learning.
const MOST_DELIVERIES: usize = 64;
/// Longest wait for a delivery where there is nothing else to do; then the clock is looked at again.
const WAIT: Duration = Duration::from_millis(100);
/// Time for the actors to leave, or for what is on its way to arrive, at the end.
const FAREWELL: Duration = Duration::from_secs(2);
/// Factor by which a group's mean of recent regrets forgets with each episode.
const FORGET: f64 = 0.99;

impl Trainer {
    /// Takes in what has been delivered, as far as the replay ratio and the disk allow. Returns whether there was
    /// anything.
    pub(super) fn take_in(&mut self, channels: &mut Channels) -> Result<bool, TrainerError> {
        for taken in 0..MOST_DELIVERIES {
            if !self.may_insert() || !channels.recorder.has_room()? {
                return Ok(taken > 0);
            }
            match channels.deliveries.try_recv() {
                Ok(delivery) => self.enter_delivery(delivery, channels),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(taken > 0),
            }
        }
        Ok(true)
    }

    /// Waits for a delivery, a stop, or a moment.
    pub(super) fn wait(&mut self, channels: &mut Channels) -> Result<(), TrainerError> {
        if !channels.recorder.has_room()? || !self.may_insert() {
            // The disk is behind; or, while updates are skipped, both sides wait for each other.
            std::thread::sleep(Duration::from_millis(5));
            return Ok(());
        }
        let (deliveries, stop) = (&mut channels.deliveries, &channels.stop);
        let next = channels.runtime.block_on(async {
            tokio::select! {
                next = deliveries.recv() => next,
                () = stop.cancelled() => None,
                () = tokio::time::sleep(WAIT) => None,
            }
        });
        if let Some(delivery) = next {
            self.enter_delivery(delivery, channels);
        }
        Ok(())
    }

    fn enter_delivery(&mut self, delivery: Delivery, channels: &mut Channels) {
        let record =
            self.enter(&delivery.actor, delivery.incarnation, delivery.sequence, &delivery.experience);
        channels.recorder.record(record, Some(delivery.acknowledgement));
    }

    /// Enters a batch; what is to be recorded of it.
    pub fn enter(&mut self, actor: &str, incarnation: u64, sequence: u64, experience: &Experience) -> Record {
        let transitions = match &mut self.agent {
            Some(agent) => agent.insert(experience),
            None => {
                let transitions = self.replay.insert(experience);
                self.limiter.insert(transitions);
                transitions
            }
        };
        self.environment_steps += experience.environment_steps;
        let new = self.ledger.enter(&experience.measurements);
        self.count_episodes(&experience.episodes);
        let progress = ActorRecord {
            actor: actor.into(),
            incarnation,
            acknowledged: sequence,
            environment_steps: experience.environment_steps,
            transitions: transitions as u64,
            episodes: experience.episodes.tasks.len() as u64,
        };
        Record { measurements: new, progress, policy_version: self.version }
    }

    fn count_episodes(&mut self, ends: &EpisodeEnds) {
        for (&task, &regret) in ends.tasks.iter().zip(&ends.normalised_regrets) {
            let group = match task {
                SYNTHETIC_TASK => Some("synthetic"),
                task => self.groups[usize::from(task)].as_deref(),
            };
            if let Some(group) = group {
                let entry = self.regrets.entry(group.into()).or_default();
                *entry = (entry.0 * FORGET + f64::from(regret), entry.1 * FORGET + 1.0, entry.2 + 1);
            }
        }
    }

    /// Takes in what is still on its way: until the actors are gone, or nothing comes any more.
    pub(super) fn take_in_the_last(&mut self, channels: &mut Channels) -> Result<(), TrainerError> {
        let deadline = Instant::now() + FAREWELL;
        let mut idle = Instant::now();
        while channels.members.live() > 0 && Instant::now() < deadline && idle.elapsed() < FAREWELL / 4 {
            if !channels.recorder.has_room()? {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            let deliveries = &mut channels.deliveries;
            let next =
                channels.runtime.block_on(async { tokio::time::timeout(WAIT / 5, deliveries.recv()).await });
            if let Ok(Some(delivery)) = next {
                self.enter_delivery(delivery, channels);
                idle = Instant::now();
            }
        }
        while channels.recorder.has_room()?
            && let Ok(delivery) = channels.deliveries.try_recv()
        {
            self.enter_delivery(delivery, channels);
        }
        info!(left = channels.members.live(), "what the actors sent is taken in");
        Ok(())
    }
}
