//! What others tell a search while it runs: first points, and answers of those who search for the same.

use super::{Event, LiveError, LiveSearch, State, start::First};
use srnas_task::Training;
use std::sync::{Arc, Mutex, PoisonError};

/// Other searches for the same, with which this one shares what is measured.
pub trait Sharing: Send + Sync {
    /// Whether a training is left to this search. Of what is not, either its answer comes into the [`Inbox`], or word that it came to no
    /// end. Takes as long as others take to answer.
    fn claim(&self, training: &Training) -> bool;

    /// What was left to this search came to no end.
    fn release(&self, training: &Training);
}

/// What was left.
#[derive(Clone, Debug)]
enum Left {
    Point(First),
    /// Whoever measured this elsewhere does not any more.
    Lapsed(Training),
}

impl Left {
    /// Whether it tells what became of a training like this.
    fn is_of(&self, which: impl FnOnce(&Training) -> bool) -> bool {
        match self {
            Self::Point(First { answer: None, .. }) => false,
            Self::Point(First { training, .. }) | Self::Lapsed(training) => which(training),
        }
    }
}

/// Where somebody leaves first points for a search that runs; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Inbox(Arc<Mutex<Vec<Left>>>);

impl Inbox {
    /// Leaves some.
    pub fn leave(&self, points: impl IntoIterator<Item = First>) {
        self.lock().extend(points.into_iter().map(Left::Point));
    }

    /// Leaves word that a training of which another search was to tell came to no end there.
    pub fn lapsed(&self, training: Training) {
        self.lock().push(Left::Lapsed(training));
    }

    fn take(&self) -> Vec<Left> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Left>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveSearch<'_> {
    /// Takes in what was left: an answer is known from now on and costs nothing, anything else is measured next. What is known, or
    /// measured now, stays as it is.
    pub(super) fn take_added(&self, now: &mut State, tell: &(dyn Fn(Event) + Sync)) -> Result<(), LiveError> {
        for left in self.added.take() {
            // Of what a slot is asking about just now, it does not know yet that another search has it: it is looked at again.
            if self.sharing.is_some() && left.is_of(|training| now.search.is_measured_here(training)) {
                self.added.lock().push(left);
                continue;
            }
            match left {
                Left::Lapsed(training) => {
                    if let Some(training) = now.search.left_elsewhere(&training) {
                        now.search.give_up(&training);
                        now.search.want([training]);
                    }
                }
                Left::Point(First { training, answer: None }) => now.search.want([training]),
                Left::Point(First { training, answer: Some(answer) }) => {
                    if now.search.add(training, answer, now.journal)? {
                        tell(now.ended(0.0));
                    }
                }
            }
        }
        Ok(())
    }
}
