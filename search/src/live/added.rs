//! First points that come while a search runs.

use super::{Event, LiveError, LiveSearch, Measured, State, asking::Prepared, paid_for, start::First};
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
    pub(super) fn take_added(
        &self,
        now: &mut State,
        prepared: &Prepared,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<(), LiveError> {
        for First { training, answer } in self.added.take() {
            let Some(answer) = answer else {
                now.search.want([training]);
                continue;
            };
            if !now.search.is_new(&training) {
                continue;
            }
            let key = self.oracle.space().canonical_key(&training.choices);
            let measured = Measured { training, key, cost: 0.0, answer };
            let values = self.goal.values(&measured.answer);
            now.journal.keep(&measured, &values).map_err(LiveError::Journal)?;
            self.learn(now, measured)?;
            if !now.search.has_method() {
                self.begin(now, prepared)?;
            }
            tell(Event::Ended {
                measured: &now.known[now.known.len() - 1],
                seconds: 0.0,
                done: paid_for(&now.known),
                spent: now.search.spent(),
                running: now.search.under_way(),
            });
        }
        Ok(())
    }
}
