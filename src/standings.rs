//! `srnas run --baseline`: a thread that compares the policy in training with other methods, at a share of the cores.

use srnas_basics::text::with_causes;
use srnas_config::Config;
use srnas_learner::Standings;
use srnas_oracle::catalog::Catalog;
use srnas_policy::Policy;
use srnas_search::Rivals;
use srnas_wire::Snapshot;
use std::{
    collections::BTreeMap,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, sync::watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Name of the policy among the methods.
const POLICY: &str = "policy";

/// Starts the thread; it ends with `stop`. What fails is said once, and the training goes on.
///
/// # Errors
/// The system's, if there is no thread.
pub fn start(
    config: Config,
    catalog: Catalog,
    policies: watch::Receiver<Option<Arc<Snapshot>>>,
    standings: watch::Sender<Standings>,
    stop: CancellationToken,
) -> std::io::Result<JoinHandle<()>> {
    let handle = Handle::current();
    std::thread::Builder::new().name("standings".into()).spawn(move || {
        if let Err(error) = follow(&config, &catalog, policies, &standings, &stop, &handle) {
            warn!("the held-out tasks are not compared any more: {}", with_causes(error.as_ref()));
        }
    })
}

fn follow(
    config: &Config,
    catalog: &Catalog,
    mut policies: watch::Receiver<Option<Arc<Snapshot>>>,
    standings: &watch::Sender<Standings>,
    stop: &CancellationToken,
    handle: &Handle,
) -> anyhow::Result<()> {
    let Some(rivals) = Rivals::new(config, catalog)? else { return Ok(()) };
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64 * config.comparison.share;
    let threads = (cores as usize).max(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let stopped_within = |pause: Duration| {
        handle.block_on(async { tokio::time::timeout(pause, stop.cancelled()).await }).is_ok()
    };
    // Where the share is less than a core, as much time is rested as makes up for it.
    let rest = (threads as f64 / cores - 1.0).max(0.0);
    let paced =
        |work: &mut (dyn FnMut() -> anyhow::Result<Vec<f64>> + Send)| -> anyhow::Result<Option<Vec<f64>>> {
            let began = Instant::now();
            let regrets = pool.install(work)?;
            let pause = began.elapsed().mul_f64(rest);
            Ok((!stopped_within(pause)).then_some(regrets))
        };
    let mut now = Standings { queries: rivals.budget(), regrets: BTreeMap::new() };
    let publish = |now: &Standings| drop(standings.send_replace(now.clone()));
    for (m, name) in rivals.baselines().iter().enumerate() {
        let mut all = Vec::new();
        for task in 0..rivals.tasks() {
            let Some(regrets) = paced(&mut || Ok(rivals.baseline(m, task)?))? else { return Ok(()) };
            all.extend(regrets);
        }
        now.regrets.insert(name.clone(), srnas_basics::statistics::mean(&all));
        publish(&now);
    }
    loop {
        let next = handle.block_on(async {
            tokio::select! {
                () = stop.cancelled() => None,
                changed = policies.changed() => changed.ok(),
            }
        });
        if next.is_none() {
            return Ok(());
        }
        let snapshot = policies.borrow_and_update().clone();
        let Some(snapshot) = snapshot else { continue };
        let mut policy = Policy::from_bytes(&snapshot.bytes)?;
        let mut all = Vec::new();
        for task in 0..rivals.tasks() {
            let Some(regrets) = paced(&mut || Ok(rivals.policy(&mut policy, task)?))? else { return Ok(()) };
            all.extend(regrets);
        }
        now.regrets.insert(POLICY.into(), srnas_basics::statistics::mean(&all));
        publish(&now);
        // Versions come several a minute, and change little.
        if stopped_within(Duration::from_secs(1)) {
            return Ok(());
        }
    }
}
