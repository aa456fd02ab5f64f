//! One episode: the state of a walk, its steps and their rewards.

use super::{
    Candidate, Environment,
    candidates::{Pool, Standing},
    observation,
    reward::shaped_quality,
};
use crate::{posterior::Predictor, task::Task};
use hashbrown::HashSet;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// A measurement as it goes into the ledger.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// Rank of the architecture.
    pub rank: u64,
    /// Canonical key by which it was paid for.
    pub key: u64,
    /// Value of the task's objective.
    pub value: f32,
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
    predictor: Option<Predictor>,
    pool: Pool,
    rng: ChaCha8Rng,
    pub(super) measured: HashSet<u64>,
    pub(super) current: Place,
    pub(super) incumbent: Place,
    candidates: Vec<Candidate>,
    pub(super) paid: usize,
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
}

impl Episode {
    /// An episode that is ready to step: it has measured its random start, which counts as the first paid query.
    ///
    /// `weights` are the weights of the prior's tasks (see [`crate::posterior::Prior::weights`]); empty without a prior.
    /// Everything random in it comes from `seed`.
    pub fn new(env: Arc<Environment>, task: Arc<Task>, weights: &[f32], seed: u64) -> Self {
        let pool = Pool::new(&env);
        let predictor = env.config.posteriors.then(|| {
            // One point a paid query, and room for the horizon of a longer search.
            let points = env.config.horizon;
            match &env.whole {
                Some(whole) => {
                    Predictor::whole(env.space.clone(), whole, env.settings, env.prior.clone(), points)
                }
                None => Predictor::sampled(
                    env.space.clone(),
                    env.settings,
                    env.prior.clone(),
                    points,
                    pool.slots(),
                ),
            }
        });
        let d = env.space.len();
        let nowhere = Place { choices: vec![0; d], rank: 0, key: 0, value: f32::NEG_INFINITY };
        let mut episode = Self {
            measured: HashSet::with_capacity(env.config.horizon + 1),
            candidates: Vec::with_capacity(64),
            current: nowhere.clone(),
            incumbent: nowhere,
            paid: 0,
            steps: 0,
            horizon: env.config.horizon,
            returned: 0.0,
            scratch: vec![0; d],
            rng: ChaCha8Rng::seed_from_u64(seed),
            pool,
            predictor,
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
        self.measured.clear();
        (self.paid, self.steps, self.returned) = (0, 0, 0.0);
        self.incumbent.value = f32::NEG_INFINITY;
        // The start is drawn first, so that methods with the same seed begin at the same architecture.
        let (rank, key, value) = loop {
            self.env.space.sample(&mut self.rng, &mut self.current.choices);
            let rank = self.env.space.rank(&self.current.choices);
            if let Some(value) = self.task.value_of_rank(rank) {
                break (rank, self.task.key(&self.current.choices, rank), value);
            }
        };
        (self.current.rank, self.current.key, self.current.value) = (rank, key, value);
        if let Some(p) = &mut self.predictor {
            p.restart(weights);
        }
        let (env, task) = (&self.env, &self.task);
        self.pool.restart(env, task, weights, self.predictor.as_mut(), &mut self.rng);
        self.pay();
        self.refresh();
    }

    /// Starts over from measurements that were made elsewhere, in their order: each counts as paid, and the walk stands at
    /// the last one. As many as the horizon at most.
    pub fn recall(&mut self, weights: &[f32], measured: &[(Vec<u8>, f32)]) {
        self.measured.clear();
        (self.paid, self.steps, self.returned) = (0, 0, 0.0);
        self.incumbent.value = f32::NEG_INFINITY;
        if let Some(p) = &mut self.predictor {
            p.restart(weights);
        }
        let (env, task) = (&self.env, &self.task);
        self.pool.restart(env, task, weights, self.predictor.as_mut(), &mut self.rng);
        for (choices, value) in measured.iter().take(self.horizon) {
            self.current.choices.copy_from_slice(choices);
            let rank = self.env.space.rank(choices);
            (self.current.rank, self.current.value) = (rank, *value);
            self.current.key = self.task.key(choices, rank);
            self.pay();
        }
        self.refresh();
    }

    /// Takes the current architecture's measurement in. Returns it.
    fn pay(&mut self) -> Measurement {
        let here = &self.current;
        self.measured.insert(here.key);
        self.paid += 1;
        if let Some(p) = &mut self.predictor {
            p.observe(&here.choices, here.rank, here.value);
        }
        let measurement = Measurement { rank: here.rank, key: here.key, value: here.value };
        if here.value > self.incumbent.value {
            self.incumbent.choices.copy_from_slice(&here.choices);
            (self.incumbent.rank, self.incumbent.key, self.incumbent.value) =
                (here.rank, here.key, here.value);
            let (env, task) = (&self.env, &self.task);
            let incumbent = &self.incumbent.choices;
            self.pool.move_incumbent(env, task, incumbent, self.predictor.as_mut(), &mut self.rng);
        }
        measurement
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
        self.pool.candidates(standing, self.predictor.as_mut(), &mut self.rng, &mut self.candidates);
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
        std::mem::swap(&mut self.current.choices, &mut choices);
        self.scratch = choices;
        let value = self.task.value_of_rank(chosen.rank).expect("candidates have values");
        (self.current.rank, self.current.key, self.current.value) = (chosen.rank, chosen.key, value);
        self.steps += 1;
        let before = self.normalised_regret();
        let measured = (!chosen.measured).then(|| self.pay());
        let here = self.task.normalised_regret(value);
        let reward = self.env.config.reward.of_step(before, self.normalised_regret(), here);
        self.returned += reward;
        let truncated = self.paid >= self.horizon || self.steps >= 2 * self.horizon;
        self.refresh();
        Outcome { reward, terminated: self.candidates.is_empty(), truncated, measured }
    }

    /// Writes the observation: `rows` f32 [candidates, [`super::CANDIDATE_FEATURES`]], `context` f32
    /// [[`super::CONTEXT_FEATURES`]]. Rows beyond the candidates are left as they are.
    pub fn observe(&mut self, rows: &mut [f32], context: &mut [f32]) {
        observation::write(self, rows, context);
    }

    /// Place of the base rule's choice among the candidates: the highest mean + β·deviation of the transfer posterior
    /// (of the plain one where there is no past) among those that are not measured.
    pub fn rule_choice(&mut self) -> usize {
        let beta = self.env.config.rule_beta;
        self.bound_choice(None, beta)
    }

    /// The same with another posterior and β; without posteriors the first candidate that is not measured.
    pub fn bound_choice(&mut self, kind: Option<crate::posterior::Kind>, beta: f32) -> usize {
        let mut best = (f32::NEG_INFINITY, 0);
        let Some(p) = &mut self.predictor else {
            return self.candidates.iter().position(|c| !c.measured).unwrap_or(0);
        };
        let kind = kind.unwrap_or(p.rule());
        let beliefs = p.beliefs();
        for (i, c) in self.candidates.iter().enumerate() {
            if let (false, Some(slot)) = (c.measured, c.slot) {
                let (mean, deviation) = beliefs.of(kind, slot);
                if mean + beta * deviation > best.0 {
                    best = (mean + beta * deviation, i);
                }
            }
        }
        best.1
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
        Measurement { rank: self.current.rank, key: self.current.key, value: self.current.value }
    }

    /// Paid queries so far, the start included.
    pub fn paid(&self) -> usize {
        self.paid
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

    pub(super) fn horizon(&self) -> usize {
        self.horizon
    }

    pub(super) fn parts(&mut self) -> (&Environment, Option<&mut Predictor>, &Pool, &[Candidate], &mut [u8]) {
        (&self.env, self.predictor.as_mut(), &self.pool, &self.candidates, &mut self.scratch)
    }
}
