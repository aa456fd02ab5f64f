//! `srnas compare`: search methods under one protocol, and a report.

mod live;
mod watched;

use super::{
    Usage,
    address::listen_address,
    live::{
        OracleArguments,
        past::{UNTRAINED, wants_untrained},
    },
    security::TokenArgs,
    stop_on_signal,
    tasks::{PartArguments, TaskArguments, names},
    view::{Bound, Watched},
};
use clap::{ArgGroup, Args};
use indicatif::{ProgressBar, ProgressStyle};
use srnas_config::{Config, Latency};
use srnas_oracle::tasks::resolve_tasks;
use srnas_page::Source;
use srnas_search::{
    Clock, Comparison, Durations, METHODS, MethodSpec, Plan, Problem, Why,
    report::{self, ClockSummary, Summary},
};
use srnas_security::may_listen;
use srnas_task::TaskName;
use std::{net::SocketAddr, path::PathBuf};
use watched::Searches;

const EXAMPLES: &str = "Examples:
  srnas compare --task nb201/cifar10/val --report test --method random --method local \\
      --method evolution:population=50,tournament=10 --budget 50,100,150 --seeds 200 --out reports/cifar10
  srnas compare --config configs/nb201-transfer.toml --task-set held-out --method transfer-gp \\
      --method gp --method policy:runs/latest --budget 5,10,25,50 --seeds 64 --out reports/transfer
  srnas compare --objectives 'nb201/cifar10/{val,edgegpu_latency}' --method nsga2 --method mobo --out reports/pareto
  srnas compare --task nb201/cifar10/val --require 'edgegpu_latency <= 4' --method mobo --method nsga2 --out reports/fast
  srnas compare --task digits-wrn/val/worst@32 --teacher WRN-16-3 --within 'cost/multiply_adds <= 50%' --method universal --out reports/small
  srnas compare --task nb201/cifar10/val --method 'cmd:python3 examples/optuna_solver.py' --out reports/tpe
  srnas compare --oracle 'cmd:python train.py' --space space.toml --maximise accuracy --method random --method universal \
      --budget 10,20 --seeds 3 --out reports/mine";

const PAST_OF_NO_USE: &str = "--past and --past-set have no effect: none of the methods learns from past tasks; transfer-gp does, and \
     two-phase:past=all, screen:past=all and mobo:past=all";

/// Compare search methods on tasks, under one protocol, and write a report
#[derive(Debug, Args)]
#[command(after_help = format!("{}\n\n{EXAMPLES}", described()), group = ArgGroup::new("live").args(["oracle"]))]
pub struct CompareCommand {
    #[command(flatten)]
    tasks: TaskArguments,
    #[command(flatten)]
    by: OracleArguments,
    /// One problem with several objectives: the tasks that the pattern names
    #[arg(long, value_name = "PATTERN")]
    objectives: Vec<String>,
    #[command(flatten)]
    part: PartArguments,
    /// What incumbents are reported by: a metric of the same data set, such as test, or the same metric of another data set,
    /// such as test/ [default: what is searched]
    #[arg(long, value_name = "METRIC|DATASET/")]
    report: Option<String>,
    /// Method, such as local or evolution:population=50; may be repeated [default: random, local, evolution, ridge, gp; for several
    /// objectives and within limits random, nsga2, linas, mobo]
    #[arg(long, value_name = "METHOD")]
    method: Vec<String>,
    /// The method that the others are paired with in the report [default: the last one]
    #[arg(long, value_name = "METHOD")]
    against: Option<String>,
    /// Past task for methods that learn from some: transfer-gp, two-phase:past=all, screen:past=all, mobo:past=all; with --oracle
    /// also the run directory of an earlier search; may be repeated, and braces abbreviate names of tasks. `untrained`: what is known
    /// of each architecture without training it, such as its parameters
    #[arg(long, value_name = "T")]
    past: Vec<String>,
    /// Named task set of past tasks [default: what the configuration trains on]
    #[arg(long, value_name = "NAME")]
    past_set: Vec<String>,
    /// Configuration that names the task sets
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
    /// Paid queries, the random start included: reported after each, searched to the highest
    #[arg(long, value_delimiter = ',', default_value = "5,10,25,50,100", value_name = "N,…")]
    budget: Vec<usize>,
    /// Searches of each method on each problem, from shared starts
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    seeds: u32,
    /// Simulated workers: so many trainings run at a time, for methods that can have several under way
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    workers: u32,
    /// A full training takes so long on the simulated clock: 20ms, lognormal:20ms:0.5 (median, sigma) or
    /// column:cifar10/train_time*1 (a metric of the benchmark in seconds, scaled) [default: the clock counts full trainings]
    #[arg(long = "simulate-latency", value_name = "L")]
    latency: Option<Latency>,
    /// Seed of everything random; the starts are those of srnas search with the same seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of the report; the same command goes on with what is in it
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Threads [default: all cores]
    #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true)]
    threads: usize,
    /// Print the numbers of the report as one JSON object
    #[arg(long)]
    json: bool,
    /// Address of a page on which it is watched, such as 127.0.0.1:7780 (docs/watching.md) [default: none]
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    http: Option<SocketAddr>,
    #[command(flatten)]
    token: TokenArgs,
}

fn described() -> String {
    let lines = METHODS.iter().map(|(name, what)| format!("  {name:<12} {what}"));
    format!("Methods:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

impl CompareCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        if self.by.oracle.is_some() {
            return self.run_live();
        }
        let config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        let catalog = self.tasks.catalog();
        let count = self.tasks.count(&config);
        let mut problems = Vec::new();
        for name in self.tasks.names(&config)? {
            let report = self.report.as_deref();
            let problem = Problem::single(&catalog, &name, report, &self.by.require, count)?;
            problems.push(self.part.of(problem, &catalog, count)?);
        }
        if self.report.is_some() && problems.is_empty() && !self.objectives.is_empty() {
            let says = "--report has no effect on --objectives, which are reported by their hypervolume; leave it out";
            return Err(Usage(says.into()).into());
        }
        for pattern in &self.objectives {
            let objectives = names(&config, &[], std::slice::from_ref(pattern))?;
            if objectives.len() < 2 {
                let says =
                    format!("--objectives {pattern} names {} task; give two or more", objectives.len());
                return Err(Usage(says).into());
            }
            let problem = Problem::several(&catalog, &objectives, &self.by.require, count)?;
            problems.push(self.part.of(problem, &catalog, count)?);
        }
        if problems.is_empty() {
            let says = "nothing to compare on: give --task T, --task-set NAME or --objectives PATTERN";
            return Err(Usage(says.into()).into());
        }
        for problem in &problems {
            match problem.known() {
                Some(known) if known.why == Why::KeepTheLimits => tracing::info!("{}: {known}", problem.name),
                Some(known) => tracing::warn!("{}: {}", problem.name, known.remark()),
                None => {}
            }
            if let Some(feasible) = problem.feasible() {
                tracing::info!("{}: {feasible}", problem.name);
            }
        }
        let methods = self.methods()?;
        let against = self.against(&methods)?;
        let past = self.past_names(&config, methods.iter().any(MethodSpec::knows_a_past))?;
        self.check_untrained(&methods)?;
        if wants_untrained(&self.past) {
            tracing::info!("asks of every architecture what takes no training");
            let mut made = Vec::new();
            let describing = |problem: Problem| problem.describing(&catalog, &mut made);
            problems = problems.into_iter().map(describing).collect::<Result<_, _>>()?;
        }
        let clock = Clock { workers: self.workers as usize, latency: self.latency.clone() };
        let durations = Durations::resolve(&clock, &catalog, &problems)?;
        let plan = Plan {
            software: env!("CARGO_PKG_VERSION").into(),
            methods: methods.iter().map(ToString::to_string).collect(),
            problems: problems
                .iter()
                .map(|p| p.signals.iter().map(|t| t.name().to_string()).collect())
                .collect(),
            limits: self.limits(),
            report: problems.iter().map(|p| p.report.name().to_string()).collect(),
            count,
            budgets: self.budgets()?,
            seeds: self.seeds as usize,
            seed: self.seed,
            past: past
                .iter()
                .map(ToString::to_string)
                .chain(problems.iter().flat_map(|problem| {
                    let names = problem.untrained().map(|untrained| untrained.names().join(", "));
                    names.map(|names| format!("{UNTRAINED} of {}: {names}", problem.name))
                }))
                .collect(),
            clock,
            content: Plan::content_of(&catalog, &problems, &past, &methods)?,
        };
        let past = if past.is_empty() { Vec::new() } else { resolve_tasks(&catalog, &past, count)? };
        let comparison = Comparison::new(plan, methods, problems, past, &self.out)?.lasting(durations);
        let summary = self.search(&comparison, against)?;
        self.show(&summary)
    }

    fn show(&self, summary: &Summary) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(summary)?);
        } else {
            self.print(summary);
        }
        Ok(())
    }

    /// Every limit in words, those on what is known beforehand apart: a comparison within one is another than within the other.
    fn limits(&self) -> Vec<String> {
        self.by.require.iter().map(ToString::to_string).chain(self.part.in_words()).collect()
    }

    fn methods(&self) -> anyhow::Result<Vec<MethodSpec>> {
        const DEFAULT: &[&str] = &["random", "local", "evolution", "ridge", "gp"];
        const SEVERAL: &[&str] = &["random", "nsga2", "linas", "mobo"];
        let one = self.objectives.is_empty()
            && self.by.require.is_empty()
            && self.by.maximise.len() + self.by.minimise.len() < 2;
        let methods = match self.method.is_empty() {
            true => (if one { DEFAULT } else { SEVERAL })
                .iter()
                .map(|text| text.parse())
                .collect::<Result<Vec<_>, _>>()?,
            false => self.method.iter().map(|text| text.parse()).collect::<Result<Vec<MethodSpec>, _>>()?,
        };
        Ok(methods)
    }

    /// Place of the method that the others are paired with.
    fn against(&self, methods: &[MethodSpec]) -> Result<usize, Usage> {
        let Some(against) = &self.against else { return Ok(methods.len() - 1) };
        methods.iter().position(|m| m.as_str() == against).ok_or_else(|| {
            let known: Vec<&str> = methods.iter().map(MethodSpec::as_str).collect();
            Usage(format!("--against {against} is not one of the methods compared: {}", known.join(", ")))
        })
    }

    /// Refuses that what takes no training is given to methods that make nothing of it.
    fn check_untrained(&self, methods: &[MethodSpec]) -> Result<(), Usage> {
        match wants_untrained(&self.past) && !methods.iter().any(MethodSpec::knows_untrained) {
            true => Err(Usage(format!(
                "--past {UNTRAINED} has no effect: none of the methods makes something of it; transfer-gp does"
            ))),
            false => Ok(()),
        }
    }

    /// The past tasks; those that are named must be there, and be of use.
    fn past_names(&self, config: &Config, known: bool) -> anyhow::Result<Vec<TaskName>> {
        let (untrained, tasks): (Vec<&String>, _) = self.past.iter().partition(|past| *past == UNTRAINED);
        let tasks: Vec<String> = tasks.into_iter().cloned().collect();
        let named = names(config, &self.past_set, &tasks)?;
        let is_given = !named.is_empty() || !untrained.is_empty();
        if is_given && !known {
            return Err(Usage(PAST_OF_NO_USE.into()).into());
        }
        Ok(if !is_given && known && self.config.is_some() { config.train_tasks()? } else { named })
    }

    fn budgets(&self) -> anyhow::Result<Vec<usize>> {
        let mut budgets = self.budget.clone();
        if budgets.contains(&0) || budgets.is_empty() {
            return Err(Usage("--budget is a list of whole numbers from 1 on".into()).into());
        }
        budgets.sort_unstable();
        budgets.dedup();
        Ok(budgets)
    }

    /// The page on which these are watched, if one is wanted.
    fn watched(&self, sources: Vec<Box<dyn Source>>) -> anyhow::Result<Option<Watched>> {
        let Some(address) = self.http else { return Ok(None) };
        let token = self.token.load()?;
        may_listen(address, token.as_ref(), false)?;
        Ok(Some(Bound::at(address, token)?.show(sources)?))
    }

    fn search(&self, comparison: &Comparison, against: usize) -> anyhow::Result<Summary> {
        let made = Searches::new(format!("Comparison {}", self.out.display()), comparison.searches());
        let _watched = self.watched(vec![Box::new(made.clone())])?;
        let progress = ProgressBar::new(comparison.searches() as u64).with_style(
            ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} searches, {eta} left")
                .expect("a valid template"),
        );
        // Signals are waited for on a runtime of their own; the searches run on these threads.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let stop = runtime.block_on(async { stop_on_signal() });
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build()?;
        let outcomes = pool.install(|| {
            comparison.run(&stop, &|done| {
                made.done(done);
                progress.set_position(done as u64);
            })
        })?;
        progress.finish_and_clear();
        Ok(pool.install(|| {
            report::write(&self.out, comparison.plan(), comparison.problems(), &outcomes, against)
        })?)
    }

    fn print(&self, summary: &Summary) {
        let plan = &summary.plan;
        let predicted = summary.problems.iter().any(|p| p.known.is_some_and(|known| known.is_predicted()));
        let of = match self.by.oracle.is_some() {
            true => "all that was measured",
            false if predicted => "what is known",
            false => "the table",
        };
        println!(
            "Normalised regret (0 is the best of {of}, 1 its median), mean over {} problem(s) × {} starts:\n",
            plan.problems.len(),
            plan.seeds
        );
        let wide = plan.methods.iter().map(|m| m.len()).max().unwrap_or(6).max(6);
        print!("{:wide$}", "method");
        plan.budgets.iter().for_each(|b| print!("  {:>9}", format!("after {b}")));
        println!("  rank");
        for o in &summary.overall {
            print!("{:wide$}", o.method);
            for b in &plan.budgets {
                let mean = o.normalised_regret.get(b).map_or(f64::NAN, |e| e.mean);
                print!("  {mean:>9.4}");
            }
            // Where a method has failed everywhere nothing is ranked.
            println!(
                "  {:>4}",
                o.average_rank.values().next_back().map_or("–".into(), |r| format!("{r:.2}"))
            );
        }
        if let Some(clock) = &summary.clock {
            self.print_clock(clock, wide);
        }
        for problem in &summary.problems {
            if let Some(known) = &problem.known {
                println!("\n{}: {}.", problem.problem, known.remark());
            }
            if let Some(feasible) = &problem.feasible {
                println!("\n{}: {feasible}.", problem.problem);
            }
            for m in problem.methods.iter().filter(|m| !m.failed.is_empty()) {
                let why = m.failed.values().next().expect("not empty");
                println!("\n{} on {}: {} searches failed: {why}", m.method, problem.problem, m.failed.len());
            }
        }
        println!("\nReport: {}", self.out.join("report.html").display());
    }

    fn print_clock(&self, clock: &ClockSummary, wide: usize) {
        println!("\nThe same by the simulated wall clock, in {}:\n", clock.unit);
        print!("{:wide$}  workers  busy       end", "method");
        clock.times.iter().for_each(|time| print!("  {:>9}", format!("after {time}")));
        println!();
        for m in &clock.methods {
            print!("{:wide$}  {:>7}  {:>3.0}%  {:>8.2}", m.method, m.workers, 100.0 * m.busy, m.end.mean);
            m.normalised_regret.iter().for_each(|e| print!("  {:>9.4}", e.mean));
            println!();
        }
    }
}
