//! Tasks on benchmarks: the values of an objective, computed for every architecture of a table, or where they are asked for by the
//! benchmark's network.

mod answer;
mod scaling;
mod untrained;

use crate::{
    benchmark::{Benchmark, BenchmarkError, Direction, MetricView},
    catalog::{Catalog, CatalogError},
};
use answer::{Answer, answers};
use scaling::Scaling;
use srnas_predictor::Prior;
use srnas_space::{ListedBy, SearchSpace};
use srnas_task::{
    Count, LARGEST_VALUE, Shorter, Task, TaskError, TaskName, Term, UnmatchedError, beyond_search, traded,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
pub use untrained::untrained;

/// Why a name is no task on a benchmark.
#[derive(Debug, thiserror::Error)]
pub enum TaskBuildError {
    /// The benchmark is not at hand, or refused.
    #[error("task `{task}`")]
    Catalog {
        /// The task.
        task: String,
        /// Why not.
        source: CatalogError,
    },
    /// The benchmark has no such metric.
    #[error("task `{task}`")]
    Metric {
        /// The task.
        task: String,
        /// The metric, and the nearest known ones.
        source: BenchmarkError,
    },
    /// The metric cannot be used in this way.
    #[error("task `{task}`: metric `{metric}` {reason}")]
    Term {
        /// The task.
        task: String,
        /// The metric.
        metric: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Encodings are to be counted where only classes can be.
    #[error(
        "task `{task}` is answered by a network all over a space that is too large to be listed, where only classes can be counted: leave out --count strings (tasks.count = \"strings\")"
    )]
    Counted {
        /// The task.
        task: String,
    },
    /// A sum or product is too large.
    #[error(
        "task `{task}`: it comes to {value:e}, more than a search can hold ({LARGEST_VALUE:e}); give smaller weights or exponents"
    )]
    Weights {
        /// The task.
        task: String,
        /// One of its values.
        value: f64,
    },
    /// The name speaks of another benchmark.
    #[error("task `{task}` is not on benchmark `{benchmark}`")]
    OtherBenchmark {
        /// The task.
        task: String,
        /// The benchmark given.
        benchmark: String,
    },
    /// Two benchmarks call different spaces by one name.
    #[error(
        "the benchmarks `{one}` and `{other}` both have a space `{space}`, and not the same: give one of the spaces another \
         name and import its table again"
    )]
    OtherSpace {
        /// A benchmark.
        one: String,
        /// Another.
        other: String,
        /// The name of their spaces.
        space: String,
    },
    /// A task of another space says nothing of this one.
    #[error(transparent)]
    Unmatched(#[from] UnmatchedError),
    /// Nothing can be found in the values.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl TaskBuildError {
    /// Whether the name is to blame, not a benchmark that is missing or damaged.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Catalog { .. })
    }
}

/// The tasks of these names, in their order; each benchmark is opened once.
///
/// # Errors
/// The first name that is no task, with what is wrong.
pub fn resolve_tasks(
    catalog: &Catalog,
    names: &[TaskName],
    count: Count,
) -> Result<Vec<Arc<Task>>, TaskBuildError> {
    resolve(catalog, names, count, searchable)
}

/// As [`resolve_tasks`], each with the shorter trainings that its benchmark has of it.
///
/// # Errors
/// As [`resolve_tasks`].
pub fn resolve_with_shorter(
    catalog: &Catalog,
    names: &[TaskName],
    count: Count,
) -> Result<Vec<Arc<Task>>, TaskBuildError> {
    resolve(catalog, names, count, |table, name, count| {
        // First the task itself: what is wrong with it is told by the name that was given.
        let task = searchable(table, name, count)?;
        Ok(task.with_shorter(shorter_trainings(table, name, count)?)?)
    })
}

/// As [`resolve_tasks`], to be searched together as the objectives of one problem: one in which nothing can be found alone is taken.
///
/// # Errors
/// As [`resolve_tasks`].
pub fn resolve_objectives(
    catalog: &Catalog,
    names: &[TaskName],
    count: Count,
) -> Result<Vec<Arc<Task>>, TaskBuildError> {
    resolve(catalog, names, count, build_objective)
}

fn resolve(
    catalog: &Catalog,
    names: &[TaskName],
    count: Count,
    build: impl Fn(&Table, &TaskName, Count) -> Result<Task, TaskBuildError>,
) -> Result<Vec<Arc<Task>>, TaskBuildError> {
    let mut benchmarks: BTreeMap<&str, Arc<Benchmark>> = BTreeMap::new();
    for name in names {
        if benchmarks.contains_key(name.benchmark.as_str()) {
            continue;
        }
        let open = catalog
            .open(&name.benchmark)
            .map_err(|source| TaskBuildError::Catalog { task: name.to_string(), source })?;
        if let Some(one) = benchmarks.values().find(|one| {
            let (a, b) = (one.space(), open.space());
            a.name() == b.name() && a.decisions() != b.decisions()
        }) {
            let (one, other) = (one.name().into(), open.name().into());
            return Err(TaskBuildError::OtherSpace { one, other, space: open.space().name().into() });
        }
        benchmarks.insert(&name.benchmark, open);
    }
    // Tasks of one space share their ranks: all of it where a network answers for each of them.
    let mut spaces: HashMap<&str, Arc<SearchSpace>> = HashMap::new();
    for benchmark in benchmarks.values() {
        let space = benchmark.space();
        if !spaces.contains_key(space.name()) {
            let same = |other: &&Arc<Benchmark>| other.space().name() == space.name();
            let mut of_space = names.iter().map(|name| (name, &benchmarks[name.benchmark.as_str()]));
            let everywhere = of_space.all(|(name, other)| !same(&other) || answers(other, name));
            let tables = benchmarks.values().filter(same).map(Arc::as_ref).collect::<Vec<_>>();
            spaces.insert(space.name(), if everywhere { space.clone() } else { table_space(&tables) });
        }
    }
    let task = |name: &TaskName| {
        let benchmark = &benchmarks[name.benchmark.as_str()];
        let space = spaces[benchmark.space().name()].clone();
        Ok(Arc::new(build(&Table { benchmark, space }, name, count)?))
    };
    names.iter().map(task).collect()
}

/// The tasks on one space: those of another one by the names of their decisions and choices, see [`Task::matched`].
///
/// # Errors
/// The first task that says nothing of it.
pub fn onto(space: &Arc<SearchSpace>, tasks: Vec<Arc<Task>>) -> Result<Vec<Arc<Task>>, TaskBuildError> {
    let own = |task: Arc<Task>| match task.space().name() == space.name() {
        true => Ok(task),
        false => Ok(Arc::new(task.matched(space)?)),
    };
    tasks.into_iter().map(own).collect()
}

/// A benchmark, and the space over which its rows are looked up.
struct Table<'b> {
    benchmark: &'b Arc<Benchmark>,
    space: Arc<SearchSpace>,
}

impl Table<'_> {
    /// Whether the space is too large to be looked at whole, and not a list.
    fn is_boundless(&self) -> bool {
        self.space.whole().is_none() && self.space.size().is_none_or(|size| size > Prior::LARGEST)
    }
}

/// The shorter trainings that a benchmark has of a task, the cheapest first: each with the same objective over what the metrics
/// say after it. A logarithm in a sum is of what an architecture costs, which takes no training; of every other term the benchmark
/// must know the shorter training. So is what a product's factors are of.
fn shorter_trainings(table: &Table, name: &TaskName, count: Count) -> Result<Vec<Shorter>, TaskBuildError> {
    let benchmark = table.benchmark;
    let trained = |term: &&Term| !term.log;
    let Some(first) = name.terms.iter().find(trained) else { return Ok(Vec::new()) };
    let of = |term: &Term, cost: f64| {
        benchmark.fidelities(&term.metric).into_iter().find(|fidelity| fidelity.cost() == cost)
    };
    let costs = benchmark.fidelities(&first.metric).into_iter().map(|fidelity| fidelity.cost());
    let shared = costs.filter(|cost| name.terms.iter().filter(trained).all(|term| of(term, *cost).is_some()));
    let shorter = shared.map(|cost| {
        let after =
            |term: &Term| of(term, cost).filter(|_| !term.log).map_or(&term.metric, |f| &f.metric).clone();
        (cost, name.over(after).expect("the metrics of a benchmark have names"))
    });
    // Of what is searched everywhere, what is known everywhere.
    let known = shorter.filter(|(_, name)| !table.is_boundless() || answers(benchmark, name));
    known.map(|(cost, name)| Ok(Shorter { task: Arc::new(searchable(table, &name, count)?), cost })).collect()
}

/// A task from a benchmark and an objective over its metrics.
///
/// A metric counts with the mean over its seeds, or with the seed named. One term alone is the metric as it is. In a sum each
/// term is scaled first: (value − median)/(best − median), best being the lowest where less is better, so that a positive
/// weight always asks for better; and for `log(…)` the natural logarithm, standardised over the table and *not* turned, so
/// that a negative weight asks for less. A term that is the same everywhere adds nothing.
///
/// A product is of the metric as it is with [`srnas_task::Factor::of`] what it costs, in the metric's direction.
///
/// Where the benchmark's network gives every metric, the task is on the whole space, and best and median are those of the rows.
///
/// # Errors
/// Refuses unknown metrics and seeds, numbers that a search cannot hold, logarithms and powers of what is not positive, products of what is
/// below 0, and objectives that are the same everywhere.
pub fn build_task(benchmark: &Arc<Benchmark>, name: &TaskName, count: Count) -> Result<Task, TaskBuildError> {
    let everywhere = answers(benchmark, name);
    let space = if everywhere { benchmark.space().clone() } else { table_space(&[benchmark]) };
    searchable(&Table { benchmark, space }, name, count)
}

fn searchable(table: &Table, name: &TaskName, count: Count) -> Result<Task, TaskBuildError> {
    let task = build_objective(table, name, count)?;
    task.searchable()?;
    Ok(task)
}

/// As [`build_task`], also where nothing can be found in it alone.
fn build_objective(table: &Table, name: &TaskName, count: Count) -> Result<Task, TaskBuildError> {
    let benchmark = table.benchmark;
    if benchmark.name() != name.benchmark {
        return Err(TaskBuildError::OtherBenchmark {
            task: name.to_string(),
            benchmark: benchmark.name().into(),
        });
    }
    let (mut minimise, mut scalings) = (false, Vec::with_capacity(name.terms.len()));
    let mut objective = vec![0.0; benchmark.rows()];
    for term in &name.terms {
        let (metric, values) = measured(benchmark, name, term)?;
        let direction = metric.info().direction;
        let scaling = match (term.log, name.terms.len()) {
            (true, _) => Scaling::of_logarithms(&values)
                .map_err(|row| no_logarithm(benchmark, name, term, row, &values))?,
            (false, 1) => Scaling::AsItIs,
            (false, _) => Scaling::of_gap(direction, &values),
        };
        // One alone is as its metric has it.
        let weight = if name.terms.len() == 1 { 1.0 } else { term.weight };
        minimise = name.terms.len() == 1 && direction == Direction::Minimise;
        objective.iter_mut().zip(&values).for_each(|(sum, value)| *sum += weight * scaling.apply(*value));
        scalings.push((weight, scaling));
    }
    multiply(benchmark, name, &mut objective)?;
    // Weights may make too much of what the metrics have.
    if let Some(value) = objective.iter().copied().find(|v| v.abs() > LARGEST_VALUE) {
        return Err(TaskBuildError::Weights { task: name.to_string(), value });
    }
    let (space, family) = (table.space.clone(), name.family());
    let objective_of = |space, values: Vec<f32>| match minimise {
        true => Task::minimising(name.as_str(), &family, space, values, count),
        false => Task::objective(name.as_str(), &family, space, values, count),
    };
    if !answers(benchmark, name) {
        return Ok(objective_of(space.clone(), by_rank(benchmark, &space, &objective))?);
    }
    let mut known: Vec<f32> = objective.iter().map(|&v| v as f32).collect();
    let worst =
        known.iter().copied().filter(|v| !v.is_nan()).reduce(if minimise { f32::max } else { f32::min });
    let answer = Arc::new(Answer::new(benchmark.clone(), name, scalings, worst.unwrap_or(0.0)));
    if space.whole().is_none() && !table.is_boundless() {
        return Ok(objective_of(space.clone(), answer.everywhere(&space))?);
    }
    if count == Count::Strings {
        return Err(TaskBuildError::Counted { task: name.to_string() });
    }
    if name.metrics().count() > 1 {
        // The best of each metric may be among the rows; the best sum or product is somewhere else.
        known.extend(answer.best_near(&known));
    }
    let whole = benchmark.space().clone();
    let task = Task::of_function(name.as_str(), &family, whole, answer, &known, minimise)?;
    Ok(if table.is_boundless() { task } else { task.within(&space)? })
}

/// The values of a term's metric by row, NaN where missing.
fn measured<'b>(
    benchmark: &'b Benchmark,
    task: &TaskName,
    term: &Term,
) -> Result<(MetricView<'b>, Vec<f64>), TaskBuildError> {
    let metric = benchmark
        .metric(&term.metric)
        .map_err(|source| TaskBuildError::Metric { task: task.to_string(), source })?;
    let rows = 0..benchmark.rows();
    let values: Vec<f64> = match term.seed {
        None => rows.map(|r| metric.mean(r)).collect(),
        Some(seed) if seed < metric.seeds() => rows.map(|r| metric.value(r, seed)).collect(),
        Some(seed) => {
            let reason = match metric.seeds() {
                1 => format!("has one seed, `:0`, and no `:{seed}`"),
                n => format!("has the seeds `:0` to `:{}` and no `:{seed}`", n - 1),
            };
            return Err(refused(task, term, reason));
        }
    };
    let beyond = |(row, &value): (usize, &f64)| Some((row, beyond_search(value)?));
    if let Some((row, reason)) = values.iter().enumerate().find_map(beyond) {
        let architecture = benchmark.space().format(benchmark.choices(row));
        let value = metric.written(values[row]).unwrap_or(values[row]);
        return Err(refused(
            task,
            term,
            format!(
                "has {value:e} for {architecture}, which {reason}; make the benchmark again with the metric in another unit"
            ),
        ));
    }
    Ok((metric, values))
}

/// Multiplies the values of a task's only term by its factors, where it has some.
fn multiply(benchmark: &Benchmark, name: &TaskName, values: &mut [f64]) -> Result<(), TaskBuildError> {
    if name.factors.is_empty() {
        return Ok(());
    }
    let at = |term: &Term, row: usize, reason: String| {
        refused(name, term, format!("{reason} ({})", benchmark.space().format(benchmark.choices(row))))
    };
    let known = |(_, value): &(usize, &f64)| !value.is_nan();
    for (row, value) in values.iter().enumerate().filter(known) {
        traded(*value).map_err(|reason| at(&name.terms[0], row, reason))?;
    }
    for factor in &name.factors {
        let term = Term { weight: 1.0, metric: factor.metric.clone(), seed: None, log: false };
        let (_, costs) = measured(benchmark, name, &term)?;
        for (row, cost) in costs.iter().enumerate().filter(known) {
            values[row] *= factor.of(*cost).map_err(|reason| at(&term, row, reason))?;
        }
        // What is missing of the cost is missing of the product.
        values
            .iter_mut()
            .zip(&costs)
            .filter(|(_, cost)| cost.is_nan())
            .for_each(|(value, _)| *value = f64::NAN);
    }
    Ok(())
}

fn no_logarithm(
    benchmark: &Benchmark,
    task: &TaskName,
    term: &Term,
    row: usize,
    values: &[f64],
) -> TaskBuildError {
    let architecture = benchmark.space().format(benchmark.choices(row));
    refused(task, term, format!("is {} for {architecture}, which has no logarithm", values[row]))
}

fn refused(task: &TaskName, term: &Term, reason: String) -> TaskBuildError {
    TaskBuildError::Term { task: task.to_string(), metric: term.metric.clone(), reason }
}

/// Values by row to values by rank; NaN where no row is. Where several rows stand for one architecture, their mean.
fn by_rank(benchmark: &Benchmark, space: &SearchSpace, objective: &[f64]) -> Vec<f32> {
    let mut sums = vec![(0.0, 0u32); space.size().unwrap_or(0) as usize];
    for (row, &value) in objective.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
        if let Some((sum, n)) = sums.get_mut(space.rank(benchmark.choices(row)) as usize) {
            (*sum, *n) = (*sum + value, *n + 1);
        }
    }
    sums.into_iter().map(|(sum, n)| if n == 0 { f32::NAN } else { (sum / f64::from(n)) as f32 }).collect()
}

/// The space that tasks of these benchmarks of one space are on: the whole of it where it can be tabulated, else the list of all that
/// any of them has a row of.
fn table_space(benchmarks: &[&Benchmark]) -> Arc<SearchSpace> {
    let space = benchmarks[0].space();
    let whole = benchmarks.iter().any(|benchmark| benchmark.covers_space());
    if whole || space.size().is_some_and(|size| size <= Prior::LARGEST) {
        return space.clone();
    }
    let rows = |benchmark: &&'_ Benchmark| 0..benchmark.rows();
    let all = benchmarks.iter().flat_map(|benchmark| rows(benchmark).map(|row| benchmark.choices(row)));
    space.listed(all, ListedBy::Class).unwrap_or_else(|| space.clone())
}
