//! Refusals: log lines about peers that are turned away at the door, one a second at most: whoever knocks all the time
//! does not fill the log.

use std::{
    fmt::Display,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tracing::warn;

const PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    unsaid: u64,
}

impl Refusals {
    pub fn tell(&self, peer: impl Display, reason: &str) {
        if let Some(unsaid) = self.due(Instant::now()) {
            warn!(%peer, %reason, unsaid, "a peer is turned away");
        }
    }

    /// How many were not told since the last that was, if it is time to tell again.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now < last + PERIOD) {
            state.unsaid += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_makes_a_line_a_second() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        assert_eq!(refusals.due(start), Some(0));
        assert!((1..1000).all(|ms| refusals.due(start + Duration::from_millis(ms)).is_none()));
        assert_eq!(refusals.due(start + PERIOD), Some(999));
        assert_eq!(refusals.due(start + 3 * PERIOD), Some(0));
    }
}
