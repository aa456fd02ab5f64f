//! What an evaluator reports of a training as it goes.

use srnas_ledger::leases::Holder;
use srnas_oracle::curves::{Followed, Hear, Report};
use std::sync::{Mutex, PoisonError};

/// When the training began of which reports are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// Now: what was reported of it before does not hold any more.
    Anew,
    /// Now, unless it is further than what was reported before.
    AnewOrGoesOn,
    /// With earlier reports.
    Before,
}

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

    /// Takes reports in, later ones or the first since it began. Whether it is to be stopped.
    pub fn take(&self, begins: Begins, reports: Vec<Report>) -> bool {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        match begins {
            Begins::Anew => self.followed.begins(false),
            // How far it is tells whether it went on.
            Begins::AnewOrGoesOn => {
                self.followed.begins(true);
                let (kept, first) = (self.followed.last(), reports.first().map(|report| report.at));
                if kept.zip(first).is_some_and(|(kept, first)| first <= kept) {
                    self.followed.begins(false);
                }
            }
            // A search that was killed meanwhile goes on with what it has of it.
            Begins::Before if !*begun => self.followed.begins(true),
            Begins::Before => {}
        }
        *begun = true;
        reports.into_iter().for_each(|report| self.followed.hears(report));
        self.followed.stops()
    }

    /// It has ended; whether with a value.
    pub fn end(&self, has_value: bool) {
        let _begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        self.followed.end(has_value);
    }
}
