//! What an evaluator reports of a training as it goes.

use srnas_ledger::leases::Holder;
use srnas_oracle::curves::{Followed, Hear, Report};
use std::sync::{Mutex, PoisonError};

/// A training that its evaluator reports on.
pub(super) struct Reporting {
    followed: Followed,
    holder: Holder,
    /// Whether anything was heard of it here; held while something is taken in.
    begun: Mutex<bool>,
}

impl Reporting {
    /// Nothing so far.
    pub fn new(followed: Followed, holder: Holder) -> Self {
        Self { followed, holder, begun: Mutex::new(false) }
    }

    /// Whether this process measures it.
    pub fn is_of(&self, holder: &Holder) -> bool {
        self.holder == *holder
    }

    /// Whether this evaluator measures it.
    pub fn is_by(&self, id: &str) -> bool {
        self.holder.id == id
    }

    /// Takes reports in, the first since it began anew or later ones. Whether it is to be stopped.
    pub fn take(&self, begins: bool, reports: impl Iterator<Item = Report>) -> bool {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        // A search that was killed meanwhile goes on with what it has of it.
        if begins || !*begun {
            self.followed.begins(!begins);
        }
        *begun = true;
        reports.for_each(|report| self.followed.hears(report));
        self.followed.stops()
    }

    /// It has ended; whether with a value.
    pub fn end(&self, has_value: bool) {
        let _begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        self.followed.end(has_value);
    }
}
