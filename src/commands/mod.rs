//! One file per subcommand: argument parsing and printing, nothing else.

mod actor;
mod address;
mod admin;
mod bench;
mod compare;
mod config;
mod doctor;
mod evaluator;
mod export;
mod learner;
mod ledger;
mod live;
mod llm;
mod own;
mod patience;
mod report;
mod resume;
mod run;
mod search;
mod security;
mod simulation;
mod space;
mod tasks;
mod top;
mod view;

use crate::print;
use clap::{Parser, Subcommand, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use srnas_basics::text::with_causes;
use srnas_config::ConfigError;
use srnas_learner::{LearnerError, RunDirError};
use srnas_llm::LlmError;
use srnas_oracle::{
    benchmark::BenchmarkError,
    catalog::CatalogError,
    exporters::ExportError,
    importers::{study::StudyError, table::TableError},
    tasks::TaskBuildError,
};
use srnas_policy::Policy;
use srnas_search::{ClockError, ComparisonError, FineTunedError, ProblemError, SpecError};
use srnas_security::SecurityError;
use srnas_telemetry as telemetry;
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "Examples:
  srnas doctor                                              what is missing here, and what to do about it
  srnas run                                                 train on the built-in benchmark, and compare
  srnas search --oracle train --data digits --budget 40     search by real trainings
  srnas bench import nasbench201 DIR…                       make the NAS-Bench-201 benchmark from its tables
  srnas run --config configs/nb201-transfer.toml            train a search policy
  srnas search --policy runs/latest --task nb201/imagenet16/val --budget 25
                                                            search a task it has never seen
  srnas compare --task nb201/cifar10/val --budget 25,50 --out reports/first
                                                            search methods side by side";

/// Learns to search for neural architectures
#[derive(Debug, Parser)]
#[command(name = "srnas", version, after_help = EXAMPLES)]
pub struct Cli {
    /// Log lines on stderr: text for people, or one JSON object each; $RUST_LOG says which lines
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        env = "SRNAS_LOG_FORMAT",
        default_value = "text"
    )]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum LogFormat {
    // A variable that is set and empty says nothing.
    #[value(alias = "")]
    Text,
    Json,
}

impl From<LogFormat> for telemetry::LogFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunCommand),
    Learner(learner::LearnerCommand),
    Actor(actor::ActorCommand),
    Evaluator(evaluator::EvaluatorCommand),
    Search(Box<search::SearchCommand>),
    Compare(Box<compare::CompareCommand>),
    Space(space::SpaceCommand),
    Bench(bench::BenchCommand),
    Config(config::ConfigCommand),
    Doctor(doctor::DoctorCommand),
    Ledger(ledger::LedgerCommand),
    Llm(llm::LlmCommand),
    Status(admin::StatusCommand),
    Top(top::TopCommand),
    View(view::ViewCommand),
    Export(export::ExportCommand),
    Best(admin::BestCommand),
    Checkpoint(admin::CheckpointCommand),
    Drain(admin::DrainCommand),
}

/// Runs what the command line says. What fails is told on stderr, and by the exit code.
pub fn run() -> ExitCode {
    let code = match Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(said) => {
            print::said_by_clap(&said);
            // 2 for wrong usage, 0 for help.
            let code = u8::try_from(said.exit_code()).unwrap_or(2);
            match print::finish() {
                Ok(()) => code,
                Err(incomplete) => {
                    eprintln!("error: {incomplete}");
                    1
                }
            }
        }
    };
    telemetry::stderr::flush();
    ExitCode::from(code)
}

impl Cli {
    /// Runs the subcommand; the exit code.
    fn run(self) -> u8 {
        telemetry::start("info", self.log_format.into());
        raise_descriptors();
        let keeps = self.command.keeps_its_results();
        let done = self.command.run();
        let printed = print::finish();
        match (done, printed) {
            (Ok(()), Ok(())) => 0,
            (Ok(()), Err(incomplete)) if keeps => {
                tracing::warn!("{incomplete}; the work is done and its results are in their files");
                0
            }
            (Ok(()), Err(incomplete)) => {
                complain(self.log_format, &anyhow::Error::from(incomplete));
                1
            }
            (Err(error), _) => {
                complain(self.log_format, &error);
                exit_code(&error)
            }
        }
    }
}

impl Command {
    fn run(self) -> anyhow::Result<()> {
        match self {
            Command::Run(c) => c.run(),
            Command::Learner(c) => c.run(),
            Command::Actor(c) => c.run(),
            Command::Evaluator(c) => c.run(),
            Command::Search(c) => c.run(),
            Command::Compare(c) => c.run(),
            Command::Space(c) => c.run(),
            Command::Bench(c) => c.run(),
            Command::Config(c) => c.run(),
            Command::Doctor(c) => c.run(),
            Command::Ledger(c) => c.run(),
            Command::Llm(c) => c.run(),
            Command::Status(c) => c.run(),
            Command::Top(c) => c.run(),
            Command::View(c) => c.run(),
            Command::Export(c) => c.run(),
            Command::Best(c) => c.run(),
            Command::Checkpoint(c) => c.run(),
            Command::Drain(c) => c.run(),
        }
    }

    /// Whether what comes of the command is in files or elsewhere, so that nothing is lost with its output.
    fn keeps_its_results(&self) -> bool {
        match self {
            Command::Run(_) | Command::Learner(_) | Command::Actor(_) | Command::Evaluator(_) => true,
            Command::Compare(_) | Command::Drain(_) => true,
            Command::Search(c) => c.keeps_its_results(),
            Command::Llm(c) => c.keeps_its_results(),
            Command::Space(_) | Command::Bench(_) | Command::Config(_) | Command::Doctor(_) => false,
            Command::Status(_) | Command::Best(_) | Command::Checkpoint(_) | Command::Ledger(_) => false,
            Command::Top(_) | Command::View(_) | Command::Export(_) => false,
        }
    }
}

/// More file descriptors nobody needs: each connection is one, and each file.
const MOST_DESCRIPTORS: u64 = 1 << 16;

/// Lets this process have as many file descriptors as it may have.
fn raise_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(MOST_DESCRIPTORS, |most| most.min(MOST_DESCRIPTORS));
    if current.is_some_and(|current| current < wanted) {
        // Where it may not, it has fewer.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}

/// Says on stderr why the program fails, in the format of its log; also where `RUST_LOG` wants to hear nothing.
fn complain(format: LogFormat, error: &anyhow::Error) {
    let said = with_causes(error.as_ref());
    match format {
        LogFormat::Json if tracing::enabled!(tracing::Level::ERROR) => tracing::error!("{said}"),
        LogFormat::Text | LogFormat::Json => eprintln!("error: {said}"),
    }
}

/// 2 for wrong usage or configuration, 1 for everything else that fails.
fn exit_code(error: &anyhow::Error) -> u8 {
    let wrong = error.chain().any(|cause| {
        cause.is::<ConfigError>()
            || cause.is::<Usage>()
            || cause.is::<SecurityError>()
            || cause.downcast_ref().is_some_and(TaskBuildError::is_usage)
            || cause.downcast_ref().is_some_and(TableError::is_usage)
            || cause.downcast_ref().is_some_and(StudyError::is_usage)
            || cause.downcast_ref().is_some_and(ExportError::is_usage)
            || matches!(cause.downcast_ref(), Some(BenchmarkError::Present { .. }))
            || matches!(cause.downcast_ref(), Some(CatalogError::Reserved { .. }))
            || cause.downcast_ref().is_some_and(LlmError::is_usage)
            || cause.is::<SpecError>()
            || cause.downcast_ref().is_some_and(ProblemError::is_usage)
            || cause.downcast_ref().is_some_and(ComparisonError::is_usage)
            || cause.downcast_ref().is_some_and(FineTunedError::is_usage)
            || cause.downcast_ref().is_some_and(ClockError::is_usage)
            || cause.downcast_ref().is_some_and(RunDirError::is_usage)
            || cause.downcast_ref().is_some_and(|e| match e {
                LearnerError::Tasks(tasks) => tasks.is_usage(),
                LearnerError::RunDir(run_dir) => run_dir.is_usage(),
                LearnerError::OtherConfig { .. } => true,
                _ => false,
            })
    });
    if wrong { 2 } else { 1 }
}

/// What the budgets of a policy's searches count.
fn unit_of(policy: &Policy) -> &'static str {
    // With shorter trainings, or as many of these as cost the same.
    if policy.environment.shorter > 0 { "full trainings" } else { "paid queries" }
}

/// A token that SIGINT and SIGTERM cancel: work in hand is finished and written. A second signal exits at once.
pub fn stop_on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        signal().await;
        // First, whatever becomes of the line.
        token.cancel();
        tracing::info!("stopping; a second signal stops at once");
        signal().await;
        std::process::exit(130);
    });
    stop
}

/// As [`stop_on_signal`], as a flag, for work outside of any async runtime. A thread of its own waits for the signals for
/// as long as the process lives.
pub fn stop_flag() -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let flag = stop.clone();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            stop_on_signal().cancelled().await;
            flag.store(true, Ordering::Relaxed);
            // The second signal is waited for here.
            std::future::pending::<()>().await;
        });
    })?;
    Ok(stop)
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
