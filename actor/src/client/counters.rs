//! Counters of a client, read by the actor's log line and metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What happened since the client started. Monotone, so differences of two readings are rates.
#[derive(Debug, Default)]
pub struct ClientCounters {
    /// Batches sent for the first time.
    pub sent: AtomicU64,
    /// Environment steps of batches that were handed over.
    pub environment_steps: AtomicU64,
    /// Batches sent again after a broken connection or a re-join.
    pub resent: AtomicU64,
    /// Batches that the learner took in or rejected for good.
    pub acknowledged: AtomicU64,
    /// Batches whose transitions were too old for the learner.
    pub stale: AtomicU64,
    /// Batches that the learner could not read.
    pub malformed: AtomicU64,
    /// Batches larger than the learner allows, dropped here.
    pub oversize: AtomicU64,
    /// Times that the environment thread had to wait for credit; counts when a wait begins.
    pub waits: AtomicU64,
    /// Microseconds that it waited; counts when a wait ends.
    pub waited_us: AtomicU64,
    /// Connections that broke.
    pub disconnects: AtomicU64,
    /// Joins after the first one.
    pub rejoins: AtomicU64,
    /// Policies that arrived whole.
    pub policies: AtomicU64,
}

/// Adds to a counter; returns what it counts now.
pub(super) fn add(counter: &AtomicU64, n: usize) -> u64 {
    counter.fetch_add(n as u64, Relaxed) + n as u64
}
