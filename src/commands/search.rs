//! `srnas search`: a trained policy alone on a task, or on what is measured on the spot.

use super::{
    Usage,
    live::{LiveArguments, retry::RetryCommand},
    tasks::{PartArguments, TaskArguments},
};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use srnas_basics::{statistics::bootstrap_mean, text::number};
use srnas_config::Config;
use srnas_environment::Environment;
use srnas_oracle::catalog::Catalog;
use srnas_oracle::tasks::{resolve_tasks, resolve_with_shorter};
use srnas_policy::{
    Policy,
    evaluation::{Search, search},
};
use srnas_search::{Acting, Problem, ProblemError, fine_tuned, policy_environment};
use srnas_task::{Count, Task, TaskName};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

const EXAMPLES: &str = "Examples:
  srnas search --policy runs/latest --task nb201/imagenet16/val --budget 25
  srnas search --policy policy.safetensors --config configs/nb201-transfer.toml --task-set held-out \\
      --budget 50 --seeds 64 --at 5,10,25,50
  srnas search --policy runs/latest --task 'nb201/{cifar10,cifar100}/apgd@1' --by plain --json
  srnas search --policy runs/latest --finetune 50 --task digits-wrn/val/worst@32 --teacher WRN-16-3 --within 'cost/multiply_adds <= 50%'
  srnas search --oracle train --data digits --budget 40
  srnas search --oracle train --data digits --space wrn-compress-22-3-basic --maximise val/worst@32 --within 'cost/multiply_adds <= 50%'
  srnas search --oracle 'cmd:python train.py' --space space.toml --minimise loss --budget 60 --parallel 4
  srnas search --resume --run-dir runs/search-1 --budget 100
  srnas search --oracle 'cmd:python train.py' --space space.toml --maximise accuracy --past runs/search-1
  srnas search --oracle 'cmd:python train.py' --space space.toml --maximise accuracy --minimise ms --require 'mb <= 8'
  srnas search --oracle 'cmd:python train.py' --space space.toml --minimise loss --method evolution:population=20
  srnas search --oracle 'cmd:python train.py' --space space.toml --minimise loss --slots-env gpus.env --start known.csv \\
      --time-limit 8h --stop-when 'loss <= 0.01'
  srnas search retry --run-dir runs/search-1 --reason 'out of memory'
  srnas search --oracle train --data cifar10:~/cifar --minimise val/loss --policy runs/latest --run-dir runs/cifar";

/// Most paid queries of a search whose every start has its own posterior.
const MOST_QUERIES: u32 = 1_000;

/// Search a task with a trained policy, or by real trainings
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct SearchCommand {
    #[command(subcommand)]
    action: Option<Action>,
    /// Run directory, or policy file; with --oracle it may be left out, and nothing of the past is known then
    #[arg(long, value_name = "DIR|FILE", required_unless_present_any = ["oracle", "resume"])]
    policy: Option<PathBuf>,
    #[command(flatten)]
    tasks: TaskArguments,
    #[command(flatten)]
    live: LiveArguments,
    /// Configuration that names the task sets [default: the run directory's config.toml]
    #[arg(long, value_name = "F", conflicts_with = "live")]
    config: Option<PathBuf>,
    /// Paid queries, the random start included; at most 1,000 without --oracle
    #[arg(long, default_value_t = 25, value_name = "B", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    budget: u32,
    #[command(flatten)]
    part: PartArguments,
    /// So many evaluations by the agent of a run that trained one (configs/rc-nas.toml), which learns from each, in place of --budget
    #[arg(long, value_name = "N", conflicts_with_all = ["live", "budget", "by"], value_parser = clap::value_parser!(u32).range(1..=1000))]
    finetune: Option<u32>,
    /// Random starts per task
    #[arg(long, alias = "repeats", default_value_t = 16, value_name = "R", conflicts_with = "live", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    seeds: u32,
    /// Report after so many paid queries [default: 5,10,25,50 as far as the budget goes, and the budget]
    #[arg(long, value_delimiter = ',', value_name = "N,…", conflicts_with = "live")]
    at: Vec<usize>,
    /// Who searches: exported (what the run exported: the trained policy if it earned it, else the rule), rule (best upper bound of
    /// the transfer posterior), trained (exported or not), plain (best upper bound without training tasks) or random
    #[arg(long, value_name = "WHO", default_value = "exported", conflicts_with = "live")]
    by: Acting,
    /// Seed of the starts, the same for every --by; with --oracle, of everything random [default: 1]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Print one JSON object per task, then a summary
    #[arg(long)]
    json: bool,
}

/// What is done with a search that is not running.
#[derive(Debug, Subcommand)]
enum Action {
    Retry(RetryCommand),
}

impl SearchCommand {
    /// Whether the search has a folder for what it finds.
    pub fn keeps_its_results(&self) -> bool {
        self.live.wanted() || self.action.is_some()
    }

    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        if let Some(Action::Retry(retry)) = &self.action {
            return retry.run();
        }
        if self.live.wanted() {
            if let Some(option) = self.tasks.named() {
                let text = format!(
                    "{option} has no effect with --oracle, which measures what --space has; leave it out"
                );
                return Err(Usage(text).into());
            }
            let (policy, catalog) = (self.policy.as_deref(), self.tasks.catalog());
            let live = LiveArguments { part: self.part, ..self.live };
            return live.run(policy, &catalog, self.budget as usize, self.seed, self.json);
        }
        if let Some(limit) = self.live.by.require.first() {
            let text = format!(
                "--require '{limit}' goes with --oracle: a policy knows one objective without limits; on tables compare methods within \
                 limits by `srnas compare --require`"
            );
            return Err(Usage(text).into());
        }
        if self.budget > MOST_QUERIES {
            let text = format!("--budget {} is above {MOST_QUERIES}, the most without --oracle", self.budget);
            return Err(Usage(text).into());
        }
        let file = self.policy.as_deref().ok_or_else(|| Usage("--policy is missing".into()))?;
        let policy = Policy::load(file)?;
        let config = self.load_config(file)?;
        let names = self.task_names(&config)?;
        let count = self.tasks.count(&config);
        let catalog = self.tasks.catalog();
        let budget = self.finetune.unwrap_or(self.budget) as usize;
        let at = self.report_at(budget)?;
        if self.finetune.is_some() {
            let done = self.fine_tuned(file, &catalog, &names, count)?;
            return self.show(&policy, &done, &at);
        }
        let resolve = if policy.environment.shorter > 0 { resolve_with_shorter } else { resolve_tasks };
        let tasks = match self.part.wanted() {
            true => self.problems(&catalog, &names, count)?.iter().map(|p| p.signals[0].clone()).collect(),
            false => resolve(&catalog, &names, count)?,
        };
        let acting = self.by;
        let searcher = acting.searcher(&policy);
        let mut done: Vec<(Arc<Task>, Vec<Search>)> = Vec::new();
        let progress = ProgressBar::new(tasks.len() as u64).with_style(
            ProgressStyle::with_template("{bar:30} {pos}/{len} tasks, {eta} left").expect("a valid template"),
        );
        let mut environment: Option<Arc<Environment>> = None;
        for task in tasks {
            let known = environment.take().filter(|e| e.space().shares_ranks(task.space()));
            let env = match known {
                Some(env) => env,
                None => Arc::new(policy_environment(&policy, task.space(), budget, acting)?),
            };
            let weights = env.prior().map_or_else(Vec::new, |p| p.all());
            let searches =
                search(&env, &task, &weights, &searcher, self.seeds as usize, self.seed.unwrap_or(1))?;
            if self.json {
                println!("{}", task_json(&task, &searches, &at));
            }
            done.push((task, searches));
            environment = Some(env);
            progress.inc(1);
        }
        progress.finish_and_clear();
        self.show(&policy, &done, &at)
    }

    /// Prints what was found; with --json each task's line was printed as it was done.
    fn show(&self, policy: &Policy, done: &[(Arc<Task>, Vec<Search>)], at: &[usize]) -> anyhow::Result<()> {
        if self.json {
            println!("{}", summary_json(done, at));
        } else {
            self.print(policy, done, at);
        }
        Ok(())
    }

    /// The part of each task that is searched.
    fn problems(
        &self,
        catalog: &Catalog,
        names: &[TaskName],
        count: Count,
    ) -> Result<Vec<Problem>, ProblemError> {
        let part = |task| self.part.of(Problem::single(catalog, task, None, &[], count)?, catalog, count);
        names.iter().map(part).collect()
    }

    /// Searches by the policy's agent.
    fn fine_tuned(
        &self,
        policy: &Path,
        catalog: &Catalog,
        names: &[TaskName],
        count: Count,
    ) -> anyhow::Result<Vec<(Arc<Task>, Vec<Search>)>> {
        let (n, seeds) = (self.finetune.unwrap_or(self.budget) as usize, self.seeds as usize);
        let mut done = Vec::new();
        for problem in self.problems(catalog, names, count)? {
            let task = problem.signals[0].clone();
            let searches = fine_tuned(problem, policy, n, (seeds, self.seed.unwrap_or(1)), count)?;
            if self.json {
                println!("{}", task_json(&task, &searches, &self.report_at(n)?));
            }
            done.push((task, searches));
        }
        Ok(done)
    }

    fn load_config(&self, policy: &Path) -> anyhow::Result<Config> {
        if let Some(path) = &self.config {
            return Ok(Config::load(path)?);
        }
        let run_dir = if policy.is_dir() { Some(policy) } else { policy.parent() };
        let path = run_dir.unwrap_or(Path::new(".")).join("config.toml");
        if path.is_file() { Ok(Config::load(&path)?) } else { Ok(Config::default()) }
    }

    fn task_names(&self, config: &Config) -> anyhow::Result<Vec<TaskName>> {
        let wanted = self.tasks.names(config)?;
        if wanted.is_empty() {
            let known: Vec<&str> = config.task_sets.keys().map(String::as_str).collect();
            let sets = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
            return Err(Usage(format!("nothing to search: give --task T or --task-set NAME{sets}")).into());
        }
        Ok(wanted)
    }

    fn report_at(&self, budget: usize) -> anyhow::Result<Vec<usize>> {
        let mut at = if self.at.is_empty() { vec![5, 10, 25, 50, budget] } else { self.at.clone() };
        if !self.at.is_empty()
            && let Some(beyond) = at.iter().find(|&&n| n == 0 || n > budget)
        {
            return Err(Usage(format!("--at {beyond} is not between 1 and the budget of {budget}")).into());
        }
        at.retain(|&n| n <= budget);
        at.sort_unstable();
        at.dedup();
        Ok(at)
    }

    fn print(&self, policy: &Policy, done: &[(Arc<Task>, Vec<Search>)], at: &[usize]) {
        let (acts, budget) = match self.finetune {
            Some(evaluations) => ("the agent, which learns as it goes", evaluations),
            None => (self.by.in_words(policy), self.budget),
        };
        let (starts, unit) = (self.seeds, super::unit_of(policy));
        println!("Searched by {acts}; {starts} starts per task, {budget} {unit} each.");
        self.part.in_words().for_each(|part| println!("Only {part}."));
        match done.iter().any(|(task, _)| task.best_of().is_some()) {
            false => println!("Normalised regret: 0 is the best of the table, 1 its median.\n"),
            true => println!(
                "Normalised regret: 0 is the best that is known, 1 the median of what is known. A network predicts what has no row.\n"
            ),
        }
        let wide = done.iter().map(|(t, _)| t.name().len()).max().unwrap_or(4).max(4);
        print!("{:wide$}", "task");
        at.iter().for_each(|n| print!("  {:>8}", format!("after {n}")));
        println!("  incumbent  best known  best architecture found");
        for (task, searches) in done {
            print!("{:wide$}", task.name());
            for &n in at {
                let regrets: Vec<f64> = searches.iter().map(|s| f64::from(s.regrets[n - 1])).collect();
                print!("  {:>8.4}", srnas_basics::statistics::mean(&regrets));
            }
            let last: Vec<f64> =
                searches.iter().map(|s| f64::from(s.incumbents[s.incumbents.len() - 1])).collect();
            let best = best_of(searches);
            println!(
                "  {:>9}  {:>10}  {}",
                number(task.shown(srnas_basics::statistics::mean(&last))),
                number(task.shown(task.best())),
                task.space().format(&best.best)
            );
        }
        println!("\nmean over {} task(s), with 95 % confidence intervals:", done.len());
        for &n in at {
            let (mean, [low, high]) = summary(done, n);
            let unit = unit.rsplit(' ').next().unwrap_or_default();
            println!("  after {n:>3} {unit}  {mean:.4}  [{low:.4}, {high:.4}]");
        }
    }
}

fn best_of(searches: &[Search]) -> &Search {
    let last = |s: &Search| s.incumbents[s.incumbents.len() - 1];
    searches.iter().max_by(|a, b| last(a).total_cmp(&last(b))).expect("at least one start")
}

/// Mean over tasks of the mean normalised regret after `n` queries, with its interval.
fn summary(done: &[(Arc<Task>, Vec<Search>)], n: usize) -> (f64, [f64; 2]) {
    let groups: Vec<Vec<f64>> =
        done.iter().map(|(_, s)| s.iter().map(|s| f64::from(s.regrets[n - 1])).collect()).collect();
    bootstrap_mean(&groups)
}

fn task_json(task: &Task, searches: &[Search], at: &[usize]) -> serde_json::Value {
    let report = |value: &dyn Fn(&Search, usize) -> f64| -> serde_json::Value {
        at.iter()
            .map(|&n| {
                let values = vec![searches.iter().map(|s| value(s, n - 1)).collect::<Vec<f64>>()];
                let (mean, interval) = bootstrap_mean(&values);
                (n.to_string(), json!({ "mean": mean, "ci95": interval }))
            })
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let best = best_of(searches);
    json!({
        "task": task.name(),
        "starts": searches.len(),
        "normalised_regret": report(&|s, n| s.regrets[n].into()),
        "minimise": task.minimises(),
        "incumbent": report(&|s, n| task.shown(s.incumbents[n])),
        "best_known": task.shown(task.best()),
        "median": task.shown(task.median()),
        "best_architecture": task.space().format(&best.best),
    })
}

fn summary_json(done: &[(Arc<Task>, Vec<Search>)], at: &[usize]) -> serde_json::Value {
    let (mut means, mut intervals) = (serde_json::Map::new(), serde_json::Map::new());
    for &n in at {
        let (mean, interval) = summary(done, n);
        means.insert(n.to_string(), json!(mean));
        intervals.insert(n.to_string(), json!(interval));
    }
    json!({ "summary": { "tasks": done.len(), "normalised_regret": means, "ci95": intervals } })
}
