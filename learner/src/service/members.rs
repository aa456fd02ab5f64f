//! Members: the actors that joined, their leases, their places among the run's episodes and what they sent.

use super::member::{Applicant, Counters, Departure, Lags, Member, MemberReport};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Incarnations that are remembered after they left, so that one that comes back hears what was taken in of it.
const REMEMBERED: usize = 1024;

/// The live members and the totals over all that ever joined.
#[derive(Clone, Debug)]
pub struct MembersReport {
    /// Live actors in the order of their ids.
    pub live: Vec<MemberReport>,
    /// Sums over live and departed actors.
    pub total: Counters,
}

/// There is no room for another actor.
#[derive(Debug)]
pub(super) struct Full;

/// All actors of a run. The mutexes inside are held for moments, never across an await.
#[derive(Debug, Default)]
pub struct Members {
    state: Mutex<State>,
    over: CancellationToken,
}

/// An incarnation that an earlier process of this learner knew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Name of the actor.
    pub actor: Arc<str>,
    /// Its incarnation.
    pub incarnation: u64,
    /// Highest sequence number that was taken in for good.
    pub acknowledged: u64,
    /// What was taken in of it.
    pub counters: Counters,
}

#[derive(Debug, Default)]
struct State {
    live: HashMap<Arc<str>, Arc<Member>>,
    departed: VecDeque<Arc<Member>>,
    past: Counters,
    past_lags: Lags,
    /// Of earlier processes: what was acknowledged of each incarnation, by actor.
    recovered: HashMap<Arc<str>, HashMap<u64, u64>>,
}

impl State {
    fn depart(&mut self, id: &str, departure: Departure) -> Option<Arc<Member>> {
        let member = self.live.remove(id)?;
        let (counters, lags) = member.close(departure);
        self.past += counters;
        self.past_lags.merge(lags);
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

    /// Remembers what earlier processes of this learner knew: an actor that joins again hears what was taken in of it.
    pub fn recover(&self, recovered: impl IntoIterator<Item = Recovered>) {
        let mut state = self.state();
        for r in recovered {
            state.past += r.counters;
            state.recovered.entry(r.actor).or_default().insert(r.incarnation, r.acknowledged);
        }
    }

    /// Lets all actors go: the run is over, and whoever asks hears so.
    pub fn dismiss(&self) {
        self.over.cancel();
    }

    /// Cancelled when the run is over.
    pub fn over(&self) -> CancellationToken {
        self.over.clone()
    }

    /// What an earlier process acknowledged of an incarnation.
    pub(super) fn recovered(&self, id: &str, incarnation: u64) -> u64 {
        self.state().recovered.get(id).and_then(|of| of.get(&incarnation)).copied().unwrap_or(0)
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
        // Incarnations of earlier processes count too: the actor's random draws must not begin anew.
        let earlier = || state.recovered.get(applicant.id.as_str()).map_or(0, |of| of.len() as u64);
        let generation = before.map_or_else(earlier, |m| m.generation + 1);
        let first_episode = state.first_free(applicant.episodes);
        let member = Arc::new(Member::new(applicant, first_episode, generation));
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
        let lapsed: Vec<Arc<str>> =
            state.live.values().filter(|m| m.silent(now) > lease).map(|m| m.id.clone()).collect();
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
        let mut live: Vec<MemberReport> = state.live.values().map(|m| m.report(now)).collect();
        live.sort_by(|a, b| a.id.cmp(&b.id));
        let mut total = state.past;
        live.iter().for_each(|member| total += member.counters);
        MembersReport { live, total }
    }

    /// Policy lags of the batches since the last call.
    pub fn take_lags(&self) -> Lags {
        let mut state = self.state();
        let mut lags = std::mem::take(&mut state.past_lags);
        for member in state.live.values() {
            lags.merge(member.take_lags());
        }
        lags
    }
}

fn departed<'a>(state: &'a State, id: &str, incarnation: u64) -> Option<&'a Arc<Member>> {
    state.departed.iter().rev().find(|m| *m.id == *id && m.incarnation == incarnation)
}

#[cfg(test)]
mod tests {
    use super::{super::member::Superseded, *};

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
        let start = Instant::now() - a.silent(Instant::now());
        members.join(applicant("b", 1, 4), 10).unwrap().heard_at(start + Duration::from_secs(5));
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
        member.settle(1, Duration::from_micros(40));
        assert_eq!(member.acknowledged(), 2);
        members.leave(&member);
        assert_eq!(member.enter(&new, counts, None, false), Err(Superseded));
        let total = Counters { batches: 2, transitions: 128, held_us: 40, ..Counters::default() };
        assert_eq!(members.report().total, total);
        let lags = members.take_lags();
        assert_eq!((lags.batches, lags.min, lags.max, lags.mean()), (2, 3, 7, 5.0));
        assert_eq!(members.take_lags().batches, 0);
    }
}
