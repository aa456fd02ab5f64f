//! What an actor says of itself while it works: a log line every ten seconds.

use crate::client::ClientCounters;
use srnas_telemetry as telemetry;
use srnas_wire::Snapshot;
use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::sync::watch;
use tracing::info;

/// Time between lines.
const LINE: Duration = Duration::from_secs(10);

/// One reading of the counters.
#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    steps: u64,
    waited_us: u64,
}

impl Reading {
    fn of(counters: &ClientCounters) -> Self {
        Self {
            at: Instant::now(),
            steps: counters.environment_steps.load(Relaxed),
            waited_us: counters.waited_us.load(Relaxed),
        }
    }
}

/// Logs a line every ten seconds, for ever.
pub(crate) async fn report(
    actor: &str,
    counters: &ClientCounters,
    policy: &watch::Receiver<Option<Arc<Snapshot>>>,
) -> Infallible {
    let mut timer = tokio::time::interval(LINE);
    timer.tick().await;
    let mut before = Reading::of(counters);
    loop {
        timer.tick().await;
        let now = Reading::of(counters);
        let seconds = now.at.duration_since(before.at).as_secs_f64().max(1e-3);
        let rate = (now.steps - before.steps) as f64 / seconds;
        // A wait counts when it ends, so more of it than there was time may end at once.
        let waited = (1e-6 * (now.waited_us - before.waited_us) as f64 / seconds).min(1.0);
        let version = policy.borrow().as_ref().map(|policy| policy.version);
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
        let (sent, acknowledged) = (count(&counters.sent), count(&counters.acknowledged));
        let (stale, malformed) = (count(&counters.stale), count(&counters.malformed));
        if telemetry::for_machines() {
            info!(
                actor,
                environment_steps = now.steps,
                environment_steps_per_s = rate,
                batches_sent = sent,
                batches_acknowledged = acknowledged,
                batches_stale = stale,
                batches_malformed = malformed,
                waited_share = waited,
                policy = version,
                rejoins = count(&counters.rejoins),
                "progress"
            );
        } else {
            let policy = version.map_or("none yet".into(), |version| version.to_string());
            info!(
                "{rate:.0} env steps/s ({} in all) · batches {sent} sent {acknowledged} acknowledged {stale} stale {malformed} malformed · \
                 {:.0} % of the time waiting for credit · policy {policy}",
                now.steps,
                100.0 * waited
            );
        }
        before = now;
    }
}
