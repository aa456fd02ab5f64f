//! What is searched, and what is reported of it.

mod error;
mod part;

pub use error::ProblemError;

use crate::{
    goal::{Goal, Limit, Objective, Values},
    known::{Known, Why},
    live::Measured,
    method::{Fidelity, Training},
    pareto::Front,
};
use hashbrown::HashSet;
use part::{Part, keeping};
use srnas_environment::compress::Students;
use srnas_oracle::{
    catalog::Catalog,
    tasks::{TaskBuildError, resolve_objectives, resolve_with_shorter, untrained},
};
use srnas_predictor::{Prior, Untrained};
use srnas_space::{ListedBy, SearchSpace};
use srnas_task::{Count, Shorter, Task, TaskError, TaskName};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// One or several objectives that are searched, and the metric by which the incumbent is reported.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Its name in reports.
    pub name: String,
    /// The objectives that are searched, of all that keeps the limits: best and median are theirs.
    pub signals: Arc<[Arc<Task>]>,
    /// The same of every architecture, whether it keeps the limits or not: what methods are told.
    searched: Arc<[Arc<Task>]>,
    /// Within which limits an architecture counts.
    limits: Arc<[Within]>,
    /// Why nothing else of its space counts, where there is more.
    why: Why,
    /// By which the incumbent is reported; the signal itself where nothing else is named.
    pub report: Arc<Task>,
    /// Unit of the report, such as `%`; empty for sums.
    pub unit: String,
    /// The same after shorter trainings, the cheapest first.
    pub shorter: Arc<[Shorter]>,
    /// With several objectives: the front of the whole table.
    pub front: Option<Front>,
    /// What is known of architectures without training them, where that was asked for.
    untrained: Option<Arc<Untrained>>,
    /// Everything that the benchmark lists; some of it may be without a value.
    table: Arc<SearchSpace>,
    /// What a teacher may become, where the space has teachers.
    students: Option<Students>,
}

/// A limit, and the metric that it is on.
#[derive(Clone, Debug)]
struct Within {
    limit: Limit,
    metric: Arc<Task>,
}

impl Within {
    /// How far an architecture is within the limit; none where the table has no value.
    fn slack(&self, choices: &[u8]) -> Option<f32> {
        let value = self.metric.shown(self.metric.value(choices)?) as f32;
        // As precise as tables are: a value that was copied from one is at the bound and not beyond it.
        let bound = self.limit.bound as f32;
        Some(if self.limit.at_most { bound - value } else { value - bound })
    }
}

impl Problem {
    /// Tasks on one space, as objectives to be searched together; of one, what its shorter trainings are, too.
    ///
    /// # Panics
    /// Without tasks.
    pub fn on(name: impl Into<String>, unit: impl Into<String>, tasks: Vec<Arc<Task>>) -> Self {
        let size = tasks[0].tabulated().unwrap_or(0);
        let points = |rank| tasks.iter().map(|task| task.value_of_rank(rank)).collect();
        let front = (tasks.len() > 1).then(|| Front::new(&(0..size).filter_map(points).collect::<Vec<_>>()));
        let signals: Arc<[Arc<Task>]> = tasks.into();
        Self {
            name: name.into(),
            report: signals[0].clone(),
            unit: unit.into(),
            shorter: if signals.len() == 1 { signals[0].shorter().clone() } else { Arc::from([]) },
            front: front.flatten(),
            table: signals[0].space().clone(),
            searched: signals.clone(),
            signals,
            limits: Arc::from([]),
            why: Why::HaveAValue,
            untrained: None,
            students: None,
        }
    }

    /// One objective; `report` is what is to be reported in its place: another metric of the same data set, such as `test`,
    /// or the same of another data set, such as `test/`. Limits are on metrics of the same data set, too, or name another.
    ///
    /// # Errors
    /// See [`ProblemError`].
    pub fn single(
        catalog: &Catalog,
        task: &TaskName,
        report: Option<&str>,
        limits: &[Limit],
        count: Count,
    ) -> Result<Self, ProblemError> {
        let mut names = vec![task.clone()];
        names.extend(report.map(|metric| beside(task, metric)).transpose()?);
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
        let table = tasks[0].space().clone();
        let (searched, counted, limits) = within(catalog, task, tasks, limits, count)?;
        for task in &counted {
            task.searchable().map_err(|error| match limits.is_empty() {
                true => ProblemError::Values(error),
                false => equal(named(task.name(), &limits), task),
            })?;
        }
        // Methods that know limits know no shorter trainings.
        let shorter = if limits.is_empty() { searched[0].shorter().clone() } else { Arc::from([]) };
        Ok(Self {
            name: named(task, &limits),
            report: counted[counted.len() - 1].clone(),
            signals: Arc::from([counted[0].clone()]),
            searched: Arc::from([searched[0].clone()]),
            limits,
            why: Why::HaveAValue,
            unit,
            shorter,
            front: None,
            untrained: None,
            students: None,
            table,
        })
    }

    /// Several objectives on one space; limits are on metrics of the first one's data set, or name another.
    ///
    /// # Errors
    /// See [`ProblemError`].
    pub fn several(
        catalog: &Catalog,
        names: &[TaskName],
        limits: &[Limit],
        count: Count,
    ) -> Result<Self, ProblemError> {
        let tasks = resolve_objectives(catalog, names, count)?;
        for task in &tasks {
            if task.space().name() != tasks[0].space().name() {
                return Err(ProblemError::Spaces(tasks[0].name().into(), task.name().into()));
            }
        }
        let lists = tasks[0].space().clone();
        let (searched, signals, limits) = within(catalog, &names[0], tasks, limits, count)?;
        let Some(size) = signals[0].tabulated() else {
            let names = names.iter().map(ToString::to_string).collect::<Vec<_>>();
            return Err(ProblemError::NoTable(names.join(" & ")));
        };
        let table: Vec<Vec<f32>> =
            (0..size).filter_map(|rank| signals.iter().map(|t| t.value_of_rank(rank)).collect()).collect();
        let name = named(names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" & "), &limits);
        if table.windows(2).all(|pair| pair[0] == pair[1]) {
            return Err(match limits.is_empty() {
                true => ProblemError::Constant(name),
                false => equal(name, &signals[0]),
            });
        }
        Ok(Self {
            name,
            report: signals[0].clone(),
            unit: String::new(),
            shorter: Arc::from([]),
            front: Front::new(&table),
            signals: signals.into(),
            searched: searched.into(),
            limits,
            why: Why::HaveAValue,
            untrained: None,
            students: None,
            table: lists,
        })
    }

    /// What a goal is in a space of which this was measured: a table of all that had a full training and counts.
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
        // What has no value or breaks a limit counts as little as what was not measured. In order of their keys, each once.
        let counts = |m: &Measured| goal.values(&m.answer).ok().filter(Values::is_within);
        let all: BTreeMap<u64, (&[u8], Values)> =
            full.filter_map(|m| Some((m.key, (&m.training.choices[..], counts(m)?)))).collect();
        let listed = space.listed(all.values().map(|(choices, _)| *choices), ListedBy::Class);
        let listed = listed.ok_or_else(|| match goal.limits().is_empty() {
            true => ProblemError::Nothing(name.clone()),
            false => ProblemError::Unmet(name.clone(), measured.len()),
        })?;
        let objective = |(place, objective): (usize, &Objective)| {
            // As the metric has them; the task turns them again.
            let shown = |(_, values): &(&[u8], Values)| objective.maximised(values.maximised[place]) as f32;
            let values: Vec<f32> = all.values().map(shown).collect();
            let (metric, space) = (&objective.metric, listed.clone());
            Ok(Arc::new(match objective.minimise {
                true => Task::minimising(metric, metric, space, values, Count::Classes)?,
                false => Task::objective(metric, metric, space, values, Count::Classes)?,
            }))
        };
        let signals: Arc<[Arc<Task>]> =
            goal.objectives().iter().enumerate().map(objective).collect::<Result<_, TaskError>>()?;
        let points = |rank| signals.iter().filter_map(|task| task.value_of_rank(rank)).collect();
        let front = (signals.len() > 1)
            .then(|| Front::new(&(0..all.len() as u64).map(points).collect::<Vec<_>>()))
            .flatten();
        if front.is_none() {
            signals[0].searchable()?;
        }
        let (report, searched) = (signals[0].clone(), signals.clone());
        Ok(Self {
            name,
            report,
            unit: String::new(),
            shorter: Arc::from([]),
            front,
            signals,
            searched,
            limits: Arc::from([]),
            why: Why::WereMeasured,
            untrained: None,
            students: None,
            table: listed,
        })
    }

    /// The same where methods that know a past know of every architecture what takes no training. `made` has what other problems of the
    /// comparison know, by their benchmarks.
    ///
    /// # Errors
    /// Where the benchmark says of nothing that it takes none.
    pub fn describing(
        self,
        catalog: &Catalog,
        made: &mut Vec<(String, Arc<Untrained>)>,
    ) -> Result<Self, ProblemError> {
        let name: TaskName = self.searched[0].name().parse()?;
        let known = untrained(catalog, &name)?.and_then(|describe| {
            let of_this = made.iter().filter(|(benchmark, _)| *benchmark == name.benchmark);
            let mut same = of_this.filter(|(_, other)| other.is_of(self.space(), describe.names()));
            if let Some((_, known)) = same.next() {
                return Some(known.clone());
            }
            let new = Arc::new(Untrained::new(self.space(), describe)?);
            made.push((name.benchmark.clone(), new.clone()));
            Some(new)
        });
        match known {
            None => Err(ProblemError::Undescribed { task: self.name, benchmark: name.benchmark }),
            known => Ok(Self { untrained: known, ..self }),
        }
    }

    /// Everything that the benchmark lists, of which [`Self::space`] may be a part.
    pub(crate) fn table(&self) -> &Arc<SearchSpace> {
        &self.table
    }

    /// What is known of architectures without training them, where that was asked for.
    pub fn untrained(&self) -> Option<&Arc<Untrained>> {
        self.untrained.as_ref()
    }

    /// What a training finds: the objectives, and how far each limit is kept; none where the table has no value.
    pub(crate) fn measure(&self, training: &Training) -> Option<Vec<f32>> {
        match training.fidelity {
            Fidelity::Full => {
                let objectives = self.searched.iter().map(|task| task.value(&training.choices));
                objectives.chain(self.limits.iter().map(|limit| limit.slack(&training.choices))).collect()
            }
            Fidelity::Shorter(place) => Some(vec![self.shorter.get(place)?.task.value(&training.choices)?]),
        }
    }

    /// What counts of what was found: nothing of what breaks a limit.
    pub(crate) fn counted(&self, mut found: Vec<f32>) -> Vec<f32> {
        let slacks = found.split_off(found.len().min(self.searched.len()));
        if slacks.iter().any(|slack| *slack < 0.0) {
            found.fill(f32::NEG_INFINITY);
        }
        found
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
        if let Some(known) = self.report.best_of() {
            return Some(Known { known, all: None, why: Why::AreTheBestKnown });
        }
        let whole = self.space().whole()?;
        let small = whole.size().is_some_and(|size| size <= Prior::LARGEST);
        let count = |space: &SearchSpace| keys(space, self.searched[0].count());
        Some(Known { known: count(self.space()), all: small.then(|| count(whole)), why: self.why })
    }

    /// The space searched.
    pub fn space(&self) -> &Arc<SearchSpace> {
        self.searched[0].space()
    }

    /// What methods are told the values of: the objectives, then the metrics of the limits; none for a limit that is the other way
    /// round than its metric is searched.
    pub(crate) fn metrics(&self) -> Vec<Option<Arc<Task>>> {
        let same = |within: &Within| within.limit.at_most == within.metric.minimises();
        let limits = self.limits.iter().map(|within| same(within).then(|| within.metric.clone()));
        self.searched.iter().cloned().map(Some).chain(limits).collect()
    }

    /// Within which limits an architecture counts.
    pub fn limits(&self) -> impl ExactSizeIterator<Item = &Limit> {
        self.limits.iter().map(|within| &within.limit)
    }

    /// How many of the architectures searched keep the limits, where there are some.
    pub fn feasible(&self) -> Option<Known> {
        let count = |task: &Task| keys(task.space(), task.count());
        (!self.limits.is_empty()).then(|| Known {
            known: count(&self.signals[0]),
            all: Some(count(&self.searched[0])),
            why: Why::KeepTheLimits,
        })
    }
}

/// A metric of a task's data set; or what `DATASET/METRIC` names, and with `DATASET/` the task's own objective there.
fn beside(task: &TaskName, metric: &str) -> Result<TaskName, ProblemError> {
    let mut parts = task.as_str().splitn(3, '/').skip(1);
    let (dataset, objective) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let named = match metric.split_once('/') {
        None => format!("{dataset}/{metric}"),
        Some((_, "")) => format!("{metric}{objective}"),
        Some(_) => metric.to_string(),
    };
    Ok(format!("{}/{named}", task.benchmark).parse()?)
}

/// A problem's name with its limits.
fn named(objectives: impl fmt::Display, limits: &[Within]) -> String {
    let limits = limits.iter().map(|within| format!(", {}", within.limit));
    format!("{objectives}{}", limits.collect::<String>())
}

fn equal(name: String, task: &Task) -> ProblemError {
    ProblemError::Equal { name, feasible: keys(task.space(), task.count()) }
}

/// Tasks of what they are known of together with what limits are on, the same of what keeps every limit, and the limits.
type Limited = (Vec<Arc<Task>>, Vec<Arc<Task>>, Arc<[Within]>);

fn within(
    catalog: &Catalog,
    first: &TaskName,
    tasks: Vec<Arc<Task>>,
    limits: &[Limit],
    count: Count,
) -> Result<Limited, ProblemError> {
    if limits.is_empty() {
        let tasks = with_values(tasks)?;
        return Ok((tasks.clone(), tasks, Arc::from([])));
    }
    check_together(first, limits.to_vec())?;
    let names = limit_names(first, limits.iter().map(|limit| &limit.metric[..]))?;
    let (n, mut all) = (tasks.len(), tasks);
    all.extend(resolve_objectives(catalog, &names, count)?);
    let mut searched = with_values(all)?;
    if searched[0].tabulated().is_none() {
        return Err(ProblemError::NoTable(first.to_string()));
    }
    let metrics = searched.split_off(n);
    let limits: Arc<[Within]> =
        limits.iter().cloned().zip(metrics).map(|(limit, metric)| Within { limit, metric }).collect();
    let part = Part { limits: &limits, teacher: None };
    let counted = keeping(&searched, &part, || named(first, &limits))?;
    Ok((searched, counted, limits))
}

/// The metrics that limits are on.
fn limit_names<'a>(
    first: &TaskName,
    metrics: impl Iterator<Item = &'a str>,
) -> Result<Vec<TaskName>, ProblemError> {
    let name = |metric: &str| {
        let name = beside(first, metric)?;
        let is_metric = name.alone().is_some() && name.factors.is_empty() && !metric.ends_with('/');
        if is_metric { Ok(name) } else { Err(ProblemError::Limit(metric.into())) }
    };
    metrics.map(name).collect()
}

/// Refuses limits that no architecture can keep together.
fn check_together(first: &TaskName, limits: Vec<Limit>) -> Result<(), ProblemError> {
    Goal::new(vec![Objective { metric: first.to_string(), minimise: false }], limits)?;
    Ok(())
}

/// Unit of a task: of its metric, also where that is multiplied by what costs are to their targets; empty for a sum of scaled ones.
fn unit(catalog: &Catalog, task: &TaskName) -> Result<String, ProblemError> {
    let Some(alone) = task.alone() else { return Ok(String::new()) };
    let open = catalog.open(&task.benchmark);
    let benchmark = open.map_err(|source| TaskBuildError::Catalog { task: task.to_string(), source })?;
    Ok(benchmark.metric(&alone.metric)?.info().unit.clone())
}

/// The tasks over the architectures that have all their values and those of the first one's shorter trainings. A whole table is left
/// as it is.
fn with_values(mut tasks: Vec<Arc<Task>>) -> Result<Vec<Arc<Task>>, ProblemError> {
    // What is known of a list alone restricts what is known everywhere.
    let Some(list) = tasks.iter().find(|task| task.tabulated().is_some()).map(|task| task.space().clone())
    else {
        return Ok(tasks);
    };
    for task in tasks.iter_mut().filter(|task| task.tabulated().is_none()) {
        *task = Arc::new(task.within(&list)?);
    }
    let (task, space) = (&tasks[0], tasks[0].space());
    let needed: Vec<&Task> =
        tasks.iter().chain(task.shorter().iter().map(|shorter| &shorter.task)).map(Arc::as_ref).collect();
    let has_all = |rank: u64| needed.iter().all(|task| task.value_of_rank(rank).is_some());
    if valid(space).all(has_all) {
        return Ok(tasks);
    }
    let left = listed(space, has_all).ok_or_else(|| ProblemError::Nothing(task.name().into()))?;
    tasks.iter().map(|task| Ok(Arc::new(task.within(&left)?))).collect()
}

/// The part of a space whose ranks are to be kept; none where that is nothing.
fn listed(space: &Arc<SearchSpace>, keep: impl Fn(u64) -> bool) -> Option<Arc<SearchSpace>> {
    let choices = |rank| {
        let mut choices = vec![0; space.len()];
        space.unrank(rank, &mut choices);
        choices
    };
    let all: Vec<Vec<u8>> = (0..space.size().unwrap_or(0)).filter(|&r| keep(r)).map(choices).collect();
    let by = if space.whole().is_some() { ListedBy::Class } else { ListedBy::Encoding };
    space.listed(all.iter().map(Vec::as_slice), by)
}

/// Number of distinct keys of a space's valid encodings.
fn keys(space: &SearchSpace, count: Count) -> usize {
    let mut choices = vec![0; space.len()];
    let keys = valid(space).map(|rank| {
        space.unrank(rank, &mut choices);
        count.key(space, &choices, rank)
    });
    keys.collect::<HashSet<u64>>().len()
}

/// Ranks of the valid encodings.
fn valid(space: &SearchSpace) -> impl Iterator<Item = u64> {
    let mut choices = vec![0; space.len()];
    (0..space.size().unwrap_or(0)).filter(move |&rank| {
        space.unrank(rank, &mut choices);
        space.is_valid(&choices)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_space::{Conditional, Decision};

    #[test]
    fn a_value_that_was_copied_from_a_table_is_at_the_bound_and_not_beyond_it() {
        let decisions = vec![Decision::new("d", &["a", "b", "c"])];
        let space = Arc::new(Conditional::space("made-up", decisions, vec![]).unwrap());
        let values = vec![0.073_306_f32, 0.079_156, 0.080_456];
        let metric = Arc::new(Task::minimising("params", "params", space, values, Count::Strings).unwrap());
        let kept = |limit: &str| {
            let within = Within { limit: limit.parse().unwrap(), metric: metric.clone() };
            (0..3u8).map(|choice| within.slack(&[choice]).unwrap() >= 0.0).collect::<Vec<_>>()
        };
        assert_eq!(kept("params <= 0.073306"), [true, false, false]);
        assert_eq!(kept("params >= 0.079156"), [false, true, true]);
        assert_eq!(kept("params <= 0.079"), [true, false, false]);
    }
}
