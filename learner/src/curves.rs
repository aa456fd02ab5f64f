//! The curves of a run: writes `metrics.csv` and TensorBoard's events of the run directory. Neither may stop the training: a
//! write that fails is counted, and said once.

use crate::{events::EventFile, failures::Failures, metrics_csv::MetricsCsv, progress::Progress};
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// Time between rows.
const PERIOD: Duration = Duration::from_secs(10);

/// The two files, and what the newest row said.
struct Curves {
    run_dir: PathBuf,
    /// Groups of tasks that have a column.
    groups: Vec<String>,
    failures: Arc<Failures>,
    csv: Option<MetricsCsv>,
    events: Option<EventFile>,
    before: Progress,
}

/// Follows the reports: a row every ten seconds and one for the rest at the end.
pub(crate) async fn record(
    run_dir: PathBuf,
    groups: Vec<String>,
    failures: Arc<Failures>,
    mut progress: watch::Receiver<Progress>,
    end: CancellationToken,
) {
    let (csv, events, before) = (None, None, Progress::default());
    let mut curves = Curves { run_dir, groups, failures, csv, events, before };
    let mut timer = tokio::time::interval(PERIOD);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer.tick().await;
    let mut over = false;
    while !over {
        over = tokio::select! {
            _ = timer.tick() => false,
            () = end.cancelled() => true,
        };
        let newest = progress.borrow_and_update().clone();
        // No news while the last check runs.
        if newest.elapsed == curves.before.elapsed {
            continue;
        }
        let written = tokio::task::spawn_blocking(move || {
            curves.write(newest);
            curves
        });
        curves = match written.await {
            Ok(curves) => curves,
            Err(error) => {
                error!(%error, "metrics.csv and TensorBoard's events are not written any more; this is a bug in srnas");
                return;
            }
        };
    }
}

impl Curves {
    fn write(&mut self, mut now: Progress) {
        now.rate(&self.before);
        let csv = self.write_csv(&now);
        self.note(csv, &self.failures.csv, "metrics.csv");
        let events = self.write_events(&now);
        self.note(events, &self.failures.events, "TensorBoard's events");
        self.before = now;
    }

    fn write_csv(&mut self, now: &Progress) -> io::Result<()> {
        let csv = match &mut self.csv {
            Some(csv) => csv,
            None => self.csv.insert(MetricsCsv::open(&self.run_dir, &self.groups)?),
        };
        csv.write(&self.before, now, &self.groups)
    }

    fn write_events(&mut self, now: &Progress) -> io::Result<()> {
        let time = SystemTime::now();
        let events = match &mut self.events {
            Some(events) => events,
            None => self.events.insert(EventFile::create(&self.run_dir, time)?),
        };
        events.write(time, &self.before, now)
    }

    /// Counts a failure; the first one is said.
    fn note(&self, result: io::Result<()>, failures: &AtomicU64, file: &str) {
        if let Err(error) = result
            && failures.fetch_add(1, Relaxed) == 0
        {
            let run_dir = self.run_dir.display();
            warn!(%run_dir, %error, "{file} cannot be written; training goes on, and each row is tried again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Progress {
        Progress { elapsed: Duration::from_secs(seconds), updates: seconds, ..Progress::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_every_ten_seconds_one_at_the_end_and_none_without_news() {
        let folder = tempfile::tempdir().unwrap();
        let (sender, reports) = watch::channel(Progress::default());
        let end = CancellationToken::new();
        let path = folder.path().to_path_buf();
        let task = tokio::spawn(record(path.clone(), Vec::new(), Arc::default(), reports, end.clone()));
        for second in 1..=35 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            sender.send_replace(at(second.min(24)));
        }
        drop(sender);
        end.cancel();
        task.await.unwrap();
        let rows = std::fs::read_to_string(path.join("metrics.csv")).unwrap();
        assert_eq!(rows.lines().count(), 1 + 3, "{rows}");
        assert!(rows.lines().last().unwrap().starts_with("24.000,"), "{rows}");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = folder.path().join("not there yet");
        let failures = Arc::new(Failures::default());
        let mut curves = Curves {
            run_dir: run_dir.clone(),
            groups: Vec::new(),
            failures: failures.clone(),
            csv: None,
            events: None,
            before: Progress::default(),
        };
        curves.write(at(10));
        curves.write(at(20));
        assert_eq!((failures.csv.load(Relaxed), failures.events.load(Relaxed)), (2, 2));
        std::fs::create_dir(&run_dir).unwrap();
        curves.write(at(30));
        assert_eq!((failures.csv.load(Relaxed), failures.events.load(Relaxed)), (2, 2));
        assert_eq!(std::fs::read_dir(&run_dir).unwrap().count(), 2);
    }
}
