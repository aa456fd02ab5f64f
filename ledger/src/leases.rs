//! Leases: which evaluator measures which architecture, and what becomes of its answer.
//!
//! Plain state, moved by calls that carry the time. An architecture is one flight from the moment the search asks for it
//! until its answer is durable, however many evaluators come and go over it.

use srnas_oracle::costly::Answer;
use srnas_task::{Fidelity, Training};
use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

/// By what a training is known: the architecture's canonical key, and which shorter training it is.
pub type Key = (u64, Fidelity);

/// An architecture over which so many evaluators were lost is to blame itself.
const MOST_LOST: u32 = 3;

/// How long a measurement may take, and how often it is tried.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Who does not renew for so long loses its work.
    pub lease: Duration,
    /// Longest time of a measurement, from when it was first taken.
    pub timeout: Option<Duration>,
    /// How often an infeasible measurement is tried again.
    pub retries: u32,
}

/// Who measures: a name, and which process of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub id: String,
    /// Its process.
    pub incarnation: u64,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It counts once it is durable.
    Counts {
        /// Although its lease had run out.
        late: bool,
    },
    /// It counted before, and is durable.
    Counted {
        /// Although its lease had run out.
        late: bool,
    },
    /// It is not needed.
    NotNeeded,
    /// It was infeasible, and is tried again.
    TriedAgain,
}

/// Work as it is given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The training.
    pub training: Training,
    /// Whether it was given out before.
    pub again: bool,
}

/// Something to be said in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incident {
    /// A lease ran out.
    Lost {
        /// Whose.
        id: String,
        /// Over what.
        training: Training,
    },
    /// A measurement is given up: infeasible for this reason.
    GivenUp {
        /// Which.
        training: Training,
        /// Why.
        reason: String,
    },
}

#[derive(Debug)]
struct Flight {
    training: Training,
    lease: Option<Lease>,
    /// Whether the search waits for it; an evaluator of before a restart may have brought it up by itself.
    wanted: bool,
    /// When it was first taken.
    began: Option<Instant>,
    lost: u32,
    retried: u32,
    answer: Option<(Answer, Credit)>,
}

#[derive(Debug)]
struct Lease {
    holder: Holder,
    until: Instant,
}

/// Whose answer counted.
#[derive(Clone, Debug)]
struct Credit {
    /// Nobody's where the search gave up.
    id: Option<String>,
    late: bool,
}

/// The flights of a search, and who has answered so far.
#[derive(Debug)]
pub struct Leases {
    terms: Terms,
    flights: HashMap<Key, Flight>,
    /// Flights without a lease, the oldest first; what is gone from `flights` is skipped.
    waiting: VecDeque<Key>,
    /// What evaluators brought up by themselves and the search has not asked for yet.
    brought: VecDeque<Key>,
    durable: HashMap<Key, Credit>,
    incidents: Vec<Incident>,
}

impl Leases {
    /// Nothing in flight, nothing in the ledger.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            flights: HashMap::new(),
            waiting: VecDeque::new(),
            brought: VecDeque::new(),
            durable: HashMap::new(),
            incidents: Vec::new(),
        }
    }

    /// How much waits for an evaluator.
    pub fn waiting(&self) -> usize {
        self.waiting.iter().filter(|key| self.waits(**key)).count()
    }

    /// What an evaluator measures or has answered without having been asked, if there is such a thing; each once.
    pub fn brought(&mut self) -> Option<Training> {
        while let Some(key) = self.brought.pop_front() {
            if let Some(flight) = self.flights.get(&key).filter(|flight| !flight.wanted) {
                return Some(flight.training.clone());
            }
        }
        None
    }

    /// How much [`Self::brought`] has.
    pub fn unasked(&self) -> usize {
        let unasked = |key: &&Key| self.flights.get(*key).is_some_and(|flight| !flight.wanted);
        self.brought.iter().filter(unasked).count()
    }

    /// The search wants an architecture measured.
    pub fn want(&mut self, key: Key, training: &Training) {
        match self.flights.get_mut(&key) {
            Some(flight) => flight.wanted = true,
            None => {
                self.flights.insert(key, Flight::new(training, true));
                self.waiting.push_back(key);
            }
        }
    }

    /// The answer to what the search wants, when there is one.
    pub fn answer(&self, key: Key) -> Option<Answer> {
        self.flights.get(&key)?.answer.as_ref().map(|(answer, _)| answer.clone())
    }

    /// Whose answer it is, until it is in the ledger; nobody's where the search gave up.
    pub fn answered_by(&self, key: Key) -> Option<&str> {
        self.flights.get(&key)?.answer.as_ref()?.1.id.as_deref()
    }

    /// Whether it was asked for, or somebody measures it, and its answer is not in the ledger yet.
    pub fn is_in_flight(&self, key: Key) -> bool {
        self.flights.contains_key(&key)
    }

    /// What somebody measures now.
    pub fn held_by(&self, id: &str) -> impl Iterator<Item = &Training> {
        let held = move |flight: &&Flight| flight.lease.as_ref().is_some_and(|lease| lease.holder.id == id);
        self.flights
            .values()
            .filter(move |flight| flight.answer.is_none() && held(flight))
            .map(|flight| &flight.training)
    }

    /// The search does not wait any more; what is in flight stays with whoever measures it.
    pub fn forsake(&mut self, key: Key) {
        if let Some(flight) = self.flights.get_mut(&key) {
            flight.wanted = false;
        }
    }

    /// The answer is in the ledger, of this flight or of an earlier time: the flight is over.
    pub fn keep(&mut self, key: Key) {
        let flight = self.flights.remove(&key);
        let credit = flight.and_then(|flight| flight.answer).map(|(_, credit)| credit);
        self.durable.insert(key, credit.unwrap_or(Credit { id: None, late: false }));
    }

    /// Gives an evaluator something to do: first what is leased to its name and it does not hold, then what waits longest.
    pub fn take(&mut self, holder: &Holder, held: &[Key], now: Instant) -> Option<Given> {
        let own = |(key, flight): (&Key, &Flight)| {
            let lease = flight.lease.as_ref().filter(|lease| lease.holder.id == holder.id)?;
            (flight.answer.is_none() && !held.contains(key)).then_some((lease.until, *key))
        };
        while let Some((_, key)) = self.flights.iter().filter_map(own).min() {
            self.lose(key);
            if self.waits(key) {
                return Some(self.lease(key, holder, now));
            }
        }
        while let Some(key) = self.waiting.pop_front() {
            if self.waits(key) {
                return Some(self.lease(key, holder, now));
            }
        }
        None
    }

    /// Keeps a lease. An evaluator that the search does not know of brings its work up: it is the only one who measures
    /// that. Whether it is wanted.
    pub fn renew(&mut self, key: Key, training: &Training, holder: &Holder, now: Instant) -> bool {
        if self.durable.contains_key(&key) {
            return false;
        }
        let until = now + self.terms.lease;
        match self.flights.get_mut(&key) {
            None => {
                let mut flight = Flight::new(training, false);
                flight.lease = Some(Lease { holder: holder.clone(), until });
                flight.began = Some(now);
                self.flights.insert(key, flight);
                self.brought.push_back(key);
                true
            }
            Some(flight) if flight.answer.is_some() => false,
            Some(Flight { lease: Some(lease), .. }) if lease.holder != *holder => false,
            Some(flight) => {
                flight.began.get_or_insert(now);
                flight.lease = Some(Lease { holder: holder.clone(), until });
                true
            }
        }
    }

    /// Takes an answer in.
    pub fn answered(&mut self, key: Key, training: &Training, holder: &Holder, answer: Answer) -> Use {
        let own = |credit: &Credit| credit.id.as_ref() == Some(&holder.id);
        if let Some(credit) = self.durable.get(&key) {
            return if own(credit) { Use::Counted { late: credit.late } } else { Use::NotNeeded };
        }
        let retries = self.terms.retries;
        let flight = match self.flights.entry(key) {
            std::collections::hash_map::Entry::Occupied(flight) => flight.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                self.brought.push_back(key);
                place.insert(Flight::new(training, false))
            }
        };
        if let Some((_, credit)) = &flight.answer {
            return if own(credit) { Use::Counts { late: credit.late } } else { Use::NotNeeded };
        }
        let late = flight.lease.as_ref().is_none_or(|lease| lease.holder != *holder);
        if matches!(answer, Answer::Infeasible(_)) && flight.retried < retries {
            // Whoever else measures it now is the next try.
            if !late {
                flight.retried += 1;
                flight.lease = None;
                flight.began = None;
                self.waiting.push_back(key);
            }
            return Use::TriedAgain;
        }
        flight.lease = None;
        flight.answer = Some((answer, Credit { id: Some(holder.id.clone()), late }));
        Use::Counts { late }
    }

    /// Ends what is over at `now`, leases and measurements that took too long, and tells what happened since it was last
    /// asked.
    pub fn sweep(&mut self, now: Instant) -> Vec<Incident> {
        let unanswered = self.flights.iter().filter(|(_, flight)| flight.answer.is_none());
        let (mut late, mut overdue) = (Vec::new(), Vec::new());
        for (&key, flight) in unanswered {
            let took = flight.began.map(|began| now.saturating_duration_since(began));
            if self.terms.timeout.is_some_and(|most| took.is_some_and(|took| took > most)) {
                overdue.push(key);
            } else if flight.lease.as_ref().is_some_and(|lease| lease.until < now) {
                late.push(key);
            }
        }
        for key in overdue {
            let most = humantime::format_duration(self.terms.timeout.unwrap_or_default());
            self.give_up(key, format!("it took longer than {most}"));
        }
        for key in late {
            self.lose(key);
        }
        std::mem::take(&mut self.incidents)
    }

    fn waits(&self, key: Key) -> bool {
        self.flights.get(&key).is_some_and(|flight| flight.lease.is_none() && flight.answer.is_none())
    }

    fn lease(&mut self, key: Key, holder: &Holder, now: Instant) -> Given {
        let until = now + self.terms.lease;
        self.waiting.retain(|waiting| *waiting != key);
        let flight = self.flights.get_mut(&key).expect("what is given out is in flight");
        let again = flight.began.is_some() || flight.retried > 0;
        flight.began.get_or_insert(now);
        flight.lease = Some(Lease { holder: holder.clone(), until });
        Given { training: flight.training.clone(), again }
    }

    /// An evaluator is lost over a flight: it waits for another, or has cost too many.
    fn lose(&mut self, key: Key) {
        let Some(flight) = self.flights.get_mut(&key) else { return };
        if let Some(lease) = flight.lease.take() {
            self.incidents.push(Incident::Lost { id: lease.holder.id, training: flight.training.clone() });
        }
        flight.lost += 1;
        if flight.lost >= MOST_LOST {
            self.give_up(key, format!("{MOST_LOST} evaluators in turn were lost while they measured it"));
        } else if flight.wanted {
            self.waiting.push_back(key);
        } else {
            // Nobody asked for it and nobody measures it.
            self.flights.remove(&key);
        }
    }

    fn give_up(&mut self, key: Key, reason: String) {
        let Some(flight) = self.flights.get_mut(&key) else { return };
        flight.lease = None;
        flight.answer = Some((Answer::Infeasible(reason.clone()), Credit { id: None, late: false }));
        self.incidents.push(Incident::GivenUp { training: flight.training.clone(), reason });
    }
}

impl Flight {
    fn new(training: &Training, wanted: bool) -> Self {
        Self {
            training: training.clone(),
            lease: None,
            wanted,
            began: None,
            lost: 0,
            retried: 0,
            answer: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);

    fn leases(retries: u32, timeout: Option<Duration>) -> Leases {
        let mut leases = Leases::new(Terms { lease: LEASE, timeout, retries });
        leases.keep(k(99));
        leases
    }

    fn holder(id: &str, incarnation: u64) -> Holder {
        Holder { id: id.into(), incarnation }
    }

    fn metrics(value: f64) -> Answer {
        Answer::Metrics([("loss".to_string(), value)].into())
    }

    fn given(choices: &[u8], again: bool) -> Option<Given> {
        Some(Given { training: Training::full(choices.into()), again })
    }

    fn k(key: u64) -> Key {
        (key, Fidelity::Full)
    }

    fn t(choice: u8) -> Training {
        Training::full(vec![choice])
    }

    #[test]
    fn an_architecture_is_one_flight_and_its_answer_counts_once() {
        let (mut leases, now) = (leases(0, None), Instant::now());
        let (a, b) = (holder("a", 1), holder("b", 1));
        leases.want(k(7), &t(7));
        leases.want(k(7), &t(7));
        assert_eq!(leases.waiting(), 1);
        assert_eq!(leases.take(&a, &[], now), given(&[7], false));
        assert_eq!((leases.take(&b, &[], now), leases.waiting()), (None, 0));
        // Held by who has it, so not given to it again.
        assert_eq!(leases.take(&a, &[k(7)], now), None);
        assert_eq!(leases.answered_by(k(7)), None);
        assert_eq!(leases.answered(k(7), &t(7), &a, metrics(1.0)), Use::Counts { late: false });
        assert_eq!(leases.answered_by(k(7)), Some(a.id.as_str()));
        assert_eq!(leases.answered(k(7), &t(7), &a, metrics(2.0)), Use::Counts { late: false }, "repeated");
        assert_eq!(leases.answered(k(7), &t(7), &b, metrics(3.0)), Use::NotNeeded);
        assert_eq!(leases.answer(k(7)), Some(metrics(1.0)));
        leases.keep(k(7));
        assert_eq!(leases.answered(k(7), &t(7), &a, metrics(2.0)), Use::Counted { late: false });
        assert_eq!(leases.answered(k(7), &t(7), &b, metrics(3.0)), Use::NotNeeded);
        assert_eq!(
            leases.answered(k(99), &t(99), &a, metrics(3.0)),
            Use::NotNeeded,
            "in the ledger from the start"
        );
        assert!(!leases.renew(k(7), &t(7), &a, now) && !leases.renew(k(99), &t(99), &a, now));
    }

    #[test]
    fn what_a_lost_evaluator_had_goes_to_another_and_a_late_answer_counts() {
        let (mut leases, now) = (leases(0, None), Instant::now());
        let (a, b) = (holder("a", 1), holder("b", 1));
        leases.want(k(7), &t(7));
        leases.take(&a, &[], now).unwrap();
        assert!(leases.renew(k(7), &t(7), &a, now + 20 * SECOND));
        assert_eq!(leases.sweep(now + 40 * SECOND), []);
        let lost = Incident::Lost { id: "a".into(), training: t(7) };
        assert_eq!(leases.sweep(now + 51 * SECOND), [lost]);
        // It may still go on while nobody else has it.
        assert!(leases.renew(k(7), &t(7), &a, now + 52 * SECOND));
        assert_eq!(leases.take(&b, &[], now + 53 * SECOND), None);
        leases.sweep(now + 83 * SECOND);
        assert_eq!(leases.take(&b, &[], now + 84 * SECOND), given(&[7], true));
        assert!(!leases.renew(k(7), &t(7), &a, now + 85 * SECOND));
        assert_eq!(leases.answered(k(7), &t(7), &a, metrics(1.0)), Use::Counts { late: true });
        assert!(!leases.renew(k(7), &t(7), &b, now + 86 * SECOND));
        leases.keep(k(7));
        assert_eq!(leases.answered(k(7), &t(7), &b, metrics(2.0)), Use::NotNeeded);
        assert_eq!(leases.answered(k(7), &t(7), &a, metrics(1.0)), Use::Counted { late: true });
    }

    #[test]
    fn an_evaluator_that_comes_again_gets_its_own_back_first_until_it_has_died_too_often_over_it() {
        let (mut leases, now) = (leases(0, None), Instant::now());
        leases.want(k(7), &t(7));
        leases.want(k(8), &t(8));
        assert_eq!(leases.take(&holder("a", 1), &[], now), given(&[7], false));
        assert_eq!(leases.take(&holder("a", 2), &[], now), given(&[7], true));
        assert_eq!(leases.take(&holder("a", 3), &[], now), given(&[7], true));
        // Three were lost over it.
        assert_eq!(leases.take(&holder("a", 4), &[], now), given(&[8], false));
        let Some(Answer::Infeasible(reason)) = leases.answer(k(7)) else { panic!("no answer") };
        assert!(reason.contains("3 evaluators"), "{reason}");
        let incidents = leases.sweep(now);
        assert_eq!(incidents.len(), 4, "{incidents:?}");
    }

    #[test]
    fn infeasible_is_tried_again_where_asked_and_too_long_is_infeasible() {
        let (mut leases, now) = (leases(1, Some(60 * SECOND)), Instant::now());
        let (a, b) = (holder("a", 1), holder("b", 1));
        let no = || Answer::Infeasible("no memory".into());
        leases.want(k(7), &t(7));
        leases.take(&a, &[], now).unwrap();
        assert_eq!(leases.answered(k(7), &t(7), &a, no()), Use::TriedAgain);
        assert_eq!(leases.take(&b, &[], now), given(&[7], true));
        assert_eq!(leases.answered(k(7), &t(7), &b, no()), Use::Counts { late: false });
        leases.want(k(8), &t(8));
        leases.take(&a, &[], now).unwrap();
        for seconds in [20, 40, 60] {
            assert!(leases.renew(k(8), &t(8), &a, now + seconds * SECOND));
            assert_eq!(leases.sweep(now + seconds * SECOND), []);
        }
        assert_eq!(leases.sweep(now + 61 * SECOND).len(), 1);
        assert_eq!(leases.answer(k(8)), Some(Answer::Infeasible("it took longer than 1m".into())));
        assert!(!leases.renew(k(8), &t(8), &a, now + 62 * SECOND));
    }

    #[test]
    fn what_evaluators_bring_from_before_a_restart_is_taken_up() {
        let (mut leases, now) = (leases(0, None), Instant::now());
        let (a, b) = (holder("a", 1), holder("b", 1));
        assert!(leases.renew(k(5), &t(5), &a, now), "being measured");
        assert_eq!(
            leases.answered(k(6), &t(6), &b, metrics(6.0)),
            Use::Counts { late: true },
            "measured already"
        );
        assert_eq!(leases.unasked(), 2);
        assert_eq!(leases.brought(), Some(t(5)));
        leases.want(k(5), &t(5));
        // The search has come upon the other one by itself: it is not brought any more.
        leases.want(k(6), &t(6));
        assert_eq!((leases.brought(), leases.unasked(), leases.waiting()), (None, 0, 0));
        assert_eq!(leases.answer(k(6)), Some(metrics(6.0)));
        assert_eq!(leases.answered(k(5), &t(5), &a, metrics(5.0)), Use::Counts { late: false });
        // Who brings something up and is lost takes it along.
        assert!(leases.renew(k(4), &t(4), &a, now));
        leases.sweep(now + 31 * SECOND);
        assert_eq!((leases.brought(), leases.take(&b, &[], now + 32 * SECOND)), (None, None));
    }

    #[test]
    fn a_shorter_training_is_another_flight() {
        let (mut leases, now) = (leases(0, None), Instant::now());
        let a = holder("a", 1);
        let short = Training::shorter(vec![7], 0);
        leases.want(k(7), &t(7));
        leases.want((7, Fidelity::Shorter(0)), &short);
        assert_eq!(leases.take(&a, &[], now), given(&[7], false));
        assert_eq!(leases.take(&a, &[k(7)], now), Some(Given { training: short.clone(), again: false }));
        assert_eq!(
            leases.answered((7, Fidelity::Shorter(0)), &short, &a, metrics(1.0)),
            Use::Counts { late: false }
        );
        assert_eq!(
            (leases.answer(k(7)), leases.answer((7, Fidelity::Shorter(0)))),
            (None, Some(metrics(1.0)))
        );
        leases.keep((7, Fidelity::Shorter(0)));
        assert!(
            leases.renew(k(7), &t(7), &a, now) && !leases.renew((7, Fidelity::Shorter(0)), &short, &a, now)
        );
    }
}
