//! One episode: the state of a walk, its steps and their rewards.

use super::{
    Candidate, Environment,
    candidates::{Pool, Standing},
    observation,
    predictors::{Predictors, bound_choice},
    reward::shaped_quality,
};
use hashbrown::HashSet;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_predictor::Kind;
use srnas_task::Task;
use std::sync::Arc;

/// A measurement as it goes into the ledger.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// Rank of the architecture.
    pub rank: u64,
    /// Canonical key by which it was paid for.
    pub key: u64,
    /// Value of the task's objective, or of what it is after the shorter training.
    pub value: f32,
    /// Which shorter training it was: its place among the task's; none for a full one.
    pub shorter: Option<usize>,
}

/// What a step led to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Reward of the step.
    pub reward: f32,
    /// Nothing is left to move to.
    pub terminated: bool,
    /// The budget or the limit of steps is used up.
    pub truncated: bool,
    /// The measurement that was paid for, if one was.
    pub measured: Option<Measurement>,
}

/// An episode on one task. Steps do not allocate once an episode of the same length has run.
#[derive(Debug)]
pub struct Episode {
    env: Arc<Environment>,
    task: Arc<Task>,
    predictors: Option<Predictors>,
    pool: Pool,
    rng: ChaCha8Rng,
    pub(super) measured: HashSet<u64>,
    pub(super) current: Place,
    pub(super) incumbent: Place,
    candidates: Vec<Candidate>,
    pub(super) paid: usize,
    /// Full trainings among them.
    full: usize,
    /// What was paid, in full trainings.
    pub(super) spent: f64,
    steps: usize,
    horizon: usize,
    returned: f32,
    scratch: Vec<u8>,
}

/// An architecture that was measured.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) choices: Vec<u8>,
    pub(super) rank: u64,
    pub(super) key: u64,
    pub(super) value: f32,
    /// Its place among the full trainings.
    pub(super) point: usize,
}

impl Episode {
    /// An episode that is ready to step: it has measured its random start, which counts as the first paid query.
    ///
    /// `weights` are the weights of the prior's tasks (see [`srnas_predictor::Prior::weights`]); empty without a prior.
    /// Everything random in it comes from `seed`.
    pub fn new(env: Arc<Environment>, task: Arc<Task>, weights: &[f32], seed: u64) -> Self {
        let pool = Pool::new(&env);
        // One point a paid query, and room for the horizon of a longer search.
        let predictors = env.config.posteriors.then(|| Predictors::new(&env, pool.slots()));
        let d = env.space.len();
        let nowhere = Place { choices: vec![0; d], rank: 0, key: 0, value: f32::NEG_INFINITY, point: 0 };
        let mut episode = Self {
            measured: HashSet::with_capacity(env.config.horizon + 1),
            candidates: Vec::with_capacity(64),
            current: nowhere.clone(),
            incumbent: nowhere,
            paid: 0,
            full: 0,
            spent: 0.0,
            steps: 0,
            horizon: env.config.horizon,
            returned: 0.0,
            scratch: vec![0; d],
            rng: ChaCha8Rng::seed_from_u64(seed),
            pool,
            predictors,
            task: task.clone(),
            env,
        };
        episode.restart(task, weights, seed);
        episode
    }

    /// Starts over on another task of the same space, with other weights of the prior's tasks and another seed.
    pub fn restart(&mut self, task: Arc<Task>, weights: &[f32], seed: u64) {
        assert_eq!(task.space().name(), self.env.space.name(), "an episode stays in its space");
        self.task = task;
        self.rng = ChaCha8Rng::seed_from_u64(seed);
        // The start is drawn first, so that methods with the same seed begin at the same architecture.
        let (rank, key, value) = loop {
            self.env.space.sample(&mut self.rng, &mut self.current.choices);
            let rank = self.env.space.rank(&self.current.choices);
            if let Some(value) = self.task.value_of_rank(rank) {
                break (rank, self.task.key(&self.current.choices, rank), value);
            }
        };
        self.forget(weights);
        (self.current.rank, self.current.key, self.current.value) = (rank, key, value);
        self.pay();
        self.refresh();
    }

    /// Starts over from full trainings that were made elsewhere, in their order, and from shorter ones: each counts as paid, and
    /// the walk stands at the last full one. As many as the horizon pays for.
    pub fn recall(
        &mut self,
        weights: &[f32],
        measured: &[(Vec<u8>, f32)],
        shorter: &[(usize, Vec<u8>, f32)],
    ) {
        self.forget(weights);
        for (choices, value) in measured.iter().take(self.horizon) {
            self.current.choices.copy_from_slice(choices);
            let rank = self.env.space.rank(choices);
            (self.current.rank, self.current.value) = (rank, *value);
            self.current.key = self.task.key(choices, rank);
            self.pay();
        }
        for (level, choices, value) in shorter {
            let rank = self.env.space.rank(choices);
            let key = self.task.key(choices, rank);
            if let Some(predictors) = &mut self.predictors
                && predictors.levels.get(*level).is_some_and(|level| level.is_open(&self.env))
            {
                self.paid += 1;
                self.spent += predictors.levels[*level].cost;
                predictors.observe_shorter(*level, choices, rank, key, *value);
            }
        }
        self.refresh();
    }

    /// Nothing is measured or paid, on the task at hand.
    fn forget(&mut self, weights: &[f32]) {
        self.measured.clear();
        (self.paid, self.full, self.steps) = (0, 0, 0);
        (self.spent, self.returned) = (0.0, 0.0);
        self.incumbent.value = f32::NEG_INFINITY;
        let (env, task) = (&self.env, &self.task);
        if let Some(p) = &mut self.predictors {
            p.restart(env, task, weights);
        }
        self.pool.restart(env, task, weights, self.predictors.as_mut(), &mut self.rng);
    }

    /// Takes the current architecture's measurement in. Returns it.
    fn pay(&mut self) -> Measurement {
        let here = &self.current;
        let point = self.full;
        self.measured.insert(here.key);
        self.paid += 1;
        self.full += 1;
        self.spent += 1.0;
        if let Some(p) = &mut self.predictors {
            p.observe(&here.choices, here.rank, here.key, here.value);
        }
        let measurement = Measurement { rank: here.rank, key: here.key, value: here.value, shorter: None };
        if here.value > self.incumbent.value {
            self.incumbent.choices.copy_from_slice(&here.choices);
            (self.incumbent.rank, self.incumbent.key, self.incumbent.value, self.incumbent.point) =
                (here.rank, here.key, here.value, point);
            let (env, task) = (&self.env, &self.task);
            let incumbent = &self.incumbent.choices;
            self.pool.move_incumbent(env, task, incumbent, self.predictors.as_mut(), &mut self.rng);
        }
        measurement
    }

    /// A shorter training of a candidate; the walk stays where it is.
    fn pay_shorter(&mut self, chosen: &Candidate, place: usize, choices: &[u8]) -> Measurement {
        let level = &self.task.shorter()[place];
        let value = level.task.value_of_rank(chosen.rank).expect("candidates have values");
        self.paid += 1;
        self.spent += level.cost;
        if let Some(p) = &mut self.predictors {
            p.observe_shorter(place, choices, chosen.rank, chosen.key, value);
        }
        Measurement { rank: chosen.rank, key: chosen.key, value, shorter: Some(place) }
    }

    fn refresh(&mut self) {
        let away = self.current.key != self.incumbent.key;
        let standing = Standing {
            env: &self.env,
            task: &self.task,
            current: &self.current.choices,
            incumbent: away.then_some((self.incumbent.rank, self.incumbent.key)),
            measured: &self.measured,
        };
        if let Some(p) = &mut self.predictors {
            let (architectures, ranks) = self.pool.architectures();
            p.refresh(&self.env, architectures, ranks);
        }
        self.pool.candidates(standing, self.predictors.as_mut(), &mut self.rng, &mut self.candidates);
        if let Some(p) = self.predictors.as_mut().filter(|p| !p.levels.is_empty()) {
            let left = self.horizon as f64 - self.spent;
            self.pool.shorter_candidates(standing, left, p, &mut self.rng, &mut self.candidates);
        }
    }

    /// The actions of the next step.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Choices of a candidate: u8 [decisions].
    pub fn choices_of(&self, candidate: usize, out: &mut [u8]) {
        if !self.pool.choices_of(&self.env.space, &self.candidates[candidate], out) {
            out.copy_from_slice(&self.incumbent.choices);
        }
    }

    /// Moves to a candidate and measures it if it is new. After an end, [`Episode::restart`] before the next step.
    ///
    /// # Panics
    /// When there is no such candidate.
    pub fn step(&mut self, candidate: usize) -> Outcome {
        let chosen = self.candidates[candidate];
        let mut choices = std::mem::take(&mut self.scratch);
        self.choices_of(candidate, &mut choices);
        self.steps += 1;
        let before = self.normalised_regret();
        let (measured, here) = match chosen.shorter {
            Some(place) => {
                let measured = self.pay_shorter(&chosen, place, &choices);
                (Some(measured), self.task.shorter()[place].task.normalised_regret(measured.value))
            }
            None => {
                std::mem::swap(&mut self.current.choices, &mut choices);
                let value = self.task.value_of_rank(chosen.rank).expect("candidates have values");
                (self.current.rank, self.current.key, self.current.value) = (chosen.rank, chosen.key, value);
                let measured = (!chosen.measured).then(|| self.pay());
                (measured, self.task.normalised_regret(value))
            }
        };
        self.scratch = choices;
        let cost = chosen.cost as f32;
        let reward = self.env.config.reward.of_step(before, self.normalised_regret(), here, cost);
        self.returned += reward;
        // What is left pays for no full training: nothing more can be found.
        let spent = self.spent + 1.0 > self.horizon as f64 + super::ROUNDING;
        let truncated = spent || self.steps >= 2 * self.horizon + (self.paid - self.full);
        self.refresh();
        Outcome { reward, terminated: self.candidates.is_empty(), truncated, measured }
    }

    /// Writes the observation, see [`super::Layout`]: `rows` f32 [candidates, candidate features], `context` f32 [context features]. Rows beyond the candidates are left as they are.
    pub fn observe(&mut self, rows: &mut [f32], context: &mut [f32]) {
        observation::write(self, rows, context);
    }

    /// Place of the base rule's choice among the candidates: the highest mean + β·deviation of the transfer posterior
    /// (of the plain one where there is no past) among those that are not measured. Where there are shorter trainings it makes
    /// some of these first, and β goes by the evidence.
    pub fn rule_choice(&mut self) -> usize {
        match &mut self.predictors {
            Some(p) if !p.levels.is_empty() => p.rule_choice(&self.candidates),
            _ => self.bound_choice(None, self.env.config.rule_beta),
        }
    }

    /// The full training of the highest bound in one posterior (the rule's where none is named), among those that are not made;
    /// without posteriors the first of them.
    pub fn bound_choice(&mut self, kind: Option<Kind>, beta: f32) -> usize {
        let Some(p) = &mut self.predictors else {
            return self.candidates.iter().position(|c| !c.measured).unwrap_or(0);
        };
        let kind = kind.unwrap_or(p.full.rule());
        bound_choice(&mut p.full, &self.candidates, kind, beta)
    }

    /// (best − incumbent)/(best − median) of the task.
    pub fn normalised_regret(&self) -> f32 {
        self.task.normalised_regret(self.incumbent.value)
    }

    /// φ of the incumbent.
    pub fn quality(&self) -> f32 {
        shaped_quality(self.normalised_regret())
    }

    /// Value of the incumbent.
    pub fn incumbent_value(&self) -> f32 {
        self.incumbent.value
    }

    /// Choices of the incumbent.
    pub fn incumbent(&self) -> &[u8] {
        &self.incumbent.choices
    }

    /// Choices of the architecture the walk stands at.
    pub fn current(&self) -> &[u8] {
        &self.current.choices
    }

    /// The measurement of the architecture the walk stands at.
    pub fn current_measurement(&self) -> Measurement {
        let here = &self.current;
        Measurement { rank: here.rank, key: here.key, value: here.value, shorter: None }
    }

    /// Paid queries so far, the start included.
    pub fn paid(&self) -> usize {
        self.paid
    }

    /// What was paid so far, in full trainings, the start included.
    pub fn spent(&self) -> f64 {
        self.spent
    }

    /// Sum of rewards so far.
    pub fn returned(&self) -> f32 {
        self.returned
    }

    /// The task.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// What the episode shares with others.
    pub fn environment(&self) -> &Arc<Environment> {
        &self.env
    }

    /// How many shorter trainings there were, and what they cost.
    pub(super) fn shorter_trainings(&self) -> (usize, f64) {
        (self.paid - self.full, self.spent - self.full as f64)
    }

    pub(super) fn horizon(&self) -> usize {
        self.horizon
    }

    pub(super) fn parts(
        &mut self,
    ) -> (&Environment, Option<&mut Predictors>, &Pool, &[Candidate], &mut [u8]) {
        (&self.env, self.predictors.as_mut(), &self.pool, &self.candidates, &mut self.scratch)
    }
}
