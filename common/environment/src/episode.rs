//! One episode of training: a walk on a task whose values are known, and what its steps earn.

use super::{Environment, Walk, reward::shaped_quality};
use srnas_space::Choices;
use srnas_task::{Fidelity, Task};
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
    /// How long it was trained.
    pub fidelity: Fidelity,
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
#[derive(Clone, Debug)]
pub struct Episode {
    walk: Walk,
    task: Arc<Task>,
    returned: f32,
}

impl Episode {
    /// An episode that is ready to step: it has measured its random start, which counts as the first paid query.
    /// See [`Walk::new`].
    pub fn new(env: Arc<Environment>, task: Arc<Task>, weights: &[f32], seed: u64) -> Self {
        assert!(task.space().shares_ranks(&env.space), "an episode stays in its space");
        let walk = Walk::new(env, task.measurable(), weights, seed);
        let mut episode = Self { walk, task, returned: 0.0 };
        episode.begin();
        episode
    }

    /// Starts over on another task of the same space, with other weights of the prior's tasks and another seed.
    pub fn restart(&mut self, task: Arc<Task>, weights: &[f32], seed: u64) {
        assert!(task.space().shares_ranks(self.task.space()), "an episode stays in its space");
        self.walk.restart(task.measurable(), weights, seed);
        (self.task, self.returned) = (task, 0.0);
        self.begin();
    }

    fn begin(&mut self) {
        let start = self.walk.start().to_vec();
        let value = self.task.value(&start).expect("a start has a value");
        self.walk.told(&start, Fidelity::Full, value);
        self.walk.look();
    }

    /// Moves to a candidate and measures it if it is new. After an end, [`Episode::restart`] before the next step.
    ///
    /// # Panics
    /// When there is no such candidate.
    pub fn step(&mut self, candidate: usize) -> Outcome {
        let mut outcome = self.move_to(candidate);
        self.walk.look();
        outcome.terminated = self.walk.candidates().is_empty();
        outcome
    }

    /// As [`Episode::step`], but afterwards the walk has looked for what its base rule moves to and may have no other candidates: for who
    /// follows the rule from here on ([`Walk::look_by_rule`]).
    ///
    /// # Panics
    /// When there is no such candidate.
    pub fn step_by_rule(&mut self, candidate: usize) -> Outcome {
        let mut outcome = self.move_to(candidate);
        self.walk.look_by_rule();
        outcome.terminated = self.walk.candidates().is_empty();
        outcome
    }

    /// Moves and measures, and looks for nothing.
    fn move_to(&mut self, candidate: usize) -> Outcome {
        let (task, cost) = (&self.task, self.walk.candidates()[candidate].cost as f32);
        let before = self.normalised_regret();
        let value = |chosen: &super::Candidate, choices: &Choices| {
            task.value_after(chosen.fidelity, choices).expect("candidates have values")
        };
        let measured = self.walk.step(candidate, value);
        let here = measured.unwrap_or_else(|| self.walk.current_measurement());
        let of = here.fidelity.place().map_or(task, |place| &task.shorter()[place].task);
        let here = of.normalised_regret(here.value);
        let reward =
            self.walk.environment().config.reward.of_step(before, self.normalised_regret(), here, cost);
        self.returned += reward;
        Outcome { reward, terminated: false, truncated: self.walk.is_over(), measured }
    }

    /// The walk.
    pub fn walk(&self) -> &Walk {
        &self.walk
    }

    /// The walk, to be observed or asked for its rule's choice.
    pub fn walk_mut(&mut self) -> &mut Walk {
        &mut self.walk
    }

    /// (best − incumbent)/(best − median) of the task.
    pub fn normalised_regret(&self) -> f32 {
        self.task.normalised_regret(self.walk.incumbent_value())
    }

    /// φ of the incumbent.
    pub fn quality(&self) -> f32 {
        shaped_quality(self.normalised_regret())
    }

    /// Sum of rewards so far.
    pub fn returned(&self) -> f32 {
        self.returned
    }

    /// The task.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }
}
