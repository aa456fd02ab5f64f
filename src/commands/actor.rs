//! `srnas actor`: an actor as a process of its own.

use super::{
    patience::{Patience, patience},
    security::CallerSecurity,
};
use anyhow::Context;
use clap::Args;
use srnas_actor::ActorOptions;
use srnas_basics::machine::host_name;
use srnas_oracle::catalog::Catalog;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  srnas actor --learner http://localhost:7777
  srnas actor --learner http://learner:7777 --id rack2-7 --episodes 48
  srnas actor --learner https://learner:7777 --token-file token --tls-ca ca.crt";

/// Run one actor for a learner
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ActorCommand {
    /// Address of the learner
    #[arg(long, value_name = "URL")]
    learner: String,
    /// Episodes walked at the same time [default: as the run's configuration says]
    #[arg(long, alias = "envs", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    episodes: Option<u32>,
    /// Name of the actor, its own [default: the machine's name and the process number]
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// Give up when no learner answers for so long at the start: seconds, a time such as 10m, or never
    #[arg(long, value_name = "TIME", default_value = "never", value_parser = patience)]
    connect_timeout: Patience,
    /// Folder of benchmark files, searched before $SRNAS_BENCH_DIR and the user's data directory
    #[arg(long, value_name = "DIR")]
    bench_dir: Option<PathBuf>,
    #[command(flatten)]
    security: CallerSecurity,
}

impl ActorCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let options = ActorOptions {
            security: self.security.load(&self.learner)?,
            learner: self.learner,
            id: self.id.unwrap_or_else(default_id),
            episodes: self.episodes.map(|n| n as usize),
            catalog: Catalog::new(self.bench_dir),
            connect_timeout: self.connect_timeout.0,
            reports: true,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime
            .block_on(async { srnas_actor::run(options, super::stop_on_signal()).await })
            .context("the actor ended")
    }
}

pub fn default_id() -> String {
    format!("{}-{}", host_name(), std::process::id())
}
