//! Member: one incarnation of one actor, its lease, its sequence numbers and what it sent.

use super::window::Window;
use std::{
    ops::AddAssign,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// Why an incarnation is no longer a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// It said Leave.
    Left,
    /// It was silent for longer than its lease.
    Lapsed,
    /// An actor with the same id joined.
    Replaced,
}

/// What was taken in and what was not. Everything counts from the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Batches handed to the ingest thread, stale ones with measurements included.
    pub batches: u64,
    /// Transitions (steps of segments) handed to the ingest thread.
    pub transitions: u64,
    /// Measurements handed to the ingest thread.
    pub measurements: u64,
    /// Episodes that ended.
    pub episodes: u64,
    /// Steps that the actors made, also those whose transitions were not sent or not taken.
    pub environment_steps: u64,
    /// Batches whose transitions were refused because their policy was too old.
    pub stale: u64,
    /// Batches refused because their arrays do not fit.
    pub malformed: u64,
    /// Batches ignored because they had been received before.
    pub duplicates: u64,
    /// Microseconds of the actors' environment threads.
    pub elapsed_us: u64,
    /// Of these, spent waiting for credit.
    pub credit_us: u64,
    /// Of these, spent waiting for the oracle.
    pub oracle_us: u64,
    /// Microseconds from the arrival of a batch here until it was taken in, over all batches.
    pub held_us: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        self.batches += other.batches;
        self.transitions += other.transitions;
        self.measurements += other.measurements;
        self.episodes += other.episodes;
        self.environment_steps += other.environment_steps;
        self.stale += other.stale;
        self.malformed += other.malformed;
        self.duplicates += other.duplicates;
        // The actors' own words: whatever they say, sums stay sums.
        self.elapsed_us = self.elapsed_us.saturating_add(other.elapsed_us);
        self.credit_us = self.credit_us.saturating_add(other.credit_us);
        self.oracle_us = self.oracle_us.saturating_add(other.oracle_us);
        self.held_us += other.held_us;
    }
}

/// Policy lags of batches, in versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lags {
    /// Batches looked at; the other fields mean nothing if there was none.
    pub batches: u64,
    /// Smallest lag.
    pub min: u64,
    /// Largest lag.
    pub max: u64,
    sum: u64,
}

impl Lags {
    /// Of one batch.
    pub(crate) fn of(lag: u64) -> Lags {
        Lags { batches: 1, min: lag, max: lag, sum: lag }
    }

    /// Average lag; 0 when there was no batch.
    pub fn mean(&self) -> f64 {
        self.sum as f64 / self.batches.max(1) as f64
    }

    pub(super) fn merge(&mut self, other: Lags) {
        *self = match (self.batches, other.batches) {
            (_, 0) => *self,
            (0, _) => other,
            (a, b) => Lags {
                batches: a + b,
                min: self.min.min(other.min),
                max: self.max.max(other.max),
                sum: self.sum.saturating_add(other.sum),
            },
        };
    }
}

/// A live actor, for status and log lines.
#[derive(Clone, Debug)]
pub struct MemberReport {
    /// Name of the actor.
    pub id: Arc<str>,
    /// The incarnation that is live.
    pub incarnation: u64,
    /// Version of its program.
    pub software: String,
    /// Episodes that it walks at the same time.
    pub episodes: u32,
    /// Place of its first episode among those of the run.
    pub first_episode: u32,
    /// Time since it joined.
    pub joined: Duration,
    /// Time since it was last heard.
    pub silent: Duration,
    /// Highest sequence number up to which everything is settled.
    pub acknowledged: u64,
    /// Policy versions by which its last batch lagged.
    pub policy_lag: u64,
    /// What this incarnation sent.
    pub counters: Counters,
}

/// What an actor says of itself when it joins.
#[derive(Clone, Debug)]
pub(super) struct Applicant {
    pub id: String,
    pub incarnation: u64,
    pub software: String,
    pub episodes: u32,
}

/// One incarnation of one actor.
#[derive(Debug)]
pub(super) struct Member {
    pub id: Arc<str>,
    pub incarnation: u64,
    pub software: String,
    pub episodes: u32,
    pub first_episode: u32,
    /// How many incarnations of this actor came before, as far as they are remembered.
    pub generation: u64,
    joined: Instant,
    /// Cancelled when the incarnation stops being a member.
    pub gone: CancellationToken,
    /// Cancelled when the ingest thread dropped a batch: what is entered will never be settled as a whole.
    pub abandoned: CancellationToken,
    acknowledged: watch::Sender<u64>,
    state: Mutex<MemberState>,
}

#[derive(Debug)]
struct MemberState {
    heard: Instant,
    departure: Option<Departure>,
    window: Window,
    /// The stream that may enter batches: the newest one.
    stream: CancellationToken,
    counters: Counters,
    lags: Lags,
    last_lag: u64,
}

/// A batch was not entered: its stream is no longer the one of its incarnation, or its incarnation is gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Superseded;

impl Member {
    pub fn new(applicant: Applicant, first_episode: u32, generation: u64) -> Member {
        let now = Instant::now();
        Member {
            id: applicant.id.into(),
            incarnation: applicant.incarnation,
            software: applicant.software,
            episodes: applicant.episodes,
            first_episode,
            generation,
            joined: now,
            gone: CancellationToken::new(),
            abandoned: CancellationToken::new(),
            acknowledged: watch::Sender::new(0),
            state: Mutex::new(MemberState {
                heard: now,
                departure: None,
                window: Window::default(),
                stream: CancellationToken::new(),
                counters: Counters::default(),
                lags: Lags::default(),
                last_lag: 0,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, MemberState> {
        // Every critical section leaves the state whole, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews the lease.
    pub fn heard(&self) {
        self.heard_at(Instant::now());
    }

    pub(super) fn heard_at(&self, now: Instant) {
        self.state().heard = now;
    }

    /// Time since it was last heard.
    pub fn silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.state().heard)
    }

    /// A new stream, which takes over from the one before. Returns its token (cancelled when the next one takes over)
    /// and the highest sequence number entered so far.
    pub fn open_stream(&self) -> (CancellationToken, u64) {
        let mut state = self.state();
        state.stream.cancel();
        state.stream = CancellationToken::new();
        state.heard = Instant::now();
        (state.stream.clone(), state.window.entered())
    }

    /// Enters the next sequence number, to be settled later, or at once if nothing of it goes to the ingest thread.
    pub fn enter(
        &self,
        stream: &CancellationToken,
        counts: Counters,
        lag: Option<u64>,
        settled: bool,
    ) -> Result<(), Superseded> {
        let mut state = self.state();
        if stream.is_cancelled() || state.departure.is_some() {
            return Err(Superseded);
        }
        let sequence = state.window.enter();
        state.counters += counts;
        if let Some(lag) = lag {
            state.last_lag = lag;
            state.lags.merge(Lags::of(lag));
        }
        drop(state);
        if settled {
            self.settle(sequence, Duration::ZERO);
        }
        Ok(())
    }

    /// Counts what does not move the sequence number.
    pub fn count(&self, counts: Counters) {
        self.state().counters += counts;
    }

    /// A batch is taken in or rejected for good, so long after it arrived.
    pub fn settle(&self, sequence: u64, held: Duration) {
        let mut state = self.state();
        state.counters.held_us += held.as_micros() as u64;
        if state.window.settle(sequence) {
            // Under the lock, so that the acknowledged number never falls.
            self.acknowledged.send_replace(state.window.acknowledged());
        }
    }

    /// Everything up to this sequence number is settled.
    pub fn acknowledged(&self) -> u64 {
        *self.acknowledged.borrow()
    }

    /// Follows [`Self::acknowledged`].
    pub fn watch_acknowledged(&self) -> watch::Receiver<u64> {
        self.acknowledged.subscribe()
    }

    /// Waits until all that was entered is settled or given up; whether that happened before the deadline.
    pub async fn settled(&self, deadline: Duration) -> bool {
        let entered = self.state().window.entered();
        let mut acknowledged = self.watch_acknowledged();
        let settling = async {
            tokio::select! {
                _ = acknowledged.wait_for(|&a| a >= entered) => (),
                () = self.abandoned.cancelled() => (),
            }
        };
        tokio::time::timeout(deadline, settling).await.is_ok()
    }

    /// Ends the membership; what it sent and the lags nobody looked at yet.
    pub fn close(&self, departure: Departure) -> (Counters, Lags) {
        let mut state = self.state();
        state.departure = Some(departure);
        self.gone.cancel();
        (state.counters, std::mem::take(&mut state.lags))
    }

    /// Lags since the last call.
    pub fn take_lags(&self) -> Lags {
        std::mem::take(&mut self.state().lags)
    }

    /// For status and log lines.
    pub fn report(&self, now: Instant) -> MemberReport {
        let state = self.state();
        MemberReport {
            id: self.id.clone(),
            incarnation: self.incarnation,
            software: self.software.clone(),
            episodes: self.episodes,
            first_episode: self.first_episode,
            joined: now.saturating_duration_since(self.joined),
            silent: now.saturating_duration_since(state.heard),
            acknowledged: state.window.acknowledged(),
            policy_lag: state.last_lag,
            counters: state.counters,
        }
    }

    /// Why it is gone, if it is.
    pub fn departure(&self) -> Option<Departure> {
        self.state().departure
    }
}
