//! Why something cannot be searched.

use crate::goal::GoalError;
use srnas_oracle::{benchmark::BenchmarkError, tasks::TaskBuildError};
use srnas_task::TaskError;

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
    /// What is to be compressed is not a network of the space.
    #[error("--teacher: {0}")]
    Teacher(String),
    /// A percentage of nothing.
    #[error(
        "`{0}`: there is no teacher whose share it could be; name one by --teacher, or give the bound without %"
    )]
    NoTeacher(String),
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
    /// A limit on something that is no metric.
    #[error("a limit is on one metric of the data set that is searched, or on DATASET/METRIC, not on `{0}`")]
    Limit(String),
    /// Limits that do not go together.
    #[error(transparent)]
    Limits(#[from] GoalError),
    /// Nothing is within the limits.
    #[error("{0}: no architecture of the table keeps every limit; the loosest that some keep alone: {1}")]
    Beyond(String, String),
    /// What keeps the limits is all the same.
    #[error(
        "{name}: {feasible} of the table's architectures keep every limit, and these are all equal, so nothing can be found; loosen a limit"
    )]
    Equal {
        /// The problem.
        name: String,
        /// How many.
        feasible: usize,
    },
    /// Nothing that was measured keeps the limits.
    #[error(
        "{0}: {1} architectures were measured, and none that has a value keeps every limit; loosen a limit, or give a larger budget"
    )]
    Unmet(String, usize),
    /// Best, median and front of it are not known.
    #[error(
        "{0}: a network answers for every architecture of a space that cannot be listed, and what its front is, or the best within limits, \
         nobody knows; search one objective without limits, or a table (a metric with a seed, such as `:0`, is the table of the rows)"
    )]
    NoTable(String),
    /// Nothing is known without training.
    #[error(
        "{task}: benchmark `{benchmark}` names no metric that takes no training, apart from what is searched and from what is the same \
         everywhere, so --past untrained says nothing; a table of your own names some by `untrained = true` (docs/your-own-table.md), \
         and what was imported by an older version is to be imported again"
    )]
    Undescribed {
        /// The problem.
        task: String,
        /// Its benchmark.
        benchmark: String,
    },
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
