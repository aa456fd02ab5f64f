//! What of the run directory could not be written.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Records that could not be written, and whether the ledger waits for the disk now.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    pub csv: AtomicU64,
    pub events: AtomicU64,
    pub checkpoints: AtomicU64,
    pub ledger: AtomicU64,
    unwritten: Mutex<Option<String>>,
}

impl Failures {
    /// A commit of the ledger failed, and nothing is acknowledged until one works.
    pub fn ledger_fails(&self, reason: String) {
        self.ledger.fetch_add(1, Relaxed);
        *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// A commit of the ledger worked.
    pub fn ledger_works(&self) {
        *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why the ledger cannot be written now, if it cannot.
    pub fn unwritten(&self) -> Option<String> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
