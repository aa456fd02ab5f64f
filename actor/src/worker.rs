//! The actor as a whole: joins a learner, walks episodes on a thread of its own, and follows the newest policy.

use crate::{
    client::{Client, ClientConfig, ClientError, ClientHandle, Joined},
    progress,
    slow_oracle::{Pause, SlowOracle},
    walker::{Walker, WalkerError},
};
use srnas_config::{Config, ConfigError};
use srnas_environment::Layout;
use srnas_oracle::{
    catalog::{Catalog, CatalogError},
    run_tasks::{RunTasks, RunTasksError},
    simulated::Delays,
};
use srnas_proto::v1;
use srnas_security::ClientSecurity;
use srnas_wire::Snapshot;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
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
    /// What the learner is shown, and which learner is trusted.
    pub security: ClientSecurity,
    /// Whether to log a line every ten seconds; else somebody else reports.
    pub reports: bool,
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
    // What the run looks at of this comes with its configuration.
    let layout = Layout::new(true);
    let client = ClientConfig {
        learner: options.learner.clone(),
        actor: options.id.clone(),
        layout_hash: layout.hash(),
        candidate_features: layout.candidate_features() as u32,
        context_features: layout.context_features() as u32,
        benchmarks,
        episodes: options.episodes.unwrap_or(0) as u32,
        connect_timeout: options.connect_timeout,
        security: options.security,
        ..ClientConfig::default()
    };
    let (joined, handle) = match Client::start(client, stop.clone()).await {
        Err(ClientError::Over { .. }) => {
            info!(actor = options.id, learner = options.learner, "the run is over");
            return Ok(());
        }
        started => started?,
    };
    info!(actor = options.id, run = joined.run_id, episodes = joined.episodes, "joined the learner");
    // Cancelled also when the client fails, so that the environment thread never outlives it.
    let ended = stop.child_token();
    let thread = spawn_walker(&options.catalog, joined, &handle, ended.clone())?;
    let (counters, policy) = (handle.counters.clone(), handle.policy.clone());
    let client_result = tokio::select! {
        result = handle.finished() => result,
        never = progress::report(&options.id, &counters, &policy), if options.reports => match never {},
    };
    ended.cancel();
    let walked = tokio::task::spawn_blocking(move || thread.join()).await;
    match client_result {
        Ok(()) | Err(ClientError::Over { .. }) => {}
        Err(error) => return Err(error.into()),
    }
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
    let runtime = tokio::runtime::Handle::current();
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
            // Nothing to act with before the first policy, which the learner broadcasts at once.
            let Some(first) = runtime.block_on(first(&mut policy, &stop)) else { return Ok(()) };
            walker.adopt(&first.bytes)?;
            info!(version = first.version, "acts with the policy of the learner");
            // For the learner, which says what limits the run. A wait is over when its batch is gone: the next one tells.
            let (mut since, mut waited) = (Instant::now(), Duration::ZERO);
            while !stop.is_cancelled() {
                if let Some(snapshot) = newest(&mut policy) {
                    walker.adopt(&snapshot.bytes)?;
                }
                for mut batch in walker.step()? {
                    let now = Instant::now();
                    batch.elapsed_us = (now - since).as_micros() as u64;
                    batch.credit_us = waited.as_micros() as u64;
                    batch.oracle_us = walker.take_oracle_time().as_micros() as u64;
                    since = now;
                    match experience.send(batch) {
                        Ok(time) => waited = time,
                        Err(_) => return Ok(()),
                    }
                }
            }
            Ok(())
        })
        .map_err(|_| ActorError::Broken)
}

/// Waits for the first policy; `None` if the actor is stopped or its client ends before.
async fn first(
    policy: &mut watch::Receiver<Option<Arc<Snapshot>>>,
    stop: &CancellationToken,
) -> Option<Arc<Snapshot>> {
    tokio::select! {
        () = stop.cancelled() => None,
        arrived = policy.wait_for(Option::is_some) => arrived.ok().and_then(|policy| policy.clone()),
    }
}

/// The newest policy, if it was not looked at yet.
fn newest(policy: &mut watch::Receiver<Option<Arc<Snapshot>>>) -> Option<Arc<Snapshot>> {
    policy.has_changed().ok().filter(|&changed| changed)?;
    policy.borrow_and_update().clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_policy_is_waited_for_until_it_comes_or_the_actor_ends() {
        let (sender, mut policy) = watch::channel(None);
        let stop = CancellationToken::new();
        let snapshot = Arc::new(Snapshot::new(7, vec![1, 2, 3].into()));
        let (arrived, ()) = tokio::join!(first(&mut policy, &stop), async {
            sender.send_replace(Some(snapshot.clone()));
        });
        assert_eq!(arrived.unwrap().version, 7);
        assert!(newest(&mut policy).is_none(), "it counts as looked at");

        sender.send_replace(None);
        let (arrived, ()) = tokio::join!(first(&mut policy, &stop), async { drop(sender) });
        assert!(arrived.is_none());

        let (_sender, mut policy) = watch::channel(None);
        stop.cancel();
        assert!(first(&mut policy, &stop).await.is_none());
    }
}
