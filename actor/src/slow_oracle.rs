//! The waits of an actor whose oracle is simulated to be slow.
//!
//! The model: every episode has a worker of its own, so all measurements of one step of all episodes are asked for at
//! the same time, and the step waits for the slowest. A worker that ends an episode measures the next one's start along
//! with the last architecture. What an episode knows already is free; nothing is remembered between episodes.

use srnas_oracle::simulated::Delays;
use std::{
    convert::Infallible,
    sync::mpsc::{self, Receiver, Sender},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// A wait of the environment thread that ends at once when the actor stops.
#[derive(Debug)]
pub struct Pause {
    stopped: Receiver<Infallible>,
}

impl Pause {
    /// Waits end as soon as `stop` is cancelled, or when the task that watches it on the current tokio runtime ends.
    pub fn until(stop: CancellationToken) -> Self {
        let (running, stopped): (Sender<Infallible>, _) = mpsc::channel();
        tokio::spawn(async move {
            stop.cancelled().await;
            drop(running);
        });
        Self { stopped }
    }

    /// Waits for so long, or until the stop.
    pub fn wait(&self, time: Duration) {
        // Nothing is ever sent: this is the time running out or the sender's end.
        let _ = self.stopped.recv_timeout(time);
    }
}

/// What the walker asks, and waits for.
#[derive(Debug)]
pub struct SlowOracle {
    delays: Delays,
    pause: Pause,
    /// Longest delay of what was asked since the last wait.
    longest: Duration,
}

impl SlowOracle {
    /// An oracle whose measurements take as long as `delays` say.
    pub fn new(delays: Delays, pause: Pause) -> Self {
        Self { delays, pause, longest: Duration::ZERO }
    }

    /// Asks for the measurement of the architecture of this rank, after a share of the full training.
    pub(crate) fn ask(&mut self, rank: u64, share: f32) {
        self.longest = self.longest.max(self.delays.draw(rank).mul_f32(share));
    }

    /// Waits until all that was asked is measured. Returns the time that it took.
    pub(crate) fn wait(&mut self) -> Duration {
        let longest = std::mem::take(&mut self.longest);
        if longest.is_zero() {
            return Duration::ZERO;
        }
        let began = Instant::now();
        self.pause.wait(longest);
        began.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_config::Config;
    use srnas_oracle::catalog::Catalog;

    fn delays(latency: &str) -> Delays {
        let mut config = Config::default();
        config.simulation.latency = Some(latency.parse().unwrap());
        Delays::resolve(&config, &Catalog::new(None), 1).unwrap().unwrap()
    }

    #[tokio::test]
    async fn what_was_asked_together_is_waited_for_once_and_nothing_is_free() {
        let mut oracle = SlowOracle::new(delays("40ms"), Pause::until(CancellationToken::new()));
        assert_eq!(oracle.wait(), Duration::ZERO);
        (0..20).for_each(|rank| oracle.ask(rank, 1.0));
        let took = oracle.wait();
        assert!(took >= Duration::from_millis(40) && took < Duration::from_millis(400), "{took:?}");
        assert_eq!(oracle.wait(), Duration::ZERO);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_stop_ends_a_long_wait_at_once_and_all_that_follow() {
        let stop = CancellationToken::new();
        let mut oracle = SlowOracle::new(delays("1h"), Pause::until(stop.clone()));
        let waiting = tokio::task::spawn_blocking(move || {
            oracle.ask(0, 1.0);
            let first = oracle.wait();
            oracle.ask(0, 1.0);
            (first, oracle.wait())
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished());
        stop.cancel();
        let (first, second) = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
        assert!(first < Duration::from_secs(20) && second < Duration::from_secs(20));
    }
}
