//! The arguments that name tasks, shared by the commands that search them.

use clap::{Args, ValueEnum};
use srnas_config::{Config, ConfigError};
use srnas_oracle::catalog::Catalog;
use srnas_search::{KnownLimit, Problem, ProblemError};
use srnas_task::{Count, TaskName, expand_braces};
use std::path::PathBuf;

/// What is searched, and where its measurements are.
#[derive(Debug, Args)]
pub struct TaskArguments {
    /// Task to search, such as nb201/cifar10/val; braces abbreviate, may be repeated
    #[arg(long, value_name = "T")]
    task: Vec<String>,
    /// Named task set of the configuration
    #[arg(long, value_name = "NAME")]
    task_set: Vec<String>,
    /// What counts as one architecture [default: as in the configuration]
    #[arg(long, value_enum)]
    count: Option<CountArgument>,
    /// Folder of benchmark files, searched before $SRNAS_BENCH_DIR and the user's data directory
    #[arg(long, value_name = "DIR")]
    bench_dir: Option<PathBuf>,
}

/// Which part of a space is searched.
#[derive(Clone, Debug, Default, Args)]
pub struct PartArguments {
    /// Search only what keeps this limit, such as 'cost/parameters <= 5000', on a metric that is known without training: unlike --require,
    /// which is on what a training finds, nothing beyond is paid for, and every method can; 'cost/parameters <= 50%' is of the teacher's;
    /// may be repeated. With --oracle train in the spaces of wide residual networks, whose weights and multiply-adds are counted
    #[arg(long, value_name = "LIMIT")]
    pub within: Vec<KnownLimit>,
    /// Search only what this wide residual network may become: no stage deeper or wider, unless --within lets it cost more than 100%;
    /// WRN-16-2, or the space's notation [default: the largest of the space]
    #[arg(long, value_name = "NETWORK")]
    pub teacher: Option<String>,
}

impl PartArguments {
    /// Whether it is a part that was asked for.
    pub fn wanted(&self) -> bool {
        !self.within.is_empty() || self.teacher.is_some()
    }

    /// What of a problem is searched.
    pub fn of(&self, problem: Problem, catalog: &Catalog, count: Count) -> Result<Problem, ProblemError> {
        problem.among(catalog, &self.within, self.teacher.as_deref(), count)
    }

    /// The same in words, each of another search another.
    pub fn in_words(&self) -> impl Iterator<Item = String> {
        let limits = self.within.iter().map(|limit| format!("{limit}, known without training"));
        limits.chain(self.teacher.iter().map(|teacher| format!("within the teacher {teacher}")))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum CountArgument {
    Classes,
    Strings,
}

impl TaskArguments {
    /// The tasks, each once; there may be none.
    pub fn names(&self, config: &Config) -> Result<Vec<TaskName>, ConfigError> {
        names(config, &self.task_set, &self.task)
    }

    /// An option that names tasks or how they are counted, if one is given.
    pub fn named(&self) -> Option<&'static str> {
        let given = [
            ("--task", !self.task.is_empty()),
            ("--task-set", !self.task_set.is_empty()),
            ("--count", self.count.is_some()),
        ];
        given.into_iter().find_map(|(option, given)| given.then_some(option))
    }

    /// What counts as one architecture.
    pub fn count(&self, config: &Config) -> Count {
        match self.count {
            Some(CountArgument::Classes) => Count::Classes,
            Some(CountArgument::Strings) => Count::Strings,
            None => config.tasks.count,
        }
    }

    /// The benchmarks.
    pub fn catalog(&self) -> Catalog {
        Catalog::new(self.bench_dir.clone())
    }
}

/// The tasks of some sets and patterns, each once.
pub fn names(config: &Config, sets: &[String], patterns: &[String]) -> Result<Vec<TaskName>, ConfigError> {
    let mut names = config.resolve(sets)?;
    for pattern in patterns {
        for name in expand_braces(pattern)? {
            let name: TaskName = name.parse()?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(names)
}
