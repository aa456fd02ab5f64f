//! Members: the actors that joined, their leases, their places among the run's episodes and what they sent.

use super::window::Window;
use std::{
    collections::{HashMap, VecDeque},
    ops::AddAssign,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// Incarnations that are remembered after they left, so that one that comes back hears what was taken in of it.
const REMEMBERED: usize = 1024;

/// Why an incarnation is no longer a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
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
    /// Average lag; 0 when there was no batch.
    pub fn mean(&self) -> f64 {
        self.sum as f64 / self.batches.max(1) as f64
    }

    fn merge(&mut self, other: Lags) {
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
    /// What this incarnation sent.
    pub counters: Counters,
}

/// The live members and the totals over all that ever joined.
#[derive(Clone, Debug)]
pub struct MembersReport {
    /// Live actors in the order of their ids.
    pub live: Vec<MemberReport>,
    /// Sums over live and departed actors.
    pub total: Counters,
}

/// What an actor says of itself when it joins.
#[derive(Clone, Debug)]
pub(super) struct Applicant {
    pub id: String,
    pub incarnation: u64,
    pub software: String,
    pub episodes: u32,
}

/// There is no room for another actor.
#[derive(Debug)]
pub(super) struct Full;

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
}

/// A batch was not entered: its stream is no longer the one of its incarnation, or its incarnation is gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Superseded;

impl Member {
    fn state(&self) -> MutexGuard<'_, MemberState> {
        // Every critical section leaves the state whole, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews the lease.
    pub fn heard(&self) {
        self.state().heard = Instant::now();
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
            state.lags.merge(Lags { batches: 1, min: lag, max: lag, sum: lag });
        }
        drop(state);
        if settled {
            self.settle(sequence);
        }
        Ok(())
    }

    /// Counts what does not move the sequence number.
    pub fn count(&self, counts: Counters) {
        self.state().counters += counts;
    }

    /// A batch is taken in or rejected for good.
    pub fn settle(&self, sequence: u64) {
        let mut state = self.state();
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

    /// Why it is gone, if it is.
    pub fn departure(&self) -> Option<Departure> {
        self.state().departure
    }
}

/// All actors of a run. The mutexes inside are held for moments, never across an await.
#[derive(Debug, Default)]
pub struct Members {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    live: HashMap<Arc<str>, Arc<Member>>,
    departed: VecDeque<Arc<Member>>,
    past: Counters,
    past_lags: Lags,
}

impl State {
    fn depart(&mut self, id: &str, departure: Departure) -> Option<Arc<Member>> {
        let member = self.live.remove(id)?;
        let mut state = member.state();
        state.departure = Some(departure);
        self.past += state.counters;
        self.past_lags.merge(std::mem::take(&mut state.lags));
        drop(state);
        member.gone.cancel();
        if self.departed.len() == REMEMBERED {
            self.departed.pop_front();
        }
        self.departed.push_back(member.clone());
        Some(member)
    }

    /// The first gap among the live actors' ranges: who leaves frees its exploration rates for the next one.
    fn first_free(&self, episodes: u32) -> u32 {
        let mut ranges: Vec<(u32, u32)> =
            self.live.values().map(|m| (m.first_episode, m.first_episode + m.episodes)).collect();
        ranges.sort_unstable();
        let mut free = 0;
        for (first, end) in ranges {
            if first - free >= episodes {
                break;
            }
            free = end;
        }
        free
    }
}

impl Members {
    /// Nobody yet.
    pub fn new() -> Members {
        Members::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an actor in; a live one with the same id is replaced. Joining again as the same incarnation (its first
    /// answer got lost) changes nothing.
    pub(super) fn join(&self, applicant: Applicant, limit: usize) -> Result<Arc<Member>, Full> {
        let mut state = self.state();
        let same = state.live.get(applicant.id.as_str()).cloned();
        if let Some(member) = same.filter(|m| m.incarnation == applicant.incarnation) {
            member.heard();
            return Ok(member);
        }
        state.depart(&applicant.id, Departure::Replaced);
        if state.live.len() >= limit {
            return Err(Full);
        }
        let before = state.departed.iter().rev().find(|m| *m.id == *applicant.id);
        let generation = before.map_or(0, |m| m.generation + 1);
        let now = Instant::now();
        let member = Arc::new(Member {
            id: applicant.id.into(),
            incarnation: applicant.incarnation,
            software: applicant.software,
            episodes: applicant.episodes,
            first_episode: state.first_free(applicant.episodes),
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
            }),
        });
        state.live.insert(member.id.clone(), member.clone());
        Ok(member)
    }

    /// The live member, or why that incarnation is none (`None`: never heard of).
    pub(super) fn find(&self, id: &str, incarnation: u64) -> Result<Arc<Member>, Option<Departure>> {
        let state = self.state();
        match state.live.get(id).filter(|m| m.incarnation == incarnation) {
            Some(member) => Ok(member.clone()),
            None => Err(departed(&state, id, incarnation).and_then(|m| m.departure())),
        }
    }

    /// An incarnation that is gone but remembered.
    pub(super) fn departed(&self, id: &str, incarnation: u64) -> Option<Arc<Member>> {
        departed(&self.state(), id, incarnation).cloned()
    }

    /// The member stopped on purpose.
    pub(super) fn leave(&self, member: &Member) {
        let mut state = self.state();
        if state.live.get(&member.id).is_some_and(|m| m.incarnation == member.incarnation) {
            state.depart(&member.id, Departure::Left);
        }
    }

    /// Drops everybody who was last heard more than `lease` before `now`.
    pub(super) fn sweep(&self, now: Instant, lease: Duration) -> Vec<Arc<Member>> {
        let mut state = self.state();
        let silent = |m: &Member| now.saturating_duration_since(m.state().heard) > lease;
        let lapsed: Vec<Arc<str>> = state.live.values().filter(|m| silent(m)).map(|m| m.id.clone()).collect();
        lapsed.iter().filter_map(|id| state.depart(id, Departure::Lapsed)).collect()
    }

    /// One past the highest place that a live actor's episodes take.
    pub(super) fn episodes(&self) -> u32 {
        self.state().live.values().map(|m| m.first_episode + m.episodes).max().unwrap_or(0)
    }

    /// Number of live actors.
    pub fn live(&self) -> usize {
        self.state().live.len()
    }

    /// Live actors and totals.
    pub fn report(&self) -> MembersReport {
        let state = self.state();
        let now = Instant::now();
        let mut total = state.past;
        let mut live: Vec<MemberReport> = Vec::with_capacity(state.live.len());
        for member in state.live.values() {
            let inner = member.state();
            total += inner.counters;
            live.push(MemberReport {
                id: member.id.clone(),
                incarnation: member.incarnation,
                software: member.software.clone(),
                episodes: member.episodes,
                first_episode: member.first_episode,
                joined: now.saturating_duration_since(member.joined),
                silent: now.saturating_duration_since(inner.heard),
                acknowledged: inner.window.acknowledged(),
                counters: inner.counters,
            });
        }
        live.sort_by(|a, b| a.id.cmp(&b.id));
        MembersReport { live, total }
    }

    /// Policy lags of the batches since the last call.
    pub fn take_lags(&self) -> Lags {
        let mut state = self.state();
        let mut lags = std::mem::take(&mut state.past_lags);
        for member in state.live.values() {
            lags.merge(std::mem::take(&mut member.state().lags));
        }
        lags
    }
}

fn departed<'a>(state: &'a State, id: &str, incarnation: u64) -> Option<&'a Arc<Member>> {
    state.departed.iter().rev().find(|m| *m.id == *id && m.incarnation == incarnation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applicant(id: &str, incarnation: u64, episodes: u32) -> Applicant {
        Applicant { id: id.into(), incarnation, software: "test".into(), episodes }
    }

    #[test]
    fn a_leaver_frees_its_place_among_the_episodes() {
        let members = Members::new();
        let places: Vec<u32> = [("a", 4), ("b", 8), ("c", 4)]
            .map(|(id, episodes)| members.join(applicant(id, 1, episodes), 10).unwrap().first_episode)
            .into();
        assert_eq!(places, [0, 4, 12]);
        members.leave(&members.find("b", 1).unwrap());
        assert_eq!(
            members.join(applicant("d", 1, 10), 10).unwrap().first_episode,
            16,
            "too many for the gap"
        );
        assert_eq!(members.join(applicant("e", 1, 5), 10).unwrap().first_episode, 4);
        assert_eq!(members.join(applicant("f", 1, 3), 10).unwrap().first_episode, 9);
        assert_eq!(members.episodes(), 26);
    }

    #[test]
    fn a_new_incarnation_replaces_the_old_one_and_a_repeated_join_changes_nothing() {
        let members = Members::new();
        let old = members.join(applicant("a", 1, 4), 1).unwrap();
        assert!(Arc::ptr_eq(&old, &members.join(applicant("a", 1, 4), 1).unwrap()));
        let new = members.join(applicant("a", 2, 4), 1).unwrap();
        assert_eq!((new.first_episode, new.generation), (0, 1));
        assert!(old.gone.is_cancelled() && !new.gone.is_cancelled());
        assert_eq!(members.find("a", 1).unwrap_err(), Some(Departure::Replaced));
        assert_eq!(members.find("a", 3).unwrap_err(), None);
        members.leave(&old);
        assert_eq!(members.live(), 1, "the old incarnation cannot take the new one along");
        assert!(members.join(applicant("b", 1, 4), 1).is_err(), "full");
    }

    #[test]
    fn only_the_silent_are_swept() {
        let members = Members::new();
        let lease = Duration::from_secs(8);
        let a = members.join(applicant("a", 1, 4), 10).unwrap();
        let start = a.state().heard;
        members.join(applicant("b", 1, 4), 10).unwrap().state().heard = start + Duration::from_secs(5);
        assert!(members.sweep(start + lease, lease).is_empty());
        let lapsed = members.sweep(start + Duration::from_secs(9), lease);
        assert_eq!(lapsed.iter().map(|m| &*m.id).collect::<Vec<_>>(), ["a"]);
        assert_eq!(members.find("a", 1).unwrap_err(), Some(Departure::Lapsed));
        assert!(members.find("b", 1).is_ok());
    }

    #[test]
    fn counts_and_lags_survive_departure_and_only_the_newest_stream_may_enter() {
        let members = Members::new();
        let member = members.join(applicant("a", 1, 4), 10).unwrap();
        let (old, _) = member.open_stream();
        let counts = Counters { batches: 1, transitions: 64, ..Counters::default() };
        member.enter(&old, counts, Some(3), false).unwrap();
        let (new, entered) = member.open_stream();
        assert_eq!(entered, 1);
        assert_eq!(member.enter(&old, counts, Some(3), false), Err(Superseded));
        member.enter(&new, counts, Some(7), true).unwrap();
        assert_eq!(member.acknowledged(), 0, "the first batch is still under way");
        member.settle(1);
        assert_eq!(member.acknowledged(), 2);
        members.leave(&member);
        assert_eq!(member.enter(&new, counts, None, false), Err(Superseded));
        assert_eq!(members.report().total, Counters { batches: 2, transitions: 128, ..Counters::default() });
        let lags = members.take_lags();
        assert_eq!((lags.batches, lags.min, lags.max, lags.mean()), (2, 3, 7, 5.0));
        assert_eq!(members.take_lags().batches, 0);
    }
}
