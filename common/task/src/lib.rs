//! Tasks: a benchmark plus an objective over its metrics, always maximised.
//!
//! A task's name says all of it: `nb201/cifar10/val` is one metric (the mean over its seeds), `nb201/cifar10/val:0` its
//! first seed, `nb201/cifar10/val-0.15*log(edgegpu_latency)` a weighted sum of scaled metrics; a term may name another data
//! set, as in `digits/val/clean-0.15*log(cost/latency_ms)`; `nb201/cifar10/val*(edgegpu_latency/5)^-0.07` is a product, see [`Reward`]. Names may be abbreviated
//! with braces: `nb201/{cifar10,cifar100}/val` are two tasks.

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod fidelity;
mod function;
mod matched;
mod measurable;
mod name;
mod range;
mod reward;
mod within;

pub use fidelity::{Fidelities, FidelitiesError, Fidelity, Training};
pub use function::Function;
pub use matched::UnmatchedError;
pub use measurable::Measurable;
pub use name::{TaskName, TaskNameError, Term, expand_braces};
pub use range::{LARGEST_VALUE, SMALLEST_VALUE, beyond_search};
pub use reward::{Factor, Reward, RewardError, traded};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use srnas_space::{Choices, SearchSpace};
use std::{fmt, sync::Arc};

/// What counts as one architecture where a table measured several encodings of one class apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Count {
    /// A class has the mean over its encodings and is paid for once.
    #[default]
    Classes,
    /// Every encoding for itself, as most of the literature counts.
    Strings,
}

impl Count {
    /// The key by which an architecture is paid for, of choices and their rank.
    pub fn key(self, space: &SearchSpace, choices: &Choices, rank: u64) -> u64 {
        match self {
            Self::Strings => rank,
            Self::Classes => space.canonical_key(choices),
        }
    }
}

/// Where the values of a task are.
#[derive(Clone)]
pub(crate) enum Values {
    /// By rank; NaN is a value that is missing.
    Table(Arc<[f32]>),
    /// Everywhere; so many were known when best and median were taken.
    Function(Arc<dyn Function>, usize),
}

impl Values {
    /// The value of a rank in a table; none where it is missing, there is no such rank, or there is no table.
    fn of_rank(&self, rank: u64) -> Option<f32> {
        let Self::Table(values) = self else { return None };
        values.get(usize::try_from(rank).ok()?).copied().filter(|value| value.is_finite())
    }

    /// Whether there is a value.
    fn has(&self, rank: u64) -> bool {
        matches!(self, Self::Function(..)) || self.of_rank(rank).is_some()
    }
}

/// A task whose oracle answers in microseconds: objective values by architecture, of a table or a function, with their best and median.
#[derive(Clone)]
pub struct Task {
    name: String,
    family: String,
    space: Arc<SearchSpace>,
    values: Values,
    count: Count,
    best: f32,
    median: f32,
    worst: f32,
    shorter: Arc<[Shorter]>,
    /// Whether less of what it measures is better: its values are turned, and people see them turned back.
    minimise: bool,
}

/// A shorter training of what a task measures.
#[derive(Clone, Debug)]
pub struct Shorter {
    /// What it measures, on the task's space.
    pub task: Arc<Task>,
    /// Its cost in full trainings: above 0 and below 1.
    pub cost: f64,
}

/// Why values are not a task.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("task `{name}` cannot be searched: {reason}")]
pub struct TaskError {
    name: String,
    reason: String,
}

impl Task {
    /// A task from its values, already to be maximised. With [`Count::Classes`] each class gets the mean of its
    /// encodings. Best and median are over encodings.
    ///
    /// # Errors
    /// Refuses what [`Task::objective`] and [`Task::searchable`] refuse.
    pub fn new(
        name: impl Into<String>,
        family: impl Into<String>,
        space: Arc<SearchSpace>,
        values: impl Into<Arc<[f32]>>,
        count: Count,
    ) -> Result<Self, TaskError> {
        let task = Self::objective(name, family, space, values, count)?;
        task.searchable()?;
        Ok(task)
    }

    /// As [`Task::new`], also where nothing can be found in it alone: as one of several objectives.
    ///
    /// # Errors
    /// Refuses values of the wrong number, without anything finite, or that a search cannot hold.
    pub fn objective(
        name: impl Into<String>,
        family: impl Into<String>,
        space: Arc<SearchSpace>,
        values: impl Into<Arc<[f32]>>,
        count: Count,
    ) -> Result<Self, TaskError> {
        Self::build(name.into(), family.into(), space, values.into(), count, false)
    }

    /// As [`Task::objective`] for values of which less is better: they are turned within, and [`Task::shown`] turns them back.
    ///
    /// # Errors
    /// As [`Task::objective`].
    pub fn minimising(
        name: impl Into<String>,
        family: impl Into<String>,
        space: Arc<SearchSpace>,
        values: impl Into<Arc<[f32]>>,
        count: Count,
    ) -> Result<Self, TaskError> {
        let turned = values.into().iter().map(|v| 0.0 - v).collect();
        Self::build(name.into(), family.into(), space, turned, count, true)
    }

    fn build(
        name: String,
        family: String,
        space: Arc<SearchSpace>,
        mut values: Arc<[f32]>,
        count: Count,
        minimise: bool,
    ) -> Result<Self, TaskError> {
        let error = |reason: String| TaskError { name: name.clone(), reason };
        if space.size() != Some(values.len() as u64) {
            let (n, size) = (values.len(), space.size());
            return Err(error(format!("{n} values for a space of {size:?} encodings")));
        }
        if count == Count::Classes {
            values = class_means(&space, &values);
        }
        let (best, median, worst) = function::extent(&name, values.to_vec())?;
        let shorter = Arc::from([]);
        let values = Values::Table(values);
        Ok(Self { name, family, space, values, count, best, median, worst, shorter, minimise })
    }

    /// Whether there is something to find in it alone.
    ///
    /// # Errors
    /// Refuses a task whose best equals its median: regret has no scale there.
    pub fn searchable(&self) -> Result<(), TaskError> {
        if self.best > self.median {
            return Ok(());
        }
        let best = self.shown(self.best);
        let reason = format!(
            "its best value {best} is also its median, so nothing can be found in it alone; it can be a part of a sum, or one of \
             several objectives"
        );
        Err(TaskError { name: self.name.clone(), reason })
    }

    /// The same task with its shorter trainings.
    ///
    /// # Errors
    /// Refuses costs that do not lie above 0 and below 1 and rise from one to the next, and a training on another space.
    pub fn with_shorter(self, shorter: Vec<Shorter>) -> Result<Self, TaskError> {
        let costs = std::iter::once(0.0).chain(shorter.iter().map(|s| s.cost)).chain([1.0]);
        let costs: Vec<f64> = costs.collect();
        let reason = if !costs.windows(2).all(|pair| pair[0] < pair[1]) {
            format!(
                "its shorter trainings cost {:?}, not more and more from above 0 to below 1",
                &costs[1..costs.len() - 1]
            )
        } else if let Some(other) = shorter.iter().find(|s| s.task.space.name() != self.space.name()) {
            format!("its shorter training `{}` is on another space", other.task.name)
        } else {
            return Ok(Self { shorter: shorter.into(), ..self });
        };
        Err(TaskError { name: self.name, reason })
    }

    /// Its shorter trainings, the cheapest first.
    pub fn shorter(&self) -> &Arc<[Shorter]> {
        &self.shorter
    }

    /// What of it can be measured, and at what cost: all that a search may know of it.
    pub fn measurable(&self) -> Arc<Measurable> {
        let shorter = self.shorter.iter().map(|s| (s.cost, Some(s.task.values.clone()))).collect();
        Arc::new(Measurable { count: self.count, full: Some(self.values.clone()), shorter })
    }

    /// Its value after a training; none where the table has none.
    pub fn value_after(&self, fidelity: Fidelity, choices: &Choices) -> Option<f32> {
        match fidelity {
            Fidelity::Full => self.value(choices),
            Fidelity::Shorter(place) => self.shorter.get(place)?.task.value(choices),
        }
    }

    /// The same task with other values, and without shorter trainings: what `f` makes of each canonical key and its value, or nothing. Best and median
    /// are those of the new values. Encodings that share a key are to get the same.
    ///
    /// # Errors
    /// As [`Task::new`], and of a task that answers by a function.
    pub fn map_values(&self, mut f: impl FnMut(u64, f32) -> Option<f32>) -> Result<Self, TaskError> {
        let mut choices = vec![0; self.space.len()];
        let mut map = |rank: u64, value: f32| {
            self.space.unrank(rank, &mut choices);
            let known = value.is_finite().then_some(value);
            known.and_then(|value| f(self.key(&choices, rank), value)).unwrap_or(f32::NAN)
        };
        let Values::Table(values) = &self.values else {
            let reason = "it answers by a function, and only the values of a table can be changed".into();
            return Err(TaskError { name: self.name.clone(), reason });
        };
        let values = values.iter().zip(0..).map(|(&v, rank)| map(rank, v)).collect();
        let (name, family) = (self.name.clone(), self.family.clone());
        let task = Self::build(name, family, self.space.clone(), values, self.count, self.minimise)?;
        task.searchable()?;
        Ok(task)
    }

    /// The task's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The family of the task, see [`TaskName::family`].
    pub fn family(&self) -> &str {
        &self.family
    }

    /// The space searched.
    pub fn space(&self) -> &Arc<SearchSpace> {
        &self.space
    }

    /// Highest value of the table.
    pub fn best(&self) -> f32 {
        self.best
    }

    /// Median value of the table.
    pub fn median(&self) -> f32 {
        self.median
    }

    /// Lowest value of the table.
    pub fn worst(&self) -> f32 {
        self.worst
    }

    /// Whether less of what it measures is better.
    pub fn minimises(&self) -> bool {
        self.minimise
    }

    /// A value as its metric has it, for people and files: what is maximised within may be turned.
    pub fn shown(&self, value: impl Into<f64>) -> f64 {
        let value = value.into();
        // Not -0.
        if self.minimise { 0.0 - value } else { value }
    }

    /// What counts as one architecture.
    pub fn count(&self) -> Count {
        self.count
    }

    /// Value of an architecture; `None` where the table has none.
    pub fn value(&self, choices: &Choices) -> Option<f32> {
        match &self.values {
            Values::Table(_) => self.value_of_rank(self.space.rank(choices)),
            Values::Function(function, _) => Some(function.value(choices)),
        }
    }

    /// Values of several architectures, u8 [architectures, decisions]; NaN where the table has none.
    pub fn values(&self, architectures: &[u8]) -> Vec<f32> {
        let d = self.space.len();
        match &self.values {
            Values::Table(_) => {
                architectures.chunks_exact(d).map(|choices| self.value(choices).unwrap_or(f32::NAN)).collect()
            }
            Values::Function(function, _) => function.values(architectures, d),
        }
    }

    /// Value by rank, of a table; none of a task that answers by a function, whose architectures may have no rank of their own.
    pub fn value_of_rank(&self, rank: u64) -> Option<f32> {
        self.values.of_rank(rank)
    }

    /// How many encodings have a place in its table; none where a function answers.
    pub fn tabulated(&self) -> Option<u64> {
        match &self.values {
            Values::Table(values) => Some(values.len() as u64),
            Values::Function(..) => None,
        }
    }

    /// Of a task that answers by a function: how many architectures its best and median are of.
    pub fn best_of(&self) -> Option<usize> {
        match &self.values {
            Values::Table(_) => None,
            Values::Function(_, known) => Some(*known),
        }
    }

    /// The key by which a measurement is paid for.
    pub fn key(&self, choices: &Choices, rank: u64) -> u64 {
        self.count.key(&self.space, choices, rank)
    }

    /// (best − value)/(best − median): 0 is optimal, 1 is median.
    pub fn normalised_regret(&self, value: f32) -> f32 {
        (self.best - value) / (self.best - self.median)
    }

    /// How the task looks in a prior: clip((value − median)/(best − median), −3, 1). A missing value counts as the median.
    pub fn prior_value(&self, choices: &Choices) -> f32 {
        self.value(choices).map_or(0.0, |v| (1.0 - self.normalised_regret(v)).clamp(-3.0, 1.0))
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({}, best {}, median {})", self.name, self.best, self.median)
    }
}

fn class_means(space: &SearchSpace, values: &[f32]) -> Arc<[f32]> {
    let mut choices = vec![0; space.len()];
    let keys = (0..values.len() as u64).map(|rank| {
        space.unrank(rank, &mut choices);
        space.canonical_key(&choices)
    });
    let keys: Vec<u64> = keys.collect();
    let mut sums: hashbrown::HashMap<u64, (f64, u32)> = hashbrown::HashMap::new();
    for (&key, &value) in keys.iter().zip(values).filter(|(_, value)| value.is_finite()) {
        let (sum, n) = sums.entry(key).or_default();
        *sum += f64::from(value);
        *n += 1;
    }
    let mean = |key: &u64| sums.get(key).map_or(f32::NAN, |(sum, n)| (sum / f64::from(*n)) as f32);
    keys.iter().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_take_the_mean_of_their_encodings() {
        let space = SearchSpace::named("nb201").unwrap();
        // One class: all none, and a convolution on edge 1>3 that nothing feeds.
        let values: Arc<[f32]> = (0..15_625).map(|r| r as f32).collect();
        let strings = Task::new("t", "f", space.clone(), values.clone(), Count::Strings).unwrap();
        let classes = Task::new("t", "f", space.clone(), values, Count::Classes).unwrap();
        let dead = [0u8, 0, 0, 0, 3, 0];
        assert_eq!(strings.value(&dead), Some(15.0));
        assert_eq!(classes.value(&dead), classes.value(&[0; 6]));
        assert_eq!(classes.key(&dead, 15), classes.key(&[0; 6], 0));
        assert_ne!(strings.key(&dead, 15), strings.key(&[0; 6], 0));
    }

    #[test]
    fn tasks_in_which_nothing_can_be_found_are_refused() {
        let space = SearchSpace::named("nb201").unwrap();
        let task = |v: Vec<f32>| Task::new("t", "f", space.clone(), v, Count::Strings);
        assert!(task(vec![1.0; 15_625]).is_err());
        assert!(task(vec![f32::NAN; 15_625]).is_err());
        assert!(task(vec![1.0; 3]).is_err());
    }

    #[test]
    fn what_is_minimised_is_turned_within_and_shown_as_it_is() {
        let space = SearchSpace::named("nb201").unwrap();
        let task = |values: Vec<f32>| Task::minimising("t", "f", space.clone(), values, Count::Strings);
        let latency = task((0..15_625).map(|rank| 2.0 + rank as f32).collect()).unwrap();
        assert_eq!((latency.best(), latency.shown(latency.best()), latency.minimises()), (-2.0, 2.0, true));
        assert_eq!(latency.shown(latency.median()), 2.0 + 7812.0);
        assert_eq!(latency.normalised_regret(-2.0), 0.0);
        let known = latency.map_values(|_, value| (value > -9.0).then_some(value)).unwrap();
        assert_eq!((known.shown(known.best()), known.minimises()), (2.0, true));
        let refused = task(vec![3.5; 15_625]).unwrap().searchable().unwrap_err().to_string();
        assert!(refused.contains("best value 3.5 is"), "{refused}");
    }
}
