//! A search whose measurements cost seconds to days: several at a time, none twice, and none lost.
//!
//! Whenever a slot is free the method is asked what to measure next: any of [`METHODS`](crate::METHODS), or, where none is named,
//! what a [`Guide`] knows. What it asks for is paid for once; what was measured before is told again and costs nothing. A method
//! begins when the first full training has a value, and is told what was measured before then, and in earlier calls, in the
//! order in which it ended; what has no value counts as the worst so far.

use crate::{
    goal::{Goal, Values},
    guide::Guide,
    guided::Guided,
    method::{Begin, Method, MethodError, MethodSpec, SpecError, Whole},
    methods::{Preparation, Priors, Starter, unmeasured},
};
use hashbrown::HashSet;
use srnas_environment::ROUNDING;
use srnas_oracle::costly::{Answer, CostlyError, CostlyOracle, RESUMED_FROM, Training};
use srnas_space::SearchSpace;
use srnas_task::Count;
use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// A slot looks so often whether the search is over while its oracle can begin nothing.
const READY: Duration = Duration::from_millis(200);
/// A method that asks for nothing new so many times in a row has failed, or waits for what is under way.
const REPEATS: usize = 1000;

/// An architecture that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The architecture, and how long it was trained.
    pub training: Training,
    /// By what the architecture is paid for.
    pub key: u64,
    /// What was paid, in full trainings.
    pub cost: f64,
    /// What the oracle said.
    pub answer: Answer,
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
    /// A measurement was begun; so many are running now.
    Began {
        /// Running now, this one included.
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
        /// Measurements kept, those of earlier calls among them.
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
    /// Full trainings to pay for in all, or as many shorter ones as cost the same; each is paid for once.
    pub budget: usize,
    /// Measurements at a time.
    pub parallel: usize,
    /// The search ends when so many of its measurements have no value; those of earlier calls do not count.
    pub most_failures: Option<usize>,
    /// Seed of everything random. With one measurement at a time it determines the whole search.
    pub seed: u64,
}

/// Why a search ended before its budget.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// It was asked to stop; what was measured is kept.
    #[error("stopped after {done} measurements{}; the same command with --resume goes on", spent_in_words(*done, *spent, *budget))]
    Stopped {
        /// Measurements kept.
        done: usize,
        /// What they cost, in full trainings.
        spent: f64,
        /// Of how many.
        budget: usize,
    },
    /// Too many measurements have no value.
    #[error(
        "{failures} measurements have no value, and no more are allowed (--max-failures); the last: {reason}"
    )]
    Failures {
        /// How many have none.
        failures: usize,
        /// Why the last one has none.
        reason: String,
    },
    /// The oracle is broken.
    #[error("the oracle failed: {0}")]
    Oracle(String),
    /// A measurement cannot be kept.
    #[error("a measurement cannot be kept: {0}")]
    Journal(String),
    /// The search method failed.
    #[error("the search failed: {0}")]
    Method(#[from] MethodError),
    /// The method is not for this search.
    #[error(transparent)]
    Unfit(#[from] SpecError),
}

/// What was spent; where all were full trainings their number says it.
fn spent_in_words(done: usize, spent: f64, budget: usize) -> String {
    match (done as f64 - spent).abs() < ROUNDING {
        true => format!(" of {budget}"),
        false => format!(" that cost {spent:.1} of {budget} full trainings"),
    }
}

struct State<'j> {
    known: Vec<Measured>,
    running: Vec<Training>,
    /// Who says what is next; nobody before there is a value, where a method needs one to begin.
    method: Option<Box<dyn Method>>,
    /// What was asked for and could not be paid for yet.
    pending: Option<Training>,
    journal: &'j mut dyn Journal,
    /// There is nothing left to measure, or nothing that what is left would pay for.
    exhausted: bool,
    /// Measurements of this call without a value.
    failures: usize,
    failed: Option<LiveError>,
}

impl State<'_> {
    /// Where among what is known a training is.
    fn place(&self, space: &SearchSpace, training: &Training) -> Option<usize> {
        let key = space.canonical_key(&training.choices);
        self.known.iter().position(|m| m.key == key && m.training.shorter == training.shorter)
    }

    /// Whether a training is under way.
    fn is_under_way(&self, space: &SearchSpace, training: &Training) -> bool {
        let key = space.canonical_key(&training.choices);
        let mut running = self.running.iter();
        running.any(|other| other.shorter == training.shorter && space.canonical_key(&other.choices) == key)
    }

    /// Whether a training is neither done nor under way.
    fn is_new(&self, space: &SearchSpace, training: &Training) -> bool {
        self.place(space, training).is_none() && !self.is_under_way(space, training)
    }

    /// What was paid, in full trainings.
    fn spent(&self) -> f64 {
        self.known.iter().map(|measured| measured.cost).sum()
    }
}

/// What a search is prepared with.
struct Prepared {
    whole: Option<Arc<Whole>>,
    /// Number of architectures, where they can be counted.
    distinct: Option<usize>,
    /// Begins the method that is named.
    start: Option<Starter>,
}

impl LiveSearch<'_> {
    /// Measures until the budget is spent or nothing is left; `known` was measured before and counts. Returns all, in
    /// the order in which they ended.
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
        let whole = Whole::new(self.oracle.space(), Count::Classes).map(Arc::new);
        let distinct = whole.as_ref().map(|whole| whole.distinct());
        let prepared = &Prepared { whole, distinct, start: self.starter()? };
        known.iter().for_each(|measured| self.oracle.kept(&measured.training));
        let mut state = State {
            known,
            running: Vec::new(),
            method: None,
            pending: None,
            journal,
            exhausted: false,
            failures: 0,
            failed: None,
        };
        self.begin(&mut state, prepared)?;
        let state = Mutex::new(state);
        let changed = Condvar::new();
        std::thread::scope(|scope| {
            for slot in 0..self.parallel.max(1) {
                let (state, changed) = (&state, &changed);
                let work = move || {
                    if let Err(error) = self.work(state, changed, prepared, stop, tell) {
                        lock(state).failed.get_or_insert(error);
                    }
                    changed.notify_all();
                };
                let thread = std::thread::Builder::new().name(format!("measure-{slot}"));
                if let Err(error) = thread.spawn_scoped(scope, work) {
                    lock(state).failed.get_or_insert(LiveError::Oracle(format!("no thread: {error}")));
                }
            }
        });
        let state = state.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (done, spent) = (state.known.len(), state.spent());
        match state.failed {
            Some(error) => Err(error),
            None if stop.load(Ordering::Relaxed) && !self.is_spent(spent) => {
                Err(LiveError::Stopped { done, spent, budget: self.budget })
            }
            None => {
                self.oracle.finish();
                Ok(state.known)
            }
        }
    }

    /// The number of architectures of the space, where `known` has a full training of each.
    pub fn used_up(&self, known: &[Measured]) -> Option<usize> {
        let distinct = Whole::new(self.oracle.space(), Count::Classes)?.distinct();
        used_up(Some(distinct), known).then_some(distinct)
    }

    /// Whether nothing more can be paid for.
    fn is_spent(&self, spent: f64) -> bool {
        spent + ROUNDING >= self.budget as f64
    }

    /// What a training will cost where it is not yet known from where it goes on.
    fn expected_cost(&self, now: &State, training: &Training) -> f64 {
        let fidelities = self.oracle.fidelities();
        let resumes = self.oracle.resumes()
            || now.known.iter().any(|m| m.cost + ROUNDING < fidelities.cost(m.training.shorter));
        let after = resumes.then(|| self.done_before(now, training)).flatten();
        match after {
            Some(place) => fidelities.rest(training.shorter, place),
            None => fidelities.cost(training.shorter),
        }
    }

    /// The longest shorter training of the same architecture that has a value.
    fn done_before(&self, now: &State, training: &Training) -> Option<usize> {
        let key = self.oracle.space().canonical_key(&training.choices);
        let limit = training.shorter.unwrap_or(usize::MAX);
        let of_same = now.known.iter().filter(|m| m.key == key && matches!(m.answer, Answer::Metrics(_)));
        of_same.filter_map(|m| m.training.shorter).filter(|place| *place < limit).max()
    }

    /// What a training cost: the rest, where its answer says that it went on after a shorter one of the same architecture; and
    /// after what it says that it went on, if that cannot be.
    fn cost(&self, now: &State, training: &Training, answer: &mut Answer) -> (f64, Option<f64>) {
        let fidelities = self.oracle.fidelities();
        let said = match answer {
            Answer::Metrics(metrics) => metrics.remove(RESUMED_FROM),
            Answer::Infeasible(_) => None,
        };
        let said = said.filter(|amount| *amount != 0.0);
        let place = said.and_then(|amount| fidelities.of_amount(amount));
        match place.filter(|place| self.done_before(now, training).is_some_and(|done| *place <= done)) {
            Some(place) => (fidelities.rest(training.shorter, place), None),
            None => (fidelities.cost(training.shorter), said),
        }
    }

    /// One slot: proposes, measures and keeps, until there is nothing left to do.
    fn work(
        &self,
        state: &Mutex<State>,
        changed: &Condvar,
        prepared: &Prepared,
        stop: &AtomicBool,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<(), LiveError> {
        loop {
            let over = |now: &State| {
                let ended = now.exhausted || now.failed.is_some() || self.is_spent(now.spent());
                // An oracle that waits for somebody would wait in vain.
                ended || stop.load(Ordering::Relaxed) || used_up(prepared.distinct, &now.known)
            };
            while !self.oracle.ready(READY) {
                if over(&lock(state)) {
                    return Ok(());
                }
            }
            let training = {
                let mut now = lock(state);
                loop {
                    if over(&now) {
                        return Ok(());
                    }
                    if let Some(next) = self.affordable(&mut now, prepared)? {
                        now.running.push(next.clone());
                        now.method.iter_mut().for_each(|method| method.begun(&next));
                        tell(Event::Began { running: now.running.len() });
                        break next;
                    }
                    if now.running.is_empty() {
                        now.exhausted = true;
                        return Ok(());
                    }
                    // What is running may yet end without an answer, or cost less than was set aside for it.
                    now = changed
                        .wait_timeout(now, Duration::from_millis(500))
                        .unwrap_or_else(|poisoned| poisoned.into_inner())
                        .0;
                }
            };
            let began = Instant::now();
            let answer = self.oracle.measure(&training, stop);
            let now = &mut *lock(state);
            now.running.retain(|running| *running != training);
            let mut answer = match answer {
                Ok(answer) => answer,
                Err(CostlyError::Stopped) => return Ok(()),
                Err(CostlyError::Failed(reason)) => return Err(LiveError::Oracle(reason)),
            };
            let key = self.oracle.space().canonical_key(&training.choices);
            let (cost, not_resumed) = self.cost(now, &training, &mut answer);
            if let Some(said) = not_resumed {
                tell(Event::NotResumed { said });
            }
            let measured = Measured { training, key, cost, answer };
            let values = self.goal.values(&measured.answer);
            if let Err(reason) = now.journal.keep(&measured, &values) {
                // Whatever else is measured cannot be kept either, and evaluators may answer late or never.
                stop.store(true, Ordering::Relaxed);
                return Err(LiveError::Journal(reason));
            }
            self.oracle.kept(&measured.training);
            now.known.push(measured);
            match &mut now.method {
                Some(_) => self.told(now, now.known.len() - 1)?,
                None => self.begin(now, prepared)?,
            }
            if let Err(reason) = &values {
                now.failures += 1;
                if self.most_failures.is_some_and(|most| now.failures >= most) {
                    let (failures, reason) = (now.failures, reason.clone());
                    now.failed.get_or_insert(LiveError::Failures { failures, reason });
                    // What is running would not be waited for otherwise.
                    stop.store(true, Ordering::Relaxed);
                }
            }
            tell(Event::Ended {
                measured: &now.known[now.known.len() - 1],
                seconds: began.elapsed().as_secs_f64(),
                done: now.known.len(),
                spent: now.spent(),
                running: now.running.len(),
            });
            changed.notify_all();
        }
    }

    /// What to measure next, if what is left pays for it; nothing, too, where there is nothing left to measure, or where the
    /// method waits for a result.
    fn affordable(&self, now: &mut State, prepared: &Prepared) -> Result<Option<Training>, LiveError> {
        let set_aside = now.running.iter().map(|running| self.expected_cost(now, running)).sum::<f64>();
        let left = self.budget as f64 - now.spent() - set_aside;
        let cheapest = self.oracle.fidelities().costs().next().unwrap_or(1.0);
        if left + ROUNDING < cheapest {
            return Ok(None);
        }
        let space = self.oracle.space();
        if let Some(brought) = self.oracle.brought().filter(|training| now.is_new(space, training)) {
            return Ok(Some(brought));
        }
        let pending = now.pending.take().filter(|training| now.is_new(space, training));
        let next = match pending {
            Some(next) => Some(next),
            None => self.ask(now, prepared)?,
        };
        let Some(next) = next else { return Ok(None) };
        if self.expected_cost(now, &next) <= left + ROUNDING {
            return Ok(Some(next));
        }
        let kept = now.method.as_ref().is_none_or(|method| !method.asks_again());
        now.pending = kept.then_some(next);
        Ok(None)
    }

    /// What the method asks for that is new; what is known already it is told again.
    fn ask(&self, now: &mut State, prepared: &Prepared) -> Result<Option<Training>, LiveError> {
        let Some(method) = &now.method else { return Ok(self.first(now, prepared)) };
        if !method.concurrent() && !now.running.is_empty() {
            return Ok(None);
        }
        let space = self.oracle.space();
        for _ in 0..REPEATS {
            let Some(method) = &mut now.method else { break };
            let Some(next) = method.ask_training()? else { return Ok(None) };
            if !space.is_valid(&next.choices) {
                return Err(MethodError(format!("asked for {:?}, which is not valid", next.choices)).into());
            }
            match now.place(space, &next) {
                Some(place) => self.told(now, place)?,
                None if now.is_under_way(space, &next) => {}
                None => return Ok(Some(next)),
            }
        }
        match now.running.is_empty() {
            true => {
                Err(MethodError(format!("asked {REPEATS} times in a row for what was measured already"))
                    .into())
            }
            false => Ok(None),
        }
    }

    /// Random architectures, one at a time, until one has a value.
    fn first(&self, now: &State, prepared: &Prepared) -> Option<Training> {
        if !now.running.is_empty() {
            return None;
        }
        let begin = self.begin_with(now, prepared, Vec::new());
        let taken: HashSet<u64> = now.known.iter().map(|measured| measured.key).collect();
        unmeasured(&begin, &taken, &mut begin.rng()).map(Training::full)
    }

    /// Begins the method if it can begin, and tells it what is known.
    fn begin(&self, now: &mut State, prepared: &Prepared) -> Result<(), LiveError> {
        let Some(start) = &prepared.start else {
            now.method = Some(Box::new(self.guided(prepared.whole.clone())));
            return (0..now.known.len()).try_for_each(|place| self.told(now, place));
        };
        let full = now.known.iter().filter(|measured| measured.training.shorter.is_none());
        let first = full.into_iter().find(|measured| self.goal.values(&measured.answer).is_ok());
        let Some(first) = first.map(|measured| measured.training.choices.clone()) else { return Ok(()) };
        now.method = Some(start(&self.begin_with(now, prepared, first))?);
        (0..now.known.len()).try_for_each(|place| self.told(now, place))?;
        let State { method, running, .. } = now;
        method.iter_mut().for_each(|method| running.iter().for_each(|training| method.begun(training)));
        Ok(())
    }

    /// What a method begins with.
    fn begin_with(&self, now: &State, prepared: &Prepared, start: Vec<u8>) -> Begin {
        Begin {
            space: self.oracle.space().clone(),
            count: Count::Classes,
            objectives: self.goal.objectives().len(),
            limits: self.goal.limits().len(),
            budget: self.budget,
            shorter: self.oracle.fidelities().costs().collect(),
            start,
            // A search that goes on draws what it has not drawn before.
            seed: self.seed.wrapping_add((now.known.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            start_seed: self.seed,
            whole: prepared.whole.clone(),
            past: None,
            tasks: Arc::from([]),
        }
    }

    /// Tells the method what is known at one place.
    fn told(&self, now: &mut State, place: usize) -> Result<(), LiveError> {
        let State { known, method: Some(method), .. } = now else { return Ok(()) };
        let measured = &known[place];
        let values = |measured: &Measured| {
            let values = self.goal.values(&measured.answer).ok()?;
            let number = |value: &f64| value.clamp(f32::MIN.into(), f32::MAX.into()) as f32;
            Some(values.maximised.iter().chain(&values.slacks).map(number).collect::<Vec<f32>>())
        };
        let training = &measured.training;
        match (values(measured), training.shorter) {
            (Some(values), None) => method.tell(&training.choices, &values)?,
            (Some(values), Some(_)) => method.tell_shorter(training, values[0])?,
            (None, shorter) => {
                // Of its own kind, if there are such.
                let of = |own: bool| {
                    let alike = known.iter().filter(move |m| !own || m.training.shorter == shorter);
                    alike
                        .filter_map(values)
                        .reduce(|worst, next| worst.iter().zip(&next).map(|(a, b)| a.min(*b)).collect())
                };
                method.tell_infeasible(training, of(true).or_else(|| of(false)).as_deref())?;
            }
        }
        Ok(())
    }

    /// What begins the method that is named.
    fn starter(&self) -> Result<Option<Starter>, SpecError> {
        let (space, shorter) = (self.oracle.space(), self.oracle.fidelities().shorter());
        self.method.as_ref().map(|spec| starter(spec, space, &self.goal, shorter, self.budget)).transpose()
    }

    /// The search of the first objective by the guide.
    fn guided(&self, whole: Option<Arc<Whole>>) -> Guided {
        let costs = self.oracle.fidelities().costs().collect();
        Guided::new(self.oracle.space(), &whole, self.guide.clone(), costs, self.budget, self.seed)
    }

    /// Which decisions mattered for the first objective in what was measured: `(decision, share)`, see [`crate::importance`].
    ///
    /// # Errors
    /// When there is no posterior of it.
    pub fn importance(&self, known: &[Measured]) -> Result<Vec<(usize, f64)>, MethodError> {
        let mut guided = self.guided(Whole::new(self.oracle.space(), Count::Classes).map(Arc::new));
        for measured in known {
            match (self.goal.first().value(&measured.answer), measured.training.shorter) {
                (Ok(value), None) => guided.tell(&measured.training.choices, &[value as f32])?,
                (Ok(value), Some(_)) => guided.tell_shorter(&measured.training, value as f32)?,
                (Err(_), _) => guided.tell_infeasible(&measured.training, None)?,
            }
        }
        guided.importance()
    }
}

/// Whether a method can search for this where measurements are made; `shorter` is the number of shorter trainings.
///
/// # Errors
/// Says why not, and which methods can.
pub fn check_method(
    spec: &MethodSpec,
    space: &Arc<SearchSpace>,
    goal: &Goal,
    shorter: usize,
) -> Result<(), SpecError> {
    starter(spec, space, goal, shorter, 1).map(|_| ())
}

fn starter(
    spec: &MethodSpec,
    space: &Arc<SearchSpace>,
    goal: &Goal,
    shorter: usize,
    budget: usize,
) -> Result<Starter, SpecError> {
    if spec.policy_file().is_some() {
        return Err(spec.unfit("is given as --policy where measurements are made"));
    }
    if spec.knows_a_past() {
        let reason = "learns from past tasks, which a search that makes its measurements knows by --prior, without --method";
        return Err(spec.unfit(reason));
    }
    let preparation = Preparation {
        space,
        tasks: &[],
        objectives: goal.objectives().len(),
        limits: goal.limits().len(),
        shorter,
        budget,
        past: &[],
        priors: &Priors::default(),
    };
    Ok(spec.prepare(&preparation)?.start)
}

/// Whether each of a space's `distinct` architectures, where they can be counted, has had a full training.
fn used_up(distinct: Option<usize>, known: &[Measured]) -> bool {
    let full = known.iter().filter(|measured| measured.training.shorter.is_none()).count();
    distinct.is_some_and(|distinct| full >= distinct)
}

fn lock<'s, 'j>(state: &'s Mutex<State<'j>>) -> MutexGuard<'s, State<'j>> {
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::PastSearch;
    use rand::SeedableRng;
    use srnas_space::{Conditional, Decision};
    use std::{collections::BTreeMap, sync::atomic::AtomicUsize};

    /// Counts how often it is asked; some architectures are infeasible.
    struct Toy {
        space: Arc<SearchSpace>,
        asked: Mutex<Vec<Vec<u8>>>,
        at_once: AtomicUsize,
        most: AtomicUsize,
    }

    fn toy(decisions: usize) -> Toy {
        let named = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
        let space = Conditional::space("made-up", (0..decisions).map(named).collect(), vec![]).unwrap();
        Toy { space: Arc::new(space), asked: Mutex::default(), at_once: 0.into(), most: 0.into() }
    }

    impl CostlyOracle for Toy {
        fn space(&self) -> &Arc<SearchSpace> {
            &self.space
        }

        fn identity(&self) -> (String, String) {
            ("toy".into(), String::new())
        }

        fn metric_names(&self) -> Vec<String> {
            vec!["loss".into()]
        }

        fn measure(&self, training: &Training, _stop: &AtomicBool) -> Result<Answer, CostlyError> {
            let choices = &training.choices;
            let at_once = 1 + self.at_once.fetch_add(1, Ordering::SeqCst);
            self.most.fetch_max(at_once, Ordering::SeqCst);
            self.asked.lock().unwrap().push(choices.to_vec());
            std::thread::sleep(Duration::from_millis(2));
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            if choices[0] == 2 {
                return Ok(Answer::Infeasible("it diverged".into()));
            }
            let loss = choices.iter().map(|&c| 2.0 - f64::from(c)).sum::<f64>();
            Ok(Answer::Metrics(BTreeMap::from([(
                "loss".into(),
                if loss > 1.4 * choices.len() as f64 { f64::NAN } else { loss },
            )])))
        }
    }

    #[derive(Default)]
    struct Kept(Vec<(Measured, Result<f64, String>)>);

    impl Journal for Kept {
        fn keep(&mut self, measured: &Measured, values: &Result<Values, String>) -> Result<(), String> {
            self.0.push((measured.clone(), values.clone().map(|values| values.maximised[0])));
            Ok(())
        }
    }

    fn search(oracle: &Toy, budget: usize, parallel: usize) -> LiveSearch<'_> {
        LiveSearch {
            oracle,
            goal: Goal::single("loss", true),
            guide: Guide::default(),
            method: None,
            budget,
            parallel,
            most_failures: None,
            seed: 7,
        }
    }

    fn distinct(measured: &[Measured]) -> usize {
        measured.iter().map(|m| m.key).collect::<HashSet<_>>().len()
    }

    #[test]
    fn slots_work_at_once_and_nothing_is_measured_twice() {
        let (oracle, mut journal) = (toy(5), Kept::default());
        let found =
            search(&oracle, 30, 4).run(vec![], &mut journal, &AtomicBool::new(false), &|_| ()).unwrap();
        assert_eq!((found.len(), distinct(&found), oracle.asked.lock().unwrap().len()), (30, 30, 30));
        assert!(oracle.most.load(Ordering::SeqCst) > 1, "one at a time");
        let best = journal.0.iter().filter_map(|(_, v)| v.clone().ok()).fold(f64::MIN, f64::max);
        // The best that is feasible is 1, 2, 2, 2, 2 with -1; which of its neighbours come first depends on the slots.
        assert!(best >= -2.0, "{best}");
        let infeasible: Vec<&String> = journal.0.iter().filter_map(|(_, v)| v.as_ref().err()).collect();
        assert!(!infeasible.is_empty() && infeasible.len() < 15, "{infeasible:?}");
    }

    #[test]
    fn a_search_that_is_stopped_goes_on_with_what_it_has() {
        let (oracle, mut journal) = (toy(5), Kept::default());
        let stop = AtomicBool::new(false);
        let after = |event: Event| {
            if matches!(event, Event::Ended { done: 9, .. }) {
                stop.store(true, Ordering::Relaxed);
            }
        };
        let error = search(&oracle, 20, 1).run(vec![], &mut journal, &stop, &after).unwrap_err();
        assert!(matches!(error, LiveError::Stopped { done: 9, budget: 20, .. }), "{error}");
        let known: Vec<Measured> = journal.0.iter().map(|(m, _)| m.clone()).collect();
        let go = AtomicBool::new(false);
        let resumed = search(&oracle, 20, 1).run(known, &mut journal, &go, &|_| ()).unwrap();
        assert_eq!((distinct(&resumed), journal.0.len()), (20, 20));
        // One at a time, what was stopped in between is the search that was not.
        let straight = search(&toy(5), 20, 1).run(vec![], &mut Kept::default(), &go, &|_| ()).unwrap();
        let order = |found: &[Measured]| found.iter().map(|m| m.training.choices.clone()).collect::<Vec<_>>();
        assert_eq!(order(&resumed), order(&straight));
    }

    #[test]
    fn a_past_guides_from_the_first_measurement_on_also_where_the_space_cannot_be_listed() {
        for decisions in [5, 14] {
            let (oracle, go) = (toy(decisions), AtomicBool::new(false));
            let value = |choices: &[u8]| choices.iter().map(|&c| f32::from(c)).sum::<f32>();
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
            let mut choices = vec![0; decisions];
            let draws = (0..80).map(|_| {
                oracle.space.sample(&mut rng, &mut choices);
                (choices.clone(), Some(value(&choices) - if choices[0] == 2 { 9.0 } else { 0.0 }))
            });
            let past = PastSearch { name: "before".into(), measured: draws.collect() };
            let guide = Guide::of_past(&oracle.space, std::slice::from_ref(&past)).unwrap();
            assert!(guide.knows_a_past());
            let search = LiveSearch { guide, ..search(&oracle, 10, 1) };
            let found = search.run(vec![], &mut Kept::default(), &go, &|_| ()).unwrap();
            let best_before = past.measured.iter().filter_map(|(_, v)| *v).fold(f32::MIN, f32::max);
            assert!(
                value(&found[0].training.choices) >= best_before - 2.0,
                "{:?}",
                found[0].training.choices
            );
            let best = found
                .iter()
                .filter(|m| m.training.choices[0] < 2)
                .map(|m| value(&m.training.choices))
                .fold(0.0, f32::max);
            assert!(best > best_before, "{decisions} decisions: {best} after {best_before}");
        }
    }

    #[test]
    fn a_budget_beyond_the_space_measures_all_of_it() {
        let (oracle, mut journal) = (toy(2), Kept::default());
        let found =
            search(&oracle, 100, 3).run(vec![], &mut journal, &AtomicBool::new(false), &|_| ()).unwrap();
        assert_eq!((found.len(), distinct(&found)), (9, 9));
        assert_eq!(search(&oracle, 100, 3).used_up(&found), Some(9));
        assert_eq!(search(&oracle, 100, 3).used_up(&found[1..]), None);
        // Going on with all of it asks for nothing, also where the oracle is not there.
        let asked = oracle.asked.lock().unwrap().len();
        search(&oracle, 100, 3).run(found, &mut journal, &AtomicBool::new(false), &|_| ()).unwrap();
        assert_eq!(oracle.asked.lock().unwrap().len(), asked);
    }

    #[test]
    fn a_search_ends_after_as_many_failures_as_are_allowed() {
        let (oracle, mut journal) = (toy(5), Kept::default());
        let search = LiveSearch { most_failures: Some(3), ..search(&oracle, 200, 1) };
        let error = search.run(vec![], &mut journal, &AtomicBool::new(false), &|_| ()).unwrap_err();
        assert!(matches!(&error, LiveError::Failures { failures: 3, .. }), "{error}");
        let failed = journal.0.iter().filter(|(_, value)| value.is_err()).count();
        assert_eq!((failed, journal.0.last().unwrap().1.is_err()), (3, true));
    }
}
