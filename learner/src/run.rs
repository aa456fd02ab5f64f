//! The learner as a whole: gRPC service on the async runtime, training on a thread of its own.

use crate::{
    progress::Progress,
    service::{self, BenchmarkDigest, Members, ServiceConfig, ServiceError},
    trainer::{Channels, Trainer, TrainerError, policy_path},
};
use srnas_common::{
    config::Config,
    environment::{CANDIDATE_FEATURES, CONTEXT_FEATURES, layout_hash},
    policy::Policy,
    wire::Shape,
};
use srnas_oracle::{
    catalog::{Catalog, CatalogError},
    run_tasks::{RunTasks, RunTasksError},
    simulated,
};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Batches that wait for the training thread at most.
const DELIVERIES: usize = 64;

/// What a learner is started with.
#[derive(Debug)]
pub struct LearnerOptions {
    /// The run's configuration.
    pub config: Config,
    /// Where the run's files go; made if it is not there.
    pub run_dir: PathBuf,
    /// Where the benchmarks are.
    pub catalog: Catalog,
    /// Where actors connect, see [`bind`].
    pub listener: TcpListener,
    /// Reports of progress go here, one a second.
    pub progress: watch::Sender<Progress>,
    /// Cancelled when training is over and the last check begins: actors are not needed any more.
    pub over: CancellationToken,
}

/// What a run ended with.
#[derive(Debug)]
pub struct Summary {
    /// The exported policy.
    pub policy: Policy,
    /// Its file.
    pub path: PathBuf,
    /// The last report of progress.
    pub progress: Progress,
}

/// Why a learner failed.
#[derive(Debug, thiserror::Error)]
pub enum LearnerError {
    /// The service.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The tasks.
    #[error(transparent)]
    Tasks(#[from] RunTasksError),
    /// The benchmarks.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The training.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// The run directory cannot be written.
    #[error("cannot write the run directory {path}: {source}; choose another with --run-dir")]
    RunDirectory {
        /// The directory.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The training thread broke down.
    #[error("the training thread broke down; this is a bug in srnas")]
    Broken,
}

/// Listens for actors on `address` (port 0: any free one).
///
/// # Errors
/// A port in use is said so.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, LearnerError> {
    Ok(service::bind(address).await?)
}

/// Runs a learner until its time or steps are over, or until `stop`, and exports the policy.
///
/// # Errors
/// See [`LearnerError`].
pub async fn run(options: LearnerOptions, stop: CancellationToken) -> Result<Summary, LearnerError> {
    let LearnerOptions { config, run_dir, catalog, listener, progress, over } = options;
    let toml = config.to_toml();
    write_config(&run_dir, &toml)?;
    let prepare = {
        let config = config.clone();
        tokio::task::spawn_blocking(move || -> Result<_, LearnerError> {
            let tasks = RunTasks::resolve(&config, &catalog)?;
            // Actors simulate; what they would refuse is refused here, before they come.
            simulated::check(&config, &catalog, &tasks).map_err(RunTasksError::from)?;
            let benchmarks = digests(&catalog, &config, &tasks)?;
            let shape = Shape {
                candidate_features: CANDIDATE_FEATURES,
                context_features: CONTEXT_FEATURES,
                decisions: tasks.space().len(),
                tasks: tasks.all.len(),
                identities: config.network.identity,
            };
            info!(
                tasks = tasks.all.len(),
                learned = tasks.learned.len(),
                validation = tasks.validation.len(),
                space = tasks.space().name(),
                "tasks are built"
            );
            Ok((benchmarks, shape, Trainer::new(config, tasks)?))
        })
    };
    let (benchmarks, shape, trainer) = prepare.await.map_err(|_| LearnerError::Broken)??;
    let service = ServiceConfig {
        run_id: run_dir.file_name().map_or_else(|| "run".into(), |n| n.to_string_lossy().into_owned()),
        config_toml: toml,
        shape,
        layout_hash: layout_hash(),
        benchmarks,
        heartbeat: Duration::from_secs_f64(config.wire.heartbeat),
        lease: Duration::from_secs_f64(config.wire.lease),
        credits: config.wire.credits,
        max_policy_lag: config.wire.max_policy_lag,
        seed: config.seed,
        episodes_per_actor: config.acting.episodes as u32,
        total_episodes: (config.run.actors * config.acting.episodes) as u32,
        ..ServiceConfig::default()
    };
    let (sender, deliveries) = mpsc::channel(DELIVERIES);
    let (policy_sender, policy) = watch::channel(None);
    let members = Arc::new(Members::new());
    let served = CancellationToken::new();
    let server =
        tokio::spawn(service::serve(listener, service, sender, policy, members.clone(), served.clone()));
    let reports = progress.subscribe();
    let path = policy_path(&run_dir);
    let channels =
        Channels { deliveries, policy: policy_sender, members, progress, stop: stop.clone(), over };
    let training = {
        let path = path.clone();
        std::thread::Builder::new().name("learner".into()).spawn(move || trainer.run(channels, &path))
    }
    .map_err(TrainerError::Thread)?;
    let trained = tokio::task::spawn_blocking(move || training.join()).await;
    served.cancel();
    let server = server.await.map_err(|_| LearnerError::Broken)?;
    let policy = trained.map_err(|_| LearnerError::Broken)?.map_err(|_| LearnerError::Broken)??;
    server?;
    let progress = reports.borrow().clone();
    Ok(Summary { policy, path, progress })
}

/// `config.toml` of the run directory: what the run really uses.
fn write_config(run_dir: &Path, toml: &str) -> Result<(), LearnerError> {
    let failed = |source| LearnerError::RunDirectory { path: run_dir.display().to_string(), source };
    std::fs::create_dir_all(run_dir).map_err(failed)?;
    let temporary = run_dir.join("config.toml.tmp");
    std::fs::write(&temporary, toml).map_err(failed)?;
    std::fs::rename(&temporary, run_dir.join("config.toml")).map_err(failed)
}

/// The benchmarks that an actor must have too.
fn digests(
    catalog: &Catalog,
    config: &Config,
    tasks: &RunTasks,
) -> Result<Vec<BenchmarkDigest>, LearnerError> {
    let names: BTreeSet<String> =
        config.train_tasks().map_err(RunTasksError::from)?.into_iter().map(|task| task.benchmark).collect();
    names
        .into_iter()
        .map(|name| {
            let benchmark = catalog.open(&name)?;
            Ok(BenchmarkDigest {
                name,
                space: tasks.space().name().into(),
                content_hash: benchmark.content_hash().to_vec(),
            })
        })
        .collect()
}
