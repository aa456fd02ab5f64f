//! The learner as a whole: run directory, gRPC service on the async runtime, training on a thread of its own.

use crate::{
    checkpoint::{CheckpointError, CheckpointWriter, Checkpoints, State},
    curves,
    failures::Failures,
    http::{self, Outlook},
    page::RunSource,
    progress::{Progress, Standings},
    recorder::Recorder,
    run_dir::{RunDir, RunDirError, Start},
    service::{
        self, Admin, BenchmarkDigest, Counters, Members, Recovered, ServiceConfig, ServiceError,
        opening::Opening,
    },
    trainer::{Channels, Ending, Fitting, Trainer, TrainerError},
};
use sha2::{Digest, Sha256};
use srnas_basics::check::WrongValue;
use srnas_basics::text::hex;
use srnas_config::{Config, ConfigError};
use srnas_environment::Layout;
use srnas_ledger::{ActorRecord, Database, Known, LedgerError, RunRecord, fits};
use srnas_oracle::{
    catalog::{Catalog, CatalogError},
    run_tasks::{RunTasks, RunTasksError},
    simulated,
};
use srnas_page::Pages;
use srnas_policy::Policy;
use srnas_security::ServerSecurity;
use srnas_space::SearchSpace;
use srnas_wire::{Shape, Snapshot};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Batches that wait for the training thread at most.
const DELIVERIES: usize = 64;
/// Orders that wait for the training thread at most.
const ORDERS: usize = 4;
/// Policy versions that may have been broadcast after the last one that the ledger heard of.
const UNHEARD: u64 = 16;

/// What a learner is started with.
#[derive(Debug)]
pub struct LearnerOptions {
    /// The run's configuration.
    pub config: Config,
    /// Where the run's files go; made if it is not there.
    pub run_dir: PathBuf,
    /// Whether the run begins or goes on.
    pub start: Start,
    /// Where the benchmarks are.
    pub catalog: Catalog,
    /// Where actors connect, see [`bind`].
    pub listener: TcpListener,
    /// What they must show.
    pub security: ServerSecurity,
    /// Where metrics, health and readiness are served, see [`http::bind`].
    pub http: Option<TcpListener>,
    /// Reports of progress go here, one a second.
    pub progress: watch::Sender<Progress>,
    /// Cancelled when the run directory is there and actors may join.
    pub ready: CancellationToken,
    /// The policies that are broadcast go here; actors are served from it, and others may follow.
    pub policy: watch::Sender<Option<Arc<Snapshot>>>,
    /// Who is ahead on the held-out tasks, found by somebody else; reported with the rest.
    pub standings: watch::Receiver<Standings>,
}

/// What a run ended with.
#[derive(Debug)]
pub struct Summary {
    /// The policy that was written.
    pub policy: Policy,
    /// Its file.
    pub path: PathBuf,
    /// The last report of progress.
    pub progress: Progress,
    /// The run was stopped before its end, and may be resumed.
    pub stopped: bool,
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
    /// The run directory.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// The configuration of the run that is to go on.
    #[error("the configuration of the run directory is refused")]
    Config(#[from] ConfigError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The checkpoints.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The training.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// A run cannot go on under another configuration.
    #[error(
        "cannot resume {path}: configuration key `{key}` is {now}, and the run was begun with {before}; leave it as it \
         was, or start a new run with another --run-dir"
    )]
    OtherConfig {
        /// The run directory.
        path: String,
        /// The first key that differs.
        key: String,
        /// Its value in the run.
        before: String,
        /// Its value now.
        now: String,
    },
    /// The training thread broke down.
    #[error("the training thread broke down; this is a bug in srnas")]
    Broken,
}

/// What the arrays of this run's experience have.
fn shape(config: &Config, space: &SearchSpace, tasks: usize) -> Shape {
    let [candidate_features, context_features, ..] = config.experience(space);
    Shape {
        candidate_features,
        context_features,
        decisions: space.len(),
        tasks,
        identities: config.network.identity,
    }
}

/// Refuses batches that the service would refuse one after another.
fn batches_fit(config: &Config, space: &SearchSpace, shape: &Shape) -> Result<(), ConfigError> {
    let (acting, most) = (&config.acting, ServiceConfig::default().max_batch_bytes);
    let [.., candidates, steps] = config.experience(space);
    let bytes = |segments| shape.largest_batch(segments, steps, candidates);
    let now = bytes(acting.segments_per_batch);
    if now <= most {
        return Ok(());
    }
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let remedy = match most / bytes(1) {
        0 => "lower acting.segment".to_string(),
        fit => format!("at most {fit} of these fit, or lower acting.segment"),
    };
    let reason = format!(
        "{} segments of {} steps with up to {candidates} candidates are batches of up to {:.1} MiB, and a learner takes {:.0} MiB; \
         {remedy}",
        acting.segments_per_batch,
        steps,
        mib(now),
        mib(most)
    );
    Err(WrongValue { key: "acting.segments_per_batch", reason }.into())
}

/// Listens for actors on `address` (port 0: any free one).
///
/// # Errors
/// A port in use is said so.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, LearnerError> {
    Ok(service::bind(address).await?)
}

/// A run that is ready to go on: everything was read and fits.
pub(crate) struct Prepared {
    pub run_dir: RunDir,
    pub benchmarks: Vec<BenchmarkDigest>,
    pub trainer: Trainer,
    pub database: Database,
    pub actors: Vec<ActorRecord>,
    /// Of the checkpoint that the run goes on from.
    pub state: Option<State>,
}

/// Opens or makes the run, and says meanwhile what it does. Whatever is refused leaves the directory as it was.
pub(crate) fn prepare(
    config: Config,
    path: &Path,
    start: Start,
    catalog: &Catalog,
    say: &dyn Fn(&str),
) -> Result<Prepared, LearnerError> {
    say("builds the run's tasks");
    let tasks = RunTasks::resolve(&config, catalog)?;
    // Actors simulate; what they would refuse is refused here, before they come.
    simulated::check(&config, catalog, &tasks).map_err(RunTasksError::from)?;
    batches_fit(&config, tasks.space(), &shape(&config, tasks.space(), tasks.all.len()))?;
    let benchmarks = digests(catalog, &config)?;
    info!(
        tasks = tasks.all.len(),
        learned = tasks.learned.len(),
        validation = tasks.validation.len(),
        space = tasks.space().name(),
        "tasks are built"
    );
    let (run_dir, resume) = RunDir::open(path, start)?;
    let record = record(&run_dir, &config, &tasks, &benchmarks);
    let checkpoints = Checkpoints::new(run_dir.checkpoints(), config.checkpoint.keep);
    let toml = config.to_toml();
    let fitting = Fitting { kept: run_dir.posterior(), basis: basis(&toml, &record), say };
    if !resume {
        let trainer = Trainer::new(config, tasks, &Default::default(), None, &fitting)?;
        run_dir.write_config(&toml)?;
        let database = Database::create(&run_dir.ledger(), &record)?;
        return Ok(Prepared { run_dir, benchmarks, trainer, database, actors: Vec::new(), state: None });
    }
    say("reads what was measured");
    same_run(path, &Config::load(&run_dir.config())?, &config)?;
    let database = Database::open(&run_dir.ledger(), &record)?;
    let (loaded, deterministic) = (checkpoints.newest()?, config.run.deterministic);
    if let Some(loaded) = &loaded {
        database.still_holds(loaded.state.known())?;
    }
    // A deterministic run does again what it did after the checkpoint.
    let known = deterministic.then(|| loaded.as_ref().map_or(0, |l| l.state.measurements));
    let fits = |task: u16, key, choices: &[u8]| match tasks.all.get(usize::from(task)) {
        Some(task) => fits(task.space(), task.count(), key, choices),
        None => Err("the run has no such task".into()),
    };
    let (measured, actors) = (database.measurements(known, fits)?, database.actors()?);
    match &loaded {
        Some(loaded) => info!(
            checkpoint = %loaded.path.display(),
            updates = loaded.state.updates,
            measurements = measured.tasks.len(),
            "the run goes on"
        ),
        None => info!(
            measurements = measured.tasks.len(),
            "there is no checkpoint yet: the training begins anew with the measurements of the ledger"
        ),
    }
    let state = loaded.as_ref().map(|l| l.state.clone());
    let mut trainer = Trainer::new(config, tasks, &measured, loaded, &fitting)?;
    if !deterministic {
        let steps = actors.iter().map(|a| a.environment_steps).sum();
        trainer.went_on(steps, database.policy_version()? + UNHEARD);
    }
    run_dir.write_config(&toml)?;
    Ok(Prepared { run_dir, benchmarks, trainer, database, actors, state })
}

/// What the newest checkpoint of a run directory knew of its ledger, if there is one.
///
/// # Errors
/// Where there are checkpoints and none can be read.
pub fn known_by_checkpoint(run_dir: &Path) -> Result<Option<Known>, CheckpointError> {
    let newest = Checkpoints::new(run_dir.join(RunDir::CHECKPOINTS), 1).newest()?;
    Ok(newest.map(|loaded| loaded.state.known()))
}

/// What the posteriors are fitted to: the configuration, the tasks, and the content of their benchmarks.
fn basis(config: &str, record: &RunRecord) -> String {
    hex(&Sha256::digest(format!("{config}\n{record:?}\n{}", env!("CARGO_PKG_VERSION"))))
}

fn record(run_dir: &RunDir, config: &Config, tasks: &RunTasks, benchmarks: &[BenchmarkDigest]) -> RunRecord {
    RunRecord {
        name: run_dir.name(),
        space: tasks.space().name().into(),
        seed: config.seed,
        tasks: tasks.all.iter().map(|t| (t.name().to_string(), t.family().to_string())).collect(),
        benchmarks: benchmarks.iter().map(|b| (b.name.clone(), hex(&b.content_hash))).collect(),
    }
}

/// Refuses a configuration under which a run cannot go on; what only says how long, how fast and how often may change.
fn same_run(path: &Path, before: &Config, now: &Config) -> Result<(), LearnerError> {
    let fixed = |config: &Config| {
        serde_json::json!({
            "seed": config.seed,
            "prior": config.prior,
            "run": { "deterministic": config.run.deterministic },
            "tasks": { "count": config.tasks.count },
            "environment": config.environment,
            "network": config.network,
            "predictor": { "width": config.predictor.width, "layers": config.predictor.layers },
            "validation": { "families": config.validation.families },
        })
    };
    match first_difference(&fixed(before), &fixed(now), String::new()) {
        None => Ok(()),
        Some((key, before, now)) => {
            Err(LearnerError::OtherConfig { path: path.display().to_string(), key, before, now })
        }
    }
}

fn first_difference(
    before: &serde_json::Value,
    now: &serde_json::Value,
    key: String,
) -> Option<(String, String, String)> {
    if before == now {
        return None;
    }
    if let (Some(b), Some(n)) = (before.as_object(), now.as_object()) {
        let names: BTreeSet<&String> = b.keys().chain(n.keys()).collect();
        let null = serde_json::Value::Null;
        return names.into_iter().find_map(|name| {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            first_difference(b.get(name).unwrap_or(&null), n.get(name).unwrap_or(&null), key)
        });
    }
    Some((key, before.to_string(), now.to_string()))
}

/// Runs a learner until its time or steps are over, or until `stop`, and writes the policy.
///
/// # Errors
/// See [`LearnerError`].
pub async fn run(options: LearnerOptions, stop: CancellationToken) -> Result<Summary, LearnerError> {
    let LearnerOptions {
        config,
        run_dir,
        start,
        catalog,
        listener,
        security,
        http,
        progress,
        ready,
        policy: policy_sender,
        standings,
    } = options;
    let members = Arc::new(Members::new());
    let failures = Arc::new(Failures::default());
    let ended = CancellationToken::new();
    // However this function is left, HTTP ends.
    let _ended = ended.clone().drop_guard();
    let (doing, told) = watch::channel("starts".to_string());
    let outlook = Outlook {
        doing: told.clone(),
        progress: progress.subscribe(),
        members: members.clone(),
        failures: failures.clone(),
        token: security.token.clone(),
        open: ready.clone(),
        over: members.over(),
    };
    let controls = Arc::new(OnceLock::new());
    let http = match http {
        Some(listener) => {
            let source = RunSource::of_learner(&run_dir, &outlook, controls.clone(), Handle::current());
            let pages = Pages::start(vec![Box::new(source)], outlook.token.clone());
            let pages = Arc::new(pages.map_err(TrainerError::Thread)?);
            Some(tokio::spawn(http::serve(listener, Arc::new(outlook), pages, ended.clone())))
        }
        None => None,
    };
    let recording = curves::record(
        run_dir.clone(),
        groups(&config),
        failures.clone(),
        progress.subscribe(),
        ended.clone(),
    );
    let (opening, listener) = Opening::start(listener, &security, told).map_err(ServiceError::Handle)?;
    let prepare = {
        let (config, counted) = (config.clone(), failures.clone());
        // Files are opened where they may block.
        tokio::task::spawn_blocking(move || -> Result<_, LearnerError> {
            let Prepared { run_dir, benchmarks, trainer, database, actors, .. } =
                prepare(config, &run_dir, start, &catalog, &|now| {
                    doing.send_replace(now.into());
                })?;
            Ok((run_dir, benchmarks, trainer, Recorder::start(database, counted)?, actors))
        })
    };
    let (run_dir, benchmarks, trainer, recorder, actors) =
        prepare.await.map_err(|_| LearnerError::Broken)??;
    opening.end().await;
    let (space, tasks, incumbents) = (trainer.space(), trainer.tasks(), trainer.incumbents());
    let all = Layout::new(true);
    let shape = shape(&config, &space, tasks.len());
    let service = ServiceConfig {
        run_id: run_dir.name(),
        config_toml: config.to_toml(),
        shape,
        space: Some(space.clone()),
        max_candidates: config.experience(&space)[2],
        layout_hash: all.hash(),
        features: [all.candidate_features(), all.context_features()],
        benchmarks,
        heartbeat: Duration::from_secs_f64(config.wire.heartbeat),
        lease: Duration::from_secs_f64(config.wire.lease),
        credits: config.wire.credits,
        in_flight_bytes: config.wire.in_flight_mb << 20,
        max_policy_lag: config.wire.max_policy_lag,
        seed: config.seed,
        episodes_per_actor: config.acting.episodes as u32,
        total_episodes: (config.run.actors * config.acting.episodes) as u32,
        security,
        ..ServiceConfig::default()
    };
    let (sender, deliveries) = mpsc::channel(DELIVERIES);
    let policy = policy_sender.subscribe();
    let (orders, incoming_orders) = mpsc::channel(ORDERS);
    members.recover(actors.into_iter().map(recovered));
    let served = CancellationToken::new();
    let admin = Admin {
        run_id: run_dir.name(),
        space,
        tasks,
        members: members.clone(),
        progress: progress.subscribe(),
        incumbents,
        orders,
        stop: stop.clone(),
    };
    let admin = Arc::new(admin);
    // What is asked on the page is asked as by the wire.
    let _ = controls.set(admin.clone());
    let serving =
        service::serve(listener, service, sender, policy, members.clone(), Some(admin), served.clone());
    let server = tokio::spawn(serving);
    let reports = progress.subscribe();
    let path = run_dir.policy();
    let checkpoints = Checkpoints::new(run_dir.checkpoints(), config.checkpoint.keep);
    let channels = Channels {
        deliveries,
        policy: policy_sender,
        members,
        progress,
        standings,
        stop: stop.clone(),
        recorder,
        checkpoints: CheckpointWriter::start(checkpoints, failures)?,
        orders: incoming_orders,
        runtime: Handle::current(),
    };
    let training = {
        let path = path.clone();
        std::thread::Builder::new().name("learner".into()).spawn(move || trainer.run(channels, &path))
    }
    .map_err(TrainerError::Thread)?;
    ready.cancel();
    let recording = tokio::spawn(recording);
    let trained = tokio::task::spawn_blocking(move || training.join()).await;
    served.cancel();
    let server = server.await.map_err(|_| LearnerError::Broken)?;
    ended.cancel();
    recording.await.map_err(|_| LearnerError::Broken)?;
    if let Some(http) = http {
        http.await.map_err(|_| LearnerError::Broken)?;
    }
    let (policy, ending) = trained.map_err(|_| LearnerError::Broken)?.map_err(|_| LearnerError::Broken)??;
    server?;
    let progress = reports.borrow().clone();
    Ok(Summary { policy, path, progress, stopped: ending == Ending::Stopped })
}

fn recovered(record: ActorRecord) -> Recovered {
    Recovered {
        actor: record.actor.into(),
        incarnation: record.incarnation,
        acknowledged: record.acknowledged,
        counters: Counters {
            transitions: record.transitions,
            episodes: record.episodes,
            environment_steps: record.environment_steps,
            ..Counters::default()
        },
    }
}

/// The groups of tasks whose regrets are reported.
fn groups(config: &Config) -> Vec<String> {
    let synthetic = (config.acting.synthetic > 0.0).then(|| "synthetic".into());
    config.tasks.train.iter().cloned().chain(synthetic).collect()
}

/// The benchmarks that an actor must have too.
fn digests(catalog: &Catalog, config: &Config) -> Result<Vec<BenchmarkDigest>, LearnerError> {
    let names = RunTasks::benchmarks(config).map_err(RunTasksError::from)?;
    names
        .into_iter()
        .map(|name| {
            let benchmark = catalog.open(&name)?;
            Ok(BenchmarkDigest {
                name,
                space: benchmark.space().name().into(),
                content_hash: benchmark.content_hash().to_vec(),
            })
        })
        .collect()
}
