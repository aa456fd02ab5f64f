//! The learner's own thread: takes deliveries in, learns, broadcasts, checks, and at the end decides what is exported.

mod agent;
mod export;
mod fitting;
mod intake;
mod resume;

use agent::AgentLearner;
pub(crate) use fitting::Fitting;

use crate::{
    checkpoint::{CheckpointError, CheckpointWriter, Loaded},
    limiter::RatioLimiter,
    limits::{Activity, Laps, Limit, Recent, Times, limit},
    predictor::PredictorTrainer,
    progress::{GroupRegret, Progress, Standings},
    recorder::Recorder,
    replay::{Draw, Replay, ReplayConfig},
    service::{Counters, Delivery, Lags, Members, MembersReport},
    update::{DqnConfig, DqnUpdate},
    validation::{BackgroundCheck, Validator},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_config::{Config, PriorSource};
use srnas_ledger::{Incumbents, Ledger, LedgerError};
use srnas_network::{self as network, FrozenQNetwork, QNetwork};
use srnas_oracle::run_tasks::RunTasks;
use srnas_policy::{Caution, LearnedPrior, Policy, PolicyError, ValidationReport};
use srnas_predictor::{LearnedPriorError, PosteriorSettings, Prior, PriorError};
use srnas_space::SearchSpace;
use srnas_wire::{Measurements, Snapshot};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Updates in a row without a number before the run is stopped.
const MOST_SKIPPED: u64 = 10;
/// Time between reports of progress.
const REPORT: Duration = Duration::from_secs(1);
/// Longest wait for the ledger before a checkpoint.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why training ended badly.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// A network or its optimiser failed.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// An update failed.
    #[error(transparent)]
    Update(#[from] crate::update::Error),
    /// The prior cannot be made.
    #[error(transparent)]
    Prior(#[from] PriorError),
    /// The predictor network's estimates are no prior.
    #[error(transparent)]
    LearnedPrior(#[from] LearnedPriorError),
    /// The policy cannot be written.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The ledger cannot be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A checkpoint does not fit.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// No thread for the checks.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The learning diverged.
    #[error(
        "{MOST_SKIPPED} updates in a row had a loss or a gradient that is not a number; the last good weights are in \
         {path}; try a lower learning.learning_rate"
    )]
    Diverged {
        /// The policy that was written.
        path: String,
    },
}

/// The trainer's ends of the channels.
pub(crate) struct Channels {
    pub deliveries: mpsc::Receiver<Delivery>,
    pub policy: watch::Sender<Option<Arc<Snapshot>>>,
    pub members: Arc<Members>,
    pub progress: watch::Sender<Progress>,
    pub standings: watch::Receiver<Standings>,
    pub stop: CancellationToken,
    pub recorder: Recorder,
    pub checkpoints: CheckpointWriter,
    /// What is asked of the trainer from outside.
    pub orders: mpsc::Receiver<Order>,
    /// To wait on channels with.
    pub runtime: Handle,
}

/// What is asked of a trainer from outside.
#[derive(Debug)]
pub(crate) enum Order {
    /// Write a checkpoint now; answered with its folder, or why there is none.
    Checkpoint(oneshot::Sender<Result<PathBuf, String>>),
}

/// How the training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its time or its steps are over.
    Finished,
    /// It was stopped, and may be resumed.
    Stopped,
}

/// Everything that learns.
pub(crate) struct Trainer {
    config: Config,
    tasks: RunTasks,
    groups: Vec<Option<String>>,
    settings: PosteriorSettings,
    /// `prior = "table"`: made once.
    table: Option<Arc<Prior>>,
    predictor: Option<PredictorTrainer>,
    learned: Option<LearnedPrior>,
    update: DqnUpdate,
    replay: Replay,
    draw: Draw,
    limiter: RatioLimiter,
    /// In runs that train an agent, which then learns in place of the Q-network.
    agent: Option<AgentLearner>,
    ledger: Ledger,
    rng: ChaCha8Rng,
    version: u64,
    updates: u64,
    environment_steps: u64,
    /// Updates skipped in a row and in all.
    skipped: (u64, u64),
    validator: Validator,
    best: Option<(FrozenQNetwork, ValidationReport)>,
    /// How far the network was followed where the last check found a gain over the rule, if it did.
    gained: Option<Caution>,
    /// Time of training before this process.
    before: Duration,
    started: Instant,
    /// Time of training at which the next check is due.
    next_check: Duration,
    regrets: BTreeMap<String, (f64, f64, u64)>,
    losses: (f64, u64),
    laps: Laps,
    recent: Recent,
}

fn dqn(config: &Config) -> DqnConfig {
    let learning = &config.learning;
    DqnConfig {
        learning_rate: learning.learning_rate,
        final_fraction: learning.final_learning_rate,
        huber_delta: learning.huber as f32,
        clip: learning.clip,
        target_copy_every: learning.target_copy,
        average_rate: learning.average,
        threads: learning.threads,
    }
}

fn replay(config: &Config, space: &SearchSpace) -> ReplayConfig {
    let (learning, layout) = (&config.learning, config.environment.layout());
    ReplayConfig {
        capacity: learning.replay,
        n_step: learning.n_step,
        gamma: learning.gamma,
        alpha: learning.alpha,
        time_limit: learning.time_limit,
        candidate_features: layout.candidate_features(),
        context_features: layout.context_features(),
        cost_feature: layout.cost(),
        decisions: if config.network.identity { space.len() } else { 0 },
        width: config.environment.max_candidates(),
    }
}

impl Trainer {
    /// A trainer at the beginning, or where a checkpoint left it, knowing the measurements of the ledger. What is fitted at the
    /// beginning is kept as `fitting` says.
    pub fn new(
        config: Config,
        tasks: RunTasks,
        measured: &Measurements,
        resumed: Option<Loaded>,
        fitting: &Fitting,
    ) -> Result<Self, TrainerError> {
        let space = tasks.space().clone();
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let table = match config.prior {
            PriorSource::Table => {
                Some(Arc::new(Prior::of_tasks(&space, &config.posterior.settings.plain, &tasks.all)?))
            }
            PriorSource::Network | PriorSource::None => None,
        };
        let settings = match (&resumed, &table) {
            (Some(loaded), _) => loaded.state.settings,
            (None, Some(table)) if config.posterior.fit => fitting.settings(&config, &tasks, table)?,
            (None, _) => config.posterior_settings(),
        };
        let predictor = match config.prior {
            PriorSource::Network => {
                let (names, families) = tasks.names_and_families();
                let seed = config.seed ^ 0x9e37_79b9;
                Some(PredictorTrainer::new(config.predictor.clone(), space.clone(), names, families, seed)?)
            }
            PriorSource::Table | PriorSource::None => None,
        };
        let learning = &config.learning;
        let online = QNetwork::new(config.network.shape(&space, config.environment.layout()), &mut rng)?;
        let mut ledger = Ledger::new(tasks.all.len(), space.len());
        ledger.enter(measured);
        let mut trainer = Self {
            groups: group_names(&config, &tasks),
            validator: Validator::new(tasks.clone(), &config, 1),
            update: DqnUpdate::new(dqn(&config), online)?,
            replay: Replay::new(replay(&config, &space)),
            limiter: RatioLimiter::new(learning.samples_per_insert, learning.batch, learning.warm_up),
            agent: match config.compress.train {
                true => Some(AgentLearner::new(&config.compress, &tasks, config.seed ^ 0xa6e7)?),
                false => None,
            },
            ledger,
            learned: None,
            draw: Draw::default(),
            version: 0,
            updates: 0,
            environment_steps: 0,
            skipped: (0, 0),
            best: None,
            gained: None,
            before: Duration::ZERO,
            started: Instant::now(),
            next_check: check_period(&config),
            regrets: BTreeMap::new(),
            losses: (0.0, 0),
            laps: Laps::start(),
            recent: Recent::default(),
            rng,
            config,
            tasks,
            settings,
            table,
            predictor,
        };
        if let Some(loaded) = resumed {
            trainer.restore(loaded)?;
        }
        Ok(trainer)
    }

    /// Takes account of what earlier processes counted beyond the checkpoint.
    pub fn went_on(&mut self, environment_steps: u64, policy_version: u64) {
        self.environment_steps = self.environment_steps.max(environment_steps);
        self.version = self.version.max(policy_version);
    }

    /// The space of the run.
    pub fn space(&self) -> Arc<SearchSpace> {
        self.tasks.space().clone()
    }

    /// The tasks, in the order of their indices.
    pub fn tasks(&self) -> Vec<Arc<srnas_task::Task>> {
        self.tasks.all.clone()
    }

    /// The best of each task so far.
    pub fn incumbents(&self) -> Arc<Incumbents> {
        self.ledger.incumbents()
    }

    /// Trains until the time or the steps are over, or until a stop; then writes the policy to `path` and returns it.
    pub fn run(mut self, mut channels: Channels, path: &Path) -> Result<(Policy, Ending), TrainerError> {
        self.started = Instant::now();
        self.laps = Laps::start();
        channels.policy.send_replace(Some(self.broadcast()?));
        let validator = self.validator.clone().until(channels.stop.clone());
        let mut checks = match self.validator.has_tasks() && self.agent.is_none() {
            true => Some(BackgroundCheck::start(validator).map_err(TrainerError::Thread)?),
            false => None,
        };
        let mut reported = (Instant::now(), Progress::default());
        let mut saved = Instant::now();
        let ending = loop {
            if channels.stop.is_cancelled() {
                break Ending::Stopped;
            }
            if self.share() >= 1.0 {
                break Ending::Finished;
            }
            let took = self.take_in(&mut channels)?;
            self.laps.lap(Activity::Intake);
            if self.may_learn() {
                if self.learn(path)? {
                    channels.policy.send_replace(Some(self.broadcast()?));
                }
                self.laps.lap(Activity::Updates);
            } else if !took {
                self.wait(&mut channels)?;
                self.laps.lap(Activity::Waiting);
            }
            if let Some(checks) = &mut checks {
                self.check_now_and_then(checks)?;
            }
            if saved.elapsed().as_secs_f64() >= 60.0 * self.config.checkpoint.minutes {
                saved = Instant::now();
                self.save_in_background(&mut channels)?;
            }
            while let Ok(order) = channels.orders.try_recv() {
                self.obey(order, &mut channels)?;
            }
            if reported.0.elapsed() >= REPORT {
                reported = (Instant::now(), self.report(&mut channels, &reported.1));
            }
            self.laps.lap(Activity::Other);
        };
        if ending == Ending::Finished {
            channels.members.dismiss();
        }
        self.take_in_the_last(&mut channels)?;
        if let Some(done) = checks.and_then(BackgroundCheck::finish) {
            self.judge(done);
        }
        let ledger = channels.recorder.flush(PATIENCE)?;
        // A checkpoint that fails has been said; what is measured is in the ledger.
        let _ = channels.checkpoints.write(&self.checkpoint(ledger, Vec::new())?);
        self.report(&mut channels, &reported.1);
        match ending {
            Ending::Finished => self.export(path, &channels.stop),
            Ending::Stopped => Ok((self.save_unchecked(path)?, ending)),
        }
    }

    fn check_now_and_then(&mut self, checks: &mut BackgroundCheck) -> Result<(), TrainerError> {
        if let Some(done) = checks.poll() {
            self.judge(done);
        }
        if self.elapsed() >= self.next_check && self.updates > 0 {
            self.next_check = self.elapsed() + check_period(&self.config);
            let v = &self.config.validation;
            checks.request(self.check(
                self.update.acting()?,
                export::cautions(v, self.config.environment.horizon),
                v.starts,
                0,
            )?);
        }
        Ok(())
    }

    /// What is in a checkpoint's replay must be acknowledged for good: else it would come again after a resume.
    fn save_in_background(&mut self, channels: &mut Channels) -> Result<(), TrainerError> {
        // A disk that does not take the ledger takes no checkpoint, and the recorder has said so.
        if channels.checkpoints.busy() || channels.recorder.is_failing() {
            return Ok(());
        }
        match channels.recorder.flush(PATIENCE) {
            Ok(ledger) => channels.checkpoints.request(self.checkpoint(ledger, Vec::new())?),
            Err(error) => warn!(%error, "no checkpoint now"),
        }
        Ok(())
    }

    fn obey(&mut self, order: Order, channels: &mut Channels) -> Result<(), TrainerError> {
        match order {
            Order::Checkpoint(answer) => {
                let written = match channels.recorder.flush(PATIENCE) {
                    Ok(ledger) => {
                        let checkpoint = self.checkpoint(ledger, Vec::new())?;
                        channels.checkpoints.write(&checkpoint).map_err(|e| e.to_string())
                    }
                    Err(error) => Err(error.to_string()),
                };
                // Whoever asked may be gone.
                let _ = answer.send(written);
            }
        }
        Ok(())
    }

    /// Time of training, that of earlier processes included.
    fn elapsed(&self) -> Duration {
        self.before + self.started.elapsed()
    }

    /// Share of the run that is over: of its time, or of its steps if that is more.
    pub fn share(&self) -> f64 {
        if self.config.run.deterministic {
            return self.share_of_steps().min(1.0);
        }
        let time = self.elapsed().as_secs_f64() / (60.0 * self.config.run.minutes);
        time.max(self.share_of_steps()).min(1.0)
    }

    fn share_of_steps(&self) -> f64 {
        self.config.run.steps.map_or(0.0, |steps| self.environment_steps as f64 / steps as f64)
    }

    /// Whether fewer transitions were drawn than `ratio` times those that came in; of an agent, whether a batch is there.
    pub fn owes_an_update(&self, ratio: f64) -> bool {
        self.agent.as_ref().map_or_else(|| self.limiter.owes(ratio), AgentLearner::is_ready)
    }

    /// Leaves out what an agent has not learned from yet.
    pub fn forget_episodes(&mut self) {
        if let Some(agent) = &mut self.agent {
            agent.forget();
        }
    }

    /// Whether there is something to learn from.
    fn may_learn(&self) -> bool {
        let by_value = || self.limiter.may_sample() && !self.replay.is_empty();
        self.agent.as_ref().map_or_else(by_value, AgentLearner::is_ready)
    }

    /// Whether more may come in.
    fn may_insert(&self) -> bool {
        self.agent.as_ref().map_or_else(|| self.limiter.may_insert(), AgentLearner::has_room)
    }

    /// Updates so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Checks the policy on this thread.
    pub fn check_here(&mut self) -> Result<(), TrainerError> {
        if self.validator.has_tasks() && self.agent.is_none() {
            let v = &self.config.validation;
            let check = self.check(
                self.update.acting()?,
                export::cautions(v, self.config.environment.horizon),
                v.starts,
                0,
            )?;
            if let Some(report) = self.validator.check(&check)? {
                self.judge((check, report));
            }
        }
        Ok(())
    }

    /// One update. Returns whether the policy is due to be broadcast.
    pub fn learn(&mut self, path: &Path) -> Result<bool, TrainerError> {
        let share = self.share();
        if let Some(agent) = &mut self.agent {
            let (reward, norm) = agent.learn(share, self.config.learning.final_learning_rate);
            self.updates += 1;
            match norm.is_finite() {
                // What is minimised.
                true => self.losses = (self.losses.0 - reward, self.losses.1 + 1),
                false => self.skipped.1 += 1,
            }
            return Ok(self.updates.is_multiple_of(self.config.learning.broadcast));
        }
        let l = &self.config.learning;
        let beta = l.beta + (1.0 - l.beta) * share;
        self.replay.draw(l.batch, beta, &mut self.rng, &mut self.draw);
        self.limiter.sample(l.batch);
        self.update.set_progress(share);
        let outcome = self.update.step(&self.draw.batch)?;
        if outcome.skipped {
            self.skipped = (self.skipped.0 + 1, self.skipped.1 + 1);
            warn!(loss = outcome.loss, norm = outcome.gradient_norm, "an update is skipped: not a number");
            if self.skipped.0 >= MOST_SKIPPED {
                let network = match &self.best {
                    Some((network, _)) => network.clone(),
                    None => self.update.acting()?,
                };
                self.save_rule(network, path)?;
                return Err(TrainerError::Diverged { path: path.display().to_string() });
            }
            return Ok(false);
        }
        self.skipped.0 = 0;
        self.replay.reprioritise(&self.draw, &outcome.td_errors);
        self.updates += 1;
        self.losses = (self.losses.0 + outcome.loss, self.losses.1 + 1);
        if let Some(predictor) = self
            .predictor
            .as_mut()
            .filter(|_| self.updates.is_multiple_of(self.config.predictor.every.max(1)))
            && predictor.step(&self.ledger, share)?
        {
            // Policy versions never come back, not even over a resume, so no actor takes it for another.
            self.learned = Some(predictor.publish(self.version + 1)?);
        }
        Ok(self.updates.is_multiple_of(self.config.learning.broadcast))
    }

    fn report(&mut self, channels: &mut Channels, before: &Progress) -> Progress {
        let mut progress = self.progress(&channels.members.report(), channels.members.take_lags(), before);
        if channels.recorder.is_failing() {
            progress.limit = Limit::Disk;
        }
        progress.checkpoint = channels.checkpoints.newest();
        progress.standings = channels.standings.borrow().clone();
        channels.progress.send_replace(progress.clone());
        progress
    }

    /// A report where there is no service and so no members.
    pub fn report_alone(&mut self, actors: usize, before: &Progress) -> Progress {
        let (environment_steps, transitions) = (self.environment_steps, self.replay.inserted());
        let total = Counters { environment_steps, transitions, ..Counters::default() };
        let progress = self.progress(&MembersReport { live: Vec::new(), total }, Lags::default(), before);
        Progress { actors, ..progress }
    }

    fn progress(&mut self, members: &MembersReport, lags: Lags, before: &Progress) -> Progress {
        let mut progress = Progress {
            elapsed: self.elapsed(),
            share: self.share(),
            updates: self.updates,
            replay: self.replay.len(),
            samples_per_insert: self.limiter.ratio(),
            policy_version: self.version,
            lags,
            measurements: self.ledger.len(),
            skipped: self.skipped.1,
            loss: (self.losses.1 > 0).then(|| self.losses.0 / self.losses.1 as f64),
            groups: self
                .regrets
                .iter()
                .map(|(name, &(sum, weight, episodes))| {
                    (name.clone(), GroupRegret { episodes, mean: sum / weight })
                })
                .collect(),
            gain: self.best.as_ref().map(|(_, r)| (r.gain, r.interval)),
            ..Progress::default()
        };
        self.losses = (0.0, 0);
        progress.count(members, before);
        progress.times = Times::new(&members.total, &self.laps);
        let recent = self.recent.push(progress.times);
        progress.limit = limit(&recent, progress.actors, self.config.wire.credits);
        progress
    }
}

fn check_period(config: &Config) -> Duration {
    Duration::from_secs_f64(60.0 * config.validation.minutes.max(0.05))
}

/// The first task set of the configuration that each task is in.
fn group_names(config: &Config, tasks: &RunTasks) -> Vec<Option<String>> {
    let sets: Vec<(String, Vec<String>)> = config
        .tasks
        .train
        .iter()
        .filter_map(|name| {
            let members = config.resolve(std::slice::from_ref(name)).ok()?;
            Some((name.clone(), members.iter().map(ToString::to_string).collect()))
        })
        .collect();
    tasks
        .all
        .iter()
        .map(|t| sets.iter().find(|(_, m)| m.iter().any(|n| n == t.name())).map(|(name, _)| name.clone()))
        .collect()
}
