//! A learner without service, threads of its own or a clock: whoever drives it makes every step. The same configuration
//! then gives the same weights and the same ledger to the last bit, also over a kill and a resume.
//!
//! What goes by minutes elsewhere goes by updates here. Episodes are in no checkpoint: at each checkpoint all actors
//! begin anew, in a run that goes on as in one that is resumed there.

use crate::{
    checkpoint::Checkpoints,
    progress::Progress,
    run::{self, LearnerError, Summary},
    run_dir::{RunDir, Start},
    trainer::{Ending, Trainer},
};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use srnas_basics::check::WrongValue;
use srnas_config::{Config, ConfigError};
use srnas_ledger::{ActorRecord, Database, Record};
use srnas_oracle::catalog::Catalog;
use srnas_wire::{Experience, Snapshot};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// How often each transition is drawn on average.
const RATIO: f64 = 2.0;
/// Records of a commit.
const COMMIT: usize = 256;
/// Time between reports of progress.
const REPORT: Duration = Duration::from_secs(1);

/// A learner that is driven.
pub struct Interleaved {
    config: Config,
    run_dir: RunDir,
    trainer: Trainer,
    database: Database,
    checkpoints: Checkpoints,
    policy: Arc<Snapshot>,
    /// Number of checkpoints so far: the actors' incarnation.
    epoch: u64,
    /// What was taken in of each actor in this epoch, and of all in those before.
    actors: Vec<ActorRecord>,
    past: Vec<ActorRecord>,
    pending: Vec<Record>,
    reported: (Instant, Progress),
}

/// What the driver has to do after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The actors step on.
    GoOn,
    /// They step on with a new [`policy`](Interleaved::policy).
    Broadcast,
    /// They begin anew.
    Restart,
    /// The run is over.
    Over,
}

impl Interleaved {
    /// Opens or makes a run.
    ///
    /// # Errors
    /// As a learner with a service, and [`ConfigError::Value`] where the configuration names no number of steps.
    pub fn open(
        config: Config,
        path: &Path,
        start: Start,
        catalog: &Catalog,
    ) -> Result<Interleaved, LearnerError> {
        if config.run.steps.is_none() {
            let reason =
                "is not given, and a deterministic run goes by steps, not by minutes; give --steps N".into();
            return Err(ConfigError::from(WrongValue { key: "run.steps", reason }).into());
        }
        let run::Prepared { run_dir, mut trainer, mut database, state, .. } =
            run::prepare(config.clone(), path, start, catalog, &|_| ())?;
        let (epoch, past) =
            state.map_or((0, Vec::new()), |s| (s.updates / config.checkpoint.updates, s.actors));
        database.reset_actors(&past)?;
        let policy = trainer.broadcast()?;
        Ok(Interleaved {
            checkpoints: Checkpoints::new(run_dir.checkpoints(), config.checkpoint.keep),
            config,
            run_dir,
            trainer,
            database,
            policy,
            epoch,
            actors: Vec::new(),
            past,
            pending: Vec::new(),
            reported: (Instant::now(), Progress::default()),
        })
    }

    /// The newest policy.
    pub fn policy(&self) -> &Arc<Snapshot> {
        &self.policy
    }

    /// Seed of an actor's random draws until the next checkpoint.
    pub fn seed(&self, actor: usize) -> u64 {
        let mut rng = ChaCha8Rng::seed_from_u64(self.config.seed);
        rng.set_stream(((actor as u64 + 1) << 32) | self.epoch);
        rng.next_u64()
    }

    /// Takes a batch of an actor in.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn take(&mut self, actor: usize, experience: &Experience) -> Result<(), LearnerError> {
        while self.actors.len() <= actor {
            self.actors.push(ActorRecord {
                actor: format!("local-{}", self.actors.len()),
                incarnation: self.epoch + 1,
                acknowledged: 0,
                environment_steps: 0,
                transitions: 0,
                episodes: 0,
            });
        }
        let counted = &mut self.actors[actor];
        counted.acknowledged += 1;
        let (name, incarnation, sequence) =
            (counted.actor.clone(), counted.incarnation, counted.acknowledged);
        let record = self.trainer.enter(&name, incarnation, sequence, experience);
        counted.environment_steps += record.progress.environment_steps;
        counted.transitions += record.progress.transitions;
        counted.episodes += record.progress.episodes;
        self.pending.push(record);
        if self.pending.len() >= COMMIT { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), LearnerError> {
        self.database.commit(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// Learns as much as what came in allows, up to the next checkpoint.
    ///
    /// # Errors
    /// The training's, the ledger's and the checkpoint's.
    pub fn turn(&mut self) -> Result<Turn, LearnerError> {
        let mut turn = Turn::GoOn;
        while self.trainer.owes_an_update(RATIO) {
            if self.trainer.learn(&self.run_dir.policy())? {
                self.policy = self.trainer.broadcast()?;
                turn = Turn::Broadcast;
            }
            let updates = self.trainer.updates();
            if updates.is_multiple_of(self.config.validation.updates) {
                self.trainer.check_here()?;
            }
            if updates.is_multiple_of(self.config.checkpoint.updates) {
                self.checkpoint()?;
                turn = Turn::Restart;
                break;
            }
        }
        Ok(if self.trainer.share() >= 1.0 { Turn::Over } else { turn })
    }

    fn checkpoint(&mut self) -> Result<(), LearnerError> {
        self.commit()?;
        // They are in no checkpoint, and a run that is resumed there would not have them.
        self.trainer.forget_episodes();
        self.past.append(&mut self.actors);
        let path =
            self.checkpoints.write(&self.trainer.checkpoint(self.database.tally(), self.past.clone())?)?;
        info!(path = %path.display(), "checkpoint; the actors begin anew");
        self.epoch = self.trainer.updates() / self.config.checkpoint.updates;
        self.policy = self.trainer.broadcast()?;
        Ok(())
    }

    /// A report of progress, once a second.
    pub fn report(&mut self) -> Option<Progress> {
        let (last, before) = &self.reported;
        if last.elapsed() < REPORT {
            return None;
        }
        let report = self.trainer.report_alone(self.config.run.actors, before);
        self.reported = (Instant::now(), report.clone());
        Some(report)
    }

    /// Writes the policy: checked, or without a check if `stop` came before the end. A stopped run goes on from
    /// its last checkpoint.
    ///
    /// # Errors
    /// When something cannot be written.
    pub fn finish(mut self, stop: &CancellationToken) -> Result<Summary, LearnerError> {
        self.commit()?;
        let progress = self.trainer.report_alone(self.config.run.actors, &self.reported.1);
        let path = self.run_dir.policy();
        let (policy, ending) = match stop.is_cancelled() {
            true => (self.trainer.save_unchecked(&path)?, Ending::Stopped),
            false => self.trainer.export(&path, stop)?,
        };
        Ok(Summary { policy, path, progress, stopped: ending == Ending::Stopped })
    }
}
