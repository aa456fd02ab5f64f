//! Many episodes walked at the same time: one network call serves one step of all of them.

mod rollouts;
mod students;

use crate::{
    segment::{Done, Seen, Segment},
    slow_oracle::SlowOracle,
};
use hashbrown::HashSet;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use srnas_config::{Config, PriorSource};
use srnas_environment::{Environment, Episode, Layout, Measurement, Reach, synthetic};
use srnas_network::{self as network, Agent, FrozenQNetwork, ObservationBatch};
use srnas_oracle::{
    run_tasks::RunTasks,
    simulated::{self, SimulationError},
};
use srnas_policy::{
    Acts, Policy, PolicyError,
    compress::decides_on,
    evaluation::{Searcher, best_of, observe},
};
use srnas_predictor::{LearnedPriorError, PosteriorSettings, Prior, PriorError};
use srnas_task::{Fidelity, Task};
use srnas_wire::{Experience, SYNTHETIC_TASK};
use std::{sync::Arc, time::Duration};

/// Why a walk cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WalkerError {
    /// A policy that arrived cannot be read.
    #[error("a policy of the learner is refused")]
    Policy(#[from] PolicyError),
    /// The network failed.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// The prior cannot be made.
    #[error(transparent)]
    Prior(#[from] PriorError),
    /// The tables are too sparse.
    #[error(
        "the training tasks' tables cover so little of their space that no walk finds a second architecture in them"
    )]
    NothingToSearch,
    /// The predictor network's estimates are no prior.
    #[error(transparent)]
    LearnedPrior(#[from] LearnedPriorError),
    /// The learner has no agent for this run.
    #[error(
        "the learner's policy has no agent that decides on {0}, which this run trains; is the learner of another version?"
    )]
    NoAgent(String),
    /// The oracle cannot be simulated.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
}

/// One of the episodes walked at the same time.
struct Lane {
    episode: Episode,
    /// Index of the task on the wire.
    task: u16,
    epsilon: f64,
    segment: Segment,
}

/// The episodes of one actor.
pub struct Walker {
    config: Config,
    tasks: RunTasks,
    /// What new episodes on the run's space are made in; those going on keep the prior that they began with.
    environment: Arc<Environment>,
    prior_version: Option<u64>,
    network: Option<FrozenQNetwork>,
    /// What rollouts follow in place of the rule, once a check found it better.
    followed: Option<Searcher>,
    /// In runs that train one, in place of the Q-network.
    agent: Option<Arc<Agent>>,
    policy_version: u64,
    lanes: Vec<Lane>,
    rng: ChaCha8Rng,
    /// Synthetic tasks in use on the run's space, each with the episodes that it still serves.
    synthetic: Option<(Arc<Task>, usize)>,
    /// By task, key and which shorter training.
    measured: HashSet<(u16, u64, Fidelity)>,
    oracle: Option<SlowOracle>,
    oracle_time: Duration,
    batch: Experience,
    observations: ObservationBatch,
    layout: Layout,
}

impl Walker {
    /// Episodes over the run's tasks. `first` of `total` is the place of the first of them among all of the run, for
    /// their exploration rates; everything random comes from `seed`.
    ///
    /// # Errors
    /// When the prior cannot be tabulated, or the simulated oracle leaves nothing to find.
    pub fn new(
        config: Config,
        tasks: RunTasks,
        episodes: usize,
        (first, total): (usize, usize),
        seed: u64,
    ) -> Result<Self, WalkerError> {
        let space = tasks.space().clone();
        let prior = match config.prior {
            PriorSource::Table => {
                Some(Arc::new(Prior::of_tasks(&space, &config.posterior.settings.plain, &tasks.all)?))
            }
            // The network's estimates come with the policy.
            PriorSource::Network | PriorSource::None => None,
        };
        // The past is known as it is; noise and failures are of this run's measurements.
        let tasks = simulated::disturb(tasks, &config.simulation, config.seed)?;
        let environment = Arc::new(Environment::new(
            space.clone(),
            config.environment.clone(),
            config.posterior_settings(),
            prior,
            Reach::Pool,
        ));
        let observations = ObservationBatch::new(config.network.identity);
        let mut walker = Self {
            environment,
            prior_version: None,
            network: None,
            followed: None,
            agent: None,
            policy_version: 0,
            lanes: Vec::with_capacity(episodes),
            rng: ChaCha8Rng::seed_from_u64(seed),
            synthetic: None,
            measured: HashSet::new(),
            oracle: None,
            oracle_time: Duration::ZERO,
            batch: Experience::default(),
            observations,
            layout: config.environment.layout(),
            config,
            tasks,
        };
        // Rollouts and agents make a walk at a time.
        let alone = walker.config.acting.rollouts > 0 || walker.config.compress.train;
        let lanes = if alone { 0 } else { episodes };
        for i in 0..lanes {
            let epsilon = walker.config.acting.epsilon_of(first + i, total.max(first + episodes));
            let (episode, task) = walker.new_episode()?;
            walker.record_start(&episode, task);
            walker.lanes.push(Lane { episode, task, epsilon, segment: Segment::default() });
        }
        Ok(walker)
    }

    /// Waits for every measurement from now on; the next step also for the starts of the episodes at hand.
    pub fn slow_down(&mut self, mut oracle: SlowOracle) {
        for lane in self.lanes.iter().filter(|lane| lane.task != SYNTHETIC_TASK) {
            oracle.ask(lane.episode.walk().current_measurement().rank, 1.0);
        }
        self.oracle = Some(oracle);
    }

    /// Time spent waiting for the oracle since it was last taken.
    pub fn take_oracle_time(&mut self) -> Duration {
        std::mem::take(&mut self.oracle_time)
    }

    /// Acts with another policy from the next step on.
    ///
    /// # Errors
    /// Refuses a policy that cannot be read; the one before stays.
    pub fn adopt(&mut self, bytes: &[u8]) -> Result<(), WalkerError> {
        let policy = Policy::from_bytes(bytes)?;
        let space = self.tasks.space();
        let fits = policy.agent.as_ref().is_some_and(|agent| decides_on(agent, space));
        if self.tasks.teachers.is_some() && !fits {
            return Err(WalkerError::NoAgent(space.name().into()));
        }
        let settings_changed = policy.settings != *self.environment.settings();
        if let Some(learned) = policy.learned_prior.filter(|p| self.prior_version != Some(p.version)) {
            let space = self.tasks.space();
            let prior = Prior::from_network(space, &learned.network, learned.tasks, learned.families)?;
            self.prior_version = Some(learned.version);
            self.change_environment(policy.settings, Some(Arc::new(prior)));
        } else if settings_changed {
            self.change_environment(policy.settings, self.environment.prior().cloned());
        }
        let improves = self.config.acting.improve && policy.acts == Acts::Trained;
        self.followed = improves.then(|| Searcher::Network(policy.network.clone(), policy.caution));
        self.network = Some(policy.network);
        self.agent = policy.agent.map(Arc::new);
        self.policy_version = policy.version;
        Ok(())
    }

    fn change_environment(&mut self, settings: PosteriorSettings, prior: Option<Arc<Prior>>) {
        self.environment = Arc::new(self.environment.with_prior(settings, prior));
    }

    /// An episode on a task drawn as the configuration says.
    fn new_episode(&mut self) -> Result<(Episode, u16), WalkerError> {
        // A table that covers little of its space may know no neighbour of a start: then another task or start may do.
        const TRIES: usize = 100;
        for _ in 0..TRIES {
            let (episode, task) = self.draw_episode();
            if !episode.walk().candidates().is_empty() {
                return Ok((episode, task));
            }
        }
        Err(WalkerError::NothingToSearch)
    }

    fn draw_episode(&mut self) -> (Episode, u16) {
        let (acting, seed) = (&self.config.acting, self.rng.random());
        // Over a large space no task can be drawn, and identity embeddings know one space only.
        let (own, others) = (synthetic::fits(self.tasks.space()), !self.config.network.identity);
        if self.rng.random_bool(acting.synthetic) && (own || others) {
            if others && (self.rng.random_bool(acting.made_up_spaces) || !own) {
                let space = synthetic::random_space(&mut self.rng);
                let task = synthetic::draw(&space, &[], &mut self.rng);
                let task = self.with_shorter(task);
                let env = Environment::new(
                    space,
                    self.config.environment.clone(),
                    *self.environment.settings(),
                    None,
                    Reach::Pool,
                );
                return (Episode::new(Arc::new(env), task, &[], seed), SYNTHETIC_TASK);
            }
            let task = self.synthetic_task();
            let weights = self.weights(&task);
            return (Episode::new(self.environment.clone(), task, &weights, seed), SYNTHETIC_TASK);
        }
        let index = self.tasks.learned[self.rng.random_range(0..self.tasks.learned.len())];
        let task = self.tasks.all[index].clone();
        let weights = self.weights(&task);
        (Episode::new(self.environment.clone(), task, &weights, seed), index as u16)
    }

    /// A synthetic task on the run's space; several episodes share one, since a draw costs as much as many steps.
    fn synthetic_task(&mut self) -> Arc<Task> {
        if let Some((task, left)) = self.synthetic.as_mut().filter(|(_, left)| *left > 0) {
            *left -= 1;
            return task.clone();
        }
        let relatives: Vec<Arc<Task>> =
            self.tasks.learned.iter().map(|&i| self.tasks.all[i].clone()).collect();
        let task = synthetic::draw(self.tasks.space(), &relatives, &mut self.rng);
        let task = self.with_shorter(task);
        self.synthetic = Some((task.clone(), self.config.acting.synthetic_reuse.saturating_sub(1)));
        task
    }

    /// With shorter trainings, if candidates may be some.
    fn with_shorter(&mut self, task: Arc<Task>) -> Arc<Task> {
        match self.config.environment.shorter {
            0 => task,
            _ => synthetic::with_shorter(&task, &mut self.rng),
        }
    }

    /// The prior without the task's family, the validation families and, by chance, others.
    fn weights(&mut self, task: &Task) -> Vec<f32> {
        let Some(prior) = self.environment.prior().cloned() else { return Vec::new() };
        let (rng, dropout) = (&mut self.rng, self.config.acting.prior_dropout);
        self.tasks.weights(&prior, |other| task.family() == other.family() || rng.random_bool(dropout))
    }

    /// Takes in the measurement at an episode's start.
    fn record_start(&mut self, episode: &Episode, task: u16) {
        let walk = episode.walk();
        self.record(task, walk.current_measurement(), 1.0, walk.current());
    }

    /// Asks the oracle, if it is slow, and puts the measurement into the batch if this actor made it for the first time. Synthetic tasks
    /// are computed, not measured.
    fn record(&mut self, task: u16, measurement: Measurement, fidelity: f32, choices: &[u8]) {
        if task == SYNTHETIC_TASK {
            return;
        }
        if let Some(oracle) = &mut self.oracle {
            oracle.ask(measurement.rank, fidelity);
        }
        if self.measured.insert((task, measurement.key, measurement.fidelity)) {
            let m = &mut self.batch.measurements;
            m.tasks.push(task);
            m.keys.push(measurement.key);
            m.architectures.extend_from_slice(choices);
            m.fidelities.push(fidelity);
            m.values.push(measurement.value);
        }
    }

    /// One step of every episode, which takes as long as its slowest measurement where the oracle is slow. Returns the
    /// batches that became full.
    ///
    /// # Errors
    /// The network's, if its policy does not fit the observations; [`WalkerError::NothingToSearch`].
    pub fn step(&mut self) -> Result<Vec<Experience>, WalkerError> {
        if let Some(teachers) = self.tasks.teachers.clone() {
            let full = self.compress(&teachers)?;
            self.wait_for_oracle();
            return Ok(full);
        }
        if self.config.acting.rollouts > 0 {
            let full = self.roll_out()?;
            self.wait_for_oracle();
            return Ok(full);
        }
        self.observations.clear();
        for lane in &mut self.lanes {
            observe(lane.episode.walk_mut(), &mut self.observations);
        }
        let values = match &self.network {
            Some(network) => Some(network.q_values(&self.observations)?),
            None => None,
        };
        let greedy = match &values {
            Some(values) => best_of(values, &self.observations),
            // Before the first policy the rule acts.
            None => self.lanes.iter_mut().map(|l| l.episode.walk_mut().rule_choice()).collect(),
        };
        let mut full = Vec::new();
        for (i, &best) in greedy.iter().enumerate() {
            self.step_lane(i, best, values.as_deref())?;
            self.batch.environment_steps += 1;
            // Many lanes finish a segment in the same step: one batch for all of them would grow without bound.
            if self.batch.lengths.len() >= self.config.acting.segments_per_batch {
                full.push(std::mem::take(&mut self.batch));
            }
        }
        self.wait_for_oracle();
        Ok(full)
    }

    /// Waits until everything that was asked is answered, where the oracle is slow.
    fn wait_for_oracle(&mut self) {
        if let Some(oracle) = &mut self.oracle {
            self.oracle_time += oracle.wait();
        }
    }

    fn step_lane(&mut self, i: usize, best: usize, values: Option<&[f32]>) -> Result<(), WalkerError> {
        let d = self.tasks.space().len();
        let (features, context) = (self.layout.candidate_features(), self.layout.context_features());
        let o = &self.observations;
        let (rows, count) = (o.rows(i), o.rows(i).len());
        let lane = &mut self.lanes[i];
        let explores = self.rng.random_bool(lane.epsilon);
        let action = if explores { self.rng.random_range(0..count) } else { best };
        let uniform = lane.epsilon / count as f64;
        let probability = if action == best { 1.0 - lane.epsilon + uniform } else { uniform };
        let value = |c: usize| values.map_or(0.0, |v| v[rows.start + c]);
        let mut seen = Seen {
            count,
            candidates: &o.candidates[rows.start * features..rows.end * features],
            context: &o.contexts[i * context..][..context],
            identities: o.identities.as_ref().map_or(&[], |id| &id[rows.start * d..rows.end * d]),
            chosen_value: value(best),
            best_value: value(best),
            version: self.policy_version,
        };
        if lane.segment.len() >= self.config.acting.segment {
            lane.segment.see(&seen);
            lane.segment.finish(lane.task, &mut self.batch);
        }
        seen.chosen_value = value(action);
        lane.segment.see(&seen);
        // Made-up spaces have other lengths.
        let mut choices = vec![0; lane.episode.task().space().len()];
        lane.episode.walk().choices_of(action, &mut choices);
        let candidate = lane.episode.walk().candidates()[action];
        let outcome = lane.episode.step(action);
        lane.segment.act(&Done {
            action: action as u16,
            log_probability: probability.ln() as f32,
            reward: outcome.reward,
            terminated: outcome.terminated,
            truncated: outcome.truncated,
        });
        if let Some(measured) = outcome.measured {
            let task = lane.task;
            self.record(task, measured, candidate.cost as f32, &choices);
        }
        if outcome.terminated || outcome.truncated {
            self.end_episode(i)?;
        }
        Ok(())
    }

    /// Finishes a lane's segment with the last observation and starts another episode.
    fn end_episode(&mut self, i: usize) -> Result<(), WalkerError> {
        let (d, features) = (self.tasks.space().len(), self.layout.candidate_features());
        let lane = &mut self.lanes[i];
        let mut last = ObservationBatch::new(self.observations.identities.is_some());
        observe(lane.episode.walk_mut(), &mut last);
        // An exhausted space has no candidate left; an observation has at least one, here an empty row.
        let count = last.rows(0).len().max(1);
        last.candidates.resize(count * features, 0.0);
        last.identities.iter_mut().for_each(|choices| choices.resize(count * d, 0));
        lane.segment.see(&Seen {
            count,
            candidates: &last.candidates,
            context: &last.contexts,
            identities: last.identities.as_deref().unwrap_or(&[]),
            chosen_value: 0.0,
            best_value: 0.0,
            version: self.policy_version,
        });
        lane.segment.finish(lane.task, &mut self.batch);
        let ends = &mut self.batch.episodes;
        ends.tasks.push(lane.task);
        ends.normalised_regrets.push(lane.episode.normalised_regret());
        ends.returns.push(lane.episode.returned());
        self.next_episode(i)?;
        self.measure_for_validation();
        Ok(())
    }

    fn next_episode(&mut self, i: usize) -> Result<(), WalkerError> {
        let (episode, task) = self.new_episode()?;
        self.record_start(&episode, task);
        let lane = &mut self.lanes[i];
        (lane.episode, lane.task) = (episode, task);
        Ok(())
    }

    /// With `prior = "network"` the validation tasks too are to be in the exported prior: now and then one of them is
    /// measured somewhere. No policy learns from it.
    fn measure_for_validation(&mut self) {
        if self.config.prior != PriorSource::Network || self.tasks.validation.is_empty() {
            return;
        }
        let index = self.tasks.validation[self.rng.random_range(0..self.tasks.validation.len())];
        let (space, task) = (self.tasks.space().clone(), self.tasks.all[index].clone());
        for _ in 0..self.config.environment.horizon {
            let mut choices = vec![0; space.len()];
            space.sample(&mut self.rng, &mut choices);
            let rank = space.rank(&choices);
            if let Some(value) = task.value(&choices) {
                let measurement =
                    Measurement { rank, key: task.key(&choices, rank), value, fidelity: Fidelity::Full };
                self.record(index as u16, measurement, 1.0, &choices);
            }
        }
    }
}
