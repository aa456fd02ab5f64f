//! Refusals: log lines about peers that are turned away at the door, one a minute for each kind of reason: whoever knocks
//! all the time does not fill the log.

use std::{
    collections::HashMap,
    fmt::Display,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tracing::warn;

const PERIOD: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<&'static str, Told>>);

/// What was told of one kind.
#[derive(Debug)]
struct Told {
    last: Instant,
    unsaid: u64,
}

impl Refusals {
    /// A peer is turned away for a reason, if it is time to say so.
    pub fn tell(&self, peer: impl Display, reason: &'static str) {
        if let Some(unsaid) = self.due(reason, Instant::now()) {
            warn!(%peer, %reason, unsaid, "a peer is turned away");
        }
    }

    /// As [`Self::tell`], with what is different from peer to peer.
    pub fn explain(&self, peer: impl Display, reason: &'static str, details: impl Display) {
        if let Some(unsaid) = self.due(reason, Instant::now()) {
            warn!(%peer, reason = %format_args!("{reason}: {details}"), unsaid, "a peer is turned away");
        }
    }

    /// How many of this kind were not told since the last that was, if it is time to tell again.
    fn due(&self, reason: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(told) = kinds.get_mut(reason) else {
            kinds.insert(reason, Told { last: now, unsaid: 0 });
            return Some(0);
        };
        if now < told.last + PERIOD {
            told.unsaid += 1;
            return None;
        }
        told.last = now;
        Some(std::mem::take(&mut told.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_makes_a_line_a_minute_and_another_reason_its_own() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        assert_eq!(refusals.due("token", start), Some(0));
        assert!((1..1000).all(|ms| refusals.due("token", start + Duration::from_millis(ms)).is_none()));
        assert_eq!(refusals.due("silent", start), Some(0));
        assert_eq!(refusals.due("token", start + PERIOD), Some(999));
        assert_eq!(refusals.due("token", start + 3 * PERIOD), Some(0));
    }
}
