//! The actor as a whole: joins a learner, walks episodes on a thread of its own, and follows the newest policy.

use crate::{
    client::{Client, ClientConfig, ClientError, ClientHandle, Joined},
    slow_oracle::{Pause, SlowOracle},
    walker::{Walker, WalkerError},
};
use srnas_common::{
    config::{Config, ConfigError},
    environment::{CANDIDATE_FEATURES, CONTEXT_FEATURES, layout_hash},
    wire::Snapshot,
};
use srnas_oracle::{
    catalog::{Catalog, CatalogError},
    run_tasks::{RunTasks, RunTasksError},
    simulated::Delays,
};
use srnas_proto::v1;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// What an actor is started with.
#[derive(Clone, Debug)]
pub struct ActorOptions {
    /// Address of the learner.
    pub learner: String,
    /// Name of the actor, its own.
    pub id: String,
    /// Episodes walked at the same time; `None`: as the run's configuration says.
    pub episodes: Option<usize>,
    /// Where the benchmarks are.
    pub catalog: Catalog,
    /// How long to wait for a learner that is not there yet; `None`: for ever.
    pub connect_timeout: Option<Duration>,
}

/// Why an actor ended.
#[derive(Debug, thiserror::Error)]
pub enum ActorError {
    /// The connection to the learner.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The learner's configuration.
    #[error("the learner's configuration is refused")]
    Config(#[from] ConfigError),
    /// The run's tasks cannot be built here.
    #[error(transparent)]
    Tasks(#[from] RunTasksError),
    /// The benchmarks cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The walk.
    #[error(transparent)]
    Walker(#[from] WalkerError),
    /// The walk's thread broke down.
    #[error("the environment thread broke down; this is a bug in srnas")]
    Broken,
}

/// Runs an actor until `stop`, or until the learner does not want it any more.
///
/// # Errors
/// See [`ActorError`]. A learner that goes away is no error: the actor waits and joins again.
pub async fn run(options: ActorOptions, stop: CancellationToken) -> Result<(), ActorError> {
    let catalog = options.catalog.clone();
    let benchmarks =
        tokio::task::spawn_blocking(move || digests(&catalog)).await.map_err(|_| ActorError::Broken)??;
    let client = ClientConfig {
        learner: options.learner.clone(),
        actor: options.id.clone(),
        layout_hash: layout_hash(),
        candidate_features: CANDIDATE_FEATURES as u32,
        context_features: CONTEXT_FEATURES as u32,
        benchmarks,
        episodes: options.episodes.unwrap_or(0) as u32,
        connect_timeout: options.connect_timeout,
        ..ClientConfig::default()
    };
    let (joined, handle) = Client::start(client, stop.clone()).await?;
    info!(actor = options.id, run = joined.run_id, episodes = joined.episodes, "joined the learner");
    // Cancelled also when the client fails, so that the environment thread never outlives it.
    let ended = stop.child_token();
    let thread = spawn_walker(&options.catalog, joined, &handle, ended.clone())?;
    let client_result = handle.finished().await;
    ended.cancel();
    let walked = tokio::task::spawn_blocking(move || thread.join()).await;
    client_result?;
    walked.map_err(|_| ActorError::Broken)?.map_err(|_| ActorError::Broken)?
}

/// Names and content hashes of every benchmark that is at hand.
fn digests(catalog: &Catalog) -> Result<Vec<v1::Benchmark>, CatalogError> {
    let mut found = Vec::new();
    for entry in catalog.list()? {
        match catalog.open(&entry.name) {
            Ok(b) => found.push(v1::Benchmark {
                name: b.name().into(),
                space: b.space().name().into(),
                content_hash: b.content_hash().to_vec().into(),
            }),
            // Another benchmark may be damaged and this run not need it.
            Err(error) => warn!(benchmark = entry.name, %error, "a benchmark is left out"),
        }
    }
    Ok(found)
}

fn spawn_walker(
    catalog: &Catalog,
    joined: Joined,
    handle: &ClientHandle,
    stop: CancellationToken,
) -> Result<std::thread::JoinHandle<Result<(), ActorError>>, ActorError> {
    let (catalog, experience, mut policy) =
        (catalog.clone(), handle.experience.clone(), handle.policy.clone());
    let pause = Pause::until(stop.clone());
    let thread = std::thread::Builder::new().name("environment".into());
    thread
        .spawn(move || {
            let config = Config::parse(&joined.config, "the learner's configuration")?;
            let tasks = RunTasks::resolve(&config, &catalog)?;
            let place = (joined.first_episode as usize, joined.total_episodes as usize);
            let delays = Delays::resolve(&config, &catalog, joined.seed).map_err(RunTasksError::from)?;
            let mut walker = Walker::new(config, tasks, joined.episodes as usize, place, joined.seed)?;
            if let Some(delays) = delays {
                walker.slow_down(SlowOracle::new(delays, pause));
            }
            let mut first = true;
            while !stop.is_cancelled() {
                if let Some(snapshot) = newest(&mut policy) {
                    walker.adopt(&snapshot.bytes)?;
                    if std::mem::take(&mut first) {
                        info!(version = snapshot.version, "acts with the policy of the learner");
                    }
                }
                if walker.policy_version() == 0 {
                    // Nothing to act with yet; the learner broadcasts its first policy at once.
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                }
                for batch in walker.step()? {
                    if experience.send(batch).is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        })
        .map_err(|_| ActorError::Broken)
}

/// The newest policy, if it was not looked at yet.
fn newest(policy: &mut watch::Receiver<Option<Arc<Snapshot>>>) -> Option<Arc<Snapshot>> {
    policy.has_changed().ok().filter(|&changed| changed)?;
    policy.borrow_and_update().clone()
}
