//! What the training tasks say before anything of the new task is measured.

use super::{Expectation, Form, Kind, Observed, PlainSettings, Predictor, smooth::Smoother};
use srnas_basics::statistics;
use srnas_space::SearchSpace;
use srnas_task::Task;
use std::sync::{Arc, Mutex};

/// A prior's tables smoothed, by the share that was asked for; nothing where they cannot be.
type Smoothed = Arc<Mutex<Vec<(f32, Option<Arc<Prior>>)>>>;

/// Values of the training tasks over a whole space, scaled as [`Task::prior_value`]. The first tasks are expected, their values
/// computed where they are asked for, as there must be in a space that is too large for a table; those of the rest are a table:
/// f32 [tasks, encodings].
#[derive(Clone, Debug)]
pub struct Prior {
    tasks: Vec<String>,
    families: Vec<String>,
    encodings: usize,
    /// Of the list of architectures that its ranks are places in, if they are.
    list: Option<u64>,
    pub(super) values: Arc<[f32]>,
    /// Of the first tasks, instead of values.
    expectations: Arc<[Expectation]>,
    /// What these are expected from, where that is kept.
    observed: Arc<[Observed]>,
    /// The same tables smoothed by a share, made where they are first asked for.
    smoothed: Smoothed,
}

/// Why values are not a prior.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum PriorError {
    /// The number of values is not tasks × encodings.
    #[error("a prior of {tasks} tasks over {encodings} encodings needs {} values, not {found}", tasks.saturating_mul(*encodings))]
    Shape {
        /// Tasks.
        tasks: usize,
        /// Encodings of the space.
        encodings: usize,
        /// Values given.
        found: usize,
    },
    /// A value is not a number.
    #[error("the prior's value of task {task} at encoding {rank} is not a number")]
    NotFinite {
        /// The task.
        task: String,
        /// Rank of the encoding.
        rank: usize,
    },
    /// The space is too large for a table.
    #[error("space {0} is too large to tabulate a prior over it")]
    TooLarge(String),
}

impl Prior {
    /// The largest space over which a prior is tabulated, in encodings.
    pub const LARGEST: u64 = 1 << 16;

    /// A prior from values by task and rank.
    ///
    /// # Errors
    /// Refuses a wrong number of values and values that are not finite.
    pub fn new(
        tasks: Vec<String>,
        families: Vec<String>,
        encodings: usize,
        values: Vec<f32>,
    ) -> Result<Self, PriorError> {
        // A product that overflows fits no values.
        if Some(values.len()) != tasks.len().checked_mul(encodings) || families.len() != tasks.len() {
            return Err(PriorError::Shape { tasks: tasks.len(), encodings, found: values.len() });
        }
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            return Err(PriorError::NotFinite { task: tasks[i / encodings].clone(), rank: i % encodings });
        }
        Ok(Self {
            tasks,
            families,
            encodings,
            list: None,
            values: values.into(),
            expectations: Arc::from([]),
            observed: Arc::from([]),
            smoothed: Arc::default(),
        })
    }

    /// A prior that is computed where it is asked for: what is expected of each task, with its name. Only a predictor whose
    /// slots are placed ([`super::Predictor::sampled`]) can use it; it has no tables.
    pub fn expected(tasks: Vec<(String, Expectation)>) -> Self {
        let (tasks, expectations): (Vec<String>, Vec<Expectation>) = tasks.into_iter().unzip();
        Self {
            families: tasks.clone(),
            tasks,
            encodings: 0,
            list: None,
            values: Arc::from([]),
            expectations: expectations.into(),
            observed: Arc::from([]),
            smoothed: Arc::default(),
        }
    }

    /// The same from some measurements of each task, which are kept. What is expected of each is its plain posterior's mean.
    pub fn of_observed(space: &SearchSpace, settings: &PlainSettings, observed: Vec<Observed>) -> Self {
        // A task of which nothing is known keeps its place, and says nothing: one value alone is neither good nor bad.
        let something = |task: Observed| match task.values.is_empty() {
            true => Observed { choices: vec![0; space.len()], values: vec![0.0], ..task },
            false => task,
        };
        let known: Vec<Observed> = observed.into_iter().map(something).collect();
        let mut expected = Vec::with_capacity(known.len());
        // Those that were measured in the same places together.
        for alike in known.chunk_by(|a, b| a.choices == b.choices) {
            let choices: Vec<&[u8]> = alike[0].choices.chunks_exact(space.len()).collect();
            let values: Vec<&[f32]> = alike.iter().map(|task| &task.values[..]).collect();
            let expectations = Expectation::of_many(space, settings, &choices, &values);
            expected.extend(alike.iter().map(|task| task.task.clone()).zip(expectations));
        }
        let mut prior = Self::expected(expected);
        prior.families = known.iter().map(|task| task.family.clone()).collect();
        prior.observed = known.into();
        match space.size().filter(|&size| size <= Self::LARGEST) {
            Some(size) => prior.tabulated(space, size),
            None => prior,
        }
    }

    /// The same with tables, over all of a space.
    fn tabulated(self, space: &SearchSpace, size: u64) -> Self {
        let (mut choices, mut form, mut row) = (vec![0; space.len()], Form::new(space), Vec::new());
        let mut values = vec![0.0; self.tasks.len() * size as usize];
        for rank in 0..size {
            space.unrank(rank, &mut choices);
            form.assign(space, &choices);
            self.expected_at(&form, &mut row, |task, value| {
                values[task * size as usize + rank as usize] = value
            });
        }
        let (encodings, list) = (size as usize, space.list_hash());
        let (values, expectations) = (values.into(), Arc::from([]));
        Self { encodings, list, values, expectations, smoothed: Arc::default(), ..self }
    }

    /// What the training tasks say: their tables, or in a space that is too large for one, what is expected from
    /// [`Observed::ENOUGH`] measurements of them.
    ///
    /// # Errors
    /// Values that are no prior.
    pub fn of_tasks(
        space: &SearchSpace,
        settings: &PlainSettings,
        tasks: &[Arc<Task>],
    ) -> Result<Self, PriorError> {
        if space.size().is_some_and(|size| size <= Self::LARGEST) {
            return Self::from_tables(space, tasks);
        }
        Ok(Self::of_observed(space, settings, Observed::of_tasks(space, tasks, Observed::ENOUGH)))
    }

    /// The same tables, of each value this share taken from the table smoothed ([`Smoother`]); none where a task has no table. Made once.
    pub(super) fn smoothed(&self, space: &SearchSpace, share: f32) -> Option<Arc<Self>> {
        let make = || {
            let smoother = Some(space).filter(|_| self.is_tabulated()).and_then(Smoother::new)?;
            let tables: Vec<&[f32]> = (0..self.tasks.len()).map(|task| self.of_task(task)).collect();
            let smooth = smoother.smoothed(&tables);
            let mixed = self.values.iter().zip(smooth.iter().flatten());
            let values = mixed.map(|(own, smooth)| (1.0 - share) * own + share * smooth).collect();
            Some(Arc::new(Self { values, smoothed: Arc::default(), ..self.clone() }))
        };
        // Whoever asks while it is made waits for it.
        let mut made = self.smoothed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some((_, prior)) = made.iter().find(|(known, _)| *known == share) {
            return prior.clone();
        }
        let prior = make();
        made.push((share, prior.clone()));
        prior
    }

    /// What its expectations are from, where that is kept.
    pub fn observed(&self) -> &[Observed] {
        &self.observed
    }

    /// The `depth` best architectures of a task that it knows, the best first.
    pub fn best(&self, space: &SearchSpace, task: usize, depth: usize) -> Vec<Vec<u8>> {
        if !self.has_table(task) {
            return self.observed.get(task).map_or_else(Vec::new, |known| known.best(space.len(), depth));
        }
        let values = self.of_task(task);
        let mut ranks: Vec<u64> = (0..values.len() as u64).collect();
        let by_value = |a: &u64, b: &u64| values[*b as usize].total_cmp(&values[*a as usize]).then(a.cmp(b));
        let depth = depth.min(ranks.len());
        if depth < ranks.len() {
            ranks.select_nth_unstable_by(depth, by_value);
        }
        ranks.truncate(depth);
        ranks.sort_by(by_value);
        let unranked = ranks.into_iter().map(|rank| {
            let mut choices = vec![0; space.len()];
            space.unrank(rank, &mut choices);
            choices
        });
        unranked.collect()
    }

    /// The tasks of this prior, then those of another one over the same space.
    ///
    /// # Panics
    /// If tables of this one would stand before expectations of the other, or if they are over different spaces.
    pub fn joined(&self, other: &Self) -> Self {
        assert!(self.values.is_empty() || other.expectations.is_empty(), "tables come last");
        let sizes = [self.encodings, other.encodings];
        assert!(sizes[0] == sizes[1] || sizes.contains(&0), "priors over different spaces");
        Self {
            tasks: [&self.tasks[..], &other.tasks].concat(),
            families: [&self.families[..], &other.families].concat(),
            encodings: sizes[0].max(sizes[1]),
            list: self.list.or(other.list),
            values: self.values.iter().chain(&other.values[..]).copied().collect(),
            expectations: self.expectations.iter().chain(&other.expectations[..]).cloned().collect(),
            observed: self.observed.iter().chain(&other.observed[..]).cloned().collect(),
            smoothed: Arc::default(),
        }
    }

    /// Whether every task has a table.
    pub fn is_tabulated(&self) -> bool {
        self.expectations.is_empty()
    }

    /// Whether this task has one.
    pub(super) fn has_table(&self, task: usize) -> bool {
        task >= self.expectations.len()
    }

    /// Calls `each` with every task without a table and its value at an architecture; `row` is room to work in.
    pub(super) fn expected_at(&self, form: &Form, row: &mut Vec<f32>, each: impl FnMut(usize, f32)) {
        Expectation::all_at(&self.expectations, form, row, each);
    }

    /// Whether more tasks than these are without a table.
    pub(super) fn expects_beyond(&self, tasks: usize) -> bool {
        self.expectations.len() > tasks
    }

    /// `prior = "table"`: the training tasks' tables themselves.
    ///
    /// # Errors
    /// Refuses a space that is too large to tabulate.
    pub fn from_tables(space: &SearchSpace, tasks: &[Arc<Task>]) -> Result<Self, PriorError> {
        let size = space
            .size()
            .filter(|&s| s <= Self::LARGEST)
            .ok_or_else(|| PriorError::TooLarge(space.name().into()))?;
        // Ranks may differ: a task may be on another list of the space's architectures.
        let mut choices = vec![0; space.len()];
        let mut at = |task: &Task, rank| {
            space.unrank(rank, &mut choices);
            task.prior_value(&choices)
        };
        let mut values = Vec::with_capacity(tasks.len() * size as usize);
        for task in tasks {
            values.extend((0..size).map(|rank| at(task, rank)));
        }
        let names = |f: fn(&Task) -> &str| tasks.iter().map(|t| f(t).to_string()).collect();
        Ok(Self::new(names(Task::name), names(Task::family), size as usize, values)?
            .of_list(space.list_hash()))
    }

    /// The same prior, whose ranks are places in a list of this hash, see [`SearchSpace::list_hash`].
    pub fn of_list(self, list: Option<u64>) -> Self {
        Self { list, ..self }
    }

    /// The hash of the list that its ranks are places in; none where they are ranks of a whole space.
    pub fn list(&self) -> Option<u64> {
        self.list
    }

    /// Whether its ranks are those of this space, or list.
    pub fn is_over(&self, space: &SearchSpace) -> bool {
        (space.size(), space.list_hash()) == (Some(self.encodings as u64), self.list)
    }

    /// The same prior over some of the architectures of its space, see [`SearchSpace::listed`]; `whole` are those that it is over, all
    /// of a space or a list themselves.
    ///
    /// # Panics
    /// If it has no table, or is over others.
    pub fn within(&self, whole: &SearchSpace, listed: &SearchSpace) -> Self {
        assert!(self.is_tabulated() && self.is_over(whole), "a list of what it is over");
        let size = listed.size().unwrap_or(0);
        let mut choices = vec![0; listed.len()];
        let ranks: Vec<usize> = (0..size)
            .map(|rank| {
                listed.unrank(rank, &mut choices);
                whole.rank(&choices) as usize
            })
            .collect();
        let of = |task| ranks.iter().map(move |&rank| self.of_task(task)[rank]);
        let values = (0..self.tasks.len()).flat_map(of).collect();
        let (encodings, list) = (ranks.len(), listed.list_hash());
        Self { encodings, list, values, smoothed: Arc::default(), ..self.clone() }
    }

    /// Values by rank as a task of a prior has them, see [`Task::prior_value`]: 0 is the median of those that are `valid`, 1 the best.
    /// All 0 where these are the same.
    pub fn scaled(mut values: Vec<f32>, valid: impl Fn(usize) -> bool) -> Vec<f32> {
        let known = values.iter().enumerate().filter(|(rank, _)| valid(*rank));
        let mut known: Vec<f32> = known.map(|(_, value)| *value).collect();
        let median = statistics::median(&mut known);
        let gap = known.iter().copied().fold(f32::NEG_INFINITY, f32::max) - median;
        let scale = |v: f32| if gap > 0.0 { ((v - median) / gap).clamp(-3.0, 1.0) } else { 0.0 };
        values.iter_mut().for_each(|v| *v = scale(*v));
        values
    }

    /// Values by rank as a task of a prior has them of which only some are `known`: of the others what a posterior expects.
    pub fn completed(
        predictor: &mut Predictor,
        kind: Kind,
        known: impl Fn(usize) -> Option<f32>,
        valid: impl Fn(usize) -> bool,
    ) -> Vec<f32> {
        let ranks = predictor.slots();
        let beliefs = predictor.beliefs();
        let value = |rank: usize| known(rank).unwrap_or_else(|| beliefs.value(kind, rank));
        Self::scaled((0..ranks).map(value).collect(), valid)
    }

    /// Names of the tasks.
    pub fn tasks(&self) -> &[String] {
        &self.tasks
    }

    /// Families of the tasks.
    pub fn families(&self) -> &[String] {
        &self.families
    }

    /// Number of encodings of the space.
    pub fn encodings(&self) -> usize {
        self.encodings
    }

    /// Values of a task over the space: f32 [encodings].
    ///
    /// # Panics
    /// Of a task that is expected, see [`Prior::expected`].
    pub fn of_task(&self, task: usize) -> &[f32] {
        let row = task - self.expectations.len();
        &self.values[row * self.encodings..(row + 1) * self.encodings]
    }

    /// All values of the tasks with tables: f32 [tasks, encodings].
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Equal weights that sum to 1 over the tasks for which `keep` holds; all zero if it holds for none.
    pub fn weights(&self, mut keep: impl FnMut(usize) -> bool) -> Vec<f32> {
        let kept: Vec<bool> = (0..self.tasks.len()).map(&mut keep).collect();
        let n = kept.iter().filter(|&&k| k).count().max(1);
        kept.iter().map(|&k| if k { 1.0 / n as f32 } else { 0.0 }).collect()
    }

    /// Weights over every task.
    pub fn all(&self) -> Vec<f32> {
        self.weights(|_| true)
    }
}
