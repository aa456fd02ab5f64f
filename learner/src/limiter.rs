//! The replay-ratio limiter: keeps how often a transition is drawn within a band, from both sides (as the rate limiter
//! of Reverb, arXiv 2102.04736).
//!
//! With i transitions in beyond the warm-up and s drawn, `least · i − slack ≤ s ≤ most · i + slack`: an insert must keep
//! the left side, a draw the right one. The slack lets both go on in turns.

use serde::{Deserialize, Serialize};

/// Counts of both sides, and the band between them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatioLimiter {
    least: f64,
    most: f64,
    slack: f64,
    warm_up: u64,
    inserted: u64,
    sampled: u64,
}

impl RatioLimiter {
    /// Nothing counted yet. `band` is the least and the most draws of a transition, `batch` the draws of an update;
    /// the first `warm_up` transitions owe nothing and allow nothing.
    pub fn new(band: [f64; 2], batch: usize, warm_up: usize) -> Self {
        let slack = (2.0 * batch as f64).max(band[0] * warm_up as f64).max(band[1] * warm_up as f64);
        Self { least: band[0], most: band[1], slack, warm_up: warm_up as u64, inserted: 0, sampled: 0 }
    }

    fn counted(&self) -> f64 {
        self.inserted.saturating_sub(self.warm_up) as f64
    }

    /// Whether more transitions may come in.
    pub fn may_insert(&self) -> bool {
        self.least * self.counted() <= self.sampled as f64 + self.slack
    }

    /// Whether an update may draw.
    pub fn may_sample(&self) -> bool {
        self.inserted >= self.warm_up && self.sampled as f64 <= self.most * self.counted() + self.slack
    }

    /// Counts transitions that came in.
    pub fn insert(&mut self, transitions: usize) {
        self.inserted += transitions as u64;
    }

    /// Counts transitions that were drawn.
    pub fn sample(&mut self, transitions: usize) {
        self.sampled += transitions as u64;
    }

    /// Whether fewer were drawn than `ratio` times what came in beyond the warm-up.
    pub fn owes(&self, ratio: f64) -> bool {
        self.inserted > self.warm_up && (self.sampled as f64) < ratio * self.counted()
    }

    /// Draws per transition so far; 0 before the warm-up.
    pub fn ratio(&self) -> f64 {
        if self.inserted > self.warm_up { self.sampled as f64 / self.inserted as f64 } else { 0.0 }
    }

    /// Goes on with the counts of another limiter, under this one's band.
    pub fn resume(&mut self, counts: &RatioLimiter) {
        (self.inserted, self.sampled) = (counts.inserted, counts.sampled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whoever acts only when it may keeps the inequality, up to one step of its own, and one of both always may.
        #[test]
        fn the_band_holds_and_nobody_is_stuck(
            turns in proptest::collection::vec(any::<bool>(), 1..600),
            least in 0.0f64..2.0,
            width in 0.1f64..6.0,
        ) {
            let (batch, warm_up, most) = (32usize, 100usize, 2.0 * least + width);
            let mut limiter = RatioLimiter::new([least, most], batch, warm_up);
            for inserts_first in turns {
                prop_assert!(limiter.may_insert() || limiter.may_sample());
                if inserts_first && limiter.may_insert() {
                    limiter.insert(16);
                } else if limiter.may_sample() {
                    limiter.sample(batch);
                }
                let (i, s) = (limiter.counted(), limiter.sampled as f64);
                prop_assert!(least * i <= s + limiter.slack + least * 16.0);
                prop_assert!(s <= most * i + limiter.slack + batch as f64);
            }
        }
    }

    #[test]
    fn nothing_is_drawn_before_the_warm_up_and_each_side_waits_for_the_other() {
        let mut limiter = RatioLimiter::new([0.5, 2.0], 10, 20);
        assert!(!limiter.may_sample() && limiter.may_insert());
        limiter.insert(20);
        assert!(limiter.may_sample());
        limiter.insert(1_000);
        assert!(!limiter.may_insert(), "each of the thousand is owed half a draw");
        limiter.sample(1_000);
        assert!(limiter.may_insert());
        limiter.sample(2_000);
        assert!(!limiter.may_sample());
        assert!((limiter.ratio() - 3_000.0 / 1_020.0).abs() < 1e-9);
    }
}
