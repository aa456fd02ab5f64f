//! The environment thread's end of the client.

use super::counters::{ClientCounters, add};
use srnas_wire::Experience;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Hands batches to the client.
#[derive(Clone, Debug)]
pub struct ExperienceSender {
    queue: mpsc::Sender<Experience>,
    counters: Arc<ClientCounters>,
    /// Tells the client when the last clone is gone, also while it is looking for the learner.
    _ended: Arc<DropGuard>,
}

/// The client has ended: it was stopped, or it failed and [`ClientHandle::finished`](super::ClientHandle::finished)
/// says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client of the learner has ended")]
pub struct Stopped;

impl ExperienceSender {
    pub(super) fn new(
        queue: mpsc::Sender<Experience>,
        counters: Arc<ClientCounters>,
        ended: CancellationToken,
    ) -> ExperienceSender {
        ExperienceSender { queue, counters, _ended: Arc::new(ended.drop_guard()) }
    }

    /// Hands a batch over and returns how long it had to wait for credit (zero, most of the time). For plain threads
    /// only: inside an async task it would panic.
    ///
    /// # Errors
    /// [`Stopped`] when the client has ended, also while this waits.
    pub fn send(&self, experience: Experience) -> Result<Duration, Stopped> {
        add(&self.counters.environment_steps, experience.environment_steps as usize);
        match self.queue.try_send(experience) {
            Ok(()) => Ok(Duration::ZERO),
            Err(TrySendError::Closed(_)) => Err(Stopped),
            Err(TrySendError::Full(experience)) => {
                let since = Instant::now();
                add(&self.counters.waits, 1);
                let sent = self.queue.blocking_send(experience);
                let waited = since.elapsed();
                add(&self.counters.waited_us, waited.as_micros() as usize);
                sent.map(|()| waited).map_err(|_| Stopped)
            }
        }
    }
}
