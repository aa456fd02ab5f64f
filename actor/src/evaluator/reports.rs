//! What a training reports, on its way from the thread that measures to the search.

use prost::Message;
use srnas_oracle::curves::{Hear, Report};
use srnas_proto::v1;
use srnas_wire::LARGEST_ANSWER;
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
/// A call has so many bytes of reports at most: the search refuses what is much larger. A larger report is left out.
const LARGEST: usize = LARGEST_ANSWER / 4;
/// Between two calls at least: a training that reports every step is told of in bunches.
const PAUSE: Duration = Duration::from_millis(200);

/// The two ends of it.
pub fn channel() -> (Arc<dyn Hear>, Spoken) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let (anew, stops) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let told = Telling { sender, anew: anew.clone(), stops: stops.clone() };
    (Arc::new(told), Spoken { receiver, left: None, anew, stops })
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
    /// What did not go into the last call.
    left: Option<v1::Point>,
    anew: Arc<AtomicBool>,
    stops: Arc<AtomicBool>,
}

impl Spoken {
    /// What was said since the last time, and whether that is the first of a training that began anew; nothing when it says nothing
    /// more.
    pub async fn next(&mut self) -> Option<(bool, Vec<v1::Point>)> {
        let first = match self.left.take() {
            Some(left) => left,
            None => loop {
                if let Some(point) = point(self.receiver.recv().await?) {
                    break point;
                }
            },
        };
        // Others may follow at once, and the last of a training must not wait.
        if self.receiver.is_empty() && !self.receiver.is_closed() {
            tokio::time::sleep(PAUSE).await;
        }
        let (mut points, mut bytes) = (Vec::new(), first.encoded_len());
        points.push(first);
        while let Ok(report) = self.receiver.try_recv() {
            let Some(point) = point(report) else { continue };
            bytes += point.encoded_len();
            if bytes > LARGEST {
                self.left = Some(point);
                break;
            }
            points.push(point);
        }
        Some((self.anew.swap(false, Ordering::Relaxed), points))
    }

    /// The training is to be stopped early.
    pub fn stop(&self) {
        self.stops.store(true, Ordering::Relaxed);
    }
}

/// A report as the wire has it; nothing where it is too large.
fn point(report: Report) -> Option<v1::Point> {
    let point = v1::Point { at: report.at, values: report.metrics.into_iter().collect() };
    (point.encoded_len() <= LARGEST).then_some(point)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(at: f64, name: &str) -> Report {
        Report { at, metrics: [(name.to_string(), 0.5)].into() }
    }

    #[tokio::test]
    async fn what_is_too_much_for_a_call_goes_into_the_next() {
        let (told, mut spoken) = channel();
        told.begins(true);
        told.hears(report(1.0, "loss"));
        told.hears(report(2.0, &"x".repeat(LARGEST / 2)));
        told.hears(report(3.0, &"x".repeat(2 * LARGEST)));
        told.hears(report(4.0, &"x".repeat(LARGEST / 2)));
        told.hears(report(5.0, "loss"));
        drop(told);
        let mut heard = Vec::new();
        while let Some((begins, points)) = spoken.next().await {
            let bytes: usize = points.iter().map(Message::encoded_len).sum();
            assert!(bytes <= LARGEST && !points.is_empty());
            heard.push((begins, points.iter().map(|point| point.at).collect::<Vec<_>>()));
        }
        assert_eq!(heard, [(false, vec![1.0, 2.0]), (false, vec![4.0, 5.0])]);
    }

    #[tokio::test]
    async fn what_nobody_takes_is_left_out_and_keeps_nobody_waiting() {
        let (told, mut spoken) = channel();
        (0..2 * WAITING).for_each(|at| told.hears(report(at as f64, "loss")));
        spoken.stop();
        assert!(told.stops());
        drop(told);
        let (begins, points) = spoken.next().await.unwrap();
        assert!(begins && points.len() == WAITING);
        assert_eq!(spoken.next().await, None);
    }
}
