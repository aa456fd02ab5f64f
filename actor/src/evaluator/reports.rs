//! What a training reports, on its way from the thread that measures to the search.

use srnas_oracle::curves::{Hear, Report};
use srnas_proto::v1;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

/// So many reports wait for the search at most; what comes while nobody can be told is left out.
const WAITING: usize = 4096;
/// Between two calls at least: a training that reports every step is told of in bunches.
const PAUSE: Duration = Duration::from_millis(200);

/// The two ends of it.
pub fn channel() -> (Arc<dyn Hear>, Spoken) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let (anew, stops) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let told = Telling { sender, anew: anew.clone(), stops: stops.clone() };
    (Arc::new(told), Spoken { receiver, anew, stops })
}

/// Where the training speaks.
struct Telling {
    sender: mpsc::Sender<Report>,
    anew: Arc<AtomicBool>,
    stops: Arc<AtomicBool>,
}

impl Hear for Telling {
    fn begins(&self, goes_on: bool) {
        self.anew.store(!goes_on, Ordering::Relaxed);
    }

    fn hears(&self, report: Report) {
        // A program is not kept waiting by a search that does not answer.
        let _ = self.sender.try_send(report);
    }

    fn stops(&self) -> bool {
        self.stops.load(Ordering::Relaxed)
    }
}

/// Where what it said is found.
pub struct Spoken {
    receiver: mpsc::Receiver<Report>,
    anew: Arc<AtomicBool>,
    stops: Arc<AtomicBool>,
}

impl Spoken {
    /// What was said since the last time, and whether that is the first of a training that began anew; nothing when it says nothing
    /// more.
    pub async fn next(&mut self) -> Option<(bool, Vec<v1::Point>)> {
        let first = self.receiver.recv().await?;
        let mut points = vec![point(first)];
        // Others may follow at once, and the last of a training must not wait.
        if self.receiver.is_empty() && !self.receiver.is_closed() {
            tokio::time::sleep(PAUSE).await;
        }
        while let Ok(report) = self.receiver.try_recv() {
            points.push(point(report));
        }
        Some((self.anew.swap(false, Ordering::Relaxed), points))
    }

    /// The training is to be stopped early.
    pub fn stop(&self) {
        self.stops.store(true, Ordering::Relaxed);
    }
}

fn point(report: Report) -> v1::Point {
    v1::Point { at: report.at, values: report.metrics.into_iter().collect() }
}
