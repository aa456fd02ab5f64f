//! First points that come while a search runs.

use super::{Event, LiveError, LiveSearch, State, start::First};
use std::sync::{Arc, Mutex, PoisonError};

/// Where somebody leaves first points for a search that runs; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Inbox(Arc<Mutex<Vec<First>>>);

impl Inbox {
    /// Leaves some.
    pub fn leave(&self, points: impl IntoIterator<Item = First>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(points);
    }

    fn take(&self) -> Vec<First> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LiveSearch<'_> {
    /// Takes in what was left: an answer is known from now on and costs nothing, anything else is measured next. What is known, or
    /// measured now, stays as it is.
    pub(super) fn take_added(&self, now: &mut State, tell: &(dyn Fn(Event) + Sync)) -> Result<(), LiveError> {
        for First { training, answer } in self.added.take() {
            let Some(answer) = answer else {
                now.search.want([training]);
                continue;
            };
            if !now.search.add(training, answer, now.journal)? {
                continue;
            }
            tell(now.ended(0.0));
        }
        Ok(())
    }
}
