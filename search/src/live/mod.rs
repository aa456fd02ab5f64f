//! A search whose measurements cost seconds to days: several at a time, none twice, and none lost.
//!
//! Whenever a slot is free the method is asked what to measure next: any of [`METHODS`](crate::METHODS), or, where none is named,
//! what a [`Guide`] knows. What it asks for is paid for once; what was measured before is told again and costs nothing. A method
//! begins when the first full training has a value, and is told what was measured before then, and in earlier calls, in the
//! order in which it ended; what has no value counts as the worst so far.

mod added;
mod ask_tell;
mod asking;
mod comparing;
mod ends;
mod error;
mod part;
mod records;
#[cfg(test)]
mod sharing_tests;
mod start;
#[cfg(test)]
mod tests;

pub use added::{Inbox, Sharing};
pub use ask_tell::{AskTell, Asking, Told};
pub use asking::check_method;
pub use comparing::{LiveComparison, LiveComparisonError, LiveOutcome};
pub use ends::{Ends, Enough};
pub use error::LiveError;
pub use part::{LivePart, PartError};
pub use start::{First, StartError, read_first};

use crate::{
    goal::{Goal, Values},
    guide::Guide,
    guided::Guided,
    importance::Importance,
    method::{Method, MethodError, MethodSpec, Past, Whole},
    search::Next,
};
use srnas_environment::compress::Students;
use srnas_oracle::costly::{Answer, CostlyError, CostlyOracle};
use srnas_space::SearchSpace;
use srnas_task::{Count, Fidelities, Fidelity, Training};
use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// A slot looks so often whether the search is over while its oracle can begin nothing.
const READY: Duration = Duration::from_millis(200);
/// And so often while it waits for others.
const PULSE: Duration = Duration::from_millis(500);

/// An architecture that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The architecture, and how long it was trained.
    pub training: Training,
    /// By what the architecture is paid for.
    pub key: u64,
    /// What was paid, in full trainings; nothing where it was measured elsewhere.
    pub cost: f64,
    /// What the oracle said.
    pub answer: Answer,
}

impl Measured {
    /// Whether it was measured elsewhere: it is known, and nothing was paid for it.
    pub fn is_elsewhere(&self) -> bool {
        self.cost == 0.0
    }
}

/// Where measurements are kept before they count.
pub trait Journal: Send {
    /// Keeps one; it is durable when this returns. `values` are how it stands to what is searched for, or why there are none.
    ///
    /// # Errors
    /// Says why it cannot be kept.
    fn keep(&mut self, measured: &Measured, values: &Result<Values, String>) -> Result<(), String>;
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A measurement was begun.
    Began {
        /// What is measured.
        training: &'a Training,
        /// Running now, this one included.
        running: usize,
    },
    /// A measurement was given up: it says nothing, and costs nothing.
    GaveUp {
        /// What was measured.
        training: &'a Training,
    },
    /// Nothing more is begun, although the budget would pay for it.
    Enough {
        /// Why.
        why: &'a Enough,
        /// Running still; they are waited for, or given up when the grace is over.
        running: usize,
    },
    /// A program says that it went on after a training that it cannot have gone on after: the whole is paid.
    NotResumed {
        /// How long that training was, in the unit of the fidelities.
        said: f64,
    },
    /// A measurement is kept.
    Ended {
        /// The measurement.
        measured: &'a Measured,
        /// Seconds it took.
        seconds: f64,
        /// Measurements kept and paid for, those of earlier calls among them.
        done: usize,
        /// What all of them cost, in full trainings.
        spent: f64,
        /// Running still.
        running: usize,
    },
}

/// A search by an oracle.
pub struct LiveSearch<'a> {
    /// Who measures.
    pub oracle: &'a dyn CostlyOracle,
    /// What is searched for.
    pub goal: Goal,
    /// By what, if no method is named.
    pub guide: Guide,
    /// By which method, if one is.
    pub method: Option<MethodSpec>,
    /// What that method knows of earlier tasks, if it learns from some.
    pub past: Past,
    /// What a teacher may become, where that is known of the space: what methods that compress networks see.
    pub students: Option<Students>,
    /// Full trainings to pay for in all, or as many shorter ones as cost the same; each is paid for once.
    pub budget: usize,
    /// Measurements at a time.
    pub parallel: usize,
    /// What is measured first, in this order, where it is not known yet.
    pub first: Vec<Training>,
    /// First points that come while it runs.
    pub added: Inbox,
    /// Who searches for the same elsewhere, where somebody does.
    pub sharing: Option<&'a dyn Sharing>,
    /// What ends it before its budget does.
    pub ends: Ends,
    /// Seed of everything random. With one measurement at a time it determines the whole search.
    pub seed: u64,
}

struct State<'j> {
    search: AskTell,
    journal: &'j mut dyn Journal,
    /// There is nothing left to measure, or nothing that what is left would pay for.
    exhausted: bool,
    /// Measurements of this call without a value.
    failures: usize,
    failed: Option<LiveError>,
    began: Instant,
}

impl State<'_> {
    /// The last that ended.
    fn ended(&self, seconds: f64) -> Event<'_> {
        let known = self.search.known();
        Event::Ended {
            measured: &known[known.len() - 1],
            seconds,
            done: self.search.paid_for(),
            spent: self.search.spent(),
            running: self.search.running(),
        }
    }
}

/// A slot that works, until this is dropped: also where its thread panics.
struct Busy<'s, 'j> {
    state: &'s Mutex<State<'j>>,
    changed: &'s Condvar,
    slots: &'s AtomicUsize,
}

impl<'s, 'j> Busy<'s, 'j> {
    fn new(state: &'s Mutex<State<'j>>, changed: &'s Condvar, slots: &'s AtomicUsize) -> Self {
        slots.fetch_add(1, Ordering::Relaxed);
        Self { state, changed, slots }
    }
}

impl Drop for Busy<'_, '_> {
    fn drop(&mut self) {
        // Under the lock: who watches looks, and then waits, under it too.
        let _now = lock(self.state);
        self.slots.fetch_sub(1, Ordering::Relaxed);
        self.changed.notify_all();
    }
}

/// What ends a search: whoever called asks, or the search itself has enough, of which whoever called does not hear by the same flag: there
/// is more to do afterwards.
struct Halt<'a> {
    asked: &'a AtomicBool,
    own: AtomicBool,
}

impl Halt<'_> {
    fn is_set(&self) -> bool {
        if self.asked.load(Ordering::Relaxed) {
            self.set();
        }
        self.own.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.own.store(true, Ordering::Relaxed);
    }
}

impl LiveSearch<'_> {
    /// Measures until the budget is spent, nothing is left, or it is enough ([`Ends`]; `tell` hears of it); `known` was measured
    /// before and counts. Returns all, in the order in which they ended.
    ///
    /// # Errors
    /// See [`LiveError`]. Whatever happens, the journal has every measurement that ended.
    pub fn run(
        &self,
        known: Vec<Measured>,
        journal: &mut dyn Journal,
        stop: &AtomicBool,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<Vec<Measured>, LiveError> {
        let mut search = AskTell::new(self.asking())?;
        search.want(self.oracle.interrupted().into_iter().chain(self.first.iter().cloned()));
        // Of what was measured elsewhere nothing is here.
        let here = known.iter().filter(|measured| !measured.is_elsewhere());
        here.for_each(|measured| self.oracle.kept(&measured.training));
        search.know(known)?;
        let (began, failures, failed) = (Instant::now(), 0, None);
        let state = State { search, journal, exhausted: false, failures, failed, began };
        let state = Mutex::new(state);
        let (changed, slots) = (Condvar::new(), AtomicUsize::new(0));
        let halt = Halt { asked: stop, own: AtomicBool::new(false) };
        std::thread::scope(|scope| {
            let (state, changed, slots, halt) = (&state, &changed, &slots, &halt);
            for slot in 0..self.parallel.max(1) {
                let busy = Busy::new(state, changed, slots);
                let work = move || {
                    // All of it is moved, not the references in it.
                    let busy = busy;
                    if let Err(error) = self.work(busy.state, busy.changed, halt, tell) {
                        lock(busy.state).failed.get_or_insert(error);
                    }
                };
                let thread = std::thread::Builder::new().name(format!("measure-{slot}"));
                if let Err(error) = thread.spawn_scoped(scope, work) {
                    lock(state).failed.get_or_insert(LiveError::Oracle(format!("no thread: {error}")));
                }
            }
            self.watch(state, changed, slots, halt, tell);
        });
        let state = state.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (done, spent) = (state.search.paid_for(), state.search.spent());
        let enough = state.search.enough().cloned().filter(|_| !state.search.is_spent());
        match (state.failed, enough) {
            (Some(error), _) => Err(error),
            (None, Some(enough)) => {
                if !enough.is_a_pause() {
                    self.oracle.finish();
                }
                Ok(state.search.into_known())
            }
            (None, None) if stop.load(Ordering::Relaxed) && !state.search.is_spent() => {
                Err(LiveError::Stopped { done, spent, budget: self.budget })
            }
            (None, None) => {
                self.oracle.finish();
                Ok(state.search.into_known())
            }
        }
    }

    /// The number of architectures of the space, where `known` has a full training of each.
    pub fn used_up(&self, known: &[Measured]) -> Option<usize> {
        let distinct = Whole::new(self.oracle.space(), Count::Classes)?.distinct();
        used_up(Some(distinct), known).then_some(distinct)
    }

    /// What it asks by; who measures is left out.
    fn asking(&self) -> Asking {
        Asking {
            space: self.oracle.space().clone(),
            fidelities: self.oracle.fidelities().clone(),
            resumes: self.oracle.resumes(),
            goal: self.goal.clone(),
            guide: self.guide.clone(),
            method: self.method.clone(),
            past: self.past.clone(),
            students: self.students.clone(),
            budget: self.budget,
            ends: self.ends.clone(),
            seed: self.seed,
        }
    }

    /// One slot: proposes, measures and keeps, until there is nothing left to do.
    fn work(
        &self,
        state: &Mutex<State>,
        changed: &Condvar,
        halt: &Halt,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<(), LiveError> {
        loop {
            while !self.oracle.ready(READY) {
                if self.is_over(&mut lock(state), halt, tell) {
                    return Ok(());
                }
            }
            let Some(training) = self.propose(state, changed, halt, tell)? else { return Ok(()) };
            let began = Instant::now();
            let answer = self.oracle.measure(&training, &halt.own);
            let now = &mut *lock(state);
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    now.search.give_up(&training);
                    self.sharing.iter().for_each(|sharing| sharing.release(&training));
                    tell(Event::GaveUp { training: &training });
                    return match error {
                        CostlyError::Stopped => Ok(()),
                        CostlyError::Failed(reason) => Err(LiveError::Oracle(reason)),
                    };
                }
            };
            let told = now.search.tell(training.clone(), answer, now.journal);
            match &told {
                // Whatever else is measured cannot be kept either, and evaluators may answer late or never.
                Err(LiveError::Journal(_)) => halt.set(),
                _ => self.oracle.kept(&training),
            }
            let Told { values, not_resumed } = told?;
            if let Some(said) = not_resumed {
                tell(Event::NotResumed { said });
            }
            if let Err(reason) = &values {
                now.failures += 1;
                if self.ends.failures.is_some_and(|most| now.failures >= most) {
                    let (failures, reason) = (now.failures, reason.clone());
                    now.failed.get_or_insert(LiveError::Failures { failures, reason });
                    // What is running would not be waited for otherwise.
                    halt.set();
                }
            }
            tell(now.ended(began.elapsed().as_secs_f64()));
            self.is_enough(now, tell);
            changed.notify_all();
        }
    }

    /// What a slot measures next, begun; nothing where there is nothing left to do.
    fn propose(
        &self,
        state: &Mutex<State>,
        changed: &Condvar,
        halt: &Halt,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<Option<Training>, LiveError> {
        let mut now = lock(state);
        loop {
            if self.is_over(&mut now, halt, tell) {
                return Ok(None);
            }
            match now.search.next(|| self.oracle.brought())? {
                Next::Begin(next) => {
                    // Who is asked may be far away: nobody here waits for the answer.
                    drop(now);
                    let ours = self.sharing.is_none_or(|sharing| sharing.claim(&next));
                    now = lock(state);
                    if ours {
                        tell(Event::Began { training: &next, running: now.search.running() });
                        return Ok(Some(next));
                    }
                    now.search.leave_elsewhere(&next);
                    continue;
                }
                Next::Over => {
                    now.exhausted = true;
                    return Ok(None);
                }
                Next::Wait => {}
            }
            // What is running may yet end without an answer, or cost less than was set aside for it.
            now = wait(changed, now, PULSE);
        }
    }

    /// Takes in what is added and looks whether it is enough while slots are busy, and stops what is running when its grace is over; until every slot has ended.
    fn watch(
        &self,
        state: &Mutex<State>,
        changed: &Condvar,
        slots: &AtomicUsize,
        halt: &Halt,
        tell: &(dyn Fn(Event) + Sync),
    ) {
        let mut now = lock(state);
        while slots.load(Ordering::Relaxed) > 0 {
            // What is being measured looks at its own flag alone.
            halt.is_set();
            if let Err(error) = self.take_added(&mut now, tell) {
                now.failed.get_or_insert(error);
                halt.set();
            }
            let elapsed = now.began.elapsed();
            let gives_up = self.ends.gives_up_after();
            if self.is_enough(&mut now, tell) && gives_up.is_some_and(|after| elapsed >= after) {
                halt.set();
            }
            let next = [self.ends.time, gives_up].into_iter().flatten();
            let next = next.filter_map(|at| at.checked_sub(elapsed)).filter(|left| !left.is_zero()).min();
            now = wait(changed, now, next.map_or(PULSE, |left| left.min(PULSE)));
        }
    }

    /// Whether a slot has nothing more to begin.
    fn is_over(&self, now: &mut State, halt: &Halt, tell: &(dyn Fn(Event) + Sync)) -> bool {
        let ended = now.exhausted || now.failed.is_some() || now.search.is_spent();
        // An oracle that waits for somebody would wait in vain.
        ended || halt.is_set() || now.search.is_used_up() || self.is_enough(now, tell)
    }

    /// Whether it is enough; that is told once.
    fn is_enough(&self, now: &mut State, tell: &(dyn Fn(Event) + Sync)) -> bool {
        let running = now.search.running();
        if let Some(why) = now.search.look() {
            tell(Event::Enough { why, running });
        }
        now.search.enough().is_some()
    }

    /// Which decisions mattered for the first objective in what was measured.
    ///
    /// # Errors
    /// When there is no posterior of it.
    pub fn importance(&self, known: &[Measured]) -> Result<Importance, MethodError> {
        let guided = self.asking().guided(Whole::new(self.oracle.space(), Count::Classes).map(Arc::new));
        importance_by(guided, &self.goal, known)
    }
}

/// Which decisions mattered for the first objective in what was measured, where nothing is known of earlier tasks.
///
/// # Errors
/// When there is no posterior of it.
pub fn importance(
    space: &Arc<SearchSpace>,
    fidelities: &Fidelities,
    goal: &Goal,
    known: &[Measured],
) -> Result<Importance, MethodError> {
    let whole = Whole::new(space, Count::Classes).map(Arc::new);
    let costs = fidelities.costs().collect();
    importance_by(Guided::new(space, &whole, Guide::default(), costs, known.len(), 1), goal, known)
}

fn importance_by(mut guided: Guided, goal: &Goal, known: &[Measured]) -> Result<Importance, MethodError> {
    for measured in known {
        match (goal.first().value(&measured.answer), measured.training.fidelity) {
            (Ok(value), Fidelity::Full) => guided.tell(&measured.training.choices, &[value as f32])?,
            (Ok(value), Fidelity::Shorter(_)) => guided.tell_shorter(&measured.training, value as f32)?,
            (Err(_), _) => guided.tell_infeasible(&measured.training, None)?,
        }
    }
    guided.importance()
}

/// Whether each of a space's `distinct` architectures, where they can be counted, has had a full training.
fn used_up(distinct: Option<usize>, known: &[Measured]) -> bool {
    let full = known.iter().filter(|measured| measured.training.fidelity.is_full()).count();
    distinct.is_some_and(|distinct| full >= distinct)
}

/// How many were paid for.
fn paid_for(known: &[Measured]) -> usize {
    known.iter().filter(|measured| !measured.is_elsewhere()).count()
}

/// Waits for a change, and no longer than `most`.
fn wait<'s, 'j>(
    changed: &Condvar,
    now: MutexGuard<'s, State<'j>>,
    most: Duration,
) -> MutexGuard<'s, State<'j>> {
    changed.wait_timeout(now, most).unwrap_or_else(|poisoned| poisoned.into_inner()).0
}

fn lock<'s, 'j>(state: &'s Mutex<State<'j>>) -> MutexGuard<'s, State<'j>> {
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
