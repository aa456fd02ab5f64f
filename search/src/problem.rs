//! What is searched, and what is reported of it.

use crate::{
    goal::{Goal, Objective, Values},
    live::Measured,
    method::{Fidelity, Training},
    pareto::Front,
};
use hashbrown::HashSet;
use serde::{Deserialize, Serialize};
use srnas_basics::text::percent;
use srnas_oracle::{
    benchmark::BenchmarkError,
    catalog::Catalog,
    tasks::{TaskBuildError, resolve_objectives, resolve_with_shorter},
};
use srnas_predictor::Prior;
use srnas_space::{ListedBy, SearchSpace};
use srnas_task::{Count, Shorter, Task, TaskError, TaskName};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// One or several objectives that are searched, and the metric by which the incumbent is reported.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Its name in reports.
    pub name: String,
    /// The objectives that are searched.
    pub signals: Arc<[Arc<Task>]>,
    /// By which the incumbent is reported; the signal itself where nothing else is named.
    pub report: Arc<Task>,
    /// Unit of the report, such as `%`; empty for sums.
    pub unit: String,
    /// The same after shorter trainings, the cheapest first.
    pub shorter: Arc<[Shorter]>,
    /// With several objectives: the front of the whole table.
    pub front: Option<Front>,
}

/// How many of a space's architectures have all the values that a problem needs, where some have not. Those are left out of it:
/// they are neither drawn nor asked for, and best and median are those of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// With values.
    pub known: usize,
    /// All; none where they are too many to be counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<usize>,
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.known;
        match self.all {
            Some(all) => {
                write!(
                    f,
                    "{known} of {all} architectures have a value ({})",
                    percent(known as f64 / all as f64)
                )
            }
            None => {
                write!(f, "{known} architectures have a value, a sample of a space too large to be listed")
            }
        }
    }
}

/// Why tasks are not a problem.
#[derive(Debug, thiserror::Error)]
pub enum ProblemError {
    /// A task cannot be built.
    #[error(transparent)]
    Task(#[from] TaskBuildError),
    /// A name cannot be read.
    #[error(transparent)]
    Name(#[from] srnas_task::TaskNameError),
    /// A metric is not there.
    #[error(transparent)]
    Metric(#[from] BenchmarkError),
    /// The two metrics do not measure the same.
    #[error(
        "{signal} is in {signal_unit} and {report} in {report_unit}: report a metric in the unit that is searched"
    )]
    Units {
        /// What is searched.
        signal: String,
        /// Its unit.
        signal_unit: String,
        /// What is reported.
        report: String,
        /// Its unit.
        report_unit: String,
    },
    /// No architecture has everything.
    #[error(
        "{0}: no architecture has a value of everything that is searched, reported, or said by shorter trainings"
    )]
    Nothing(String),
    /// There is nothing to choose.
    #[error("{0}: every objective is the same everywhere, so nothing can be found")]
    Constant(String),
    /// Nothing can be found.
    #[error(transparent)]
    Values(#[from] TaskError),
    /// Objectives on different spaces.
    #[error("{0} and {1} are on different spaces, and no architecture has both")]
    Spaces(String, String),
}

impl ProblemError {
    /// Whether what was asked for is to blame, not a benchmark that is missing or damaged.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Task(task) => task.is_usage(),
            _ => true,
        }
    }
}

impl Problem {
    /// One objective; `report` is what is to be reported in its place: another metric of the same data set, such as `test`,
    /// or the same of another data set, such as `test/`.
    ///
    /// # Errors
    /// See [`ProblemError`].
    pub fn single(
        catalog: &Catalog,
        task: &TaskName,
        report: Option<&str>,
        count: Count,
    ) -> Result<Self, ProblemError> {
        let mut names = vec![task.clone()];
        if let Some(metric) = report {
            let mut parts = task.as_str().splitn(3, '/').skip(1);
            let (dataset, objective) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let reported = match metric.split_once('/') {
                None => format!("{dataset}/{metric}"),
                Some((_, "")) => format!("{metric}{objective}"),
                Some(_) => metric.to_string(),
            };
            names.push(format!("{}/{reported}", task.benchmark).parse()?);
        }
        let tasks = resolve_with_shorter(catalog, &names, count)?;
        let unit = unit(catalog, task)?;
        if let Some(other) = names.get(1) {
            let found = self::unit(catalog, other)?;
            if found != unit {
                let named = |unit: String| if unit.is_empty() { "scaled units".into() } else { unit };
                return Err(ProblemError::Units {
                    signal: task.to_string(),
                    signal_unit: named(unit),
                    report: other.to_string(),
                    report_unit: named(found),
                });
            }
        }
        let tasks = with_values(tasks)?;
        for task in &tasks {
            task.searchable()?;
        }
        let report = tasks[tasks.len() - 1].clone();
        Ok(Self {
            name: task.to_string(),
            signals: Arc::from([tasks[0].clone()]),
            report,
            unit,
            shorter: tasks[0].shorter().clone(),
            front: None,
        })
    }

    /// Several objectives on one space.
    ///
    /// # Errors
    /// See [`ProblemError`].
    pub fn several(catalog: &Catalog, names: &[TaskName], count: Count) -> Result<Self, ProblemError> {
        let tasks = resolve_objectives(catalog, names, count)?;
        for task in &tasks {
            if task.space().name() != tasks[0].space().name() {
                return Err(ProblemError::Spaces(tasks[0].name().into(), task.name().into()));
            }
        }
        let tasks = with_values(tasks)?;
        let size = tasks[0].space().size().unwrap_or(0);
        let table: Vec<Vec<f32>> =
            (0..size).filter_map(|rank| tasks.iter().map(|t| t.value_of_rank(rank)).collect()).collect();
        let name = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" & ");
        if table.windows(2).all(|pair| pair[0] == pair[1]) {
            return Err(ProblemError::Constant(name));
        }
        Ok(Self {
            name,
            report: tasks[0].clone(),
            unit: String::new(),
            shorter: Arc::from([]),
            front: Front::new(&table),
            signals: tasks.into(),
        })
    }

    /// What a goal is in a space of which this was measured: a table of all that had a full training. What has no value or breaks a
    /// limit has the worst values of the rest.
    ///
    /// # Errors
    /// Where nothing has a value, and where all are equal.
    pub(crate) fn of_measured(
        space: &Arc<SearchSpace>,
        goal: &Goal,
        measured: &[Measured],
    ) -> Result<Self, ProblemError> {
        let name = goal.to_string();
        let full = measured.iter().filter(|m| m.training.fidelity.is_full());
        let values = |m: &Measured| goal.values(&m.answer).ok().filter(Values::is_within);
        // In order of their keys, each once.
        let all: BTreeMap<u64, (&[u8], Option<Values>)> =
            full.map(|m| (m.key, (&m.training.choices[..], values(m)))).collect();
        let listed = space.listed(all.values().map(|(choices, _)| *choices), ListedBy::Class);
        let listed = listed.ok_or_else(|| ProblemError::Nothing(name.clone()))?;
        let objective = |place: usize, objective: &Objective| {
            let of = |(_, values): &(&[u8], Option<Values>)| values.as_ref().map(|v| v.maximised[place]);
            let worst = all.values().filter_map(of).fold(f64::INFINITY, f64::min);
            // As the metric has them; the task turns them again.
            let shown = |maximised: f64| objective.maximised(maximised) as f32;
            let values: Vec<f32> = all.values().map(|one| shown(of(one).unwrap_or(worst))).collect();
            let (metric, space) = (&objective.metric, listed.clone());
            Ok(Arc::new(match objective.minimise {
                true => Task::minimising(metric, metric, space, values, Count::Classes)?,
                false => Task::objective(metric, metric, space, values, Count::Classes)?,
            }))
        };
        if all.values().all(|(_, values)| values.is_none()) {
            return Err(ProblemError::Nothing(name));
        }
        let objectives = goal.objectives().iter().enumerate();
        let signals: Vec<Arc<Task>> =
            objectives.map(|(place, one)| objective(place, one)).collect::<Result<_, TaskError>>()?;
        let points = |rank| signals.iter().filter_map(|task| task.value_of_rank(rank)).collect();
        let front = (signals.len() > 1)
            .then(|| Front::new(&(0..all.len() as u64).map(points).collect::<Vec<_>>()))
            .flatten();
        if front.is_none() {
            signals[0].searchable()?;
        }
        let (report, shorter) = (signals[0].clone(), Arc::from([]));
        Ok(Self { name, report, unit: String::new(), shorter, front, signals: signals.into() })
    }

    /// What a training finds; none where the table has no value.
    pub(crate) fn measure(&self, training: &Training) -> Option<Vec<f32>> {
        match training.fidelity {
            Fidelity::Full => self.signals.iter().map(|task| task.value(&training.choices)).collect(),
            Fidelity::Shorter(place) => Some(vec![self.shorter.get(place)?.task.value(&training.choices)?]),
        }
    }

    /// What a training costs, in full ones; none where there is no such training.
    pub(crate) fn cost(&self, training: &Training) -> Option<f64> {
        training
            .fidelity
            .place()
            .map_or(Some(1.0), |place| self.shorter.get(place).map(|shorter| shorter.cost))
    }

    /// How much of the space has values, where that is not all of it.
    pub fn known(&self) -> Option<Known> {
        let whole = self.space().whole()?;
        let small = whole.size().is_some_and(|size| size <= Prior::LARGEST);
        let count = |space: &SearchSpace| {
            let mut choices = vec![0; space.len()];
            let keys = valid(space).map(|rank| {
                space.unrank(rank, &mut choices);
                self.signals[0].count().key(space, &choices, rank)
            });
            keys.collect::<HashSet<u64>>().len()
        };
        Some(Known { known: count(self.space()), all: small.then(|| count(whole)) })
    }

    /// The space searched.
    pub fn space(&self) -> &Arc<SearchSpace> {
        self.signals[0].space()
    }
}

/// Unit of a task: of its metric, empty for a sum of scaled ones.
fn unit(catalog: &Catalog, task: &TaskName) -> Result<String, ProblemError> {
    let [alone] = &task.terms[..] else { return Ok(String::new()) };
    if alone.log {
        return Ok(String::new());
    }
    let open = catalog.open(&task.benchmark);
    let benchmark = open.map_err(|source| TaskBuildError::Catalog { task: task.to_string(), source })?;
    Ok(benchmark.metric(&alone.metric)?.info().unit.clone())
}

/// The tasks over the architectures that have all their values and those of the first one's shorter trainings. A whole table is left
/// as it is.
fn with_values(tasks: Vec<Arc<Task>>) -> Result<Vec<Arc<Task>>, ProblemError> {
    let (task, space) = (&tasks[0], tasks[0].space());
    let needed: Vec<&Task> =
        tasks.iter().chain(task.shorter().iter().map(|shorter| &shorter.task)).map(Arc::as_ref).collect();
    let has_all = |rank: u64| needed.iter().all(|task| task.value_of_rank(rank).is_some());
    if valid(space).all(has_all) {
        return Ok(tasks);
    }
    let mut all = Vec::new();
    for rank in (0..space.size().unwrap_or(0)).filter(|&rank| has_all(rank)) {
        let mut choices = vec![0; space.len()];
        space.unrank(rank, &mut choices);
        all.push(choices);
    }
    let by = if space.whole().is_some() { ListedBy::Class } else { ListedBy::Encoding };
    let left = space.listed(all.iter().map(Vec::as_slice), by);
    let left = left.ok_or_else(|| ProblemError::Nothing(task.name().into()))?;
    tasks.iter().map(|task| Ok(Arc::new(task.within(&left)?))).collect()
}

/// Ranks of the valid encodings.
fn valid(space: &SearchSpace) -> impl Iterator<Item = u64> {
    let mut choices = vec![0; space.len()];
    (0..space.size().unwrap_or(0)).filter(move |&rank| {
        space.unrank(rank, &mut choices);
        space.is_valid(&choices)
    })
}
