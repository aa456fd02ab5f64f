//! The recorder: writes the ledger's file on a thread of its own. A batch is acknowledged to its actor once what it
//! measured is durable. Batches that come while the disk is busy share the next commit, so the hot path waits for none.

use crate::{failures::Failures, service::Acknowledgement};
use srnas_ledger::{Database, LedgerError, Record, Tally};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{self, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tracing::{error, info};

/// Records that wait for the disk at most.
const WAITING: usize = 256;
/// Records of one commit at most.
const SHARED: usize = 512;
/// A commit waits so long for others to share it.
const GATHER: Duration = Duration::from_millis(10);
/// Pause after a commit that failed.
const RETRY: Duration = Duration::from_secs(1);

/// A record, and who is told when it is durable; nobody where it is of this process itself.
#[derive(Debug)]
struct Awaited {
    record: Record,
    acknowledgement: Option<Acknowledgement>,
}

#[derive(Debug)]
enum Message {
    Record(Box<Awaited>),
    /// To be answered when everything before it is durable, with what the ledger has then.
    Barrier(SyncSender<Tally>),
}

/// The recording thread.
#[derive(Debug)]
pub struct Recorder {
    messages: Option<SyncSender<Message>>,
    /// A record for which there was no room.
    held: Option<Box<Awaited>>,
    give_up: Arc<AtomicBool>,
    failures: Arc<Failures>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Starts to record into a file; what cannot be written is counted among `failures`.
    ///
    /// # Errors
    /// When the file cannot be written or there is no thread.
    pub(crate) fn start(database: Database, failures: Arc<Failures>) -> Result<Recorder, LedgerError> {
        database.prepare()?;
        let (messages, incoming) = mpsc::sync_channel(WAITING);
        let give_up = Arc::new(AtomicBool::new(false));
        let (giving_up, counted) = (give_up.clone(), failures.clone());
        let thread = thread::Builder::new()
            .name("ledger".into())
            .spawn(move || record_all(database, &incoming, &giving_up, &counted))
            .map_err(LedgerError::Thread)?;
        Ok(Recorder { messages: Some(messages), held: None, give_up, failures, thread: Some(thread) })
    }

    /// Whether the ledger cannot be written now.
    pub fn is_failing(&self) -> bool {
        self.failures.unwritten().is_some()
    }

    /// Whether another record may come. Never blocks: while the disk does not keep up, batches wait unread and their
    /// actors run out of credits.
    ///
    /// # Errors
    /// [`LedgerError::Unwritten`] if the thread is gone.
    pub fn has_room(&mut self) -> Result<bool, LedgerError> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(LedgerError::Unwritten);
        }
        Ok(match self.held.take() {
            None => true,
            Some(record) => self.offer(record),
        })
    }

    /// Takes a record, for which there must have been [room](Self::has_room).
    /// Whoever waits for it is told when it is durable.
    pub fn record(&mut self, record: Record, acknowledgement: Option<Acknowledgement>) {
        debug_assert!(self.held.is_none(), "there was no room");
        self.offer(Box::new(Awaited { record, acknowledgement }));
    }

    fn offer(&mut self, record: Box<Awaited>) -> bool {
        let Some(messages) = &self.messages else { return false };
        match messages.try_send(Message::Record(record)) {
            Ok(()) => true,
            Err(TrySendError::Full(Message::Record(record))) => {
                self.held = Some(record);
                false
            }
            // The thread ended early: what it held is not acknowledged, and neither is this.
            Err(_) => false,
        }
    }

    /// Waits until everything so far is durable; what the ledger has then.
    ///
    /// # Errors
    /// [`LedgerError::Unwritten`] if that does not happen within `patience`.
    pub fn flush(&mut self, patience: Duration) -> Result<Tally, LedgerError> {
        let deadline = Instant::now() + patience;
        // A full channel empties with every commit.
        while !self.has_room()? {
            if Instant::now() >= deadline {
                return Err(LedgerError::Unwritten);
            }
            thread::sleep(GATHER);
        }
        let (done, all_durable) = mpsc::sync_channel(1);
        let messages = self.messages.as_ref().ok_or(LedgerError::Unwritten)?;
        let mut barrier = Message::Barrier(done);
        while let Err(unsent) = messages.try_send(barrier) {
            match unsent {
                TrySendError::Full(back) if Instant::now() < deadline => barrier = back,
                _ => return Err(LedgerError::Unwritten),
            }
            thread::sleep(GATHER);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        all_durable.recv_timeout(left).map_err(|_| LedgerError::Unwritten)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.give_up.store(true, Relaxed);
        self.messages = None;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn record_all(
    mut database: Database,
    incoming: &mpsc::Receiver<Message>,
    give_up: &AtomicBool,
    failures: &Failures,
) {
    let (mut records, mut waiting) = (Vec::new(), Vec::new());
    while let Ok(first) = incoming.recv() {
        let until = Instant::now() + GATHER;
        let (mut next, mut barrier) = (Some(first), None);
        while let Some(message) = next.take() {
            match message {
                Message::Record(awaited) => {
                    records.push(awaited.record);
                    waiting.extend(awaited.acknowledgement);
                }
                // Somebody waits: nothing more shares this commit.
                Message::Barrier(done) => {
                    barrier = Some(done);
                    break;
                }
            }
            if records.len() < SHARED {
                next = incoming.recv_timeout(until.saturating_duration_since(Instant::now())).ok();
            }
        }
        if !commit(&mut database, &records, give_up, failures) {
            return;
        }
        records.clear();
        waiting.drain(..).for_each(Acknowledgement::done);
        if let Some(done) = barrier {
            // Whoever gave up waiting does not need to know.
            let _ = done.try_send(database.tally());
        }
    }
}

/// Writes until it works; `false` if it was given up.
fn commit(database: &mut Database, records: &[Record], give_up: &AtomicBool, failures: &Failures) -> bool {
    let mut attempts = 0u64;
    loop {
        match database.commit(records) {
            Ok(()) => {
                if attempts > 0 {
                    failures.ledger_works();
                    info!(attempts, "the ledger is written again");
                }
                return true;
            }
            Err(failure) => {
                attempts += 1;
                failures.ledger_fails(failure.to_string());
                // Not a line a second: a full disk may stay full for long.
                if attempts.is_power_of_two() {
                    error!(%failure, attempts, records = records.len(), "the ledger cannot be written; nothing is acknowledged until it can: make room on the disk");
                }
            }
        }
        if give_up.load(Relaxed) {
            return false;
        }
        thread::park_timeout(RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_ledger::{ActorRecord, RunRecord};
    use srnas_wire::Measurements;

    #[test]
    fn a_flush_waits_for_everything_before_it_and_a_drop_writes_what_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let run = RunRecord {
            name: "run".into(),
            space: "toy".into(),
            seed: 1,
            tasks: vec![("a".into(), "f".into())],
            benchmarks: Vec::new(),
        };
        let mut recorder = Recorder::start(Database::create(&path, &run).unwrap(), Arc::default()).unwrap();
        let record = |key| {
            let progress = ActorRecord {
                actor: "a".into(),
                incarnation: 1,
                acknowledged: key,
                environment_steps: 1,
                transitions: 0,
                episodes: 0,
            };
            let measurements = Measurements {
                tasks: vec![0],
                keys: vec![key],
                architectures: vec![0, key as u8],
                fidelities: vec![1.0],
                values: vec![0.5],
            };
            Record { measurements, progress, policy_version: key }
        };
        let count =
            || Database::open(&path, &run).unwrap().measurements(None, |_, _, _| Ok(())).unwrap().tasks.len();
        for key in 1..=1000 {
            if !recorder.has_room().unwrap() {
                recorder.flush(Duration::from_secs(20)).unwrap();
            }
            recorder.record(record(key), None);
        }
        let tally = recorder.flush(Duration::from_secs(20)).unwrap();
        assert_eq!((count(), tally.answers), (1000, 1000));
        recorder.record(record(1001), None);
        drop(recorder);
        assert_eq!(count(), 1001);
        let database = Database::open(&path, &run).unwrap();
        assert_eq!(database.actors().unwrap()[0].environment_steps, 1001);
        assert_eq!(database.policy_version().unwrap(), 1001);
    }
}
