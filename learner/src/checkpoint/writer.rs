//! Checkpoints are written on a thread of their own while the training goes on; one at a time.

use super::{Checkpoint, CheckpointError, Checkpoints};
use crate::failures::Failures;
use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    thread,
};
use tracing::{info, warn};

/// The thread.
pub(crate) struct CheckpointWriter {
    checkpoints: Checkpoints,
    requests: Option<mpsc::SyncSender<Checkpoint>>,
    reports: mpsc::Receiver<Result<PathBuf, CheckpointError>>,
    busy: bool,
    /// Updates in the newest one that is whole.
    newest: Option<u64>,
    failures: Arc<Failures>,
    thread: Option<thread::JoinHandle<()>>,
}

impl CheckpointWriter {
    pub fn start(checkpoints: Checkpoints, failures: Arc<Failures>) -> Result<Self, CheckpointError> {
        let (requests, incoming) = mpsc::sync_channel::<Checkpoint>(1);
        let (outgoing, reports) = mpsc::sync_channel(1);
        let writing = checkpoints.clone();
        let thread = thread::Builder::new()
            .name("checkpoint".into())
            .spawn(move || {
                for checkpoint in incoming {
                    if outgoing.send(writing.write(&checkpoint)).is_err() {
                        return;
                    }
                }
            })
            .map_err(CheckpointError::Thread)?;
        Ok(Self {
            checkpoints,
            requests: Some(requests),
            reports,
            busy: false,
            newest: None,
            failures,
            thread: Some(thread),
        })
    }

    /// Whether one is being written.
    pub fn busy(&mut self) -> bool {
        if self.busy
            && let Ok(result) = self.reports.try_recv()
        {
            self.busy = false;
            self.note(&result);
        }
        self.busy
    }

    /// Starts to write one, unless one is being written.
    pub fn request(&mut self, checkpoint: Checkpoint) {
        if !self.busy()
            && let Some(requests) = &self.requests
        {
            self.busy = requests.try_send(checkpoint).is_ok();
        }
    }

    /// Writes one now, after what is being written.
    pub fn write(&mut self, checkpoint: &Checkpoint) -> Result<PathBuf, CheckpointError> {
        if std::mem::take(&mut self.busy)
            && let Ok(result) = self.reports.recv()
        {
            self.note(&result);
        }
        let result = self.checkpoints.write(checkpoint);
        self.note(&result);
        result
    }

    /// Updates in the newest checkpoint of this process that is whole.
    pub fn newest(&mut self) -> Option<u64> {
        self.busy();
        self.newest
    }

    /// A checkpoint that fails does not end the training: the one before is still there, and the next may work.
    fn note(&mut self, result: &Result<PathBuf, CheckpointError>) {
        match result {
            Ok(path) => {
                self.newest = path.file_name().and_then(|name| name.to_string_lossy().parse().ok());
                info!(path = %path.display(), "checkpoint");
            }
            Err(error) => {
                self.failures.checkpoints.fetch_add(1, Relaxed);
                warn!(%error, "a checkpoint could not be written; the one before stays, the training goes on");
            }
        }
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
