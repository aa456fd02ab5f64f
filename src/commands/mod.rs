//! One file per subcommand: argument parsing and printing, nothing else.

mod actor;
mod bench;
mod learner;
mod report;
mod run;
mod search;
mod simulation;

use clap::{Parser, Subcommand};
use srnas_common::{config::ConfigError, telemetry};
use srnas_learner::LearnerError;
use srnas_oracle::tasks::TaskBuildError;
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "Examples:
  srnas bench import nasbench201 DIR…                       make the NAS-Bench-201 benchmark from its tables
  srnas run --config configs/nb201-transfer.toml            train a search policy
  srnas search --policy runs/latest --task nb201/imagenet16/val --budget 25
                                                            search a task it has never seen";

/// Learns to search for neural architectures
#[derive(Debug, Parser)]
#[command(name = "srnas", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunCommand),
    Learner(learner::LearnerCommand),
    Actor(actor::ActorCommand),
    Search(search::SearchCommand),
    Bench(bench::BenchCommand),
}

impl Cli {
    /// Runs the subcommand.
    pub fn run(self) -> anyhow::Result<()> {
        telemetry::start("info", telemetry::LogFormat::Text);
        match self.command {
            Command::Run(c) => c.run(),
            Command::Learner(c) => c.run(),
            Command::Actor(c) => c.run(),
            Command::Search(c) => c.run(),
            Command::Bench(c) => c.run(),
        }
    }
}

/// 2 for wrong usage or configuration, 1 for everything else that fails.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let wrong = error.chain().any(|cause| {
        cause.is::<ConfigError>()
            || cause.is::<Usage>()
            || cause.downcast_ref().is_some_and(TaskBuildError::is_usage)
            || cause
                .downcast_ref()
                .is_some_and(|e| matches!(e, LearnerError::Tasks(tasks) if tasks.is_usage()))
    });
    if wrong { 2 } else { 1 }
}

/// A token that SIGINT and SIGTERM cancel: work in hand is finished and written. A second signal exits at once.
pub fn stop_on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        for second in [false, true] {
            signal().await;
            if second {
                std::process::exit(130);
            }
            tracing::info!("stopping; a second signal stops at once");
            token.cancel();
        }
    });
    stop
}

async fn signal() {
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    match terminate {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

/// Arguments that do not go together.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}
