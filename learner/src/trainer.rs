//! The learner's own thread: takes deliveries in, learns, broadcasts, checks, and at the end decides what is exported.

use crate::{
    ledger::Ledger,
    limits::{Activity, Laps, Recent, Times, limit},
    predictor::PredictorTrainer,
    progress::{GroupRegret, Progress},
    replay::{Draw, Replay, ReplayConfig},
    service::{Delivery, Members},
    update::{DqnConfig, DqnUpdate},
    validation::{BackgroundCheck, Check, Validator, gain_of_settings},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_common::{
    config::{Config, PriorSource},
    environment::{CANDIDATE_FEATURES, CONTEXT_FEATURES},
    network::{self, FrozenQNetwork, QNetwork},
    policy::{Acts, LearnedPrior, Policy, PolicyError, ValidationReport},
    posterior::{LearnedPriorError, PosteriorSettings, Prior, PriorError, fit},
    task::Task,
    wire::{EpisodeEnds, Experience, SYNTHETIC_TASK, Snapshot},
};
use srnas_oracle::run_tasks::RunTasks;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Updates in a row without a number before the run is stopped.
const MOST_SKIPPED: u64 = 10;
/// Time between reports of progress.
const REPORT: Duration = Duration::from_secs(1);
/// Deliveries taken in between two updates at most.
const MOST_DELIVERIES: usize = 64;
/// Time for the actors to leave before the last check.
const FAREWELL: Duration = Duration::from_secs(2);
/// Starts of the last check for each of a regular one, and of other seeds: the best of several checks looks better than
/// it is.
const LAST_CHECK: usize = 4;
/// Factor by which a group's mean of recent regrets forgets with each episode.
const FORGET: f64 = 0.99;

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
    pub stop: CancellationToken,
    /// Cancelled when no more experience is taken in.
    pub over: CancellationToken,
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
    ledger: Ledger,
    rng: ChaCha8Rng,
    version: u64,
    updates: u64,
    skipped: (u64, u64),
    validator: Validator,
    best: Option<(FrozenQNetwork, ValidationReport)>,
    started: Instant,
    regrets: BTreeMap<String, (f64, f64, u64)>,
    losses: (f64, u64),
    laps: Laps,
    recent: Recent,
}

impl Trainer {
    pub fn new(config: Config, tasks: RunTasks) -> Result<Self, TrainerError> {
        let space = tasks.space().clone();
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let table = match config.prior {
            PriorSource::Table => Some(Arc::new(Prior::from_tables(&space, &tasks.all)?)),
            PriorSource::Network | PriorSource::None => None,
        };
        let mut settings = config.posterior.settings;
        if let Some(prior) = table.as_ref().filter(|_| config.posterior.fit) {
            let learned: Vec<Arc<Task>> = tasks.learned.iter().map(|&i| tasks.all[i].clone()).collect();
            let visible = tasks.weights(prior, |_| false);
            let fitted = fit(&space, &learned, prior, &visible, settings, config.seed);
            let (gain, [low, high]) = gain_of_settings(&config, &tasks, prior, settings, fitted)?;
            let earned = low > 0.0;
            info!(
                ?fitted,
                gain = %format!("{gain:+.4} [{low:+.4}, {high:+.4}]"),
                used = earned,
                "posteriors fitted by evidence on the training tasks; used if the rule searches them better so"
            );
            if earned {
                settings = fitted;
            }
        }
        let predictor = match config.prior {
            PriorSource::Network => {
                let (names, families) = tasks.names_and_families();
                let seed = config.seed ^ 0x9e37_79b9;
                Some(PredictorTrainer::new(config.predictor.clone(), space.clone(), names, families, seed)?)
            }
            PriorSource::Table | PriorSource::None => None,
        };
        let learning = &config.learning;
        let online = QNetwork::new(config.network.shape(&space), &mut rng)?;
        let update = DqnUpdate::new(
            DqnConfig {
                learning_rate: learning.learning_rate,
                final_fraction: learning.final_learning_rate,
                huber_delta: learning.huber as f32,
                clip: learning.clip,
                target_copy_every: learning.target_copy,
                average_rate: learning.average,
                threads: learning.threads,
            },
            online,
        )?;
        let replay = Replay::new(ReplayConfig {
            capacity: learning.replay,
            n_step: learning.n_step,
            gamma: learning.gamma,
            alpha: learning.alpha,
            time_limit: learning.time_limit,
            candidate_features: CANDIDATE_FEATURES,
            context_features: CONTEXT_FEATURES,
            decisions: if config.network.identity { space.len() } else { 0 },
            width: config.environment.max_candidates(),
        });
        Ok(Self {
            groups: group_names(&config, &tasks),
            validator: Validator::new(tasks.clone(), config.environment.clone(), 1),
            ledger: Ledger::new(tasks.all.len(), space.len()),
            learned: None,
            draw: Draw::default(),
            version: 0,
            updates: 0,
            skipped: (0, 0),
            best: None,
            started: Instant::now(),
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
            update,
            replay,
        })
    }

    /// Trains until the time or the steps are over, or until `stop`; then exports to `path` and returns the policy.
    pub fn run(mut self, mut channels: Channels, path: &Path) -> Result<Policy, TrainerError> {
        self.started = Instant::now();
        self.laps = Laps::start();
        self.broadcast(&channels)?;
        let mut checks = match self.validator.has_tasks() {
            true => Some(BackgroundCheck::start(self.validator.clone()).map_err(TrainerError::Thread)?),
            false => None,
        };
        let mut next_check = self.check_period();
        let mut reported = (Instant::now(), Progress::default());
        while !channels.stop.is_cancelled() && self.share(&channels) < 1.0 {
            self.take_in(&mut channels);
            self.laps.lap(Activity::Intake);
            if self.replay.len() >= self.config.learning.warm_up {
                self.learn(&channels, path)?;
                self.laps.lap(Activity::Updates);
            }
            if let Some(checks) = &mut checks {
                if let Some(done) = checks.poll() {
                    self.judge(done);
                }
                if self.started.elapsed() >= next_check && self.updates > 0 {
                    next_check = self.started.elapsed() + self.check_period();
                    checks.request(self.check(
                        self.update.acting()?,
                        &self.config.validation.margins,
                        self.config.validation.starts,
                        0,
                    )?);
                }
            }
            if reported.0.elapsed() >= REPORT {
                reported = (Instant::now(), self.report(&channels, &reported.1));
            }
            self.laps.lap(Activity::Other);
        }
        self.let_actors_go(&mut channels);
        if let Some(done) = checks.and_then(BackgroundCheck::finish) {
            self.judge(done);
        }
        self.export(path)
    }

    /// Tells the actors of the same process that they are not needed any more, and acknowledges what they still send, so
    /// that they leave in peace.
    fn let_actors_go(&mut self, channels: &mut Channels) {
        channels.over.cancel();
        let deadline = Instant::now() + FAREWELL;
        while channels.members.live() > 0 && Instant::now() < deadline {
            while let Ok(delivery) = channels.deliveries.try_recv() {
                self.enter(delivery);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn check_period(&self) -> Duration {
        Duration::from_secs_f64(60.0 * self.config.validation.minutes.max(0.05))
    }

    /// Share of the run that is over: of its time, or of its steps if that is more.
    fn share(&self, channels: &Channels) -> f64 {
        let time = self.started.elapsed().as_secs_f64() / (60.0 * self.config.run.minutes);
        let steps = self
            .config
            .run
            .steps
            .map_or(0.0, |steps| channels.members.report().total.environment_steps as f64 / steps as f64);
        time.max(steps).min(1.0)
    }

    /// Takes in what has been delivered. Before there is enough to learn from it waits a little for more.
    fn take_in(&mut self, channels: &mut Channels) {
        let mut waited = self.replay.len() >= self.config.learning.warm_up;
        // Not for ever: many actors must not keep it from learning.
        for _ in 0..MOST_DELIVERIES {
            match channels.deliveries.try_recv() {
                Ok(delivery) => self.enter(delivery),
                Err(mpsc::error::TryRecvError::Empty) if !waited => {
                    waited = true;
                    self.laps.lap(Activity::Intake);
                    std::thread::sleep(Duration::from_millis(5));
                    self.laps.lap(Activity::Waiting);
                }
                Err(_) => return,
            }
        }
    }

    /// Whether a batch that is whole in itself also fits this run's space.
    fn fits(&self, experience: &Experience) -> bool {
        let (space, m) = (self.tasks.space(), &experience.measurements);
        let width = self.config.environment.max_candidates();
        let within = |choices: &[u8]| choices.iter().enumerate().all(|(d, &c)| c < space.arity(d));
        experience.counts.iter().all(|&c| usize::from(c) <= width)
            && m.architectures.chunks_exact(space.len()).all(|choices| space.is_valid(choices))
            && experience.identities.chunks_exact(space.len()).all(within)
    }

    fn enter(&mut self, delivery: Delivery) {
        let experience = &delivery.experience;
        if !self.fits(experience) {
            warn!(actor = %delivery.actor, "a batch is left out: it has candidates or architectures that this space has not");
            delivery.done();
            return;
        }
        self.replay.insert(experience);
        self.ledger.enter(&experience.measurements);
        self.count_episodes(&experience.episodes);
        delivery.done();
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

    fn learn(&mut self, channels: &Channels, path: &Path) -> Result<(), TrainerError> {
        let share = self.share(channels);
        let l = &self.config.learning;
        let beta = l.beta + (1.0 - l.beta) * share;
        self.replay.draw(l.batch, beta, &mut self.rng, &mut self.draw);
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
            return Ok(());
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
            self.learned = Some(predictor.publish()?);
        }
        if self.updates.is_multiple_of(self.config.learning.broadcast) {
            self.broadcast(channels)?;
        }
        Ok(())
    }

    fn policy(
        &self,
        network: FrozenQNetwork,
        acts: Acts,
        validation: Option<ValidationReport>,
    ) -> Result<Policy, TrainerError> {
        Ok(Policy {
            version: self.version,
            space: self.tasks.space().name().into(),
            acts,
            settings: self.settings,
            environment: self.config.environment.clone(),
            network,
            margin: validation.as_ref().map_or(0.0, |v| v.margin),
            learned_prior: self.learned.clone(),
            prior: None,
            validation,
        })
    }

    /// Writes a policy that acts as the rule.
    fn save_rule(&self, network: FrozenQNetwork, path: &Path) -> Result<(), TrainerError> {
        let mut policy = self.policy(network, Acts::Rule, None)?;
        policy.prior = self.prior()?.map(Arc::unwrap_or_clone);
        Ok(policy.save(path)?)
    }

    fn broadcast(&mut self, channels: &Channels) -> Result<(), TrainerError> {
        self.version += 1;
        let bytes = self.policy(self.update.acting()?, Acts::Trained, None)?.to_bytes()?;
        channels.policy.send_replace(Some(Arc::new(Snapshot::new(self.version, bytes.into()))));
        Ok(())
    }

    /// The prior as it is now.
    fn prior(&self) -> Result<Option<Arc<Prior>>, TrainerError> {
        if let Some(learned) = &self.learned {
            let (space, l) = (self.tasks.space(), learned);
            let prior = Prior::from_network(space, &l.network, l.tasks.clone(), l.families.clone())?;
            return Ok(Some(Arc::new(prior)));
        }
        Ok(self.table.clone())
    }

    fn check(
        &self,
        network: FrozenQNetwork,
        margins: &[f32],
        starts: usize,
        seed: u64,
    ) -> Result<Check, TrainerError> {
        let (settings, prior, seed) = (self.settings, self.prior()?, self.config.seed ^ seed);
        Ok(Check { network, settings, prior, margins: margins.to_vec(), starts, seed })
    }

    /// Keeps the weights of the best check so far.
    fn judge(&mut self, (check, report): (Check, ValidationReport)) {
        let better = self.best.as_ref().is_none_or(|(_, best)| report.gain > best.gain);
        let [low, high] = report.interval;
        info!(
            gain = %format!("{:+.4} [{low:+.4}, {high:+.4}]", report.gain),
            margin = report.margin,
            rule = %regrets(&report.rule),
            trained = %regrets(&report.trained),
            best_so_far = better,
            "validation: trained policy against the rule, normalised regret by paid queries"
        );
        if better {
            self.best = Some((check.network, report));
        }
    }

    fn report(&mut self, channels: &Channels, before: &Progress) -> Progress {
        let mut progress = Progress {
            elapsed: self.started.elapsed(),
            share: self.share(channels),
            updates: self.updates,
            replay: self.replay.len(),
            policy_version: self.version,
            lags: channels.members.take_lags(),
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
        let members = channels.members.report();
        progress.count(&members, before);
        progress.times = Times::new(&members.total, &self.laps);
        let recent = self.recent.push(progress.times);
        progress.limit = limit(&recent, progress.actors, self.config.wire.credits);
        channels.progress.send_replace(progress.clone());
        progress
    }

    /// The last check, with fresh starts; then the trained part is exported if it wins beyond its interval.
    fn export(self, path: &Path) -> Result<Policy, TrainerError> {
        let (network, margins) = match &self.best {
            Some((network, report)) => (network.clone(), vec![report.margin]),
            None => (self.update.acting()?, vec![self.config.validation.margins[0]]),
        };
        let (mut acts, mut report) = (Acts::Rule, None);
        // Whatever happens during the last check, there is a policy.
        self.save_rule(network.clone(), path)?;
        if self.validator.has_tasks() && self.updates > 0 {
            info!("last check of the best weights, with fresh starts");
            let check =
                self.check(network.clone(), &margins, LAST_CHECK * self.config.validation.starts, 0x1a57)?;
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let validator = Validator::new(self.tasks.clone(), self.config.environment.clone(), cores);
            let found = validator.check(&check)?;
            if found.interval[0] > 0.0 {
                acts = Acts::Trained;
            }
            report = Some(found);
        } else {
            warn!(
                "nothing could be checked, so the rule is exported; name validation.families, or train longer"
            );
        }
        let mut policy = self.policy(network, acts, report)?;
        policy.prior = self.prior()?.map(Arc::unwrap_or_clone);
        policy.save(path)?;
        Ok(policy)
    }
}

fn regrets(by_query: &BTreeMap<usize, f64>) -> String {
    by_query.iter().map(|(n, r)| format!("{n}: {r:.4}")).collect::<Vec<_>>().join(", ")
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

/// Where the exported policy of a run directory lies.
pub(crate) fn policy_path(run_dir: &Path) -> PathBuf {
    run_dir.join("policy.safetensors")
}
