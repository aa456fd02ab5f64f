//! A search that shares its measurements with others: what these measured comes in while it runs, and what it measures goes out.

use super::{Usage, config::LiveConfig};
use srnas_basics::machine::host_name;
use srnas_ledger::{
    AnswerRecord, LedgerError, RunRecord,
    shared::{Address, Claim, Flight, News, SharedLedger, Subject},
};
use srnas_oracle::costly::CostlyOracle;
use srnas_search::{First, Goal, Inbox, Measured, Sharing};
use srnas_space::SearchSpace;
use srnas_task::{Fidelities, Training};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs,
    path::Path,
    str::FromStr,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tracing::{info, warn};

/// Others are looked for so often.
const PULSE: Duration = Duration::from_secs(1);
/// Who was not heard of for so long loses what it has claimed.
const LEASE: Duration = Duration::from_secs(60);
/// So long a slot waits for a server that does not answer; then it measures, whoever else does.
const PATIENCE: Duration = Duration::from_secs(30);
/// And so long a search that is over, for what is not written yet.
const LAST_PATIENCE: Duration = Duration::from_secs(20);

/// Where measurements are shared.
#[derive(Clone, Debug, PartialEq)]
pub enum SharedPlace {
    At(Box<Address>),
    /// Nowhere, not any more.
    Nowhere,
}

impl SharedPlace {
    /// The address, if there is one.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::At(address) => Some(address),
            Self::Nowhere => None,
        }
    }
}

impl FromStr for SharedPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::Nowhere),
            text => text.parse().map(Box::new).map(Self::At),
        }
    }
}

/// The shared ledger as a search works with it, and the thread that listens to it and writes into it.
pub struct Shared {
    desk: Arc<Desk>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

/// What slots, the journal and the listener have in common.
struct Desk {
    ledger: SharedLedger,
    space: Arc<SearchSpace>,
    goal: Goal,
    fidelities: Fidelities,
    holder: String,
    inbox: Inbox,
    stop: Arc<AtomicBool>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What others measure that this search would have.
    awaited: HashMap<Flight, Training>,
    /// What is to be written, by whom it was measured.
    unwritten: VecDeque<(AnswerRecord, String)>,
    /// What is known to be in the ledger.
    there: HashSet<Flight>,
    /// Up to which answer all is known.
    last: i64,
    /// Whether the server could not be reached when it was tried last.
    silent: bool,
    /// Whether slots have stopped waiting for it.
    alone: bool,
    over: bool,
}

impl Shared {
    /// Joins those who search for the same; what they have measured, as first points.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn join(
        address: &Address,
        run: &RunRecord,
        run_dir: &Path,
        oracle: &dyn CostlyOracle,
        goal: Goal,
        stop: Arc<AtomicBool>,
    ) -> Result<(Self, Vec<First>), LedgerError> {
        let holder = holder(run_dir);
        let ledger = SharedLedger::open(address.clone(), &Subject::of(run, oracle.space()), &holder, LEASE)?;
        let desk = Desk {
            ledger,
            space: oracle.space().clone(),
            goal,
            fidelities: oracle.fidelities().clone(),
            holder,
            inbox: Inbox::default(),
            stop,
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        let news = desk.ledger.news(0)?;
        let known = desk.take_in(&mut desk.lock(), news);
        info!("shares measurements at {address}: {} are there", known.len());
        Ok((Self { desk: Arc::new(desk), listener: Mutex::default() }, known))
    }

    /// Where the answers of others come in.
    pub fn inbox(&self) -> Inbox {
        self.desk.inbox.clone()
    }

    /// Begins to listen and to write; what was measured here before is written where it is not there.
    ///
    /// # Errors
    /// The system's, if there is no thread.
    pub fn listen(&self, before: Vec<AnswerRecord>) -> std::io::Result<()> {
        before
            .into_iter()
            .filter(|answer| answer.cost > 0.0)
            .for_each(|answer| self.desk.write(answer, None));
        let desk = self.desk.clone();
        let thread = thread::Builder::new().name("shared-ledger".into()).spawn(move || desk.listen())?;
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }

    /// As slots ask it.
    pub fn sharing(&self) -> &dyn Sharing {
        &*self.desk
    }

    /// As the journal of the search writes into it.
    pub fn pen(&self) -> Pen {
        Pen(self.desk.clone())
    }

    /// Writes what is not written, and gives back what is claimed.
    pub fn leave(&self) {
        self.desk.lock().over = true;
        self.desk.changed.notify_all();
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(listener) = listener else { return };
        let _ = listener.join();
        let left = self.desk.lock().unwritten.len();
        if left > 0 {
            warn!(
                "{left} measurements of this search could not be written to {}: they are in the run directory, and go there when the \
                 search goes on (--resume)",
                self.desk.ledger.address()
            );
        }
        // What cannot be given back lapses.
        let _ = self.desk.ledger.release_all();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What writes into a shared ledger.
#[derive(Clone)]
pub struct Pen(Arc<Desk>);

impl Pen {
    /// Writes what this search measured as soon as that can be; `by` is whoever measured, where it has a name.
    pub fn write(&self, answer: AnswerRecord, by: Option<String>) {
        self.0.write(answer, by);
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, answer: AnswerRecord, by: Option<String>) {
        let mut state = self.lock();
        if state.there.contains(&(answer.key, answer.fidelity.to_bits())) {
            return;
        }
        let by = by.unwrap_or_else(|| self.holder.clone());
        state.unwritten.push_back((answer, by));
        self.changed.notify_all();
    }

    /// Writes, listens and says that this search is still there, until it is over.
    fn listen(&self) {
        let (mut renewed, mut over_since) = (Instant::now(), None);
        loop {
            let renew = renewed.elapsed() >= LEASE / 4;
            // Where nothing can be written, others are heard all the same.
            let (written, heard) = (self.write_all(), self.hear());
            let turn = written.and(heard).and(if renew { self.ledger.renew() } else { Ok(()) });
            if turn.is_ok() && renew {
                renewed = Instant::now();
            }
            let mut state = self.lock();
            match (&turn, state.silent) {
                (Err(error), false) => warn!(
                    "{error}; the search goes on with what it knows, and writes what it measures when that can be done again"
                ),
                (Ok(()), true) => info!("{} answers again", self.ledger.address()),
                _ => {}
            }
            state.silent = turn.is_err();
            state.alone &= state.silent;
            if state.over {
                let since = *over_since.get_or_insert_with(Instant::now);
                if state.unwritten.is_empty() || since.elapsed() >= LAST_PATIENCE {
                    return;
                }
            }
            // Not a call a moment to a server that does not answer.
            if state.silent || (state.unwritten.is_empty() && !state.over) {
                let _ = self.changed.wait_timeout(state, PULSE);
            }
        }
    }

    /// Writes all that is to be written, in its order.
    fn write_all(&self) -> Result<(), LedgerError> {
        loop {
            let Some((answer, by)) = self.lock().unwritten.front().cloned() else { return Ok(()) };
            self.ledger.publish(&answer, &by)?;
            let mut state = self.lock();
            state.unwritten.pop_front();
            state.there.insert((answer.key, answer.fidelity.to_bits()));
        }
    }

    /// Takes in what others wrote, and what they do.
    fn hear(&self) -> Result<(), LedgerError> {
        let last = self.lock().last;
        let news = self.ledger.news(last)?;
        let mut state = self.lock();
        let theirs = news.theirs.clone();
        let points = self.take_in(&mut state, news);
        self.inbox.leave(points);
        // Neither answered nor measured: whoever had it is gone.
        let lapsed: Vec<Flight> =
            state.awaited.keys().filter(|flight| !theirs.contains(*flight)).copied().collect();
        for flight in lapsed {
            if let Some(training) = state.awaited.remove(&flight) {
                self.inbox.lapsed(training);
            }
        }
        Ok(())
    }

    /// What is new, as first points.
    fn take_in(&self, state: &mut State, news: News) -> Vec<First> {
        state.last = news.last;
        for fault in &news.unusable {
            warn!(
                "an answer at {} is not what was written, and is not used: {fault}; `srnas ledger verify` says all that is wrong",
                self.ledger.address()
            );
        }
        let new = |answer: &AnswerRecord| state.there.insert((answer.key, answer.fidelity.to_bits()));
        let answers: Vec<AnswerRecord> = news.answers.into_iter().filter(new).collect();
        let point = |answer: AnswerRecord| {
            let flight = (answer.key, answer.fidelity.to_bits());
            let point = self.point(answer)?;
            state.awaited.remove(&flight);
            Some(point)
        };
        answers.into_iter().filter_map(point).collect()
    }

    /// An answer as a first point; none where it is of no architecture of this space, or of a training that there is not here.
    fn point(&self, answer: AnswerRecord) -> Option<First> {
        if let Err(misfit) =
            srnas_ledger::fits(&self.space, srnas_task::Count::Classes, answer.key, &answer.choices)
        {
            warn!("an answer at {} is not used: {misfit}", self.ledger.address());
            return None;
        }
        let measured = Measured::of_records(vec![answer], &self.goal, &self.fidelities).pop()?;
        Some(First { training: measured.training, answer: Some(measured.answer) })
    }

    fn flight(&self, training: &Training) -> Flight {
        let fidelity = self.fidelities.cost(training.fidelity);
        (self.space.canonical_key(&training.choices), fidelity.to_bits())
    }
}

impl Sharing for Desk {
    fn claim(&self, training: &Training) -> bool {
        let (flight, began) = (self.flight(training), Instant::now());
        loop {
            match self.ledger.claim(flight, &training.choices) {
                Ok(Claim::Ours) => return true,
                Ok(Claim::Theirs) => {
                    self.lock().awaited.insert(flight, training.clone());
                    return false;
                }
                Ok(Claim::Answered(answer)) => {
                    // What says nothing here is measured here.
                    let Some(point) = self.point(answer) else { return true };
                    self.inbox.leave([point]);
                    return false;
                }
                // Slots wait once for each time that the server is gone.
                Err(_) if self.stop.load(Ordering::Relaxed) || self.lock().alone => return true,
                Err(error) if began.elapsed() >= PATIENCE => {
                    warn!("{error}; measures without asking whether others do");
                    self.lock().alone = true;
                    return true;
                }
                Err(_) => thread::sleep(PULSE),
            }
        }
    }

    fn release(&self, training: &Training) {
        let _ = self.ledger.release(self.flight(training));
    }
}

/// Takes answers without a value out of what is shared: they are as if nobody had asked for them.
///
/// # Errors
/// [`LedgerError`]; nothing is taken out then.
pub fn forget(
    address: &Address,
    run: &RunRecord,
    space: &SearchSpace,
    run_dir: &Path,
    answers: &[&AnswerRecord],
) -> Result<(), LedgerError> {
    let ledger = SharedLedger::open(address.clone(), &Subject::of(run, space), &holder(run_dir), LEASE)?;
    let flights: Vec<Flight> = answers.iter().map(|answer| (answer.key, answer.fidelity.to_bits())).collect();
    ledger.forget_infeasible(&flights)
}

/// By what others know this search: the same when it goes on, and no other's.
fn holder(run_dir: &Path) -> String {
    let place = fs::canonicalize(run_dir).unwrap_or_else(|_| run_dir.to_path_buf());
    format!("{}:{}", host_name(), place.display())
}

impl LiveConfig {
    /// Where its measurements are shared, if they are.
    ///
    /// # Errors
    /// What is no address, in a file that was changed by hand.
    pub fn shared_ledger(&self) -> anyhow::Result<Option<Address>> {
        let parse = |text: &String| text.parse().map_err(|e: String| Usage(format!("ledger: {e}")).into());
        self.ledger.as_ref().map(parse).transpose()
    }
}
