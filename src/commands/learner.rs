//! `srnas learner`: the learner as a process of its own.

use super::{report, run::default_run_dir, simulation::SimulationArgs};
use anyhow::Context;
use clap::Args;
use srnas_common::config::Config;
use srnas_oracle::catalog::Catalog;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "Examples:
  srnas learner --config configs/nb201-transfer.toml --run-dir runs/transfer --listen 0.0.0.0:7777
  srnas actor --learner http://localhost:7777        on as many machines as there are";

/// What a run is told on the command line.
#[derive(Debug, Args)]
pub struct LearnerArgs {
    /// Configuration of the run, TOML; `configs/` has some
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
    /// Train on these tasks in place of the configuration's; braces abbreviate, may be repeated
    #[arg(long, value_name = "T")]
    task: Vec<String>,
    /// Minutes of training [default: as in the configuration]
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    /// Environment steps after which to end, if that is sooner
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Seed of everything random
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Where the run's files go [default: a new folder in runs/]
    #[arg(long, value_name = "D")]
    run_dir: Option<PathBuf>,
    /// Folder of benchmark files, searched before $SRNAS_BENCH_DIR and the user's data directory
    #[arg(long, value_name = "DIR")]
    bench_dir: Option<PathBuf>,
    #[command(flatten)]
    simulation: SimulationArgs,
}

impl LearnerArgs {
    /// The configuration with what the command line changes in it.
    pub fn config(&self) -> anyhow::Result<Config> {
        let mut config = match &self.config {
            Some(path) => Config::load(path)?,
            None if self.task.is_empty() => {
                return Err(super::Usage(
                    "nothing to train on: give --config F (configs/nb201-transfer.toml is one) or --task T"
                        .into(),
                )
                .into());
            }
            None => Config::default(),
        };
        if !self.task.is_empty() {
            config.tasks.train.clone_from(&self.task);
            config.validation.families.clear();
        }
        if let Some(minutes) = self.minutes {
            config.run.minutes = minutes;
        }
        config.run.steps = self.steps.or(config.run.steps);
        config.seed = self.seed.unwrap_or(config.seed);
        self.simulation.change(&mut config.simulation);
        config.check()?;
        Ok(config)
    }

    /// Lets `runs/latest` lead to a run that was named by the program.
    pub fn remember(&self, run_dir: &Path) -> anyhow::Result<()> {
        if let (None, Some(name), Some(runs)) = (&self.run_dir, run_dir.file_name(), run_dir.parent()) {
            let (new, link) = (runs.join(".latest"), runs.join("latest"));
            let _ = std::fs::remove_file(&new);
            std::os::unix::fs::symlink(name, &new)
                .and_then(|()| std::fs::rename(&new, &link))
                .with_context(|| format!("cannot write {}", link.display()))?;
        }
        Ok(())
    }

    /// The run directory; a new one named after the configuration where none is given.
    pub fn run_dir(&self, fallback: &str) -> PathBuf {
        self.run_dir.clone().unwrap_or_else(|| {
            let stem = self.config.as_ref().and_then(|p| p.file_stem());
            default_run_dir(&stem.map_or(fallback.into(), |s| s.to_string_lossy().into_owned()))
        })
    }

    /// Where the benchmarks are.
    pub fn catalog(&self) -> Catalog {
        Catalog::new(self.bench_dir.clone())
    }
}

/// Run the learner alone; actors join it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LearnerCommand {
    #[command(flatten)]
    args: LearnerArgs,
    /// Address to listen on for actors
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7777")]
    listen: SocketAddr,
}

impl LearnerCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let config = self.args.config()?;
        let (run_dir, shown) = (self.args.run_dir("learner"), config.clone());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let summary = runtime.block_on(async {
            let stop = super::stop_on_signal();
            let listener = srnas_learner::bind(self.listen).await?;
            tracing::info!(address = %listener.local_addr()?, run_dir = %run_dir.display(), "waiting for actors");
            let (progress, watched) = tokio::sync::watch::channel(Default::default());
            let display = tokio::spawn(report::show(watched));
            let options = srnas_learner::LearnerOptions {
                config,
                run_dir: run_dir.clone(),
                catalog: self.args.catalog(),
                listener,
                progress,
                over: CancellationToken::new(),
            };
            let result = srnas_learner::run(options, stop).await;
            display.abort();
            anyhow::Ok(result?)
        })?;
        self.args.remember(&run_dir)?;
        report::print_summary(&summary, &run_dir, &shown);
        Ok(())
    }
}
