//! `srnas learner`: the learner as a process of its own.

use super::{
    address::listen_address,
    config::ConfigArgs,
    report,
    resume::{self, Kind},
    run::default_run_dir,
    security::ListenerSecurity,
    simulation::SimulationArgs,
};
use clap::{Args, ValueEnum};
use srnas_config::{
    Config,
    layers::{ConfigFile, Origin, Override},
};
use srnas_learner::{RunDir, Start};
use srnas_oracle::catalog::Catalog;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "Examples:
  srnas learner --config configs/nb201-transfer.toml --run-dir runs/transfer
  srnas actor --learner http://localhost:7777

  openssl rand -hex 32 > token                       on this machine and on those of the actors
  srnas learner --config configs/nb201-transfer.toml --listen 0.0.0.0:7777 --token-file token
  srnas actor --learner http://HOST:7777 --token-file token";

/// When to go on with a run that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Resume {
    /// There must be one
    Always,
    /// If there is one
    Auto,
}

/// What a run is told on the command line.
#[derive(Debug, Args)]
pub struct LearnerArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Where the run's files go [default: a new folder in runs/]
    #[arg(long, value_name = "D")]
    run_dir: Option<PathBuf>,
    /// Go on with the run in --run-dir [default: runs/latest], under its own configuration unless --config names one;
    /// --resume=auto starts a run if there is none
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "always")]
    resume: Option<Resume>,
    /// Folder of benchmark files, searched before $SRNAS_BENCH_DIR and the user's data directory
    #[arg(long, value_name = "DIR")]
    bench_dir: Option<PathBuf>,
    #[command(flatten)]
    simulation: SimulationArgs,
}

impl LearnerArgs {
    /// The configuration in its layers; `more` are flags that only some commands have. A run that is resumed has its own
    /// file unless another is named.
    pub fn config(&self, more: impl IntoIterator<Item = Override>) -> anyhow::Result<Config> {
        let own = self.resume.map(|_| self.run_dir("").join(RunDir::CONFIG));
        let own = own.filter(|file| self.resume == Some(Resume::Always) || file.is_file());
        if own.is_some() {
            resume::check(&self.run_dir(""), Kind::Training)?;
        }
        let resolved =
            self.config.resolve_over(own.as_deref(), more.into_iter().chain(self.simulation.overrides()))?;
        if resolved.origin.get("tasks.train") == Some(&Origin::Default) {
            let reason =
                "nothing to train on: name tasks with --task T or as `tasks.train` in the configuration";
            return Err(super::Usage(reason.into()).into());
        }
        Ok(resolved.config)
    }

    /// The configuration in its layers, where `text` is its file.
    pub fn config_over(
        &self,
        text: ConfigFile,
        more: impl IntoIterator<Item = Override>,
    ) -> anyhow::Result<Config> {
        let more = more.into_iter().chain(self.simulation.overrides());
        Ok(self.config.resolve_text(Some(text), more)?.config)
    }

    /// The seed, if one is given.
    pub fn seed(&self) -> Option<u64> {
        self.config.seed()
    }

    /// A token to be cancelled when the run directory is there: then `runs/latest` leads to it, if the program named it.
    pub fn remember_when_ready(&self, run_dir: &Path) -> CancellationToken {
        let ready = CancellationToken::new();
        if self.run_dir.is_none() && self.resume.is_none() {
            let (ready, run_dir) = (ready.clone(), run_dir.to_path_buf());
            tokio::spawn(async move {
                ready.cancelled().await;
                if let Err(error) = link_latest(&run_dir) {
                    tracing::warn!(%error, "runs/latest cannot be written; name the run by --run-dir");
                }
            });
        }
        ready
    }

    /// The run directory; a new one named after the configuration where none is given.
    pub fn run_dir(&self, fallback: &str) -> PathBuf {
        if let (None, Some(_)) = (&self.run_dir, self.resume) {
            return PathBuf::from("runs/latest");
        }
        self.run_dir.clone().unwrap_or_else(|| {
            let stem = self.config.file().and_then(Path::file_stem);
            default_run_dir(&stem.map_or(fallback.into(), |s| s.to_string_lossy().into_owned()))
        })
    }

    /// Whether the run begins or goes on.
    pub fn start(&self) -> Start {
        match self.resume {
            None => Start::New,
            Some(Resume::Always) => Start::Resume,
            Some(Resume::Auto) => Start::Either,
        }
    }

    /// Where the benchmarks are.
    pub fn catalog(&self) -> Catalog {
        Catalog::new(self.bench_dir.clone())
    }
}

/// Lets `latest` beside a run lead to it.
fn link_latest(run_dir: &Path) -> std::io::Result<()> {
    let (Some(name), Some(runs)) = (run_dir.file_name(), run_dir.parent()) else { return Ok(()) };
    let (new, link) = (runs.join(".latest"), runs.join("latest"));
    let _ = std::fs::remove_file(&new);
    std::os::unix::fs::symlink(name, &new)?;
    std::fs::rename(&new, &link)
}

/// Listens where `--http` says, if it does.
pub async fn bind_http(address: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    Ok(match address {
        Some(address) => Some(srnas_learner::http::bind(address).await?),
        None => None,
    })
}

/// Run the learner alone; actors join it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LearnerCommand {
    #[command(flatten)]
    args: LearnerArgs,
    /// Address to listen on for actors
    #[arg(long, value_name = "ADDR", value_parser = listen_address, default_value = "127.0.0.1:7777")]
    listen: SocketAddr,
    #[command(flatten)]
    security: ListenerSecurity,
    /// Address that serves a page to watch the run on, /metrics, /healthz and /readyz [default: none]
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    http: Option<SocketAddr>,
}

impl LearnerCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let config = self.args.config([])?;
        if config.run.deterministic {
            let reason = "a deterministic run is one process: use `srnas run`";
            return Err(super::Usage(reason.into()).into());
        }
        let security = self.security.load(self.listen, self.http)?;
        let (run_dir, shown) = (self.args.run_dir("learner"), config.clone());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let summary = runtime.block_on(async {
            let stop = super::stop_on_signal();
            let listener = srnas_learner::bind(self.listen).await?;
            let http = bind_http(self.http).await?;
            tracing::info!(address = %listener.local_addr()?, run_dir = %run_dir.display(), "waiting for actors");
            let (progress, watched) = tokio::sync::watch::channel(Default::default());
            let display = tokio::spawn(report::show(watched));
            let options = srnas_learner::LearnerOptions {
                config,
                run_dir: run_dir.clone(),
                start: self.args.start(),
                catalog: self.args.catalog(),
                listener,
                security,
                http,
                progress,
                ready: self.args.remember_when_ready(&run_dir),
                policy: tokio::sync::watch::channel(None).0,
                // A learner has its machine to itself; `srnas run --baseline` compares.
                standings: tokio::sync::watch::channel(Default::default()).1,
            };
            let result = srnas_learner::run(options, stop).await;
            display.abort();
            anyhow::Ok(result?)
        })?;
        report::print_summary(&summary, "learner", &run_dir);
        report::print_next(&summary, &run_dir, &shown);
        Ok(())
    }
}
