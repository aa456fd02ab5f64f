//! `srnas run`: a learner and its actors in one command, over gRPC on loopback.

use super::{
    address::listen_address,
    learner::{LearnerArgs, bind_http},
    own::{OwnArguments, catalog_of},
    report,
    security::TokenArgs,
};
use crate::{deterministic, standings};
use clap::Args;
use srnas_actor::ActorOptions;
use srnas_basics::text::with_causes;
use srnas_config::layers::{ConfigFile, Override};
use srnas_oracle::catalog::Catalog;
use srnas_search::MethodSpec;
use srnas_security::{ClientSecurity, ServerSecurity, Token, may_listen};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::warn;

const EXAMPLES: &str = "Examples:
  srnas run                                           train on the built-in benchmark, and compare
  srnas run --config configs/nb201-transfer.toml
  srnas run --baseline local --baseline gp            the same, and see who is ahead meanwhile
  srnas run --config configs/nb201-transfer.toml --minutes 2 --seed 3 --run-dir runs/short
  srnas run --resume                                  go on with the run that was stopped or killed
  srnas run --config configs/nb201-transfer.toml --deterministic --steps 200000
  srnas run --task 'nb201/{cifar10,cifar100}/val' --minutes 1
  srnas run --config configs/nb201-transfer.toml --set learning.batch=256
  srnas run --space space.toml --past runs/search-1 --past runs/search-2     a policy for a space of your own
  srnas run --space space.toml --oracle 'cmd:python train.py' --minimise loss --budget 40";

/// Train a search policy: a learner and its actors in one command, then a comparison on the held-out tasks
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunCommand {
    #[command(flatten)]
    learner: LearnerArgs,
    /// Actors to start [default: as in the configuration]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    actors: Option<u32>,
    /// Take turns in one process, so that the run repeats to the last bit; needs --steps
    #[arg(long)]
    deterministic: bool,
    /// Compare the policy with this method on the held-out tasks while it trains, such as local; may be repeated. The log, the
    /// metrics and TensorBoard then say who is ahead; comparison.share says at what share of the cores
    #[arg(long, value_name = "METHOD")]
    baseline: Vec<String>,
    /// Address that serves a page to watch the run on, /metrics, /healthz and /readyz [default: none]
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    http: Option<SocketAddr>,
    #[command(flatten)]
    token: TokenArgs,
    #[command(flatten)]
    own: OwnArguments,
}

impl RunCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let actors = self.actors.map(|actors| Override::new("--actors", "run.actors", i64::from(actors)));
        let turns = self.deterministic.then(|| Override::new("--deterministic", "run.deterministic", true));
        for method in &self.baseline {
            method.parse::<MethodSpec>()?;
        }
        let baselines = (!self.baseline.is_empty())
            .then(|| Override::new("--baseline", "comparison.baselines", self.baseline.clone()));
        let more = actors.into_iter().chain(turns).chain(baselines);
        let run_dir = self.learner.run_dir(if self.own.wanted() { "own" } else { "digits" });
        let config = match self.own.wanted() {
            true => {
                let seed = self.learner.seed().unwrap_or(1);
                let text = self.own.prepare(&run_dir, seed, &self.learner.catalog())?;
                self.learner.config_over(ConfigFile { text: &text, place: "--space" }, more)?
            }
            false => self.learner.config(more)?,
        };
        if config.run.deterministic && !config.comparison.baselines.is_empty() {
            let reason =
                "a deterministic run is one thread, and nothing is compared beside it: leave out --baseline";
            return Err(super::Usage(reason.into()).into());
        }
        let shown = config.clone();
        let (actors, catalog) = (config.run.actors, catalog_of(&run_dir, self.learner.catalog()));
        let compared = catalog.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let summary = runtime.block_on(async {
            let stop = super::stop_on_signal();
            if config.run.deterministic {
                let (progress, watched) = tokio::sync::watch::channel(Default::default());
                let display = tokio::spawn(report::show(watched));
                let (start, ready) = (self.learner.start(), self.learner.remember_when_ready(&run_dir));
                let run_dir = run_dir.clone();
                let summary = tokio::task::spawn_blocking(move || {
                    deterministic::run(config, &run_dir, start, &catalog, &progress, &ready, &stop)
                })
                .await?;
                display.abort();
                return summary;
            }
            let listener = srnas_learner::bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
            let token = self.token.load()?;
            if let Some(address) = self.http {
                may_listen(address, token.as_ref(), false)?;
            }
            let http = bind_http(self.http).await?;
            let address = format!("http://{}", listener.local_addr()?);
            let actors_stop = stop.child_token();
            let (progress, watched) = tokio::sync::watch::channel(Default::default());
            let display = tokio::spawn(report::show(watched));
            let (policy, policies) = watch::channel(None);
            let (standings_sender, standings) = watch::channel(Default::default());
            let follower_stop = stop.child_token();
            let follower = standings::start(
                config.clone(),
                catalog.clone(),
                policies,
                standings_sender,
                follower_stop.clone(),
            )?;
            let options = srnas_learner::LearnerOptions {
                config,
                run_dir: run_dir.clone(),
                start: self.learner.start(),
                catalog: catalog.clone(),
                listener,
                // Nobody beyond this machine reaches it; the token is for HTTP.
                security: ServerSecurity { token: token.clone(), ..ServerSecurity::default() },
                http,
                progress,
                ready: self.learner.remember_when_ready(&run_dir),
                policy,
                standings,
            };
            let mut running = start_actors(actors, &address, &catalog, token.as_ref(), &actors_stop);
            let mut learner = std::pin::pin!(srnas_learner::run(options, stop.clone()));
            let mut failure = None;
            let result = loop {
                tokio::select! {
                    result = &mut learner => break result,
                    Some(ended) = running.join_next() => {
                        let error = match ended {
                            Ok(Ok(())) => continue,
                            Ok(Err(error)) => anyhow::Error::from(error),
                            Err(error) => anyhow::Error::from(error),
                        };
                        if running.is_empty() {
                            // Without actors nothing more will come: the learner keeps what it has and ends.
                            failure = Some(error.context("no actor is left"));
                            stop.cancel();
                        } else {
                            warn!(%error, "an actor ended; the others go on");
                        }
                    }
                }
            };
            actors_stop.cancel();
            follower_stop.cancel();
            let _ = tokio::task::spawn_blocking(move || follower.join()).await;
            while running.join_next().await.is_some() {}
            display.abort();
            match failure {
                Some(error) => Err(error),
                None => Ok(result?),
            }
        })?;
        report::print_summary(&summary, "run", &run_dir);
        if !summary.stopped
            && let Err(error) = report::held_out(&shown, &compared, &run_dir)
        {
            // The run is done and kept, whatever becomes of the comparison.
            warn!("what was learned could not be compared: {}", with_causes(error.as_ref()));
        }
        report::print_next(&summary, &run_dir, &shown);
        Ok(())
    }
}

fn start_actors(
    n: usize,
    address: &str,
    catalog: &Catalog,
    token: Option<&Token>,
    stop: &CancellationToken,
) -> JoinSet<Result<(), srnas_actor::ActorError>> {
    let mut running = JoinSet::new();
    for i in 0..n {
        let options = ActorOptions {
            learner: address.into(),
            id: format!("local-{i}"),
            episodes: None,
            catalog: catalog.clone(),
            // The learner of the same process is there, or the run is over.
            connect_timeout: None,
            security: ClientSecurity { token: token.cloned(), ..ClientSecurity::default() },
            // The learner's line is of all of them.
            reports: false,
        };
        running.spawn(srnas_actor::run(options, stop.clone()));
    }
    running
}

/// Where a run without `--run-dir` goes.
pub fn default_run_dir(name: &str) -> PathBuf {
    let seconds =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    PathBuf::from("runs").join(format!("{name}-{seconds}"))
}
