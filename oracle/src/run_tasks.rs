//! The tasks of a run: which are learned, and which are kept out to check what was learned.

use crate::{
    catalog::{Catalog, CatalogError},
    compress::Teachers,
    simulated::SimulationError,
    tasks::{TaskBuildError, onto, resolve_tasks, resolve_with_shorter},
};
use srnas_basics::check::WrongValue;
use srnas_basics::names;
use srnas_config::{Config, ConfigError, PriorSource};
use srnas_predictor::Prior;
use srnas_space::SearchSpace;
use srnas_task::{Task, TaskName};
use std::{collections::BTreeSet, sync::Arc};

/// The training tasks of a run, in the order in which the wire numbers them.
#[derive(Clone, Debug)]
pub struct RunTasks {
    /// Every training task.
    pub all: Vec<Arc<Task>>,
    /// Indices of those that are learned.
    pub learned: Vec<usize>,
    /// Indices of those whose families are kept out of the learning and, until the end, of the prior.
    pub validation: Vec<usize>,
    /// What an agent compresses on them, in runs that train one.
    pub teachers: Option<Arc<Teachers>>,
}

/// Why a run has no tasks.
#[derive(Debug, thiserror::Error)]
pub enum RunTasksError {
    /// The configuration names none, or wrong ones.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A benchmark is missing or a task cannot be built.
    #[error(transparent)]
    Task(#[from] TaskBuildError),
    /// A benchmark cannot be opened.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// What is to be simulated on top of them cannot be.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
}

impl RunTasksError {
    /// Whether the configuration is to blame, not a file that is missing or damaged.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Config(_) => true,
            Self::Task(task) => task.is_usage(),
            Self::Catalog(_) => false,
            Self::Simulation(simulation) => simulation.is_usage(),
        }
    }
}

impl RunTasks {
    /// Builds the tasks that a configuration names.
    ///
    /// # Errors
    /// Refuses unknown tasks and families by name, tasks over several spaces, and a split that leaves nothing to learn.
    pub fn resolve(config: &Config, catalog: &Catalog) -> Result<Self, RunTasksError> {
        let (train, held_out) = (config.train_tasks()?, config.resolve(&config.tasks.held_out)?);
        let wrong = |key, reason| Err(ConfigError::from(WrongValue { key, reason }).into());
        if let Some(both) = held_out.iter().find(|t| train.contains(t)) {
            return wrong(
                "tasks.held_out",
                format!("{both} is also a training task; held-out tasks are never seen"),
            );
        }
        let resolve = if config.environment.shorter > 0 { resolve_with_shorter } else { resolve_tasks };
        let all = resolve(catalog, &train, config.tasks.count)?;
        // A run has one space: that of what is to be searched.
        let searched = match searched_elsewhere(&train, &held_out) {
            Some(task) => resolve_tasks(catalog, std::slice::from_ref(task), config.tasks.count)?,
            None => Vec::new(),
        };
        let space = searched.first().unwrap_or(&all[0]).space().clone();
        let all = match onto(&space, all) {
            Ok(all) => all,
            Err(TaskBuildError::Unmatched(error)) => {
                let reason = format!("a run has one space, and {error}");
                return wrong("tasks.train", reason);
            }
            Err(error) => return Err(error.into()),
        };
        if config.prior == PriorSource::Network && space.size().is_none_or(|size| size > Prior::LARGEST) {
            let reason = format!(
                "{} is too large to tabulate what a predictor network says of it: `table` keeps some measurements of each training task",
                space.name()
            );
            return wrong("prior", reason);
        }
        for family in &config.validation.families {
            if !all.iter().any(|t| t.family() == family) {
                let hint = names::did_you_mean(family, all.iter().map(|t| t.family()));
                return wrong(
                    "validation.families",
                    format!("no training task is of family `{family}`{hint}"),
                );
            }
        }
        let kept_out = |t: &Task| config.validation.families.iter().any(|f| f == t.family());
        let (validation, learned): (Vec<usize>, Vec<usize>) =
            (0..all.len()).partition(|&i| kept_out(&all[i]));
        if learned.is_empty() {
            return wrong(
                "validation.families",
                "every training task is kept out; leave some to learn".into(),
            );
        }
        let teachers = match config.compress.train {
            true => Some(Arc::new(Teachers::resolve(
                &config.compress,
                catalog,
                &train,
                &all,
                config.tasks.count,
            )?)),
            false => None,
        };
        Ok(Self { all, learned, validation, teachers })
    }

    /// Names of the benchmarks that a run with this configuration needs wherever its tasks are built.
    ///
    /// # Errors
    /// Names that are no tasks.
    pub fn benchmarks(config: &Config) -> Result<BTreeSet<String>, ConfigError> {
        let (train, held_out) = (config.train_tasks()?, config.resolve(&config.tasks.held_out)?);
        let searched = searched_elsewhere(&train, &held_out);
        Ok(train.iter().chain(searched).map(|task| task.benchmark.clone()).collect())
    }

    /// The space of the run.
    pub fn space(&self) -> &Arc<SearchSpace> {
        self.all[0].space()
    }

    /// Names of all tasks, and their families.
    pub fn names_and_families(&self) -> (Vec<String>, Vec<String>) {
        self.all.iter().map(|t| (t.name().to_string(), t.family().to_string())).unzip()
    }

    /// Weights of the prior (whose tasks are [`RunTasks::all`]) during the run: validation families are left out, and
    /// so are the tasks for which `leave_out` holds.
    pub fn weights(&self, prior: &Prior, mut leave_out: impl FnMut(&Task) -> bool) -> Vec<f32> {
        let kept: Vec<bool> =
            (0..self.all.len()).map(|i| !self.validation.contains(&i) && !leave_out(&self.all[i])).collect();
        prior.weights(|t| kept[t])
    }
}

/// What is to be searched, where that is on a benchmark that nothing is learned on: the run is then on its space.
fn searched_elsewhere<'a>(train: &[TaskName], held_out: &'a [TaskName]) -> Option<&'a TaskName> {
    let elsewhere = |task: &&TaskName| train.iter().all(|learned| learned.benchmark != task.benchmark);
    held_out.first().filter(elsewhere)
}
