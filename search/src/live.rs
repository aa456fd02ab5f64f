//! A search whose measurements cost seconds to days: several at a time, none twice, and none lost.
//!
//! Whenever a slot is free the posterior's highest upper bound is asked for next. What is running counts as measured with
//! its predicted mean, so that two slots do not ask for neighbours that say the same; infeasible architectures count as
//! the worst value so far, so that the search keeps away from them. Where an oracle has shorter trainings, those come first
//! ([`Screening`]), and the budget is what all of them cost.

use crate::{
    guide::Guide,
    method::{MethodError, Whole},
};
use srnas_oracle::costly::{self, Answer, CostlyError, CostlyOracle, RESUMED_FROM, Training};
use srnas_space::SearchSpace;
use srnas_task::Count;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Costs are added up many times.
const ROUNDING: f64 = 1e-6;

/// A slot looks so often whether the search is over while its oracle can begin nothing.
const READY: Duration = Duration::from_millis(200);

/// Which metric is searched.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// Its name.
    pub metric: String,
    /// Whether less is better.
    pub minimise: bool,
}

impl Objective {
    /// The value that is maximised; or why the answer has none.
    ///
    /// # Errors
    /// The reason of an infeasible answer; a metric that is missing or not a number.
    pub fn value(&self, answer: &Answer) -> Result<f64, String> {
        let metrics = match answer {
            Answer::Metrics(metrics) => metrics,
            Answer::Infeasible(reason) => return Err(reason.clone()),
        };
        let value = costly::searched(metrics, &self.metric)?;
        Ok(if self.minimise { 0.0 - value } else { value })
    }
}

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
    /// Keeps one; it is durable when this returns. `value` is what is maximised, or why there is none.
    ///
    /// # Errors
    /// Says why it cannot be kept.
    fn keep(&mut self, measured: &Measured, value: &Result<f64, String>) -> Result<(), String>;
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
        /// What is maximised, or why there is none.
        value: &'a Result<f64, String>,
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
    /// What is searched.
    pub objective: Objective,
    /// By what.
    pub guide: Guide,
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
}

/// What was spent; where all were full trainings their number says it.
fn spent_in_words(done: usize, spent: f64, budget: usize) -> String {
    match (done as f64 - spent).abs() < ROUNDING {
        true => format!(" of {budget}"),
        false => format!(" that cost {spent:.1} of {budget} full trainings"),
    }
}

pub(crate) struct State<'j> {
    pub known: Vec<Measured>,
    pub running: Vec<Training>,
    /// What is to be asked for next, where a posterior proposes several at once, or could not be paid for yet.
    proposed: VecDeque<Training>,
    journal: &'j mut dyn Journal,
    /// There is nothing left to measure, or nothing that what is left would pay for.
    exhausted: bool,
    /// Measurements of this call without a value.
    failures: usize,
    failed: Option<LiveError>,
}

impl State<'_> {
    /// Whether a training is neither done nor under way.
    pub fn is_new(&self, space: &SearchSpace, training: &Training) -> bool {
        let key = space.canonical_key(&training.choices);
        let same = |other: &Training| other.shorter == training.shorter;
        let known = self.known.iter().any(|measured| measured.key == key && same(&measured.training));
        let under_way = |running: &Training| same(running) && space.canonical_key(&running.choices) == key;
        !known && !self.running.iter().any(under_way)
    }

    /// What was paid, in full trainings.
    fn spent(&self) -> f64 {
        self.known.iter().map(|measured| measured.cost).sum()
    }
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
        known.iter().for_each(|measured| self.oracle.kept(&measured.training));
        let state = Mutex::new(State {
            known,
            running: Vec::new(),
            proposed: VecDeque::new(),
            journal,
            exhausted: false,
            failures: 0,
            failed: None,
        });
        let changed = Condvar::new();
        std::thread::scope(|scope| {
            for slot in 0..self.parallel.max(1) {
                let (state, changed, whole) = (&state, &changed, &whole);
                let work = move || {
                    if let Err(error) = self.work(state, changed, (whole, distinct), stop, tell) {
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
        (whole, distinct): (&Option<Arc<Whole>>, Option<usize>),
        stop: &AtomicBool,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<(), LiveError> {
        loop {
            let over = |now: &State| {
                let ended = now.exhausted || now.failed.is_some() || self.is_spent(now.spent());
                // An oracle that waits for somebody would wait in vain.
                ended || stop.load(Ordering::Relaxed) || used_up(distinct, &now.known)
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
                    if let Some(next) = self.affordable(&mut now, whole)? {
                        now.running.push(next.clone());
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
            let value = self.objective.value(&measured.answer);
            if let Err(reason) = now.journal.keep(&measured, &value) {
                // Whatever else is measured cannot be kept either, and evaluators may answer late or never.
                stop.store(true, Ordering::Relaxed);
                return Err(LiveError::Journal(reason));
            }
            self.oracle.kept(&measured.training);
            now.known.push(measured);
            if let Err(reason) = &value {
                now.failures += 1;
                if self.most_failures.is_some_and(|most| now.failures >= most) {
                    let (failures, reason) = (now.failures, reason.clone());
                    now.failed.get_or_insert(LiveError::Failures { failures, reason });
                    // What is running would not be waited for otherwise.
                    stop.store(true, Ordering::Relaxed);
                }
            }
            if self.oracle.fidelities().shorter() > 0 {
                // What could not be paid for was chosen without knowing this.
                now.proposed.clear();
            }
            tell(Event::Ended {
                measured: &now.known[now.known.len() - 1],
                value: &value,
                seconds: began.elapsed().as_secs_f64(),
                done: now.known.len(),
                spent: now.spent(),
                running: now.running.len(),
            });
            changed.notify_all();
        }
    }

    /// What to measure next, if what is left pays for it; nothing, too, where there is nothing left to measure.
    fn affordable(&self, now: &mut State, whole: &Option<Arc<Whole>>) -> Result<Option<Training>, LiveError> {
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
        // What was proposed some time ago may have been brought meanwhile.
        while now.proposed.front().is_some_and(|training| !now.is_new(space, training)) {
            now.proposed.pop_front();
        }
        if now.proposed.is_empty() {
            now.proposed = self.propose(now, whole)?.into();
        }
        let affordable = |next: &Training| self.expected_cost(now, next) <= left + ROUNDING;
        match now.proposed.front().is_some_and(affordable) {
            true => Ok(now.proposed.pop_front()),
            false => Ok(None),
        }
    }
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
    use hashbrown::HashSet;
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
        fn keep(&mut self, measured: &Measured, value: &Result<f64, String>) -> Result<(), String> {
            self.0.push((measured.clone(), value.clone()));
            Ok(())
        }
    }

    fn search(oracle: &Toy, budget: usize, parallel: usize) -> LiveSearch<'_> {
        let objective = Objective { metric: "loss".into(), minimise: true };
        LiveSearch {
            oracle,
            objective,
            guide: Guide::default(),
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
