//! What a run has learned, measured: its policy beside other methods on the tasks it never saw.

use crate::{
    Comparison, ComparisonError, KnownLimit, MethodSpec, Plan, Problem, ProblemError, SpecError,
    report::{self, ReportError, Summary},
};
use srnas_config::{Config, ConfigError};
use srnas_oracle::catalog::{Catalog, CatalogError};
use srnas_task::TaskName;
use std::{fs, path::Path};
use tokio_util::sync::CancellationToken;

/// The comparison at the end of a run.
pub struct HeldOut {
    /// Its numbers. The policy is the last method, and the one that the others are paired with.
    pub summary: Summary,
    /// The best architecture that the policy found on the first held-out task within the highest budget, over all starts.
    pub best: Option<Vec<u8>>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum HeldOutError {
    /// The held-out tasks cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A held-out task cannot be searched.
    #[error(transparent)]
    Problem(#[from] ProblemError),
    /// A benchmark is missing or damaged.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A method is refused.
    #[error(transparent)]
    Method(#[from] SpecError),
    /// The comparison failed, or was stopped.
    #[error(transparent)]
    Comparison(#[from] ComparisonError),
    /// The report cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// What a run has learned, as methods: the last one is what it was for.
fn learned(config: &Config, run_dir: &Path) -> Vec<String> {
    let dir = run_dir.display();
    let policy = format!("policy:{dir}");
    match config.compress.train {
        // The rule knows the training tasks; beside the agent one that begins from scratch.
        true => vec![policy, "rc-nas".into(), format!("rc-nas:policy={dir}")],
        false => vec![policy],
    }
}

/// The held-out tasks; where an agent compresses, each within every budget of every teacher that is held out (of the largest, where none
/// is).
fn problems(config: &Config, catalog: &Catalog, tasks: &[TaskName]) -> Result<Vec<Problem>, ProblemError> {
    let single = |task| Problem::single(catalog, task, None, &[], config.tasks.count);
    if !config.compress.train {
        return tasks.iter().map(single).collect();
    }
    let teachers: Vec<Option<&str>> = match &config.compress.held_out[..] {
        [] => vec![None],
        held_out => held_out.iter().map(|teacher| Some(teacher.as_str())).collect(),
    };
    let mut problems = Vec::new();
    for task in tasks {
        for limit in known_limits(config) {
            for teacher in &teachers {
                let limit: KnownLimit = limit.parse().map_err(ProblemError::from)?;
                problems.push(single(task)?.among(catalog, &[limit], *teacher, config.tasks.count)?);
            }
        }
    }
    Ok(problems)
}

/// The budgets of an agent that compresses, as limits.
fn known_limits(config: &Config) -> Vec<String> {
    let compress = &config.compress;
    let limit = |budget: &f32| format!("{} <= {}%", compress.cost, f64::from(*budget) * 100.0);
    if compress.train { compress.budgets.iter().map(limit).collect() } else { Vec::new() }
}

/// Compares the policy in `run_dir` as the configuration says, on the current rayon pool, and writes the report to
/// `run_dir/report`. `None` where nothing is held out or no searches are asked for. `done` hears how many searches are
/// done, of how many.
///
/// # Errors
/// See [`HeldOutError`].
pub fn compare_held_out(
    config: &Config,
    catalog: &Catalog,
    run_dir: &Path,
    stop: &CancellationToken,
    done: &(dyn Fn(usize, usize) + Sync),
) -> Result<Option<HeldOut>, HeldOutError> {
    let tasks = config.resolve(&config.tasks.held_out)?;
    if tasks.is_empty() || config.comparison.seeds == 0 {
        return Ok(None);
    }
    let problems = || problems(config, catalog, &tasks);
    let texts = config.comparison.methods.iter().cloned().chain(learned(config, run_dir));
    let methods: Vec<MethodSpec> = texts.map(|text| text.parse()).collect::<Result<_, _>>()?;
    let mut budgets = config.comparison.budgets.clone();
    budgets.sort_unstable();
    budgets.dedup();
    let searched = problems()?;
    let plan = Plan {
        software: env!("CARGO_PKG_VERSION").into(),
        methods: methods.iter().map(ToString::to_string).collect(),
        problems: searched.iter().map(|p| vec![p.signals[0].name().to_string()]).collect(),
        limits: known_limits(config),
        report: searched.iter().map(|p| p.report.name().to_string()).collect(),
        count: config.tasks.count,
        budgets,
        seeds: config.comparison.seeds,
        seed: config.seed,
        past: Vec::new(),
        clock: Default::default(),
        content: Plan::content_of(catalog, &searched, &[], &methods)?,
    };
    let out = run_dir.join("report");
    let against = methods.len() - 1;
    let make = |problems| Comparison::new(plan.clone(), methods.clone(), problems, Vec::new(), &out);
    let mut comparison = make(searched)?;
    let run = |comparison: &Comparison| comparison.run(stop, &|n| done(n, comparison.searches()));
    let outcomes = match run(&comparison) {
        // The folder is the run's own: what it holds is about a policy that the run has replaced since.
        Err(ComparisonError::Other { .. }) => {
            fs::remove_dir_all(&out).map_err(|source| ComparisonError::Io {
                what: "remove",
                path: out.display().to_string(),
                source,
            })?;
            comparison = make(problems()?)?;
            run(&comparison)?
        }
        other => other?,
    };
    let summary = report::write(&out, comparison.plan(), comparison.problems(), &outcomes, against)?;
    let found = outcomes.first().and_then(|methods| methods.last());
    let queries = found.into_iter().flatten().flatten().flatten().filter(|query| query.fidelity.is_full());
    let best = queries.max_by(|a, b| a.values[0].total_cmp(&b.values[0])).map(|query| query.choices.clone());
    Ok(Some(HeldOut { summary, best }))
}
