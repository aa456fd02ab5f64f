//! One episode of training: a walk on a task whose values are known, and what its steps earn.

use super::{Candidate, Environment, Walk, reward::shaped_quality};
use srnas_space::Choices;
use srnas_task::{Fidelity, Task, Training};
use std::{collections::VecDeque, sync::Arc};

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

/// An episode on one task. Steps do not allocate once an episode of the same length has run and nothing is under way.
///
/// With several slots ([`super::EnvironmentConfig::slots`]) a step begins a training, and where every slot is taken the one that began
/// first ends: what is chosen next is chosen while the others are under way, as a search with so many workers does it.
#[derive(Clone, Debug)]
pub struct Episode {
    walk: Walk,
    /// The walk as if what is under way had found what is expected of it, while something is.
    imagined: Option<Box<Walk>>,
    /// What is under way, the first to end first, and what it will find.
    under_way: VecDeque<(Training, f32)>,
    task: Arc<Task>,
    returned: f32,
}

impl Episode {
    /// An episode that is ready to step: it has measured its random start, which counts as the first paid query.
    /// See [`Walk::new`].
    pub fn new(env: Arc<Environment>, task: Arc<Task>, weights: &[f32], seed: u64) -> Self {
        assert!(task.space().shares_ranks(&env.space), "an episode stays in its space");
        let walk = Walk::new(env, task.measurable(), weights, seed);
        let mut episode = Self { walk, imagined: None, under_way: VecDeque::new(), task, returned: 0.0 };
        episode.begin();
        episode
    }

    /// Starts over on another task of the same space, with other weights of the prior's tasks and another seed.
    pub fn restart(&mut self, task: Arc<Task>, weights: &[f32], seed: u64) {
        assert!(task.space().shares_ranks(self.task.space()), "an episode stays in its space");
        self.walk.restart(task.measurable(), weights, seed);
        self.imagined = None;
        self.under_way.clear();
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
        self.stepped(candidate, Walk::look)
    }

    /// As [`Episode::step`], but afterwards the walk has looked for what its base rule moves to and may have no other candidates: for who
    /// follows the rule from here on ([`Walk::look_by_rule`]).
    ///
    /// # Panics
    /// When there is no such candidate.
    pub fn step_by_rule(&mut self, candidate: usize) -> Outcome {
        self.stepped(candidate, Walk::look_by_rule)
    }

    /// Moves, measures, and looks for what may come next.
    fn stepped(&mut self, candidate: usize, look: fn(&mut Walk)) -> Outcome {
        let cost = self.walk().candidates()[candidate].cost as f32;
        let before = self.normalised_regret();
        let (measured, mut here) = self.move_to(candidate);
        self.look_by(look);
        let (mut terminated, truncated) = (self.walk().candidates().is_empty(), self.walk().is_over());
        // What is under way ends when nothing more begins; where that leads nowhere else the episode does.
        if (terminated || truncated) && !self.under_way.is_empty() {
            while let Some(ended) = self.end_first() {
                here = ended;
            }
            self.look_by(look);
            terminated = self.walk.candidates().is_empty();
        }
        let of = here.fidelity.place().map_or(&self.task, |place| &self.task.shorter()[place].task);
        let here = of.normalised_regret(here.value);
        let reward =
            self.walk.environment().config.reward.of_step(before, self.normalised_regret(), here, cost);
        self.returned += reward;
        Outcome { reward, terminated, truncated, measured }
    }

    /// Moves to a candidate: what was begun there, and what the walk knows last.
    fn move_to(&mut self, candidate: usize) -> (Option<Measurement>, Measurement) {
        let task = &self.task;
        let value = |chosen: &Candidate, choices: &Choices| {
            task.value_after(chosen.fidelity, choices).expect("candidates have values")
        };
        let chosen = self.walk().candidates()[candidate];
        let slots = self.walk.environment().config.slots;
        if let Some(imagined) = self.imagined.as_mut().filter(|_| chosen.measured) {
            imagined.go(candidate);
            self.walk.stand_with(imagined);
        } else if slots == 1 || chosen.measured {
            let measured = self.walk.step(candidate, value);
            return (measured, measured.unwrap_or_else(|| self.walk.current_measurement()));
        } else {
            let mut choices = vec![0; task.space().len()];
            self.walk().choices_of(candidate, &mut choices);
            let value = value(&chosen, &choices);
            let training = Training { choices, fidelity: chosen.fidelity };
            self.walk.begun(&training);
            self.under_way.push_back((training, value));
            let ended = if self.under_way.len() == slots { self.end_first() } else { None };
            let begun = Measurement { rank: chosen.rank, key: chosen.key, value, fidelity: chosen.fidelity };
            return (Some(begun), ended.unwrap_or_else(|| self.walk.current_measurement()));
        }
        (None, self.walk.current_measurement())
    }

    /// Ends what began first, if anything did.
    fn end_first(&mut self) -> Option<Measurement> {
        let (training, value) = self.under_way.pop_front()?;
        self.walk.told(&training.choices, training.fidelity, value);
        let here = self.walk.current_measurement();
        // A shorter training leaves the walk where it stands.
        Some(Measurement { value, fidelity: training.fidelity, ..here })
    }

    fn look_by(&mut self, look: fn(&mut Walk)) {
        if self.under_way.is_empty() {
            self.imagined = None;
            return look(&mut self.walk);
        }
        let mut imagined = self.walk.imagined();
        look(&mut imagined);
        self.walk.draw_with(&imagined);
        self.imagined = Some(Box::new(imagined));
    }

    /// The walk; while trainings are under way as if they had found what is expected of them.
    pub fn walk(&self) -> &Walk {
        self.imagined.as_deref().unwrap_or(&self.walk)
    }

    /// The walk, to be observed or asked for its rule's choice.
    pub fn walk_mut(&mut self) -> &mut Walk {
        self.imagined.as_deref_mut().unwrap_or(&mut self.walk)
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
